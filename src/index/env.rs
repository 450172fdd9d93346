//! The variables that the operator may write, and no others.

/// Every variable that the operator may ever write, in the order in which they stand in a container (DESIGN section 2).
/// `$(NAME)` refers to earlier variables only, so the three that feed `OTEL_RESOURCE_ATTRIBUTES` stand before it.
pub const ENV_NAMES: [&str; 41] = [
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
    "OTEL_INSTRUMENTATION_LOGBACK_MDC_ENABLED",
    "OTEL_INSTRUMENTATION_LOG4J_CONTEXT_DATA_ENABLED",
    "OTEL_INSTRUMENTATION_LOG4J_MDC_ENABLED",
    "OTEL_INSTRUMENTATION_JBOSS_LOGMANAGER_MDC_ENABLED",
    "OTEL_NODE_DISABLED_INSTRUMENTATIONS",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "PYTHONPATH",
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "CORECLR_ENABLE_PROFILING",
    "CORECLR_PROFILER",
    "CORECLR_PROFILER_PATH",
    "CORECLR_PROFILER_PATH_ARM64",
    "DOTNET_STARTUP_HOOKS",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_SHARED_STORE",
    "OTEL_DOTNET_AUTO_HOME",
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
    /// The user's own plain value, joined with the hook of that name (`plan::instrument::joined`): values of users are kept
    /// nowhere, so it is joined where it is written.
    Joined,
    /// Anything that the operator does not write.
    Foreign,
}
