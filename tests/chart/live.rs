//! The chart on a real API server, installed by the real Helm: as an administrator of the cluster, and as one of some namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::common::{NAMESPACE, container, documents, identity, one, render, root, shapes};
use crate::fixtures::shared;
use crate::support::ControlPlane;
use crate::support::kubectl::run;

/// Kinds of others, which this API server does not know.
const FOREIGN: [&str; 2] = ["monitoring.coreos.com/v1", "cert-manager.io/v1"];

/// One release at a time has the names that are of the whole cluster.
static ALONE: Mutex<()> = Mutex::const_new(());

fn helm(plane: &ControlPlane, kubeconfig: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = plane.command("helm", kubeconfig);
    let output = run(command.current_dir(root()).args(args), "");
    if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
}

async fn namespaces(plane: &ControlPlane, names: &[&str]) {
    for name in names {
        plane.named_namespace(name).await;
    }
}

#[tokio::test]
async fn the_api_server_takes_every_shape() {
    let _alone = ALONE.lock().await;
    let plane = shared().await;
    namespaces(plane, &[NAMESPACE, "steward-home", "team-a", "team-b", "monitoring", "dashboards"]).await;
    for values in shapes() {
        let objects = render(&["--values", &values]);
        let (foreign, own): (Vec<Value>, Vec<Value>) =
            objects.into_iter().partition(|object| FOREIGN.iter().any(|group| object["apiVersion"] == *group));
        for object in &foreign {
            assert!(object["spec"].is_object(), "{}", identity(object));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": own}).to_string();
        let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = plane.kubectl_stdin(&arguments, &list);
        assert!(output.status.success(), "{values}: {}", output.stderr);
        assert_eq!(output.stdout.lines().count(), own.len(), "{values}: {}", output.stdout);
    }
}

/// A kubeconfig of somebody who is an administrator in these namespaces and nothing anywhere else.
async fn landlord(plane: &ControlPlane, user: &str, of: &[&str]) -> PathBuf {
    namespaces(plane, of).await;
    for namespace in of {
        let name = format!("{user}-everything");
        let user = format!("--user={user}");
        plane
            .kubectl(&["create", "rolebinding", &name, "-n", namespace, "--clusterrole=cluster-admin", &user])
            .success();
    }
    plane.write_client_kubeconfig(user, user, None)
}

#[tokio::test]
async fn an_administrator_of_some_namespaces_can_install_it_there() {
    let plane = shared().await;
    let kubeconfig = landlord(plane, "landlord", &["landlord-home", "team-a", "team-b"]).await;
    let values = "charts/tracesteward/ci/namespaced-values.yaml";
    let install =
        ["upgrade", "--install", "tracesteward", "charts/tracesteward", "-n", "landlord-home", "--values", values];
    helm(plane, &kubeconfig, &install).unwrap_or_else(|error| panic!("{error}"));
    let account = "system:serviceaccount:landlord-home:tracesteward";
    let may = |verb: &str, what: &str, namespace: &str| {
        let answer = plane.kubectl(&["auth", "can-i", verb, what, "-n", namespace, "--as", account]);
        answer.stdout.trim() == "yes"
    };
    assert!(may("patch", "deployments.apps", "team-a") && may("list", "tracingpolicies.tracesteward.io", "team-b"));
    assert!(may("get", "secrets/otel-headers", "team-a") && !may("get", "secrets/other", "team-a"));
    assert!(!may("patch", "deployments.apps", "default") && !may("list", "tracingpolicies.tracesteward.io", "default"));
    assert!(may("update", "leases.coordination.k8s.io/tracesteward", "landlord-home"));
    // The same again changes nothing, and nothing stays.
    helm(plane, &kubeconfig, &install).unwrap_or_else(|error| panic!("{error}"));
    helm(plane, &kubeconfig, &["uninstall", "tracesteward", "-n", "landlord-home"])
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(!may("patch", "deployments.apps", "team-a"));
    // With the CRDs and the roles for people it needs rights to what is of the whole cluster.
    let all = [&install[..], &["--set", "rbac.userRoles=true"]].concat();
    let refused = helm(plane, &kubeconfig, &all).expect_err("no right to ClusterRoles");
    assert!(refused.contains("clusterroles"), "{refused}");
}

#[tokio::test]
async fn a_release_goes_from_one_shape_to_another() {
    let _alone = ALONE.lock().await;
    let plane = ControlPlane::start().await;
    namespaces(&plane, &["home", "team-a", "team-b"]).await;
    let admin = plane.admin_kubeconfig();
    let apply = |values: &str| {
        let file = format!("charts/tracesteward/ci/{values}-values.yaml");
        let mut args =
            vec!["upgrade", "--install", "tracesteward", "charts/tracesteward", "-n", "home", "--reset-values"];
        if !values.is_empty() {
            args.extend(["--values", &file]);
        }
        helm(&plane, &admin, &args).unwrap_or_else(|error| panic!("{values}: {error}"));
    };
    let names = |kind: &str| {
        plane.kubectl(&["get", kind, "-A", "-o", "name", "-l", "app.kubernetes.io/name=tracesteward"]).success()
    };
    for values in ["", "ha", "strict", "namespaced", ""] {
        apply(values);
        assert_eq!(names("poddisruptionbudgets").is_empty(), values != "ha", "{values}");
        assert_eq!(names("networkpolicies").is_empty(), values != "strict", "{values}");
        assert_eq!(names("clusterrolebindings").is_empty(), values == "namespaced", "{values}");
        assert_eq!(names("roles").lines().count(), if values == "namespaced" { 3 } else { 2 }, "{values}");
    }
    helm(&plane, &admin, &["uninstall", "tracesteward", "-n", "home"]).unwrap_or_else(|error| panic!("{error}"));
    for kind in ["clusterroles", "clusterrolebindings", "roles", "deployments", "services"] {
        assert_eq!(names(kind), "", "{kind}");
    }
    assert_eq!(names("customresourcedefinitions").lines().count(), 3, "and with them the policies");
}

#[tokio::test]
async fn the_test_of_the_release_succeeds_with_the_rights_of_the_operator() {
    let _alone = ALONE.lock().await;
    let plane = shared().await;
    let output = crate::common::helm(&["template", "tracesteward", "charts/tracesteward", "--namespace", "tested"]);
    let objects = documents(&output.unwrap_or_else(|error| panic!("{error}")));
    let rights: Vec<_> =
        objects.iter().filter(|object| object["apiVersion"] == "rbac.authorization.k8s.io/v1").collect();
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": rights}).to_string();
    let kubeconfig = plane.service_account_kubeconfig("tested", "tracesteward", &rights).await;
    let pod = &one(&objects, "Pod")["spec"]["containers"][0];
    let words = |field: &str| pod[field].as_array().expect("words").clone();
    let words: Vec<_> = [words("command"), words("args")].concat();
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    assert_eq!(words.first(), Some(&"tracesteward"), "what the image has in its PATH");
    assert_eq!(container(&objects)["command"][0], "tracesteward");
    let status =
        run(Command::new(env!("CARGO_BIN_EXE_tracesteward")).args(&words[1..]).env("KUBECONFIG", &kubeconfig), "");
    assert!(status.status.success() && !status.stderr.contains("no right"), "{}{}", status.stdout, status.stderr);
    // It can fail.
    let nobody =
        run(Command::new(env!("CARGO_BIN_EXE_tracesteward")).args(&words[1..]).env("KUBECONFIG", "/dev/null"), "");
    assert_eq!(nobody.status.code(), Some(4), "{}", nobody.stderr);
}
