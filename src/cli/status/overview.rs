//! A cluster at a glance, as tables or as JSON.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde_json::{Value, json};

use crate::{
    api::{Export, Settings, condition},
    cli::table::{Style, Table, add as text_add},
    index::{Collector, Policy, Snapshot, WorkloadId},
    plan::{Decision, Plan, explain::Verdict, plan},
};

/// What is shown: of one namespace, or of all.
pub(super) struct Overview<'a> {
    snapshot: &'a Snapshot,
    plan: Plan,
    only: Option<&'a str>,
}

/// One workload, and what happens to it.
struct Seen<'a> {
    id: &'a WorkloadId,
    verdict: Verdict,
    pending: bool,
    restarting: bool,
    overridden: bool,
    policy: Option<String>,
}

/// How many workloads of a namespace are how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    traced: usize,
    pending: usize,
    restarting: usize,
    reverted: usize,
    overridden: usize,
    held: usize,
    disabled: usize,
    not_selected: usize,
    other: usize,
}

impl<'a> Overview<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, only: Option<&'a str>) -> Self {
        Self { snapshot, plan: plan(snapshot).0, only }
    }

    fn is_shown(&self, namespace: &str) -> bool {
        self.only.is_none_or(|only| only == namespace)
    }

    fn policies(&self) -> impl Iterator<Item = &'a Policy> {
        self.snapshot.policies().filter(|policy| policy.id.is_cluster() || self.is_shown(&policy.id.namespace))
    }

    /// Those of the namespace, and those that its policies use.
    fn collectors(&self) -> impl Iterator<Item = &'a Collector> {
        let used = self.only.map(|only| self.snapshot.collectors_of(only)).unwrap_or_default();
        let all = self.snapshot.collectors.values();
        all.filter(move |collector| self.is_shown(&collector.id.namespace) || used.contains(&collector.id))
    }

    fn workloads(&self) -> Vec<Seen<'a>> {
        let namespaces = self.snapshot.namespaces.iter().filter(|(name, _)| self.is_shown(name));
        let all = namespaces.flat_map(|(_, namespace)| namespace.workloads.values());
        all.map(|workload| {
            let planned = self.plan.workloads.get(&workload.id);
            let excluded = workload.is_collector || crate::plan::is_excluded(&workload.id.namespace, None);
            let verdict = match planned {
                // A policy that selects none of its containers sets nothing.
                Some(planned) if planned.decision == Decision::Inject && planned.containers.is_empty() => {
                    Verdict::NotSelected
                }
                Some(planned) => Verdict::of(planned),
                None if excluded => Verdict::Excluded,
                None => Verdict::NotSelected,
            };
            let pending = planned.is_some_and(|planned| planned.needs_write);
            let overridden = planned.is_some_and(crate::plan::WorkloadPlan::is_overridden);
            let policy = planned.and_then(|planned| planned.winner.as_ref()).map(crate::index::PolicyId::described);
            let restarting = planned.is_some() && !pending && workload.rollout.is_under_way();
            Seen { id: &workload.id, verdict, pending, restarting, overridden, policy }
        })
        .collect()
    }

    fn counts(&self) -> BTreeMap<&'a str, Counts> {
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        for Seen { id, verdict, pending, restarting, overridden, .. } in self.workloads() {
            let counts = counts.entry(&id.namespace).or_default();
            counts.restarting += usize::from(restarting);
            counts.pending += usize::from(pending);
            counts.overridden += usize::from(overridden);
            match verdict {
                Verdict::Traced | Verdict::AtPods => counts.traced += usize::from(!pending),
                Verdict::Held => counts.held += 1,
                Verdict::Disabled => counts.disabled += 1,
                Verdict::NotSelected => counts.not_selected += 1,
                Verdict::Reverted => counts.reverted += 1,
                Verdict::Manual | Verdict::Excluded => counts.other += 1,
            }
        }
        counts
    }

    pub(super) fn table(&self, each: bool, style: Style) -> String {
        let mut text = String::new();
        let mut add = |name: &str, table: &Table| {
            if !table.is_empty() {
                let apart = if text.is_empty() { "" } else { "\n" };
                text_add(&mut text, format!("{apart}{}\n{}", style.bold(name), table.print("  ", style)));
            }
        };
        add("POLICIES", &self.policy_table());
        add("WORKLOADS", &self.count_table());
        if each {
            add("EACH WORKLOAD", &self.workload_table());
        }
        add("COLLECTORS", &self.collector_table());
        if text.is_empty() {
            let place = self.only.map(|only| format!(" in namespace {only}")).unwrap_or_default();
            text = format!("No policies, workloads or collectors{place}.\n");
        }
        text
    }

    fn policy_table(&self) -> Table {
        let heads = [
            "NAMESPACE",
            "POLICY",
            "READY",
            "REASON",
            "MATCHED",
            "INJECTED",
            "PENDING",
            "SUPERSEDED",
            "SAMPLER",
            "SENDS TO",
            "AGE",
        ];
        let mut table = Table::new(&heads);
        for policy in self.policies() {
            let ready = ready(policy.status.as_ref().map(|status| status.conditions.as_slice()));
            let counts = policy.status.as_ref().and_then(|status| status.workloads.as_ref());
            // What nobody has counted is not 0.
            let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let name = &policy.id.name;
            table.row([
                if policy.id.is_cluster() { "(cluster)".to_owned() } else { policy.id.namespace.clone() },
                name.clone(),
                ready.map_or("-", |ready| &ready.status).to_owned(),
                ready.map_or("not reported", |ready| &ready.reason).to_owned(),
                number(counts.map(|counts| counts.matched)),
                number(counts.map(|counts| counts.injected)),
                number(counts.map(|counts| counts.pending)),
                number(counts.map(|counts| counts.superseded)),
                sampler(policy).unwrap_or_else(|| "-".to_owned()),
                sends_to(policy).unwrap_or_else(|| "-".to_owned()),
                policy.created.as_deref().and_then(age).unwrap_or_else(|| "-".to_owned()),
            ]);
            if let Some(ready) = ready.filter(|ready| ready.status != "True") {
                table.note(1, &ready.message);
            }
        }
        table
    }

    fn count_table(&self) -> Table {
        let mut table = Table::new(&[
            "NAMESPACE",
            "TRACED",
            "PENDING",
            "RESTARTING",
            "REVERTED",
            "OVERRIDDEN",
            "HELD",
            "DISABLED",
            "NOT SELECTED",
            "OTHER",
        ]);
        for (namespace, counts) in self.counts() {
            let Counts { traced, pending, restarting, reverted, overridden, held, disabled, not_selected, other } =
                counts;
            let numbers = [traced, pending, restarting, reverted, overridden, held, disabled, not_selected, other];
            let others_only = numbers.iter().rev().skip(1).all(|count| *count == 0);
            // Namespaces that are never touched say nothing.
            if !others_only || self.only.is_some() {
                table.row([namespace.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())));
            }
        }
        table
    }

    fn workload_table(&self) -> Table {
        let mut table = Table::new(&["WORKLOAD", "DECISION", "PENDING", "RESTARTING", "OVERRIDDEN", "POLICY"]);
        for Seen { id, verdict, pending, restarting, overridden, policy } in self.workloads() {
            let word = |is: bool| if is { "yes" } else { "-" }.to_owned();
            let policy = policy.unwrap_or_else(|| "-".to_owned());
            let words = [pending, restarting, overridden].map(word);
            table.row([id.to_string(), verdict.as_str().to_owned()].into_iter().chain(words).chain([policy]));
        }
        table
    }

    fn collector_table(&self) -> Table {
        let mut table =
            Table::new(&["NAMESPACE", "COLLECTOR", "READY", "REASON", "PODS", "CONFIGURATION", "POLICIES", "SERVICES"]);
        for collector in self.collectors() {
            let status = collector.status.as_ref();
            let ready = ready(status.map(|status| status.conditions.as_slice()));
            let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let pods = status.and_then(|status| status.replicas.as_ref());
            table.row([
                collector.id.namespace.clone(),
                collector.id.name.clone(),
                ready.map_or("-", |ready| &ready.status).to_owned(),
                ready.map_or("not reported", |ready| &ready.reason).to_owned(),
                pods.map_or_else(|| "-".to_owned(), |pods| format!("{} of {}", pods.ready, pods.desired)),
                revision(collector).unwrap_or_else(|| "-".to_owned()),
                number(status.and_then(|status| status.policies)),
                number(status.and_then(|status| status.services)),
            ]);
            if let Some(ready) = ready.filter(|ready| ready.status != "True") {
                table.note(1, &ready.message);
            }
        }
        table
    }

    pub(super) fn value(&self, each: bool) -> Value {
        let policies = self.policies().map(|policy| {
            let status = policy.status.as_ref();
            json!({
                "kind": policy.id.kind(),
                "namespace": Some(&policy.id.namespace).filter(|name| !name.is_empty()),
                "name": policy.id.name,
                "ready": ready_value(status.map(|status| status.conditions.as_slice())),
                "workloads": status.and_then(|status| status.workloads.clone()),
                "sampler": sampler(policy),
                "sendsTo": sends_to(policy),
                "created": policy.created,
            })
        });
        let namespaces = self.counts().into_iter().map(|(namespace, counts)| {
            json!({
                "namespace": namespace, "traced": counts.traced, "pending": counts.pending,
                "restarting": counts.restarting, "reverted": counts.reverted,
                "overridden": counts.overridden, "held": counts.held, "disabled": counts.disabled,
                "notSelected": counts.not_selected, "other": counts.other,
            })
        });
        let collectors = self.collectors().map(|collector| {
            let status = collector.status.as_ref();
            json!({
                "namespace": collector.id.namespace, "name": collector.id.name,
                "ready": ready_value(status.map(|status| status.conditions.as_slice())),
                "replicas": status.and_then(|status| status.replicas.clone()),
                "configuration": status.and_then(|status| status.configuration.clone()),
                "policies": status.and_then(|status| status.policies),
                "services": status.and_then(|status| status.services),
            })
        });
        let mut value = json!({
            "version": 1,
            "policies": policies.collect::<Vec<_>>(),
            "namespaces": namespaces.collect::<Vec<_>>(),
            "collectors": collectors.collect::<Vec<_>>(),
        });
        if each {
            let workloads = self.workloads().into_iter().map(|Seen { id, verdict, pending, restarting, overridden, policy }| {
                json!({
                    "kind": id.kind.as_str(), "namespace": id.namespace, "name": id.name,
                    "decision": verdict.as_str(), "pending": pending, "restarting": restarting, "overridden": overridden, "policy": policy,
                })
            });
            value["workloads"] = workloads.collect();
        }
        value
    }
}

