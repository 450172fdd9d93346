//! `tracesteward withdraw`: takes what the operator has put into workloads out of them, where no operator does so.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;
use futures::{StreamExt, stream};
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::{
    Exit,
    live::{Cluster, Connection, Live, LiveError, Scope, load, of_kind, runtime},
    output::{complain, fail, print},
    table::{Style, Table, say},
};
use crate::{
    apply::{ApplyError, Leadership, Writer, apply_workload},
    controller::leader::LEASE,
    index::{Change, Namespace, Rollout, Snapshot, Watched, Workload, WorkloadKind, raw::read_workload},
    plan::plan_workload,
};

/// Takes every field that the operator owns out of workloads, without the operator: before it is uninstalled for good, or after. Their
/// pods are replaced, a few workloads at a time. What others have set stays.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace.
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        required_unless_present = "all_namespaces",
        conflicts_with = "all_namespaces"
    )]
    namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only says what would be written.
    #[arg(long)]
    dry_run: bool,
    /// How many workloads replace their pods at a time.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_concurrent: u16,
    /// How long the pods of a workload may take, in seconds; after that the next one begins. 0: nothing is waited for.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
    /// How it is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object; docs/reference/cli.md has its shape.
    Json,
}

/// What the operator's managed fields may be let go of in: a first write can uncover what `kubectl rollout undo` has left.
const WRITES: usize = 3;
/// How often a rollout is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What became of a workload.
#[derive(Debug)]
enum Outcome {
    /// It would be written.
    Planned,
    /// It was written, and its pods run without.
    Withdrawn,
    /// It was written; its pods do not all run yet.
    Unfinished,
    /// It was not written.
    Failed(ApplyError),
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Planned => "would be withdrawn",
            Self::Withdrawn => "withdrawn",
            Self::Unfinished => "withdrawn, pods not ready yet",
            Self::Failed(_) => "failed",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Failed(error) => error.to_string(),
            _ => String::new(),
        }
    }

    const fn exit(&self) -> Exit {
        match self {
            Self::Planned | Self::Withdrawn => Exit::Success,
            Self::Unfinished | Self::Failed(_) => Exit::Findings,
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    match runtime().and_then(|runtime| runtime.block_on(withdraw(args))) {
        Ok(exit) => exit,
        Err(error) => fail(&error.to_string(), error.exit()),
    }
}

async fn withdraw(args: &Args) -> Result<Exit, LiveError> {
    let Connection { client, .. } = args.cluster.connect().await?;
    if let Some(holder) = running(&client).await {
        let message = format!(
            "an operator runs ({holder}) and would put everything in again: delete its policies, and it takes their fields out by itself; \
             or scale it to zero first"
        );
        return Ok(fail(&message, Exit::Findings));
    }
    let namespaces = args.namespace.iter().cloned().collect();
    let scope = Scope { everywhere: args.all_namespaces, namespaces, whole: BTreeSet::new() };
    let Live { mut snapshot, notes, seen, .. } = load(&client, &scope).await?;
    for note in notes {
        complain(&format!("note: {note}"));
    }
    forget_intent(&mut snapshot);
    let found = found(&snapshot, args.namespace.as_deref());
    let writer = Writer::over(client.clone(), Leadership::for_good());
    let total = found.len();
    let mut results = Vec::with_capacity(total);
    let mut done = stream::iter(found)
        .map(|workload| {
            let (snapshot, writer, client) = (&snapshot, &writer, &client);
            async move {
                let outcome =
                    if args.dry_run { Outcome::Planned } else { one(snapshot, writer, client, &workload, args).await };
                (workload, outcome)
            }
        })
        .buffered(args.max_concurrent.into());
    while let Some(result) = done.next().await {
        results.push(result);
        progress(results.len(), total);
    }
    let injected = pods(&snapshot, args.namespace.as_deref());
    let printed = print(&text(args.output, &results, injected));
    let worst = results.iter().map(|(_, outcome)| outcome.exit()).max().unwrap_or(Exit::Success);
    Ok(worst.max(printed).max(hidden(&seen)))
}

/// What may not be listed may carry something, too.
fn hidden(seen: &[(Watched, Option<String>)]) -> Exit {
    let is_seen = |kind: &WorkloadKind| seen.iter().any(|(watched, _)| *watched == Watched::Workloads(*kind));
    if WorkloadKind::ALL.iter().filter(|kind| kind.is_writable()).all(is_seen) {
        return Exit::Success;
    }
    fail("workloads that may not be listed (see the notes) may carry something of the operator's", Exit::Findings)
}

/// Who holds the Lease of the operators, where anybody does.
async fn running(client: &Client) -> Option<String> {
    let leases: Api<Lease> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={LEASE}"));
    let found = match leases.list(&named).await {
        Ok(found) => found.items,
        Err(error) => {
            let why = match error {
                kube::Error::Api(status) => status.message,
                other => other.to_string(),
            };
            complain(&format!("note: whether an operator runs cannot be seen: {why}"));
            return None;
        }
    };
    found.into_iter().filter_map(|lease| lease.spec).find_map(|spec| {
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty())?;
        let renewed = spec.renew_time?.0;
        let lasts = i64::from(spec.lease_duration_seconds.unwrap_or_default());
        let age = Timestamp::now().duration_since(renewed).as_secs();
        (age <= lasts).then_some(holder)
    })
}

