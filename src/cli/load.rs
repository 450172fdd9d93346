//! From command-line arguments to a [`Snapshot`]: what `validate` and `render` begin with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
};

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::Value;

use super::{explain::code, input};
use crate::{
    api::{GROUP, HEADERS_KEY, VERSION},
    diagnostics::{
        Code, Diagnostic, FieldPath, Located, ObjectId, Place,
        format::{Summary, sort},
        source::{Document, Reading, repeated},
    },
    index::{Collector, PodDefaults, PodHook, Policy, SecretState, Snapshot, raw::read_workload},
    plan::{Plan, assumptions, collector::is_sendable, plan, read_cluster_policy, read_collector, read_policy},
};

/// The kinds of the API group.
const KINDS: [&str; 3] = ["TracingPolicy", "ClusterTracingPolicy", "TracingCollector"];

/// Where input comes from.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Files, folders (*.yaml, *.yml, *.json) or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(super) files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub(super) namespace: String,
    #[command(flatten)]
    pub(super) leniency: Leniency,
}

/// What is not complained about.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Leniency {
    /// Warnings and notes that are left out, by their codes; several with commas between them.
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code::of_no_error)]
    allow: Vec<Code>,
    /// Does not complain about files without any object of tracesteward.io that cannot be read or are no objects, such as
    /// values and templates of charts.
    #[arg(long)]
    skip_others: bool,
}

/// Everything that was read, planned and found.
pub(super) struct Loaded {
    /// The documents, in the order of the input.
    pub(super) documents: Vec<Document>,
    pub(super) snapshot: Snapshot,
    pub(super) plan: Plan,
    /// All findings, in the order in which they are shown.
    pub(super) findings: Vec<Located>,
    pub(super) summary: Summary,
    /// What was taken for granted because files do not show it.
    pub(super) notes: Vec<String>,
    /// Which document an object came from.
    places: HashMap<ObjectId, usize>,
}

/// Objects that were read, laid over what there was before, and not judged yet.
pub(super) struct Laid {
    pub(super) documents: Vec<Document>,
    pub(super) snapshot: Snapshot,
    findings: Vec<Located>,
    places: HashMap<ObjectId, usize>,
}

impl Source {
    /// Reads, plans, and collects what is wrong.
    pub(super) fn load(&self) -> Loaded {
        let snapshot = Snapshot { assumes_permission: true, hook: PodHook::Unmanaged, ..Snapshot::default() };
        self.lay(self.read(), snapshot).judge(&self.leniency)
    }

    /// Reads the input.
    pub(super) fn read(&self) -> Reading {
        let skip_others = self.leniency.skip_others;
        input::read_minding(&self.files, &mut io::stdin().lock(), |text| !skip_others || is_ours(text))
    }

    /// Lays what was read over a snapshot.
    pub(super) fn lay(&self, reading: Reading, base: Snapshot) -> Laid {
        let mut findings = reading.diagnostics;
        findings.extend(repeated(&reading.documents, &self.namespace));
        let mut intake = Intake { source: self, snapshot: base, findings, places: HashMap::new() };
        for (position, document) in reading.documents.iter().enumerate() {
            intake.take(position, document);
        }
        let Intake { mut snapshot, findings, places, .. } = intake;
        missing_keys(&mut snapshot);
        Laid { documents: reading.documents, snapshot, findings, places }
    }
}

impl Loaded {
    /// Where a field of an object of the input stands.
    pub(super) fn place(&self, object: &ObjectId, path: &FieldPath) -> Option<Place> {
        let document = self.documents.get(*self.places.get(object)?)?;
        Some(document.place(path))
    }
}

