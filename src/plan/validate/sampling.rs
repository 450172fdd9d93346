//! What is wrong with the sampling of a policy: values, and rules that cannot do what they say (TRC03xx).

use crate::{
    api::{Profile, Ratio, Sampling, Settings, SpanMatcher, Tail, patterns},
    diagnostics::{Code, Diagnostic, FieldPath},
    plan::findings::Findings,
};

pub(super) fn check(settings: &Settings, sampling: &Sampling, path: &FieldPath, findings: &mut Findings) {
    findings.ratio(sampling.ratio, path.field("ratio"));
    findings.add_if(sampling.ratio.is_some() && sampling.profile.is_some(), Code::TRC0106, path.field("profile"));
    let Some(tail) = &sampling.tail else { return };
    let below = path.field("tail");
    values(tail, &below, findings);
    never(tail.drop.iter(), "drop", &below, findings);
    never(tail.routes.iter().map(|rule| &rule.matcher), "routes", &below, findings);
    let always = tail.keep.as_ref().is_some_and(|keep| keep.always == Some(true));
    if always && let Some(ratios) = ratios(tail) {
        let proof = format!("keep.always keeps every trace of these services, so that {ratios} decides about none.");
        findings.0.push(Diagnostic::new(Code::TRC0304, below.field("keep").field("always")).proof(proof));
    }
    if *tail != Tail::default() {
        reach(settings, sampling, path, findings);
    }
}

fn values(tail: &Tail, path: &FieldPath, findings: &mut Findings) {
    findings.ratio(tail.ratio, path.field("ratio"));
    let slower = tail.keep.as_ref().and_then(|keep| keep.slower_than.as_ref());
    findings.milliseconds(slower, &path.field("keep").field("slowerThan"));
    for (position, matcher) in tail.drop.iter().enumerate() {
        self::matcher(matcher, &path.field("drop").index(position), findings);
    }
    for (position, rule) in tail.routes.iter().enumerate() {
        let path = path.field("routes").index(position);
        self::matcher(&rule.matcher, &path, findings);
        findings.ratio(Some(rule.ratio), path.field("ratio"));
    }
}

fn matcher(matcher: &SpanMatcher, path: &FieldPath, findings: &mut Findings) {
    findings.add_if(!matcher.is_valid(), Code::TRC0125, path.clone());
    let pattern = matcher.span_name.as_deref().unwrap_or_default();
    findings.add_if(!patterns::matches(patterns::WILDCARDS, pattern), Code::TRC0132, path.clone());
    let texts = [
        ("route", &matcher.route),
        ("routePrefix", &matcher.route_prefix),
        ("method", &matcher.method),
        ("spanName", &matcher.span_name),
    ];
    for (field, text) in texts {
        findings.reference(text.as_deref().unwrap_or_default(), path.field(field));
    }
}

/// Whether anything applies the rules, and whether they see the traces that they are about.
fn reach(settings: &Settings, sampling: &Sampling, path: &FieldPath, findings: &mut Findings) {
    let Some(export) = &settings.export else { return };
    let elsewhere = export.endpoint.as_deref().is_some_and(|endpoint| !endpoint.is_empty());
    findings.add_if(elsewhere, Code::TRC0301, path.field("tail"));
    let is_partial = |ratio: Ratio| ratio.is_valid() && ratio.0 < 1.0;
    let head = sampling.ratio.filter(|ratio| is_partial(*ratio)).map(|_| "ratio");
    let profile = || sampling.profile.map(Profile::ratio).filter(|ratio| is_partial(*ratio)).map(|_| "profile");
    if let Some(field) = head.or_else(profile).filter(|_| export.collector_ref.is_some()) {
        let ratio = sampling.ratio.or_else(|| sampling.profile.map(Profile::ratio)).unwrap_or(Ratio(1.0));
        let proof = format!(
            "{} of the traces that begin here are recorded at all, so that no rule of sampling.tail can keep more.",
            share(ratio)
        );
        findings.0.push(Diagnostic::new(Code::TRC0302, path.field(field)).proof(proof));
    }
}

