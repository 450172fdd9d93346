//! What has to become of a trace, from the words of the promise alone:
//!
//! > A trace is dropped where a drop rule matches its root span; else kept where any keep rule of the collector or of a
//! > participating service's policy matches a span of that service; else each participating service offers one ratio (its
//! > first matching route rule, else its policy's tail ratio, else the collector's baseline) and the trace is kept with the
//! > highest ratio on offer. A policy's rules see spans of its own services (namespace and service name) only.
//!
//! Nothing here is taken from the compiler, and nothing may be: this is the other side of the comparison.

use crate::model::{Baseline, Keep, Matcher, Policy, Ratio, Span, Trace};
use crate::support::otlp::Value;

/// Whether a trace is kept, and why.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) kept: bool,
    pub(crate) reason: String,
}

/// Whose span it is: namespace and name, either of which may be missing.
type Service<'a> = (Option<&'a str>, Option<&'a str>);

/// Decides on one trace.
pub(crate) fn decide(baseline: &Baseline, policies: &[Policy], trace: &Trace) -> Verdict {
    let kept = |reason: String| Verdict { kept: true, reason };
    let policy_of = |span: &Span| policies.iter().find(|policy| !policy.disabled && policy.has(service(span)));
    for span in trace.spans.iter().filter(|span| span.parent.is_none()) {
        let rules = policy_of(span).map(|policy| &policy.drop[..]).unwrap_or_default();
        if let Some(rule) = rules.iter().find(|rule| rule.matches(span)) {
            return Verdict { kept: false, reason: format!("its root is dropped by {rule:?}") };
        }
    }
    if let Some(reason) = kept_by_collector(&baseline.keep, trace) {
        return kept(format!("the collector keeps {reason}"));
    }
    for span in &trace.spans {
        if let Some(policy) = policy_of(span)
            && let Some(reason) = kept_by_policy(&policy.keep, span)
        {
            return kept(format!("{} keeps {reason}", policy.name));
        }
    }
    let mut best: Option<(Ratio, String)> = None;
    for span in &trace.spans {
        let (ratio, reason) = match policy_of(span) {
            Some(policy) => policy.offer(service(span), trace, baseline),
            None => (baseline.ratio(), "the baseline".to_owned()),
        };
        if best.as_ref().is_none_or(|(known, _)| ratio.value() > known.value()) {
            best = Some((ratio, reason));
        }
    }
    let (ratio, reason) = best.expect("a trace has spans");
    let (hash, threshold) = (hash(&trace.id), threshold(ratio.percentage()));
    let reason = format!("offered {} by {reason}; its hash is {hash:016x} of {threshold:016x}", ratio.0);
    Verdict { kept: threshold > 0 && hash <= threshold, reason }
}

impl Baseline {
    fn ratio(&self) -> Ratio {
        self.ratio.unwrap_or(Ratio("1"))
    }
}

impl Policy {
    fn has(&self, (namespace, name): Service<'_>) -> bool {
        namespace == Some(&self.namespace) && self.services.iter().any(|known| Some(known.as_str()) == name)
    }

    /// The ratio that one of its services offers for this trace.
    fn offer(&self, own: Service<'_>, trace: &Trace, baseline: &Baseline) -> (Ratio, String) {
        let matches = |rule: &Matcher| trace.spans.iter().any(|span| service(span) == own && rule.matches(span));
        if let Some((rule, ratio)) = self.routes.iter().find(|(rule, _)| matches(rule)) {
            return (*ratio, format!("{} for {rule:?}", self.name));
        }
        match self.ratio {
            Some(ratio) => (ratio, self.name.clone()),
            None => (baseline.ratio(), format!("the baseline, for {} has no ratio", self.name)),
        }
    }
}

impl Matcher {
    /// Every field that is there has to hold, on this one span.
    fn matches(&self, span: &Span) -> bool {
        let route = string(span, "http.route");
        let method = string(span, "http.request.method").or_else(|| string(span, "http.method"));
        let same = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        same(&self.route, route)
            && same(&self.method, method)
            && self.route_prefix.as_ref().is_none_or(|prefix| route.is_some_and(|route| route.starts_with(prefix)))
            && self.span_name.as_ref().is_none_or(|pattern| glob(pattern, &span.name))
    }
}

fn kept_by_collector(keep: &Keep, trace: &Trace) -> Option<String> {
    let start = trace.spans.iter().map(|span| span.start).min()?;
    let end = trace.spans.iter().map(|span| span.end).max()?;
    if keep.slower_than.is_some_and(|limit| lasts(start, end, limit)) {
        return Some(format!("a slow trace: {start} to {end}"));
    }
    trace.spans.iter().find_map(|span| {
        if let (_, Some(name)) = service(span)
            && keep.services.iter().any(|kept| kept == name)
        {
            return Some(format!("the service {name}"));
        }
        kept_by_outcome(keep, span)
    })
}

fn kept_by_policy(keep: &Keep, span: &Span) -> Option<String> {
    if keep.always {
        return Some("everything".to_owned());
    }
    if keep.slower_than.is_some_and(|limit| lasts(span.start, span.end, limit)) {
        return Some(format!("a slow span: {} to {}", span.start, span.end));
    }
    kept_by_outcome(keep, span)
}

