//! The tests' own control plane does what the other tests rely on.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use support::process::Scratch;
use support::{ControlPlane, Process, eventually, plane};

const SOON: Duration = Duration::from_secs(60);

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

#[tokio::test]
async fn is_the_pinned_kubernetes() {
    let plane = ControlPlane::shared().await;
    let version = plane.client().await.apiserver_version().await.unwrap();
    assert!(version.git_version.starts_with("v1.36."), "{}", version.git_version);
    let kubectl = plane.kubectl(&["version", "--output=json"]).success();
    let kubectl: serde_json::Value = serde_json::from_str(&kubectl).unwrap();
    assert_eq!(kubectl["clientVersion"]["gitVersion"], kubectl["serverVersion"]["gitVersion"]);
}

#[tokio::test]
async fn the_controller_manager_rolls_deployments_out() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("rollout").await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/web:1"}]},
        }},
    });
    plane.kubectl_stdin(&["apply", "-f", "-"], &deployment.to_string()).success();

    let client = plane.client().await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    eventually("the Deployment is observed", SOON, async || {
        let status = deployments.get("web").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let seen = (status.observed_generation, status.replicas);
        (seen == (Some(1), Some(1))).then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 1);
    let pods = Api::<Pod>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap();
    assert_eq!(pods.items.len(), 1);
}

#[tokio::test]
async fn the_audit_log_counts_each_write_once() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("audit").await;
    let mark = plane.audit_mark();
    let maps: Api<ConfigMap> = Api::namespaced(plane.client().await, &namespace);
    let apply = PatchParams::apply("audit-test");
    maps.patch("once", &apply, &Patch::Apply(config_map("once"))).await.unwrap();
    maps.patch("never", &apply.clone().dry_run(), &Patch::Apply(config_map("never"))).await.unwrap();
    maps.get("once").await.unwrap();

    let writes = plane.writes_since(mark, Some(plane::ADMIN), Some(&namespace));
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let write = &writes[0];
    assert_eq!((write.verb.as_str(), write.resource.as_str(), write.code), ("patch", "configmaps", 201));
    assert_eq!((write.name.as_str(), write.subresource.as_str()), ("once", ""));
    assert!(write.uri.contains("fieldManager=audit-test"), "{}", write.uri);
    assert_eq!(writes.counted(), writes);
    assert_eq!(plane.writes_since(mark, Some("nobody"), None).len(), 0);
}

#[tokio::test]
async fn leases_and_events_do_not_count() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("uncounted").await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": namespace}});
    plane.kubectl_stdin(&["create", "-f", "-"], &lease.to_string()).success();
    let writes = plane.writes(Some(plane::ADMIN), Some(&namespace));
    assert!(writes.iter().any(|write| write.resource == "leases"), "{writes:#?}");
    assert!(writes.counted().iter().all(|write| write.resource != "leases"), "{writes:#?}");
}

#[tokio::test]
async fn a_service_account_has_only_the_rights_it_was_given() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("rights").await;
    let rbac = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: reader, namespace: {namespace}}},
           rules: [{{apiGroups: [''], resources: [configmaps], verbs: [get, list]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: reader, namespace: {namespace}}},
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}},
  subjects: [{{kind: ServiceAccount, name: reader}}]}}
"
    );
    let reader = plane.service_account_kubeconfig(&namespace, "reader", &rbac).await;
    let nobody = plane.service_account_kubeconfig(&namespace, "nobody", "").await;

    let maps = |client| Api::<ConfigMap>::namespaced(client, &namespace);
    let reader = maps(plane.client_for(&reader).await);
    eventually("the API server knows the role", SOON, async || {
        reader.list(&ListParams::default()).await.map_err(|error| error.to_string())
    })
    .await;
    let refused = reader.create(&PostParams::default(), &config_map("a")).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
    let refused = maps(plane.client_for(&nobody).await).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    let user = format!("system:serviceaccount:{namespace}:reader");
    let codes: Vec<u16> = plane.writes(Some(&user), None).iter().map(|write| write.code).collect();
    assert_eq!(codes, [403], "a refused write is a write");
}

#[tokio::test]
async fn a_killed_api_server_comes_back_with_its_data() {
    let plane = ControlPlane::start().await;
    let namespace = plane.namespace("restart").await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client().await, &namespace);
    let before = maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();
    let (pid, server) = (plane.apiserver_pid(), plane.server());

    plane.stop_apiserver();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    maps.get("kept").await.unwrap_err();

    plane.start_apiserver().await;
    assert_eq!(plane.server(), server);
    assert_ne!(plane.apiserver_pid(), pid);
    assert_eq!(maps.get("kept").await.unwrap().uid(), before.uid());
    maps.create(&PostParams::default(), &config_map("after")).await.unwrap();
    let names: Vec<String> =
        plane.writes(Some(plane::ADMIN), Some(&namespace)).iter().map(|w| w.resource.clone()).collect();
    assert_eq!(names, ["configmaps", "configmaps"], "the log spans the restart");
    // The controller manager has reconnected by itself.
    plane.namespace("restart").await;

    let folder = plane.folder().to_owned();
    drop(plane);
    assert!(!folder.exists());
}

/// Set for the child of [`nothing_outlives_a_test_process_that_is_aborted`].
const ABORT: &str = "TRACESTEWARD_TEST_ABORT";

#[test]
fn nothing_outlives_a_test_process_that_is_aborted() {
    if std::env::var_os(ABORT).is_some() {
        let scratch = Scratch::new();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let sleep = Process::start("sleep", &command, &scratch.path().join("sleep.log"));
        println!("started {} {}", sleep.pid(), scratch.path().display());
        std::process::abort();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_outlives_a_test_process_that_is_aborted", "--nocapture"])
        .env(ABORT, "1")
        .env_remove("TRACESTEWARD_KEEP")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let started = stdout.lines().find_map(|line| line.split_once("started ")).unwrap().1;
    let (pid, folder) = started.split_once(' ').unwrap();
    let process = format!("/proc/{pid}");
    let gone = || (!Path::new(&process).exists() && !Path::new(folder).exists()).then_some(());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(eventually("the child is gone", SOON, async || gone().ok_or_else(|| started.to_owned())));
}

#[test]
fn a_process_is_stopped_gently_or_killed() {
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"]);
    let mut process = Process::start("a shell", &command, &log);
    while !process.logs().contains("up") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(process.stop(SOON).code(), Some(7));
    assert_eq!(process.logs(), "up\nbye\n");
    assert!(process.check_alive().unwrap_err().contains("bye"));

    let mut process = Process::start("a shell", &command, &log);
    process.kill9();
    assert_eq!(process.exited().unwrap().code(), None);
}

#[test]
#[should_panic(expected = "run `make tools`")]
fn a_missing_binary_says_how_to_get_it() {
    support::tools::tool("no-such-binary");
}