/// The ratios of tail rules, in words; nothing where there are none.
pub(in crate::plan) fn ratios(tail: &Tail) -> Option<String> {
    let own = tail.ratio.map(|ratio| format!("ratio {}", ratio.decimal()));
    let routes = match tail.routes.len() {
        0 => None,
        1 => Some("the rule in routes".to_owned()),
        more => Some(format!("each of the {more} rules in routes")),
    };
    let all: Vec<_> = own.into_iter().chain(routes).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

/// A ratio as people say it: `0.1 (1 in 10)`.
pub(in crate::plan) fn share(ratio: Ratio) -> String {
    let one_in = (1.0 / ratio.0).round();
    if ratio.0 > 0.0 && (one_in * ratio.0 - 1.0).abs() < 1e-9 {
        format!("{} (1 in {one_in})", ratio.decimal())
    } else {
        ratio.decimal()
    }
}

/// A matcher in words: `route /search, method GET`.
fn words(matcher: &SpanMatcher) -> String {
    let fields = [
        ("route", &matcher.route),
        ("routePrefix", &matcher.route_prefix),
        ("method", &matcher.method),
        ("spanName", &matcher.span_name),
    ];
    let set = fields.into_iter().filter_map(|(field, text)| Some(format!("{field} {}", text.as_deref()?)));
    set.collect::<Vec<_>>().join(", ")
}

/// Rules of a list that an earlier one of it covers.
fn never<'m>(rules: impl Iterator<Item = &'m SpanMatcher>, list: &str, path: &FieldPath, findings: &mut Findings) {
    let rules: Vec<_> = rules.collect();
    for (position, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.is_valid()) {
        let earlier = rules.iter().take(position).position(|earlier| earlier.is_valid() && covers(earlier, rule));
        if let Some(earlier) = earlier {
            let finding = Diagnostic::new(Code::TRC0303, path.field(list).index(position));
            let proof = format!(
                "Every span that {list}[{position}] ({}) is about is one that {list}[{earlier}] ({}) is about.",
                words(rule),
                rules.get(earlier).map(|rule| words(rule)).unwrap_or_default()
            );
            findings.0.push(finding.detail(format!("{list}[{earlier}]")).proof(proof));
        }
    }
}

/// Whether every span that `narrow` matches is matched by `wide` too. Says no where that cannot be known.
pub(in crate::plan) fn covers(wide: &SpanMatcher, narrow: &SpanMatcher) -> bool {
    let route = wide.route.is_none() || wide.route == narrow.route;
    let prefix = wide.route_prefix.as_ref().is_none_or(|prefix| {
        let known = narrow.route.as_ref().or(narrow.route_prefix.as_ref());
        known.is_some_and(|known| known.starts_with(prefix.as_str()))
    });
    let method = wide.method.is_none() || wide.method == narrow.method;
    // Every span has a name, so one that nothing is said about is like any.
    let name = wide.span_name.as_ref().is_none_or(|pattern| {
        let known = narrow.span_name.as_deref().unwrap_or("*");
        covers_pattern(pattern.as_bytes(), known.as_bytes())
    });
    route && prefix && method && name
}

/// Whether a pattern with `*` matches everything that another one matches: a `*` of the other can only fall to one of ours.
fn covers_pattern(wide: &[u8], narrow: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where the last star is, and how much of the other it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while from < narrow.len() {
        match (wide.get(at), narrow.get(from), star) {
            (Some(b'*'), _, _) => {
                star = Some((at, from));
                at += 1;
            }
            (Some(one), Some(other), _) if one == other => {
                at += 1;
                from += 1;
            }
            (_, _, Some((position, taken))) => {
                star = Some((position, taken + 1));
                at = position + 1;
                from = taken + 1;
            }
            _ => return false,
        }
    }
    wide.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SpanMatcher {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn wider_rules_cover_narrower_ones() {
        for (wide, narrow) in [
            ("{route: /a}", "{route: /a}"),
            ("{route: /a}", "{route: /a, method: GET}"),
            ("{routePrefix: /}", "{route: /a, method: GET}"),
            ("{routePrefix: /a}", "{routePrefix: /ab, spanName: x}"),
            ("{spanName: '*'}", "{route: /a}"),
            ("{spanName: '**'}", "{spanName: x}"),
            ("{spanName: 'poll *'}", "{spanName: 'poll *'}"),
            ("{spanName: 'poll *'}", "{spanName: 'poll a*b'}"),
            ("{spanName: '*a*'}", "{spanName: 'ba*'}"),
            ("{spanName: '*b'}", "{spanName: 'a*bab'}"),
            ("{route: /a, spanName: '*'}", "{route: /a}"),
        ] {
            assert!(covers(&read(wide), &read(narrow)), "{wide} {narrow}");
        }
    }

    #[test]
    fn nothing_else_is_covered() {
        for (wide, narrow) in [
            ("{route: /a, method: GET}", "{route: /a}"),
            ("{route: /a, method: GET}", "{route: /a, method: get}"),
            ("{route: /a}", "{routePrefix: /a}"),
            ("{routePrefix: /ab}", "{routePrefix: /a}"),
            // A span with that name may have no route at all.
            ("{routePrefix: /}", "{spanName: x}"),
            ("{spanName: x}", "{route: /a}"),
            ("{spanName: 'poll *'}", "{spanName: 'poll*'}"),
            ("{spanName: 'a*'}", "{spanName: '*a'}"),
            ("{spanName: 'ab'}", "{spanName: 'a*'}"),
            ("{route: /*}", "{route: /a}"),
            ("{route: /a, spanName: x}", "{route: /a}"),
        ] {
            assert!(!covers(&read(wide), &read(narrow)), "{wide} {narrow}");
        }
    }
}
