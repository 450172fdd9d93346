//! What injected instrumentation depends on in a pod template.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, Part, parts::Fields, raw::PodSpec};

/// Annotations of the OpenTelemetry operator (its documentation, "Auto-instrumentation").
const PREFIX: &str = "instrumentation.opentelemetry.io/";

/// The init containers of the OpenTelemetry operator: this, or this and the language.
const OTHER_INIT_CONTAINER: &str = "opentelemetry-auto-instrumentation";

/// What injected instrumentation depends on in a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Whether its pods run on Windows.
    pub windows: bool,
    /// Whether it says what all containers get together.
    pub has_resources: bool,
    /// The user that its containers run as, unless they say another.
    pub run_as_user: Option<i64>,
    /// Languages of which an annotation says that the C library is musl.
    pub musl: BTreeSet<Agent>,
    /// Languages of which the pod template says whether the OpenTelemetry operator instruments them.
    pub other_agents: BTreeMap<Agent, bool>,
    /// Init containers of the operator's, or under its names.
    pub init_containers: Vec<Part>,
    /// Volumes of the operator's, or under its name.
    pub volumes: Vec<Part>,
}

impl TemplateFacts {
    /// Takes what it needs out of the specification.
    pub(super) fn read(annotations: &BTreeMap<String, String>, spec: &mut PodSpec, fields: &Fields<'_>) -> Self {
        let annotation = |name: &str| annotations.get(&format!("{PREFIX}{name}")).map(String::as_str);
        let mut musl = BTreeSet::new();
        if annotation("otel-python-platform") == Some("musl") {
            musl.insert(Agent::Python);
        }
        if annotation("otel-dotnet-auto-runtime").is_some_and(|runtime| runtime.starts_with("linux-musl")) {
            musl.insert(Agent::Dotnet);
        }
        let init_containers = spec.init_containers.take().unwrap_or_default();
        let mut other_agents = injected_by_others(annotations);
        for name in init_containers.iter().filter_map(|container| container.name.strip_prefix(OTHER_INIT_CONTAINER)) {
            let language = name.trim_start_matches('-');
            let of = Agent::ALL.into_iter().filter(|agent| language.is_empty() || language == agent.as_str());
            other_agents.extend(of.map(|agent| (agent, true)));
        }
        Self {
            windows: is_windows(spec),
            has_resources: spec.resources.is_some(),
            run_as_user: spec.security_context.as_ref().and_then(|context| context.run_as_user),
            musl,
            other_agents,
            init_containers: fields.init_containers(init_containers),
            volumes: fields.volumes(spec.volumes.take().unwrap_or_default()),
        }
    }

    /// Whether the operator's field manager holds any of it.
    pub fn is_held(&self) -> bool {
        self.init_containers.iter().chain(&self.volumes).any(|part| part.held)
    }
}

/// `spec.os` is optional: most say it by the label of the node.
fn is_windows(spec: &PodSpec) -> bool {
    let selected = spec.node_selector.iter().flatten();
    let mut labels =
        selected.filter(|(label, _)| matches!(label.as_str(), "kubernetes.io/os" | "beta.kubernetes.io/os"));
    spec.os.as_ref().is_some_and(|os| os.name == "windows") || labels.any(|(_, os)| os == "windows")
}

/// Languages of which annotations say whether the OpenTelemetry operator instruments them, on a pod or a Namespace.
pub(super) fn injected_by_others(annotations: &BTreeMap<String, String>) -> BTreeMap<Agent, bool> {
    let said = |agent: Agent| {
        let wanted = annotations.get(&format!("{PREFIX}inject-{}", agent.as_str()))?;
        Some((agent, !wanted.eq_ignore_ascii_case("false")))
    };
    Agent::ALL.into_iter().filter_map(said).collect()
}

/// The range of users of a project: `OpenShift` gives each container one of it, and refuses others.
const USER_RANGE: &str = "openshift.io/sa.scc.uid-range";

/// What a namespace says of all its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDefaults {
    /// Whether `OpenShift` chooses the users that containers run as.
    pub assigns_users: bool,
    /// Languages of which the namespace says whether the OpenTelemetry operator instruments them.
    pub other_agents: BTreeMap<Agent, bool>,
}

impl PodDefaults {
    /// Reads the annotations of a Namespace.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        Self { assigns_users: annotations.contains_key(USER_RANGE), other_agents: injected_by_others(annotations) }
    }
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceMeta {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it says of its pods.
    pub pods: PodDefaults,
}

impl From<BTreeMap<String, String>> for NamespaceMeta {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self { labels, ..Self::default() }
    }
}
