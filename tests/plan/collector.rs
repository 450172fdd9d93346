//! The compiled configuration of a collector: whose rules it holds, and what it costs.

use serde_json::{Value, json};
use tracesteward::diagnostics::Code;
use tracesteward::index::Snapshot;
use tracesteward::plan::collector::{CollectorPlan, Tier, compile};
use tracesteward::plan::read_collector;

use super::common::{policy, policy_at, snapshot, workload_object, yaml};

/// A collector `gateway` in `observability`, with this beside a backend, in YAML.
fn collector(snapshot: &mut Snapshot, spec: &str) -> CollectorPlan {
    let mut spec = yaml(spec);
    spec.as_object_mut()
        .unwrap()
        .entry("backends")
        .or_insert_with(|| json!([{"name": "tempo", "endpoint": "http://tempo:4317"}]));
    let object = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": "observability"}, "spec": spec,
    });
    let collector = read_collector(&object, "observability");
    assert_eq!(collector.findings, [], "the collector is valid");
    snapshot.collectors.insert(collector.id.clone(), collector.clone());
    compile(snapshot, &collector)
}

fn file(plan: &CollectorPlan, tier: Tier) -> Value {
    let text = &plan.configurations.iter().find(|configuration| configuration.tier == tier).unwrap().text;
    yaml(&format!("\n  {}", text.trim_end().replace('\n', "\n  ")))
}

fn statements(file: &Value, context: &str) -> Vec<String> {
    let groups = file["processors"]["transform/mark"]["trace_statements"].as_array().unwrap();
    let of_context = groups.iter().filter(|group| group["context"] == context);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_context.flat_map(|group| group["statements"].as_array().unwrap().iter().map(text)).collect()
}

/// The names of services with rules, each behind the condition on its namespace.
fn ruled(file: &Value) -> Vec<String> {
    let groups = file["processors"]["transform/mark"]["trace_statements"].as_array().unwrap();
    let mut ruled = Vec::new();
    for group in groups.iter().filter(|group| group["conditions"][0].as_str().is_some_and(|text| text.contains("_ns")))
    {
        let namespace = group["conditions"][0].as_str().unwrap().rsplit_once(" == ").unwrap().1;
        for statement in group["statements"].as_array().unwrap() {
            let service = statement.as_str().unwrap().rsplit_once(" == ").unwrap().1;
            ruled.push(format!("{namespace}/{service}").replace('"', ""));
        }
    }
    ruled
}

fn sampling(file: &Value) -> Vec<String> {
    let policies = file["processors"]["tail_sampling"]["policies"].as_array().unwrap();
    policies.iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect()
}

const TO_GATEWAY: &str = "export: {collectorRef: {name: gateway, namespace: observability}}";

fn tail(targets: &str, tail: &str) -> String {
    format!("{{enabled: true, {TO_GATEWAY}, targets: {targets}, sampling: {{tail: {tail}}}}}")
}

#[test]
fn services_are_those_of_the_workloads_that_the_policy_wins() {
    let all = policy("all", &format!("{{enabled: true, {TO_GATEWAY}, sampling: {{tail: {{ratio: 0.5}}}}}}"));
    let other = policy("named", &tail("[{kind: Deployment, name: web}]", "{ratio: 0.2}"));
    let elsewhere = policy(
        "elsewhere",
        "{enabled: true, export: {endpoint: 'http://x:4317'}, targets: [{kind: Deployment, name: far}]}",
    );
    let workload = |name: &str| workload_object("apps/v1", "Deployment", name, &json!({"spec": {"containers": []}}));
    let objects = [workload("api"), workload("web"), workload("far")];
    let mut snapshot = snapshot(vec![all, other, elsewhere], &objects);
    let plan = collector(&mut snapshot, "{allowedNamespaces: {from: All}}");
    let file = file(&plan, Tier::Collector);
    assert_eq!(ruled(&file), ["shop/api", "shop/web"], "far exports elsewhere and has the baseline");
    assert_eq!((plan.policies, plan.services), (2, 2));
    let web = statements(&file, "resource").into_iter().find(|text| text.ends_with("\"web\"")).unwrap();
    assert!(web.contains("ratio-0.2"), "the policy that names it decides: {web}");
}

#[test]
fn names_count_where_no_workload_is_known() {
    let jobs =
        policy("jobs", &tail("[{kind: Job, selector: {matchLabels: {a: b}}, serviceName: worker}]", "{ratio: 0.5}"));
    let named = policy("named", &tail("[{kind: Deployment, name: later}, {kind: StatefulSet}]", "{ratio: 0.5}"));
    let shared = policy(
        "shared",
        &format!("{{enabled: true, {TO_GATEWAY}, service: {{name: one}}, sampling: {{tail: {{ratio: 0.5}}}}}}"),
    );
    let mut snapshot = snapshot(vec![jobs, named, shared], &[]);
    let plan = collector(&mut snapshot, "{allowedNamespaces: {from: All}}");
    assert_eq!(ruled(&file(&plan, Tier::Collector)), ["shop/later", "shop/one", "shop/worker"]);
}

