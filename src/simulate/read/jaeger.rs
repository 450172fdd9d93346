//! Traces as Jaeger exports them.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    json::{Number, Text},
    spans::{self, Attribute, Batch, Scope, Span, Value, size},
};

/// A trace.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trace<'a> {
    #[serde(borrow)]
    pub(super) spans: Option<Vec<Record<'a>>>,
    #[serde(borrow)]
    pub(super) processes: Option<HashMap<Cow<'a, str>, Process<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record<'a> {
    #[serde(rename = "traceID", borrow)]
    trace: Text<'a>,
    #[serde(rename = "spanID", borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    operation_name: Text<'a>,
    /// What older ones have in place of references.
    #[serde(rename = "parentSpanID", borrow)]
    parent: Option<Text<'a>>,
    #[serde(borrow)]
    references: Option<Vec<Reference<'a>>>,
    /// Microseconds.
    start_time: Option<Number>,
    duration: Option<Number>,
    #[serde(borrow)]
    tags: Option<Vec<Tag<'a>>>,
    #[serde(borrow)]
    logs: Option<Vec<Log<'a>>>,
    #[serde(rename = "processID", borrow)]
    process_id: Option<Text<'a>>,
    /// In the span itself, as Jaeger stores it.
    #[serde(borrow)]
    process: Option<Process<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference<'a> {
    #[serde(borrow)]
    ref_type: Text<'a>,
    #[serde(rename = "traceID", borrow)]
    trace: Text<'a>,
    #[serde(rename = "spanID", borrow)]
    span: Text<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Process<'a> {
    #[serde(borrow)]
    service_name: Text<'a>,
    #[serde(borrow)]
    tags: Option<Vec<Tag<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Log<'a> {
    #[serde(borrow)]
    fields: Option<Vec<Tag<'a>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Tag<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    value: Json,
}

impl<'a> Trace<'a> {
    /// One batch a span: whose they are is told span by span. A span whose ids are none has no trace.
    pub(super) fn into_batches(self) -> impl Iterator<Item = Batch<'a>> {
        let (spans, processes) = (self.spans.unwrap_or_default(), self.processes.unwrap_or_default());
        spans.into_iter().map(move |mut span| {
            let named = span.process_id.as_ref().and_then(|id| processes.get(&id.0));
            let process = span.process.take().or_else(|| named.cloned()).unwrap_or_default();
            let mut resource: Vec<_> = process.tags.into_iter().flatten().map(Tag::into_attribute).collect();
            let name = Value::Text(process.service_name.0);
            resource.insert(0, Attribute { key: Cow::Borrowed("service.name"), value: name });
            let scope = Scope { attributes: Vec::new(), spans: vec![span.into_span().unwrap_or_default()] };
            Batch { resource, scopes: vec![scope] }
        })
    }
}

impl<'a> Record<'a> {
    fn into_span(self) -> Option<Span<'a>> {
        let parent = self.parent()?;
        let attributes: Vec<_> = self.tags.into_iter().flatten().map(Tag::into_attribute).collect();
        let events = self.logs.into_iter().flatten();
        let events: Vec<Vec<_>> =
            events.map(|log| log.fields.into_iter().flatten().map(Tag::into_attribute).collect()).collect();
        let nanos = |micros: Option<Number>| micros.map_or(0, |micros| micros.0.cast_unsigned().wrapping_mul(1_000));
        let start = nanos(self.start_time);
        let name = self.operation_name.0;
        // Ids, kind, times and status beside what is as long as it is.
        let own = 18 + 10 + 2 + 9 + 9 + size::text(name.len()) + if parent == [0; 8] { 0 } else { 10 };
        let of_events: usize = events.iter().map(|event| size::field(9 + size::attributes(event))).sum();
        Some(Span {
            trace: spans::hex(&self.trace.0).filter(|id| *id != [0; 16])?,
            id: spans::hex(&self.id.0)?,
            parent,
            is_error: is_error(&attributes),
            start,
            end: start.wrapping_add(nanos(self.duration)),
            bytes: (own + size::attributes(&attributes) + of_events) as u64,
            name,
            attributes,
            events,
        })
    }

    /// The span that it is a child of, else one that it follows; of another trace, it is no parent.
    fn parent(&self) -> Option<[u8; 8]> {
        let own = self.references.iter().flatten().filter(|reference| reference.trace.0 == self.trace.0);
        let child = own.clone().find(|reference| reference.ref_type.0 == "CHILD_OF");
        let parent = child.or_else(|| own.clone().next()).map(|reference| &reference.span).or(self.parent.as_ref());
        parent.map_or(Some([0; 8]), |id| spans::hex(&id.0))
    }
}

/// What OpenTelemetry's status becomes in Jaeger, and what OpenTracing had in its place.
fn is_error(tags: &[Attribute<'_>]) -> bool {
    tags.iter().any(|tag| match (&*tag.key, &tag.value) {
        ("otel.status_code", Value::Text(code)) => code == "ERROR",
        ("error", Value::Text(word)) => word == "true",
        ("error", Value::Bool(is_error)) => *is_error,
        _ => false,
    })
}

impl<'a> Tag<'a> {
    fn into_attribute(self) -> Attribute<'a> {
        let value = match self.value {
            Json::Null => Value::Empty,
            Json::Bool(value) => Value::Bool(value),
            Json::String(text) => Value::Text(text.into()),
            Json::Number(number) => number.as_i64().map_or(Value::Other(9), Value::Int),
            Json::Array(_) | Json::Object(_) => Value::Other(2),
        };
        Attribute { key: self.key.0, value }
    }
}
