//! Instrumentation: what a container gets, in which mode, and what keeps it out.

use serde_json::{Value, json};
use tracesteward::index::{Agent, NamespaceMeta, PodDefaults};
use tracesteward::plan::instrument::{default_image, has_hook};
use tracesteward::plan::{WorkloadPlan, plan_workload, resolved, workload_findings};

use super::common::{NAMESPACE, deployment, lines, plain, plan_of, policy, read, snapshot};

pub(super) fn spec(language: &str, more: &str) -> String {
    format!(
        "{{enabled: true, language: {language}, instrumentation: {{}}, export: {{endpoint: \"http://otel:4318\"}}{more}}}"
    )
}

fn planned(language: &str, more: &str, object: &Value) -> WorkloadPlan {
    let policy = policy("p", &spec(language, more));
    assert!(policy.is_valid(), "{:?}", policy.findings);
    plan_of(vec![policy], object)
}

/// The variables that only an instrumented container has.
fn hooks(plan: &WorkloadPlan, container: usize) -> Vec<String> {
    let mut all = lines(&plan.containers[container].variables);
    let first = all.iter().position(|line| line.starts_with("OTEL_METRICS_EXPORTER"));
    first.map(|first| all.split_off(first)).unwrap_or_default()
}

#[test]
fn each_language_gets_its_hooks() {
    let none = ["OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none"];
    let dotnet = "/otel-auto-instrumentation-dotnet";
    let native = "OpenTelemetry.AutoInstrumentation.Native.so";
    for (agent, own) in [
        (
            Agent::Python,
            vec![
                "PYTHONPATH=/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:\
                  /otel-auto-instrumentation-python"
                    .to_owned(),
            ],
        ),
        (Agent::Java, vec!["JAVA_TOOL_OPTIONS=-javaagent:/otel-auto-instrumentation-java/javaagent.jar".to_owned()]),
        (
            Agent::Nodejs,
            vec!["NODE_OPTIONS=--require /otel-auto-instrumentation-nodejs/autoinstrumentation.js".to_owned()],
        ),
        (
            Agent::Dotnet,
            vec![
                "CORECLR_ENABLE_PROFILING=1".to_owned(),
                "CORECLR_PROFILER={918728DD-259F-4A6A-AC2B-B85E1B658318}".to_owned(),
                format!("CORECLR_PROFILER_PATH={dotnet}/linux-x64/{native}"),
                format!("CORECLR_PROFILER_PATH_ARM64={dotnet}/linux/{native}"),
                format!("DOTNET_STARTUP_HOOKS={dotnet}/net/OpenTelemetry.AutoInstrumentation.StartupHook.dll"),
                format!("DOTNET_ADDITIONAL_DEPS={dotnet}/AdditionalDeps"),
                format!("DOTNET_SHARED_STORE={dotnet}/store"),
                format!("OTEL_DOTNET_AUTO_HOME={dotnet}"),
            ],
        ),
    ] {
        let plan = planned(agent.as_str(), "", &plain());
        let expected: Vec<_> = none.iter().map(|line| (*line).to_owned()).chain(own).collect();
        assert_eq!(hooks(&plan, 0), expected);
        let instrumentation = plan.instrumentation().unwrap();
        assert_eq!((instrumentation.agent, instrumentation.image.as_str()), (agent, default_image(agent)));
        assert!(instrumentation.image.contains(&format!("/autoinstrumentation-{}:", agent.as_str())));
        assert_eq!(plan.containers[0].uninstrumented, None);
    }
    let named = spec("java", "").replace("instrumentation: {}", "instrumentation: {image: \"mirror/java:1\"}");
    let named = plan_of(vec![policy("p", &named)], &plain());
    assert_eq!(named.instrumentation().unwrap().image, "mirror/java:1");
    let without = plan_of(
        vec![policy("p", "{enabled: true, language: java, export: {endpoint: \"http://otel:4318\"}}")],
        &plain(),
    );
    assert_eq!((without.instrumentation(), hooks(&without, 0)), (None, vec![]));
}

#[test]
fn annotations_say_which_c_library() {
    let of = |language: &str, annotation: &str| {
        let object = deployment(&format!("{{annotations: {{{annotation}}}}}"), "[{name: app}]");
        let plan = planned(language, "", &object);
        (plan.instrumentation().unwrap().musl, hooks(&plan, 0).join(" "))
    };
    let python = "instrumentation.opentelemetry.io/otel-python-platform: ";
    assert!(of("python", &format!("{python}musl")).0);
    assert!(!of("python", &format!("{python}glibc")).0);
    let dotnet = "instrumentation.opentelemetry.io/otel-dotnet-auto-runtime: ";
    let (musl, hooks) = of("dotnet", &format!("{dotnet}linux-musl-x64"));
    assert!(musl && hooks.contains("/linux-musl-x64/") && hooks.contains("/linux-musl/"), "{hooks}");
    assert!(!of("dotnet", &format!("{dotnet}linux-x64")).0);
    assert!(!of("dotnet", &format!("{python}musl")).0);
}

