//! From the first injection to the last withdrawal, for each of the four kinds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::{
    KINDS, World, container, documents, env, held, managed, names, policy, shared, template, text, traced,
    tracesteward, value, workload, workload_of,
};

/// One workload of each kind, with and without variables of the user's own, and a second container.
fn workloads() -> Vec<Value> {
    let env = json!([{"name": "MODE", "value": "fast"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]);
    let containers = json!([container("app", &env), container("helper", &json!([]))]);
    KINDS.iter().map(|(kind, _)| workload_of(kind, &kind.to_lowercase(), &containers)).collect()
}

/// A policy with every setting that becomes a variable.
fn everything() -> Value {
    json!({
        "enabled": true, "language": "python",
        "export": {"endpoint": "http://collector:4317", "timeout": "10s", "compression": "gzip", "headersSecretRef": {"name": "headers"}},
        "service": {"namespace": "shop", "version": "1.4.2", "attributes": {"deployment.environment.name": "a b"}},
        "sampling": {"ratio": 0.25},
        "genAi": {"captureContent": false}, "logs": {"correlation": true}, "propagators": ["tracecontext", "b3"],
        "limits": {"spanAttributes": 128, "attributeValueLength": 4096, "spanEvents": 64, "queueSize": 2048, "batchSize": 512,
                   "scheduleDelay": "5s", "exportTimeout": "30s"},
    })
}

impl World<'_> {
    /// Every workload of [`workloads`], live.
    async fn all(&self) -> BTreeMap<&'static str, Value> {
        let mut all = BTreeMap::new();
        for (kind, _) in KINDS {
            all.insert(kind, self.get(kind, &kind.to_lowercase()).await);
        }
        all
    }

    fn apply_all(&self) {
        for workload in workloads() {
            self.apply(&workload);
        }
    }

    fn secret(&self) {
        self.kubectl(&["create", "secret", "generic", "headers", "--from-literal=OTEL_EXPORTER_OTLP_HEADERS=a=b"])
            .success();
    }

    /// Waits until nothing of the operator's is in any of them, and compares the rest with what was there before.
    async fn until_withdrawn(&self, before: &BTreeMap<&'static str, Value>) {
        for (kind, before) in before {
            let name = kind.to_lowercase();
            let live = self
                .until("the fields are withdrawn", kind, &name, |live| {
                    managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
                })
                .await;
            assert_eq!(template(&live), template(before), "{kind}");
        }
    }
}

#[tokio::test]
async fn each_kind_gets_what_render_says() {
    let world = World::new(shared().await, "render").await;
    world.secret();
    world.apply_all();
    world.apply(&policy("all", &everything()));

    // Before any operator runs: what render makes of the live objects, and what the API server would make of that.
    let input: Vec<String> = KINDS
        .iter()
        .map(|(kind, _)| {
            world.kubectl(&["get", kind, &kind.to_lowercase(), "-o", "yaml", "--show-managed-fields"]).success()
        })
        .chain([policy("all", &everything()).to_string()])
        .collect();
    let render = |format: &str| {
        documents(
            &tracesteward(&["render", "-n", &world.namespace, "-o", format, "-"], &input.join("\n---\n")).success(),
        )
    };
    let (whole, patches) = (render("yaml"), render("patch"));
    assert_eq!((whole.len(), patches.len()), (4, 4));
    let mut expected = BTreeMap::new();
    for (whole, patch) in whole.iter().zip(&patches) {
        let replaced =
            world.kubectl_stdin(&["replace", "--dry-run=server", "-o", "json", "-f", "-"], &whole.to_string());
        let replaced: Value = serde_json::from_str(&replaced.success()).unwrap();
        let kind = text(&patch["kind"]).to_owned();
        let applied = world.dry_apply(&kind, patch, "tracesteward").await;
        expected.insert(kind, (template(&replaced).clone(), managed(&applied).cloned()));
    }

    let operator = world.operator(&[]).await;
    let policy = world.settled("all", "True/Ready", "matched=4 injected=4").await;
    assert_eq!(policy["status"]["attention"], Value::Null);
    for (kind, live) in world.all().await {
        let (template_of_render, fields_of_patch) = &expected[kind];
        assert_eq!(template(&live), template_of_render, "{kind}");
        assert_eq!(managed(&live), fields_of_patch.as_ref(), "{kind}");
        assert_eq!(live["metadata"]["generation"], 2, "{kind}");
    }
    drop(operator);
}

