//! `explain` from files.

use super::common::{Files, run};

/// Three layers, a namespace, and workloads that are traced, partly traced and not traced.
const WORLD: &str = r#"apiVersion: tracesteward.io/v1alpha1
kind: ClusterTracingPolicy
metadata: {name: platform}
spec:
  namespaceSelector: {matchLabels: {team: shop}}
  defaults:
    enabled: true
    export:
      endpoint: http://otel.observability:4317
      headersSecretRef: {name: otel-headers}
    sampling: {ratio: 0.1}
    service: {attributes: {team: platform}}
  overrides:
    limits: {queueSize: 1024}
---
apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: whole, namespace: shop}
spec:
  enabled: true
  targets: [{kind: Deployment}]
  export: {inherit: true}
  sampling:
    profile: high
  limits: {queueSize: 4096}
---
apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: web, namespace: shop}
spec:
  enabled: true
  targets:
  - {kind: Deployment, name: web, serviceName: storefront}
  export:
    endpoint: http://own:4318
  service: {attributes: {team: web}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: app, image: web:1}, {name: istio-proxy, image: proxy:1}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: app, image: api:1, env: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://private-value"}]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: other}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app}]}}}
---
apiVersion: v1
kind: Secret
metadata: {name: otel-headers, namespace: shop}
stringData: {OTEL_EXPORTER_OTLP_HEADERS: "authorization=private-value"}
"#;

fn world() -> Files {
    Files::new(&[("world.yaml", WORLD)])
}

#[test]
fn a_workload_of_three_layers() {
    let files = world();
    for (name, args) in [
        ("workload_pretty", vec!["explain", "deploy/web", "-n", "shop", "world.yaml"]),
        (
            "workload_json",
            vec!["explain", "Deployment/web", "-n", "shop", "-o", "json", "--container", "app", "world.yaml"],
        ),
        ("overridden_pretty", vec!["explain", "deployments.apps/api", "-n", "shop", "world.yaml"]),
        ("not_selected_pretty", vec!["explain", "STS/web", "-n", "other", "world.yaml"]),
        ("policy_pretty", vec!["explain", "trp/whole", "-n", "shop", "world.yaml"]),
        ("cluster_policy_json", vec!["explain", "ctrp/platform", "-o", "json", "world.yaml"]),
    ] {
        let answer = files.run(&args);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{name}");
        assert!(
            !answer.stdout.contains("private-value"),
            "{name}: values of the user's or of a Secret are never shown"
        );
        assert!(!answer.stdout.contains('\u{1b}'), "{name}: no colour on a pipe");
        insta::assert_snapshot!(name, answer.stdout);
    }
}

#[test]
fn a_collector() {
    let answer = run(&["explain", "trc/gateway", "-n", "observability", "config/samples/collector"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    insta::assert_snapshot!("collector_pretty", answer.stdout);
    let json = run(&["explain", "trc/gateway", "-n", "observability", "-o", "json", "config/samples/collector"]).json();
    assert_eq!(json["object"]["kind"], "TracingCollector");
    assert!(json["services"].as_array().is_some_and(|services| !services.is_empty()), "{json}");
}

#[test]
fn what_cannot_be_explained() {
    let files = world();
    let missing = files.run(&["explain", "deploy/wbe", "-n", "shop", "world.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("Deployment wbe of namespace shop is not in the input; nearest: web"),
        "{}",
        missing.stderr
    );
    let elsewhere = files.run(&["explain", "sts/web", "-n", "shop", "world.yaml"]);
    assert!(elsewhere.stderr.contains("web in namespace other"), "{}", elsewhere.stderr);
    for wrong in ["web", "ingress/web", "tracingpolicies.cilium.io/web"] {
        let answer = files.run(&["explain", wrong, "world.yaml"]);
        assert_eq!(answer.code, Some(2), "{wrong}: {answer:?}");
    }
    let container = files.run(&["explain", "deploy/web", "-n", "shop", "--container", "nope", "world.yaml"]);
    assert_eq!((container.code, container.stdout.as_str()), (Some(1), ""), "{container:?}");
    assert!(
        container.stderr.contains("Deployment web has no container nope; there are: app, istio-proxy"),
        "{}",
        container.stderr
    );
    let job = files.run(&["explain", "job/nightly", "-n", "shop", "world.yaml"]);
    assert_eq!(job.code, Some(1));
    assert!(job.stderr.contains("Job nightly of namespace shop is not in the input"), "{}", job.stderr);
    assert_eq!(files.run(&["explain", "deploy/web", "nowhere.yaml"]).code, Some(3));
}

#[test]
fn an_invalid_policy_is_named_with_its_error() {
    let broken = WORLD.replace("    endpoint: http://own:4318\n", "    timeout: 1s\n");
    let answer = Files::new(&[("world.yaml", &broken)]).run(&[
        "explain",
        "deploy/web",
        "-n",
        "shop",
        "-o",
        "json",
        "world.yaml",
    ]);
    let json = answer.json();
    assert_eq!(
        (json["decision"].as_str(), json["reasons"][0]["reason"].as_str()),
        (Some("Held"), Some("PolicyInvalid")),
        "{json}"
    );
    assert_eq!(json["policies"][1]["errors"][0]["code"], "TRC0101", "{json}");
}

/// Nobody listens there: port 1 of loopback.
#[test]
fn a_cluster_that_cannot_be_reached_is_4() {
    let kubeconfig = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "a", "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}], "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]}"#;
    let files = Files::new(&[("config", kubeconfig), ("world.yaml", WORLD)]);
    for args in [
        vec!["explain", "deploy/web", "--kubeconfig", "config"],
        vec!["explain", "deploy/web", "--kubeconfig", "config", "--live", "world.yaml"],
        vec!["diff", "--kubeconfig", "config", "world.yaml"],
        vec!["status", "--kubeconfig", "config"],
        vec!["status", "--kubeconfig", "config", "--watch"],
        vec!["validate", "--kubeconfig", "config", "--live", "world.yaml"],
        vec!["status", "--kubeconfig", "nowhere"],
        vec!["status", "--kubeconfig", "config", "--context", "nowhere"],
    ] {
        let answer = files.run(&args);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(4), ""), "{args:?}: {answer:?}");
        assert!(answer.stderr.contains("cluster"), "{args:?}: {}", answer.stderr);
    }
}
