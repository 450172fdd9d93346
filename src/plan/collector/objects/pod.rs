//! The pod of a revision: everything but the name of its ConfigMap, which is the hash of this.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler,
        ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecretKeySelector,
        SecurityContext, SleepAction, VolumeMount,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    super::{
        CONFIGURATION_KEY, CollectorSettings, Configuration, HEALTH_PORT, HeaderVariable, METRICS_PORT, Tier,
        collector_name,
    },
    labels, resources, sending_tier,
};
use crate::{api::Identity, index::Collector};

/// The name of the container that the collector runs in.
pub const CONTAINER: &str = "collector";
/// Where a persistent queue is kept in a pod; the configuration's `file_storage` names it.
pub const QUEUE_FOLDER: &str = "/var/lib/tracesteward/queue";
/// Where samplers receive spans from routers, OTLP over gRPC.
pub const SAMPLER_PORT: i32 = 4317;

/// Ports by name, with what is spoken there (`appProtocol`).
pub(super) const GRPC: (&str, &str) = ("otlp-grpc", "grpc");
pub(super) const HTTP: (&str, &str) = ("otlp-http", "http");
pub(super) const METRICS: &str = "metrics";
pub(super) const HEALTH: &str = "health";
/// The volumes of a pod.
pub(super) const CONFIGURATION_VOLUME: &str = "configuration";
pub(super) const QUEUE_VOLUME: &str = "queue";

/// Where the configuration is mounted.
const CONFIGURATION_FOLDER: &str = "/etc/tracesteward";
/// The user and group of the official images. As a number, or the kubelet cannot tell that it is not root.
const USER: i64 = 10001;
/// What a configuration may refer to of its pod, by the names that the collector's documentation uses.
const FIELDS: [(&str, &str); 3] =
    [("KUBE_NODE_NAME", "spec.nodeName"), ("KUBE_POD_IP", "status.podIP"), ("KUBE_POD_NAME", "metadata.name")];
/// How long a pod that is to end still takes spans, in seconds: senders learn only later that it is leaving.
const LEAVING: i64 = 5;
/// How long a collector may take to send what it has, in seconds.
const SENDING: i64 = 30;
/// How long a collector may take to start, in seconds: as long as a rollout may.
const STARTING: i32 = 120;

/// The pod template of a configuration.
pub(in super::super) fn template(
    collector: &Collector,
    settings: &CollectorSettings<'_>,
    configuration: &Configuration,
) -> PodTemplateSpec {
    let spec = settings.spec;
    let sends = configuration.tier == sending_tier(settings.has_sampler_tier());
    let has_storage = sends && settings.has_storage();
    let pod = PodSpec {
        service_account_name: Some(collector_name(&collector.id.name)),
        automount_service_account_token: Some(needs_token(settings, configuration.tier)),
        // Else every Service of the namespace would add to the environment that configurations are expanded from.
        enable_service_links: Some(false),
        security_context: Some(pod_security(has_storage)),
        termination_grace_period_seconds: Some(grace(settings, sends)),
        containers: vec![container(settings, configuration, has_storage)],
        node_selector: Some(spec.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(spec.tolerations.clone()).filter(|all| !all.is_empty()),
        image_pull_secrets: Some(spec.image_pull_secrets.clone()).filter(|all| !all.is_empty()),
        ..PodSpec::default()
    };
    let labels = labels::labels(&collector.id.name, configuration.tier);
    let metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) }
}

/// Only what looks up the pods that connections come from talks to the API server.
fn needs_token(settings: &CollectorSettings<'_>, tier: Tier) -> bool {
    settings.identity == Identity::Connection && tier == Tier::Collector
}

/// How long a pod may take to end, in seconds. Samplers still have to decide what they wait for.
fn grace(settings: &CollectorSettings<'_>, decides: bool) -> i64 {
    let deciding = if decides { i64::try_from(settings.decision_wait).unwrap_or(i64::MAX) } else { 0 };
    deciding.saturating_add(LEAVING + SENDING)
}

fn container(settings: &CollectorSettings<'_>, configuration: &Configuration, has_storage: bool) -> Container {
    let mut mounts = vec![mount(CONFIGURATION_VOLUME, CONFIGURATION_FOLDER, Some(true))];
    if has_storage {
        mounts.push(mount(QUEUE_VOLUME, QUEUE_FOLDER, None));
    }
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        args: Some(vec![format!("--config={CONFIGURATION_FOLDER}/{CONFIGURATION_KEY}")]),
        env: Some(environment(settings, configuration)),
        ports: Some(ports(settings, configuration.tier)),
        resources: Some(resources::resources(settings)),
        volume_mounts: Some(mounts),
        startup_probe: Some(probe(2, STARTING / 2)),
        liveness_probe: Some(probe(10, 3)),
        readiness_probe: Some(probe(5, 2)),
        lifecycle: Some(leave_slowly()),
        // The collector says on standard error why it does not start; the status shows it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

fn environment(settings: &CollectorSettings<'_>, configuration: &Configuration) -> Vec<EnvVar> {
    let limit = EnvVar {
        name: "GOMEMLIMIT".to_owned(),
        value: Some(resources::go_memory_limit(settings.memory)),
        ..EnvVar::default()
    };
    let fields = FIELDS.iter().filter(|(name, _)| configuration.text.contains(name));
    let fields = fields.map(|(name, path)| from_field(name, path));
    [limit].into_iter().chain(fields).chain(configuration.variables.iter().map(from_secret)).collect()
}

fn from_field(name: &str, path: &str) -> EnvVar {
    // The API server adds apiVersion, and a reference is owned and compared as a whole.
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

/// Not optional: without its credentials every export of a collector would be refused, and what it holds lost.
fn from_secret(variable: &HeaderVariable) -> EnvVar {
    let key = SecretKeySelector {
        name: variable.secret.name.clone(),
        key: variable.secret.key.clone(),
        ..SecretKeySelector::default()
    };
    let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
    EnvVar { name: variable.name.clone(), value_from: Some(source), ..EnvVar::default() }
}

fn ports(settings: &CollectorSettings<'_>, tier: Tier) -> Vec<ContainerPort> {
    let own: &[_] = match tier {
        Tier::Collector => &[(GRPC.0, settings.grpc_port), (HTTP.0, settings.http_port)],
        Tier::Sampler => &[(GRPC.0, SAMPLER_PORT)],
    };
    let all = own.iter().chain(&[(METRICS, METRICS_PORT), (HEALTH, HEALTH_PORT)]);
    let port = |(name, port): &(&str, i32)| ContainerPort {
        name: Some((*name).to_owned()),
        container_port: *port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    all.map(port).collect()
}

/// Asks the collector's health check every so many seconds.
fn probe(period: i32, failures: i32) -> Probe {
    let get = HTTPGetAction {
        path: Some("/".to_owned()),
        port: IntOrString::String(HEALTH.to_owned()),
        ..HTTPGetAction::default()
    };
    Probe {
        http_get: Some(get),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn leave_slowly() -> Lifecycle {
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds: LEAVING }), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(sleep), ..Lifecycle::default() }
}

fn mount(volume: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), read_only, ..VolumeMount::default() }
}

/// What the restricted profile of the Pod Security Standards asks of a pod.
fn pod_security(has_storage: bool) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        // A new volume belongs to root.
        fs_group: has_storage.then_some(USER),
        fs_group_change_policy: has_storage.then(|| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// What the restricted profile asks of a container, and a file system that nothing can be written to.
fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}
