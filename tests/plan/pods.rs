//! Pods as they are created: whose they are, what is done to them, and in which namespaces anybody looks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use tracesteward::api::{CONFIGURATION_ANNOTATION, CONTAINERS_ANNOTATION};
use tracesteward::index::{Change, Child, Index, LivingPod, Snapshot, Source, Watched, WorkloadId, WorkloadKind};
use tracesteward::plan::pod::{namespaces, plan_pod};
use tracesteward::plan::{Planner, plan};

use super::common::{NAMESPACE, cluster_policy, deployment, plain, policy, read, snapshot, workload_object, yaml};

const ON: &str = "enabled: true, export: {endpoint: \"http://c:4317\"}";

fn enabled(more: &str) -> String {
    format!("{{{ON}{more}}}")
}

/// A pod with one container `app`; `metadata` in YAML.
fn pod(metadata: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": yaml(metadata),
        "spec": {"containers": [{"name": "app", "image": "registry:5000/shop/web:1.4@sha256:abc"}]}})
}

fn owned(api_version: &str, kind: &str, name: &str) -> Value {
    let mut pod = pod("{generateName: x-, labels: {pod-template-hash: abc12}}");
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": "1", "controller": true}]);
    pod
}

/// Applies a patch as far as these are made: additions.
fn patched(pod: &Value, operations: &[Value]) -> Value {
    let mut pod = pod.clone();
    for operation in operations {
        assert_eq!(operation["op"], "add");
        let (parent, step) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
        let step = step.replace("~1", "/").replace("~0", "~");
        let parent = pod.pointer_mut(parent).unwrap_or_else(|| panic!("{operation}: no such place"));
        match parent {
            Value::Array(list) if step == "-" => list.push(operation["value"].clone()),
            Value::Array(list) => list.insert(step.parse().unwrap(), operation["value"].clone()),
            object => object[step] = operation["value"].clone(),
        }
    }
    pod
}

fn value<'a>(pod: &'a Value, container: usize, name: &str) -> Option<&'a str> {
    let env = pod["spec"]["containers"][container]["env"].as_array()?;
    env.iter().find(|entry| entry["name"] == name)?["value"].as_str()
}

fn injected(snapshot: &Snapshot, pod: &Value) -> (WorkloadId, Value) {
    let plan = plan_pod(snapshot, NAMESPACE, pod).expect("the pod is injected");
    let patched = patched(pod, &plan.operations);
    // The API server asks again where another webhook has changed something.
    assert_eq!(plan_pod(snapshot, NAMESPACE, &patched), None, "{patched:#}");
    (plan.workload, patched)
}

#[test]
fn a_bare_pod_is_injected_in_place() {
    let seen = snapshot(vec![policy("p", &enabled(", sampling: {ratio: 0.5}"))], &[]);
    let mut bare = pod("{name: once, annotations: {\"a/b\": c}}");
    bare["spec"]["containers"][0]["env"] = yaml("[{name: A, value: b}, {name: OTEL_SERVICE_NAME, value: own}]");
    let (id, made) = injected(&seen, &bare);
    assert_eq!((id.kind, id.name.as_str()), (WorkloadKind::Pod, "once"));
    assert_eq!(value(&made, 0, "OTEL_EXPORTER_OTLP_ENDPOINT"), Some("http://c:4317"));
    assert_eq!((value(&made, 0, "A"), value(&made, 0, "OTEL_SERVICE_NAME")), (Some("b"), Some("own")));
    let attributes = value(&made, 0, "OTEL_RESOURCE_ATTRIBUTES").unwrap();
    assert!(attributes.ends_with("service.version=1.4"), "the tag of the image: {attributes}");
    assert!(!attributes.contains("k8s.deployment.name"), "{attributes}");
    let annotations = &made["metadata"]["annotations"];
    assert_eq!((&annotations["a/b"], &annotations[CONTAINERS_ANNOTATION]), (&json!("c"), &json!("app")));
    assert_eq!(annotations[CONFIGURATION_ANNOTATION].as_str().unwrap().len(), 16);
    // Nothing else.
    let mut rest = made.clone();
    rest["spec"]["containers"][0]["env"] = bare["spec"]["containers"][0]["env"].clone();
    rest["metadata"]["annotations"] = bare["metadata"]["annotations"].clone();
    assert_eq!(rest, bare);
}

