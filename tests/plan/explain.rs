//! Why a workload is as it is: who set what, what lost, and every reason for which it may not be traced.

use std::collections::BTreeMap;

use serde_json::json;
use tracesteward::api::{Attention, TracingPolicyStatus};
use tracesteward::index::{Fault, Policy, SecretState, Snapshot, WorkloadId, WorkloadKind};
use tracesteward::plan::explain::{Explanation, Feed, State, Verdict, explain, explain_collector, explain_policy};
use tracesteward::plan::{plan, plan_workload, read_collector};

use super::common::{NAMESPACE, applied, cluster_policy, deployment, plain, policy, policy_at, snapshot, yaml};

const EXPORT: &str = "export: {endpoint: \"http://c:4317\"}";

fn web() -> WorkloadId {
    WorkloadId { namespace: NAMESPACE.to_owned(), kind: WorkloadKind::Deployment, name: "web".to_owned() }
}

fn explained(snapshot: &Snapshot) -> Explanation {
    explain(snapshot, &web()).expect("the workload is known")
}

fn enabled(name: &str, settings: &str) -> Policy {
    policy(name, &format!("{{enabled: true, {EXPORT}, {settings}}}"))
}

/// `Reason: message`.
fn reasons(explanation: &Explanation) -> Vec<String> {
    assert!(explanation.reasons.iter().all(|reason| !reason.help.is_empty()), "{:?}", explanation.reasons);
    explanation.reasons.iter().map(|reason| format!("{}: {}", reason.reason, reason.message)).collect()
}

fn reasons_of(policies: Vec<Policy>, object: &serde_json::Value) -> Vec<String> {
    reasons(&explained(&snapshot(policies, std::slice::from_ref(object))))
}

/// The only reason there is, with these words in it.
#[track_caller]
fn only(found: &[String], reason: &str, words: &[&str]) {
    let [one] = found else { panic!("{found:#?}") };
    assert!(one.starts_with(&format!("{reason}: ")), "{one}");
    for word in words {
        assert!(one.contains(word), "{word} is not in: {one}");
    }
}

/// The plain workload as the operator leaves it.
fn written(policies: &[Policy], object: &serde_json::Value) -> Snapshot {
    let before = snapshot(policies.to_vec(), std::slice::from_ref(object));
    let home = &before.namespaces[NAMESPACE];
    let planned = plan_workload(&before, home, &home.workloads[&web()]);
    snapshot(policies.to_vec(), &[applied(object, planned.intent())])
}

#[test]
fn three_layers_with_who_set_what_and_what_lost() {
    let platform = cluster_policy(
        "platform",
        "{defaults: {enabled: true, export: {endpoint: \"http://p:4317\", headersSecretRef: {name: token}}, sampling: {ratio: 0.1}, \
          service: {attributes: {team: platform, env: prod}}}, overrides: {limits: {queueSize: 1024}}}",
    );
    let whole = enabled("whole", "sampling: {profile: high}, limits: {queueSize: 4096}, propagators: [b3]");
    let named = policy(
        "named",
        "{enabled: true, targets: [{kind: StatefulSet}, {kind: Deployment, name: web, serviceName: shopfront}], \
          export: {endpoint: \"http://own:4318\"}, service: {name: other, attributes: {team: web}}}",
    );
    let explanation = explained(&snapshot(vec![platform, whole, named], &[plain()]));
    assert_eq!(explanation.verdict, Verdict::Traced);
    let order: Vec<_> = explanation
        .policies
        .iter()
        .map(|ranked| format!("{} {:?} {}", ranked.policy.name, ranked.part, ranked.before_next.unwrap_or("-")))
        .collect();
    assert_eq!(
        order,
        [
            "platform Overrides overrides of the cluster win over everything else",
            "named Policy it selects the workload by name",
            "whole Policy a TracingPolicy comes before the defaults of the cluster",
            "platform Defaults -",
        ]
    );
    let fields: Vec<String> = explanation
        .fields
        .iter()
        .map(|setting| {
            let origin = setting
                .origin
                .as_ref()
                .map_or_else(|| "-".to_owned(), |origin| format!("{} {}", origin.policy.name, origin.path));
            let value = setting.value.as_ref().map_or_else(|| "unset".to_owned(), ToString::to_string);
            let lost: Vec<_> = setting
                .lost
                .iter()
                .map(|lost| format!(" | {} of {}: {}", lost.value, lost.origin.policy.name, lost.why))
                .collect();
            format!("{} = {value} by {origin}{}", setting.field, lost.concat())
        })
        .collect();
    insta::assert_snapshot!(fields.join("\n"));
    let feeds: BTreeMap<_, _> =
        explanation.containers[0].variables.iter().map(|variable| (variable.name, variable.from.clone())).collect();
    let field = |name: &str| Feed::Field(name.to_owned());
    assert_eq!(feeds["OTEL_TRACES_SAMPLER_ARG"], [field("sampling.profile")]);
    assert_eq!(feeds["OTEL_BSP_MAX_QUEUE_SIZE"], [field("limits.queueSize")]);
    assert_eq!(feeds["OTEL_SERVICE_NAME"], [field("service.name")]);
    assert_eq!(feeds["OTEL_EXPORTER_OTLP_PROTOCOL"], [Feed::Derived("the endpoint's port".to_owned())]);
    // Every variable comes from somewhere.
    assert!(feeds.values().all(|feeds| !feeds.is_empty()), "{feeds:?}");
}

