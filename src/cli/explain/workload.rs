//! A workload explained, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::world::World;
use crate::{
    api::HEADERS_KEY,
    cli::table::{Style, Table, add, say},
    diagnostics::{Diagnostic, format::visible},
    index::{EnvValue, PolicyId},
    plan::{
        Part,
        explain::{ContainerReport, Explanation, Feed, Lost, Origin, Ranked, Reason, Setting, State},
    },
};

/// `TracingPolicy web`, and of a ClusterTracingPolicy the part.
pub(super) fn policy_words(policy: &PolicyId, part: Part) -> String {
    match part {
        Part::Policy => policy.described(),
        Part::Defaults => format!("{} (defaults)", policy.described()),
        Part::Overrides => format!("{} (overrides)", policy.described()),
    }
}

pub(super) fn policy_value(policy: &PolicyId) -> Value {
    json!({"kind": policy.kind(), "namespace": some(&policy.namespace), "name": policy.name})
}

pub(super) fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn finding_value(finding: &Diagnostic) -> Value {
    json!({"code": finding.code.as_str(), "path": finding.path.to_string(), "message": finding.message, "help": finding.help})
}

/// A JSON value as people read it: text without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("name") => plain(&fields["name"]),
        other => other.to_string(),
    }
}

/// A variable's value as people read it.
pub(in crate::cli) fn env_words(value: &EnvValue) -> String {
    match value {
        EnvValue::Literal(value) => value.clone(),
        EnvValue::FieldRef(path) => format!("(field {path} of the pod)"),
        EnvValue::HeadersSecret(secret) => format!("(Secret {secret}, key {HEADERS_KEY})"),
        EnvValue::Joined => "(the user's own, joined)".to_owned(),
        EnvValue::Foreign => "(not known)".to_owned(),
    }
}

/// A variable's value as an entry of `env` has it.
pub(in crate::cli) fn env_value(into: &mut Map<String, Value>, value: &EnvValue) {
    let from = match value {
        EnvValue::Literal(value) => {
            into.insert("value".to_owned(), json!(value));
            return;
        }
        EnvValue::FieldRef(path) => json!({"fieldRef": {"fieldPath": path}}),
        EnvValue::HeadersSecret(name) => json!({"secretKeyRef": {"name": name, "key": HEADERS_KEY, "optional": true}}),
        EnvValue::Joined | EnvValue::Foreign => Value::Null,
    };
    into.insert("valueFrom".to_owned(), from);
}

const fn state_words(state: &State) -> &'static str {
    match state {
        State::InPlace => "in place",
        State::ToAdd => "to add",
        State::ToChange(_) => "to change",
        State::NotWritten => "not written",
        State::Kept => "kept",
    }
}

pub(super) fn pretty(world: &World, explanation: &Explanation, style: Style) -> String {
    let id = &explanation.id;
    let mut text = format!("{}\n  {}\n", style.bold(&visible(&id.to_string())), visible(&explanation.summary));
    if !explanation.reasons.is_empty() {
        say(&mut text, format!("\n{}", style.bold("WHAT TO KNOW")));
        text.push_str(&reasons(&explanation.reasons, style));
    }
    if !explanation.policies.is_empty() {
        add(
            &mut text,
            format!("\n{}\n{}", style.bold("POLICIES, the strongest first"), policies(&explanation.policies, style)),
        );
    }
    if !explanation.fields.is_empty() {
        add(&mut text, format!("\n{}\n{}", style.bold("SETTINGS"), settings(world, &explanation.fields, style)));
    }
    for container in &explanation.containers {
        // Nothing to say of a container that nobody selects.
        let has_variables = !container.variables.is_empty() || !container.withheld.is_empty();
        if has_variables || !container.leaving.is_empty() || container.uninstrumented.is_some() {
            let name = visible(&container.name);
            add(
                &mut text,
                format!("\n{}\n{}", style.bold(&format!("CONTAINER {name}")), variables(world, container, style)),
            );
        }
    }
    text
}

