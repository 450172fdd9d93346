//! Pods that seem to run: kwok plays the kubelet of one node, so that workloads become available at level 2, or do not,
//! as a test says.
//!
//! There is no scheduler: an admission policy of the API server gives each pod its node as it is created. That costs no
//! process and no write, and each pod gets the same node each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, PostParams};
use serde_json::json;

use super::plane::ControlPlane;
use super::process::Process;
use super::tools::tool;
use super::wait::eventually;

/// The node on which all pods are.
pub(crate) const NODE: &str = "simulated";

/// How long a pod takes to become ready, or to fail, unless a test says otherwise.
const STARTS_WITHIN: Duration = Duration::from_millis(300);

/// How often it is looked after.
const LOOKED_AFTER: Duration = Duration::from_millis(100);

/// Gives pods their node. DaemonSets' pods too: theirs is the only one that there is.
const BINDING: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: simulated-scheduler}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  matchConditions:
  - {name: has-no-node, expression: "!has(object.spec.nodeName) || object.spec.nodeName == ''"}
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{spec: Object.spec{nodeName: 'simulated'}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: simulated-scheduler}
spec: {policyName: simulated-scheduler}
---
apiVersion: v1
kind: Node
metadata: {name: simulated, labels: {kubernetes.io/os: linux, kubernetes.io/hostname: simulated}}
"#;

/// What a stage is about and when: `@NAME@`, `@WHEN@` and `@STATUS@` are filled in. A pod that has played a stage says so in a
/// condition, so that no stage is played twice.
const STAGE: &str = r#"
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: @NAME@}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: '.status.conditions[]? | select(.type == "Simulated") | .reason', operator: NotIn, values: [@NAME@]}
@WHEN@
  delay: {durationMilliseconds: @DELAY@}
  next:
    patches:
    - subresource: status
      root: status
      type: merge
      template: |
        {{ $now := Now }}
        conditions:
        - {type: Simulated, status: "True", reason: @NAME@, lastTransitionTime: {{ $now | Quote }}}
        - {type: PodScheduled, status: "True", lastTransitionTime: {{ $now | Quote }}}
        - {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
        - {type: ContainersReady, status: "@READY@", lastTransitionTime: {{ $now | Quote }}}
        - {type: Ready, status: "@READY@", lastTransitionTime: {{ $now | Quote }}}
        phase: @PHASE@
        startTime: {{ $now | Quote }}
        hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
        podIP: {{ PodIPWith .spec.nodeName ( or .spec.hostNetwork false ) .metadata.uid .metadata.name .metadata.namespace | Quote }}
        initContainerStatuses:
        {{ range .spec.initContainers }}
        - name: {{ .name | Quote }}
          image: {{ .image | Quote }}
          imageID: ""
          ready: true
          restartCount: 0
          state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
        {{ end }}
        containerStatuses:
        {{ range .spec.containers }}
        - name: {{ .name | Quote }}
          image: {{ .image | Quote }}
          imageID: ""
          ready: @IS_READY@
@CONTAINER@
        {{ end }}
"#;

/// The node is ready. A pod that is to go is gone at once.
const ALWAYS: &str = r#"
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: up}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector: {matchExpressions: [{key: .status.capacity.pods, operator: NotIn, values: ["100000"]}]}
  next:
    patches:
    - subresource: status
      root: status
      type: merge
      template: |
        conditions: [{type: Ready, status: "True", reason: Simulated, lastTransitionTime: {{ Now | Quote }}}]
        capacity: {cpu: "1000", memory: 1Ti, pods: "100000"}
        allocatable: {cpu: "1000", memory: 1Ti, pods: "100000"}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: gone}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]}
  next: {finalizers: {empty: true}, delete: true}
"#;

/// Whoever sets one of these has to set them all.
const OPTIONS: &str = "
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 1
  podsOnNodeSyncParallelism: 1
  nodeLeaseParallelism: 1
";

/// How pods fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The containers end again and again; the last time with this message.
    CrashLoop(String),
    /// The images cannot be pulled, for this reason.
    ImagePull(String),
    /// The containers run and never become ready.
    NeverReady,
}

