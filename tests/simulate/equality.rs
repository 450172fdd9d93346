//! Random policies and random traces through both.

use serde_json::{Value as Json, json};

use crate::generate;
use crate::model::Case;
use crate::run::{Form, compare_with};
use crate::support::otlp::{Value, text};

/// More of them, on demand: `TRACESTEWARD_CASES`.
const SETS: usize = 50;
const TRACES: usize = 210;

#[tokio::test(flavor = "multi_thread")]
async fn what_simulate_says_is_what_the_collector_does() {
    let sets = std::env::var("TRACESTEWARD_CASES").map_or(SETS, |count| count.parse().expect("a number of cases"));
    let (mut traces, mut kept) = (0, 0);
    for seed in 0..sets {
        // Other cases than those of the conformance tests.
        let mut case = generate::case(u64::try_from(seed).expect("small") + 1_001, TRACES);
        let form = Form::ALL[seed % Form::ALL.len()];
        let spec = if seed % 3 == 1 { scrubbing() } else { json!({}) };
        if seed % 5 == 2 {
            make_odd(&mut case);
        }
        let outcome = compare_with(&case, form, &spec, |configuration| configuration).await;
        outcome.assert_equal(&case, form);
        traces += outcome.traces;
        kept += outcome.kept;
    }
    println!("{traces} traces in {sets} sets of policies, {kept} kept");
    assert!(traces >= sets * 200 && kept > traces / 5 && kept < traces * 4 / 5, "{kept} of {traces} kept shows little");
}

/// Scrubbing comes before sampling: rules do not see what it removes, and see what is left of what it cuts.
fn scrubbing() -> Json {
    json!({"scrub": {"attributes": ["http.request.method"], "truncate": {"http.route": 7, "service.name": 4}}})
}

/// What no SDK sends, and a collector has to do something with: times of zero, names that are there twice, values of other types.
fn make_odd(case: &mut Case) {
    for (number, trace) in case.traces.iter_mut().enumerate() {
        let spans = trace.spans.len();
        let span = &mut trace.spans[number % spans];
        match number % 9 {
            0 => (span.start, span.end) = (0, 0),
            1 => span.start = 0,
            2 => span.end = 0,
            3 => span.attributes.push(("http.route".to_owned(), text("/healthz"))),
            4 => span.attributes.insert(0, ("http.request.method".to_owned(), Value::IntValue(5))),
            5 => span.resource.push(("service.name".to_owned(), text("web"))),
            6 => span.resource.insert(0, ("k8s.namespace.name".to_owned(), Value::BoolValue(true))),
            _ => {}
        }
    }
}

const _: () = assert!(SETS * TRACES >= 10_000);
