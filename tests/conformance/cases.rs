//! Traces with an answer that a person wrote down: they check the oracle as well as the collector.

use crate::compare::{check, run_render};
use crate::model::{Baseline, Case, Keep, Matcher, Policy, Ratio, Span, Trace, collector};
use crate::oracle::{decide, hash};
use crate::support::otlp::{Value, text, texts};

const START: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A span of `service` (namespace/name) that takes no time.
pub(crate) fn span(service: &str, attributes: &[(&str, Value)]) -> Span {
    let (namespace, name) = service.split_once('/').expect("namespace/name");
    let resource = [("k8s.namespace.name", namespace), ("service.name", name)];
    Span {
        id: 0,
        parent: None,
        name: "request".to_owned(),
        start: START,
        end: START,
        error: false,
        resource: resource.map(|(key, value)| (key.to_owned(), text(value))).to_vec(),
        attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    }
}

impl Span {
    pub(crate) fn lasting(mut self, nanoseconds: u64) -> Self {
        self.end = self.start + nanoseconds;
        self
    }

    fn failed(mut self) -> Self {
        self.error = true;
        self
    }

    fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn child(mut self) -> Self {
        self.parent = Some(1);
        self
    }
}

/// A case of which every trace is sent in a request of its own. Ids are counted up; where a share is given, the first id
/// at or after the count whose hash is just below it.
pub(crate) fn case(name: &str, baseline: Baseline, policies: Vec<Policy>, traces: Vec<(f64, Vec<Span>)>) -> Case {
    let mut next: u128 = 1 << 64;
    let traces = traces.into_iter().map(|(share, mut spans)| {
        for (number, span) in (1..).zip(&mut spans) {
            span.id = number;
        }
        Trace { id: id_below(&mut next, share), spans }
    });
    let traces: Vec<Trace> = traces.collect();
    let alone = |(trace, spans): (usize, &Trace)| (0..spans.spans.len()).map(|span| vec![(trace, span)]).collect();
    let requests = traces.iter().enumerate().map(alone).collect();
    Case { name: name.to_owned(), baseline, policies, traces, requests }
}

fn id_below(next: &mut u128, share: f64) -> [u8; 16] {
    loop {
        *next += 1;
        let id = next.to_be_bytes();
        #[allow(clippy::cast_precision_loss, reason = "whether it is a little more or less does not matter")]
        let found = hash(&id) as f64 / u64::MAX as f64;
        if found < share && found > share * 0.95 {
            return id;
        }
    }
}

/// A policy for one service with the ratio 0.
pub(crate) fn policy(name: &str, service: &str) -> Policy {
    let (namespace, own) = service.split_once('/').expect("namespace/name");
    let (name, services) = (name.to_owned(), vec![own.to_owned()]);
    Policy { name, namespace: namespace.to_owned(), services, ratio: Some(Ratio("0")), ..Policy::default() }
}

/// A rule for a route.
pub(crate) fn route(route: &str) -> Matcher {
    Matcher { route: Some(route.to_owned()), ..Matcher::default() }
}

/// The baseline 0 without a keep rule: nothing is kept that no policy speaks for.
pub(crate) fn nothing() -> Baseline {
    Baseline { ratio: Some(Ratio("0")), keep: Keep::default() }
}