fn ready(conditions: Option<&[Condition]>) -> Option<&Condition> {
    conditions?.iter().find(|known| known.type_ == condition::READY)
}

fn ready_value(conditions: Option<&[Condition]>) -> Option<Value> {
    let Condition { status, reason, message, .. } = ready(conditions)?;
    Some(json!({"status": status, "reason": reason, "message": message}))
}

/// The blocks of settings of a policy, the one that wins first.
fn blocks(policy: &Policy) -> Vec<&Settings> {
    let cluster = policy.cluster();
    let overrides = cluster.and_then(|spec| spec.overrides.as_ref()).map(|block| &block.settings);
    let defaults = cluster.and_then(|spec| spec.defaults.as_ref()).map(|block| &block.settings);
    policy.settings().into_iter().chain(overrides).chain(defaults).collect()
}

/// The head ratio, or the profile that stands for one.
fn sampler(policy: &Policy) -> Option<String> {
    let sampling = blocks(policy).into_iter().filter_map(|settings| settings.sampling.as_ref());
    let said = sampling.filter_map(|sampling| match (sampling.ratio, sampling.profile) {
        (Some(ratio), _) => Some(ratio.decimal()),
        (None, Some(profile)) => Some(profile.ratio().decimal()),
        (None, None) => None,
    });
    { said }.next()
}

