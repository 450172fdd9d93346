//! What injected instrumentation depends on in a pod template.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, raw::PodSpec};

/// Annotations of the OpenTelemetry operator (its documentation, "Auto-instrumentation").
const PREFIX: &str = "instrumentation.opentelemetry.io/";

/// The init containers of the OpenTelemetry operator: this, or this and the language.
const OTHER_INIT_CONTAINER: &str = "opentelemetry-auto-instrumentation";

/// What injected instrumentation depends on in a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Whether its pods run on Windows.
    pub windows: bool,
    /// The user that its containers run as, unless they say another.
    pub run_as_user: Option<i64>,
    /// Languages of which an annotation says that the C library is musl.
    pub musl: BTreeSet<Agent>,
    /// Languages that the OpenTelemetry operator instruments.
    pub other_agents: BTreeSet<Agent>,
}

impl Pod {
    pub(super) fn read(annotations: &BTreeMap<String, String>, spec: &PodSpec) -> Self {
        let annotation = |name: &str| annotations.get(&format!("{PREFIX}{name}")).map(String::as_str);
        let mut musl = BTreeSet::new();
        if annotation("otel-python-platform") == Some("musl") {
            musl.insert(Agent::Python);
        }
        if annotation("otel-dotnet-auto-runtime").is_some_and(|runtime| runtime.starts_with("linux-musl")) {
            musl.insert(Agent::Dotnet);
        }
        let init_containers = || spec.init_containers.iter().flatten().map(|container| container.name.as_str());
        let is_at_work = |agent: &Agent| {
            let wanted = annotation(&format!("inject-{}", agent.as_str()));
            let own = init_containers().filter_map(|name| name.strip_prefix(OTHER_INIT_CONTAINER));
            wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case("false"))
                || own.clone().any(|language| language.is_empty() || language == format!("-{}", agent.as_str()))
        };
        Self {
            windows: spec.os.as_ref().is_some_and(|os| os.name == "windows"),
            run_as_user: spec.security_context.as_ref().and_then(|context| context.run_as_user),
            musl,
            other_agents: Agent::ALL.into_iter().filter(is_at_work).collect(),
        }
    }
}
