//! What the injected instrumentation is made of in a pod: init container, volume, mount.

use serde_json::{Value, json};

use super::InstrumentationPlan;
use crate::index::{AGENT_VOLUME, Agent};

/// The user that copies the files, where nothing in the pod says another: the images would run as root.
pub(super) const NOBODY: i64 = 65_532;

/// The init container that copies the instrumentation's files into the volume.
pub fn init_container(plan: &InstrumentationPlan) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "runAsUser": plan.user,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let Some(security) = security.as_object_mut().filter(|_| plan.user.is_none()) {
        security.shift_remove("runAsUser");
    }
    json!({
        "name": plan.agent.init_container(),
        "image": plan.image,
        "command": command(plan),
        "resources": {
            "requests": {"cpu": "50m", "memory": memory(plan.agent)},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "securityContext": security,
        "volumeMounts": [{"name": AGENT_VOLUME, "mountPath": plan.agent.mount_path()}],
    })
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
