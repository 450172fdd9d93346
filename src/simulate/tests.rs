//! What becomes of traces: memory, timing, head sampling, and what is said of rules.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    index::Snapshot,
    plan::{read_collector, read_policy},
    simulate::read::{Scope, Value as Raw},
};

const SECOND: u64 = 1_000_000_000;

/// A sampler of one collector with these settings, and policies of the namespace `shop`, each for the service of its name.
fn sampler(sampling: &Json, policies: &[(&str, Json)]) -> Sampler {
    let collector = read_collector(
        &json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
            "metadata": {"name": "gateway", "namespace": "shop"},
            "spec": {
                "sampling": sampling, "backends": [{"name": "b", "endpoint": "http://b:4317"}],
                "scrub": {"attributes": ["secret"], "truncate": {"long": 3}},
            },
        }),
        "default",
    );
    assert_eq!(collector.findings, []);
    let mut snapshot = Snapshot::default();
    snapshot.collectors.insert(collector.id.clone(), collector.clone());
    for (name, sampling) in policies {
        let policy = read_policy(
            &json!({
                "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "enabled": true, "targets": [{"kind": "Deployment", "name": name}],
                    "export": {"collectorRef": {"name": "gateway"}}, "sampling": sampling,
                },
            }),
            "default",
        );
        assert!(policy.is_valid(), "{:?}", policy.findings);
        snapshot.namespaces.entry("shop".to_owned()).or_default().policies.insert(policy.id.name.clone(), policy);
    }
    Sampler::new(&snapshot, &collector).unwrap()
}

fn attribute<'a>(key: &'a str, value: &'a str) -> Attribute<'a> {
    Attribute { key: Cow::Borrowed(key), value: Raw::Text(Cow::Borrowed(value)) }
}

/// A span of a service of `shop`.
fn batch<'a>(service: &'a str, span: Span<'a>) -> Batch<'a> {
    Batch {
        resource: vec![attribute("service.name", service), attribute("k8s.namespace.name", "shop")],
        scopes: vec![Scope { attributes: Vec::new(), spans: vec![span] }],
    }
}

/// A root of a second in the trace of this number.
fn root(trace: u64) -> Span<'static> {
    Span { trace: id(trace), id: [1; 8], start: SECOND, end: 2 * SECOND, bytes: 10, ..Span::default() }
}

fn child(trace: u64) -> Span<'static> {
    Span { parent: [1; 8], id: [2; 8], ..root(trace) }
}

fn id(trace: u64) -> TraceId {
    u128::from(trace).to_be_bytes()
}

#[derive(Default)]
struct Told(Vec<Fate>);

impl Fates for Told {
    fn fate(&mut self, fate: &Fate, _: &Names) {
        self.0.push(fate.clone());
    }
}

fn simulated(sampler: &Sampler, with_head: bool, batches: &[Batch<'_>]) -> (Vec<Fate>, Summary) {
    let (mut told, mut simulation) = (Told::default(), Simulation::new(sampler, with_head));
    for batch in batches {
        simulation.take(batch, &mut told);
    }
    let (summary, _) = simulation.finish(&mut told);
    (told.0, summary)
}

fn rule<'s>(sampler: &'s Sampler, fate: &Fate) -> (&'s str, bool) {
    (&sampler.rule(fate.rule).text, fate.kept)
}

#[test]
fn no_more_traces_are_open_than_the_collector_holds() {
    let sampler = sampler(&json!({"tracesInMemory": 2, "baselineRatio": 0, "keep": {"errors": true}}), &[]);
    let error = |trace| Span { is_error: true, ..child(trace) };
    let batches = [root(1), root(2), child(1), root(3), error(2), error(1), error(3)];
    let (fates, summary) = simulated(&sampler, false, &batches.map(|span| batch("web", span)));
    // The second has been quiet longest as the third begins: its error comes too late.
    let found: Vec<_> = fates.iter().map(|fate| (fate.number, fate.kept, fate.spans(), fate.timing)).collect();
    assert_eq!(found, [(1, true, 3, None), (2, false, 2, Some(Timing::Late)), (3, true, 2, None)]);
    assert_eq!((summary.late, summary.all.traces, summary.all.kept, summary.all.spans), (1, 3, 2, 7));
}

