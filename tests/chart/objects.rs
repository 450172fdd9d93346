//! What the chart makes by default, and of its switches.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{
    NAMESPACE, VALUES, args_of, container, documents, helm, helm_template, identities, identity, of_kind, one, refused,
    render, run, shape, shapes, strings, text, yaml,
};

#[test]
fn lint_is_strict_and_clean() {
    for values in [VALUES.to_owned()].into_iter().chain(shapes()) {
        let output = run("helm", &["lint", "--strict", "charts/tracesteward", "--values", &values]);
        assert!(output.status.success(), "{values}: {}{}", text(&output.stdout), text(&output.stderr));
        assert!(!text(&output.stdout).contains("[WARNING]"), "{values}: {}", text(&output.stdout));
    }
}

#[test]
fn defaults_render_these_objects() {
    let expected: BTreeSet<String> = [
        "apiextensions.k8s.io/v1 CustomResourceDefinition  clustertracingpolicies.tracesteward.io",
        "apiextensions.k8s.io/v1 CustomResourceDefinition  tracingcollectors.tracesteward.io",
        "apiextensions.k8s.io/v1 CustomResourceDefinition  tracingpolicies.tracesteward.io",
        "apps/v1 Deployment tracesteward-system tracesteward",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-collector-identity",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-system-tracesteward",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-system-tracesteward-cluster-policy-admin",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-system-tracesteward-collector-admin",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-system-tracesteward-edit",
        "rbac.authorization.k8s.io/v1 ClusterRole  tracesteward-system-tracesteward-view",
        "rbac.authorization.k8s.io/v1 ClusterRoleBinding  tracesteward-system-tracesteward",
        "rbac.authorization.k8s.io/v1 Role tracesteward-system tracesteward-leader-election",
        "rbac.authorization.k8s.io/v1 RoleBinding tracesteward-system tracesteward-leader-election",
        "rbac.authorization.k8s.io/v1 Role tracesteward-system tracesteward-webhook",
        "rbac.authorization.k8s.io/v1 RoleBinding tracesteward-system tracesteward-webhook",
        "v1 Service tracesteward-system tracesteward-webhook",
        "v1 ServiceAccount tracesteward-system tracesteward",
    ]
    .map(str::to_owned)
    .into();
    let objects = render(&[]);
    assert_eq!(identities(&objects), expected);
    for object in &objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "tracesteward", "{}", identity(object));
        assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{}", identity(object));
    }
}

