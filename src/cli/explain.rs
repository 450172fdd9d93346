//! `tracesteward explain`: what a code means; and of an object what is in force, who set it, and what keeps spans away.

pub(super) mod code;
mod objects;
mod subject;
mod workload;
mod world;

use std::{io::IsTerminal, path::PathBuf};

use clap::ValueEnum;
use serde_json::Value;

use super::{
    Exit,
    live::Cluster,
    output::{complain, fail, print},
    table::Style,
};
use crate::{
    diagnostics::format::visible,
    index::{CollectorId, PolicyId, WorkloadId},
    plan::{
        difference::settled,
        explain::{explain, explain_collector, explain_policy},
    },
};
use subject::Subject;
pub(super) use workload::{env_value, env_words};
use world::World;

/// Explains a diagnostic code; or a workload (which settings are in force, who set them, why it is not traced), a policy or a
/// collector: from files, from the cluster, or from files laid over the cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A code, such as TRC0101; or KIND/NAME, with the short names that kubectl knows (deploy, sts, ds, cj, trp, ctrp, trc).
    #[arg(value_name = "CODE|KIND/NAME")]
    object: String,
    /// Files, folders (*.yaml, *.yml, *.json) or - for standard input; without any, the cluster.
    #[arg(value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace; else that of the context, or `default` where only files are read.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Lays the files over the state of the cluster.
    #[arg(long)]
    live: bool,
    /// Only this container of a workload.
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// How it is printed.
    #[arg(short, long, default_value = "pretty", value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: tables.
    Pretty,
    /// One object; docs/reference/inspect.md has its shape.
    Json,
}

pub(super) fn run(args: &Args) -> Exit {
    if !args.object.contains('/') {
        return of_code(args);
    }
    let (subject, name) = match subject::parse(&args.object) {
        Ok(found) => found,
        Err(message) => return fail(&visible(&message), Exit::Usage),
    };
    let world = match World::load(args, subject) {
        Ok(world) => world,
        Err(error) => return fail(&error.to_string(), error.exit()),
    };
    for note in &world.notes {
        complain(&format!("note: {note}"));
    }
    let style = Style::new(std::io::stdout().is_terminal());
    let verdict = world.complain();
    match answer(args, &world, subject, &name, style) {
        Ok((pretty, json)) => {
            let text = if args.output == Format::Json { format!("{json:#}\n") } else { pretty };
            print(&text).max(verdict)
        }
        Err(missing) => fail(&visible(&missing), Exit::Findings).max(verdict),
    }
}

/// A page is about no object: what would choose one is a mistake.
fn of_code(args: &Args) -> Exit {
    let of_objects = [
        (!args.files.is_empty(), "files"),
        (args.namespace.is_some(), "--namespace"),
        (args.live, "--live"),
        (args.container.is_some(), "--container"),
    ];
    if let Some((_, what)) = of_objects.iter().find(|(is_given, _)| *is_given) {
        return fail(&format!("explain: with a code, {what} cannot be given: only KIND/NAME takes that"), Exit::Usage);
    }
    code::explain(&args.object, args.output == Format::Json)
}

/// For people, and for programs; else what is missing, and what there is instead.
fn answer(args: &Args, world: &World, subject: Subject, name: &str, style: Style) -> Result<(String, Value), String> {
    let (snapshot, plan) = (&world.loaded.snapshot, &world.loaded.plan);
    let missing = || not_found(world, subject, name);
    match subject {
        Subject::Workload(kind) => {
            let id = WorkloadId { namespace: world.namespace.clone(), kind, name: name.to_owned() };
            let mut explanation = explain(snapshot, &id).ok_or_else(missing)?;
            if let Some(only) = &args.container {
                let known: Vec<_> = explanation.containers.iter().map(|container| container.name.as_str()).collect();
                if !known.contains(&only.as_str()) {
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(format!("{kind} {name} has no container {only}; there are: {known}"));
                }
                explanation.containers.retain(|container| container.name == *only);
            }
            Ok((workload::pretty(world, &explanation, style), workload::json(world, &explanation)))
        }
        Subject::Policy | Subject::ClusterPolicy => {
            let namespace = if subject == Subject::Policy { world.namespace.clone() } else { String::new() };
            let id = PolicyId { namespace, name: name.to_owned() };
            // Files say nothing of what is written: what the operator would say in the end.
            let settled = (!world.is_live).then(|| crate::plan::plan(&settled(snapshot, plan)).0);
            let explanation = explain_policy(snapshot, settled.as_ref().unwrap_or(plan), &id).ok_or_else(missing)?;
            Ok((objects::policy(world, &explanation, style), objects::policy_json(&explanation)))
        }
        Subject::Collector => {
            let id = CollectorId { namespace: world.namespace.clone(), name: name.to_owned() };
            let explanation = explain_collector(snapshot, plan, &id).ok_or_else(missing)?;
            Ok((objects::collector(&explanation, style), objects::collector_json(&explanation)))
        }
    }
}

/// What there is instead.
fn not_found(world: &World, subject: Subject, name: &str) -> String {
    let snapshot = &world.loaded.snapshot;
    let mut known: Vec<(String, String)> = match subject {
        Subject::Workload(kind) => {
            let workloads = snapshot.namespaces.values().flat_map(|namespace| namespace.workloads.keys());
            let named = workloads.map(|id| (id.namespace.clone(), id.kind, id.name.clone()));
            let (own, other): (Vec<_>, Vec<_>) = named.partition(|(_, other, _)| *other == kind);
            let other = other.into_iter().filter(|(_, _, other)| other == name);
            let other = other.map(|(namespace, kind, name)| (namespace, format!("{kind}/{name}")));
            own.into_iter().map(|(namespace, _, name)| (namespace, name)).chain(other).collect()
        }
        Subject::Collector => snapshot.collectors.keys().map(|id| (id.namespace.clone(), id.name.clone())).collect(),
        Subject::Policy => {
            let policies = snapshot.policies().filter(|policy| !policy.id.is_cluster());
            policies.map(|policy| (policy.id.namespace.clone(), policy.id.name.clone())).collect()
        }
        Subject::ClusterPolicy => snapshot.cluster_policies.keys().map(|name| (String::new(), name.clone())).collect(),
    };
    let home = if subject == Subject::ClusterPolicy { "" } else { world.namespace.as_str() };
    let near = |(namespace, other): &(String, String)| {
        let likeness = strsim::jaro(other.rsplit('/').next().unwrap_or_default(), name);
        likeness + if namespace == home { 0.5 } else { 0.0 }
    };
    known.sort_by(|one, other| near(other).total_cmp(&near(one)).then_with(|| one.cmp(other)));
    let nearest: Vec<_> = known
        .iter()
        .take(3)
        .map(|(namespace, name)| match namespace.as_str() {
            same if same == home => name.clone(),
            other => format!("{name} in namespace {other}"),
        })
        .collect();
    let place = if home.is_empty() { String::new() } else { format!(" of namespace {home}") };
    let whole = if world.is_live { "in the cluster" } else { "in the input" };
    let help = if nearest.is_empty() {
        "there is none of its kind".to_owned()
    } else {
        format!("nearest: {}", nearest.join(", "))
    };
    format!("{} {name}{place} is not {whole}; {help}", subject.kind())
}