#[test]
fn traces_that_a_collector_has_no_room_for_are_named() {
    let sampler = sampler(&json!({"tracesInMemory": 2, "baselineRatio": 1, "decisionWait": "10s"}), &[]);
    let later = |trace: u64, seconds: u64| Span { start: seconds * SECOND, end: seconds * SECOND, ..root(trace) };
    let batches = [later(1, 1), later(2, 2), later(3, 3), later(4, 30), later(5, 60), later(6, 61)];
    let (fates, summary) = simulated(&sampler, false, &batches.map(|span| batch("web", span)));
    let found: Vec<_> = fates.iter().map(|fate| fate.timing).collect();
    // As the third came, the first was still waited for; the others had been decided long ago.
    assert_eq!(found, [Some(Timing::Crowded), None, None, None, None, None]);
    assert_eq!(summary.crowded, 1);
}

#[test]
fn decisions_are_remembered_for_ten_times_as_many_traces() {
    let sampler = sampler(&json!({"tracesInMemory": 1, "baselineRatio": 0}), &[]);
    let mut told = Told::default();
    let mut simulation = Simulation::new(&sampler, false);
    for trace in (1..=12).chain([2, 1]) {
        simulation.take(&batch("web", root(trace)), &mut told);
    }
    // As the twelfth was decided... the first was forgotten; what comes of it then is a new trace.
    let (summary, _) = simulation.finish(&mut told);
    let of = |trace| told.0.iter().filter(|fate| fate.id == id(trace)).map(|fate| fate.timing).collect::<Vec<_>>();
    // All of them at one time are more than one.
    assert_eq!(of(1), [Some(Timing::Crowded), None]);
    assert_eq!(of(2), [Some(Timing::Late)]);
    assert_eq!(summary.all.traces, 13);
}

#[test]
fn traces_that_outlast_the_wait_are_named() {
    let sampler = sampler(&json!({"decisionWait": "5s"}), &[]);
    let ends = |end: u64| Span { end, ..child(1) };
    for (end, timing) in [(7 * SECOND, None), (7 * SECOND + 1, Some(Timing::Spread))] {
        let (fates, _) = simulated(&sampler, false, &[batch("web", root(1)), batch("web", ends(end))]);
        assert_eq!(fates[0].timing, timing, "{end}");
    }
}

#[test]
fn the_rule_that_decides_is_named() {
    let tail = json!({"tail": {
        "ratio": 0.5, "keep": {"slowerThan": "2s", "errors": true}, "drop": [{"spanName": "ping"}],
        "routes": [{"route": "/a", "ratio": 0}, {"route": "/b", "ratio": 1}],
    }});
    let collector = json!({"baselineRatio": 0.25, "keep": {"slowerThan": "5s", "services": ["vip"]}});
    let sampler = sampler(&collector, &[("web", tail)]);
    let with_route = |route| Span { attributes: vec![attribute("http.route", route)], ..root(1) };
    let named = |name| Span { name: Cow::Borrowed(name), is_error: true, ..root(1) };
    let lasting = |seconds: u64| Span { end: (1 + seconds) * SECOND, ..root(1) };
    let one = |service, span| {
        let (fates, _) = simulated(&sampler, false, &[batch(service, span)]);
        let (rule, kept) = rule(&sampler, &fates[0]);
        format!("{rule} {kept}")
    };
    assert_eq!(one("web", named("ping")), "drop[0] false");
    assert_eq!(one("web", named("pong")), "keep.errors true");
    assert_eq!(one("web", with_route("/a")), "routes[0] false");
    assert_eq!(one("web", with_route("/b")), "routes[1] true");
    assert_eq!(one("web", lasting(2)), "keep.slowerThan true");
    assert_eq!(one("web", lasting(5)), "collector.slowerThan true");
    assert_eq!(one("vip", root(1)), "collector.services true");
    assert!(one("web", root(1)).starts_with("ratio "));
    assert!(one("other", root(1)).starts_with("baseline "));
    // Both routes in one trace: the first rule of the list, although its ratio is lower; another service may offer more.
    let both = [batch("web", with_route("/b")), batch("web", with_route("/a"))];
    assert_eq!(rule(&sampler, &simulated(&sampler, false, &both).0[0]), ("routes[0]", false));
    let mixed = [both[1].clone(), batch("other", child(1))];
    assert_eq!(rule(&sampler, &simulated(&sampler, false, &mixed).0[0]).0, "baseline");
}

