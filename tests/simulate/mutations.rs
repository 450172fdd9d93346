//! The comparison has teeth: where the collector's hash, a threshold or the precedence is another, it reports differences.

use serde_json::{Value as Json, json};

use crate::generate;
use crate::run::{Form, compare};
use crate::support::collector::parse;

/// Differences between `simulate` and a collector whose sampler is changed like this.
async fn differences(change: impl Fn(&mut Json)) -> usize {
    let mut count = 0;
    for seed in [2_001, 2_002] {
        let case = generate::case(seed, 210);
        let mutated = |configuration: String| {
            let before = parse(&configuration);
            let mut after = before.clone();
            change(&mut after["processors"]["tail_sampling"]["policies"]);
            assert_ne!(before, after, "nothing was changed");
            after.to_string()
        };
        count += compare(&case, Form::Lines, mutated).await.differences.len();
    }
    count
}

/// Changes every share.
fn shares(policies: &mut Json, change: &dyn Fn(&mut Json)) {
    for policy in policies.as_array_mut().expect("policies") {
        for part in policy["and"]["and_sub_policy"].as_array_mut().into_iter().flatten() {
            if let Some(share) = part.get_mut("probabilistic") {
                change(share);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hash_is_noticed() {
    let found = differences(|policies| shares(policies, &|share| share["hash_salt"] = json!("another"))).await;
    assert!(found > 20, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_threshold_is_noticed() {
    let halved = |share: &mut Json| {
        let percentage = share["sampling_percentage"].as_f64().expect("a number");
        share["sampling_percentage"] = json!(percentage / 2.0);
    };
    let found = differences(|policies| shares(policies, &halved)).await;
    assert!(found > 10, "{found}");
}

/// What is dropped would be kept if somebody else wanted to.
#[tokio::test(flavor = "multi_thread")]
async fn another_precedence_is_noticed() {
    let found = differences(|policies| {
        policies.as_array_mut().expect("policies").retain(|policy| policy["name"] != "drop");
    });
    let found = found.await;
    assert!(found > 3, "{found}");
}
