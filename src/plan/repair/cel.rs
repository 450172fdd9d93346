//! The repairs as rules that the API server runs itself: a MutatingAdmissionPolicy, and the conditions under which a
//! webhook is asked where that kind is not served. They say word for word what [`super::repair`] does.

use serde_json::{Value, json};

use crate::{
    api::MANAGER_INJECTED,
    index::{ENV_NAMES, MANAGED_BY, MANAGED_BY_LABEL},
};

/// The name of the MutatingAdmissionPolicy and of its binding.
pub const POLICY_NAME: &str = "tracesteward-repair";

const GROUP: &str = "admissionregistration.k8s.io";

/// The MutatingAdmissionPolicy and its binding, in this version of `admissionregistration.k8s.io` (`v1`, or the whole
/// `admissionregistration.k8s.io/v1`). It leaves `kube-*` and the operator's own namespace alone.
pub fn policies(api_version: &str, own_namespace: &str) -> Vec<Value> {
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": format!("{GROUP}/{version}"),
            "kind": kind,
            "metadata": {"name": POLICY_NAME, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
            "spec": spec,
        })
    };
    let variable = |(name, expression): (&str, String)| json!({"name": name, "expression": expression});
    vec![
        object(
            "MutatingAdmissionPolicy",
            json!({
                "failurePolicy": "Ignore",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": rules()},
                "matchConditions": match_conditions(own_namespace),
                "variables": variables().map(variable),
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": OPERATIONS}}],
            }),
        ),
        object("MutatingAdmissionPolicyBinding", json!({"policyName": POLICY_NAME})),
    ]
}

/// The rules (`rules` of a webhook, `resourceRules` of a policy) that say which requests it is about at all.
pub fn rules() -> Vec<Value> {
    let rule = |group: &str, resources: &[&str]| {
        json!({
            "apiGroups": [group], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": resources,
            "scope": "Namespaced",
        })
    };
    vec![rule("apps", &["deployments", "statefulsets", "daemonsets"]), rule("batch", &["cronjobs"])]
}

/// `matchConditions`: true only for updates that the API server would refuse without a repair. Nothing in them is newer
/// than Kubernetes 1.30.
pub fn match_conditions(own_namespace: &str) -> Vec<Value> {
    let condition = |name: &str, expression: String| json!({"name": name, "expression": expression});
    let (new, old) = (containers("object"), containers("oldObject"));
    let names = ENV_NAMES.map(quoted).join(", ");
    vec![
        condition(
            "outside-of-system-namespaces",
            format!("!request.namespace.startsWith('kube-') && request.namespace != {}", quoted(own_namespace)),
        ),
        condition(
            "has-fields-of-the-operator",
            format!(
                "has(object.metadata.managedFields) && object.metadata.managedFields.exists(m, m.manager == {})",
                quoted(MANAGER_INJECTED)
            ),
        ),
        condition(
            "would-be-refused",
            format!(
                "{new}.exists(c, {NO_IMAGE} && {old}.exists(o, {HAD_IMAGE})) || \
                 {new}.exists(c, has(c.env) && c.env.exists(e, {BOTH_FORMS} && e.name in [{names}]))"
            ),
        ),
    ]
}

const NO_IMAGE: &str = "(!has(c.image) || c.image == '')";
const HAD_IMAGE: &str = "o.name == c.name && has(o.image) && o.image != ''";
const BOTH_FORMS: &str = "has(e.value) && e.value != '' && has(e.valueFrom)";

/// Indices move where an element before is removed: the n-th container to go is found n places further up.
const OPERATIONS: &str = "variables.forms.map(path, JSONPatch{op: 'remove', path: path}) + \
    variables.stubs.transformList(n, at, \
    JSONPatch{op: 'remove', path: '/' + variables.path.join('/') + '/containers/' + string(at - n)})";

fn variables() -> [(&'static str, String); 7] {
    let is_ours = format!("m.manager == {} && m.operation == 'Apply'", quoted(MANAGER_INJECTED));
    let owners = |which: &str| {
        let step = |name: &str| format!("[?'f:{name}']");
        let steps = |path: [&str; 3]| path.map(step).concat();
        let (plain, cron) = (steps(["template", "spec", "containers"]), steps(["spec", "template", "spec"]));
        format!(
            "object.metadata.managedFields.filter(m, m.?subresource.orValue('') == '' && {which}).map(m, \
             request.kind.kind == 'CronJob' \
             ? m.?fieldsV1[?'f:spec'][?'f:jobTemplate']{cron}[?'f:containers'].orValue({{}}) \
             : m.?fieldsV1[?'f:spec']{plain}.orValue({{}}))"
        )
    };
    let names = ENV_NAMES.map(quoted).join(", ");
    let only_us = |path: &str| {
        format!("variables.ours.exists(m, m{path}.hasValue()) && !variables.others.exists(m, m{path}.hasValue())")
    };
    let (container, variable) = ("[?'k:{\"name\":\"' + c.name + '\"}']", "[?'k:{\"name\":\"' + e.name + '\"}']");
    let held = |form: &str| only_us(&format!("{container}[?'f:env']{variable}[?'f:{form}']"));
    let had = |form: &str| {
        format!(
            "variables.old.exists(o, o.name == c.name && has(o.env) && o.env.exists(p, p.name == e.name && {form}))"
        )
    };
    let (had_source, had_value) = (had("has(p.valueFrom)"), had("has(p.value) && p.value != ''"));
    let (our_source, our_value) = (held("valueFrom"), held("value"));
    let surplus = format!("({had_source} ? {our_source} : ({had_value} && {our_value}))");
    [
        (
            "path",
            "request.kind.kind == 'CronJob' ? ['spec', 'jobTemplate', 'spec', 'template', 'spec'] \
             : ['spec', 'template', 'spec']"
                .to_owned(),
        ),
        ("containers", containers("object")),
        ("old", containers("oldObject")),
        ("ours", owners(&is_ours)),
        ("others", owners(&format!("!({is_ours})"))),
        (
            "forms",
            format!(
                "variables.containers.transformList(i, c, c.?env.orValue([]).transformList(j, e, \
                 e.name in [{names}] && {BOTH_FORMS} && {surplus}, \
                 '/' + variables.path.join('/') + '/containers/' + string(i) + '/env/' + string(j) + \
                 ({had_source} ? '/valueFrom' : '/value'))).flatten()"
            ),
        ),
        (
            "stubs",
            format!(
                "variables.containers.transformList(i, c, {NO_IMAGE} && variables.old.exists(o, {HAD_IMAGE}) && {}, i)",
                only_us(container)
            ),
        ),
    ]
}

/// The list of containers of `object` or `oldObject`.
fn containers(object: &str) -> String {
    format!(
        "(request.kind.kind == 'CronJob' ? {object}.spec.jobTemplate.spec.template.spec.containers \
         : {object}.spec.template.spec.containers)"
    )
}

/// A literal of CEL. What comes here are names of Kubernetes objects and variables, and nothing is trusted with that.
fn quoted(text: &str) -> String {
    let plain = text.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter));
    format!("'{}'", plain.collect::<String>())
}
