//! The `tail_sampling` processor.
//!
//! `otelcol validate` looks into none of this: a policy with a wrong type keeps the collector from starting, one with a wrong
//! block keeps nothing, an `and` without parts keeps everything. So only shapes that the types below allow are written.

use serde::Serialize;

use super::{
    mark::{DROP, KEEP, MARK},
    text::Text,
};
use crate::{
    api::{CollectorKeep, Ratio},
    plan::collector::{settings::CollectorSettings, tail::Model},
};

/// A `tail_sampling` processor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::plan::collector) struct TailSampling {
    decision_wait: String,
    num_traces: u64,
    sample_on_first_match: bool,
    decision_cache: DecisionCache,
    policies: Vec<Policy>,
}

/// Decisions that outlive their trace: late spans follow them, and a decided trace leaves the memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct DecisionCache {
    sampled_cache_size: u64,
    non_sampled_cache_size: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Policy {
    name: Text,
    #[serde(flatten)]
    rule: Rule,
}

/// What keeps (or with `Drop` drops) a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Rule {
    StringAttribute { string_attribute: StringAttribute },
    StatusCode { status_code: StatusCode },
    Latency { latency: Latency },
    And { and: And },
    Drop { drop: Drop },
}

/// A part of another rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Part {
    name: Text,
    #[serde(flatten)]
    rule: PartRule,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PartRule {
    StringAttribute { string_attribute: StringAttribute },
    Probabilistic { probabilistic: Probabilistic },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct StringAttribute {
    key: &'static str,
    values: Vec<Text>,
    /// Whether it must be nowhere in the trace. Every version in the range knows this; a `not` inside of an `and` came with 0.154.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invert_match: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct StatusCode {
    status_codes: [&'static str; 1],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Latency {
    threshold_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Probabilistic {
    sampling_percentage: serde_json::Number,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct And {
    and_sub_policy: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Drop {
    drop_sub_policy: [Part; 1],
}

/// The sampler of a collector: what is dropped, what is kept whatever the ratios say, then one policy for each ratio, and one
/// for each offer that an earlier rule of the same service can void.
pub(in crate::plan::collector) fn tail_sampling(
    settings: &CollectorSettings<'_>,
    keep: &CollectorKeep,
    model: &Model<'_>,
) -> TailSampling {
    let mut policies = vec![
        Policy { name: "drop".into(), rule: Rule::Drop { drop: Drop { drop_sub_policy: [has(DROP, ["1"])] } } },
        Policy { name: "keep".into(), rule: Rule::StringAttribute { string_attribute: attribute(KEEP, ["1"]) } },
    ];
    if keep.errors == Some(true) {
        let status_code = StatusCode { status_codes: ["ERROR"] };
        policies.push(Policy { name: "errors".into(), rule: Rule::StatusCode { status_code } });
    }
    if let Some(threshold_ms) = keep.slower_than.as_ref().and_then(|slower| slower.0.as_millis()) {
        policies.push(Policy { name: "slow".into(), rule: Rule::Latency { latency: Latency { threshold_ms } } });
    }
    for (ratio, unconditional) in &model.ratios {
        let value: Ratio = Ratio(ratio.parse().unwrap_or_default());
        policies.push(offer(format!("ratio-{ratio}"), value, &unconditional.marks, &[]));
    }
    for conditional in &model.conditional {
        let marks = std::slice::from_ref(&conditional.mark);
        policies.push(offer(format!("service-{}", conditional.mark), conditional.ratio, marks, &conditional.unless));
    }
    TailSampling {
        decision_wait: format!("{}s", settings.decision_wait),
        num_traces: settings.traces_in_memory,
        // `drop` comes first anyway, and of the others one is enough.
        sample_on_first_match: true,
        decision_cache: DecisionCache {
            sampled_cache_size: settings.traces_in_memory.saturating_mul(10),
            non_sampled_cache_size: settings.traces_in_memory.saturating_mul(10),
        },
        policies,
    }
}

/// Keeps the share `ratio` of traces with one of these marks and none of the others. The hash comes first, because it says
/// no most often, and the first no ends the evaluation.
fn offer(name: String, ratio: Ratio, marks: &[String], unless: &[String]) -> Policy {
    let marks = attribute(MARK, marks.iter().map(String::as_str));
    if ratio.0 >= 1.0 && unless.is_empty() {
        return Policy { name: name.into(), rule: Rule::StringAttribute { string_attribute: marks } };
    }
    let mut parts = Vec::new();
    if ratio.0 < 1.0 {
        let probabilistic = Probabilistic { sampling_percentage: percentage(ratio) };
        parts.push(Part { name: "rate".into(), rule: PartRule::Probabilistic { probabilistic } });
    }
    parts.push(Part { name: "offer".into(), rule: PartRule::StringAttribute { string_attribute: marks } });
    if !unless.is_empty() {
        let earlier = StringAttribute { invert_match: true, ..attribute(MARK, unless.iter().map(String::as_str)) };
        parts.push(Part { name: "unless".into(), rule: PartRule::StringAttribute { string_attribute: earlier } });
    }
    Policy { name: name.into(), rule: Rule::And { and: And { and_sub_policy: parts } } }
}

fn attribute<'a>(key: &'static str, values: impl IntoIterator<Item = &'a str>) -> StringAttribute {
    StringAttribute { key, values: values.into_iter().map(Text::from).collect(), invert_match: false }
}

fn has<'a>(key: &'static str, values: impl IntoIterator<Item = &'a str>) -> Part {
    Part { name: "marked".into(), rule: PartRule::StringAttribute { string_attribute: attribute(key, values) } }
}

/// The ratio in per cent, by moving the decimal point: multiplying would make 7.000000000000001 of 0.07.
pub(in crate::plan::collector) fn percentage(ratio: Ratio) -> serde_json::Number {
    let decimal = ratio.decimal();
    let (whole, fraction) = decimal.split_once('.').unwrap_or((&decimal, ""));
    let digits = format!("{whole}{fraction:0<2}");
    let at = whole.len() + 2;
    let (before, after) = digits.split_at_checked(at).unwrap_or((&digits, ""));
    let text = format!("{before}.{after}0");
    let number: f64 = text.parse().unwrap_or_default();
    if number.fract() == 0.0
        && let Ok(whole) = format!("{number}").parse::<u64>()
    {
        return whole.into();
    }
    serde_json::Number::from_f64(number).unwrap_or_else(|| 0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_the_ratios_with_the_point_moved() {
        let text = |ratio: f64| percentage(Ratio(ratio)).to_string();
        assert_eq!(text(0.07), "7");
        assert_eq!(text(0.1), "10");
        assert_eq!(text(0.001), "0.1");
        assert_eq!(text(0.000_000_1), "0.00001");
        assert_eq!(text(0.123_456), "12.3456");
        assert_eq!(text(1.0), "100");
        assert_eq!(text(0.29), "29");
    }
}