#[tokio::test]
async fn each_kind_gets_exactly_these_variables() {
    let world = World::new(shared().await, "exact").await;
    world.secret();
    world.apply_all();
    world.apply(&policy("all", &everything()));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    let plain = |name: &str, value: &str| json!({"name": name, "value": value});
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    for (kind, live) in world.all().await {
        let (lower, namespace) = (kind.to_lowercase(), &world.namespace);
        let expected = |container: &str| {
            json!([
                plain("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
                plain("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": {
                    "name": "headers", "key": "OTEL_EXPORTER_OTLP_HEADERS", "optional": true}}},
                plain("OTEL_EXPORTER_OTLP_TIMEOUT", "10"),
                plain("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                plain("OTEL_TRACES_EXPORTER", "otlp"),
                plain("OTEL_SERVICE_NAME", &lower),
                field("TRACESTEWARD_POD_NAME", "metadata.name"),
                field("TRACESTEWARD_NODE_NAME", "spec.nodeName"),
                plain("OTEL_RESOURCE_ATTRIBUTES", &format!(
                    "deployment.environment.name=a%20b,k8s.container.name={container}{}{}k8s.namespace.name={namespace},\
                     k8s.node.name=$(TRACESTEWARD_NODE_NAME),k8s.pod.name=$(TRACESTEWARD_POD_NAME){}\
                     ,service.instance.id={namespace}.$(TRACESTEWARD_POD_NAME).{container},service.namespace=shop,service.version=1.4.2",
                    // Sorted: these two stand before the namespace, the next one after the pod.
                    if matches!(kind, "CronJob" | "DaemonSet" | "Deployment") { format!(",k8s.{lower}.name={lower}") } else { String::new() },
                    ",",
                    if kind == "StatefulSet" { ",k8s.statefulset.name=statefulset" } else { "" },
                )),
                plain("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                plain("OTEL_TRACES_SAMPLER_ARG", "0.25"),
                plain("OTEL_PROPAGATORS", "tracecontext,b3"),
                plain("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128"),
                plain("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4096"),
                plain("OTEL_SPAN_EVENT_COUNT_LIMIT", "64"),
                plain("OTEL_BSP_SCHEDULE_DELAY", "5000"),
                plain("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
                plain("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
                plain("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512"),
                plain("OTEL_PYTHON_LOG_CORRELATION", "true"),
                plain("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "false"),
            ])
        };
        let own = env(&live, "app").iter().filter(|variable| !held(&live, "app").contains(&text(&variable["name"])));
        let own: Vec<_> = own.cloned().collect();
        assert_eq!(own, [plain("MODE", "fast"), field("NODE", "spec.nodeName")], "{kind}: what the user has set");
        let ours = |container: &str| -> Value {
            let held = held(&live, container);
            env(&live, container).iter().filter(|variable| held.contains(&text(&variable["name"]))).cloned().collect()
        };
        assert_eq!(ours("app"), expected("app"), "{kind}");
        assert_eq!(ours("helper"), expected("helper"), "{kind}");
    }
}

#[tokio::test]
async fn disabling_withdraws_and_says_so_once() {
    let world = World::new(shared().await, "disable").await;
    world.apply_all();
    let before = world.all().await;
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    world.until_events(5).await;

    world.apply(&policy("all", &json!({"enabled": false, "export": {"endpoint": "http://collector:4317"}})));
    let off = world.settled("all", "True/Disabled", "matched=4").await;
    assert_eq!(crate::fixtures::condition(&off, "Programmed"), "True/Withdrawn");
    world.until_withdrawn(&before).await;
    world.until_events(10).await;
    let mut expected: Vec<(String, String, i64)> = KINDS
        .iter()
        .flat_map(|(kind, _)| {
            ["TracingInjected", "TracingWithdrawn"].map(|reason| (format!("{kind}/{}", kind.to_lowercase()), reason))
        })
        .chain(["Ready", "Disabled"].map(|reason| ("TracingPolicy/all".to_owned(), reason)))
        .map(|(object, reason)| (object, reason.to_owned(), 1))
        .collect();
    expected.sort();
    assert_eq!(world.events().await, expected);

    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
}

#[tokio::test]
async fn deleting_the_policy_withdraws() {
    let world = World::new(shared().await, "delete").await;
    world.apply_all();
    let before = world.all().await;
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    let mark = world.plane.audit_mark();
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    world.until_withdrawn(&before).await;
    assert_eq!(
        world.counted(mark),
        KINDS.map(|(kind, resource)| format!("patch {resource}/{} 200", kind.to_lowercase())).sorted()
    );
}

#[tokio::test]
async fn deleting_the_policy_while_nobody_looks_withdraws_at_the_next_start() {
    let world = World::new(shared().await, "absent").await;
    world.apply_all();
    let before = world.all().await;
    world.apply(&policy("all", &traced(0.5)));
    let operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    assert!(operator.stop().success());
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    for (kind, live) in world.all().await {
        assert!(managed(&live).is_some(), "{kind}: applications run on as they are");
    }
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    world.until_withdrawn(&before).await;
    assert_eq!(world.counted(mark).len(), 4);
}

#[tokio::test]
async fn workloads_that_no_longer_match_are_withdrawn() {
    let world = World::new(shared().await, "targets").await;
    let targets = |list: Value| {
        let mut spec = traced(0.5);
        spec["targets"] = list;
        policy("some", &spec)
    };
    world.apply_all();
    let before = world.all().await;
    let all: Vec<Value> = KINDS.iter().map(|(kind, _)| json!({"kind": kind})).collect();
    world.apply(&targets(json!(all)));
    let _operator = world.operator(&[]).await;
    world.settled("some", "True/Ready", "matched=4 injected=4").await;

    // The policy turns away.
    world.apply(&targets(json!([{"kind": "Deployment", "selector": {"matchLabels": {"app": "deployment"}}}])));
    world.settled("some", "True/Ready", "matched=1 injected=1").await;
    let mut others = before.clone();
    others.remove("Deployment");
    world.until_withdrawn(&others).await;
    assert!(managed(&world.get("Deployment", "deployment").await).is_some());

    // The workload turns away: its pod template has another label.
    let selector = json!([{"kind": "Deployment", "selector": {"matchExpressions": [{"key": "traced", "operator": "NotIn", "values": ["no"]}]}}]);
    world.apply(&targets(selector));
    world.settled("some", "True/Ready", "matched=1 injected=1").await;
    let label = json!({"spec": {"template": {"metadata": {"labels": {"traced": "no"}}}}});
    world.kubectl(&["patch", "deployment", "deployment", "-p", &label.to_string()]).success();
    world.settled("some", "True/NoWorkloads", "").await;
    let live = world.get("Deployment", "deployment").await;
    assert_eq!((managed(&live), names(&live, "app")), (None, vec!["MODE", "NODE"]));

    // And back.
    let label = json!({"spec": {"template": {"metadata": {"labels": {"traced": "yes"}}}}});
    world.kubectl(&["patch", "deployment", "deployment", "-p", &label.to_string()]).success();
    world.settled("some", "True/Ready", "matched=1 injected=1").await;
}

#[tokio::test]
async fn a_workload_that_is_made_anew_is_injected_anew() {
    let world = World::new(shared().await, "anew").await;
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/NoWorkloads", "").await;
    for replaced in [false, true] {
        if replaced {
            world.kubectl(&["delete", "deployment", "web"]).success();
            world.settled("all", "True/NoWorkloads", "").await;
        }
        world.apply(&workload("Deployment", "web", &json!([])));
        world.settled("all", "True/Ready", "matched=1 injected=1").await;
        assert_eq!(value(&world.get("Deployment", "web").await, "OTEL_TRACES_SAMPLER_ARG"), Some("0.5"));
    }
}

#[tokio::test]
async fn mode_none_writes_nothing_and_takes_out_what_was_there() {
    let world = World::new(shared().await, "none").await;
    world.apply_all();
    let before = world.all().await;
    let mut manual = traced(0.5);
    manual["injection"] = json!({"mode": "None"});
    world.apply(&policy("all", &manual));
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    let status = world.settled("all", "True/NotInjected", "matched=4").await;
    assert!(text(&crate::fixtures::condition_of(&status, "Ready").unwrap()["message"]).contains("tracesteward render"));
    assert_eq!(world.counted(mark), [""; 0]);

    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    world.apply(&policy("all", &manual));
    world.settled("all", "True/NotInjected", "matched=4").await;
    world.until_withdrawn(&before).await;
}

trait Sorted {
    fn sorted(self) -> Vec<String>;
}

impl<const N: usize> Sorted for [String; N] {
    fn sorted(self) -> Vec<String> {
        let mut all = self.to_vec();
        all.sort();
        all
    }
}
