//! What the injected instrumentation is made of in a pod: init container, volume, mount.

use serde_json::{Value, json};

use super::InstrumentationPlan;
use crate::{
    api::Quantity,
    index::{AGENT_VOLUME, Agent, Bounds, Resources},
};

/// The user that copies the files, where nothing in the pod says another: the images would run as root.
pub(super) const NOBODY: i64 = 65_532;

/// The init container that copies the instrumentation's files into the volume.
pub fn init_container(plan: &InstrumentationPlan) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": plan.non_root.then_some(true),
        "runAsUser": plan.user,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let resources = plan.resources.as_ref().map(|Resources { cpu, memory }| {
        json!({
            "requests": {"cpu": cpu.request, "memory": memory.request},
            "limits": {"cpu": cpu.limit, "memory": memory.limit},
        })
    });
    if let Some(security) = security.as_object_mut() {
        security.retain(|_, value| !value.is_null());
    }
    let mut container = json!({
        "name": plan.agent.init_container(),
        "image": plan.image,
        "command": command(plan),
        "resources": resources,
        "securityContext": security,
        "volumeMounts": [{"name": AGENT_VOLUME, "mountPath": plan.agent.mount_path()}],
    });
    if let Some(container) = container.as_object_mut() {
        container.retain(|_, value| !value.is_null());
    }
    container
}

/// What the init container gets: no more than the container that it serves, where that says anything. It runs before that one, so that
/// neither a quota, nor the ratio of a LimitRange, nor the pod's quality of service is any other than without it
/// (Kubernetes, "Init containers", resource sharing).
pub(super) fn resources(agent: Agent, served: Option<&Resources>) -> Resources {
    let bounds = |served: Option<&Bounds>, request: &str, limit: &str| {
        let served = served.cloned().unwrap_or_default();
        let larger = |one: String| {
            let nanos = |text: &str| Quantity::Text(text.to_owned()).nanos();
            if nanos(&one) > nanos(limit) { one } else { limit.to_owned() }
        };
        match (served.request, served.limit) {
            (None, None) => Bounds { request: Some(request.to_owned()), limit: Some(limit.to_owned()) },
            (Some(request), None) => Bounds { limit: Some(larger(request.clone())), request: Some(request) },
            (request, Some(limit)) => Bounds { request: request.or_else(|| Some(limit.clone())), limit: Some(limit) },
        }
    };
    Resources {
        cpu: bounds(served.map(|served| &served.cpu), "50m", "500m"),
        memory: bounds(served.map(|served| &served.memory), memory(agent), "256Mi"),
    }
}

/// The volume that holds them.
pub fn volume() -> Value {
    json!({"name": AGENT_VOLUME, "emptyDir": {"sizeLimit": "200Mi"}})
}

/// The mount in every container that loads them. Nothing has to be written there, and what one container loads another must
/// not change.
pub fn mount(agent: Agent) -> Value {
    json!({"name": AGENT_VOLUME, "mountPath": agent.mount_path(), "readOnly": true})
}

fn command(plan: &InstrumentationPlan) -> Vec<String> {
    let to = plan.agent.mount_path();
    let command: [&str; 4] = match plan.agent {
        Agent::Java => return vec!["cp".to_owned(), "/javaagent.jar".to_owned(), format!("{to}/javaagent.jar")],
        Agent::Python if plan.musl => ["cp", "-r", "/autoinstrumentation-musl/.", to],
        Agent::Python | Agent::Nodejs | Agent::Dotnet => ["cp", "-r", "/autoinstrumentation/.", to],
    };
    command.map(str::to_owned).to_vec()
}

const fn memory(agent: Agent) -> &'static str {
    match agent {
        Agent::Python | Agent::Java => "64Mi",
        Agent::Nodejs | Agent::Dotnet => "128Mi",
    }
}

/// The public image of a language, where the policy names none.
pub const fn default_image(agent: Agent) -> &'static str {
    match agent {
        Agent::Python => "ghcr.io/open-telemetry/opentelemetry-operator/autoinstrumentation-python:0.64b0",
        Agent::Java => "ghcr.io/open-telemetry/opentelemetry-operator/autoinstrumentation-java:2.30.0",
        Agent::Nodejs => "ghcr.io/open-telemetry/opentelemetry-operator/autoinstrumentation-nodejs:0.78.0",
        Agent::Dotnet => "ghcr.io/open-telemetry/opentelemetry-operator/autoinstrumentation-dotnet:1.16.0",
    }
}