impl Failure {
    /// The phase of the pod, and what stands in the status of each container.
    fn status(&self) -> (&'static str, String) {
        match self {
            Self::CrashLoop(message) => (
                "Running",
                format!(
                    r#"          restartCount: 3
          state: {{waiting: {{reason: CrashLoopBackOff, message: "back-off 40s restarting failed container"}}}}
          lastState: {{terminated: {{exitCode: 1, reason: Error, message: {}, startedAt: {{{{ $now | Quote }}}}, finishedAt: {{{{ $now | Quote }}}}}}}}"#,
                    json!(message)
                ),
            ),
            Self::ImagePull(message) => (
                "Pending",
                format!(
                    "          restartCount: 0\n          state: {{waiting: {{reason: ImagePullBackOff, message: {}}}}}",
                    json!(message)
                ),
            ),
            Self::NeverReady => ("Running", RUNS.to_owned()),
        }
    }
}

const RUNS: &str = "          restartCount: 0\n          state: {running: {startedAt: {{ $now | Quote }}}}";

/// A filter for pods that have this variable in any container: see [`Kwok::fail_where`].
pub(crate) fn has_env(name: &str) -> String {
    format!(r".spec.containers[].env[]? | select(.name == {})", json!(name))
}

/// A filter for pods that have this value of a variable in any container.
pub(crate) fn has_env_value(name: &str, value: &str) -> String {
    format!(r".spec.containers[].env[]? | select(.name == {} and .value == {})", json!(name), json!(value))
}

/// A filter for pods with this annotation.
pub(crate) fn has_annotation(name: &str) -> String {
    format!(".metadata.annotations[{}]", json!(name))
}

/// A filter for pods with this label and this value.
pub(crate) fn has_label(name: &str, value: &str) -> String {
    format!(".metadata.labels[{}] | select(. == {})", json!(name), json!(value))
}

/// kwok beside a control plane. Dropping it stops it: the pods stay as they are.
pub(crate) struct Kwok<'a> {
    plane: &'a ControlPlane,
    process: Arc<Mutex<Option<Process>>>,
    /// Which pods fail, and how: the first filter that matches counts.
    rules: Vec<(String, Failure)>,
    starts_within: Duration,
}

impl ControlPlane {
    /// From now on each new pod gets a node, and becomes ready after a short while. One at a time for a control plane.
    pub(crate) async fn simulate_pods(&self) -> Kwok<'_> {
        self.kubectl_stdin(&["apply", "-f", "-"], BINDING).success();
        // As every new node it is tainted, and nobody is there who would take that away.
        self.kubectl(&["patch", "node", NODE, "--type=merge", "-p", r#"{"spec":{"taints":null}}"#]).success();
        self.write_client_kubeconfig("kwok", "tracesteward-test-kwok", Some("system:masters"));
        let client = self.client().await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}});
        let (pod, dry) = (serde_json::from_value(pod).unwrap(), PostParams { dry_run: true, ..PostParams::default() });
        eventually("pods get their node", Duration::from_secs(60), async || {
            let made = pods.create(&dry, &pod).await.map_err(|error| error.to_string())?;
            let node = made.spec.and_then(|spec| spec.node_name);
            (node.as_deref() == Some(NODE)).then_some(()).ok_or_else(|| format!("{node:?}"))
        })
        .await;
        let process = Arc::default();
        let mut kwok = Kwok { plane: self, process, rules: Vec::new(), starts_within: STARTS_WITHIN };
        start_again(Arc::downgrade(&kwok.process), self.folder().to_owned());
        kwok.restart();
        let nodes: Api<Node> = Api::all(client);
        eventually("kwok has found the node", Duration::from_secs(60), || {
            kwok.process().as_mut().expect("kwok runs").assert_alive();
            let nodes = nodes.clone();
            async move {
                let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
                let conditions = node.status.and_then(|status| status.conditions);
                conditions.map(|_| ()).ok_or_else(|| "it has no status".to_owned())
            }
        })
        .await;
        kwok
    }
}

