//! OTLP over HTTP: a client to feed collectors with, and short ways to write spans.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
pub(crate) use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
pub(crate) use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub(crate) use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
pub(crate) use opentelemetry_proto::tonic::resource::v1::Resource;
pub(crate) use opentelemetry_proto::tonic::trace::v1::span::Event;
pub(crate) use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
pub(crate) use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// A connection to an OTLP/HTTP receiver on loopback, kept open between requests.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    /// Connects to 127.0.0.1:`port`.
    pub(crate) fn connect(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let timeout = Duration::from_secs(20);
        let stream = TcpStream::connect_timeout(&address, timeout).expect("the receiver listens");
        stream.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("small requests go out at once");
        Self { reader: BufReader::new(stream), address }
    }

    /// Posts `body` and returns the status and the body of the answer.
    pub(crate) fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        let stream = self.reader.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat()).expect("the receiver takes the request");
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the receiver answers");
        let status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        self.reader.read_exact(&mut answer).expect("the whole answer");
        (status, answer)
    }

    /// Sends spans as protobuf.
    ///
    /// # Panics
    /// Where the receiver does not take them.
    pub(crate) fn send(&mut self, resource_spans: Vec<ResourceSpans>) {
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (status, answer) = self.post("/v1/traces", "application/x-protobuf", &body);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
}

/// A string value.
pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::StringValue(value.into())
}

/// An array of strings, as instrumentations report headers.
pub(crate) fn texts(values: &[&str]) -> Value {
    let values = values.iter().map(|value| AnyValue { value: Some(text(*value)) }).collect();
    Value::ArrayValue(ArrayValue { values })
}

/// One attribute.
pub(crate) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The value of an attribute.
pub(crate) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

/// The spans of one resource.
pub(crate) fn from_resource(attributes: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// The resource attributes of a service.
pub(crate) fn service(namespace: &str, name: &str) -> Vec<KeyValue> {
    vec![attribute("k8s.namespace.name", text(namespace)), attribute("service.name", text(name))]
}

/// A span of 1 ms without a parent; ids that begin with these numbers.
pub(crate) fn span(trace: u64, id: u64, name: &str, attributes: Vec<KeyValue>) -> Span {
    const START: u64 = 1_700_000_000_000_000_000;
    Span {
        trace_id: [trace.to_be_bytes(), 1_u64.to_be_bytes()].concat(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1_000_000,
        attributes,
        ..Span::default()
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}
