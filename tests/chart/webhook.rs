//! What belongs to the webhook.

use serde_json::json;

use crate::common::{args_of, container, named, of_kind, one, render};

#[test]
fn the_webhook_is_reached_by_its_service() {
    let objects = render(&["--set", "webhook.timeoutSeconds=2,fullnameOverride=the-steward"]);
    let service = one(&objects, "Service");
    assert_eq!(service["metadata"]["name"], "the-steward-webhook");
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    let port = container(&objects)["ports"].as_array().expect("ports").iter().find(|port| port["name"] == "webhook");
    assert_eq!(port.map(|port| &port["containerPort"]), Some(&json!(9443)));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "webhook");
    assert_eq!(service["spec"]["selector"], one(&objects, "Deployment")["spec"]["selector"]["matchLabels"]);
    let args = args_of(&objects);
    for arg in ["--webhook-service=the-steward-webhook", "--webhook-timeout-seconds=2"] {
        assert!(args.contains(&arg.to_owned()), "{args:?}");
    }
    let long = "a".repeat(63);
    let objects = render(&["--set", &format!("fullnameOverride={long}")]);
    assert_eq!(one(&objects, "Service")["metadata"]["name"].as_str().map(str::len), Some(63));
}

#[test]
fn without_the_webhook_there_is_nothing_of_it() {
    let objects = render(&["--set", "webhook.enabled=false"]);
    assert!(of_kind(&objects, "Service").is_empty() && of_kind(&objects, "Role").len() == 1);
    assert_eq!(container(&objects)["ports"].as_array().map(Vec::len), Some(1));
    let args = args_of(&objects);
    assert!(args.contains(&"--webhook-address=".to_owned()), "{args:?}");
    assert!(!args.iter().any(|arg| arg.starts_with("--manage-admission")), "the policy needs no webhook: {args:?}");
}

#[test]
fn cert_manager_brings_the_certificate() {
    let objects = render(&["--set", "webhook.certManager.enabled=true"]);
    assert_eq!(of_kind(&objects, "Role").len(), 1, "no right to a Secret is needed then");
    let certificate = named(&objects, "Certificate", "tracesteward-webhook");
    let names = json!([
        "tracesteward-webhook.tracesteward-system.svc",
        "tracesteward-webhook.tracesteward-system.svc.cluster.local"
    ]);
    assert_eq!(certificate["spec"]["dnsNames"], names);
    let issuer = named(&objects, "Issuer", "tracesteward-webhook");
    assert_eq!(certificate["spec"]["issuerRef"], json!({"kind": "Issuer", "name": "tracesteward-webhook"}));
    let authority = named(&objects, "Certificate", "tracesteward-webhook-ca");
    assert_eq!(authority["spec"]["secretName"], issuer["spec"]["ca"]["secretName"]);
    assert_ne!(authority["spec"]["secretName"], "tracesteward-webhook-ca", "that one is the operator's");
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], certificate["spec"]["secretName"]);
    let mount = &container(&objects)["volumeMounts"][0];
    let folder = format!("--webhook-cert-dir={}", mount["mountPath"].as_str().expect("a path"));
    assert!(mount["readOnly"] == true && args_of(&objects).contains(&folder));

    let other = "webhook.certManager.enabled=true,webhook.certManager.issuerRef.kind=ClusterIssuer,webhook.certManager.issuerRef.name=x";
    let objects = render(&["--set", other]);
    assert_eq!(one(&objects, "Certificate")["spec"]["issuerRef"], json!({"kind": "ClusterIssuer", "name": "x"}));
    assert!(of_kind(&objects, "Issuer").is_empty());
}