fn sends_to(policy: &Policy) -> Option<String> {
    let export = blocks(policy).into_iter().find_map(|settings| settings.export.as_ref())?;
    let Export { endpoint, collector_ref, inherit, .. } = export;
    let home = if policy.id.is_cluster() { "(each namespace)" } else { &policy.id.namespace };
    let collector = collector_ref.as_ref().map(|reference| format!("TracingCollector {}", reference.id(home)));
    let inherited = inherit.filter(|inherit| *inherit).map(|_| "(inherited)".to_owned());
    endpoint.clone().or(collector).or(inherited)
}

/// The configuration that runs, and the one that is meant where that is another.
fn revision(collector: &Collector) -> Option<String> {
    let configuration = collector.status.as_ref()?.configuration.as_ref()?;
    match (&configuration.live, &configuration.desired) {
        (Some(live), Some(desired)) if live != desired => Some(format!("{live} (wanted: {desired})")),
        (Some(live), _) => Some(live.clone()),
        (None, desired) => desired.as_ref().map(|desired| format!("none (wanted: {desired})")),
    }
}

/// Since when, as kubectl writes it.
fn age(created: &str) -> Option<String> {
    let created: Timestamp = created.parse().ok()?;
    let seconds = Timestamp::now().as_second() - created.as_second();
    Some(match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    })
}
