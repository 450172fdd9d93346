//! A policy or a collector explained, for people and for programs.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::{
    workload::{finding_value, policy_value, some},
    world::World,
};
use crate::{
    cli::table::{Style, Table, number, say},
    diagnostics::{Diagnostic, format::visible},
    plan::explain::{CollectorExplanation, PolicyExplanation, Selected},
};

fn heading(text: &mut String, style: Style, name: &str) {
    say(text, format!("\n{}", style.bold(name)));
}

fn conditions(conditions: &[Condition], style: Style) -> String {
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "MESSAGE"]);
    for condition in conditions {
        let Condition { type_, status, reason, message, .. } = condition;
        table.row([type_.clone(), status.clone(), reason.clone(), message.clone()]);
    }
    table.print("  ", style)
}

fn findings(findings: &[Diagnostic]) -> String {
    let mut text = String::new();
    for finding in findings {
        let line = format!("{} {} ({})", finding.code, finding.message, finding.path);
        // Writing to a string cannot fail.
        writeln!(text, "  {}\n    help: {}", visible(&line), visible(&finding.help)).unwrap_or_default();
    }
    text
}

fn condition_values(conditions: &[Condition]) -> Vec<Value> {
    let value = |condition: &Condition| json!({"type": condition.type_, "status": condition.status, "reason": condition.reason, "message": condition.message});
    conditions.iter().map(value).collect()
}

/// What a selected workload is to the policy.
fn standing(selected: &Selected) -> String {
    let mut words = match &selected.beaten_by {
        _ if selected.won => "comes first".to_owned(),
        Some((by, why)) => format!("{} comes first, since {why}", by.described()),
        None => "overrides it".to_owned(),
    };
    if !selected.overridden_by.is_empty() {
        let by: Vec<_> = selected.overridden_by.iter().map(crate::index::PolicyId::described).collect();
        words = format!("{words}; overrides of {} hold", by.join(", "));
    }
    words
}

pub(super) fn policy(world: &World, explanation: &PolicyExplanation, style: Style) -> String {
    let id = &explanation.id;
    let created = explanation.created.as_ref().map(|created| format!(", created {created}")).unwrap_or_default();
    let title = format!("{} {id}", id.kind());
    let mut text = format!("{}\n  priority {}{created}\n", style.bold(&visible(&title)), explanation.priority);
    if !explanation.errors.is_empty() {
        heading(&mut text, style, "NOT VALID");
        text.push_str(&findings(&explanation.errors));
    }
    let said = if explanation.is_reported { "CONDITIONS" } else { "CONDITIONS, as the operator would report them" };
    heading(&mut text, style, said);
    text.push_str(&conditions(&explanation.conditions, style));
    if explanation.workloads.is_empty() {
        let whole = if world.is_live { "in the cluster" } else { "in the input" };
        say(&mut text, format!("\nIt selects no workload {whole} ({} known).", workloads_known(world)));
        return text;
    }
    heading(&mut text, style, "WORKLOADS");
    let mut table = Table::new(&["WORKLOAD", "DECISION", "THIS POLICY"]);
    for selected in &explanation.workloads {
        table.row([selected.workload.to_string(), selected.verdict.as_str().to_owned(), standing(selected)]);
    }
    text.push_str(&table.print("  ", style));
    text
}

fn workloads_known(world: &World) -> usize {
    world.snapshot().namespaces.values().map(|namespace| namespace.workloads.len()).sum()
}

pub(super) fn policy_json(explanation: &PolicyExplanation) -> Value {
    let workload = |selected: &Selected| {
        let id = &selected.workload;
        let by = selected.beaten_by.as_ref();
        json!({
            "kind": id.kind.as_str(), "namespace": id.namespace, "name": id.name,
            "decision": selected.verdict.as_str(),
            "won": selected.won,
            "supersededBy": by.map(|(by, _)| policy_value(by)),
            "why": by.map(|(_, why)| why),
            "overriddenBy": selected.overridden_by.iter().map(policy_value).collect::<Vec<_>>(),
        })
    };
    json!({
        "version": 1,
        "object": policy_value(&explanation.id),
        "priority": explanation.priority,
        "created": explanation.created,
        "errors": explanation.errors.iter().map(finding_value).collect::<Vec<_>>(),
        "reported": explanation.is_reported,
        "conditions": condition_values(&explanation.conditions),
        "counts": explanation.counts,
        // Every field has an effect in this version; the shape stays.
        "withoutEffect": [],
        "workloads": explanation.workloads.iter().map(workload).collect::<Vec<_>>(),
    })
}

