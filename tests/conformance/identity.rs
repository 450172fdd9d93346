//! Whose a span is where the connection says it: a real API server knows the pods, and the sender is one of them.

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use crate::compare::render;
use crate::model::collector;
use crate::support::otlp::{Client, attribute, find, from_resource, service, span, text};
use crate::support::{Backend, Collector, ControlPlane};
use crate::through::assert_quiet;

/// A pod of `namespace` whose address is that of the tests themselves.
async fn sender(plane: &ControlPlane, namespace: &str) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    let pods: Api<DynamicObject> = Api::namespaced_with(plane.client().await, namespace, &resource);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sender", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": false, "nodeName": "node", "serviceAccountName": "default",
            "containers": [{"name": "app", "image": "x"}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({"status": {
        "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "startTime": "2026-01-01T00:00:00Z",
    }});
    pods.patch_status("sender", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_cannot_claim_another_namespace() {
    let plane = ControlPlane::shared().await;
    let home = plane.namespace("home").await;
    sender(plane, &home).await;
    let backend = Backend::start().await;
    let policy = |namespace: &str, ratio: f64| {
        json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {
                "enabled": true, "targets": [{"kind": "Deployment", "name": "web"}],
                "export": {"collectorRef": {"name": "gateway", "namespace": "observability"}},
                "sampling": {"tail": {"ratio": ratio}},
            },
        })
    };
    // Only what is taken for a service of `home` is kept.
    let spec = json!({"identity": "Connection", "sampling": {"baselineRatio": 0, "decisionWait": "1s"}});
    let configuration = render(&[collector(&backend.endpoint(), spec), policy(&home, 1.0), policy("victim", 0.0)]);
    let over = json!({"processors": {"k8s_attributes": {"auth_type": "kubeConfig"}}});
    let kubeconfig = plane.admin_kubeconfig();
    let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    let mut collector = Collector::start_with(&configuration, &environment, &over).await;
    let mut claiming = service("victim", "web");
    claiming.push(attribute("k8s.pod.name", text("a-pod-of-theirs")));
    let by_service_namespace =
        vec![attribute("service.namespace", text("victim")), attribute("service.name", text("web"))];
    Client::connect(collector.http_port()).send(vec![
        from_resource(claiming, vec![span(1, 1, "claimed", Vec::new())]),
        from_resource(by_service_namespace, vec![span(2, 2, "named", Vec::new())]),
        from_resource(service(&home, "other"), vec![span(3, 3, "without a policy", Vec::new())]),
    ]);
    assert!(collector.stop().success(), "{}", collector.logs());
    assert_quiet(&collector);
    let mut kept: Vec<_> = backend.spans().into_iter().map(|span| span.name).collect();
    kept.sort();
    assert_eq!(kept, ["claimed", "named"], "{}", collector.logs());
    for resource in backend.resource_spans() {
        let attributes = resource.resource.unwrap_or_default().attributes;
        assert_eq!(find(&attributes, "k8s.namespace.name"), Some(&text(home.as_str())));
        assert_eq!(find(&attributes, "k8s.pod.name"), Some(&text("sender")));
    }
}