#[test]
fn what_is_in_force_is_what_the_plan_says() {
    // The value of each field that is one variable, against the variable.
    let policies = vec![
        cluster_policy(
            "c",
            "{defaults: {enabled: true, export: {endpoint: \"http://c:4317\", timeout: 3s}, sampling: {ratio: 0.5}}}",
        ),
        policy("p", "{enabled: true, export: {inherit: true}, limits: {spanEvents: 7}}"),
    ];
    let explanation = explained(&snapshot(policies, &[plain()]));
    let value = |field: &str| {
        let setting =
            explanation.fields.iter().find(|setting| setting.field == field).unwrap_or_else(|| panic!("{field}"));
        (setting.value.clone().unwrap(), setting.origin.clone().unwrap().policy.name)
    };
    assert_eq!(value("export.endpoint"), (json!("http://c:4317"), "c".to_owned()));
    assert_eq!(value("export.inherit"), (json!(true), "p".to_owned()));
    assert_eq!(value("sampling.ratio"), (json!(0.5), "c".to_owned()));
    assert_eq!(value("limits.spanEvents"), (json!(7), "p".to_owned()));
    assert!(explanation.fields.iter().all(|setting| setting.lost.is_empty()), "{:?}", explanation.fields);
}

#[test]
fn nothing_selects_it_and_the_nearest_miss_is_named() {
    only(&reasons_of(vec![], &plain()), "NotSelected", &["there is none in the namespace shop"]);
    let object = deployment("{labels: {app: web, tier: front}}", "[{name: app}]");
    let near = |targets: &str| reasons_of(vec![enabled("p", &format!("targets: [{targets}]"))], &object);
    only(&near("{kind: Deployment, name: wev}"), "NotSelected", &["p: spec.targets[0] names Deployment wev, not web"]);
    only(
        &near("{kind: StatefulSet, name: web}"),
        "NotSelected",
        &["is about the kind StatefulSet web, not Deployment"],
    );
    only(&near("{kind: Job, name: web}"), "NotSelected", &["is about the kind Job web, not Deployment"]);
    only(
        &near("{kind: Deployment, selector: {matchLabels: {app: api, tier: front, zone: a}}}"),
        "NotSelected",
        &["label app is web, not api, label zone is missing (wanted: a)"],
    );
    let expressions = "{kind: Deployment, selector: {matchExpressions: [{key: app, operator: In, values: [a, b]}, {key: tier, operator: DoesNotExist}, \
        {key: zone, operator: Exists}, {key: tier, operator: NotIn, values: [front]}]}}";
    only(
        &near(expressions),
        "NotSelected",
        &[
            "label app is web, not one of a, b",
            "label tier is there (front)",
            "label zone is missing",
            "label tier is front, which is excluded",
        ],
    );
    // The nearest comes first.
    let both = reasons_of(
        vec![enabled("far", "targets: [{kind: CronJob}]"), enabled("near", "targets: [{kind: Deployment, name: wbe}]")],
        &object,
    );
    assert!(both[0].contains("Nearest: TracingPolicy near"), "{both:?}");
    let elsewhere = policy_at(
        "p",
        &format!("{{enabled: true, {EXPORT}, targets: [{{kind: Deployment, name: web}}]}}"),
        "other",
        None,
    );
    only(&reasons_of(vec![elsewhere], &object), "NotSelected", &["names it, but is in the namespace other"]);
}