impl Kwok<'_> {
    /// Pods for which this jq filter yields anything fail from now on, those that are ready already too.
    pub(crate) fn fail_where(&mut self, filter: &str, how: Failure) {
        self.rules.push((filter.to_owned(), how));
        self.restart();
    }

    /// [`Self::fail_where`] with a crash loop: the containers say `message` when they end.
    pub(crate) fn crash_where(&mut self, filter: &str, message: &str) {
        self.fail_where(filter, Failure::CrashLoop(message.to_owned()));
    }

    /// [`Self::fail_where`] with an image that is not there.
    pub(crate) fn pull_fails_where(&mut self, filter: &str, message: &str) {
        self.fail_where(filter, Failure::ImagePull(message.to_owned()));
    }

    /// Nothing fails any longer: what has failed becomes ready.
    pub(crate) fn heal(&mut self) {
        self.rules.clear();
        self.restart();
    }

    /// How long pods take from now on to become ready, or to fail.
    pub(crate) fn starts_within(&mut self, duration: Duration) {
        self.starts_within = duration;
        self.restart();
    }

    /// Nothing happens to pods any longer, until [`Self::restart`].
    pub(crate) fn pause(&mut self) {
        self.process().take();
    }

    /// Starts kwok anew, with the present rules: it looks at all pods again.
    pub(crate) fn restart(&mut self) {
        let folder = self.plane.folder();
        let mut process = self.process();
        process.take();
        fs::write(config_file(folder), self.config()).expect("the configuration is written");
        *process = Some(start(folder));
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> String {
        let mut config = OPTIONS.to_owned() + ALWAYS;
        for (number, (_, failure)) in self.rules.iter().enumerate() {
            let (phase, container) = failure.status();
            let is_ready = false;
            config += &self.stage(&format!("Failing{number}"), Some(number), phase, &container, is_ready);
        }
        config + &self.stage("Running", None, "Running", RUNS, true)
    }

    /// The stage of a rule, or, without one, of the pods to which no rule applies.
    fn stage(&self, name: &str, rule: Option<usize>, phase: &str, container: &str, is_ready: bool) -> String {
        let line = |filter: &str, operator: &str| {
            // YAML: in single quotes, in which a single quote is doubled.
            format!("    - {{key: '{}', operator: {operator}}}\n", filter.replace('\'', "''"))
        };
        let others = self.rules.iter().take(rule.unwrap_or(self.rules.len()));
        let mut when: String = others.map(|(filter, _)| line(filter, "DoesNotExist")).collect();
        when += &rule.map(|rule| line(&self.rules[rule].0, "Exists")).unwrap_or_default();
        STAGE
            .replace("@NAME@", name)
            .replace("@WHEN@\n", &when)
            .replace("@DELAY@", &self.starts_within.as_millis().to_string())
            .replace("@PHASE@", phase)
            .replace("@READY@", if is_ready { "True" } else { "False" })
            .replace("@IS_READY@", &is_ready.to_string())
            .replace("@CONTAINER@", container)
    }
}

impl Drop for Kwok<'_> {
    fn drop(&mut self) {
        self.process().take();
    }
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("kwok.yaml")
}

fn start(folder: &Path) -> Process {
    let mut command = Command::new(tool("kwok"));
    command
        .arg(format!("--config={}", config_file(folder).display()))
        .arg(format!("--kubeconfig={}", folder.join("kwok.kubeconfig").display()))
        .args(["--manage-all-nodes", "--cidr=10.64.0.0/12", "--node-ip=127.0.0.1"])
        .env("HOME", folder)
        .env_remove("KUBECONFIG");
    Process::start("kwok", &command, &folder.join("kwok.log"))
}

/// Looks after kwok for as long as it is wanted. kwok 0.8 ends now and then as it starts: the stages of the node and those of pods write
/// to one map at the same time when both are looked at first.
fn start_again(process: Weak<Mutex<Option<Process>>>, folder: PathBuf) {
    thread::spawn(move || {
        while let Some(process) = process.upgrade() {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            if process.as_mut().is_some_and(|kwok| kwok.exited().is_some() && kwok.logs().contains("concurrent map")) {
                *process = Some(start(&folder));
            }
            drop(process);
            thread::sleep(LOOKED_AFTER);
        }
    });
}
