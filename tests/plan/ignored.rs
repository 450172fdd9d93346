//! What an object's annotation leaves out, in statuses as on the command line.

use serde_json::{Value, json};
use tracesteward::api::{TracingPolicyStatus, condition as types};
use tracesteward::index::{Change, IGNORE, Policy, SecretState};
use tracesteward::plan::{plan, read_collector, read_policy};

use super::common::{NAMESPACE, Tracked, deployment, policy_object, read, snapshot, yaml};

const WARNED: &str = "{enabled: true, targets: [{kind: Deployment, name: web}, {kind: Deployment, name: gone}], \
    containers: [app, other], export: {endpoint: 'http://c:4317', protocol: http/protobuf, headersSecretRef: {name: s}}}";

fn policy(ignore: Option<&str>) -> Policy {
    let mut object = policy_object("p", &yaml(WARNED), NAMESPACE, None);
    object["metadata"]["annotations"] = json!({(IGNORE): ignore.unwrap_or_default()});
    read_policy(&object, NAMESPACE)
}

fn workload(ignore: Option<&str>) -> Value {
    let mut object =
        deployment("{}", "[{name: app, envFrom: [{secretRef: {name: a}}], env: [{name: OTEL_SERVICE_NAME}]}]");
    object["metadata"]["annotations"] = json!({(IGNORE): ignore.unwrap_or_default()});
    object
}

/// The codes that are found, and the status.
fn planned(policy: Policy, workload: &Value) -> (Vec<String>, TracingPolicyStatus) {
    let id = policy.id.clone();
    let mut snapshot = snapshot(vec![policy], std::slice::from_ref(workload));
    snapshot.namespaces.get_mut(NAMESPACE).unwrap().secrets.insert("s".to_owned(), SecretState::NotFound);
    let (plan, findings) = plan(&snapshot);
    let mut codes: Vec<_> = findings.iter().map(|finding| finding.code.to_string()).collect();
    codes.sort();
    (codes, plan.policies[&id].clone())
}

fn message(status: &TracingPolicyStatus, kind: &str) -> String {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap().message.clone()
}

fn reasons(status: &TracingPolicyStatus) -> Vec<&str> {
    status.attention.iter().map(|entry| entry.reason.as_str()).collect()
}

#[test]
fn statuses_say_what_the_command_line_says() {
    let (codes, status) = planned(policy(None), &workload(None));
    assert_eq!(codes, ["TRC0120", "TRC0201", "TRC0203", "TRC0204", "TRC0501", "TRC0503"]);
    assert!(message(&status, types::ACCEPTED).contains("TRC0120"));
    assert_eq!(reasons(&status), ["TargetNotFound", "ContainerNotFound", "Overridden", "EnvFromNotSeen"]);

    let (codes, status) = planned(policy(Some("TRC0120,TRC0203,TRC0204,TRC0201")), &workload(Some("TRC0501 TRC0503")));
    assert_eq!(codes, [""; 0]);
    assert_eq!(message(&status, types::ACCEPTED), "The policy is valid.");
    assert_eq!(reasons(&status), [""; 0]);
    // Facts stay.
    assert!(message(&status, types::RESOLVED_REFS).contains("Secret s does not exist"));
    assert_eq!(status.workloads.unwrap().overridden, 1);
}

#[test]
fn each_object_speaks_for_itself() {
    let (codes, _) = planned(policy(Some("TRC0501,TRC0503")), &workload(Some("TRC0120,TRC0203")));
    assert_eq!(codes, ["TRC0120", "TRC0201", "TRC0203", "TRC0204", "TRC0501", "TRC0503"]);
}

#[test]
fn words_without_effect_are_in_the_statuses_too() {
    let (codes, status) = planned(policy(Some("TRC0101")), &workload(Some("nonsense, TRC0503")));
    assert_eq!(codes.iter().filter(|code| *code == "TRC0133").count(), 2, "{codes:?}");
    assert!(
        message(&status, types::ACCEPTED)
            .contains("TRC0133: the annotation names a code that cannot be ignored: TRC0101")
    );
    assert!(reasons(&status).contains(&"IgnoredWithoutEffect") && !reasons(&status).contains(&"EnvFromNotSeen"));
    let collector = json!({"metadata": {"name": "c", "namespace": "n", "annotations": {(IGNORE): "TRC0614 TRC0601"}},
        "spec": {"sampling": {"decisionWait": "1500ms"}}});
    let codes: Vec<_> =
        read_collector(&collector, "n").findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["TRC0133", "TRC0601"], "the error stays, the warning goes");
}

#[test]
fn a_change_of_the_annotation_is_noticed() {
    let mut index = Tracked::new(None, []);
    index.update(Change::Policy(policy(None), None));
    assert!(index.update(Change::Policy(policy(None), None)).policies.is_empty());
    assert_eq!(index.update(Change::Policy(policy(Some("TRC0203")), None)).policies.len(), 1);
    let workload = |ignore| Change::Workload(read(&workload(ignore)), None);
    index.update(workload(None));
    assert_eq!(index.update(workload(Some("TRC0503"))).policies.len(), 1);
    assert!(index.update(workload(Some("TRC0503"))).policies.is_empty());
}
