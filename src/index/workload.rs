//! A workload, reduced to what planning needs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::{
    ENV_NAMES, EnvNames, EnvValue, IGNORE, Ignored, MANAGED_BY, MANAGED_BY_LABEL, Notes, Refusal, Rollout, Root,
    TemplateFacts, WorkloadId, WorkloadKind, env_name,
    ownership::Ownership,
    parts::{Fields, Part},
    raw::{PodSpec, PodTemplate, RawContainer, RawEnvVar, RawParts, RawResources, RawWorkload, TemplateMeta},
};
use crate::api::{CONTAINERS_ANNOTATION, GROUP, HEADERS_KEY};

/// Annotations of the pod template with this prefix are resource attributes
/// (OpenTelemetry semantic conventions, non-normative, "Kubernetes attributes").
const ATTRIBUTE_PREFIX: &str = "resource.opentelemetry.io/";

/// The label whose value is the version of what runs (Kubernetes, recommended labels).
pub(crate) const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// A workload, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// Guards every write: a workload of the same name that was made anew is another one.
    pub uid: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether the operator made it for a collector: such a workload is never injected.
    pub is_collector: bool,
    /// What its service is called where nothing says so, if not by the workload's name.
    pub called: Option<String>,
    /// The labels of the pod template.
    pub labels: BTreeMap<String, String>,
    /// Resource attributes from annotations of the pod template, without the prefix.
    pub attributes: BTreeMap<String, String>,
    /// The regular containers, in order.
    pub containers: Vec<Container>,
    /// What injected instrumentation depends on.
    pub pod: TemplateFacts,
    /// What is not to be said about it.
    pub ignored: Ignored,
    /// Which version of its specification this is.
    pub generation: i64,
    /// How far its controller is with the pod template.
    pub rollout: Rollout,
    /// What the operator has noted on it.
    pub notes: Option<Box<Notes>>,
}

/// A container, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The tag of its image, if it has one.
    pub tag: Option<String>,
    /// The variables that matter to the operator, in order.
    pub env: Vec<EnvVar>,
    /// Whether it takes whole sources of variables (`envFrom`), which cannot be seen.
    pub env_from: bool,
    /// Names of variables that are listed more than once, of any kind.
    pub duplicates: Vec<String>,
    /// The variables that the operator's field manager holds, also those that somebody else holds too; without `kept`.
    pub held: EnvNames,
    /// Variables whose value is somebody else's, in an entry that only the operator's field manager holds: it must go on
    /// holding them, or they would vanish with the user's value.
    pub kept: BTreeSet<String>,
    /// The operator's variables whose value `kubectl rollout undo` has put back: nobody meant to set them, and they can be
    /// written again only after they were let go of.
    pub rolled_back: EnvNames,
    /// Whether the operator's field manager holds variables that this version does not know.
    pub holds_unknown: bool,
    /// Whether the container's own resource attributes say what the service is called.
    pub names_service: bool,
    /// What it gets, where it says so.
    pub resources: Option<Box<Resources>>,
    /// The user that it runs as, where it says so.
    pub run_as_user: Option<i64>,
    /// The user's variables that take their value from somewhere (`valueFrom`).
    pub sourced: EnvNames,
    /// Mounts of the operator's, or under its names.
    pub mounts: Vec<Part>,
}

/// What a container gets of the processor and of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Of the processor.
    pub cpu: Bounds,
    /// Of memory.
    pub memory: Bounds,
}

/// What a container gets of something, as quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub request: Option<String>,
    /// At most.
    pub limit: Option<String>,
}

impl Resources {
    fn read(raw: RawResources) -> Option<Self> {
        let (requests, limits) = (raw.requests.unwrap_or_default(), raw.limits.unwrap_or_default());
        let text = |map: &BTreeMap<String, Value>, name: &str| match map.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let bounds = |name: &str| Bounds { request: text(&requests, name), limit: text(&limits, name) };
        let read = Self { cpu: bounds("cpu"), memory: bounds("memory") };
        (read != Self::default()).then_some(read)
    }
}

/// A variable that matters to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: &'static str,
    /// Whose it is, and for the operator's own what it is set to. Values of users are never kept.
    pub owner: Owner,
}

/// Whose a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user's: left alone.
    User,
    /// The operator's, with its value.
    Operator(EnvValue),
}

