//! Every value arrives, and what is no value is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{
    ALL_VALUES, Leaf, SCHEMA, args_of, container, identity, leaves, named, one, pointer, refused, render, shape, yaml,
};

#[test]
fn all_values_file_sets_every_value_to_something_else() {
    let all = yaml(ALL_VALUES);
    // These decide whether objects exist at all, and have tests of their own.
    let switches = [
        "crds.enabled",
        "crds.preinstall",
        "serviceAccount.create",
        "rbac.create",
        "rbac.userRoles",
        "leaderElect",
        "podDisruptionBudget.enabled",
        "metrics.podMonitor.enabled",
    ];
    for Leaf { path, default, .. } in leaves() {
        let value = all.pointer(&pointer(&path));
        let value = value.unwrap_or_else(|| panic!("{path} is not in ci/all-values.yaml"));
        assert!(*value != default || switches.contains(&path.as_str()), "{path} has its default in ci/all-values.yaml");
    }
}

#[test]
fn every_value_arrives() {
    let objects = render(&["--values", "charts/tracesteward/ci/all-values.yaml"]);
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["team"], "platform", "{}", identity(object));
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "steward", "{}", identity(object));
    }
    let deployment = one(&objects, "Deployment");
    assert_eq!(deployment["metadata"]["name"], "the-steward");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], json!({"example.com/pod": "yes"}));
    assert_eq!(template["metadata"]["labels"]["example.com/pod-label"], "yes");
    assert_eq!(template["metadata"]["labels"]["team"], "platform");
    let pod = &template["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull-secret"}]));
    assert_eq!(pod["serviceAccountName"], "the-account");
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(pod["tolerations"], json!([{"key": "control-plane", "operator": "Exists"}]));
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {}}));
    assert_eq!(pod["topologySpreadConstraints"][0]["topologyKey"], "zone");
    let container = container(&objects);
    assert_eq!(
        container["image"],
        "registry.example.com/mirror/tracesteward@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    );
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}})
    );
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
    assert_eq!(container["env"][1], json!({"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4317"}));
    assert_eq!(
        args_of(&objects),
        [
            "--namespace=$(POD_NAMESPACE)",
            "--http-address=0.0.0.0:8080",
            "--log-format=text",
            "--log-level=info,kube=warn",
            "--secrets-verify=false",
            "--leader-elect=true",
            "--webhook-address=",
            "--manage-admission=false",
            "--watch-namespace=team-a",
            "--watch-namespace=team-b",
            "--manage-admission=false",
        ]
    );
    let account = one(&objects, "ServiceAccount");
    assert_eq!(account["metadata"]["name"], "the-account");
    assert_eq!(account["metadata"]["annotations"], json!({"example.com/account": "yes"}));
    assert_eq!(
        named(&objects, "CustomResourceDefinition", "tracingcollectors.tracesteward.io")["metadata"]["annotations"],
        json!({"example.com/crd": "yes"})
    );
}

#[test]
fn every_value_of_the_pods_surroundings_arrives() {
    let objects = shape("all");
    let deployment = one(&objects, "Deployment");
    assert_eq!(deployment["metadata"]["namespace"], "steward-home");
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 3);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["hostUsers"], false);
    assert_eq!(pod["securityContext"]["runAsUser"], 1000);
    assert_eq!(pod["volumes"], json!([{"name": "tmp", "emptyDir": {}}]));
    assert_eq!(container(&objects)["volumeMounts"], json!([{"name": "tmp", "mountPath": "/tmp"}]));
    assert_eq!(container(&objects)["securityContext"]["readOnlyRootFilesystem"], true);
    let budget = &one(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!((&budget["minAvailable"], budget.get("maxUnavailable")), (&json!("50%"), None));
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "IfHealthyBudget");
    assert!(named(&objects, "ConfigMap", "tracesteward-extra")["metadata"].is_object());
    assert!(named(&objects, "ConfigMap", "tracesteward-text")["metadata"].is_object());
    let peers = json!([{"ipBlock": {"cidr": "10.0.0.0/28"}}]);
    let network = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(network["egress"][0], json!({"ports": [{"port": 8443, "protocol": "TCP"}], "to": peers}));
    assert_eq!(network["egress"][2]["ports"][0]["port"], 4317);
    assert_eq!(network["ingress"][0]["from"], json!([{"podSelector": {"matchLabels": {"app": "prometheus"}}}]));
    assert_eq!(network["ingress"][1]["ports"][0]["port"], 1111, "there is no webhook");
    for object in objects.iter().filter(|object| object["metadata"]["namespace"].is_string()) {
        let places = ["steward-home", "team-a", "team-b", "monitors", "rules", "dashboards"];
        let place = object["metadata"]["namespace"].as_str().expect("a namespace");
        assert!(places.contains(&place), "{}", identity(object));
    }
}

#[test]
fn everything_moves_to_another_namespace() {
    let objects = render(&["--set", "namespaceOverride=elsewhere,webhook.certManager.enabled=true"]);
    let text = Value::from(objects.clone()).to_string();
    assert!(!text.contains("tracesteward-system"), "names and references follow");
    for object in objects.iter().filter(|object| object["metadata"]["namespace"].is_string()) {
        assert_eq!(object["metadata"]["namespace"], "elsewhere", "{}", identity(object));
    }
    let policy = json!([{"namespace": "elsewhere", "enabled": false}]).to_string();
    let said = refused(&["--set", "namespaceOverride=elsewhere", "--set-json", &format!("defaultPolicies={policy}")]);
    assert!(said.contains("TRC0127"), "{said}");
}

