//! Policies that come with the chart.

use serde_json::{Value, json};

use crate::common::{NAMESPACE, file, identity, of_kind, one, refused, render};

fn policies(list: &Value) -> String {
    format!("defaultPolicies={list}")
}

#[test]
fn default_policies_become_tracing_policies() {
    let objects = render(&["--values", "charts/tracesteward/ci/all-values.yaml"]);
    let [caretaker, paused] = of_kind(&objects, "TracingPolicy")[..] else { panic!("two policies") };
    assert_eq!(identity(caretaker), "tracesteward.io/v1alpha1 TracingPolicy team-a caretaker");
    assert_eq!(
        caretaker["spec"],
        json!({
            "enabled": true,
            "language": "python",
            "targets": [
                {"kind": "Deployment", "name": "caretaker-mcp"},
                {"kind": "Job", "selector": {"matchLabels": {"app": "worker"}}, "serviceName": "caretaker-worker"},
            ],
            "export": {
                "endpoint": "http://otel-collector.observability:4317",
                "protocol": "grpc",
                "headersSecretRef": {"name": "otel-headers"},
            },
            "service": {"name": "caretaker-mcp"},
            "sampling": {"ratio": 0.1},
        })
    );
    assert_eq!(identity(paused), "tracesteward.io/v1alpha1 TracingPolicy team-b paused");
    assert_eq!(paused["spec"], json!({"enabled": false}));
    for policy in [caretaker, paused] {
        assert!(policy["metadata"].get("annotations").is_none(), "a policy is no hook");
    }
}

#[test]
fn name_of_a_policy_defaults_to_the_release() {
    let list = json!([{"namespace": "a", "enabled": false}, {"namespace": "b", "enabled": false}]);
    let objects = render(&["--set-json", &policies(&list)]);
    let all: Vec<_> = of_kind(&objects, "TracingPolicy").into_iter().map(identity).collect();
    let want = |namespace| format!("tracesteward.io/v1alpha1 TracingPolicy {namespace} tracesteward");
    assert_eq!(all, [want("a"), want("b")]);
}

#[test]
fn ratios_stay_what_they_are() {
    let ratio = |arguments: [&str; 2]| {
        let mut args = vec!["--set", "defaultPolicies[0].namespace=a,defaultPolicies[0].enabled=false"];
        args.extend(arguments);
        one(&render(&args), "TracingPolicy")["spec"].pointer("/sampling/ratio").and_then(Value::as_f64)
    };
    for (number, want) in [("0", 0.0), ("0.0", 0.0), ("0.1", 0.1), ("0.00001", 0.00001), ("1", 1.0), ("1.0", 1.0)] {
        assert_eq!(
            ratio(["--set-json", &format!("defaultPolicies[0].samplingRatio={number}")]),
            Some(want),
            "{number}"
        );
        // `--set` makes text of decimals.
        assert_eq!(ratio(["--set", &format!("defaultPolicies[0].samplingRatio={number}")]), Some(want), "{number}");
    }
    assert_eq!(ratio(["--set", "replicaCount=1"]), None, "not set, not written");
}

#[test]
fn bad_policies_stop_the_rendering_and_say_why() {
    let endpoint = "http://c:4317";
    let cases = [
        (
            json!([{"name": "p", "namespace": "a", "enabled": true}]),
            "TRC0101: defaultPolicies[0] (p): enabled without an endpoint. Set endpoint, for example \
             http://otel-collector.observability:4317, or set enabled to false.",
        ),
        (
            json!([{"name": "p", "namespace": "a", "enabled": true, "endpoint": ""}]),
            "TRC0101: defaultPolicies[0] (p): ",
        ),
        (
            json!([{"name": "p", "namespace": "a", "enabled": false, "headersSecretName": "s"}]),
            "TRC0102: defaultPolicies[0] (p): headersSecretName is set while tracing is disabled: the Secret would never \
             be used. Set enabled to true, or remove headersSecretName.",
        ),
        (
            json!([{"name": "p", "namespace": "a", "enabled": true, "endpoint": "c:4317"}]),
            "TRC0104: defaultPolicies[0] (p): endpoint is not an http or https URL with a host.",
        ),
        (
            json!([{"name": "p", "namespace": "a", "enabled": true, "endpoint": "http://"}]),
            "TRC0104: defaultPolicies[0] (p): ",
        ),
        (
            json!([{"name": "p", "namespace": "a", "endpoint": endpoint}]),
            "TRC0114: defaultPolicies[0] (p): enabled is missing. Say enabled: true or enabled: false.",
        ),
        (
            json!([{"name": "p", "enabled": true, "endpoint": endpoint}]),
            "TRC0114: defaultPolicies[0] (p): namespace is missing. Name the namespace whose workloads are meant: \
             policies in tracesteward-system, the operator's own, are not accepted.",
        ),
        (json!([{"namespace": NAMESPACE, "enabled": false}]), "TRC0127: defaultPolicies[0] (tracesteward): namespace "),
        (json!([{"namespace": "kube-system", "enabled": false}]), "TRC0127: defaultPolicies[0] (tracesteward): "),
        (
            json!([{"name": "p", "namespace": "a", "enabled": false}, {"name": "p", "namespace": "a", "enabled": false}]),
            "TRC0006: defaultPolicies[1] (p): defaultPolicies[0] is the policy a/p too. Give one of the two another name.",
        ),
        (
            json!([{"namespace": "a", "enabled": false}, {"name": "tracesteward", "namespace": "a", "enabled": false}]),
            "TRC0006: defaultPolicies[1] (tracesteward): ",
        ),
    ];
    for (list, message) in cases {
        let said = refused(&["--set-json", &policies(&list)]);
        assert!(said.contains(message), "{list}\nwant: {message}\nsaid: {said}");
    }
}

#[test]
fn codes_of_the_chart_are_in_the_catalogue() {
    use tracesteward::diagnostics::Code;
    let template = file("charts/tracesteward/templates/defaultpolicies.yaml");
    let used: Vec<&str> = template.split("(printf \"").skip(1).filter_map(|rest| rest.get(..7)).collect();
    let codes: Vec<_> = used.into_iter().filter(|code| code.starts_with("TRC")).collect();
    assert_eq!(codes.len(), 7, "{codes:?}");
    for code in codes {
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        let known = known.unwrap_or_else(|| panic!("{code} is not in the catalogue"));
        // The first words of the diagnostic are those of the chart.
        let words =
            known.message().split(':').next().unwrap_or_default().replace("headersSecretRef", "headersSecretName");
        if ["TRC0101", "TRC0102", "TRC0104"].contains(&code) {
            assert!(template.contains(&words), "{code}: {words}");
        }
    }
}
