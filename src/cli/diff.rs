//! `tracesteward diff FILE...`: what applying the files would change in the cluster. Only reads.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use similar::TextDiff;

use super::{
    Exit,
    explain::{env_value, env_words},
    live::{Cluster, Live, LiveError, Scope, load, runtime, secrets},
    load::{Leniency, Loaded, Source},
    output::{complain, fail, print},
    table::{Style, number, say},
    validate::{colour, exit},
};
use crate::{
    diagnostics::{
        Located, Severity,
        format::{Summary, pretty, visible},
        source::{Document, Reading},
    },
    index::{PolicyId, raw::read_workload},
    plan::{
        collector::contains,
        difference::{
            CollectorDifference, Difference, Known, PolicyDifference, Readiness, VariableChange, WorkloadDifference,
            difference,
        },
        instrument::InstrumentationPlan,
        plan,
    },
};

/// Lines of a configuration that are shown around a change.
const CONTEXT: usize = 3;

/// Shows what applying the files would change in the cluster: workloads that restart, variables, statuses of policies,
/// configurations of collectors. Writes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (*.yaml, *.yml, *.json) or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none; else that of the context.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How it is printed.
    #[arg(short, long, default_value = "pretty", value_name = "FORMAT")]
    output: Format,
    /// Ends with 1 where anything would change, as `git diff --exit-code` does.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Pretty,
    /// One object; docs/reference/inspect.md has its shape.
    Json,
}

pub(super) fn run(args: &Args) -> Exit {
    let compared = runtime().and_then(|runtime| runtime.block_on(compare(args)));
    let (difference, loaded, notes) = match compared {
        Ok(compared) => compared,
        Err(error) => return fail(&error.to_string(), error.exit()),
    };
    for note in notes {
        complain(&format!("note: {note}"));
    }
    report(&loaded);
    let is_partial = loaded.findings.iter().any(|found| found.diagnostic.code.is_unreadable());
    if is_partial {
        complain(unread(&difference));
    }
    let text = answer(&difference, is_partial, args.output, Style::new(io::stdout().is_terminal()));
    let differs = if args.exit_code && !difference.is_empty() { Exit::Findings } else { Exit::Success };
    print(&text).max(exit(&loaded.findings, false)).max(differs)
}

/// Of input that was read in part or not at all, nothing says that it would change nothing.
fn answer(difference: &Difference, is_partial: bool, format: Format, style: Style) -> String {
    match format {
        _ if is_partial && difference.is_empty() => String::new(),
        Format::Pretty => words(difference, style),
        Format::Json => format!("{:#}\n", value(difference)),
    }
}

fn unread(difference: &Difference) -> &'static str {
    if difference.is_empty() {
        "tracesteward: input could not be read: what it would change is not known"
    } else {
        "warning: input could not be read: what is printed is without it"
    }
}

/// Errors on standard error: an object with one is refused by the API server, or takes no effect.
fn report(loaded: &Loaded) {
    let errors = loaded.findings.iter().filter(|found| found.diagnostic.severity() == Severity::Error);
    let errors: Vec<Located> = errors.cloned().collect();
    if !errors.is_empty() {
        let summary = Summary::of(&errors, loaded.summary.objects);
        complain(pretty(&errors, summary, colour(io::stderr().is_terminal())).trim_end());
    }
}

async fn compare(args: &Args) -> Result<(Difference, Loaded, Vec<String>), LiveError> {
    let connection = args.cluster.connect().await?;
    let namespace = args.namespace.clone().unwrap_or(connection.namespace);
    let source = Source { files: args.files.clone(), namespace, leniency: Leniency::default() };
    let reading = source.read();
    let live = load(&connection.client, &scope(&reading, &source.namespace)).await?;
    let known = known(&reading, &source.namespace, &live);
    let mut before = live.snapshot;
    let planned = plan(&before).0;
    secrets(&connection.client, &mut before, &planned).await;
    let mut laid = source.lay(reading, before.clone());
    let planned = plan(&laid.snapshot).0;
    secrets(&connection.client, &mut laid.snapshot, &planned).await;
    let difference = difference(&before, &laid.snapshot, &known);
    Ok((difference, laid.judge(&source.leniency), live.notes))
}

/// Everything that may be read, and in any case the namespaces of the files.
pub(super) fn scope(reading: &Reading, namespace: &str) -> Scope {
    let objects = reading.documents.iter().filter_map(Document::object);
    let mut namespaces: BTreeSet<String> =
        objects.map(|object| object.namespace).filter(|name| !name.is_empty()).collect();
    namespaces.insert(namespace.to_owned());
    let workloads = reading.documents.iter().filter_map(|document| read_workload(document.value(), namespace)?.ok());
    Scope { everywhere: true, namespaces, whole: workloads.map(|workload| workload.id).collect() }
}