impl Workload {
    /// Reduces what was read.
    pub fn reduce<R: RawWorkload>(raw: R) -> Self {
        let RawParts { meta, template, rollout } = raw.into_parts();
        Self { rollout, ..Self::from_parts(R::KIND, &meta, template) }
    }

    /// Reduces metadata and pod template of a workload of this kind.
    pub fn from_parts(kind: WorkloadKind, meta: &ObjectMeta, template: PodTemplate) -> Self {
        let managed = meta.managed_fields.as_deref().unwrap_or_default();
        let (ownership, fields) = (Ownership::read(kind, managed), Fields::read(kind, managed));
        let template_meta = template.metadata.unwrap_or_default();
        let annotations = template_meta.annotations.unwrap_or_default();
        let mut spec = template.spec.unwrap_or_default();
        let pod = TemplateFacts::read(&annotations, &mut spec, &fields);
        let notes = Notes::read(kind, meta, |name| annotations.get(name));
        let attributes = annotations.into_iter().filter_map(|(key, value)| {
            let attribute = key.strip_prefix(ATTRIBUTE_PREFIX)?;
            (!attribute.is_empty()).then(|| (attribute.to_owned(), value))
        });
        let ignore = meta.annotations.as_ref().and_then(|annotations| annotations.get(IGNORE));
        let containers = spec.containers.unwrap_or_default();
        Self {
            id: WorkloadId {
                namespace: meta.namespace.clone().unwrap_or_default(),
                kind,
                name: meta.name.clone().unwrap_or_default(),
            },
            uid: meta.uid.clone(),
            deleting: meta.deletion_timestamp.is_some(),
            is_collector: meta.owner_references.iter().flatten().any(is_collector),
            called: None,
            labels: template_meta.labels.unwrap_or_default(),
            attributes: attributes.collect(),
            containers: fitting(
                containers.into_iter().map(|container| Container::reduce(container, &ownership, &fields)),
            ),
            pod,
            ignored: Ignored::read(ignore.map(String::as_str).unwrap_or_default()),
            generation: meta.generation.unwrap_or_default(),
            rollout: Rollout::default(),
            notes,
        }
    }

