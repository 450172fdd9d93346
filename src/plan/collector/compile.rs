//! A collector's configurations, from its own settings and the policies that use it.

use serde::Serialize;

use super::{
    CollectorPlan, CollectorSettings, Configuration, Tier,
    config::{self, File, Inputs},
    services::{self, Participants},
    tail::Model,
};
use crate::{
    api::Ratio,
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Collector, Snapshot},
};

/// The most that a configuration may take: a ConfigMap ends at 1 MiB, and holds the pod that belongs to it too.
const MAX_BYTES: usize = 1_000_000;
/// Beyond this, a configuration is written in the shortest form and not in the one that people like to read.
const READABLE_BYTES: usize = 256 * 1024;

/// Compiles the configurations of a collector.
pub fn compile(snapshot: &Snapshot, collector: &Collector) -> CollectorPlan {
    let participants = services::participants(snapshot, &collector.id);
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
                let detail = too_large(&why, &participants, &model);
                let finding = Diagnostic::new(Code::TRC0606, FieldPath::fields("spec")).detail(detail);
                plan.findings.push(finding.on(collector.id.object()));
                plan.configurations.clear();
                break;
            }
        }
    }
    plan
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
fn too_large(why: &Unwritten, participants: &Participants<'_>, model: &Model<'_>) -> String {
    let bytes = match why {
        Unwritten::TooLarge(bytes) => bytes,
        Unwritten::Unwritable(error) => return error.clone(),
    };
    let mut sizes: Vec<(usize, String)> = participants
        .policies
        .iter()
        .map(|policy| {
            let own = model.services.iter().filter(|offers| offers.service.policy == *policy);
            (own.map(|offers| config::service_statement(offers).len()).sum(), policy.to_string())
        })
        .collect();
    sizes.sort_by(|one, other| other.cmp(one));
    let largest: Vec<_> = sizes.iter().take(3).map(|(bytes, policy)| format!("{policy} ({bytes} bytes)")).collect();
    format!("{bytes} bytes, {MAX_BYTES} are possible; most of it for the policies {}", largest.join(", "))
}
