//! The control plane: etcd, kube-apiserver and kube-controller-manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, GetParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::sync::OnceCell;

use super::audit::{self, AuditLog, Mark, Writes};
use super::certs::{Authority, KeyedCert};
use super::kubectl::{self, Output};
use super::process::{Process, Scratch, free_port};
use super::tools::tool;
use super::wait::eventually;

/// Longer than a loaded machine needs; a component that ends is noticed at once.
const START: Duration = Duration::from_secs(60);

/// Those that act on the objects which the tests make. No node, no volumes, no cloud.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
    cronjob-controller,job-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller,\
    root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,endpointslice-controller,\
    validatingadmissionpolicy-status-controller";

/// The user of [`ControlPlane::client`] and [`ControlPlane::kubectl`], for filters of the audit log.
pub(crate) const ADMIN: &str = "tracesteward-test-admin";

/// What a control plane has beyond the usual. A flag (`--name=value`) replaces the usual one of that name.
#[derive(Clone, Default)]
pub(crate) struct Shape {
    /// Flags of the API server.
    pub(crate) apiserver: Vec<String>,
    /// Flags of the controller manager.
    pub(crate) controller_manager: Vec<String>,
    /// Further names and addresses of the API server, for its certificate.
    pub(crate) hosts: Vec<String>,
}

/// A running control plane. Dropping it stops it and removes its data.
pub(crate) struct ControlPlane {
    // Dropped in this order: clients before servers, the folder last.
    controller_manager: Mutex<Option<Process>>,
    apiserver: Mutex<Option<Process>>,
    /// Charts of several tests have roles in common: two of kubectl that make one at the same time do not agree.
    rights: Mutex<()>,
    etcd: Process,
    authority: Authority,
    audit: AuditLog,
    api_port: u16,
    etcd_port: u16,
    namespaces: AtomicUsize,
    shape: Shape,
    scratch: Scratch,
}