#[test]
fn rules_that_others_leave_nothing_are_known_beforehand() {
    let web = json!({"tail": {
        "ratio": 0.5, "keep": {"errors": true, "slowerThan": "2s"}, "drop": [{"route": "/a"}, {"route": "/a", "method": "GET"}],
        "routes": [{"routePrefix": "/x", "ratio": 0.1}, {"route": "/xy", "ratio": 1}, {"route": "/z", "ratio": 1}],
    }});
    let all = json!({"tail": {"ratio": 0.5, "keep": {"always": true, "httpServerErrors": true}, "routes": [{"route": "/a", "ratio": 0.1}]}});
    let any = json!({"tail": {"ratio": 0.5, "routes": [{"spanName": "*", "ratio": 0.1}]}});
    let collector = json!({"keep": {"errors": true, "slowerThan": "3s"}});
    let sampler = sampler(&collector, &[("web", web), ("all", all), ("any", any)]);
    let shadowed: Vec<_> = sampler
        .rules()
        .filter_map(|(_, rule)| {
            let by = sampler.rule(rule.shadowed_by?);
            Some(format!("{} {} by {}", rule.policy.as_ref()?.name, rule.text, by.text))
        })
        .collect();
    assert_eq!(
        shadowed,
        [
            "all keep.httpServerErrors by keep.always",
            "all routes[0] by keep.always",
            "all ratio by keep.always",
            "any ratio by routes[0]",
            "web drop[1] by drop[0]",
            "web keep.errors by collector.errors",
            "web routes[1] by routes[0]",
        ]
    );
}

#[test]
fn sdks_decide_before_the_collector() {
    let never = json!({"ratio": 0});
    let own = json!({"ratio": 1, "parentBased": false});
    let sampler = sampler(&json!({}), &[("never", never), ("own", own), ("plain", json!({"tail": {"ratio": 1}}))]);
    let found = |batches: &[Batch<'_>], with_head: bool| {
        let (fates, summary) = simulated(&sampler, with_head, batches);
        let (rule, kept) = rule(&sampler, &fates[0]);
        (rule.to_owned(), kept, fates[0].spans(), fates[0].unrecorded, summary.not_recorded)
    };
    // The root decides for those behind it, whichever comes first, but for services that follow nobody.
    let following = [batch("plain", child(1)), batch("never", root(1))];
    assert_eq!(found(&following, true), ("head".to_owned(), false, 0, 2, 1));
    assert_eq!(found(&following, false), ("ratio".to_owned(), true, 2, 0, 0));
    let beside = [batch("own", child(1)), batch("plain", child(1)), batch("never", root(1))];
    assert_eq!(found(&beside, true), ("baseline".to_owned(), true, 1, 2, 0));
    // What follows is recorded where nothing is known of the root.
    assert_eq!(found(&[batch("never", child(1))], true), ("baseline".to_owned(), true, 1, 0, 0));
    assert!(found(&[batch("plain", root(1)), batch("never", child(1))], true).1);
}

#[test]
fn what_sdks_do_not_record_is_never_seen() {
    let never = json!({"ratio": 0});
    let none = json!({"ratio": 0, "parentBased": false});
    let own = json!({"ratio": 1, "parentBased": false});
    let settings = json!({"tracesInMemory": 1, "baselineRatio": 0, "keep": {"slowerThan": "5s"}});
    let sampler = sampler(&settings, &[("never", never), ("none", none), ("own", own)]);
    // Without a root, the span's own service says so.
    let (fates, summary) = simulated(&sampler, true, &[batch("none", child(1))]);
    assert_eq!((rule(&sampler, &fates[0]).0, fates[0].spans(), summary.not_recorded), ("head", 0, 1));
    // A span that comes after the decision follows the root.
    let batches = [batch("never", root(1)), batch("web", root(2)), batch("web", child(1))];
    let (fates, summary) = simulated(&sampler, true, &batches);
    assert_eq!((fates[0].spans(), fates[0].unrecorded, fates[0].timing), (0, 2, None));
    assert_eq!(summary.not_recorded, 1);
    // How long a trace takes is a matter of all its recorded spans.
    let late = Span { start: 7 * SECOND, end: 8 * SECOND, ..child(1) };
    let (fates, _) = simulated(&sampler, true, &[batch("web", root(1)), batch("own", late)]);
    assert_eq!(rule(&sampler, &fates[0]), ("collector.slowerThan", true));
}

#[test]
fn scrubbing_is_counted_by_name() {
    let sampler = sampler(&json!({}), &[]);
    let mut span = root(1);
    span.attributes =
        vec![attribute("secret", "x"), attribute("long", "abcd"), attribute("http.request.header.cookie", "x")];
    span.events = vec![vec![attribute("secret", "x"), attribute("long", "abc")]];
    let (_, summary) = simulated(&sampler, false, &[batch("web", span)]);
    let found: Vec<_> =
        summary.scrubbed.iter().map(|(name, count)| (name.as_str(), count.removed, count.cut)).collect();
    assert_eq!(found, [("http.request.header.cookie", 1, 0), ("long", 0, 1), ("secret", 2, 0)]);
}