#[test]
fn selector_matches_the_pods_and_holds_no_version() {
    for args in [&[][..], &["--set", "commonLabels.app\\.kubernetes\\.io/name=other,podLabels.team=x"]] {
        let objects = render(args);
        let spec = &one(&objects, "Deployment")["spec"];
        assert_eq!(
            spec["selector"]["matchLabels"],
            json!({"app.kubernetes.io/name": "tracesteward", "app.kubernetes.io/instance": "tracesteward"})
        );
        for (label, value) in spec["selector"]["matchLabels"].as_object().expect("labels") {
            assert_eq!(&spec["template"]["metadata"]["labels"][label], value);
        }
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    for values in [VALUES.to_owned()].into_iter().chain(shapes()) {
        let once = helm_template(&["--values", &values]).unwrap_or_else(|error| panic!("{values}: {error}"));
        assert_eq!(Ok(&once), helm_template(&["--values", &values]).as_ref(), "{values}");
        identities(&documents(&once));
    }
}

#[test]
fn two_replicas_are_never_both_away() {
    assert!(of_kind(&render(&[]), "PodDisruptionBudget").is_empty(), "it would keep a node from being drained");
    let objects = shape("ha");
    let budget = one(&objects, "PodDisruptionBudget");
    let selector = &one(&objects, "Deployment")["spec"]["selector"];
    let spec = json!({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector});
    assert_eq!(budget["spec"], spec);
    let spread = &one(&objects, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert!(spread[0]["labelSelector"] == *selector && spread[1]["labelSelector"] == *selector, "{spread}");
    let without = render(&["--set", "replicaCount=2,podDisruptionBudget.enabled=false"]);
    assert!(of_kind(&without, "PodDisruptionBudget").is_empty());
    // Nothing and everything are answers too.
    let none = render(&["--set", "replicaCount=2,podDisruptionBudget.minAvailable=0"]);
    assert_eq!(one(&none, "PodDisruptionBudget")["spec"]["minAvailable"], 0);
}

#[test]
fn the_network_lets_through_what_is_needed_and_names_nobody() {
    assert!(of_kind(&render(&[]), "NetworkPolicy").is_empty());
    let objects = render(&["--set", "networkPolicy.enabled=true"]);
    let spec = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(spec["podSelector"], one(&objects, "Deployment")["spec"]["selector"]);
    let tcp = |port: u16| json!({"port": port, "protocol": "TCP"});
    assert_eq!(spec["ingress"], json!([{"ports": [tcp(8080)]}, {"ports": [tcp(9443)]}]));
    let dns = json!([{"port": 53, "protocol": "UDP"}, tcp(53)]);
    assert_eq!(spec["egress"], json!([{"ports": [tcp(443), tcp(6443)]}, {"ports": dns}]));
    let ports: Vec<_> = strings(&json!(["http", "webhook"]));
    for (port, rule) in container(&objects)["ports"].as_array().expect("ports").iter().zip(&ports) {
        assert_eq!(port["name"], **rule, "the ports of the policy are those of the container");
    }
    let objects = render(&["--set", "networkPolicy.enabled=true,webhook.enabled=false"]);
    assert_eq!(one(&objects, "NetworkPolicy")["spec"]["ingress"].as_array().map(Vec::len), Some(1));
}

#[test]
fn openshift_chooses_the_user() {
    let pod = |objects: &[Value]| one(objects, "Deployment")["spec"]["template"]["spec"]["securityContext"].clone();
    assert_eq!(pod(&shape("openshift")), json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
}

#[test]
fn the_test_of_the_release_runs_as_the_operator() {
    let rendered = |args: &[&str]| {
        let all = ["template", "tracesteward", "charts/tracesteward", "--namespace", NAMESPACE];
        documents(&helm(&[&all, args].concat()).unwrap_or_else(|error| panic!("{error}")))
    };
    let objects = rendered(&[]);
    let pod = one(&objects, "Pod");
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        (&container["command"], &container["args"]),
        (&json!(["tracesteward", "status"]), &json!(["--all-namespaces"]))
    );
    let operator = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    for field in ["serviceAccountName", "securityContext"] {
        assert_eq!(pod["spec"][field], operator[field]);
    }
    assert_eq!(container["image"], operator["containers"][0]["image"]);
    let selector = one(&objects, "Deployment")["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    let labels = &pod["metadata"]["labels"];
    assert!(selector.iter().any(|(label, value)| labels[label] != *value), "the webhook's Service would find it");
    let objects = rendered(&["--set", "watchNamespaces={team-a}"]);
    assert_eq!(one(&objects, "Pod")["spec"]["containers"][0]["args"], json!(["--namespace=team-a"]));
    assert!(of_kind(&rendered(&["--set", "helmTest.enabled=false"]), "Pod").is_empty());
}

#[test]
fn operator_is_started_with_its_flags() {
    let objects = render(&[]);
    assert_eq!(container(&objects)["command"], json!(["tracesteward", "operator"]));
    assert_eq!(
        args_of(&objects),
        [
            "--namespace=$(POD_NAMESPACE)",
            "--http-address=0.0.0.0:8080",
            "--log-format=json",
            "--log-level=info",
            "--secrets-verify=true",
            "--leader-elect=true",
            "--webhook-address=0.0.0.0:9443",
            "--webhook-service=tracesteward-webhook",
            "--webhook-timeout-seconds=5",
            "--admission-owner=tracesteward-system-tracesteward",
        ]
    );
    assert_eq!(
        container(&objects)["env"],
        json!([{"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}])
    );
    assert_eq!(
        container(&objects)["resources"],
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}})
    );
}

#[test]
fn pods_meet_the_restricted_standard() {
    let objects = render(&[]);
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    assert_eq!(
        container(&objects)["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert_eq!(one(&objects, "ServiceAccount")["automountServiceAccountToken"], false);
    assert_eq!(pod["automountServiceAccountToken"], true);
    for absent in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"] {
        assert!(pod.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn probes_ask_for_life_and_readiness() {
    let objects = render(&[]);
    let container = container(&objects);
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/healthz", "port": "http"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "http"}));
    assert_eq!(container["ports"][0], json!({"name": "http", "containerPort": 8080, "protocol": "TCP"}));
}

#[test]
fn image_falls_back_to_the_version_of_the_application() {
    let chart = yaml("charts/tracesteward/Chart.yaml");
    let version = chart["appVersion"].as_str().expect("appVersion");
    assert_eq!(version, env!("CARGO_PKG_VERSION"), "appVersion is the version of the crate");
    let image = |args: &[&str]| container(&render(args))["image"].as_str().map(str::to_owned).unwrap_or_default();
    assert_eq!(image(&[]), format!("ghcr.io/tracesteward/tracesteward:{version}"));
    assert_eq!(image(&["--set", "image.tag=x"]), "ghcr.io/tracesteward/tracesteward:x");
    assert_eq!(image(&["--set", "image.registry=,image.tag=x"]), "tracesteward/tracesteward:x");
}

#[test]
fn switches_leave_out_what_they_name() {
    let without = |set: &str, kinds: &[&str]| {
        let objects = render(&["--set", set]);
        for kind in kinds {
            assert!(of_kind(&objects, kind).is_empty(), "{kind} with {set}");
        }
        objects
    };
    without("rbac.create=false", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]);
    let objects = without("serviceAccount.create=false", &["ServiceAccount"]);
    assert_eq!(one(&objects, "ClusterRoleBinding")["subjects"][0]["name"], "default");
    let objects = without("leaderElect=false,webhook.enabled=false", &["Role", "RoleBinding"]);
    assert!(args_of(&objects).contains(&"--leader-elect=false".to_owned()));
    let message = refused(&["--set", "leaderElect=false,replicaCount=2"]);
    assert!(message.contains("replicaCount is above 1 while leaderElect is false"), "{message}");
}
