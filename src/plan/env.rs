//! The variables of one container (DESIGN section 2), from settings that are complete and valid.

use std::collections::BTreeMap;

use super::{effective::Head, export::ResolvedExport};
use crate::{
    api::{Compression, DurationText, Language, Limits, Propagator, Protocol, Ratio, Sampling, Settings},
    index::{
        ENV_NAMES, EnvValue, FIELD_NODE_NAME, FIELD_POD_NAME, FIELD_VERSION_LABEL, VERSION_LABEL, Workload, env_name,
    },
};

/// A variable to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// One of [`ENV_NAMES`].
    pub name: &'static str,
    /// What it is set to.
    pub value: EnvValue,
}

/// Everything that decides the variables of a workload, apart from the container.
pub(super) struct Inputs<'a> {
    pub(super) settings: &'a Settings,
    pub(super) export: &'a ResolvedExport,
    pub(super) workload: &'a Workload,
    pub(super) service_name: &'a str,
}

/// The variables of one container, in the order of [`ENV_NAMES`]. The tag of its image is its version where nothing else says one.
pub(super) fn variables(inputs: &Inputs<'_>, container: &str, tag: Option<&str>) -> Vec<Variable> {
    let mut values = Values::default();
    export(inputs, &mut values);
    identity(inputs, container, tag, &mut values);
    if let Some(sampling) = &inputs.settings.sampling {
        sampler(sampling, &mut values);
    }
    let propagators =
        inputs.settings.propagators.as_deref().unwrap_or(&[Propagator::Tracecontext, Propagator::Baggage]);
    let propagators: Vec<_> = propagators.iter().map(|propagator| propagator.as_str()).collect();
    values.literal("OTEL_PROPAGATORS", propagators.join(","));
    if let Some(limits) = &inputs.settings.limits {
        sdk_limits(limits, &mut values);
    }
    switches(inputs.settings, &mut values);
    values.in_order()
}

#[derive(Default)]
struct Values(BTreeMap<&'static str, EnvValue>);

impl Values {
    fn set(&mut self, name: &str, value: EnvValue) {
        // A name outside of the list cannot get into a workload, whatever the code above says.
        if let Some(name) = env_name(name) {
            self.0.insert(name, value);
        }
    }

    fn literal(&mut self, name: &str, value: impl Into<String>) {
        self.set(name, EnvValue::Literal(value.into()));
    }

    fn in_order(mut self) -> Vec<Variable> {
        let take = |name: &&'static str| self.0.remove(*name).map(|value| Variable { name, value });
        ENV_NAMES.iter().filter_map(take).collect()
    }
}

fn export(inputs: &Inputs<'_>, values: &mut Values) {
    let export = inputs.export;
    values.literal("OTEL_EXPORTER_OTLP_ENDPOINT", escape(&export.endpoint));
    values.literal(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        match export.protocol {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
        },
    );
    if let Some(secret) = &export.headers_secret {
        values.set("OTEL_EXPORTER_OTLP_HEADERS", EnvValue::HeadersSecret(secret.clone()));
    }
    if let Some(timeout) = export.timeout.as_ref().and_then(DurationText::as_millis) {
        // The specification says milliseconds; the Python SDK reads seconds, and older releases of it whole ones.
        let python = inputs.settings.language == Some(Language::Python);
        let number = if python { timeout.div_ceil(1_000) } else { timeout };
        values.literal("OTEL_EXPORTER_OTLP_TIMEOUT", number.to_string());
    }
    // The Python exporter for gRPC knows gzip and nothing else, and fails to start with "none", which is its default anyway.
    let python_grpc = inputs.settings.language == Some(Language::Python) && export.protocol == Protocol::Grpc;
    let compression = export.compression.filter(|compression| *compression == Compression::Gzip || !python_grpc);
    if let Some(compression) = compression {
        values.literal(
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            match compression {
                Compression::Gzip => "gzip",
                Compression::None => "none",
            },
        );
    }
    values.literal("OTEL_TRACES_EXPORTER", "otlp");
}

fn identity(inputs: &Inputs<'_>, container: &str, tag: Option<&str>, values: &mut Values) {
    values.literal("OTEL_SERVICE_NAME", escape(inputs.service_name));
    values.set("TRACESTEWARD_POD_NAME", EnvValue::FieldRef(FIELD_POD_NAME));
    values.set("TRACESTEWARD_NODE_NAME", EnvValue::FieldRef(FIELD_NODE_NAME));
    let attributes = attributes(inputs, container, tag);
    if attributes.get("service.version").map(String::as_str) == Some(VERSION_REFERENCE) {
        values.set("TRACESTEWARD_SERVICE_VERSION", EnvValue::FieldRef(FIELD_VERSION_LABEL));
    }
    let pairs: Vec<_> = attributes.iter().map(|(key, value)| format!("{}={value}", encode(key))).collect();
    values.literal("OTEL_RESOURCE_ATTRIBUTES", pairs.join(","));
}

const VERSION_REFERENCE: &str = "$(TRACESTEWARD_SERVICE_VERSION)";

/// Resource attributes with encoded values: derived < annotations of the pod template < the policy's.
fn attributes(inputs: &Inputs<'_>, container: &str, tag: Option<&str>) -> BTreeMap<String, String> {
    let id = &inputs.workload.id;
    let mut attributes = BTreeMap::from([
        ("service.namespace".to_owned(), encode(&id.namespace)),
        ("k8s.namespace.name".to_owned(), encode(&id.namespace)),
        ("k8s.container.name".to_owned(), encode(container)),
        ("k8s.pod.name".to_owned(), "$(TRACESTEWARD_POD_NAME)".to_owned()),
        ("k8s.node.name".to_owned(), "$(TRACESTEWARD_NODE_NAME)".to_owned()),
        (
            "service.instance.id".to_owned(),
            format!("{}.$(TRACESTEWARD_POD_NAME).{}", encode(&id.namespace), encode(container)),
        ),
    ]);
    attributes.extend(id.kind.attribute().map(|attribute| (attribute.to_owned(), encode(&id.name))));
    attributes.extend(tag.map(|tag| ("service.version".to_owned(), encode(tag))));
    if inputs.workload.labels.get(VERSION_LABEL).is_some_and(|version| !version.is_empty()) {
        attributes.insert("service.version".to_owned(), VERSION_REFERENCE.to_owned());
    }
    let annotated = inputs.workload.attributes.iter().filter(|(key, _)| key.as_str() != "service.name");
    attributes.extend(annotated.map(|(key, value)| (key.clone(), encode(value))));
    if let Some(service) = &inputs.settings.service {
        let named = [("service.namespace", &service.namespace), ("service.version", &service.version)];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), encode(value.as_deref()?))));
        attributes.extend(named);
        attributes.extend(service.attributes.iter().map(|(key, value)| (key.clone(), encode(value))));
    }
    attributes
}

