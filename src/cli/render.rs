//! `tracesteward render`: what the operator would write, without a cluster. The plan is the controller's.

use std::io::IsTerminal;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    Exit,
    load::{Loaded, Source},
    output::{complain, fail, print, yaml},
    validate::{colour, exit},
};
use crate::{
    diagnostics::{
        Located, Severity,
        format::{Summary, pretty},
        source::Document,
    },
    index::{CollectorId, EnvValue, Policy, Workload, WorkloadId},
    plan::{
        ContainerPlan, Decision, HoldReason, Unresolved, WorkloadPlan, apply_patch,
        collector::{self, Tier},
        instrument::is_hook,
        merge_into, resolved,
    },
};

/// Prints the workloads as the operator would leave them, and the objects that it would make for TracingCollectors. Needs no
/// cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// What is printed.
    #[arg(short, long, default_value = "yaml", value_name = "FORMAT")]
    output: Format,
    /// The workload whose variables are printed (with --output env): KIND/NAME.
    #[arg(long, value_name = "KIND/NAME", required_if_eq("output", "env"))]
    workload: Option<String>,
    /// The container whose variables are printed (with --output env), where the workload has several.
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Prints the configuration file of this TracingCollector alone.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["output", "workload", "container"])]
    collector_config: Option<String>,
    /// The tier whose configuration is printed (with --collector-config), where the collector has two.
    #[arg(long, value_name = "TIER", default_value = "collector", requires = "collector_config")]
    tier: TierName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TierName {
    /// What receives OTLP.
    Collector,
    /// What samples behind several routers.
    Sampler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Whole manifests of the workloads that change, and of the objects of collectors.
    Yaml,
    /// The same as one List.
    Json,
    /// The server-side-apply patches that the operator sends; objects of collectors as they are.
    Patch,
    /// NAME=value lines of one container, for local runs.
    Env,
}

pub(super) fn run(args: &Args) -> Exit {
    let loaded = args.source.load();
    report(&loaded);
    let verdict = exit(&loaded.findings, false);
    if let Some(wanted) = &args.collector_config {
        return collector_config(args, wanted, &loaded).max(verdict);
    }
    let printed = if args.output == Format::Env { env(args, &loaded) } else { manifests(args, &loaded) };
    printed.max(verdict)
}

/// Errors and warnings on standard error.
pub(super) fn report_findings(loaded: &Loaded) {
    let shown: Vec<Located> =
        loaded.findings.iter().filter(|found| found.diagnostic.severity() != Severity::Info).cloned().collect();
    if !shown.is_empty() {
        let summary = Summary::of(&shown, loaded.summary.objects);
        complain(pretty(&shown, summary, colour(std::io::stderr().is_terminal())).trim_end());
    }
    loaded.notes.iter().for_each(|note| complain(&format!("note: {note}")));
}

/// The same, and what does nothing yet.
fn report(loaded: &Loaded) {
    report_findings(loaded);
    for (id, plan) in &loaded.plan.workloads {
        let unresolved = match &plan.decision {
            Decision::Hold(HoldReason::Unresolved(unresolved)) => unresolved,
            Decision::Hold(HoldReason::Discord(_, fields)) => {
                complain(&format!("note: {id} stays as it is: {} do not go together", fields.join(" and ")));
                continue;
            }
            _ => continue,
        };
        let policy = plan.winner.as_ref().and_then(|winner| loaded.snapshot.policy(winner));
        let collector = policy.and_then(Policy::collector).map(|id| id.to_string()).unwrap_or_default();
        let why = match unresolved {
            Unresolved::CollectorNotFound => format!("TracingCollector {collector} is not in the input"),
            Unresolved::CollectorNotPermitted => {
                format!("TracingCollector {collector} does not allow policies of its namespace")
            }
            Unresolved::CollectorInvalid => format!("TracingCollector {collector} has errors"),
            Unresolved::HostNotAllowed(by) => format!("{} does not allow the host of its endpoint", by.described()),
            Unresolved::NothingToInherit | Unresolved::NoExport => {
                "the endpoint of its policy is not known without a cluster".to_owned()
            }
        };
        complain(&format!("note: {id} stays as it is: {why}"));
    }
}

/// One workload of the input that changes.
struct Changed<'a> {
    manifest: &'a Value,
    workload: &'a Workload,
    plan: &'a WorkloadPlan,
    containers: Vec<ContainerPlan>,
}

impl Changed<'_> {
    fn whole(&self) -> Value {
        let mut manifest = self.manifest.clone();
        if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
            // Bookkeeping of the API server, refused in an apply.
            metadata.shift_remove("managedFields");
        }
        merge_into(&mut manifest, self.workload, &self.containers);
        manifest
    }

    /// Where the variables do not go into the template, whoever reads the output is told.
    fn comment(&self) -> &'static str {
        match self.plan.decision {
            Decision::AtPods => {
                "# Injected at Pod level: its pods get these variables, the object itself is not written.\n"
            }
            Decision::Manual => "# injection.mode None: the operator writes nothing; commit this.\n",
            _ => "",
        }
    }
}

fn changed<'a>(loaded: &'a Loaded, default_namespace: &str) -> Vec<Changed<'a>> {
    let of = |document: &'a Document| {
        let workload = crate::index::raw::read_workload(document.value(), default_namespace)?.ok()?;
        let namespace = loaded.snapshot.namespaces.get(&workload.id.namespace)?;
        let (id, workload) = namespace.workloads.get_key_value(&workload.id)?;
        let plan = loaded.plan.workloads.get(id).filter(|plan| plan.changes(workload))?;
        Some((workload, plan))
    };
    let all = loaded.documents.iter().filter_map(|document| Some((document, of(document)?)));
    let all = all.map(|(document, (workload, plan))| {
        let manifest = document.value();
        Changed { manifest, workload, plan, containers: resolved(manifest, workload, plan.rendered()) }
    });
    all.collect()
}