fn kept_by_outcome(keep: &Keep, span: &Span) -> Option<String> {
    if keep.errors && span.error {
        return Some(format!("an error in span {}", span.id));
    }
    let status = ["http.response.status_code", "http.status_code"].into_iter().find(|key| {
        let status = match value(&span.attributes, key) {
            Some(Value::IntValue(status)) => Some(*status),
            Some(Value::StringValue(status)) => status.parse().ok(),
            _ => None,
        };
        status.is_some_and(|status| (500..=599).contains(&status))
    });
    status.filter(|_| keep.http_server_errors).map(|key| format!("{key} of span {}", span.id))
}

/// At least so many milliseconds; a clock that went back makes nothing slow.
fn lasts(start: u64, end: u64, milliseconds: u64) -> bool {
    i128::from(end) - i128::from(start) >= i128::from(milliseconds) * 1_000_000
}

/// By `k8s.namespace.name`, else `service.namespace`, and `service.name`.
fn service(span: &Span) -> Service<'_> {
    let text = |key| match value(&span.resource, key) {
        Some(Value::StringValue(text)) => Some(text.as_str()),
        _ => None,
    };
    (text("k8s.namespace.name").or_else(|| text("service.namespace")), text("service.name"))
}

fn string<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    match value(&span.attributes, key) {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn value<'a>(attributes: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// `*` stands for any characters, also none; everything else for itself.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
            ends.into_iter().any(|index| rest.get(index..).is_some_and(|rest| glob(after, rest)))
        }),
    }
}

/// FNV-1a of the collector's default salt and the trace id.
pub(crate) fn hash(trace_id: &[u8; 16]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    b"default-hash-seed".iter().chain(trace_id).fold(0xcbf2_9ce4_8422_2325, step)
}

/// The highest hash that is kept at this percentage: percentage / 100 as a double, times 2^64 - 1 with a mantissa of 64 bits.
pub(crate) fn threshold(percentage: f64) -> u64 {
    let ratio = percentage / 100.0;
    if ratio <= 0.0 {
        return 0;
    }
    if ratio >= 1.0 {
        return u64::MAX;
    }
    // ratio = mantissa * 2^exponent, exactly.
    let bits = ratio.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    let exponent = i32::try_from(bits >> 52).expect("11 bits") - 1075;
    let product = u128::from(mantissa) * u128::from(u64::MAX);
    let surplus = 64 - i32::try_from(product.leading_zeros()).expect("at most 128");
    let (mut rounded, rest) = (product >> surplus, product & ((1 << surplus) - 1));
    let half = 1_u128 << (surplus - 1);
    if rest > half || (rest == half && rounded & 1 == 1) {
        rounded += 1;
    }
    let shift = u32::try_from(-(surplus + exponent)).expect("a ratio below 1");
    u64::try_from(rounded.checked_shr(shift).unwrap_or(0)).expect("64 bits")
}

#[test]
fn hashes_and_thresholds_are_the_collectors() {
    // Measured on a collector: trace id, hash, and the lowest of the three percentages at which it is kept.
    let known: [(u128, u64, Option<f64>); 5] = [
        (0xadba_fed0_b600_860c_7bdc_fd55_3043_74b3, 0x026e_db8c_3d38_8721, Some(1.0)),
        (0x8052_b13c_dc7e_351e_5fc8_16f4_afbc_11c4, 0x0a7c_27f9_42c6_b354, Some(10.0)),
        (0xd1e2_9034_8398_90cd_d2e3_8779_f618_1e7c, 0x186e_48a9_8be8_c691, Some(10.0)),
        (0x0e66_c6be_5147_8b93_be3b_496e_c129_017d, 0x42ea_1037_52cf_9367, Some(50.0)),
        (0x6919_0876_a0c5_b20c_2885_f868_301a_5d12, 0xf4a0_7c19_5e96_7a4a, None),
    ];
    for (id, expected, kept) in known {
        let found = hash(&id.to_be_bytes());
        assert_eq!(found, expected, "{id:032x}");
        assert_eq!([1.0, 10.0, 50.0].into_iter().find(|percentage| found <= threshold(*percentage)), kept, "{id:032x}");
    }
    let thresholds = [(0.1, 0x0041_8937_4bc6_a7ef), (1.0, 0x028f_5c28_f5c2_8f5f), (10.0, 0x1999_9999_9999_99ff)];
    for (percentage, expected) in thresholds.into_iter().chain([(50.0, u64::MAX / 2), (100.0, u64::MAX), (0.0, 0)]) {
        assert_eq!(threshold(percentage), expected, "{percentage} %");
    }
    for (ratio, percentage) in [("0.07", 7.0), ("1", 100.0), ("0", 0.0), ("0.001", 0.1), ("0.5", 50.0), ("0.125", 12.5)]
    {
        assert!((Ratio(ratio).percentage() - percentage).abs() < f64::EPSILON, "{ratio}");
    }
}