/// How workloads roll out, and which of the files' have another pod template than the cluster's.
fn known(reading: &Reading, namespace: &str, live: &Live) -> Known {
    let changed = reading.documents.iter().filter_map(|document| {
        let id = read_workload(document.value(), namespace)?.ok()?.id;
        let place = format!("/{}", id.kind.template_path().join("/"));
        let there = live.whole.get(&id)?.pointer(&place)?;
        (!contains(there, document.value().pointer(&place)?)).then_some(id)
    });
    Known { rollouts: live.rollouts.clone(), templates: changed.collect() }
}

fn words(difference: &Difference, style: Style) -> String {
    let mut text = String::new();
    let heading = |text: &mut String, any: bool, name: &str| {
        if any {
            say(text, style.bold(name));
        }
    };
    heading(&mut text, !difference.workloads.is_empty(), "WORKLOADS");
    difference.workloads.iter().for_each(|workload| text.push_str(&workload_words(workload, style)));
    heading(&mut text, !difference.policies.is_empty(), "POLICIES");
    difference.policies.iter().for_each(|policy| text.push_str(&policy_words(policy)));
    heading(&mut text, !difference.collectors.is_empty(), "COLLECTORS");
    difference.collectors.iter().for_each(|collector| text.push_str(&collector_words(collector, style)));
    let (restarts, variables) = difference.counts();
    let verb = if variables == 1 { "changes" } else { "change" };
    let closing = format!("{} would restart, {} {verb}", number(restarts, "workload"), number(variables, "variable"));
    say(&mut text, if difference.is_empty() { "Nothing would change." } else { &closing });
    text
}

fn workload_words(workload: &WorkloadDifference, style: Style) -> String {
    let rollout = match (workload.is_new, workload.own_template) {
        (true, _) => "new".to_owned(),
        (false, true) => format!("{}; its own pod template changes too", workload.rollout.describe()),
        (false, false) => workload.rollout.describe().to_owned(),
    };
    let (was, will_be) = (workload.before.as_str(), workload.after.as_str());
    let decision = if was == will_be { will_be.to_owned() } else { format!("{was} -> {will_be}") };
    let by = workload.policy.as_ref().map(|policy| format!(" by {}", policy.described())).unwrap_or_default();
    let mut text = format!("  {} ({rollout}): {decision}{by}\n", style.bold(&visible(&workload.id.to_string())));
    if let Some((before, after)) = &workload.instrumentation {
        let words = |plan: &InstrumentationPlan| format!("instrumentation {} ({})", plan.image, plan.agent.as_str());
        let shown = |plan: &InstrumentationPlan| visible(&words(plan));
        if let Some(plan) = before {
            say(&mut text, format!("    {}", style.removed(&format!("- {}", shown(plan)))));
        }
        if let Some(plan) = after {
            say(&mut text, format!("    {}", style.added(&format!("+ {}", shown(plan)))));
        }
    }
    let mut container = None;
    for change in &workload.variables {
        if container != Some(&change.container) {
            say(&mut text, format!("    {}", visible(&change.container)));
            container = Some(&change.container);
        }
        say(&mut text, format!("      {}", change_words(change, style)));
    }
    text
}

fn change_words(change: &VariableChange, style: Style) -> String {
    let name = change.name;
    let shown = |value| visible(&env_words(value));
    match (&change.before, &change.after) {
        (None, Some(after)) => style.added(&format!("+ {name}={}", shown(after))),
        (Some(before), None) => style.removed(&format!("- {name}={}", shown(before))),
        (Some(before), Some(after)) => {
            format!(
                "{}\n      {}",
                style.removed(&format!("- {name}={}", shown(before))),
                style.added(&format!("+ {name}={}", shown(after)))
            )
        }
        (None, None) => String::new(),
    }
}

fn policy_words(policy: &PolicyDifference) -> String {
    let words = |ready: &Readiness| {
        let counts = &ready.counts;
        format!(
            "{}/{} ({} matched, {} injected, {} superseded)",
            ready.status, ready.reason, counts.matched, counts.injected, counts.superseded
        )
    };
    let before = policy.before.as_ref().map_or_else(|| "new".to_owned(), words);
    let mut text = format!("  {} {}: {before} -> {}\n", policy.id.kind(), policy.id, words(&policy.after));
    if policy.after.status != "True" {
        say(&mut text, format!("    {}", visible(&policy.after.message)));
    }
    text
}