#[test]
fn names_that_are_made_anew_for_each_pod_are_no_services() {
    let seen = snapshot(vec![policy("p", &enabled(""))], &[]);
    let name = |pod: &Value| value(&injected(&seen, pod).1, 0, "OTEL_SERVICE_NAME").unwrap().to_owned();
    assert_eq!(name(&pod("{name: once}")), "once");
    assert_eq!(name(&pod("{generateName: batch-}")), "batch");
    assert_eq!(name(&owned("argoproj.io/v1alpha1", "Workflow", "nightly")), "nightly");
    // The ReplicaSet of something that is no Deployment.
    let mut rollout = owned("apps/v1", "ReplicaSet", "web-abc12");
    assert_eq!(name(&rollout), "web");
    rollout["metadata"]["annotations"] = json!({"resource.opentelemetry.io/service.name": "named"});
    assert_eq!(name(&rollout), "named");
}

#[test]
fn whose_a_pod_is() {
    let everything = [plain(), workload_object("batch/v1", "CronJob", "nightly", &json!({"spec": {"containers": []}}))];
    let mut seen = snapshot(vec![policy("p", &enabled(", injection: {mode: Pod}"))], &everything);
    let whose = |seen: &Snapshot, pod: &Value| {
        let (id, made) = injected(seen, pod);
        (format!("{} {}", id.kind, id.name), value(&made, 0, "OTEL_RESOURCE_ATTRIBUTES").unwrap().to_owned())
    };
    let (id, attributes) = whose(&seen, &owned("apps/v1", "ReplicaSet", "web-abc12"));
    assert_eq!(id, "Deployment web", "by its name, where the ReplicaSet is newer than the index");
    assert!(attributes.contains("k8s.deployment.name=web"), "{attributes}");
    assert_eq!(whose(&seen, &owned("apps/v1", "ReplicaSet", "other-abc12")).0, "Pod x-");
    assert_eq!(whose(&seen, &owned("batch/v1", "Job", "nightly-29384756")).0, "CronJob nightly");
    assert_eq!(whose(&seen, &owned("batch/v1", "Job", "nightly-by-hand")).0, "Job nightly-by-hand");
    assert_eq!(whose(&seen, &owned("apps/v1", "StatefulSet", "db")).0, "StatefulSet db");
    let (id, attributes) = whose(&seen, &owned("apps/v1", "DaemonSet", "agent"));
    assert_eq!(id, "DaemonSet agent");
    assert!(attributes.contains("k8s.daemonset.name=agent"), "{attributes}");
    let mut fixed = owned("v1", "Node", "node0");
    assert_eq!(plan_pod(&seen, NAMESPACE, &fixed), None, "a static pod cannot be changed");
    fixed = pod("{name: a, annotations: {kubernetes.io/config.mirror: x}}");
    assert_eq!(plan_pod(&seen, NAMESPACE, &fixed), None);

    // What the index has heard counts more than names.
    let mut index = Index::new(None, [Source { watched: Watched::ReplicaSets, namespace: None }]);
    let own = |name: &str| (NAMESPACE.to_owned(), Child::Job(name.to_owned()), None);
    let child = (
        NAMESPACE.to_owned(),
        Child::ReplicaSet("web-abc12".to_owned()),
        Some(WorkloadId {
            namespace: NAMESPACE.to_owned(),
            kind: WorkloadKind::Deployment,
            name: "adopted".to_owned(),
        }),
    );
    let jobs = Source { watched: Watched::JobOwners, namespace: None };
    index.update(Change::Children(Source { watched: Watched::ReplicaSets, namespace: None }, vec![child]));
    index.update(Change::Children(jobs, vec![own("nightly-29384756")]));
    seen.namespaces.get_mut(NAMESPACE).unwrap().pods = index.snapshot().namespaces[NAMESPACE].pods.clone();
    assert_eq!(whose(&seen, &owned("apps/v1", "ReplicaSet", "web-abc12")).0, "Deployment adopted");
    assert_eq!(whose(&seen, &owned("batch/v1", "Job", "nightly-29384756")).0, "Job nightly-29384756");
}