pub(super) fn collector(explanation: &CollectorExplanation, style: Style) -> String {
    let mut text = format!("{}\n", style.bold(&visible(&format!("TracingCollector {}", explanation.id))));
    if let Some(baseline) = explanation.baseline {
        let (policies, services) = (explanation.policies.len(), explanation.services.len());
        let services = number(services, "service");
        say(
            &mut text,
            format!(
                "  {} {}, {services} with rules of their own; baseline {}",
                policies,
                if policies == 1 { "policy" } else { "policies" },
                baseline.decimal()
            ),
        );
    }
    if !explanation.findings.is_empty() {
        heading(&mut text, style, "FINDINGS");
        text.push_str(&findings(&explanation.findings));
    }
    if !explanation.conditions.is_empty() {
        heading(&mut text, style, "CONDITIONS");
        text.push_str(&conditions(&explanation.conditions, style));
    }
    if !explanation.policies.is_empty() {
        heading(&mut text, style, "POLICIES");
        for policy in &explanation.policies {
            say(&mut text, format!("  {} {}", policy.kind(), visible(&policy.to_string())));
        }
    }
    if !explanation.services.is_empty() {
        heading(&mut text, style, "SERVICES");
        let mut table = Table::new(&["SERVICE", "POLICY", "RULES"]);
        for served in &explanation.services {
            let rules = serde_json::to_string(&served.tail).unwrap_or_default();
            table.row([format!("{}/{}", served.namespace, served.name), served.policy.to_string(), rules]);
        }
        text.push_str(&table.print("  ", style));
    }
    if !explanation.configurations.is_empty() {
        heading(&mut text, style, "CONFIGURATION");
        let mut table = Table::new(&["TIER", "HASH", "BYTES"]);
        for (tier, hash, bytes) in &explanation.configurations {
            table.row([tier.as_str().to_owned(), hash.clone(), bytes.to_string()]);
        }
        text.push_str(&table.print("  ", style));
    }
    if !explanation.objects.is_empty() {
        heading(&mut text, style, "OBJECTS");
        let mut table = Table::new(&["KIND", "NAME", "THERE"]);
        for (kind, name, there) in &explanation.objects {
            table.row([kind.clone(), name.clone(), if *there { "yes" } else { "no" }.to_owned()]);
        }
        text.push_str(&table.print("  ", style));
    }
    text
}

pub(super) fn collector_json(explanation: &CollectorExplanation) -> Value {
    let id = &explanation.id;
    json!({
        "version": 1,
        "object": {"kind": "TracingCollector", "namespace": some(&id.namespace), "name": id.name},
        "findings": explanation.findings.iter().map(finding_value).collect::<Vec<_>>(),
        "conditions": condition_values(&explanation.conditions),
        "baseline": explanation.baseline,
        "policies": explanation.policies.iter().map(policy_value).collect::<Vec<_>>(),
        "services": explanation.services.iter().map(|served| json!({
            "namespace": served.namespace, "name": served.name,
            "policy": policy_value(&served.policy), "rules": served.tail,
        })).collect::<Vec<_>>(),
        "configurations": explanation.configurations.iter().map(|(tier, hash, bytes)| json!({
            "tier": tier.as_str(), "hash": hash, "bytes": bytes,
        })).collect::<Vec<_>>(),
        "objects": explanation.objects.iter().map(|(kind, name, there)| json!({
            "kind": kind, "name": name, "exists": there,
        })).collect::<Vec<_>>(),
    })
}
