//! Recordings of every format, whole, in pieces and broken.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::{ResourceSpans, ScopeSpans, Span as Record, Status, TracesData},
};
use proptest::prelude::*;
use prost::Message;

use super::*;

/// Less than a recording may have, so that what is longer is made soon.
const LIMIT: usize = 1 << 20;

/// Everything that was read, without what is borrowed.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// Service, name, whether it is a root, whether it is an error, attributes and size of each span.
    spans: Vec<String>,
    malformed: Vec<String>,
    is_strict: bool,
}

impl Sink for Found {
    fn batches(&mut self, batches: &[Batch<'_>]) {
        for batch in batches {
            let service = batch.resource.iter().find(|attribute| attribute.key == "service.name");
            for span in batch.scopes.iter().flat_map(|scope| &scope.spans) {
                let attributes: Vec<_> =
                    span.attributes.iter().map(|one| format!("{}={:?}", one.key, one.value)).collect();
                let (trace, took) = (u128::from_be_bytes(span.trace), span.end.wrapping_sub(span.start));
                let kind = if span.is_root() { "root" } else { "child" };
                let status = if span.is_error { " error" } else { "" };
                self.spans.push(format!(
                    "{trace:x} {:?} {} {kind}{status} {took} {}",
                    service.map(|attribute| &attribute.value),
                    span.name,
                    attributes.join(" ")
                ));
            }
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> bool {
        self.malformed.push(format!("{} {}: {}", malformed.unit, malformed.at, malformed.why));
        !self.is_strict
    }
}

fn read_in(pieces: &[&[u8]]) -> Found {
    let mut found = Found::default();
    let mut reader = Reader { limit: LIMIT, ..Reader::new(|_| Ok(None)) };
    for piece in pieces {
        reader.push(piece, &mut found);
    }
    reader.finish(&mut found);
    found
}

fn read(text: impl AsRef<[u8]>) -> Found {
    read_in(&[text.as_ref()])
}

const LINE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000000a","spanId":"0000000000000001","name":"G\u00e9t","startTimeUnixNano":"5","endTimeUnixNano":12,"attributes":[{"key":"http.route","value":{"stringValue":"/a"}},{"key":"n","value":{"intValue":"503"}},{"key":"m","value":{"intValue":-1}},{"key":"x"}],"unknown":[{"a":1}],"status":{"code":2}}]}]}]}"#;
const SPAN: &str = r#"a Some(Text("web")) Gét root error 7 http.route=Text("/a") n=Int(503) m=Int(-1) x=Empty"#;

fn message() -> Vec<u8> {
    let attribute = |key: &str, value: Option<Any>| KeyValue {
        key: key.to_owned(),
        value: value.map(|value| AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let text = |text: &str| Some(Any::StringValue(text.to_owned()));
    let span = Record {
        trace_id: 10_u128.to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        name: "Gét".to_owned(),
        start_time_unix_nano: 5,
        end_time_unix_nano: 12,
        attributes: vec![
            attribute("http.route", text("/a")),
            attribute("n", Some(Any::IntValue(503))),
            attribute("m", Some(Any::IntValue(-1))),
            attribute("x", None),
        ],
        status: Some(Status { code: 2, ..Status::default() }),
        ..Record::default()
    };
    let resource = opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: vec![attribute("service.name", text("web"))],
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    TracesData {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }],
    }
    .encode_to_vec()
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame = |message: &&[u8]| [&u32::try_from(message.len()).unwrap().to_be_bytes(), *message].concat();
    messages.iter().flat_map(frame).collect()
}

fn pretty(line: &str) -> String {
    format!("{:#}", serde_json::from_str::<serde_json::Value>(line).unwrap())
}

#[test]
fn every_format_is_told_by_its_beginning() {
    let twice = |found: Found| assert_eq!((found.spans, found.malformed), (vec![SPAN.to_owned(); 2], vec![]));
    twice(read(format!("{LINE}\n{LINE}\n")));
    twice(read(format!("\u{feff}\n{LINE}\r\n\n{LINE}")));
    twice(read(format!("[{LINE},{LINE}]")));
    twice(read(format!("{}\n{}", pretty(LINE), pretty(LINE))));
    twice(read(pretty(&format!("[{LINE},{LINE}]"))));
    twice(read(framed(&[&message(), &message()])));
    twice(read(framed(&[LINE.as_bytes(), &message()])));
    twice(read([message(), message()].concat()));
    assert_eq!(read(""), Found::default());
    assert_eq!(read(" \n\n"), Found::default());
    assert_eq!(read("\n \n"), Found::default());
    assert_eq!(read(framed(&[])), Found::default());
}

#[test]
fn pieces_of_any_size_come_to_the_same() {
    let recordings = [
        format!("{LINE}\n{LINE}\n").into_bytes(),
        pretty(LINE).into_bytes(),
        framed(&[&message(), &message()]),
        message(),
        b"\n".repeat(3),
    ];
    for recording in recordings {
        let whole = read(&recording);
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(read_in(&recording.chunks(size).collect::<Vec<_>>()), whole, "{size}");
        }
    }
}

#[test]
fn what_is_broken_is_named_by_its_number_and_left_out() {
    let secret = LINE.replace("\"5\"", "\"hunter2\"");
    let other = r#"{"resourceMetrics":[]}"#;
    let text = format!(
        "{{\"resourceSpans\":[\n{LINE}\nnonsense\n\n{secret}\n{other}\n{{\"a\":1}}\n{LINE}\n{{\"resourceSpans\":"
    );
    let found = read(&text);
    assert_eq!(found.spans.len(), 2);
    let expected = [
        "line 1: JSON that ends too early (column 18)",
        "line 3: not JSON (column 2)",
        "line 5: JSON of another shape",
        "line 7: JSON that holds no traces of OTLP, Tempo or Jaeger",
        "line 9: JSON that ends too early (column 17)",
    ];
    assert_eq!(found.malformed.len(), expected.len(), "{:?}", found.malformed);
    for (found, expected) in found.malformed.iter().zip(expected) {
        assert!(found.starts_with(expected) && !found.contains("hunter2"), "{found}");
    }
    let mut strict = Found { is_strict: true, ..Found::default() };
    let mut reader = Reader::new(|_| Ok(None));
    reader.push(text.as_bytes(), &mut strict);
    reader.finish(&mut strict);
    assert_eq!((strict.spans.len(), strict.malformed.len()), (0, 1));
}

#[test]
fn broken_messages_do_not_break_those_behind_them() {
    let good = message();
    let cut = &good[..good.len() - 3];
    let found = read([framed(&[cut, &good]), vec![0, 0]].concat());
    assert_eq!(found.spans, [SPAN]);
    assert_eq!(found.malformed, ["message 1: not OTLP protobuf", "message 3: its end is missing"]);
    assert_eq!(read(cut).malformed, ["message 1: not OTLP protobuf"]);
    let refused = |message: &[u8]| if message.is_empty() { Ok(None) } else { Err("broken".to_owned()) };
    let mut found = Found::default();
    let mut reader = Reader::new(refused);
    reader.push(&framed(&[&good]), &mut found);
    reader.finish(&mut found);
    assert_eq!(found.malformed, ["message 1: broken"]);
}

#[test]
fn what_follows_something_broken_is_read() {
    // A line that is too long, and a message whose end nobody can find.
    let long = format!("{LINE}\n{{\"{}\n{LINE}\n{LINE}", "x".repeat(2 * LIMIT));
    for pieces in [5, 7, 1_000] {
        let pieces: Vec<_> = long.as_bytes().chunks(long.len() / pieces + 1).collect();
        let found = read_in(&pieces);
        assert_eq!((found.spans.len(), found.malformed), (3, vec!["line 2: longer than 1 MiB".to_owned()]));
    }
    let lost = [framed(&[&message()]), vec![0x7f, 0, 0, 0, 1], framed(&[&message()])].concat();
    let found = read(lost);
    assert_eq!((found.spans.len(), found.malformed), (1, vec!["message 2: longer than 1 MiB".to_owned()]));
    // Documents over several lines: the next one that begins with its line.
    let pretty = LINE.replace(",\"", ",\n \"");
    let found = read(format!("{pretty}\n{{\n \"resourceSpans\": oops\n}}\n{pretty}\n{pretty}"));
    assert_eq!((found.spans.len(), found.malformed.len()), (3, 1), "{:?}", found.malformed);
    // A text that is not UTF-8 is mended; a span without a trace does not take others with it.
    let odd = LINE.replace("\"resourceSpans\"", "\"x\":\"?\",\"resourceSpans\"").replace('?', "\u{fffd}");
    let odd: Vec<u8> = odd.into_bytes().into_iter().filter(|byte| *byte != 0xbf).collect();
    assert!(std::str::from_utf8(&odd).is_err());
    assert_eq!(read(odd).spans.len(), 1);
}

#[test]
fn a_list_has_one_document_a_line_or_several() {
    let (lines, rows) = (format!("[\n{LINE},\n{LINE},\n{LINE}\n]\n"), format!("[{LINE},\n{LINE}]"));
    assert_eq!((read(&lines).spans.len(), read(&lines).malformed.len()), (3, 0));
    assert_eq!((read(&rows).spans.len(), read(&rows).malformed.len()), (2, 0));
}

#[test]
fn spans_without_a_trace_are_no_spans() {
    for id in ["", "00000000000000000000000000000000", "a", "zz"] {
        let found = read(LINE.replace("0000000000000000000000000000000a", id));
        assert_eq!((found.spans.len(), found.malformed.len()), (0, 1), "{id}");
    }
}

#[test]
fn tempo_is_otlp_under_other_names() {
    let export = LINE.replace("resourceSpans", "batches").replace("\"code\":2", "\"code\":\"STATUS_CODE_ERROR\"");
    let export = export.replace("0000000000000000000000000000000a", "AAAAAAAAAAAAAAAAAAAACg==");
    let export =
        export.replace("0000000000000001", "AAAAAAAAAAE=").replace("scopeSpans", "instrumentationLibrarySpans");
    assert_eq!(read(&export).spans, [SPAN]);
    assert_eq!(read(format!("{{\"trace\":{LINE},\"status\":\"COMPLETE\"}}")).spans, [SPAN]);
    assert_eq!(read(pretty(&export)).spans, [SPAN]);
}

#[test]
fn jaeger_has_its_own_words() {
    let export = r#"{"data":[{"traceID":"a","spans":[
        {"traceID":"a","spanID":"1","operationName":"root","references":[],"startTime":1000,"duration":7,"processID":"p1",
         "tags":[{"key":"http.route","type":"string","value":"/a"},{"key":"http.status_code","type":"int64","value":503},
                 {"key":"error","type":"bool","value":true}],"logs":[{"timestamp":1,"fields":[{"key":"k","value":"v"}]}]},
        {"traceID":"a","spanID":"2","operationName":"child","references":[{"refType":"CHILD_OF","traceID":"a","spanID":"1"}],
         "startTime":1000,"duration":0,"processID":"p2","tags":null},
        {"traceID":"a","spanID":"3","operationName":"link","references":[{"refType":"CHILD_OF","traceID":"b","spanID":"1"}],
         "startTime":1000,"duration":0,"process":{"serviceName":"own","tags":[]},
         "tags":[{"key":"otel.status_code","value":"ERROR"}]}],
        "processes":{"p1":{"serviceName":"web","tags":[{"key":"k8s.namespace.name","value":"shop"}]},"p2":{"serviceName":"db"}}}],
        "total":0,"errors":null}"#;
    let expected = [
        "a Some(Text(\"web\")) root root error 7000 http.route=Text(\"/a\") http.status_code=Int(503) error=Bool(true)",
        "a Some(Text(\"db\")) child child 0 ",
        "a Some(Text(\"own\")) link root error 0 otel.status_code=Text(\"ERROR\")",
    ];
    assert_eq!(read(export).spans, expected);
    let line = export.replace('\n', " ");
    assert_eq!(read(&line).spans, expected);
    let broken =
        read(line.replace("\"traceID\":\"a\",\"spanID\":\"1\",\"op", "\"traceID\":\"x\",\"spanID\":\"1\",\"op"));
    assert_eq!((broken.spans.len(), broken.malformed), (2, vec!["line 1: spans without a trace id: 1".to_owned()]));
    // One trace by itself, a list of them, and what older ones say of parents.
    let alone = line.strip_prefix("{\"data\":[").unwrap().rsplit_once("],").unwrap().0;
    assert_eq!(read(alone).spans, expected, "{alone}");
    assert_eq!(read(format!("[{alone}]")).spans, expected);
    let older = r#"{"spans":[{"traceID":"a","spanID":"2","parentSpanID":"1","operationName":"x"}],"processes":null}"#;
    assert_eq!(read(older).spans, ["a Some(Text(\"\")) x child 0 "]);
    assert_eq!(read(format!("{{\"result\":{LINE}}}")).spans.len(), 1);
}

proptest! {
    /// Whatever the bytes are, reading ends, and says something about what it leaves out.
    #[test]
    fn nothing_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
        read(&bytes);
        for mut recording in [LINE.as_bytes().to_vec(), message(), framed(&[&message()])] {
            let at = at % recording.len();
            let end = (at + bytes.len()).min(recording.len());
            recording.splice(at..end, bytes.iter().copied());
            read(&recording);
        }
    }
}
