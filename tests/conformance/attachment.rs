//! Whose rules are in force where: the collector's configuration follows the same attachment as the workloads' environment.

use serde_json::{Value as Json, json};

use crate::cases::{case, nothing, policy, route, span};
use crate::compare::{check, run_render};
use crate::model::{Baseline, Case, Keep, Policy, Ratio, collector};
use crate::support::otlp::{Value, text};

/// Traces of `service` whose hashes are spread evenly, half of them for the route `/search`.
fn spread(service: &'static str) -> impl Iterator<Item = (f64, Vec<crate::model::Span>)> {
    ["/search", "/other"].into_iter().flat_map(move |path| {
        (1..=10).map(move |share| (f64::from(share) / 10.0, vec![span(service, &[("http.route", text(path))])]))
    })
}

fn workload(kind: &str, name: &str, annotations: &Json) -> Json {
    let pod = json!({
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}], "restartPolicy": "Always"},
    });
    let metadata = json!({"name": name, "namespace": "shop"});
    let selector = json!({"matchLabels": {"app": name}});
    match kind {
        "CronJob" => {
            let mut pod = pod;
            pod["spec"]["restartPolicy"] = json!("Never");
            let job = json!({"spec": {"template": pod}});
            let spec = json!({"schedule": "0 * * * *", "jobTemplate": job});
            json!({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec})
        }
        "StatefulSet" => {
            let spec = json!({"serviceName": name, "selector": selector, "template": pod});
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
        }
        _ => {
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"selector": selector, "template": pod}})
        }
    }
}

fn tracing_policy(name: &str, targets: &Json, tail: &Json) -> Json {
    json!({
        "apiVersion": "tracesteward.io/v1alpha1",
        "kind": "TracingPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "enabled": true,
            "targets": targets,
            "export": {"collectorRef": {"name": "gateway", "namespace": "observability"}},
            "sampling": {"tail": tail},
        },
    })
}

/// A policy for the whole namespace.
fn for_all() -> Json {
    let tail = json!({"ratio": 0.5, "keep": {"errors": true}, "routes": [{"route": "/search", "ratio": 0.1}]});
    tracing_policy("all", &json!([]), &tail)
}

/// The same for one service.
fn for_one(service: &str) -> Policy {
    Policy {
        ratio: Some(Ratio("0.5")),
        keep: Keep { errors: true, ..Keep::default() },
        routes: vec![(route("/search"), Ratio("0.1"))],
        ..policy(service, &format!("shop/{service}"))
    }
}

/// Traces of these services on both sides of every ratio, with errors, and with server errors.
async fn check_services(name: &str, services: &[&'static str], policies: Vec<Policy>, manifests: Vec<Json>) {
    let traces = services.iter().flat_map(|service| {
        let mut failed = span(service, &[]);
        failed.error = true;
        let status = span(service, &[("http.response.status_code", Value::IntValue(503))]);
        spread(service).chain([(0.9, vec![failed]), (0.9, vec![status])])
    });
    let case = Case { manifests: Some(manifests), ..case(name, nothing(), policies, traces.collect()) };
    check(&case).await.assert_equal(&case);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_have_the_names_that_their_workloads_get() {
    let named = json!({"resource.opentelemetry.io/service.name": "by-annotation"});
    let manifests = vec![
        for_all(),
        workload("Deployment", "plain", &json!({})),
        workload("Deployment", "annotated", &named),
        workload("StatefulSet", "stateful", &json!({})),
        workload("DaemonSet", "daemon", &json!({})),
        workload("CronJob", "cron", &json!({})),
    ];
    let policies = ["plain", "by-annotation", "stateful", "daemon", "cron"].map(for_one).to_vec();
    let services = [
        "shop/plain",
        "shop/by-annotation",
        "shop/annotated",
        "shop/stateful",
        "shop/daemon",
        "shop/cron",
        "bank/plain",
    ];
    check_services("names of workloads", &services, policies, manifests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_the_nearest_policy() {
    let rules = json!([{"route": "/other", "ratio": 0.01}]);
    let everything = json!({"ratio": 0.25, "keep": {"errors": false, "httpServerErrors": true}, "routes": rules});
    let near = tracing_policy("near", &json!([{"kind": "Deployment", "name": "near"}]), &everything);
    let mut disabled = tracing_policy("disabled", &json!([{"kind": "Deployment", "name": "off"}]), &json!({}));
    disabled["spec"]["enabled"] = json!(false);
    let workloads = ["plain", "near", "off"].map(|name| workload("Deployment", name, &json!({})));
    let manifests = [vec![for_all(), near, disabled], workloads.to_vec()].concat();
    let own = Policy {
        ratio: Some(Ratio("0.25")),
        keep: Keep { http_server_errors: true, ..Keep::default() },
        routes: vec![(route("/other"), Ratio("0.01"))],
        ..for_one("near")
    };
    let services = ["shop/plain", "shop/near", "shop/off"];
    check_services("the nearest policy", &services, vec![for_one("plain"), own], manifests).await;
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