#[test]
fn two_policies_for_one_service_are_told() {
    let one = policy("one", &tail("[{kind: Job, name: a, serviceName: same}]", "{ratio: 0.5}"));
    let two = policy("two", &tail("[{kind: Job, selector: {}, serviceName: same}]", "{ratio: 0.2}"));
    let mut snapshot = snapshot(vec![one, two], &[]);
    let plan = collector(&mut snapshot, "{allowedNamespaces: {from: All}}");
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].code, Code::TRC0402);
    assert!(plan.findings[0].message.ends_with("same follows policy one, not two"), "{}", plan.findings[0].message);
    assert!(statements(&file(&plan, Tier::Collector), "resource").iter().any(|text| text.contains("ratio-0.5")));
}

#[test]
fn policies_that_do_not_reach_the_collector_take_no_part() {
    let rules = tail("[{kind: Deployment, name: web}]", "{ratio: 0.5}");
    let disabled = policy_at("p", &rules.replace("enabled: true", "enabled: false"), "a", None);
    let invalid = policy_at("p", &rules.replace("0.5", "1.5"), "b", None);
    let foreign = policy_at("p", &rules.replace("name: gateway", "name: other"), "c", None);
    let allowed = policy_at("p", &rules, "observability", None);
    let strange = policy_at("p", &rules, "d", None);
    let mut snapshot = snapshot(vec![disabled, invalid, foreign, allowed, strange], &[]);
    assert_eq!(ruled(&file(&collector(&mut snapshot, "{}"), Tier::Collector)), ["observability/web"]);
    let by_label = "{allowedNamespaces: {from: Selector, selector: {matchLabels: {tracing: 'true'}}}}";
    assert_eq!(ruled(&file(&collector(&mut snapshot, by_label), Tier::Collector)), ["observability/web"]);
    snapshot.namespaces.get_mut("d").unwrap().labels = Some([("tracing".to_owned(), "true".to_owned())].into());
    assert_eq!(ruled(&file(&collector(&mut snapshot, by_label), Tier::Collector)), ["d/web", "observability/web"]);
}

#[test]
fn only_rules_that_a_lower_one_can_void_need_a_policy_of_their_own() {
    let spec =
        tail("[{kind: Job, name: web}]", "{ratio: 0.5, routes: [{route: /a, ratio: 0.9}, {route: /b, ratio: 0.7}]}");
    let mut falling = snapshot(vec![policy("falling", &spec)], &[]);
    let plan = collector(&mut falling, "{allowedNamespaces: {from: All}, sampling: {baselineRatio: 0.1}}");
    assert_eq!(
        sampling(&file(&plan, Tier::Collector)),
        ["drop", "keep", "ratio-0.1", "ratio-0.5", "ratio-0.7", "ratio-0.9"]
    );
    let spec = tail("[{kind: Job, name: web}]", "{routes: [{route: /a, ratio: 0}, {route: /b, ratio: 1}]}");
    let mut rising = snapshot(vec![policy("rising", &spec)], &[]);
    let plan = collector(&mut rising, "{allowedNamespaces: {from: All}, sampling: {baselineRatio: 0.1}}");
    assert_eq!(sampling(&file(&plan, Tier::Collector)), ["drop", "keep", "ratio-0.1", "service-0.1", "service-0"]);
}

/// Many policies, each with two services: plain ones, or ones with cheaper routes.
fn many(policies: usize, rules: &str) -> Snapshot {
    let each = |number: usize| {
        let targets = format!("[{{kind: Job, name: a-{number}}}, {{kind: Job, name: b-{number}}}]");
        policy_at("p", &tail(&targets, &rules.replace('#', &number.to_string())), &format!("ns-{}", number / 4), None)
    };
    let mut world = snapshot(Vec::new(), &[]);
    for (number, policy) in (0..policies).map(|number| (number, each(number))) {
        let namespace = world.namespaces.entry(policy.id.namespace.clone()).or_default();
        namespace.policies.insert(format!("p-{number}"), policy);
    }
    for namespace in world.namespaces.values_mut() {
        for (name, policy) in &mut namespace.policies {
            policy.id.name.clone_from(name);
        }
    }
    world
}

#[test]
fn a_span_costs_the_same_with_one_policy_and_with_five_hundred() {
    let rules = "{ratio: 0.5, keep: {errors: true, slowerThan: 1s}, drop: [{route: /h-#}], routes: [{route: /r-#, ratio: 0.7}, {spanName: 'x-# *', ratio: 0.6}]}";
    let cost = |policies: usize| {
        let mut world = many(policies, rules);
        let plan = collector(&mut world, "{allowedNamespaces: {from: All}}");
        let file = file(&plan, Tier::Collector);
        (statements(&file, "span"), sampling(&file))
    };
    assert_eq!(cost(1), cost(500), "neither statements for spans nor decisions grow with the policies");
}