    /// Reduces a pod that is, or is about to be, one of this workload's; without a specification it has no containers.
    pub fn of_pod(root: Root, meta: &ObjectMeta, spec: Option<PodSpec>) -> Self {
        let labels = meta.labels.clone();
        let is_collector =
            labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL)).map(String::as_str) == Some(MANAGED_BY);
        let template_meta = TemplateMeta { labels, annotations: meta.annotations.clone() };
        // What managers hold in a pod says nothing about its template.
        let plain = ObjectMeta { managed_fields: None, ..meta.clone() };
        let template = PodTemplate { metadata: Some(template_meta), spec };
        let mut reduced = Self::from_parts(root.id.kind, &plain, template);
        let injected = meta.annotations.as_ref().and_then(|all| all.get(CONTAINERS_ANNOTATION));
        reduced.was_injected(injected.map(String::as_str).unwrap_or_default());
        Self { id: root.id, called: root.called, is_collector: reduced.is_collector || is_collector, ..reduced }
    }

    /// What is in a pod from its creation is not the user's: in these containers, with commas between them.
    fn was_injected(&mut self, containers: &str) {
        let is_meant = |container: &&mut Container| containers.split(',').any(|name| name == container.name);
        let mut any = false;
        for container in self.containers.iter_mut().filter(is_meant) {
            any = true;
            container.env.retain(|variable| !ENV_NAMES.contains(&variable.name));
            container.sourced.clear();
            container.names_service = false;
            container.mounts.iter_mut().for_each(|part| part.held = true);
        }
        let parts = self.pod.init_containers.iter_mut().chain(&mut self.pod.volumes);
        parts.filter(|_| any).for_each(|part| part.held = true);
    }

    /// Whether everything that its service can be told by is the same; what the operator holds tells nothing.
    pub fn is_same_service(&self, other: &Self) -> bool {
        let containers = |workload: &Self| -> Vec<_> {
            let users = |container: &Container| -> Vec<&'static str> {
                container.env.iter().filter(|variable| variable.owner == Owner::User).map(|known| known.name).collect()
            };
            let of = |container: &Container| {
                (container.name.clone(), container.names_service, container.env_from, users(container))
            };
            workload.containers.iter().map(of).collect()
        };
        let metadata = |workload: &Self| (workload.labels.clone(), workload.attributes.clone(), workload.uid.clone());
        self.deleting == other.deleting && metadata(self) == metadata(other) && containers(self) == containers(other)
    }

    /// What a manifest becomes where it is applied over this live workload: the operator's variables that it does not
    /// name stay in it.
    pub fn succeed(&mut self, live: &Self) {
        self.uid.clone_from(&live.uid);
        self.is_collector = live.is_collector;
        self.rollout = live.rollout;
        self.notes.clone_from(&live.notes);
        for container in &mut self.containers {
            let Some(known) = live.containers.iter().find(|known| known.name == container.name) else { continue };
            for variable in known.env.iter().filter(|variable| matches!(variable.owner, Owner::Operator(_))) {
                if !container.is_users(variable.name) && container.held.insert(variable.name) {
                    container.env.push(variable.clone());
                }
            }
            container.holds_unknown |= known.holds_unknown;
            succeed(&mut container.mounts, &known.mounts);
        }
        succeed(&mut self.pod.init_containers, &live.pod.init_containers);
        succeed(&mut self.pod.volumes, &live.pod.volumes);
    }

    /// The same with exactly these variables of the operator's in its containers: what it is like after a write.
    #[must_use]
    pub fn with_variables(&self, wanted: &[(&str, Vec<(&'static str, EnvValue)>)]) -> Self {
        let mut settled = self.clone();
        for container in &mut settled.containers {
            container.env.retain(|variable| variable.owner == Owner::User);
            container.held.clear();
            container.rolled_back.clear();
            container.holds_unknown = false;
            let own = wanted.iter().filter(|(name, _)| *name == container.name).flat_map(|(_, variables)| variables);
            for (name, value) in own {
                container.env.push(EnvVar { name, owner: Owner::Operator(value.clone()) });
                container.held.insert(name);
            }
        }
        settled
    }

    /// Whether the operator's field manager holds anything in this workload.
    pub fn is_held(&self) -> bool {
        let holds = |container: &Container| {
            !container.held.is_empty() || container.holds_unknown || container.mounts.iter().any(|mount| mount.held)
        };
        self.is_noted() || self.pod.is_held() || self.containers.iter().any(holds)
    }

    /// Whether the operator's field manager holds a note on this workload.
    pub fn is_noted(&self) -> bool {
        self.notes.as_ref().is_some_and(|notes| notes.is_held())
    }

    /// Whether `kubectl rollout undo` has changed anything of the operator's.
    pub fn is_rolled_back(&self) -> bool {
        let mounts = self.containers.iter().flat_map(|container| &container.mounts);
        let parts = mounts.chain(&self.pod.init_containers).chain(&self.pod.volumes);
        self.containers.iter().any(|container| !container.rolled_back.is_empty()) || { parts }
            .any(|part| part.rolled_back)
    }

    /// What was taken back in it.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.notes.as_ref()?.refusal.as_ref()
    }

    /// The configuration for which its pods were restarted last.
    pub fn restarted_for(&self) -> Option<&str> {
        self.notes.as_ref()?.restarted_for.as_deref()
    }
}

impl Container {
    fn reduce(raw: RawContainer, ownership: &Ownership, fields: &Fields<'_>) -> Self {
        let variables = raw.env.unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut duplicates = BTreeSet::new();
        for variable in &variables {
            if !seen.insert(variable.name.as_str()) {
                duplicates.insert(variable.name.clone());
            }
        }
        let kept: BTreeSet<_> = variables
            .iter()
            .filter(|variable| ownership.is_kept(&raw.name, &variable.name))
            .map(|variable| variable.name.clone())
            .collect();
        let holds =
            |variable: &RawEnvVar| ownership.is_held(&raw.name, &variable.name) && !kept.contains(&variable.name);
        let held: EnvNames = variables
            .iter()
            .filter(|variable| holds(variable))
            .filter_map(|variable| env_name(&variable.name))
            .collect();
        let holds_unknown = ownership.holds_any(&raw.name) && {
            let known = |variable: &RawEnvVar| env_name(&variable.name).is_some();
            variables.iter().any(|variable| holds(variable) && !known(variable))
        };
        let rolled_back = held.iter().filter(|name| ownership.is_rolled_back(&raw.name, name)).collect();
        let names_service = variables.iter().any(names_service);
        let sourced = variables.iter().filter(|variable| variable.value_from.is_some());
        let sourced = sourced.filter(|variable| !ownership.is_ours(&raw.name, &variable.name));
        let sourced = sourced.filter_map(|variable| env_name(&variable.name)).collect();
        let env = variables.into_iter().filter_map(|variable| EnvVar::reduce(variable, &raw.name, ownership));
        let env = fitting(env);
        let mounts = fields.mounts(&raw.name, raw.volume_mounts.unwrap_or_default());
        let env_from = raw.env_from.is_some_and(|sources| !sources.is_empty());
        Self {
            tag: raw.image.as_deref().and_then(tag).map(str::to_owned),
            name: raw.name,
            env,
            env_from,
            duplicates: duplicates.into_iter().collect(),
            held,
            kept,
            rolled_back,
            holds_unknown,
            names_service,
            resources: raw.resources.and_then(Resources::read).map(Box::new),
            run_as_user: raw.security_context.and_then(|context| context.run_as_user),
            sourced,
            mounts,
        }
    }

    /// The variable with this name, if the container lists it.
    pub fn variable(&self, name: &str) -> Option<&EnvVar> {
        self.env.iter().find(|variable| variable.name == name)
    }

    /// Whether the user sets this variable in this container.
    pub fn is_users(&self, name: &str) -> bool {
        // Of a name that is listed twice, one entry is the user's for certain: the operator never adds a second one.
        self.variable(name).is_some_and(|variable| variable.owner == Owner::User)
            || self.duplicates.iter().any(|duplicate| duplicate == name)
    }
}

impl EnvVar {
    fn reduce(raw: RawEnvVar, container: &str, ownership: &Ownership) -> Option<Self> {
        let name = env_name(&raw.name)?;
        let owner = match (ownership.is_ours(container, name), ownership.is_rolled_back(container, name)) {
            (false, _) => Owner::User,
            (true, true) => Owner::Operator(EnvValue::Foreign),
            (true, false) => Owner::Operator(own_value(raw)),
        };
        Some(Self { name, owner })
    }
}

/// Collected without room for more: a list that is made of another one would keep the memory of that, which held whole objects.
pub(super) fn fitting<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = items.collect();
    list.shrink_to_fit();
    list
}

