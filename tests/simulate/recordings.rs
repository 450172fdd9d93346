//! Recordings as somebody else writes them: nothing here is taken from the reader.

use std::io::Write;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::run::Form;
use crate::support::otlp::{KeyValue, ResourceSpans, Span, Value, hex};

/// Writes requests as a recording.
pub(crate) fn write(form: Form, requests: &[Vec<ResourceSpans>]) -> Vec<u8> {
    let json = || requests.iter().map(|request| document(request));
    match form {
        Form::Lines => json().flat_map(|document| format!("{document}\n").into_bytes()).collect(),
        Form::Pretty => format!("\n{:#}", Json::Array(json().collect())).into_bytes(),
        Form::Frames => {
            let messages = requests.iter().map(|request| message(request));
            let framed = |message: Vec<u8>| {
                let length = u32::try_from(message.len()).expect("small");
                [length.to_be_bytes().to_vec(), message].concat()
            };
            messages.flat_map(framed).collect()
        }
        _ => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&message(&requests.concat())).expect("memory");
            packed.finish().expect("memory")
        }
    }
}

/// How large all spans are.
pub(crate) fn bytes(requests: &[Vec<ResourceSpans>]) -> usize {
    let spans = requests.iter().flatten().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
    spans.map(Message::encoded_len).sum()
}

fn message(request: &[ResourceSpans]) -> Vec<u8> {
    TracesData { resource_spans: request.to_vec() }.encode_to_vec()
}

/// A request as OTLP JSON.
fn document(request: &[ResourceSpans]) -> Json {
    let resource = |resource: &ResourceSpans| {
        let attributes = resource.resource.as_ref().map(|resource| attributes(&resource.attributes));
        let scopes = resource.scope_spans.iter();
        let scopes: Vec<_> = scopes
            .map(|scope| json!({"scope": {"name": "x"}, "spans": scope.spans.iter().map(span).collect::<Vec<_>>()}))
            .collect();
        json!({"resource": {"attributes": attributes}, "scopeSpans": scopes, "schemaUrl": ""})
    };
    json!({"resourceSpans": request.iter().map(resource).collect::<Vec<_>>()})
}

fn span(span: &Span) -> Json {
    let status = span.status.as_ref().map_or(0, |status| status.code);
    let mut json = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "parentSpanId": hex(&span.parent_span_id),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "attributes": attributes(&span.attributes),
        "status": if status == 0 { json!({}) } else { json!({"code": status}) },
    });
    // Numbers of 64 bits are texts; some write them as numbers.
    json["endTimeUnixNano"] = if span.span_id.last().is_some_and(|last| last % 3 == 0) {
        json!(span.end_time_unix_nano)
    } else {
        json!(span.end_time_unix_nano.to_string())
    };
    json
}

fn attributes(attributes: &[KeyValue]) -> Json {
    let attribute = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        json!({"key": attribute.key, "value": value.map_or_else(|| json!({}), value_json)})
    };
    attributes.iter().map(attribute).collect()
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::StringValue(text) => json!({"stringValue": text}),
        Value::IntValue(number) if number % 2 == 0 => json!({"intValue": number}),
        Value::IntValue(number) => json!({"intValue": number.to_string()}),
        Value::BoolValue(value) => json!({"boolValue": value}),
        Value::DoubleValue(number) => json!({"doubleValue": number}),
        other => panic!("{other:?} is not in any case"),
    }
}
