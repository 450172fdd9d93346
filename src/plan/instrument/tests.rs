//! Hooks alone and joined, and what a pod gets.

use serde_json::json;

use super::*;
use crate::index::Bounds;

const PYTHON: &str = "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:/otel-auto-instrumentation-python";
const JAVA: &str = "-javaagent:/otel-auto-instrumentation-java/javaagent.jar";
const NODE: &str = "--require /otel-auto-instrumentation-nodejs/autoinstrumentation.js";
const STORE: &str = "/otel-auto-instrumentation-dotnet/store";

#[test]
fn a_users_value_is_joined_once_and_kept_as_it_is() {
    let front = "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation";
    let around = |users: &str| format!("{front}:{users}:/otel-auto-instrumentation-python");
    for (name, users, expected) in [
        ("PYTHONPATH", "", PYTHON.to_owned()),
        ("PYTHONPATH", " ", PYTHON.to_owned()),
        ("PYTHONPATH", "/app", around("/app")),
        ("PYTHONPATH", "/app:/lib:", around("/app:/lib")),
        ("PYTHONPATH", ":/app", around("/app")),
        ("PYTHONPATH", "$(ROOT)/lib", around("$(ROOT)/lib")),
        ("JAVA_TOOL_OPTIONS", "", JAVA.to_owned()),
        ("JAVA_TOOL_OPTIONS", "-Xmx1g $(MORE)", format!("-Xmx1g $(MORE) {JAVA}")),
        ("NODE_OPTIONS", "--max-old-space-size=512", format!("--max-old-space-size=512 {NODE}")),
        ("DOTNET_SHARED_STORE", "/a:/b", format!("/a:/b:{STORE}")),
        ("DOTNET_SHARED_STORE", "/a:", format!("/a:{STORE}")),
        ("DOTNET_SHARED_STORE", "", STORE.to_owned()),
        // Never joined.
        (
            "CORECLR_PROFILER",
            "{846F5F1C-F9AE-4B07-969E-05C26BC060D8}",
            "{846F5F1C-F9AE-4B07-969E-05C26BC060D8}".to_owned(),
        ),
        ("PATH", "/bin", "/bin".to_owned()),
    ] {
        let once = joined(name, users);
        assert_eq!(once, expected, "{name}={users}");
        assert_eq!(joined(name, &once), once, "{name}={users}: again");
        assert_eq!(has_hook(name, &once), !matches!(name, "CORECLR_PROFILER" | "PATH"), "{name}={once}");
        assert!(!has_hook(name, users), "{name}={users}");
    }
}

#[test]
fn every_hook_is_recognised_and_can_be_written() {
    for agent in Agent::ALL {
        assert!(hooks::of(agent).count() > 0, "{agent:?}");
        for hook in hooks::of(agent) {
            assert!(crate::index::ENV_NAMES.contains(&hook.name), "{}", hook.name);
            assert!(has_hook(hook.name, hook.value(false)) && has_hook(hook.name, hook.value(true)), "{}", hook.name);
            assert!(
                hook.name.starts_with("CORECLR_") || hook.value(false).contains(agent.mount_path()),
                "{}",
                hook.name
            );
        }
    }
}

fn plan(agent: Agent, musl: bool, user: Option<i64>) -> InstrumentationPlan {
    InstrumentationPlan {
        agent,
        image: "registry/agent:1".to_owned(),
        musl,
        user,
        non_root: true,
        resources: Some(super::objects::resources(agent, None)),
    }
}

#[test]
fn the_init_container_of_each_language() {
    for (agent, musl, command, memory) in [
        (Agent::Python, false, "cp -r /autoinstrumentation/. /otel-auto-instrumentation-python", "64Mi"),
        (Agent::Python, true, "cp -r /autoinstrumentation-musl/. /otel-auto-instrumentation-python", "64Mi"),
        (Agent::Java, false, "cp /javaagent.jar /otel-auto-instrumentation-java/javaagent.jar", "64Mi"),
        (Agent::Nodejs, false, "cp -r /autoinstrumentation/. /otel-auto-instrumentation-nodejs", "128Mi"),
        (Agent::Dotnet, true, "cp -r /autoinstrumentation/. /otel-auto-instrumentation-dotnet", "128Mi"),
    ] {
        let object = init_container(&plan(agent, musl, Some(65_532)));
        let command: Vec<_> = command.split(' ').collect();
        let expected = json!({
            "name": format!("tracesteward-{}", agent.as_str()),
            "image": "registry/agent:1",
            "command": command,
            "resources": {"requests": {"cpu": "50m", "memory": memory}, "limits": {"cpu": "500m", "memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
                "runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [
                {"name": "tracesteward-instrumentation", "mountPath": format!("/otel-auto-instrumentation-{}", agent.as_str())}
            ],
        });
        assert_eq!(object, expected);
        assert_eq!(mount(agent)["mountPath"], object["volumeMounts"][0]["mountPath"]);
        assert_eq!(mount(agent)["name"], volume()["name"]);
    }
    let open = init_container(&plan(Agent::Java, false, None));
    assert_eq!(open["securityContext"].get("runAsUser"), None);
}

#[test]
fn users_values_come_from_the_pod() {
    let variable = |name, value| Variable { name, value };
    let planned = ContainerPlan {
        name: "app".to_owned(),
        variables: vec![
            variable("OTEL_LOGS_EXPORTER", EnvValue::Literal("none".to_owned())),
            variable("PYTHONPATH", EnvValue::Joined),
        ],
        ..ContainerPlan::default()
    };
    let spec = json!({"containers": [
        {"name": "other", "env": [{"name": "PYTHONPATH", "value": "/wrong"}]},
        {"name": "app", "env": [{"name": "PYTHONPATH", "value": "/app"}]},
    ]});
    let resolved = with_users_values(&[planned], &spec);
    assert_eq!(resolved[0].variables[0].value, EnvValue::Literal("none".to_owned()));
    assert_eq!(resolved[0].variables[1].value, EnvValue::Literal(joined("PYTHONPATH", "/app")));
}

#[test]
fn the_init_container_gets_no_more_than_what_it_serves() {
    let bounds = |request: Option<&str>, limit: Option<&str>| Bounds {
        request: request.map(str::to_owned),
        limit: limit.map(str::to_owned),
    };
    for (served, expected) in [
        (bounds(None, None), ("64Mi", "256Mi")),
        (bounds(Some("1Gi"), Some("1Gi")), ("1Gi", "1Gi")),
        (bounds(None, Some("32Mi")), ("32Mi", "32Mi")),
        (bounds(Some("32Mi"), None), ("32Mi", "256Mi")),
        (bounds(Some("1Gi"), None), ("1Gi", "1Gi")),
    ] {
        let served = Resources { cpu: Bounds::default(), memory: served };
        let made = super::objects::resources(Agent::Python, Some(&served)).memory;
        assert_eq!(
            (made.request.as_deref(), made.limit.as_deref()),
            (Some(expected.0), Some(expected.1)),
            "{served:?}"
        );
    }
    let alone = InstrumentationPlan { resources: None, non_root: false, ..plan(Agent::Java, false, None) };
    let made = init_container(&alone);
    assert!(made.get("resources").is_none() && made["securityContext"].get("runAsNonRoot").is_none(), "{made}");
}