#[test]
fn only_selected_containers_are_instrumented() {
    let object = deployment("{}", "[{name: app}, {name: helper}, {name: istio-proxy}]");
    let plan = planned("python", ", containers: [helper]", &object);
    assert_eq!(plan.containers.iter().map(|planned| planned.name.as_str()).collect::<Vec<_>>(), ["helper"]);
    assert!(plan.containers[0].instrumented.is_some());
    assert_eq!(planned("python", "", &object).containers.len(), 2);
}

#[test]
fn a_hook_of_the_users_is_joined_at_pods_and_keeps_everything_out_of_templates() {
    let value = |name: &str| format!("{{name: {name}, value: \"/mine\"}}");
    let from = |name: &str| format!("{{name: {name}, valueFrom: {{configMapKeyRef: {{name: c, key: k}}}}}}");
    let twice = |name: &str| format!("{}, {}", value(name), value(name));
    for (language, name, joins) in [
        ("python", "PYTHONPATH", true),
        ("java", "JAVA_TOOL_OPTIONS", true),
        ("nodejs", "NODE_OPTIONS", true),
        ("dotnet", "DOTNET_STARTUP_HOOKS", true),
        ("dotnet", "DOTNET_ADDITIONAL_DEPS", true),
        ("dotnet", "DOTNET_SHARED_STORE", true),
        ("dotnet", "CORECLR_PROFILER", false),
        ("dotnet", "CORECLR_ENABLE_PROFILING", false),
        ("dotnet", "CORECLR_PROFILER_PATH", false),
        ("dotnet", "OTEL_DOTNET_AUTO_HOME", false),
    ] {
        for (env, is_plain) in [(value(name), true), (from(name), false), (twice(name), false)] {
            for mode in ["Workload", "Pod", "None"] {
                let case = format!("{language} {env} {mode}");
                let object = deployment("{}", &format!("[{{name: app, env: [{env}]}}, {{name: other}}]"));
                let plan = planned(language, &format!(", injection: {{mode: {mode}}}"), &object);
                let [app, other] = plan.containers.as_slice() else { panic!("{case}: two containers") };
                assert!(other.instrumented.is_some(), "{case}: the other container has nothing to do with it");
                let is_joined = joins && is_plain && mode == "Pod";
                assert_eq!(app.instrumented.is_some(), is_joined, "{case}");
                if is_joined {
                    assert_eq!(app.uninstrumented, None, "{case}");
                    let resolved = resolved(&object, &read(&object), plan.rendered());
                    let prefix = format!("{name}=");
                    let joined = lines(&resolved[0].variables);
                    let joined = joined.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap();
                    assert!(has_hook(name, joined) && joined.contains("/mine"), "{case}: {joined}");
                } else {
                    assert_eq!(hooks(&plan, 0), [""; 0], "{case}");
                    assert!(lines(&app.variables).iter().any(|line| line.starts_with("OTEL_SERVICE_NAME=")), "{case}");
                    let findings = workload_findings(&read(&object), &plan);
                    let found = findings.iter().find(|found| found.code.as_str() == "TRC0505").expect(&case);
                    assert_eq!(found.path.to_string(), "spec.template.spec.containers[0].env", "{case}");
                    assert!(
                        found.message.contains(&format!("container app: it sets {name} itself")),
                        "{}",
                        found.message
                    );
                    assert!(plan.is_overridden(), "{case}");
                }
            }
        }
    }
}

#[test]
fn an_exporter_of_the_users_stays_and_hinders_nothing() {
    let object = deployment("{}", "[{name: app, env: [{name: OTEL_METRICS_EXPORTER, value: otlp}]}]");
    let plan = planned("java", "", &object);
    assert!(plan.containers[0].instrumented.is_some());
    assert_eq!(plan.containers[0].withheld, ["OTEL_METRICS_EXPORTER"]);
    assert!(!lines(&plan.containers[0].variables).iter().any(|line| line.starts_with("OTEL_METRICS_EXPORTER")));
}

/// A Deployment with this in its pod's specification beside a container.
fn with(annotations: &str, pod: &Value) -> Value {
    let mut object = deployment(&format!("{{annotations: {{{annotations}}}}}"), "[{name: app, image: web}]");
    let spec = object["spec"]["template"]["spec"].as_object_mut().unwrap();
    spec.extend(pod.as_object().unwrap().clone());
    object
}