#[test]
fn a_registry_of_all_charts_wins() {
    let values = "global.imageRegistry=mirror.example.com,global.imagePullSecrets[0].name=a,imagePullSecrets[0].name=b";
    let objects = render(&["--set", values]);
    let image = container(&objects)["image"].as_str().expect("an image");
    assert!(image.starts_with("mirror.example.com/tracesteward/tracesteward:"), "{image}");
    let secrets = &one(&objects, "Deployment")["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(*secrets, json!([{"name": "a"}, {"name": "b"}]));
}

#[test]
fn schema_refuses_what_is_no_value() {
    let cases = [
        (["--set", "replicas=2"], "'replicas' not allowed"),
        (["--set", "image.tga=2"], "'tga' not allowed"),
        (["--set", "crds.install=true"], "'install' not allowed"),
        (["--set", "rbac.secrets.very=true"], "'very' not allowed"),
        (["--set", "replicaCount=two"], "/replicaCount'"),
        (["--set", "image.pullPolicy=Sometimes"], "/image/pullPolicy'"),
        (["--set", "image.digest=abc"], "/image/digest'"),
        (["--set", "log.format=xml"], "/log/format'"),
        (["--set", "webhook.timeoutSeconds=6"], "/webhook/timeoutSeconds'"),
        (["--set", "webhook.certManager.enable=true"], "'enable' not allowed"),
        (["--set-string", "crds.enabled=true"], "/crds/enabled'"),
        (["--set", "metrics.serviceMonitor.enable=true"], "'enable' not allowed"),
        (["--set", "metrics.serviceMonitor.interval=often"], "/metrics/serviceMonitor/interval'"),
        (["--set", "podDisruptionBudget.unhealthyPodEvictionPolicy=Never"], "/unhealthyPodEvictionPolicy'"),
        (["--set", "podDisruptionBudget.maxUnavailable=half"], "/podDisruptionBudget/maxUnavailable'"),
        (["--set", "networkPolicy.apiServerPorts={0}"], "/networkPolicy/apiServerPorts/0'"),
        (["--set", "namespaceOverride=Here"], "/namespaceOverride'"),
        (["--set", "watchNamespaces={Team}"], "/watchNamespaces/0'"),
        (["--set", "watchNamespaces={a,a}"], "/watchNamespaces'"),
        (["--set-string", "defaultPolicies[0].enabled=false"], "/defaultPolicies/0/enabled'"),
        (["--set", "defaultPolicies[0].samplingratio=1"], "'samplingratio' not allowed"),
        (["--set", "defaultPolicies[0].samplingRatio=1.5"], "/defaultPolicies/0/samplingRatio'"),
        (["--set-json", "defaultPolicies=[{\"samplingRatio\":1.5}]"], "/defaultPolicies/0/samplingRatio'"),
        (["--set-json", "defaultPolicies=[{\"samplingRatio\":-1}]"], "/defaultPolicies/0/samplingRatio'"),
        (["--set", "defaultPolicies[0].protocol=http"], "/defaultPolicies/0/protocol'"),
        (["--set", "defaultPolicies[0].language=perl"], "/defaultPolicies/0/language'"),
        (["--set", "defaultPolicies[0].targets[0].kind=Pood"], "/defaultPolicies/0/targets/0/kind'"),
        (["--set", "defaultPolicies[0].targets[0].name=x"], "missing property 'kind'"),
    ];
    for (args, message) in cases {
        let said = refused(&args);
        assert!(said.contains("values don't meet the specifications of the schema"), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}\nwant: {message}\nsaid: {said}");
    }
}

fn properties(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    if let Some(map) = schema.get("properties").and_then(Value::as_object) {
        // Parent charts have values of their own there.
        assert!(path == "global" || schema["additionalProperties"] == false, "{path}: typos would pass");
        for (key, inner) in map {
            assert!(inner["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}.{key}: no description");
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            into.insert(path.clone());
            properties(inner, &path, into);
        }
    }
    if let Some(items) = schema.get("items") {
        properties(items, &format!("{path}[]"), into);
    }
}

#[test]
fn schema_and_values_know_the_same_keys() {
    let mut known = BTreeSet::new();
    properties(&yaml(SCHEMA), "", &mut known);
    let set: BTreeSet<String> = leaves().into_iter().map(|leaf| leaf.path).collect();
    for path in &set {
        assert!(known.contains(path), "{path} is not in values.schema.json");
    }
    // Helm's own, and what has no default.
    let without_default =
        ["global", "global.imageRegistry", "global.imagePullSecrets", "crds.global", "resources.claims"];
    for path in known.iter().filter(|path| !path.contains("[]") && !without_default.contains(&path.as_str())) {
        let prefix = format!("{path}.");
        assert!(set.contains(path) || set.iter().any(|leaf| leaf.starts_with(&prefix)), "{path} is not in values.yaml");
    }
}
