//! Lines of JSON that say which trace, and which request, they belong to.

use std::fmt;

use opentelemetry::{Context as OtelContext, trace::TraceContextExt};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
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