fn sampler(sampling: &Sampling, values: &mut Values) {
    let Some(Head { ratio, parent_based }) = Head::new(sampling) else { return };
    let prefix = if parent_based { "parentbased_" } else { "" };
    let name = match ratio {
        Ratio(ratio) if ratio >= 1.0 => "always_on",
        Ratio(ratio) if ratio <= 0.0 => "always_off",
        Ratio(_) => "traceidratio",
    };
    values.literal("OTEL_TRACES_SAMPLER", format!("{prefix}{name}"));
    if name == "traceidratio" {
        values.literal("OTEL_TRACES_SAMPLER_ARG", ratio.decimal());
    }
}

fn sdk_limits(limits: &Limits, values: &mut Values) {
    let millis = |duration: &Option<DurationText>| duration.as_ref()?.as_millis().map(|millis| millis.to_string());
    let number = |number: &Option<i32>| number.map(|number| number.to_string());
    let all = [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", number(&limits.span_attributes)),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", number(&limits.attribute_value_length)),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", number(&limits.span_events)),
        ("OTEL_BSP_SCHEDULE_DELAY", millis(&limits.schedule_delay)),
        ("OTEL_BSP_EXPORT_TIMEOUT", millis(&limits.export_timeout)),
        ("OTEL_BSP_MAX_QUEUE_SIZE", number(&limits.queue_size)),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", number(&limits.batch_size)),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            values.literal(name, value);
        }
    }
}

fn switches(settings: &Settings, values: &mut Values) {
    let correlation = settings.logs.as_ref().and_then(|logs| logs.correlation);
    match (correlation, settings.language) {
        (Some(correlation), Some(Language::Python)) => {
            values.literal("OTEL_PYTHON_LOG_CORRELATION", correlation.to_string());
        }
        // On by itself where the agent runs; each logging library has its own switch.
        (Some(false), Some(Language::Java)) => {
            for library in ["LOGBACK_MDC", "LOG4J_CONTEXT_DATA", "LOG4J_MDC", "JBOSS_LOGMANAGER_MDC"] {
                values.literal(&format!("OTEL_INSTRUMENTATION_{library}_ENABLED"), "false");
            }
        }
        _ => {}
    }
    if let Some(capture) = settings.gen_ai.as_ref().and_then(|gen_ai| gen_ai.capture_content) {
        // Whatever is not "true", or a mode of newer Python instrumentations, captures nothing.
        values.literal("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", capture.to_string());
    }
}

/// Keeps the kubelet from expanding what a user wrote: it reads `$$` as `$` and `$(NAME)` as a reference.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '$' && matches!(characters.peek(), Some('(' | '$')) {
            escaped.push('$');
        }
    }
    escaped
}

/// Percent-encodes everything but letters, digits and `-._~/:` (OpenTelemetry specification, resource SDK: values of
/// `OTEL_RESOURCE_ATTRIBUTES` are encoded as in W3C Baggage).
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_is_never_expanded() {
        assert_eq!(escape("http://a/$(HOME)"), "http://a/$$(HOME)");
        assert_eq!(escape("a$$(b)$"), "a$$$$(b)$");
        assert_eq!(escape("costs $5"), "costs $5");
    }

    #[test]
    fn attribute_values_are_encoded() {
        assert_eq!(encode("a b,c=d"), "a%20b%2Cc%3Dd");
        assert_eq!(encode("1.4.2-rc/x:y~z_"), "1.4.2-rc/x:y~z_");
        assert_eq!(encode("ü$(X)"), "%C3%BC%24%28X%29");
    }
}