fn manifests(args: &Args, loaded: &Loaded) -> Exit {
    let changed = changed(loaded, &args.source.namespace);
    let owned = loaded.plan.collectors.iter().filter_map(|(id, plan)| {
        let collector = loaded.snapshot.collectors.get(id)?;
        Some(collector::rendered(collector, plan))
    });
    let mut owned: Vec<Value> = owned.flatten().collect();
    owned.extend(collector::identity_binding(loaded.snapshot.collectors.values()));
    if args.output == Format::Json {
        let items: Vec<_> = changed.iter().map(Changed::whole).chain(owned).collect();
        return print(&format!("{:#}\n", json!({"apiVersion": "v1", "kind": "List", "items": items})));
    }
    let mut documents = Vec::new();
    for one in &changed {
        let object = match args.output {
            Format::Patch => apply_patch(one.workload, &one.containers),
            _ => one.whole(),
        };
        match yaml(&object) {
            Ok(yaml) => documents.push(format!("{}{yaml}", one.comment())),
            Err(error) => {
                return fail(&format!("{} cannot be written as YAML: {error}", one.workload.id), Exit::Unreadable);
            }
        }
    }
    for object in &owned {
        match yaml(object) {
            Ok(yaml) => documents.push(yaml),
            Err(error) => {
                return fail(&format!("an object of a collector cannot be written as YAML: {error}"), Exit::Unreadable);
            }
        }
    }
    print(&documents.join("---\n"))
}

fn collector_config(args: &Args, wanted: &str, loaded: &Loaded) -> Exit {
    let Some((namespace, name)) = wanted.split_once('/') else {
        return fail(&format!("--collector-config {wanted}: write NAMESPACE/NAME"), Exit::Usage);
    };
    let id = CollectorId { namespace: namespace.to_owned(), name: name.to_owned() };
    let Some(plan) = loaded.plan.collectors.get(&id) else {
        return fail(&format!("TracingCollector {id} is not in the input"), Exit::Findings);
    };
    let tier = if args.tier == TierName::Sampler { Tier::Sampler } else { Tier::Collector };
    match plan.configurations.iter().find(|configuration| configuration.tier == tier) {
        Some(configuration) => print(&configuration.text),
        None if plan.configurations.is_empty() => {
            fail(&format!("TracingCollector {id} has errors: there is no configuration"), Exit::Findings)
        }
        None => fail(&format!("TracingCollector {id} has one tier: leave --tier out"), Exit::Findings),
    }
}

fn env(args: &Args, loaded: &Loaded) -> Exit {
    let wanted = args.workload.as_deref().unwrap_or_default();
    let Some((kind, name)) = wanted.split_once('/') else {
        return fail(&format!("--workload {wanted}: write KIND/NAME, for example Deployment/web"), Exit::Usage);
    };
    let found = loaded.plan.workloads.iter().find(|(id, _)| {
        id.namespace == args.source.namespace && id.kind.as_str().eq_ignore_ascii_case(kind) && id.name == name
    });
    let containers = found.map(|(id, plan)| joined(loaded, &args.source.namespace, id, plan)).unwrap_or_default();
    let containers = containers.as_slice();
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    let container = match (&args.container, containers) {
        (Some(name), containers) => containers.iter().find(|container| container.name == *name),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, _) => {
            return fail(&format!("{wanted} has several containers: add --container {}", names.join("|")), Exit::Usage);
        }
    };
    let Some(container) = container else {
        let namespace = &args.source.namespace;
        let message = format!(
            "no policy of the input sets variables in {wanted} of namespace {namespace} (see -n and --container)"
        );
        return fail(&message, Exit::Findings);
    };
    print(&container.variables.iter().map(|variable| line(variable.name, &variable.value)).collect::<String>())
}

/// The containers of a workload with the user's own values joined, which only its manifest has.
fn joined(loaded: &Loaded, namespace: &str, id: &WorkloadId, plan: &WorkloadPlan) -> Vec<ContainerPlan> {
    let read = |document: &Document| {
        let workload = crate::index::raw::read_workload(document.value(), namespace)?.ok()?;
        (workload.id == *id).then(|| resolved(document.value(), &workload, plan.rendered()))
    };
    loaded.documents.iter().find_map(read).unwrap_or_else(|| plan.rendered().to_vec())
}

/// What only a cluster knows is a comment; what refers to it is left out.
fn line(name: &str, value: &EnvValue) -> String {
    match value {
        // Its files are in the pod alone: a program without them would not start.
        _ if is_hook(name) => format!("# {name}: loads the instrumentation\n"),
        EnvValue::Literal(value) if name == "OTEL_RESOURCE_ATTRIBUTES" => {
            let known: Vec<_> = value.split(',').filter(|pair| !pair.contains("$(")).collect();
            format!("{name}={}\n", known.join(","))
        }
        EnvValue::Literal(value) => format!("{name}={}\n", value.replace("$$", "$")),
        EnvValue::FieldRef(path) => format!("# {name}: field {path} of the pod\n"),
        EnvValue::HeadersSecret(secret) => format!("# {name}: from Secret {secret}\n"),
        EnvValue::Joined | EnvValue::Foreign => String::new(),
    }
}