#[test]
fn a_cluster_policy_that_nearly_selects_it() {
    let defaults = "defaults: {enabled: true, export: {endpoint: \"http://c:4317\"}}";
    let other = cluster_policy("c", &format!("{{namespaceSelector: {{matchLabels: {{team: shop}}}}, {defaults}}}"));
    let mut seen = snapshot(vec![other], &[plain()]);
    only(
        &reasons(&explained(&seen)),
        "NotSelected",
        &["does not select the namespace shop: label team is missing", "not known here"],
    );
    seen.namespaces.get_mut(NAMESPACE).unwrap().labels = Some(BTreeMap::from([("team".to_owned(), "pay".to_owned())]));
    only(&reasons(&explained(&seen)), "NotSelected", &["label team is pay, not shop"]);
    let overrides = cluster_policy("c", "{overrides: {sampling: {ratio: 0.1}}}");
    only(&reasons_of(vec![overrides], &plain()), "NotSelected", &["with overrides alone"]);
}

#[test]
fn it_is_switched_off() {
    only(
        &reasons_of(vec![policy("p", "{enabled: false}")], &plain()),
        "Disabled",
        &["TracingPolicy p at spec.enabled"],
    );
    let switch = cluster_policy("c", "{overrides: {enabled: false}}");
    let found = reasons_of(vec![switch, enabled("p", "")], &plain());
    only(
        &found,
        "DisabledByCluster",
        &["ClusterTracingPolicy c at spec.overrides.enabled", "overrules TracingPolicy p"],
    );
    let silent = cluster_policy("c", "{defaults: {sampling: {ratio: 0.1}}}");
    only(&reasons_of(vec![silent], &plain()), "Disabled", &["Nothing that is about it says"]);
}

#[test]
fn it_is_held() {
    let invalid = policy("p", "{enabled: true}");
    let explanation = explained(&snapshot(vec![invalid], &[plain()]));
    only(&reasons(&explanation), "PolicyInvalid", &["TracingPolicy p", "TRC0101"]);
    assert_eq!(explanation.policies[0].errors.len(), 1);
    let with = |export: &str| policy("p", &format!("{{enabled: true, export: {{{export}}}}}"));
    let found = |export: &str| reasons_of(vec![with(export)], &plain());
    only(&found("collectorRef: {name: gateway}"), "CollectorNotFound", &["TracingCollector shop/gateway"]);
    only(&found("inherit: true"), "NothingToInherit", &["no ClusterTracingPolicy"]);
    let hosts = cluster_policy("c", "{overrides: {allowedEndpointHosts: [good]}}");
    only(
        &reasons_of(vec![hosts, enabled("p", "")], &plain()),
        "HostNotAllowed",
        &["ClusterTracingPolicy c does not allow"],
    );
    let batch = enabled("batch", "targets: [{kind: Deployment, name: web}], limits: {batchSize: 900}");
    let queue = enabled("queue", "limits: {queueSize: 600, batchSize: 500}");
    only(&reasons_of(vec![batch, queue], &plain()), "SettingsDisagree", &["limits.batchSize and limits.queueSize"]);
}

