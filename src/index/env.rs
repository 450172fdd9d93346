//! The variables that the operator may write, and no others.

/// Every variable that the operator may ever write, in the order in which they stand in a container (DESIGN section 2).
/// `$(NAME)` refers to earlier variables only, so the three that feed `OTEL_RESOURCE_ATTRIBUTES` stand before it.
pub const ENV_NAMES: [&str; 23] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_TRACES_EXPORTER",
    "OTEL_SERVICE_NAME",
    "TRACESTEWARD_POD_NAME",
    "TRACESTEWARD_NODE_NAME",
    "TRACESTEWARD_SERVICE_VERSION",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PROPAGATORS",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_PYTHON_LOG_CORRELATION",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
];

/// Names outside of the list of which it matters that the user sets them: the signal's own endpoint beats the general one,
/// and a policy's headers must not go there; the switch of the SDK is what somebody looks for whose spans do not come.
pub(super) const WATCHED_NAMES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"];

/// The static form of a name that matters to the operator, so that an index of many workloads holds no copies.
pub fn env_name(name: &str) -> Option<&'static str> {
    ENV_NAMES.iter().chain(&WATCHED_NAMES).copied().find(|known| *known == name)
}

/// What a variable is set to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EnvValue {
    /// A plain value.
    Literal(String),
    /// `valueFrom.fieldRef.fieldPath`.
    FieldRef(&'static str),
    /// `valueFrom.secretKeyRef` with `optional: true` and the fixed key; the Secret's name.
    HeadersSecret(String),
    /// Anything that the operator does not write.
    Foreign,
}
