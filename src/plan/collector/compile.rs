//! A collector's configurations, from its own settings and the policies that use it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    CollectorPlan, CollectorSettings, Configuration, Tier,
    config::{self, File, Inputs},
    objects, revision,
    services::{self, Participants},
    tail::Model,
};
use crate::{
    api::Ratio,
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Collector, PolicyId, Snapshot},
};

/// The most that a configuration may take: a ConfigMap ends at 1 MiB, and holds the pod that belongs to it too.
const MAX_BYTES: usize = 1_000_000;
/// Beyond this, a configuration is written in the shortest form and not in the one that people like to read.
const READABLE_BYTES: usize = 256 * 1024;

/// What an offer that can be void takes beside the names of the earlier ones: a policy of the sampler.
const CONDITIONAL_BYTES: usize = 330;

/// Compiles the configurations of a collector.
pub fn compile(snapshot: &Snapshot, collector: &Collector) -> CollectorPlan {
    let participants = in_force(snapshot, collector);
    let mut plan = CollectorPlan {
        policies: participants.policies.len(),
        services: participants.services.len(),
        findings: participants.findings.clone(),
        ..CollectorPlan::default()
    };
    let Some(spec) = collector.valid() else { return plan };
    let settings = CollectorSettings::new(spec);
    let model = Model::new(&participants.services, Ratio(settings.baseline));
    let inputs = Inputs { id: &collector.id, settings: &settings, model: &model };
    let tiers: &[Tier] =
        if settings.has_sampler_tier() { &[Tier::Collector, Tier::Sampler] } else { &[Tier::Collector] };
    for tier in tiers {
        let (file, variables) = config::file(&inputs, *tier);
        match write(&file) {
            Ok(text) => plan.configurations.push(Configuration { tier: *tier, text, variables }),
            Err(why) => {
                let detail = too_large(&why, &model);
                let finding = Diagnostic::new(Code::TRC0606, FieldPath::fields("spec")).detail(detail);
                plan.findings.push(finding.on(collector.id.object()));
                plan.configurations.clear();
                break;
            }
        }
    }
    plan
}

/// Whose rules a collector follows.
pub(super) fn in_force<'a>(snapshot: &'a Snapshot, collector: &Collector) -> Participants<'a> {
    let mut participants = services::participants(snapshot, &collector.id);
    leave_out(&mut participants);
    participants
}

/// Leaves out the rules of policies that alone take more than a quarter of a configuration, so that no policy can keep the
/// others from being heard.
fn leave_out(participants: &mut Participants<'_>) {
    let sizes = sizes(&Model::new(&participants.services, Ratio(1.0)));
    let large: Vec<_> = sizes.into_iter().filter(|(bytes, _)| *bytes > MAX_BYTES / 4).collect();
    for (bytes, policy) in large {
        participants.services.retain(|service| *service.policy != policy);
        let finding = Diagnostic::new(Code::TRC0305, FieldPath::fields("spec.sampling.tail"));
        participants.findings.push(finding.detail(format!("{bytes} bytes")).on(policy.object()));
    }
}

/// How much each policy takes, the most first.
fn sizes(model: &Model<'_>) -> Vec<(usize, PolicyId)> {
    let mut sizes: BTreeMap<&PolicyId, usize> = BTreeMap::new();
    for offers in &model.services {
        let statement = config::service_statement(offers);
        // Quotes are escaped where it is written.
        let bytes = statement.len() + statement.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        *sizes.entry(offers.service.policy).or_default() += bytes;
    }
    for conditional in &model.conditional {
        let number = conditional.mark.split('.').next().and_then(|number| number.parse::<usize>().ok());
        if let Some(offers) = number.and_then(|number| model.services.get(number)) {
            let earlier: usize = conditional.unless.iter().map(|mark| mark.len() + 3).sum();
            *sizes.entry(offers.service.policy).or_default() += CONDITIONAL_BYTES + earlier;
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().map(|(policy, bytes)| (bytes, policy.clone())).collect();
    sizes.sort_by(|one, other| other.cmp(one));
    sizes
}

/// Everything that would be made for a collector with this plan, before anything runs: no revision is known yet but the
/// one that is meant.
pub fn rendered(collector: &Collector, plan: &CollectorPlan) -> Vec<Value> {
    let Some(spec) = collector.valid() else { return Vec::new() };
    let settings = CollectorSettings::new(spec);
    let revisions: Vec<_> =
        plan.configurations.iter().map(|configuration| revision(collector, &settings, configuration)).collect();
    if revisions.is_empty() {
        return Vec::new();
    }
    objects(collector, &settings, &revisions).into_iter().map(|object| object.manifest).collect()
}

/// Why there is no text.
enum Unwritten {
    TooLarge(usize),
    Unwritable(String),
}

fn write(file: &File) -> Result<String, Unwritten> {
    let unwritable = |error: &dyn std::fmt::Display| Unwritten::Unwritable(error.to_string());
    let compact = serde_json::to_string(file).map_err(|error| unwritable(&error))?;
    if compact.len() > MAX_BYTES {
        return Err(Unwritten::TooLarge(compact.len()));
    }
    let readable = yaml(file).map_err(|error| unwritable(&error))?;
    // JSON is YAML.
    Ok(if readable.len() > READABLE_BYTES { compact } else { readable })
}

fn yaml(value: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(value, serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX })
}

/// The size, and the policies that take most of it.
fn too_large(why: &Unwritten, model: &Model<'_>) -> String {
    let bytes = match why {
        Unwritten::TooLarge(bytes) => bytes,
        Unwritten::Unwritable(error) => return error.clone(),
    };
    let sizes = sizes(model);
    let largest: Vec<_> = sizes.iter().take(3).map(|(bytes, policy)| format!("{policy} ({bytes} bytes)")).collect();
    format!("{bytes} bytes, {MAX_BYTES} are possible; most of it for the policies {}", largest.join(", "))
}