#[test]
fn the_collector_keeps_it_out() {
    let collector = |spec: &str| {
        read_collector(
            &json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
            "metadata": {"name": "gateway", "namespace": "obs"}, "spec": yaml(spec)}),
            "obs",
        )
    };
    let exporting = policy("p", "{enabled: true, export: {collectorRef: {name: gateway, namespace: obs}}}");
    let found = |spec: &str| {
        let mut seen = snapshot(vec![exporting.clone()], &[plain()]);
        let made = collector(spec);
        seen.namespaces.get_mut(NAMESPACE).unwrap().labels =
            Some(BTreeMap::from([("team".to_owned(), "shop".to_owned())]));
        seen.collectors.insert(made.id.clone(), made);
        explained(&seen)
    };
    let backends = "backends: [{name: b, endpoint: \"http://b:4317\"}]";
    only(
        &reasons(&found(&format!("{{{backends}}}"))),
        "CollectorNotPermitted",
        &["it takes those of its own namespace"],
    );
    let selector = format!(
        "{{{backends}, allowedNamespaces: {{from: Selector, selector: {{matchLabels: {{tracing: \"on\"}}}}}}}}"
    );
    only(&reasons(&found(&selector)), "CollectorNotPermitted", &["label tracing is missing (wanted: on)"]);
    only(&reasons(&found("{backends: []}")), "CollectorInvalid", &["has errors"]);
    let open = found(&format!("{{{backends}, allowedNamespaces: {{from: All}}}}"));
    let last = reasons(&open).pop().unwrap();
    assert!(last.starts_with("CollectorNotReady: TracingCollector obs/gateway has no ready pods"), "{last}");
}

#[test]
fn containers_and_the_users_own_variables() {
    let object = deployment("{}", "[{name: app}, {name: istio-proxy}]");
    let settled = |policies: &[Policy], object| reasons(&explained(&written(policies, object)));
    only(&settled(&[enabled("p", "")], &object), "ContainerNotSelected", &["istio-proxy", "known sidecar"]);
    let listed = settled(&[enabled("p", "containers: [other]")], &object);
    assert!(listed[0].starts_with("NoContainerSelected") && listed.len() == 3, "{listed:#?}");
    assert!(listed[2].contains("the setting `containers` does not name it"), "{listed:#?}");
    for (variable, reason) in [
        ("OTEL_SDK_DISABLED", "SdkDisabled"),
        ("OTEL_TRACES_EXPORTER", "OwnExporter"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "OwnEndpoint"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OwnEndpoint"),
        ("OTEL_TRACES_SAMPLER", "OwnSampler"),
    ] {
        let own = deployment("{}", &format!("[{{name: app, env: [{{name: {variable}, value: private-value}}]}}]"));
        let seen = written(&[enabled("p", "sampling: {ratio: 0.5}")], &own);
        let explanation = explained(&seen);
        only(&reasons(&explanation), reason, &[variable, "Container app"]);
        assert!(!format!("{explanation:?}").contains("private-value"), "values of the user's are never kept");
        let is_switch = ["OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"].contains(&variable);
        assert_eq!(explanation.summary.starts_with("Traced"), !is_switch, "{}", explanation.summary);
        assert_eq!(explanation.summary.contains(variable), is_switch, "{}", explanation.summary);
        let help = &explanation.reasons[0].help;
        assert_eq!(help.contains("the policy's takes its place"), reason != "SdkDisabled", "{variable}: {help}");
        assert_eq!(explanation.containers[0].withheld.is_empty(), variable == "OTEL_SDK_DISABLED", "{variable}");
    }
    let twice = deployment("{}", "[{name: app, env: [{name: A, value: a}, {name: A, value: b}]}]");
    only(&settled(&[enabled("p", "")], &twice), "DuplicateVariables", &["lists A more than once"]);
    let from = deployment("{}", "[{name: app, envFrom: [{configMapRef: {name: a}}]}]");
    only(&settled(&[enabled("p", "")], &from), "EnvFromNotSeen", &["envFrom"]);
}

#[test]
fn withheld_variables_say_why() {
    let own = deployment("{}", "[{name: app, env: [{name: OTEL_TRACES_SAMPLER_ARG, value: x}]}]");
    let explanation = explained(&snapshot(vec![enabled("p", "sampling: {ratio: 0.5}")], &[own]));
    let withheld: Vec<_> = explanation.containers[0]
        .withheld
        .iter()
        .map(|one| (one.name, one.because.clone(), one.rule.is_some()))
        .collect();
    let because = vec!["OTEL_TRACES_SAMPLER_ARG"];
    assert_eq!(withheld, [("OTEL_TRACES_SAMPLER", because.clone(), true), ("OTEL_TRACES_SAMPLER_ARG", because, true)]);
}

#[test]
fn settings_that_write_nothing_or_sample_nothing() {
    let settled = |settings: &str| reasons(&explained(&written(&[enabled("p", settings)], &plain())));
    assert!(settled("").is_empty());
    only(&settled("sampling: {ratio: 0}"), "HeadRatioZero", &["TracingPolicy p at spec.sampling.ratio"]);
    only(&settled("sampling: {profile: none}"), "HeadRatioZero", &["spec.sampling.profile"]);
    only(&settled("sampling: {ratio: 0}"), "HeadRatioZero", &["only traces that a caller has sampled are continued"]);
    only(&settled("sampling: {ratio: 0, parentBased: false}"), "HeadRatioZero", &["not even for traces that a caller"]);
    let off = |containers: &str| {
        let object = deployment("{}", containers);
        reasons(&explained(&written(&[enabled("p", "sampling: {ratio: 0}")], &object)))
    };
    let own = "{name: app, env: [{name: OTEL_TRACES_SAMPLER, value: always_on}]}";
    only(&off(&format!("[{own}]")), "OwnSampler", &[]);
    let both = off(&format!("[{own}, {{name: other}}]"));
    assert!(both.len() == 2 && both[1].contains("except in container app"), "{both:#?}");
    only(&settled("injection: {mode: None}"), "NotInjected", &["TracingPolicy p at spec.injection.mode"]);
    only(
        &settled("injection: {mode: Pod}"),
        "InjectedAtPods",
        &["TracingPolicy p at spec.injection.mode", "never afterwards"],
    );
}

#[test]
fn what_is_never_touched() {
    let mut object = plain();
    object["metadata"]["namespace"] = "kube-system".into();
    let seen = snapshot(vec![], &[object]);
    let id = WorkloadId { namespace: "kube-system".to_owned(), ..web() };
    only(&reasons(&explain(&seen, &id).unwrap()), "NamespaceExcluded", &["kube-system"]);
    let mut object = plain();
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "name": "c", "uid": "2"}]);
    only(&reasons_of(vec![enabled("p", "")], &object), "IsCollector", &["never injected"]);
    assert!(explain(&Snapshot::default(), &web()).is_none());
}