#[test]
fn a_configuration_is_the_same_bytes_whatever_the_order_and_holds_what_users_write_as_text() {
    let hostile = "a\"b\\c $1 ${x %s\u{85}é\u{1f600}\u{2028}";
    let text = serde_json::to_string(hostile).unwrap().replace("${x", "$x");
    let spec = tail("[{kind: Job, name: web}]", &format!("{{ratio: 0.5, routes: [{{route: {text}, ratio: 0.1}}]}}"));
    let mut one = snapshot(vec![policy("a", &spec)], &[]);
    let plan = collector(&mut one, "{allowedNamespaces: {from: All}}");
    assert_eq!(plan, collector(&mut one, "{allowedNamespaces: {from: All}}"));
    let statements = statements(&file(&plan, Tier::Collector), "resource");
    let service = statements.iter().find(|text| text.starts_with("merge_maps")).unwrap();
    assert!(service.contains(r#""a\"b\\c $$1 $$x %s\u0085é😀\u2028""#), "{service}");
}

#[test]
fn several_replicas_are_two_tiers() {
    let mut world = many(1, "{ratio: 0.5}");
    let spec = "{allowedNamespaces: {from: All}, replicas: 3, identity: Connection, spanMetrics: {}, queue: {storage: {size: 1Gi}}}";
    let plan = collector(&mut world, spec);
    let (routers, samplers) = (file(&plan, Tier::Collector), file(&plan, Tier::Sampler));
    insta::assert_snapshot!("routers", plan.configurations[0].text);
    insta::assert_snapshot!("samplers", plan.configurations[1].text);
    let pipelines =
        |file: &Value| file["service"]["pipelines"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(pipelines(&routers), ["metrics/red", "traces/in", "traces/route"]);
    assert_eq!(pipelines(&samplers), ["traces/sample"]);
    assert_eq!(
        routers["exporters"]["load_balancing/sampler"]["resolver"]["static"]["hostnames"].as_array().unwrap().len(),
        3
    );
    assert!(
        samplers["extensions"].get("file_storage/queue").is_some()
            && routers["extensions"].get("file_storage/queue").is_none()
    );
}

#[test]
fn what_does_not_fit_a_config_map_is_refused_with_its_size() {
    let routes: Vec<_> = (0..100).map(|at| format!("{{route: /{}{at}, ratio: 0.1}}", "x".repeat(900))).collect();
    let mut world = many(12, &format!("{{ratio: 0.5, routes: [{}]}}", routes.join(", ")));
    let plan = collector(&mut world, "{allowedNamespaces: {from: All}}");
    assert!(plan.configurations.is_empty());
    let finding = &plan.findings[0];
    assert_eq!(finding.code, Code::TRC0606);
    assert!(
        finding.message.contains("1000000 are possible") && finding.message.contains("ns-2/p-"),
        "{}",
        finding.message
    );
    let mut fits = many(4, &format!("{{ratio: 0.5, routes: [{}]}}", routes.join(", ")));
    let plan = collector(&mut fits, "{allowedNamespaces: {from: All}}");
    assert!(plan.configurations[0].text.starts_with('{'), "large ones are written in the shortest form");
}

#[test]
fn one_policy_that_is_too_large_does_not_silence_the_others() {
    let routes: Vec<_> = (0..100).map(|at| format!("{{route: /{}{at}, ratio: 0.1}}", "x".repeat(900))).collect();
    let targets: Vec<_> = (0..20).map(|at| format!("{{kind: Job, name: j-{at}}}")).collect();
    let rules = format!("{{ratio: 0.5, routes: [{}]}}", routes.join(", "));
    let big = policy_at("big", &tail(&format!("[{}]", targets.join(", ")), &rules), "a", None);
    let good = policy_at("good", &tail("[{kind: Job, name: web}]", "{ratio: 0.5}"), "b", None);
    let mut world = snapshot(vec![big, good], &[]);
    let plan = collector(&mut world, "{allowedNamespaces: {from: All}}");
    assert_eq!(ruled(&file(&plan, Tier::Collector)), ["b/web"]);
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].code, Code::TRC0305);
    assert_eq!(plan.findings[0].object.as_ref().unwrap().name, "big");
}

#[test]
fn names_follow_the_version() {
    let mut world = many(1, "{ratio: 0.5}");
    let names = |world: &mut Snapshot, version: &str| {
        let plan = collector(
            world,
            &format!("{{version: {version}, spanMetrics: {{}}, scrub: {{truncate: {{url.full: 9}}}}}}"),
        );
        file(&plan, Tier::Collector)
    };
    let new = names(&mut world, "0.155.0");
    assert!(new["exporters"].get("otlp_grpc/tempo").is_some() && new["connectors"].get("span_metrics").is_some());
    let old = names(&mut world, "0.143.0");
    assert!(old["exporters"].get("otlp/tempo").is_some() && old["connectors"].get("spanmetrics").is_some());
    let scrub = old["processors"]["transform/scrub"].to_string();
    assert!(!scrub.contains("true)") && scrub.contains("FFFD"), "Substring could not spare characters: {scrub}");
}
