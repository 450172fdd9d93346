//! The variables that the operator may write, and no others.

use std::fmt;

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
    all_names().find(|known| *known == name)
}

/// A set of names that matter to the operator. One word, where a tree would be as large as the rest of a container.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct EnvNames(u64);

/// All of them, in the order of their bits.
fn all_names() -> impl Iterator<Item = &'static str> {
    ENV_NAMES.iter().chain(&WATCHED_NAMES).copied()
}

impl EnvNames {
    fn bit(name: &str) -> u64 {
        all_names().position(|known| known == name).map_or(0, |place| 1 << place)
    }

    /// Whether the name is one of them.
    pub fn contains(self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// Adds a name; says whether it is new.
    pub fn insert(&mut self, name: &'static str) -> bool {
        let before = self.0;
        self.0 |= Self::bit(name);
        self.0 != before
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0 = 0;
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Each of them, in the order in which they stand in a container.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        all_names().enumerate().filter(move |(place, _)| self.0 & (1 << place) != 0).map(|(_, name)| name)
    }
}

impl FromIterator<&'static str> for EnvNames {
    fn from_iter<I: IntoIterator<Item = &'static str>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |all, name| all | Self::bit(name)))
    }
}

impl fmt::Debug for EnvNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_bit_of_its_own() {
        let all: EnvNames = all_names().collect();
        assert_eq!(all.len(), ENV_NAMES.len() + WATCHED_NAMES.len());
        assert!(all.iter().eq(all_names()) && all_names().all(|name| all.contains(name)));
        let mut some = EnvNames::default();
        assert!(some.is_empty() && !some.contains("PYTHONPATH"));
        assert!(some.insert("PYTHONPATH") && !some.insert("PYTHONPATH"));
        assert!(some.contains("PYTHONPATH") && !some.contains("NODE_OPTIONS") && !some.contains("LD_PRELOAD"));
        assert_eq!(format!("{some:?}"), r#"{"PYTHONPATH"}"#);
        some.clear();
        assert!(some.is_empty());
    }
}