/// As if nobody wanted anything.
fn forget_intent(snapshot: &mut Snapshot) {
    snapshot.cluster_policies.clear();
    snapshot.collectors.clear();
    snapshot.namespaces.values_mut().for_each(|namespace| namespace.policies.clear());
}

fn namespaces<'a>(snapshot: &'a Snapshot, only: Option<&'a str>) -> impl Iterator<Item = &'a Namespace> {
    let all = snapshot.namespaces.iter();
    all.filter(move |(name, _)| only.is_none_or(|only| only == name.as_str())).map(|(_, namespace)| namespace)
}

/// The workloads that carry anything of the operator's, in their order.
fn found(snapshot: &Snapshot, only: Option<&str>) -> Vec<Arc<Workload>> {
    namespaces(snapshot, only)
        .flat_map(|namespace| {
            let all = namespace.workloads.values();
            all.filter(move |workload| plan_workload(snapshot, namespace, workload).needs_write).cloned()
        })
        .collect()
}

/// Pods that got the variables as they were created: nothing takes them out of a pod that runs.
fn pods(snapshot: &Snapshot, only: Option<&str>) -> usize {
    namespaces(snapshot, only).map(|namespace| namespace.pods.injected()).sum()
}

/// Writes a workload, and waits for its pods.
async fn one(snapshot: &Snapshot, writer: &Writer, client: &Client, workload: &Workload, args: &Args) -> Outcome {
    let Some(namespace) = snapshot.namespaces.get(&workload.id.namespace) else { return Outcome::Withdrawn };
    let mut current = workload.clone();
    for _ in 0..WRITES {
        let plan = plan_workload(snapshot, namespace, &current);
        if !plan.needs_write {
            break;
        }
        match apply_workload(writer, &current, &plan.intended(&current)).await {
            Ok(Change::Written(written, _)) => current = written,
            Ok(_) => break,
            Err(ApplyError::Gone) => return Outcome::Withdrawn,
            Err(error) => return Outcome::Failed(error),
        }
    }
    let waiting = settled(client, current.rollout, &current);
    match tokio::time::timeout(Duration::from_secs(args.timeout), waiting).await {
        Ok(()) => Outcome::Withdrawn,
        Err(_) if args.timeout == 0 => Outcome::Withdrawn,
        Err(_) => Outcome::Unfinished,
    }
}

/// Returns once no pod of it is to be replaced any more.
async fn settled(client: &Client, written: Rollout, workload: &Workload) {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &workload.id.namespace, &of_kind(workload.id.kind));
    let mut rollout = written;
    while !matches!(rollout, Rollout::Still | Rollout::Paused | Rollout::Complete) {
        tokio::time::sleep(LOOK).await;
        rollout = match api.get_opt(&workload.id.name).await {
            Ok(None) => return,
            Ok(Some(live)) => {
                let mut value = serde_json::to_value(live).unwrap_or_default();
                value["apiVersion"] = workload.id.kind.api_version().into();
                value["kind"] = workload.id.kind.as_str().into();
                match read_workload(&value, "") {
                    Some(Ok(live)) => live.rollout,
                    _ => return,
                }
            }
            // An API server that does not answer now may do so later.
            Err(_) => rollout,
        };
    }
}

/// On a terminal, one line that is written over.
fn progress(done: usize, all: usize) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let text = if done == all { String::new() } else { format!("{done} of {all} workloads") };
        // Where standard error is gone, there is nobody to tell.
        io::Write::write_fmt(&mut stderr, format_args!("\r\u{1b}[K{text}")).unwrap_or_default();
    }
}

fn text(format: Format, results: &[(Arc<Workload>, Outcome)], pods: usize) -> String {
    match format {
        Format::Json => {
            let workloads: Vec<Value> = results
                .iter()
                .map(|(workload, outcome)| {
                    let message = Some(outcome.message()).filter(|message| !message.is_empty());
                    let id = &workload.id;
                    json!({"kind": id.kind.as_str(), "namespace": id.namespace, "name": id.name, "result": outcome.word(), "message": message})
                })
                .collect();
            format!("{:#}\n", json!({"version": 1, "workloads": workloads, "pods": pods}))
        }
        Format::Table => {
            let mut table = Table::new(&["NAMESPACE", "WORKLOAD", "RESULT", "MESSAGE"]);
            for (workload, outcome) in results {
                let id = &workload.id;
                let name = format!("{}/{}", id.kind.as_str(), id.name);
                table.row([id.namespace.clone(), name, outcome.word().to_owned(), outcome.message()]);
            }
            let mut text = if results.is_empty() {
                "nothing to withdraw\n".to_owned()
            } else {
                table.print("", Style::new(io::stdout().is_terminal()))
            };
            if pods > 0 {
                say(
                    &mut text,
                    format!("{pods} pods got the variables as they were created, and keep them until they end"),
                );
            }
            text
        }
    }
}
