//! The comparison has teeth: with a rendered configuration that is changed as a fault of the compiler would change it,
//! it reports differences. (The third, a header spelling that is missed, is in `scrub`.)

use regex_lite::Regex;
use serde_json::Value as Json;

use crate::cases::{case, policy, route, span};
use crate::compare::{check, check_changed};
use crate::generate;
use crate::model::{Baseline, Case, Keep, Policy, Ratio};
use crate::support::collector::parse;
use crate::support::otlp::text;

/// Two services of the same name in two namespaces; one of them has a policy with cheaper rules than the baseline.
fn two_teams() -> Case {
    let own = Policy {
        routes: vec![(route("/search"), Ratio("0.01"))],
        ratio: Some(Ratio("0.1")),
        ..policy("p", "shop/web")
    };
    let shares = (1..=10).map(|share| f64::from(share) / 10.0);
    let of = |service: &'static str, path: &'static str| {
        move |share| (share, vec![span(service, &[("http.route", text(path))])])
    };
    let traces = ["shop/web", "bank/web"].into_iter().flat_map(|service| {
        shares.clone().map(of(service, "/search")).chain(shares.clone().map(of(service, "/other"))).collect::<Vec<_>>()
    });
    case("two teams", Baseline { ratio: Some(Ratio("0.5")), keep: Keep::default() }, vec![own], traces.collect())
}

/// The baseline is offered to every trace, not only where a service has no rule of its own.
fn baseline_for_all(configuration: &mut Json) {
    each(&mut configuration["processors"]["tail_sampling"], &mut |value| {
        let Some(parts) = value.get_mut("and_sub_policy").and_then(Json::as_array_mut) else { return };
        parts.retain(|part| {
            let values = part["string_attribute"]["values"].as_array();
            !values.is_some_and(|values| values.iter().any(|value| value == "base"))
        });
    });
}

/// Rules no longer ask for the namespace.
fn rules_for_all_namespaces(configuration: &mut Json) {
    let condition = Regex::new(r#"resource\.attributes\["tracesteward\._ns"\] == "([^"\\]|\\.)*""#).unwrap();
    each(&mut configuration["processors"]["transform/mark"], &mut |value| {
        if let Json::String(statement) = value {
            *statement = condition.replace_all(statement, "true").into_owned();
        }
    });
}

/// Visits every value inside of a value, and itself.
fn each(value: &mut Json, visit: &mut impl FnMut(&mut Json)) {
    visit(value);
    match value {
        Json::Array(values) => values.iter_mut().for_each(|value| each(value, visit)),
        Json::Object(fields) => fields.iter_mut().for_each(|(_, value)| each(value, visit)),
        _ => {}
    }
}

/// A change of the parsed configuration as a change of its text.
fn mutated(change: impl FnOnce(&mut Json)) -> impl FnOnce(String) -> String {
    |configuration| {
        let before = parse(&configuration);
        let mut after = before.clone();
        change(&mut after);
        assert_ne!(before, after, "nothing was changed");
        after.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faithful_configuration_shows_no_difference() {
    let case = two_teams();
    check(&case).await.assert_equal(&case);
    // Nor does writing it anew, which is what the mutations do besides.
    let random = generate::case(1, 50);
    check_changed(&random, |configuration| parse(&configuration).to_string()).await.assert_equal(&random);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_that_is_not_exclusive_is_noticed() {
    let outcome = check_changed(&two_teams(), mutated(baseline_for_all)).await;
    // Of the service with a policy: /search between 0.01 and 0.5, others between 0.1 and 0.5.
    assert!(outcome.differences.len() >= 8, "{:#?}", outcome.differences);
    assert!(outcome.differences.iter().all(|difference| difference.contains("was kept")), "{:#?}", outcome.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_reaches_another_team_is_noticed() {
    let outcome = check_changed(&two_teams(), mutated(rules_for_all_namespaces)).await;
    assert!(outcome.differences.len() >= 8, "{:#?}", outcome.differences);
    assert!(
        outcome.differences.iter().all(|difference| difference.contains("was not kept")),
        "{:#?}",
        outcome.differences
    );
}