impl Laid {
    /// Plans, and collects what is wrong: over a cluster, with the objects of the input; where there is none, with all.
    pub(super) fn judge(self, leniency: &Leniency) -> Loaded {
        let Self { documents, snapshot, mut findings, places } = self;
        let offline = snapshot.assumes_permission;
        let (plan, found) = plan(&snapshot);
        let is_meant = |finding: &Diagnostic| {
            if offline {
                return is_known_offline(&snapshot, finding);
            }
            places.is_empty() || finding.object.as_ref().is_some_and(|object| places.contains_key(object))
        };
        for finding in found.into_iter().filter(is_meant) {
            let document = finding.object.as_ref().and_then(|id| documents.get(*places.get(id)?));
            findings.push(
                document.map_or_else(|| Located::from(finding.clone()), |document| document.located(finding.clone())),
            );
        }
        leniency.leave_out(&documents, &mut findings);
        sort(&mut findings);
        let known = snapshot.policies().count() + snapshot.collectors.len();
        let summary = Summary::of(&findings, if offline || !places.is_empty() { documents.len() } else { known });
        let assumed = if offline { assumptions(&snapshot) } else { Vec::new() };
        let notes = assumed.into_iter().map(|(policy, collector)| {
            format!(
                "TracingPolicy {policy}: taken for allowed by TracingCollector {collector}, as the labels of Namespace {} \
                 are not in the input",
                policy.namespace
            )
        });
        Loaded { notes: notes.collect(), documents, snapshot, plan, findings, summary, places }
    }
}

impl Leniency {
    /// Takes out what was not asked for.
    fn leave_out(&self, documents: &[Document], findings: &mut Vec<Located>) {
        findings.retain(|found| !self.allow.contains(&found.diagnostic.code));
        if self.skip_others {
            // Each file once, however many documents it has.
            let files: BTreeMap<_, _> = documents.iter().map(|one| (one.file().name(), one.file().text())).collect();
            let others = files.into_iter().filter(|(_, text)| !is_ours(text.as_bytes())).map(|(name, _)| name);
            let others: BTreeSet<_> = others.collect();
            let is_other = |found: &Located| found.place.as_ref().is_some_and(|place| others.contains(&*place.file));
            findings.retain(|found| !(found.diagnostic.code.is_unreadable() && is_other(found)));
        }
    }
}

/// Whether a file says anywhere that it holds an object of the API group, readable or not. An annotation of ours does not.
fn is_ours(text: &[u8]) -> bool {
    let mark = format!("{GROUP}/v");
    text.windows(mark.len()).any(|window| window == mark.as_bytes())
}

struct Intake<'a> {
    source: &'a Source,
    snapshot: Snapshot,
    findings: Vec<Located>,
    /// Which document an object came from.
    places: HashMap<ObjectId, usize>,
}