#[test]
fn pods_whose_template_is_written_are_left_alone() {
    let everything = [plain(), workload_object("batch/v1", "CronJob", "nightly", &json!({"spec": {"containers": []}}))];
    let of = |settings: &str, pod: &Value| {
        let seen = snapshot(vec![policy("p", &format!("{{{settings}}}"))], &everything);
        plan_pod(&seen, NAMESPACE, pod).is_some()
    };
    let (web, nightly) = (owned("apps/v1", "ReplicaSet", "web-abc12"), owned("batch/v1", "Job", "nightly-29384756"));
    let job = owned("batch/v1", "Job", "once");
    for (mode, expected) in [("", [false, false, true]), ("Pod", [true; 3]), ("None", [false; 3])] {
        let mode = if mode.is_empty() { String::new() } else { format!(", injection: {{mode: {mode}}}") };
        let done = [&web, &nightly, &job].map(|pod| of(&format!("{ON}{mode}"), pod));
        assert_eq!(done, expected, "{mode}");
    }
    for off in ["enabled: false", "enabled: true", "enabled: true, export: {collectorRef: {name: nowhere}}"] {
        assert!(!of(off, &job), "{off}");
    }
    let targets = |targets: &str| format!("{ON}, targets: [{targets}]");
    assert!(!of(&targets("{kind: Deployment}"), &job));
    assert!(!of(&targets("{kind: Job, name: another}"), &job));
    assert!(of(&targets("{kind: Job, selector: {matchLabels: {pod-template-hash: abc12}}}"), &job));
    assert!(!of(&targets("{kind: Pod}"), &job));
    let mut collector = job;
    collector["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "tracesteward"});
    assert!(!of(ON, &collector), "the operator's own pods");
    let seen = snapshot(vec![policy("p", &enabled(""))], &[]);
    for odd in [
        json!(null),
        json!(1),
        json!({"spec": 1}),
        json!({"metadata": {"labels": 1}}),
        json!({"spec": {"containers": {}}}),
    ] {
        assert_eq!(plan_pod(&seen, NAMESPACE, &odd), None, "{odd}");
    }
}

#[test]
fn a_container_that_comes_later_is_injected_by_itself() {
    let seen = snapshot(vec![policy("p", &enabled(""))], &[]);
    let (_, mut made) = injected(&seen, &pod("{name: once}"));
    let before = made["spec"]["containers"][0].clone();
    made["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "late"}));
    made["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "image": "proxy"}));
    let (_, again) = injected(&seen, &made);
    assert_eq!(again["spec"]["containers"][0], before);
    assert_eq!(value(&again, 1, "OTEL_SERVICE_NAME"), Some("once"));
    assert_eq!(again["spec"]["containers"][2]["env"], json!(null), "known sidecars are not traced");
    assert_eq!(again["metadata"]["annotations"][CONTAINERS_ANNOTATION], "app,late");
}

#[test]
fn webhooks_are_asked_about_exactly_the_namespaces_that_need_it() {
    let in_force = |policies: Vec<_>| {
        let mut seen = snapshot(policies, &[plain()]);
        for name in ["kube-system", "home", "other"] {
            seen.namespaces.entry(name.to_owned()).or_default().labels = Some([].into());
        }
        seen.own_namespace = Some("home".to_owned());
        namespaces(&seen).into_iter().collect::<Vec<_>>().join(" ")
    };
    let by = |settings: &str| in_force(vec![policy("p", settings)]);
    assert_eq!(by(&enabled("")), NAMESPACE, "all workloads, Jobs and pods among them");
    assert_eq!(by(&enabled(", targets: [{kind: Deployment}, {kind: CronJob}]")), "");
    assert_eq!(by(&enabled(", targets: [{kind: Deployment}, {kind: Job}]")), NAMESPACE);
    assert_eq!(by(&enabled(", targets: [{kind: Pod, name: a}]")), NAMESPACE);
    assert_eq!(by(&enabled(", targets: [{kind: Deployment}], injection: {mode: Pod}")), NAMESPACE);
    assert_eq!(by(&enabled(", injection: {mode: None}")), "");
    assert_eq!(by("{enabled: false}"), "");
    assert_eq!(by("{enabled: true}"), "", "not valid");
    let above = |settings: &str| cluster_policy("above", settings);
    let defaults = format!("{{defaults: {}}}", enabled(""));
    assert_eq!(in_force(vec![above(&defaults)]), format!("other {NAMESPACE}"));
    let some = format!("{{namespaceSelector: {{matchLabels: {{a: b}}}}, defaults: {}}}", enabled(""));
    assert_eq!(in_force(vec![above(&some)]), "");
    let only = policy("p", &enabled(", targets: [{kind: Deployment}]"));
    assert_eq!(in_force(vec![above("{overrides: {injection: {mode: Pod}}}"), only.clone()]), NAMESPACE);
    assert_eq!(in_force(vec![above("{defaults: {injection: {mode: Pod}}}"), only.clone()]), NAMESPACE);
    assert_eq!(in_force(vec![above("{defaults: {sampling: {ratio: 1}}}"), only]), "");
    // What overrides say holds.
    let none = policy("p", &enabled(", injection: {mode: None}"));
    assert_eq!(in_force(vec![above("{overrides: {injection: {mode: Workload}}}"), none]), NAMESPACE);
    let on = format!("{{overrides: {}}}", enabled(""));
    assert_eq!(in_force(vec![above(&on), policy("p", "{enabled: false}")]), NAMESPACE);
}

/// What the index hears of a pod.
fn heard(pod: &Value) -> Change {
    let mut meta: ObjectMeta = serde_json::from_value(pod["metadata"].clone()).unwrap();
    meta.namespace = Some(NAMESPACE.to_owned());
    Change::Pod(Box::new(LivingPod::reduce(&meta).unwrap()))
}

#[test]
fn pods_without_the_settings_in_force_are_counted() {
    let mut index = Index::new(None, []);
    let mut planner = Planner::default();
    let mut take = |index: &mut Index, change: Change| {
        let mut dirty = index.update(change);
        planner.update(index.snapshot(), &mut dirty);
        let snapshot = index.snapshot();
        let found =
            snapshot.namespaces[NAMESPACE].policies.get("p").map(|policy| planner.report(snapshot, policy).status);
        // Kept up to date, or planned anew: the same.
        let whole = plan(snapshot).0.policies.into_iter().find(|(id, _)| id.name == "p").map(|(_, status)| status);
        assert_eq!(found, whole);
        let found = found.unwrap_or_default();
        let counts = found.workloads.unwrap_or_default();
        let said: Vec<String> =
            found.attention.iter().map(|said| format!("{} {}: {}", said.kind, said.name, said.message)).collect();
        ((counts.matched, counts.injected, counts.stale), said.join("\n"))
    };
    let mode = |more: &str| Change::Policy(policy("p", &enabled(&format!(", injection: {{mode: Pod}}{more}"))), None);
    take(&mut index, Change::Workload(read(&deployment("{}", "[{name: app, image: web}]")), None));
    assert_eq!(take(&mut index, mode("")), ((1, 1, 0), String::new()));
    let set = |name: &str| {
        let parent = read(&plain()).id;
        Change::Child(NAMESPACE.to_owned(), Child::ReplicaSet(name.to_owned()), Some(parent))
    };
    take(&mut index, set("web-abc12"));
    let mut first = owned("apps/v1", "ReplicaSet", "web-abc12");
    first["metadata"]["name"] = json!("web-abc12-1");
    let mut second = injected(index.snapshot(), &first).1;
    second["metadata"]["name"] = json!("web-abc12-2");
    assert_eq!(take(&mut index, heard(&second)), ((1, 1, 0), String::new()));
    let (counts, said) = take(&mut index, heard(&first));
    assert_eq!(counts, (1, 1, 1));
    assert!(said.starts_with("Deployment web: 1 of 2 pods were created without the settings"), "{said}");
    assert!(said.ends_with("kubectl rollout restart deployment/web."), "{said}");
    let (counts, said) = take(&mut index, mode(", propagators: [b3]"));
    assert_eq!(counts, (1, 0, 1), "no pod has them");
    assert!(
        said.contains("1 of 2 pods carry settings that are no longer in force, 1 were created without any"),
        "{said}"
    );
    // What decides nothing in a pod makes none of them older.
    take(&mut index, mode(""));
    assert_eq!(take(&mut index, mode(", sampling: {tail: {ratio: 0.5}}, rollout: {maxConcurrent: 3}")).0, (1, 1, 1));
    take(&mut index, Change::PodGone(NAMESPACE.to_owned(), "web-abc12-1".to_owned()));
    assert_eq!(take(&mut index, mode("")), ((1, 1, 0), String::new()));

    // Bare pods are workloads of their own.
    let bare = pod("{name: once}");
    assert_eq!(take(&mut index, heard(&bare)).0, (2, 1, 1));
    let anew = injected(index.snapshot(), &bare).1;
    assert_eq!(take(&mut index, heard(&anew)).0, (2, 2, 0));
    // One that is about to go counts no more.
    let mut going = anew.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(take(&mut index, heard(&going)).0, (1, 1, 0));
    assert_eq!(take(&mut index, heard(&anew)).0, (2, 2, 0));
    // Adopted: no workload of its own any more.
    let mut adopted = anew;
    adopted["metadata"]["ownerReferences"] = first["metadata"]["ownerReferences"].clone();
    assert_eq!(take(&mut index, heard(&adopted)).0.0, 1);
    let (counts, said) = take(&mut index, Change::Policy(policy("p", "{enabled: false}"), None));
    assert_eq!(counts, (1, 0, 1), "switched off, and two pods go on: {said}");
    assert!(said.contains("2 of 2 pods carry settings that are no longer in force"), "{said}");
    take(&mut index, Change::ChildGone(NAMESPACE.to_owned(), Child::ReplicaSet("web-abc12".to_owned())));
    let known = index.snapshot().namespaces[NAMESPACE].pods.configurations(&read(&plain()).id).count();
    assert_eq!(known, 0);
}

#[test]
fn instrumentation_comes_with_the_pod() {
    const MOUNT: &str = "/otel-auto-instrumentation-python";
    let settings = ", language: python, instrumentation: {image: \"agent:1\"}";
    let seen = snapshot(
        vec![policy("p", &format!("{{enabled: true, export: {{endpoint: \"http://c:4318\"}}{settings}}}"))],
        &[],
    );
    let mut bare = pod("{name: once}");
    bare["spec"]["containers"][0]["env"] = yaml("[{name: PYTHONPATH, value: \"/own:$(HOME)\"}]");
    bare["spec"]["containers"].as_array_mut().unwrap().push(yaml(
        "{name: other, image: other, volumeMounts: [{name: data, mountPath: /data}], env: [{name: PYTHONPATH, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}",
    ));
    bare["spec"]["volumes"] = yaml("[{name: data, emptyDir: {}}]");
    let (_, mut made) = injected(&seen, &bare);
    let path = format!("{MOUNT}/opentelemetry/instrumentation/auto_instrumentation:/own:$(HOME):{MOUNT}");
    assert_eq!(value(&made, 0, "PYTHONPATH"), Some(path.as_str()), "joined in its own place");
    let init = made["spec"]["initContainers"].clone();
    assert_eq!(
        (init.as_array().unwrap().len(), &init[0]["name"], &init[0]["image"]),
        (1, &json!("tracesteward-python"), &json!("agent:1"))
    );
    assert_eq!(made["spec"]["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], MOUNT);
    // Where the variable comes from elsewhere, nothing can be joined, and half an agent is worse than none.
    assert_eq!(made["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
    assert_eq!(value(&made, 1, "OTEL_SERVICE_NAME"), Some("once"));

    made["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "late"}));
    let (_, again) = injected(&seen, &made);
    assert_eq!(again["spec"]["containers"][0], made["spec"]["containers"][0], "not joined twice");
    assert_eq!(again["spec"]["containers"][2]["volumeMounts"][0]["mountPath"], MOUNT);
    assert_eq!((&again["spec"]["initContainers"], &again["spec"]["volumes"]), (&init, &made["spec"]["volumes"]));
}

#[test]
fn a_copy_of_an_injected_pod_gets_its_own_settings() {
    let of = |endpoint: &str, more: &str| {
        let settings = format!("{{enabled: true, export: {{endpoint: \"{endpoint}\"}}{more}}}");
        snapshot(vec![policy("p", &settings)], &[])
    };
    let agent = ", language: python, instrumentation: {image: \"agent:1\"}";
    let mut bare = pod("{name: once}");
    bare["spec"]["containers"][0]["env"] = yaml("[{name: PYTHONPATH, value: /own}, {name: A, value: b}]");
    let first = injected(&of("http://one:4318", &format!("{agent}, sampling: {{ratio: 0.5}}")), &bare).1;
    let second = injected(&of("http://two:4318", agent), &first).1;
    assert_eq!(value(&second, 0, "OTEL_EXPORTER_OTLP_ENDPOINT"), Some("http://two:4318"));
    assert_eq!((value(&second, 0, "OTEL_TRACES_SAMPLER"), value(&second, 0, "A")), (None, Some("b")));
    assert_eq!(value(&second, 0, "PYTHONPATH"), value(&first, 0, "PYTHONPATH"), "joined once");
    for list in ["initContainers", "volumes"] {
        assert_eq!(second["spec"][list], first["spec"][list]);
    }
    let mounts = |pod: &Value| pod["spec"]["containers"][0]["volumeMounts"].clone();
    assert_eq!(mounts(&second), mounts(&first));
    assert_eq!(second["metadata"]["annotations"][CONTAINERS_ANNOTATION], "app");
}

#[test]
fn pods_are_heard_of_before_their_replica_set() {
    for parentless_first in [true, false] {
        let mut index = Index::new(None, []);
        index.update(Change::Policy(policy("p", &enabled("")), None));
        let mut pod = owned("apps/v1", "ReplicaSet", "canary-abc12");
        pod["metadata"]["name"] = json!("canary-abc12-1");
        let set = Change::Child(NAMESPACE.to_owned(), Child::ReplicaSet("canary-abc12".to_owned()), None);
        let changes = if parentless_first { [set, heard(&pod)] } else { [heard(&pod), set] };
        for change in changes {
            index.update(change);
        }
        let known = &index.snapshot().namespaces[NAMESPACE];
        let ids: Vec<_> = known.workloads.keys().map(|id| format!("{} {}", id.kind, id.name)).collect();
        assert_eq!(ids, ["Pod canary-abc12-1"], "{parentless_first}");
        index.update(Change::PodGone(NAMESPACE.to_owned(), "canary-abc12-1".to_owned()));
        assert!(index.snapshot().namespaces[NAMESPACE].workloads.is_empty());
    }
}

#[test]
fn a_new_namespace_below_a_policy_of_the_cluster_is_asked_about() {
    let mut index = Index::new(None, []);
    let defaults = format!("{{defaults: {}}}", enabled(""));
    assert!(index.update(Change::Policy(cluster_policy("above", &defaults), None)).admission);
    let labels = std::collections::BTreeMap::from([("team".to_owned(), "x".to_owned())]);
    assert!(index.update(Change::Namespace("new".to_owned(), labels.clone().into())).admission);
    assert_eq!(namespaces(index.snapshot()).into_iter().collect::<Vec<_>>(), ["new"]);
    assert!(!index.update(Change::Namespace("new".to_owned(), labels.into())).admission);
    assert!(index.update(Change::NamespaceGone("new".to_owned())).admission);
    assert!(namespaces(index.snapshot()).is_empty());
}

#[test]
fn jobs_that_come_and_go_leave_collectors_alone() {
    let mut index = Index::new(None, []);
    let mut planner = Planner::default();
    let spec = "{enabled: true, export: {collectorRef: {name: gw}}, sampling: {tail: {ratio: 0.1}}}";
    let mut touched = |change: Change| {
        let mut dirty = index.update(change);
        planner.update(index.snapshot(), &mut dirty);
        !dirty.collectors.is_empty()
    };
    assert!(touched(Change::Policy(policy("p", spec), None)));
    let job = workload_object("batch/v1", "Job", "task-1", &json!({"spec": {"containers": [{"name": "app"}]}}));
    assert!(!touched(Change::Workload(read(&job), None)));
    assert!(!touched(heard(&pod("{name: once}"))));
    assert!(!touched(Change::WorkloadGone(read(&job).id)));
    assert!(touched(Change::Workload(read(&plain()), None)), "a Deployment is a service that stays");
}