fn collector_words(collector: &CollectorDifference, style: Style) -> String {
    let what = match (collector.is_new, collector.restarts) {
        (true, _) => "new",
        (false, true) => "restarts",
        (false, false) => "no restart",
    };
    let mut text = format!("  {} ({what})\n", style.bold(&format!("TracingCollector {}", collector.id)));
    for (object, change) in &collector.objects {
        say(&mut text, format!("    {object}: {change}"));
    }
    for (tier, before, after) in &collector.configurations {
        for line in unified(tier.as_str(), before, after).lines() {
            let shown = visible(line);
            let painted = match line.chars().next() {
                Some('+') => style.added(&shown),
                Some('-') => style.removed(&shown),
                _ => shown,
            };
            // Writing to a string cannot fail.
            writeln!(text, "    {painted}").unwrap_or_default();
        }
    }
    text
}

fn unified(tier: &str, before: &str, after: &str) -> String {
    let (old, new) = (format!("{tier}.yaml (now)"), format!("{tier}.yaml (then)"));
    TextDiff::from_lines(before, after).unified_diff().context_radius(CONTEXT).header(&old, &new).to_string()
}

fn value(difference: &Difference) -> Value {
    let (restarts, variables) = difference.counts();
    json!({
        "version": 1,
        "summary": {
            "restarts": restarts, "variables": variables, "workloads": difference.workloads.len(),
            "policies": difference.policies.len(), "collectors": difference.collectors.len(),
        },
        "workloads": difference.workloads.iter().map(workload_value).collect::<Vec<_>>(),
        "policies": difference.policies.iter().map(policy_value).collect::<Vec<_>>(),
        "collectors": difference.collectors.iter().map(collector_value).collect::<Vec<_>>(),
    })
}

fn id_value(id: &PolicyId) -> Value {
    json!({"kind": id.kind(), "namespace": Some(&id.namespace).filter(|name| !name.is_empty()), "name": id.name})
}

fn workload_value(workload: &WorkloadDifference) -> Value {
    let of = |value: Option<&crate::index::EnvValue>| {
        let mut entry = Map::new();
        if let Some(value) = value {
            env_value(&mut entry, value);
        }
        value.map(|_| entry)
    };
    let variables = workload.variables.iter().map(|change| {
        json!({
            "container": change.container, "name": change.name,
            "before": of(change.before.as_ref()), "after": of(change.after.as_ref()),
        })
    });
    let id = &workload.id;
    json!({
        "kind": id.kind.as_str(), "namespace": id.namespace, "name": id.name,
        "new": workload.is_new, "restarts": workload.restarts(), "rollout": workload.rollout.describe(),
        "ownTemplate": workload.own_template,
        "before": workload.before.as_str(), "after": workload.after.as_str(),
        "policy": workload.policy.as_ref().map(id_value),
        "instrumentation": workload.instrumentation.as_ref().map(|(before, after)| {
            let of = |plan: &Option<InstrumentationPlan>| {
                plan.as_ref().map(|plan| json!({"language": plan.agent.as_str(), "image": plan.image}))
            };
            json!({"before": of(before), "after": of(after)})
        }),
        "variables": variables.collect::<Vec<_>>(),
    })
}

fn policy_value(policy: &PolicyDifference) -> Value {
    let ready = |ready: &Readiness| json!({"status": ready.status, "reason": ready.reason, "message": ready.message, "workloads": ready.counts});
    let mut value = id_value(&policy.id);
    value["before"] = json!(policy.before.as_ref().map(ready));
    value["after"] = ready(&policy.after);
    value
}

fn collector_value(collector: &CollectorDifference) -> Value {
    let configurations = collector.configurations.iter();
    let configurations = configurations
        .map(|(tier, before, after)| json!({"tier": tier.as_str(), "diff": unified(tier.as_str(), before, after)}));
    json!({
        "namespace": collector.id.namespace, "name": collector.id.name,
        "new": collector.is_new, "restarts": collector.restarts,
        "configurations": configurations.collect::<Vec<_>>(),
        "objects": collector.objects.iter().map(|(object, change)| json!({"object": object, "change": change})).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadCounts;

    #[test]
    fn nothing_is_said_of_input_that_could_not_be_read() {
        let (nothing, style) = (Difference::default(), Style::new(false));
        assert_eq!(answer(&nothing, false, Format::Pretty, style), "Nothing would change.\n");
        for format in [Format::Pretty, Format::Json] {
            assert_eq!(answer(&nothing, true, format, style), "");
        }
        assert!(answer(&nothing, false, Format::Json, style).contains("\"restarts\": 0"));
        let id = PolicyId { namespace: "shop".to_owned(), name: "p".to_owned() };
        let text = || "x".to_owned();
        let after = Readiness { status: text(), reason: text(), message: text(), counts: WorkloadCounts::default() };
        let policy = PolicyDifference { id, before: None, after };
        let some = Difference { policies: vec![policy], ..Difference::default() };
        assert!(answer(&some, true, Format::Pretty, style).contains("TracingPolicy shop/p"));
        assert_ne!(unread(&some), unread(&nothing));
    }
}