fn reasons(reasons: &[Reason], style: Style) -> String {
    let mut text = String::new();
    for (position, reason) in reasons.iter().enumerate() {
        let (number, name) = (position + 1, style.bold(reason.reason));
        // Writing to a string cannot fail.
        writeln!(text, "  {number}. {name}: {}\n     help: {}", visible(&reason.message), visible(&reason.help))
            .unwrap_or_default();
    }
    text
}

fn policies(policies: &[Ranked], style: Style) -> String {
    let mut table = Table::new(&["POLICY", "SELECTS", "PRIORITY", "CREATED", "BEFORE THE NEXT, SINCE"]);
    for ranked in policies {
        table.row([
            policy_words(&ranked.policy, ranked.part),
            ranked.selects().to_owned(),
            ranked.priority.to_string(),
            ranked.created.clone().unwrap_or_else(|| "-".to_owned()),
            ranked.before_next.unwrap_or("-").to_owned(),
        ]);
        for error in &ranked.errors {
            table.note(0, &format!("  not valid: {} {} ({})", error.code, error.message, error.path));
        }
    }
    table.print("  ", style)
}

fn settings(world: &World, fields: &[Setting], style: Style) -> String {
    let mut table = Table::new(&["FIELD", "VALUE", "SET BY", "WHERE"]);
    for setting in fields {
        let value = setting.value.as_ref().map_or_else(|| "(unset)".to_owned(), plain);
        let (by, place) = match &setting.origin {
            Some(origin) => (policy_words(&origin.policy, origin.part), where_words(world, origin)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        table.row([setting.field.clone(), value, by, place]);
        for lost in &setting.lost {
            let Lost { origin, value, why } = lost;
            let by = policy_words(&origin.policy, origin.part);
            table.note(1, &format!("not {} of {by} ({}): {why}", plain(value), where_words(world, origin)));
        }
    }
    table.print("  ", style)
}

fn where_words(world: &World, origin: &Origin) -> String {
    format!("{} {}", world.locate(origin).words(), origin.path).trim_start_matches("- ").to_owned()
}

fn variables(world: &World, container: &ContainerReport, style: Style) -> String {
    // Where nothing is in a cluster, there is nothing to compare with.
    let heads: &[&str] = if world.is_live { &["VARIABLE", "VALUE", "STATE"] } else { &["VARIABLE", "VALUE"] };
    let mut table = Table::new(heads);
    for variable in &container.variables {
        let value = env_words(&variable.value);
        let is_list = variable.name == "OTEL_RESOURCE_ATTRIBUTES" && !value.is_empty();
        let shown = if is_list { "(below)".to_owned() } else { value.clone() };
        table.row([variable.name.to_owned(), shown, state_words(&variable.state).to_owned()]);
        if is_list {
            value.split(',').for_each(|pair| table.note(1, pair));
        }
        if let State::ToChange(value) = &variable.state {
            table.note(1, &format!("now: {}", env_words(value)));
        }
        let from: Vec<_> = variable
            .from
            .iter()
            .map(|feed| match feed {
                Feed::Field(field) | Feed::Derived(field) => field.as_str(),
            })
            .collect();
        table.note(1, &format!("from {}", from.join(", ")));
    }
    for name in &container.leaving {
        table.row([
            (*name).to_owned(),
            "to remove".to_owned(),
            "-".to_owned(),
            "no longer set by any policy".to_owned(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.print("  ", style) };
    // Writing to a string cannot fail.
    if let Some(image) = &container.instrumented {
        writeln!(text, "  instrumented by {}", visible(image)).unwrap_or_default();
    }
    if let Some(why) = &container.uninstrumented {
        writeln!(text, "  not instrumented: {}", visible(why)).unwrap_or_default();
    }
    for withheld in &container.withheld {
        let rule = withheld.rule.map(|rule| format!(" ({rule})")).unwrap_or_default();
        let because = withheld.because.join(", ");
        // Writing to a string cannot fail.
        writeln!(text, "  left out: {}, since the container sets {because}{rule}", withheld.name).unwrap_or_default();
    }
    text
}

pub(super) fn json(world: &World, explanation: &Explanation) -> Value {
    let id = &explanation.id;
    json!({
        "version": 1,
        "object": {"kind": id.kind.as_str(), "namespace": id.namespace, "name": id.name},
        "decision": explanation.verdict.as_str(),
        "summary": explanation.summary,
        "pending": world.is_live && explanation.pending,
        "policies": explanation.policies.iter().map(ranked_value).collect::<Vec<_>>(),
        "fields": explanation.fields.iter().map(|setting| setting_value(world, setting)).collect::<Vec<_>>(),
        "containers": explanation.containers.iter().map(|container| container_value(world, container)).collect::<Vec<_>>(),
        "reasons": explanation.reasons.iter().map(reason_value).collect::<Vec<_>>(),
    })
}

fn reason_value(reason: &Reason) -> Value {
    json!({"reason": reason.reason, "message": reason.message, "help": reason.help})
}

fn part_word(part: Part) -> &'static str {
    match part {
        Part::Policy => "policy",
        Part::Defaults => "defaults",
        Part::Overrides => "overrides",
    }
}

fn ranked_value(ranked: &Ranked) -> Value {
    let mut value = policy_value(&ranked.policy);
    value["part"] = part_word(ranked.part).into();
    value["specificity"] = ranked.selects().into();
    value["priority"] = ranked.priority.into();
    value["created"] = json!(ranked.created);
    value["why"] = json!(ranked.before_next);
    value["errors"] = ranked.errors.iter().map(finding_value).collect();
    value
}

/// `policy`, `part`, `path`, `file`, `line`, `managers`: of nobody where nothing is set.
fn origin_fields(world: &World, origin: Option<&Origin>, into: &mut Map<String, Value>) {
    let place = origin.map(|origin| world.locate(origin)).unwrap_or_default();
    into.insert("policy".to_owned(), json!(origin.map(|origin| policy_value(&origin.policy))));
    into.insert("part".to_owned(), json!(origin.map(|origin| part_word(origin.part))));
    into.insert("path".to_owned(), json!(origin.map(|origin| origin.path.to_string())));
    into.insert("file".to_owned(), json!(place.file));
    into.insert("line".to_owned(), json!(place.line));
    into.insert("managers".to_owned(), json!(place.managers));
}

fn setting_value(world: &World, setting: &Setting) -> Value {
    let mut value = Map::new();
    value.insert("field".to_owned(), json!(setting.field));
    value.insert("value".to_owned(), json!(setting.value));
    origin_fields(world, setting.origin.as_ref(), &mut value);
    let lost = setting.lost.iter().map(|lost| {
        let mut value = Map::new();
        value.insert("value".to_owned(), lost.value.clone());
        origin_fields(world, Some(&lost.origin), &mut value);
        value.insert("why".to_owned(), json!(lost.why));
        Value::Object(value)
    });
    value.insert("lost".to_owned(), lost.collect());
    Value::Object(value)
}

fn container_value(world: &World, container: &ContainerReport) -> Value {
    let variables = container.variables.iter().map(|variable| {
        let mut value = Map::new();
        value.insert("name".to_owned(), json!(variable.name));
        env_value(&mut value, &variable.value);
        let from = variable.from.iter().map(|feed| match feed {
            Feed::Field(field) => json!({"field": field}),
            Feed::Derived(what) => json!({"derived": what}),
        });
        value.insert("from".to_owned(), from.collect());
        let state = if world.is_live { Some(state_words(&variable.state)) } else { None };
        value.insert("state".to_owned(), json!(state));
        Value::Object(value)
    });
    let withheld = container
        .withheld
        .iter()
        .map(|withheld| json!({"name": withheld.name, "because": withheld.because, "rule": withheld.rule}));
    json!({
        "name": container.name,
        "unselected": container.unselected,
        "variables": variables.collect::<Vec<_>>(),
        "withheld": withheld.collect::<Vec<_>>(),
        "instrumented": container.instrumented.as_ref().map(|image| json!({"image": image})),
        "notInstrumented": container.uninstrumented,
        "removed": container.leaving,
    })
}
