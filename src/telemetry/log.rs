//! Lines of JSON that say which trace, and which request, they belong to.

use std::{fmt, panic::PanicHookInfo};

use opentelemetry::{Context as OtelContext, trace::TraceContextExt};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json as Plain, Writer},
    },
    layer::Context,
    registry::LookupSpan,
};

/// Fields of a span that are in every line within it.
const CARRIED: [&str; 3] = ["request_id", "uid", "controller"];

/// What a span's lines carry.
struct Carried(Map<String, Value>);

/// Remembers the fields of spans that lines carry.
pub(super) struct Carry;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Carry {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut carried = Carried(Map::new());
        attributes.record(&mut carried);
        span.extensions_mut().replace(carried);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(carried) = span.extensions_mut().get_mut::<Carried>() {
            values.record(carried);
        }
    }
}

impl Visit for Carried {
    fn record_str(&mut self, field: &Field, value: &str) {
        if CARRIED.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if CARRIED.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), format!("{value:?}").into());
        }
    }
}

/// A line: what the event says, then whose it is.
pub(super) struct Json(Format<Plain>);

impl Default for Json {
    fn default() -> Self {
        let plain = Format::default().json().flatten_event(true);
        Self(plain.with_current_span(false).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> Result<(), fmt::Error> {
        let whose = whose(context);
        if whose.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let said = line.strip_suffix("}\n").ok_or(fmt::Error)?;
        write!(writer, "{said}")?;
        for (name, value) in &whose {
            // What the event itself says counts: a name twice would be no JSON that everybody can read.
            if !event.fields().any(|field| field.name() == name) {
                write!(writer, ",\"{name}\":{value}")?;
            }
        }
        writeln!(writer, "}}")
    }
}

/// The fields of spans are in no line of JSON as they are.
pub(super) struct Unsaid;

impl<'writer> FormatFields<'writer> for Unsaid {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

/// Fields as people read them: without those that are there for spans alone.
pub(super) struct Text;

impl<'writer> FormatFields<'writer> for Text {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut said = Said { writer, is_first: true, result: Ok(()) };
        fields.record(&mut said);
        said.result
    }
}

struct Said<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Said<'_> {
    fn say(&mut self, text: fmt::Arguments<'_>) {
        let gap = if std::mem::take(&mut self.is_first) { "" } else { " " };
        self.result = self.result.and_then(|()| write!(self.writer, "{gap}{text}"));
    }
}

impl Visit for Said<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.say(format_args!("{value:?}")),
            name if ["otel.", "http.", "url.", "tracesteward.", "log."]
                .iter()
                .any(|prefix| name.starts_with(prefix)) => {}
            name => self.say(format_args!("{name}={value:?}")),
        }
    }
}

/// A panic as a line like any other, with the ids of what it happened in.
pub(super) fn panicked(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let said = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(said, place, "panicked");
}

/// The ids of the innermost span, and what its spans carry; nothing outside of spans.
fn whose<S, N>(context: &FmtContext<'_, S, N>) -> Map<String, Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut whose = Map::new();
    let current = OtelContext::map_current(|context| context.span().span_context().clone());
    if current.is_valid() {
        whose.insert("trace_id".to_owned(), current.trace_id().to_string().into());
        whose.insert("span_id".to_owned(), current.span_id().to_string().into());
        whose.insert("trace_flags".to_owned(), format!("{:02x}", current.trace_flags()).into());
    }
    for span in context.event_scope().into_iter().flatten() {
        if let Some(carried) = span.extensions().get::<Carried>() {
            for (name, value) in &carried.0 {
                whose.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(trace) = whose.get("trace_id").cloned() {
        // What nobody has asked for has no id of a request but this one.
        whose.entry("request_id").or_insert(trace);
    }
    whose
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::{
        fmt::{self, MakeWriter},
        layer::SubscriberExt,
        registry,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// What is written about this, as JSON and as text.
    fn written(say: impl Fn()) -> (String, String) {
        let (json, text) = (Lines::default(), Lines::default());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let lines = fmt::layer().with_writer(json.clone()).fmt_fields(Unsaid).event_format(Json::default());
        let people = fmt::layer().with_writer(text.clone()).with_ansi(false).without_time().fmt_fields(Text);
        tracing::subscriber::with_default(registry().with(spans).with(Carry).with(lines).with(people), say);
        (json.text(), text.text())
    }

    #[test]
    fn a_line_has_the_ids_of_its_innermost_span_and_what_all_of_them_carry() {
        let (json, text) = written(|| {
            let outer =
                tracing::info_span!("request", otel.kind = "server", request_id = "r-1", uid = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("uid", "u-1");
            let inner = tracing::info_span!("inner", http.route = "/a", other = 1);
            let _inner = inner.enter();
            tracing::info!(a = 1, "hello \"you\"");
            tracing::info!(uid = "its own", "twice");
        });
        let lines: Vec<_> = json.lines().collect();
        let first: Map<String, Value> = serde_json::from_str(lines[0]).unwrap();
        let mut keys: Vec<_> = first.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = "a level message request_id span_id target timestamp trace_flags trace_id uid";
        assert_eq!(keys.join(" "), expected, "{json}");
        let said = ["message", "request_id", "uid", "trace_flags"].map(|key| first[key].as_str().unwrap_or_default());
        assert_eq!(said, ["hello \"you\"", "r-1", "u-1", "01"]);
        assert_eq!((lines[1].matches("\"uid\":").count(), lines[1].contains("its own")), (1, true), "{json}");
        let expected = "request{request_id=\"r-1\" uid=\"u-1\"}:inner{other=1}: tracesteward::telemetry::log::tests: hello \"you\" a=1\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_reconcile_is_known_by_its_trace_and_what_is_in_no_span_has_no_ids() {
        let (json, _) = written(|| {
            tracing::info_span!("reconcile", controller = "policy").in_scope(|| tracing::info!("within"));
            tracing::info!("without");
        });
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines[0]["trace_id"].is_string(), "{json}");
        assert_eq!((&lines[0]["request_id"], &lines[0]["controller"]), (&lines[0]["trace_id"], &"policy".into()));
        assert!(["trace_id", "request_id", "controller"].iter().all(|key| lines[1].get(key).is_none()), "{json}");
    }
}