impl Intake<'_> {
    fn take(&mut self, position: usize, document: &Document) {
        let (version, kind) = (document.text("apiVersion"), document.text("kind"));
        if version.is_empty() || kind.is_empty() {
            self.not_an_object(document);
            return;
        }
        if let Some(mut id) = document.object() {
            if kind == "ClusterTracingPolicy" {
                id.namespace.clear();
            } else if id.namespace.is_empty() {
                id.namespace.clone_from(&self.source.namespace);
            }
            self.places.insert(id, position);
        }
        match (document.group(), kind) {
            (GROUP, _) => self.own_kind(document),
            ("", "Secret") => self.secret(document),
            ("", "Namespace") => self.labels(document),
            _ => self.workload(document),
        }
    }

    /// In a folder there may be other files, such as values of a chart; a file that was named is meant.
    fn not_an_object(&mut self, document: &Document) {
        let has_either = !document.text("apiVersion").is_empty() || !document.text("kind").is_empty();
        let name = document.file().name();
        let named = name == "<stdin>" || self.source.files.iter().any(|file| file.as_os_str() == name);
        if has_either || named {
            self.findings.push(document.located(Diagnostic::new(Code::TRC0007, FieldPath::root())));
        }
    }

    fn own_kind(&mut self, document: &Document) {
        let (version, kind) = (document.text("apiVersion"), document.text("kind"));
        let known_version = version == format!("{GROUP}/{VERSION}");
        if !known_version || !KINDS.contains(&kind) {
            let path = FieldPath::fields(if known_version { "kind" } else { "apiVersion" });
            let nearest =
                KINDS.iter().max_by(|one, other| strsim::jaro(one, kind).total_cmp(&strsim::jaro(other, kind)));
            let help = format!("Did you mean {GROUP}/{VERSION} {}?", nearest.unwrap_or(&"TracingPolicy"));
            let detail = format!("{version} {kind}");
            self.findings.push(document.located(Diagnostic::new(Code::TRC0008, path).detail(detail).help(help)));
            return;
        }
        let (value, namespace) = (document.value(), &self.source.namespace);
        if kind == "TracingCollector" {
            let mut collector = read_collector(value, namespace);
            if self.is_named(document, &collector.id.name, &mut collector.findings) {
                if let Some(known) = self.snapshot.collectors.get(&collector.id) {
                    succeed_collector(&mut collector, known);
                }
                self.snapshot.collectors.insert(collector.id.clone(), collector);
            }
        } else if kind == "ClusterTracingPolicy" {
            let mut policy = read_cluster_policy(value);
            if self.is_named(document, &policy.id.name, &mut policy.findings) {
                if let Some(known) = self.snapshot.policy(&policy.id) {
                    succeed(&mut policy, known);
                }
                self.snapshot.cluster_policies.insert(policy.id.name.clone(), policy);
            }
        } else {
            let mut policy = read_policy(value, namespace);
            if self.is_named(document, &policy.id.name, &mut policy.findings) {
                if let Some(known) = self.snapshot.policy(&policy.id) {
                    succeed(&mut policy, known);
                }
                let namespace = self.snapshot.namespaces.entry(policy.id.namespace.clone()).or_default();
                namespace.policies.insert(policy.id.name.clone(), policy);
            }
        }
    }

    /// Whether an object has a name. Without one it cannot be told from others: it is checked, and takes no part.
    fn is_named(&mut self, document: &Document, name: &str, findings: &mut Vec<Diagnostic>) -> bool {
        if !name.is_empty() {
            return true;
        }
        if document.value().pointer("/metadata/generateName").is_none() {
            findings.push(Diagnostic::new(Code::TRC0114, FieldPath::fields("metadata.name")).detail("name"));
        }
        self.findings.extend(findings.drain(..).map(|finding| document.located(finding)));
        false
    }

    fn secret(&mut self, document: &Document) {
        let Some(id) = document.object() else { return };
        let states = key_states(document.value());
        let state = if states.contains_key(HEADERS_KEY) { SecretState::Present } else { SecretState::KeyMissing };
        let namespace = if id.namespace.is_empty() { self.source.namespace.clone() } else { id.namespace };
        let namespace = self.snapshot.namespaces.entry(namespace).or_default();
        namespace.keys.extend(states.into_iter().map(|(key, state)| ((id.name.clone(), key), state)));
        namespace.secrets.insert(id.name, state);
    }

    fn labels(&mut self, document: &Document) {
        let Some(ObjectId { name, .. }) = document.object().filter(|id| !id.name.is_empty()) else { return };
        let text = |(label, value): (&String, &Value)| Some((label.clone(), value.as_str()?.to_owned()));
        let map = |pointer: &str| -> BTreeMap<_, _> {
            let map = document.value().pointer(pointer).and_then(Value::as_object);
            map.into_iter().flatten().filter_map(text).collect()
        };
        let (mut labels, pods) = (map("/metadata/labels"), PodDefaults::read(&map("/metadata/annotations")));
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
        // An apply leaves labels alone that it does not name.
        let namespace = self.snapshot.namespaces.entry(name).or_default();
        namespace.labels.get_or_insert_default().extend(labels);
        namespace.pod_defaults.assigns_users |= pods.assigns_users;
        namespace.pod_defaults.other_agents.extend(pods.other_agents);
    }

    fn workload(&mut self, document: &Document) {
        match read_workload(document.value(), &self.source.namespace) {
            None => {}
            Some(Ok(mut workload)) => {
                if let Some(known) = self.snapshot.workload(&workload.id) {
                    workload.succeed(known);
                }
                let namespace = self.snapshot.namespaces.entry(workload.id.namespace.clone()).or_default();
                namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
            }
            Some(Err(error)) => {
                // What serde says repeats the value, which may be anything that a workload is configured with.
                let error = error.to_string();
                let expected = error.rsplit_once(", expected ").map_or("another type", |(_, expected)| expected);
                let detail = format!("expected {expected} in a field of the pod template");
                let finding = Diagnostic::new(Code::TRC0112, FieldPath::fields("spec")).detail(detail);
                self.findings.push(document.located(finding));
            }
        }
    }
}