#[test]
fn writes_that_are_due_and_writes_that_fail() {
    let mut seen = snapshot(vec![enabled("p", "")], &[plain()]);
    only(&reasons(&explained(&seen)), "WritePending", &["does not carry yet"]);
    let fault = Fault { reason: "Conflict".to_owned(), message: "owned by argocd".to_owned() };
    seen.namespaces.get_mut(NAMESPACE).unwrap().faults.insert(web(), fault);
    let found = reasons(&explained(&seen));
    assert!(found[0].starts_with("WriteFailed: ") && found[0].contains("Conflict: owned by argocd"), "{found:?}");
    // What the operator has reported, where only the API server is asked.
    let mut reported = enabled("p", "");
    let entry = Attention {
        kind: "Deployment".into(),
        name: "web".into(),
        reason: "Forbidden".into(),
        message: "no right".into(),
    };
    let overridden = Attention { reason: "Overridden".into(), ..entry.clone() };
    reported.status =
        Some(TracingPolicyStatus { attention: vec![overridden, entry], ..TracingPolicyStatus::default() });
    let found = reasons_of(vec![reported], &plain());
    assert!(found[0].contains("Forbidden: no right") && found.len() == 2, "{found:?}");
    // Of files nothing is expected.
    let mut files = snapshot(vec![enabled("p", "")], &[plain()]);
    files.assumes_permission = true;
    assert!(explained(&files).reasons.is_empty());
}