#[test]
fn what_somebody_else_has_there_keeps_it_out() {
    let inject = "instrumentation.opentelemetry.io/inject-";
    let mount =
        json!([{"name": "app", "volumeMounts": [{"name": "x", "mountPath": "/otel-auto-instrumentation-java"}]}]);
    let elsewhere = json!([{"name": "app", "volumeMounts": [{"name": "x", "mountPath": "/data"}]}]);
    for (annotations, pod, reason) in [
        (format!("{inject}java: \"true\""), json!({}), Some("the OpenTelemetry operator instruments its pods")),
        (format!("{inject}java: shop/agent"), json!({}), Some("the OpenTelemetry operator instruments its pods")),
        (format!("{inject}java: \"false\""), json!({}), None),
        (format!("{inject}python: \"true\""), json!({}), None),
        (
            String::new(),
            json!({"initContainers": [{"name": "opentelemetry-auto-instrumentation-java"}]}),
            Some("the OpenTelemetry operator instruments its pods"),
        ),
        (
            String::new(),
            json!({"initContainers": [{"name": "opentelemetry-auto-instrumentation"}]}),
            Some("the OpenTelemetry operator instruments its pods"),
        ),
        (String::new(), json!({"initContainers": [{"name": "opentelemetry-auto-instrumentation-python"}]}), None),
        (String::new(), json!({"os": {"name": "windows"}}), Some("its pods run on Windows")),
        (String::new(), json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), Some("its pods run on Windows")),
        (String::new(), json!({"nodeSelector": {"kubernetes.io/os": "linux"}}), None),
        (String::new(), json!({"os": {"name": "linux"}}), None),
        (String::new(), json!({"initContainers": [{"name": "tracesteward-java"}]}), Some("an init container")),
        (String::new(), json!({"initContainers": [{"name": "tracesteward-python"}, {"name": "migrate"}]}), None),
        (String::new(), json!({"volumes": [{"name": "tracesteward-instrumentation"}]}), Some("a volume")),
        (String::new(), json!({"volumes": [{"name": "data", "emptyDir": {}}]}), None),
        (String::new(), json!({"containers": mount}), Some("a mount")),
        (String::new(), json!({"containers": elsewhere}), None),
    ] {
        let object = with(&annotations, &pod);
        let plan = planned("java", "", &object);
        let case = format!("{annotations} {pod}");
        assert_eq!(plan.instrumentation().is_some(), reason.is_none(), "{case}");
        assert_eq!(hooks(&plan, 0).is_empty(), reason.is_some(), "{case}");
        let findings = workload_findings(&read(&object), &plan);
        let said = findings.iter().find(|found| found.code.as_str() == "TRC0505").map(|found| &found.message);
        assert_eq!(said.is_some(), reason.is_some(), "{case}");
        if let (Some(said), Some(reason)) = (said, reason) {
            assert!(said.contains(reason), "{case}: {said}");
        }
    }
}

/// The plan in a namespace with these annotations.
fn in_namespace(annotations: &[(&str, &str)], object: &Value) -> WorkloadPlan {
    let mut snapshot = snapshot(vec![policy("p", &spec("java", ""))], std::slice::from_ref(object));
    let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let meta = NamespaceMeta { pods: PodDefaults::read(&annotations), ..NamespaceMeta::default() };
    snapshot.namespaces.get_mut(NAMESPACE).unwrap().pod_defaults = meta.pods;
    plan_workload(&snapshot, &snapshot.namespaces[NAMESPACE], &read(object))
}

#[test]
fn a_namespace_may_be_instrumented_by_the_other_operator() {
    let inject = "instrumentation.opentelemetry.io/inject-java";
    let instrumented = |namespace: &[(&str, &str)], pod: &str| {
        let object = with(pod, &json!({}));
        in_namespace(namespace, &object).instrumentation().is_some()
    };
    assert!(instrumented(&[], ""));
    assert!(!instrumented(&[(inject, "true")], ""));
    assert!(instrumented(&[(inject, "false")], ""));
    assert!(instrumented(&[(inject, "true")], &format!("{inject}: \"false\"")), "what the pod says wins");
    assert!(!instrumented(&[(inject, "false")], &format!("{inject}: agent")));
}

#[test]
fn the_files_are_copied_by_nobody_unless_the_pod_says_who() {
    let user = |pod: Value| planned("java", "", &with("", &pod)).instrumentation().unwrap().user;
    let container = |id: i64| json!([{"name": "app", "securityContext": {"runAsUser": id}}, {"name": "b"}]);
    assert_eq!(user(json!({})), Some(65_532));
    assert_eq!(user(json!({"securityContext": {"runAsNonRoot": true}})), Some(65_532));
    assert_eq!(user(json!({"securityContext": {"runAsUser": 1000}})), None, "inherited");
    assert_eq!(user(json!({"securityContext": {"runAsUser": 0}})), Some(65_532));
    assert_eq!(user(json!({"containers": container(2000)})), Some(2000));
    assert_eq!(user(json!({"containers": container(0)})), Some(65_532));
    assert_eq!(user(json!({"securityContext": {"runAsUser": 1000}, "containers": container(2000)})), None);
    let range = [("openshift.io/sa.scc.uid-range", "1000680000/10000")];
    let there = |pod: Value| {
        let plan = in_namespace(&range, &with("", &pod));
        plan.instrumentation().map(|agent| (agent.user, agent.non_root)).unwrap()
    };
    assert_eq!(there(json!({})), (None, false), "left to OpenShift, which may choose root");
    assert_eq!(there(json!({"containers": container(2000)})), (Some(2000), true), "what the application may run as");
    assert_eq!(there(json!({"securityContext": {"runAsUser": 1000}})), (None, true));
}