/// What an object keeps that is applied over one which is there: who is older decides between policies.
fn succeed(policy: &mut Policy, known: &Policy) {
    policy.uid.clone_from(&known.uid);
    policy.created.clone_from(&known.created);
    policy.status.clone_from(&known.status);
    policy.generation = known.generation + i64::from(policy.spec != known.spec);
}

fn succeed_collector(collector: &mut Collector, known: &Collector) {
    collector.uid.clone_from(&known.uid);
    collector.status.clone_from(&known.status);
    collector.generation = known.generation + i64::from(collector.spec != known.spec);
}

/// The keys of a Secret, each with whether a collector can send its value. Nothing of a value stays.
fn key_states(secret: &Value) -> BTreeMap<String, SecretState> {
    let field = |field: &str| secret.get(field).and_then(Value::as_object).into_iter().flatten();
    let judge = |is_fine: bool| if is_fine { SecretState::Present } else { SecretState::Unsendable };
    let encoded = field("data").map(|(key, value)| {
        let decoded = ByteString::deserialize(value).ok();
        (key.clone(), decoded.map_or(SecretState::Unverified, |value| judge(is_sendable(&value.0))))
    });
    // What the API server does: stringData is written over data.
    let plain = field("stringData").map(|(key, value)| {
        (key.clone(), value.as_str().map_or(SecretState::Unverified, |value| judge(is_sendable(value.as_bytes()))))
    });
    encoded.chain(plain).collect()
}

/// Keys that collectors want of Secrets which are in the input without them.
fn missing_keys(snapshot: &mut Snapshot) {
    for wanted in snapshot.collectors.values().flat_map(Collector::secrets) {
        if let Some(namespace) = snapshot.namespaces.get_mut(&wanted.namespace)
            && namespace.secrets.contains_key(&wanted.name)
        {
            namespace.keys.entry((wanted.name, wanted.key)).or_insert(SecretState::KeyMissing);
        }
    }
}

/// Files show a part of a cluster: that something is not among them means nothing, unless others of its kind and
/// namespace are.
fn is_known_offline(snapshot: &Snapshot, finding: &Diagnostic) -> bool {
    let namespace = finding.object.as_ref().and_then(|object| snapshot.namespaces.get(&object.namespace));
    match finding.code {
        Code::TRC0203 => namespace.is_some_and(|namespace| !namespace.workloads.is_empty()),
        Code::TRC0205 => has_collectors_there(snapshot, finding),
        Code::TRC0206 => !snapshot.cluster_policies.is_empty(),
        _ => true,
    }
}

/// Whether collectors of the namespace that a policy's collector should be in are among the files.
fn has_collectors_there(snapshot: &Snapshot, finding: &Diagnostic) -> bool {
    let policy = finding
        .object
        .as_ref()
        .and_then(|ObjectId { namespace, name, .. }| snapshot.namespaces.get(namespace)?.policies.get(name));
    let wanted = policy.and_then(Policy::collector);
    wanted.is_some_and(|wanted| snapshot.collectors.keys().any(|known| known.namespace == wanted.namespace))
}