/// Checks the oracle against the expectations and the collector against the oracle.
async fn expect(name: &str, baseline: Baseline, policies: Vec<Policy>, traces: Vec<(&str, bool, f64, Vec<Span>)>) {
    let expected: Vec<(&str, bool)> = traces.iter().map(|(label, kept, ..)| (*label, *kept)).collect();
    let traces = traces.into_iter().map(|(_, _, share, spans)| (share, spans)).collect();
    let case = case(name, baseline, policies, traces);
    for ((label, kept), trace) in expected.iter().zip(&case.traces) {
        let verdict = decide(&case.baseline, &case.policies, trace);
        assert_eq!(verdict.kept, *kept, "{label}: {}", verdict.reason);
    }
    check(&case).await.assert_equal(&case);
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_rules_at_their_edges() {
    let keep = Keep { slower_than: Some(1000), http_server_errors: true, errors: true, ..Keep::default() };
    let web = || span("shop/web", &[]);
    let status = |key: &str, value: Value| vec![span("shop/web", &[(key, value)])];
    let (new, old) = ("http.response.status_code", "http.status_code");
    let at = |mut span: Span, start: u64| {
        (span.start, span.end) = (START + start, START + start + (span.end - span.start));
        span
    };
    let mut backwards = web();
    backwards.end = backwards.start - 5 * SECOND;
    let traces = vec![
        ("exactly the limit", true, 0.5, vec![web().lasting(SECOND)]),
        ("a nanosecond less", false, 0.5, vec![web().lasting(SECOND - 1)]),
        ("a nanosecond more", true, 0.5, vec![web().lasting(SECOND + 1)]),
        ("a clock that goes back", false, 0.5, vec![backwards.clone()]),
        ("a clock that goes back beside a slow span", true, 0.5, vec![backwards, web().lasting(SECOND)]),
        ("two short spans a second apart: slow for traces alone", false, 0.5, vec![web(), at(web(), 2 * SECOND)]),
        ("slow in a service without a policy", false, 0.5, vec![web(), span("bank/web", &[]).lasting(SECOND)]),
        ("an error", true, 0.5, vec![web().failed()]),
        ("an error elsewhere", false, 0.5, vec![web(), span("bank/web", &[]).failed()]),
        ("499", false, 0.5, status(new, Value::IntValue(499))),
        ("500", true, 0.5, status(new, Value::IntValue(500))),
        ("599", true, 0.5, status(new, Value::IntValue(599))),
        ("600", false, 0.5, status(new, Value::IntValue(600))),
        ("499 under the old name", false, 0.5, status(old, Value::IntValue(499))),
        ("500 under the old name", true, 0.5, status(old, Value::IntValue(500))),
        ("599 under the old name", true, 0.5, status(old, Value::IntValue(599))),
        ("600 under the old name", false, 0.5, status(old, Value::IntValue(600))),
        ("503 as text", true, 0.5, status(new, text("503"))),
        ("503 as text under the old name", true, 0.5, status(old, text("503"))),
        ("499 as text", false, 0.5, status(new, text("499"))),
        ("600 as text", false, 0.5, status(old, text("600"))),
        ("no number", false, 0.5, status(new, text("x"))),
        ("nothing as text", false, 0.5, status(new, text(""))),
        ("longer text around it", false, 0.5, status(new, text("15031"))),
        ("a double", false, 0.5, status(new, Value::DoubleValue(503.0))),
        ("a double under the old name", false, 0.5, status(old, Value::DoubleValue(599.5))),
        ("an array", false, 0.5, status(new, texts(&["503"]))),
        (
            "one good, one bad",
            true,
            0.5,
            vec![span("shop/web", &[(new, Value::IntValue(200)), (old, Value::IntValue(503))])],
        ),
        ("503 elsewhere", false, 0.5, vec![web(), span("bank/web", &[(new, Value::IntValue(503))])]),
    ];
    expect("a policy's keep rules", nothing(), vec![Policy { keep, ..policy("p", "shop/web") }], traces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_rules_of_the_collector_see_the_whole_trace() {
    let keep = Keep { slower_than: Some(1000), services: vec!["vip".to_owned()], ..Keep::default() };
    let web = || span("shop/web", &[]);
    let at = |nanoseconds: u64| {
        let mut span = web();
        (span.start, span.end) = (START + nanoseconds, START + nanoseconds);
        span
    };
    let traces = vec![
        ("exactly the limit", true, 0.5, vec![web().lasting(SECOND)]),
        ("a nanosecond less", false, 0.5, vec![web().lasting(SECOND - 1)]),
        ("two short spans, a gap of the limit", true, 0.5, vec![at(SECOND), web()]),
        ("two short spans, a gap just below", false, 0.5, vec![at(SECOND - 1), web()]),
        ("a service that is kept", true, 0.5, vec![web(), span("bank/vip", &[])]),
        ("a service that is kept, of a policy with ratio 0", true, 0.5, vec![span("shop/vip", &[])]),
        ("its name on a span", false, 0.5, vec![span("shop/web", &[("service.name", text("vip"))])]),
        ("a longer name", false, 0.5, vec![span("shop/vip2", &[])]),
    ];
    let baseline = Baseline { ratio: Some(Ratio("0")), keep };
    expect("the collector's keep rules", baseline, vec![policy("p", "shop/vip")], traces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_are_for_roots_and_routes_are_the_first_match() {
    let matched = |name: &str| span("shop/web", &[("http.route", text(name))]);
    let posted = |name: &str| span("shop/web", &[("http.route", text(name)), ("http.method", text("POST"))]);
    let post = |rule: Matcher| Matcher { method: Some("POST".to_owned()), ..rule };
    let own = Policy {
        ratio: Some(Ratio("0.5")),
        drop: vec![route("/healthz"), Matcher { span_name: Some("poll *".to_owned()), ..Matcher::default() }],
        keep: Keep { errors: true, ..Keep::default() },
        routes: vec![
            (route("/cheap"), Ratio("0.01")),
            (post(route("/mixed")), Ratio("0")),
            (Matcher { route_prefix: Some("/mi".to_owned()), ..Matcher::default() }, Ratio("1")),
            (route("/never"), Ratio("0")),
        ],
        ..policy("p", "shop/web")
    };
    let other = Policy { ratio: Some(Ratio("0.1")), ..policy("q", "bank/web") };
    let bank = || span("bank/web", &[("http.route", text("/cheap"))]);
    let traces = vec![
        ("a dropped root", false, 0.01, vec![matched("/healthz")]),
        ("a dropped root with an error", false, 0.01, vec![matched("/healthz").failed()]),
        ("dropped by name", false, 0.01, vec![matched("/x").called("poll queue")]),
        ("another name", true, 0.01, vec![matched("/x").called("poll")]),
        ("not the root", true, 0.5, vec![matched("/healthz").child()]),
        ("below a root of another service", true, 0.5, vec![bank(), matched("/healthz").child()]),
        ("a root of another service", true, 0.1, vec![span("bank/web", &[("http.route", text("/healthz"))])]),
        ("the policy's ratio", true, 0.5, vec![matched("/x")]),
        ("above the policy's ratio", false, 0.6, vec![matched("/x")]),
        ("a cheaper route", false, 0.02, vec![matched("/cheap")]),
        ("a cheaper route, below", true, 0.01, vec![matched("/cheap")]),
        ("a cheaper route counts for all spans of the service", false, 0.02, vec![matched("/x"), matched("/cheap")]),
        ("the first rule of the list, not the first span", false, 0.02, vec![matched("/mixed"), matched("/cheap")]),
        ("a dearer route", true, 1.0, vec![matched("/mixed")]),
        ("an earlier rule with a method", false, 0.01, vec![posted("/mixed")]),
        ("rules over two spans", false, 0.01, vec![matched("/mixed"), posted("/mixed")]),
        ("none for this route", false, 0.01, vec![matched("/never")]),
        ("none here, but another service offers", true, 0.1, vec![matched("/never"), bank()]),
        ("none here, and not so much there", false, 0.2, vec![matched("/never"), bank()]),
        ("a rule of another service", true, 0.1, vec![bank()]),
        ("the highest on offer", true, 0.5, vec![matched("/x"), bank()]),
        ("a service without a policy offers the baseline", false, 0.01, vec![span("a/web", &[])]),
        ("none here, the baseline there", false, 0.01, vec![matched("/never"), span("a/web", &[])]),
    ];
    expect("drops and routes", nothing(), vec![own, other], traces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_policies_offer_the_baseline() {
    let case = case(
        "a collector for its own namespace",
        Baseline { ratio: Some(Ratio("0.5")), keep: Keep::default() },
        Vec::new(),
        [0.01, 0.5, 0.6].into_iter().map(|share| (share, vec![span("shop/web", &[])])).collect(),
    );
    let mut documents =
        vec![collector("http://127.0.0.1:1", serde_json::json!({"allowedNamespaces": {"from": "Same"}}))];
    documents.extend(policy("p", "shop/web").documents());
    let output = run_render(&documents);
    let configuration = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "a policy that may not use the collector is an error");
    assert!(configuration.contains("tail_sampling") && !configuration.contains("\"shop\""), "{configuration}");
    check(&case).await.assert_equal(&case);
}