/// The tag of an image: between the name and a digest.
fn tag(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    last.split_once(':').map(|(_, tag)| tag).filter(|tag| !tag.is_empty())
}

/// What the operator holds of a live object stays in it where a manifest without it is applied.
fn succeed(parts: &mut Vec<Part>, live: &[Part]) {
    let is_new = |part: &&Part| part.held && !parts.iter().any(|own| own.key == part.key);
    let staying: Vec<_> = live.iter().filter(is_new).cloned().collect();
    parts.extend(staying);
}

fn is_collector(owner: &OwnerReference) -> bool {
    owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP) && owner.kind == "TracingCollector"
}

/// The operator never writes `service.name` there: it has a variable of its own, which would win over the attribute.
fn names_service(variable: &RawEnvVar) -> bool {
    let pairs = variable.value.iter().flat_map(|value| value.split(','));
    variable.name == "OTEL_RESOURCE_ATTRIBUTES"
        && pairs.filter_map(|pair| pair.split_once('=')).any(|(key, _)| key.trim() == "service.name")
}

fn own_value(raw: RawEnvVar) -> EnvValue {
    match raw.value_from {
        None => EnvValue::Literal(raw.value.unwrap_or_default()),
        Some(source) => match (source.field_ref, source.secret_key_ref) {
            (Some(field), None) => match field.field_path.as_str() {
                path if path == FIELD_POD_NAME => EnvValue::FieldRef(FIELD_POD_NAME),
                path if path == FIELD_NODE_NAME => EnvValue::FieldRef(FIELD_NODE_NAME),
                path if path == FIELD_VERSION_LABEL => EnvValue::FieldRef(FIELD_VERSION_LABEL),
                _ => EnvValue::Foreign,
            },
            (None, Some(secret)) if secret.key == HEADERS_KEY && secret.optional == Some(true) => {
                EnvValue::HeadersSecret(secret.name)
            }
            _ => EnvValue::Foreign,
        },
    }
}

/// Field path of the pod's name.
pub(crate) const FIELD_POD_NAME: &str = "metadata.name";
/// Field path of the node's name.
pub(crate) const FIELD_NODE_NAME: &str = "spec.nodeName";
/// Field path of the pod's label [`VERSION_LABEL`].
pub(crate) const FIELD_VERSION_LABEL: &str = "metadata.labels['app.kubernetes.io/version']";