#[test]
fn what_is_there_is_compared_with_what_should_be() {
    let before = written(&[enabled("p", "sampling: {ratio: 0.5}, limits: {spanEvents: 7}")], &plain());
    let mut seen = before.clone();
    let home = seen.namespaces.get_mut(NAMESPACE).unwrap();
    home.policies.insert("p".to_owned(), enabled("p", "sampling: {ratio: 0.25}, propagators: [b3]"));
    let container = explained(&seen).containers.remove(0);
    let state = |name: &str| container.variables.iter().find(|known| known.name == name).unwrap().state.clone();
    assert_eq!(state("OTEL_TRACES_SAMPLER"), State::InPlace);
    assert!(matches!(state("OTEL_TRACES_SAMPLER_ARG"), State::ToChange(_)));
    assert_eq!(container.leaving, ["OTEL_SPAN_EVENT_COUNT_LIMIT"]);
    // Held: what is there stays.
    let home = seen.namespaces.get_mut(NAMESPACE).unwrap();
    home.policies.insert("p".to_owned(), policy("p", "{enabled: true}"));
    let container = explained(&seen).containers.remove(0);
    assert!(container.leaving.is_empty() && container.variables.iter().all(|known| known.state == State::Kept));
    assert!(container.variables.iter().any(|known| known.name == "OTEL_SPAN_EVENT_COUNT_LIMIT"));
}

#[test]
fn a_secret_that_is_missing() {
    let with = policy("p", "{enabled: true, export: {endpoint: \"http://c:4317\", headersSecretRef: {name: token}}}");
    for (state, expected) in [
        (SecretState::NotFound, Some("SecretNotFound")),
        (SecretState::KeyMissing, Some("SecretKeyMissing")),
        (SecretState::Present, None),
        (SecretState::Unverified, None),
    ] {
        let mut seen = written(std::slice::from_ref(&with), &plain());
        seen.namespaces.get_mut(NAMESPACE).unwrap().secrets.insert("token".to_owned(), state);
        let found: Vec<_> = explained(&seen).reasons.iter().map(|reason| reason.reason).collect();
        assert_eq!(found, Vec::from_iter(expected));
    }
}

#[test]
fn policies_and_collectors_say_whom_they_reach() {
    let whole = enabled("whole", "");
    let named = policy(
        "named",
        "{enabled: true, targets: [{kind: Deployment, name: web}], export: {collectorRef: {name: gateway}}, \
        sampling: {tail: {ratio: 0.5}}}",
    );
    let over = cluster_policy("over", "{overrides: {sampling: {tail: {keep: {errors: true}}}}}");
    let mut seen = snapshot(vec![whole, named, over], &[plain()]);
    let gateway = read_collector(
        &json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": NAMESPACE}, "spec": {"sampling": {"baselineRatio": 0.2}, "backends": [{"name": "b", "endpoint": "http://b:4317"}]}}),
        NAMESPACE,
    );
    seen.collectors.insert(gateway.id.clone(), gateway.clone());
    let made = plan(&seen).0;
    let of = |name: &str| {
        let id = seen.policies().find(|policy| policy.id.name == name).unwrap().id.clone();
        explain_policy(&seen, &made, &id).unwrap().workloads.remove(0)
    };
    let lost = of("whole");
    let (by, why) = lost.beaten_by.unwrap();
    assert_eq!((lost.won, by.name.as_str(), why), (false, "named", "it selects the workload by name"));
    let won = of("named");
    assert!(won.won && won.beaten_by.is_none() && won.overridden_by[0].name == "over");
    assert!(!of("over").won && of("over").overridden_by.is_empty());
    let explanation = explain_collector(&seen, &made, &gateway.id).unwrap();
    // The one that comes first, and the one whose rules are the strongest.
    let policies: Vec<_> = explanation.policies.iter().map(|id| id.name.as_str()).collect();
    assert_eq!(policies, ["over", "named"]);
    assert_eq!(
        (explanation.services[0].name.as_str(), explanation.services[0].tail.ratio.map(|ratio| ratio.0)),
        ("web", Some(0.5))
    );
    assert_eq!(explanation.baseline.map(|ratio| ratio.0), Some(0.2));
    assert_eq!(explanation.configurations[0].1.len(), 10);
    assert!(
        explanation
            .objects
            .iter()
            .any(|(kind, name, there)| kind == "Deployment" && name == "gateway-collector" && !there)
    );
}