impl ControlPlane {
    /// The control plane that all tests of this binary share: for tests that keep to their own namespaces.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        static TRIED: AtomicBool = AtomicBool::new(false);
        let start = async || {
            // Waiting for the same failure again would cost each test a minute.
            let again = TRIED.swap(true, Ordering::Relaxed);
            assert!(!again, "the shared control plane did not start: the first test that failed says why");
            Self::start().await
        };
        SHARED.get_or_init(start).await
    }

    /// Starts an own control plane and waits until it works: for tests that stop the API server, install what is
    /// cluster-wide, or count all writes.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags of the API server.
    pub(crate) async fn start_with(apiserver_flags: &[&str]) -> Self {
        let apiserver = apiserver_flags.iter().copied().map(str::to_owned).collect();
        Self::start_as(Shape { apiserver, ..Shape::default() }).await
    }

    /// Starts a control plane of this shape.
    pub(crate) async fn start_as(shape: Shape) -> Self {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch.path().join("pki"));
        let (etcd_port, api_port) = (free_port(), free_port());
        let etcd = Process::start("etcd", &etcd(scratch.path(), etcd_port), &scratch.path().join("etcd.log"));
        fs::write(scratch.path().join("audit-policy.yaml"), audit::POLICY).expect("the audit policy is written");
        let hosts = ["127.0.0.1", "localhost", "kubernetes.default.svc"];
        let hosts: Vec<_> = hosts.into_iter().chain(shape.hosts.iter().map(String::as_str)).collect();
        authority.server("kube-apiserver", &hosts);
        authority.token_keys();
        let plane = Self {
            controller_manager: Mutex::new(None),
            apiserver: Mutex::new(None),
            rights: Mutex::default(),
            etcd,
            audit: AuditLog::new(scratch.path().join("audit.log")),
            authority,
            api_port,
            etcd_port,
            namespaces: AtomicUsize::new(0),
            shape,
            scratch,
        };
        plane.write_client_kubeconfig("admin", ADMIN, Some("system:masters"));
        plane.write_client_kubeconfig("controller-manager", "system:kube-controller-manager", None);
        plane.start_apiserver().await;
        plane.start_controller_manager();
        plane.wait_for_default_account("default").await;
        plane
    }

    /// The API server's address.
    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// The port of the API server.
    pub(crate) fn api_port(&self) -> u16 {
        self.api_port
    }

    /// etcd answers nothing until [`Self::resume_etcd`]. Never on the shared control plane.
    pub(crate) fn pause_etcd(&self) {
        self.etcd.signal("STOP");
    }

    /// etcd goes on where it was.
    pub(crate) fn resume_etcd(&self) {
        self.etcd.signal("CONT");
    }

    /// A folder that lives as long as the control plane, with the logs of its components.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The authority that the API server trusts and is trusted by.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The kubeconfig of a cluster administrator.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.folder().join("admin.kubeconfig")
    }

    /// A client with an administrator's rights. Each test makes its own: a client lives in the runtime that made it.
    pub(crate) async fn client(&self) -> Client {
        self.client_for(&self.admin_kubeconfig()).await
    }

    /// A client with the rights of this kubeconfig.
    pub(crate) async fn client_for(&self, kubeconfig: &Path) -> Client {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a kubeconfig with one context")).expect("a client")
    }

    /// Runs kubectl as administrator. Blocks the thread.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_stdin(args, "")
    }

    /// Runs kubectl as administrator with `yaml` on its standard input. Blocks the thread.
    pub(crate) fn kubectl_stdin(&self, args: &[&str], yaml: &str) -> Output {
        self.kubectl_as(&self.admin_kubeconfig(), args, yaml)
    }

    /// Runs kubectl with the rights of this kubeconfig. Blocks the thread.
    pub(crate) fn kubectl_as(&self, kubeconfig: &Path, args: &[&str], yaml: &str) -> Output {
        kubectl::run(self.command("kubectl", kubeconfig).args(args), yaml)
    }

    /// A command of a client tool (kubectl, helm) that talks to this control plane and shares no cache with others.
    pub(crate) fn command(&self, name: &str, kubeconfig: &Path) -> Command {
        let mut command = Command::new(tool(name));
        command.env("KUBECONFIG", kubeconfig).env("HOME", self.folder()).env("KUBECTL_KUBERC", "false");
        command
    }

    /// Makes a namespace with a name of its own, in which pods can be created.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let name = format!("{prefix}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.named_namespace(&name).await;
        name
    }

    /// Makes this namespace where it is not there yet.
    pub(crate) async fn named_namespace(&self, name: &str) {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        match Api::all(self.client().await).create(&PostParams::default(), &namespace).await {
            Ok(_) => (),
            Err(kube::Error::Api(status)) if status.is_already_exists() => (),
            Err(error) => panic!("namespace {name}: {error}"),
        }
        self.wait_for_default_account(name).await;
    }

    /// The controller manager is at work, and admission lets pods in.
    async fn wait_for_default_account(&self, namespace: &str) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        eventually("the default ServiceAccount is there", START, async || {
            if let Some(manager) = lock(&self.controller_manager).as_mut() {
                manager.assert_alive();
            }
            accounts.get("default").await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Makes a ServiceAccount (and its namespace), applies `rbac` (YAML, may be empty), and writes a kubeconfig with a
    /// token of the account.
    pub(crate) async fn service_account_kubeconfig(&self, namespace: &str, account: &str, rbac: &str) -> PathBuf {
        self.named_namespace(namespace).await;
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}});
        self.kubectl_stdin(&["apply", "-f", "-"], &object.to_string()).success();
        if !rbac.trim().is_empty() {
            let _alone = lock(&self.rights);
            self.kubectl_stdin(&["apply", "-f", "-"], rbac).success();
        }
        let token = self.kubectl(&["create", "token", account, "-n", namespace, "--duration=24h"]).success();
        let path = self.folder().join(format!("{namespace}-{account}.kubeconfig"));
        kubectl::write_kubeconfig(&path, &self.server(), &self.authority.ca(), &json!({"token": token.trim()}));
        path
    }

    /// Writes `FILE.kubeconfig` with a certificate of this user, and returns where it is.
    pub(crate) fn write_client_kubeconfig(&self, file: &str, user: &str, group: Option<&str>) -> PathBuf {
        let KeyedCert { cert, key } = self.authority.client(user, group);
        let path = self.folder().join(format!("{file}.kubeconfig"));
        let user = json!({"client-certificate": cert, "client-key": key});
        kubectl::write_kubeconfig(&path, &self.server(), &self.authority.ca(), &user);
        path
    }

    /// The present end of the audit log, for [`Self::writes_since`].
    pub(crate) fn audit_mark(&self) -> Mark {
        self.audit.mark()
    }

    /// Every write since the control plane started: see [`AuditLog::writes`].
    pub(crate) fn writes(&self, user: Option<&str>, namespace: Option<&str>) -> Writes {
        self.writes_since(Mark::default(), user, namespace)
    }

    /// Every write since `mark`: see [`AuditLog::writes`].
    pub(crate) fn writes_since(&self, mark: Mark, user: Option<&str>, namespace: Option<&str>) -> Writes {
        self.audit.writes(mark, user, namespace)
    }

    /// The process id of the API server.
    ///
    /// # Panics
    /// While it is stopped.
    pub(crate) fn apiserver_pid(&self) -> u32 {
        lock(&self.apiserver).as_ref().expect("the API server is not stopped").pid()
    }

    /// Kills the API server at once (SIGKILL). Never on the shared control plane: other tests are using it.
    pub(crate) fn stop_apiserver(&self) {
        lock(&self.apiserver).take().expect("the API server is not stopped").kill9();
    }

    /// Starts the API server, on the same port with the same data as before, and waits until it is ready.
    pub(crate) async fn start_apiserver(&self) {
        let process =
            Process::start("kube-apiserver", &self.apiserver_command(), &self.folder().join("kube-apiserver.log"));
        *lock(&self.apiserver) = Some(process);
        let client = self.client().await;
        eventually("the API server is ready", START, async || {
            if let Some(apiserver) = lock(&self.apiserver).as_mut() {
                apiserver.assert_alive();
            }
            let request = kube::core::Request::new("").get("readyz", &GetParams::default());
            let request = request.map_err(|error| error.to_string())?;
            client.request_text(request).await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Starts the controller manager; where it runs already, it is killed and started anew.
    pub(crate) fn start_controller_manager(&self) {
        self.stop_controller_manager();
        let log = self.folder().join("kube-controller-manager.log");
        let process = Process::start("kube-controller-manager", &self.controller_manager_command(), &log);
        *lock(&self.controller_manager) = Some(process);
    }

    /// Kills the controller manager: nothing rolls out, nothing is collected, until it is started again.
    pub(crate) fn stop_controller_manager(&self) {
        lock(&self.controller_manager).take();
    }

    fn apiserver_command(&self) -> Command {
        let pki = self.folder().join("pki");
        let usual = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.api_port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            flag("tls-cert-file", &pki.join("kube-apiserver.crt")),
            flag("tls-private-key-file", &pki.join("kube-apiserver.key")),
            flag("client-ca-file", &self.authority.ca()),
            flag("kubelet-client-certificate", &pki.join(format!("{ADMIN}.crt"))),
            flag("kubelet-client-key", &pki.join(format!("{ADMIN}.key"))),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--allow-privileged=true".to_owned(),
            flag("service-account-key-file", &pki.join("tokens.pub")),
            flag("service-account-signing-key-file", &pki.join("tokens.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            flag("audit-policy-file", &self.folder().join("audit-policy.yaml")),
            flag("audit-log-path", &self.folder().join("audit.log")),
            // Blocking: what was answered is in the log. Never rotated.
            "--audit-log-mode=blocking".to_owned(),
            "--audit-log-maxsize=0".to_owned(),
            // The tests measure the operator, not the fairness of the API server.
            "--max-requests-inflight=4000".to_owned(),
            "--max-mutating-requests-inflight=2000".to_owned(),
        ];
        let mut command = Command::new(tool("kube-apiserver"));
        command.args(replaced(&usual, &self.shape.apiserver));
        command
    }

    fn controller_manager_command(&self) -> Command {
        let usual = [
            flag("kubeconfig", &self.folder().join("controller-manager.kubeconfig")),
            format!("--controllers={CONTROLLERS}"),
            flag("root-ca-file", &self.authority.ca()),
            // Each controller under its own ServiceAccount, as in real clusters: that is who the audit log names.
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=2000".to_owned(),
            "--kube-api-burst=4000".to_owned(),
            "--concurrent-deployment-syncs=20".to_owned(),
            "--concurrent-replicaset-syncs=20".to_owned(),
            "--concurrent-statefulset-syncs=20".to_owned(),
            "--concurrent-daemonset-syncs=20".to_owned(),
        ];
        let mut command = Command::new(tool("kube-controller-manager"));
        command.args(replaced(&usual, &self.shape.controller_manager));
        command
    }
}

/// The usual flags but for those that are given anew, and these.
fn replaced<'a>(usual: &'a [String], given: &'a [String]) -> impl Iterator<Item = &'a String> {
    let name = |flag: &'a String| flag.split('=').next();
    let kept = move |flag: &&'a String| !given.iter().any(|given| name(given) == name(flag));
    usual.iter().filter(kept).chain(given)
}

fn etcd(folder: &Path, port: u16) -> Command {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let mut command = Command::new(tool("etcd"));
    command
        .arg(flag("data-dir", &folder.join("etcd")))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        // The data need not survive the machine.
        .args(["--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=8589934592"]);
    command
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// A failed test must not fail the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
