//! The Helm chart and the kustomize base, rendered by the real Helm and kubectl.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const NAMESPACE: &str = "tracesteward-system";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tool that the environment names, else the one in KUBEBUILDER_ASSETS, else the one that `make tools` built.
fn tool(name: &str) -> PathBuf {
    let named = std::env::var_os(name.to_uppercase()).map(PathBuf::from);
    if let Some(path) = named {
        assert!(path.is_file(), "{}={} is no file", name.to_uppercase(), path.display());
        return path;
    }
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    let built = root().join("target/tools/bin").join(name);
    assets
        .into_iter()
        .chain([built])
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run `make tools`, or set {} to the binary", name.to_uppercase()))
}

fn run(name: &str, args: &[&str]) -> Output {
    let binary = tool(name);
    // No cluster, no plugins, no settings of whoever runs the tests.
    Command::new(&binary)
        .args(args)
        .current_dir(root())
        .env("KUBECONFIG", "/dev/null")
        .env("HELM_CONFIG_HOME", root().join("target/tmp/helm"))
        .env("HELM_CACHE_HOME", root().join("target/tmp/helm"))
        .env("HELM_DATA_HOME", root().join("target/tmp/helm"))
        .output()
        .unwrap_or_else(|error| panic!("{} cannot run: {error}", binary.display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn helm_template(args: &[&str]) -> Result<String, String> {
    let mut all = vec!["template", "tracesteward", "charts/tracesteward", "--namespace", NAMESPACE];
    all.extend(args);
    let output = run("helm", &all);
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn documents(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("not YAML: {error}\n{yaml}"));
    all.into_iter().filter(|value| !value.is_null()).collect()
}

fn render(args: &[&str]) -> Vec<Value> {
    documents(&helm_template(args).unwrap_or_else(|error| panic!("helm template {args:?}: {error}")))
}

fn refused(args: &[&str]) -> String {
    match helm_template(args) {
        Ok(_) => panic!("helm template {args:?} succeeded"),
        Err(message) => message,
    }
}

fn policies(list: &Value) -> String {
    format!("defaultPolicies={list}")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [object] => object,
        ref others => panic!("{} objects of kind {kind}", others.len()),
    }
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn identity(object: &Value) -> String {
    let field = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    [field("/apiVersion"), field("/kind"), field("/metadata/namespace"), field("/metadata/name")].join(" ")
}

fn identities(objects: &[Value]) -> BTreeSet<String> {
    let all: BTreeSet<String> = objects.iter().map(identity).collect();
    assert_eq!(all.len(), objects.len(), "an object is there twice");
    all
}

/// The dotted paths of all values; a map without entries, a list and a scalar are leaves.
fn leaves(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() && path != "resources.requests" && path != "resources.limits" => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(inner, &path, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

fn container(objects: &[Value]) -> &Value {
    let containers = &one(objects, "Deployment")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    &containers[0]
}

fn args_of(objects: &[Value]) -> Vec<String> {
    let args = container(objects)["args"].as_array().expect("args");
    args.iter().map(|arg| arg.as_str().expect("an argument is text").to_owned()).collect()
}

#[test]
fn lint_is_strict_and_clean() {
    for values in [&[][..], &["--values", "charts/tracesteward/ci/all-values.yaml"]] {
        let mut args = vec!["lint", "--strict", "charts/tracesteward"];
        args.extend(values);
        let output = run("helm", &args);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!text(&output.stdout).contains("[WARNING]"), "{}", text(&output.stdout));
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
    for args in [&[][..], &["--values", "charts/tracesteward/ci/all-values.yaml"]] {
        assert_eq!(helm_template(args), helm_template(args));
    }
}

#[test]
fn all_values_file_sets_every_value_to_something_else() {
    let (defaults, all) = (yaml("charts/tracesteward/values.yaml"), yaml("charts/tracesteward/ci/all-values.yaml"));
    let mut paths = BTreeSet::new();
    leaves(&defaults, "", &mut paths);
    for path in paths {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = all.pointer(&pointer);
        assert!(value.is_some(), "{path} is not in ci/all-values.yaml");
        // These decide whether objects exist at all, and have tests of their own.
        let switches = ["crds.enabled", "crds.preinstall", "serviceAccount.create", "rbac.create", "leaderElect"];
        if !switches.contains(&path.as_str()) {
            assert_ne!(value, defaults.pointer(&pointer), "{path} has its default in ci/all-values.yaml");
        }
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

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a role grants: (group, resource, name or nothing) to verbs.
fn grants(role: &Value) -> BTreeMap<(String, String, String), BTreeSet<String>> {
    let mut all: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for rule in role["rules"].as_array().expect("rules") {
        for key in rule.as_object().expect("a rule").keys() {
            assert!(["apiGroups", "resources", "resourceNames", "verbs"].contains(&key.as_str()), "{key} in a rule");
        }
        let mut names = strings(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for name in &names {
                    let verbs = all.entry((group.clone(), resource.clone(), name.clone())).or_default();
                    verbs.extend(strings(&rule["verbs"]));
                }
            }
        }
    }
    all
}

fn expected(list: &[(&str, &str, &str, &str)]) -> BTreeMap<(String, String, String), BTreeSet<String>> {
    list.iter()
        .map(|(group, resource, name, verbs)| {
            let key = ((*group).to_owned(), (*resource).to_owned(), (*name).to_owned());
            (key, verbs.split(' ').map(str::to_owned).collect())
        })
        .collect()
}

const MADE: &str = "get list watch create patch delete";
const NAMESPACED_RIGHTS: [(&str, &str, &str, &str); 19] = [
    ("tracesteward.io", "tracingpolicies", "", "get list watch"),
    ("tracesteward.io", "tracingpolicies/status", "", "patch"),
    ("tracesteward.io", "tracingcollectors", "", "get list watch"),
    ("tracesteward.io", "tracingcollectors/status", "", "patch"),
    ("apps", "deployments", "", "get list watch create patch delete"),
    ("apps", "statefulsets", "", "get list watch create patch delete"),
    ("apps", "daemonsets", "", "get list watch patch"),
    ("batch", "cronjobs", "", "get list watch patch"),
    ("", "configmaps", "", MADE),
    ("", "services", "", MADE),
    ("", "serviceaccounts", "", MADE),
    ("policy", "poddisruptionbudgets", "", MADE),
    ("networking.k8s.io", "networkpolicies", "", MADE),
    ("", "pods", "", "list watch delete"),
    ("apps", "replicasets", "", "list watch"),
    ("apps", "controllerrevisions", "", "list"),
    ("", "events", "", "list"),
    ("batch", "jobs", "", "list watch"),
    ("events.k8s.io", "events", "", "create patch"),
];
/// What a binding in a namespace could not grant.
const WIDE_RIGHTS: [(&str, &str, &str, &str); 11] = [
    ("tracesteward.io", "clustertracingpolicies", "", "get list watch"),
    ("tracesteward.io", "clustertracingpolicies/status", "", "patch"),
    ("", "namespaces", "", "list watch"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", IDENTITY, "get create patch delete"),
    ("rbac.authorization.k8s.io", "clusterroles", IDENTITY, "bind"),
    ("rbac.authorization.k8s.io", "clusterroles", ROLE, "get"),
    (ADMISSION, "validatingwebhookconfigurations", "tracesteward", "get create patch delete"),
    (ADMISSION, "mutatingwebhookconfigurations", "tracesteward", "get create patch delete"),
    (ADMISSION, "mutatingwebhookconfigurations", "tracesteward-pods", "get create patch delete"),
    (ADMISSION, "mutatingadmissionpolicies", "tracesteward-repair", "get create patch delete"),
    (ADMISSION, "mutatingadmissionpolicybindings", "tracesteward-repair", "get create patch delete"),
];
const ADMISSION: &str = "admissionregistration.k8s.io";
const SECRET_RIGHTS: (&str, &str, &str, &str) = ("", "secrets", "", "get");
/// The operator's role.
const ROLE: &str = "tracesteward-system-tracesteward";
/// What collectors that look up their senders are bound to.
const IDENTITY: &str = "tracesteward-collector-identity";

fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn rights_are_exactly_these() {
    let objects = render(&[]);
    let rights = [&NAMESPACED_RIGHTS[..], &WIDE_RIGHTS, &[SECRET_RIGHTS]].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
    assert_eq!(
        grants(named(&objects, "Role", "tracesteward-leader-election")),
        expected(&[
            ("coordination.k8s.io", "leases", "", "create"),
            ("coordination.k8s.io", "leases", "tracesteward", "get update"),
        ])
    );
    assert_eq!(
        grants(named(&objects, "Role", "tracesteward-webhook")),
        expected(&[("", "secrets", "tracesteward-webhook-ca", "get create patch")])
    );
    let read = "get list watch";
    assert_eq!(
        grants(named(&objects, "ClusterRole", IDENTITY)),
        expected(&[("", "pods", "", read), ("", "namespaces", "", read), ("apps", "replicasets", "", read)])
    );
}

#[test]
fn rights_to_secrets_go_with_their_value() {
    let objects = render(&["--set", "rbac.secrets.verify=false"]);
    let rights = [&NAMESPACED_RIGHTS[..], &WIDE_RIGHTS].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
    assert!(args_of(&objects).contains(&"--secrets-verify=false".to_owned()));
}

#[test]
fn nothing_of_the_cluster_is_granted_where_namespaces_are_watched() {
    let objects = render(&["--set", "watchNamespaces={team-a}"]);
    let rights = [&NAMESPACED_RIGHTS[..], &[SECRET_RIGHTS]].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
    let roles = of_kind(&objects, "ClusterRole");
    assert!(roles.iter().all(|role| role["metadata"]["name"] != IDENTITY), "two releases would meet there");
    assert!(of_kind(&objects, "Service").is_empty() && of_kind(&objects, "Role").len() == 1, "nor is there a webhook");
}

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

#[test]
fn users_get_what_belongs_to_their_roles() {
    let objects = render(&[]);
    let role = |name: &str| named(&objects, "ClusterRole", &format!("{ROLE}-{name}"));
    let aggregates = |name: &str, to: &str| {
        role(name)["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] == "true"
    };
    let group = "tracesteward.io";
    let read = "get list watch";
    let write = "create update patch delete deletecollection";
    let kinds = ["tracingpolicies", "clustertracingpolicies", "tracingcollectors"];
    assert_eq!(grants(role("view")), expected(&kinds.map(|kind| (group, kind, "", read))));
    // Who may write a collector lets its account read the pods of all namespaces: that is for no editor of a namespace.
    assert_eq!(grants(role("edit")), expected(&[(group, "tracingpolicies", "", write)]));
    let all = format!("{read} {write}");
    assert_eq!(grants(role("collector-admin")), expected(&[(group, "tracingcollectors", "", &all)]));
    assert_eq!(grants(role("cluster-policy-admin")), expected(&[(group, "clustertracingpolicies", "", &all)]));
    assert!(aggregates("view", "view") && aggregates("edit", "edit"));
    for to in ["view", "edit", "admin"] {
        assert!(!aggregates("collector-admin", to) && !aggregates("cluster-policy-admin", to));
    }
}

#[test]
fn no_wildcard_anywhere() {
    for args in [&[][..], &["--values", "charts/tracesteward/ci/all-values.yaml"]] {
        let objects = render(args);
        for kind in ["Role", "ClusterRole"] {
            for role in of_kind(&objects, kind) {
                assert!(!role["rules"].to_string().contains('*'), "{role}");
            }
        }
    }
}

fn binding(object: &Value) -> (String, Value, Value) {
    (identity(object), object["roleRef"].clone(), object["subjects"].clone())
}

#[test]
fn bindings_name_the_account_and_follow_the_watched_namespaces() {
    let subject = json!([{"kind": "ServiceAccount", "name": "tracesteward", "namespace": NAMESPACE}]);
    let role = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tracesteward-system-tracesteward",
    });
    let group = "rbac.authorization.k8s.io/v1";
    let everywhere = render(&[]);
    assert_eq!(
        binding(one(&everywhere, "ClusterRoleBinding")),
        (format!("{group} ClusterRoleBinding  tracesteward-system-tracesteward"), role.clone(), subject.clone())
    );
    let scoped = render(&["--set", "watchNamespaces={team-a,team-b}"]);
    assert!(of_kind(&scoped, "ClusterRoleBinding").is_empty());
    let of_namespaces: Vec<_> = of_kind(&scoped, "RoleBinding")
        .into_iter()
        .filter(|object| object["roleRef"]["kind"] == "ClusterRole")
        .map(binding)
        .collect();
    let want = |namespace| {
        (format!("{group} RoleBinding {namespace} tracesteward-system-tracesteward"), role.clone(), subject.clone())
    };
    assert_eq!(of_namespaces, [want("team-a"), want("team-b")]);
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

/// The CRDs as they are generated, each with its name.
fn generated() -> Vec<(String, Value)> {
    let read = |name: String| {
        let crd = yaml(&format!("crds/{name}"));
        (crd["metadata"]["name"].as_str().expect("a name").to_owned(), crd)
    };
    let all: Vec<_> = names_in("crds").into_iter().map(read).collect();
    assert!(all.len() > 1);
    all
}

#[test]
fn crds_equal_the_generated_ones() {
    let objects = render(&["--set", "crds.annotations.example\\.com/a=b"]);
    for (name, generated) in generated() {
        let rendered = named(&objects, "CustomResourceDefinition", &name);
        assert_eq!(rendered["spec"], generated["spec"], "numbers and texts must survive the template");
        let annotations = json!({"example.com/a": "b", "helm.sh/resource-policy": "keep"});
        assert_eq!(rendered["metadata"]["annotations"], annotations);
    }
}

#[test]
fn crds_are_kept_and_left_out_as_told() {
    let objects = render(&["--set", "crds.keep=false"]);
    for (name, _) in generated() {
        assert!(named(&objects, "CustomResourceDefinition", &name)["metadata"].get("annotations").is_none());
    }
    let objects = render(&["--include-crds", "--set", "crds.enabled=false"]);
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty());
}

#[test]
fn preinstalled_crds_come_from_the_folder_and_only_once() {
    let objects = render(&["--set", "crds.preinstall=true"]);
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty(), "not a template then");
    let count = generated().len();
    let objects = render(&["--include-crds", "--set", "crds.preinstall=true"]);
    for (name, generated) in generated() {
        assert_eq!(*named(&objects, "CustomResourceDefinition", &name), generated);
    }
    assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), count);
    assert_eq!(of_kind(&render(&["--include-crds"]), "CustomResourceDefinition").len(), count);
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn crds_in_the_chart_are_copies_of_the_generated_ones() {
    let generated = names_in("crds");
    assert!(!generated.is_empty());
    for folder in ["charts/tracesteward/files/crds", "charts/tracesteward/charts/crds/crds"] {
        assert_eq!(names_in(folder), generated, "{folder}: run `make generate`");
        for name in &generated {
            let path = format!("{folder}/{name}");
            assert_eq!(file(&path), file(&format!("crds/{name}")), "{path} is out of date: run `make generate`");
        }
    }
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
        assert_eq!(schema["additionalProperties"], false, "{path}: typos would pass");
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
    properties(&yaml("charts/tracesteward/values.schema.json"), "", &mut known);
    let mut set = BTreeSet::new();
    leaves(&yaml("charts/tracesteward/values.yaml"), "", &mut set);
    for path in &set {
        assert!(known.contains(path), "{path} is not in values.schema.json");
    }
    // Helm's own, and what has no default.
    let without_default = ["global", "crds.global", "resources.claims"];
    for path in known.iter().filter(|path| !path.contains("[]") && !without_default.contains(&path.as_str())) {
        let prefix = format!("{path}.");
        assert!(set.contains(path) || set.iter().any(|leaf| leaf.starts_with(&prefix)), "{path} is not in values.yaml");
    }
}

#[test]
fn readme_has_a_row_for_every_value_with_its_default() {
    let readme = file("charts/tracesteward/README.md");
    let rows: BTreeMap<&str, &str> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`'), cells.next()?.trim_matches('`')))
        })
        .collect();
    let values = yaml("charts/tracesteward/values.yaml");
    let mut set = BTreeSet::new();
    leaves(&values, "", &mut set);
    for path in set {
        let row = rows.get(path.as_str());
        let default = row.unwrap_or_else(|| panic!("{path} is not in the table of README.md"));
        let default: Value =
            serde_saphyr::from_str(default).unwrap_or_else(|error| panic!("{path}: {default}: {error}"));
        assert_eq!(Some(&default), values.pointer(&format!("/{}", path.replace('.', "/"))), "{path}");
    }
    let schema = yaml("charts/tracesteward/values.schema.json");
    for field in schema["properties"]["defaultPolicies"]["items"]["properties"].as_object().expect("fields").keys() {
        assert!(rows.contains_key(field.as_str()), "{field} of defaultPolicies is not in README.md");
    }
}

#[test]
fn notes_say_what_comes_next() {
    let notes = |args: &[&str]| {
        let mut all =
            vec!["install", "tracesteward", "charts/tracesteward", "-n", NAMESPACE, "--dry-run=client", "-o", "json"];
        all.extend(args);
        let output = run("helm", &all);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let release: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        release["info"]["notes"].as_str().expect("notes").to_owned()
    };
    let plain = notes(&[]);
    assert!(plain.contains("kubectl -n tracesteward-system rollout status deployment/tracesteward"), "{plain}");
    assert!(plain.contains("looks at all namespaces"), "{plain}");
    let (_, example) = plain.split_once("<<'END'\n").expect("an example");
    let (example, _) = example.split_once("END").expect("its end");
    assert_eq!(documents(example)[0]["kind"], "TracingPolicy");
    let all = notes(&["--values", "charts/tracesteward/ci/all-values.yaml", "--set", "crds.preinstall=true"]);
    assert!(all.contains("looks at team-a, team-b"), "{all}");
    assert!(all.contains("2 policies"), "{all}");
    assert!(all.contains("helm show crds"), "{all}");
}

#[test]
fn chart_says_where_it_runs() {
    let chart = yaml("charts/tracesteward/Chart.yaml");
    assert_eq!(chart["kubeVersion"], ">=1.30.0-0");
    let message = refused(&["--kube-version", "1.29.9"]);
    assert!(message.contains("kubeVersion"), "{message}");
    render(&["--kube-version", "1.30.0-eks-1"]);
}

#[test]
fn package_holds_no_test_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let output = run("helm", &["package", "charts/tracesteward", "--destination", &path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let archive = folder.path().join(format!("tracesteward-{}.tgz", env!("CARGO_PKG_VERSION")));
    let listing = Command::new("tar").arg("-tzf").arg(&archive).output().expect("tar");
    let listing = text(&listing.stdout);
    assert!(!listing.contains("/ci/"), "{listing}");
    for needed in ["values.schema.json", "files/crds/", "charts/crds/crds/", "README.md"] {
        assert!(listing.contains(needed), "{needed} is missing in\n{listing}");
    }
}

#[test]
fn install_yaml_is_the_chart_with_its_defaults() {
    let rendered = helm_template(&[]).expect("the defaults render");
    assert!(
        file("config/default/install.yaml") == rendered,
        "config/default/install.yaml is out of date: run `make generate`"
    );
}

#[test]
fn kustomize_base_builds_the_objects_of_the_chart() {
    let output = run("kubectl", &["kustomize", "config/default"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let built = documents(&text(&output.stdout));
    let mut want = identities(&render(&[]));
    want.insert(format!("v1 Namespace  {NAMESPACE}"));
    assert_eq!(identities(&built), want);
    assert!(!text(&output.stdout).contains("managed-by: Helm"));
}
