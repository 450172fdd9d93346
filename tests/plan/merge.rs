//! Several policies for one workload: what is in force, what holds it, and who is told.

use serde_json::Value;
use tracesteward::index::{Change, Policy, Snapshot};
use tracesteward::plan::{Decision, HoldReason, Unresolved, WorkloadPlan, plan, plan_workload};

use super::common::{Tracked, applied, cluster_policy, lines, plain, plan_of, policy, read, snapshot};

const EXPORT: &str = "export: {endpoint: \"http://team:4317\"}";
const BY_NAME: &str = "targets: [{kind: Deployment, name: web}]";

fn team(name: &str, settings: &str) -> Policy {
    let policy = policy(name, &format!("{{enabled: true, {EXPORT}, {settings}}}"));
    assert!(policy.is_valid(), "{settings}: {:?}", policy.findings);
    policy
}

fn cluster(name: &str, spec: &str) -> Policy {
    let policy = cluster_policy(name, spec);
    assert!(policy.is_valid(), "{spec}: {:?}", policy.findings);
    policy
}

/// The value of a variable in the first container.
fn value(plan: &WorkloadPlan, name: &str) -> Option<String> {
    let lines = lines(&plan.containers.first()?.variables);
    lines.iter().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

fn values(policies: Vec<Policy>, names: &[&str]) -> Vec<String> {
    let plan = plan_of(policies, &plain());
    assert_eq!(plan.decision, Decision::Inject);
    names.iter().map(|name| value(&plan, name).unwrap_or_else(|| "-".to_owned())).collect()
}

#[test]
fn weaker_policies_fill_in_what_stronger_ones_leave_open() {
    let whole = team("whole", "sampling: {ratio: 0.5, parentBased: false}, propagators: [b3], limits: {spanEvents: 7}");
    let named = team("named", &format!("{BY_NAME}, sampling: {{profile: high}}, limits: {{spanAttributes: 9}}"));
    let variables = [
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_PROPAGATORS",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    ];
    let expected = ["traceidratio", "0.01", "b3", "7", "9"];
    assert_eq!(values(vec![whole.clone(), named.clone()], &variables), expected);
    assert_eq!(values(vec![named, whole], &variables), expected);
}

#[test]
fn a_token_never_meets_an_endpoint_of_another_policy() {
    let whole = policy(
        "whole",
        "{enabled: true, export: {endpoint: \"http://a:4317\", headersSecretRef: {name: h}, timeout: 3s}, language: go}",
    );
    let named = team("named", BY_NAME);
    let plan = plan_of(vec![whole, named], &plain());
    let lines = lines(&plan.containers[0].variables);
    assert!(lines.iter().all(|line| !line.contains("HEADERS") && !line.contains("TIMEOUT")), "{lines:?}");
    assert_eq!(
        (value(&plan, "OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(), &plan.secret),
        (Some("http://team:4317"), &None)
    );
}

#[test]
fn defaults_are_the_weakest_and_overrides_the_strongest() {
    let defaults = cluster(
        "base",
        "{defaults: {enabled: true, export: {endpoint: \"http://platform:4317\"}, sampling: {ratio: 0.1}, service: {attributes: {a: base, b: base}}}}",
    );
    let overrides = cluster(
        "limits",
        "{priority: -5, overrides: {limits: {spanAttributes: 64}, service: {attributes: {b: limits}}}}",
    );
    let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"];
    assert_eq!(
        values(vec![defaults.clone()], &names),
        ["http://platform:4317", "0.1", "-"],
        "without any TracingPolicy"
    );
    let web = team("p", "sampling: {ratio: 0.3}, limits: {spanAttributes: 1000}, service: {attributes: {a: team}}");
    let all = vec![defaults.clone(), overrides.clone(), web];
    assert_eq!(values(all.clone(), &names), ["http://team:4317", "0.3", "64"]);
    let attributes = values(all, &["OTEL_RESOURCE_ATTRIBUTES"]).remove(0);
    assert!(attributes.starts_with("a=team,b=limits,"), "{attributes}");
    // Overrides touch nothing that nobody selects.
    let alone = plan_of(vec![overrides.clone()], &plain());
    assert_eq!((alone.decision, alone.winner, alone.overrides), (Decision::Withdraw, None, vec![]));
    assert_eq!(values(vec![defaults, overrides], &names), ["http://platform:4317", "0.1", "64"]);
}

#[test]
fn of_several_defaults_and_overrides_the_higher_priority_wins() {
    let block = |ratio: &str| {
        format!("{{enabled: true, export: {{endpoint: \"http://c:4317\"}}, sampling: {{ratio: {ratio}}}}}")
    };
    let defaults =
        |name, priority, ratio| cluster(name, &format!("{{priority: {priority}, defaults: {}}}", block(ratio)));
    let overrides =
        |name, priority, ratio| cluster(name, &format!("{{priority: {priority}, overrides: {}}}", block(ratio)));
    let ratio = |policies| values(policies, &["OTEL_TRACES_SAMPLER_ARG"]).remove(0);
    assert_eq!(ratio(vec![defaults("a", 1, "0.1"), defaults("b", 2, "0.2")]), "0.2");
    assert_eq!(ratio(vec![defaults("a", 1, "0.1"), defaults("b", 1, "0.2")]), "0.1", "by name");
    let all = vec![
        defaults("a", 1, "0.1"),
        overrides("b", 1, "0.2"),
        overrides("c", 3, "0.3"),
        team("t", "sampling: {ratio: 0.4}"),
    ];
    assert_eq!(ratio(all), "0.3");
}

#[test]
fn enabled_is_decided_by_the_strongest_that_says_anything() {
    let decision = |policies| plan_of(policies, &plain()).decision;
    let on = "enabled: true, export: {endpoint: \"http://c:4317\"}";
    let defaults = |enabled: &str| cluster("d", &format!("{{defaults: {{{enabled}}}}}"));
    assert_eq!(decision(vec![defaults("sampling: {ratio: 1}")]), Decision::Withdraw, "absent: not traced");
    assert_eq!(decision(vec![defaults(on)]), Decision::Inject);
    assert_eq!(decision(vec![defaults(on), policy("p", "{enabled: false}")]), Decision::Withdraw);
    assert_eq!(decision(vec![defaults("enabled: false, propagators: [b3]"), team("p", "")]), Decision::Inject);
    let switch = |enabled: &str| cluster("o", &format!("{{overrides: {{{enabled}}}}}"));
    assert_eq!(decision(vec![switch("enabled: false"), team("p", "")]), Decision::Withdraw);
    assert_eq!(
        decision(vec![switch("enabled: false"), policy("p", "{enabled: true}")]),
        Decision::Withdraw,
        "not valid either"
    );
    assert_eq!(decision(vec![switch(on), policy("p", "{enabled: false}")]), Decision::Inject);
    // What a disabled policy would set is of no interest to others.
    let off = policy("off", "{enabled: false, propagators: [b3], sampling: {ratio: 0.1}}");
    let named = team("named", BY_NAME);
    assert_eq!(values(vec![off, named], &["OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER"]), ["tracecontext,baggage", "-"]);
    let base = defaults("enabled: false, propagators: [b3]");
    assert_eq!(values(vec![base, team("p", "")], &["OTEL_PROPAGATORS"]), ["b3"], "settings for those who are on");
}

#[test]
fn an_export_is_inherited_from_defaults_alone_and_as_a_whole() {
    let inherit = policy(
        "p",
        "{enabled: true, export: {inherit: true, headersSecretRef: {name: mine}}, targets: [{kind: Deployment, name: web}]}",
    );
    let beside = policy("q", "{enabled: true, export: {endpoint: \"http://q:4317\"}}");
    let decision = |policies| plan_of(policies, &plain()).decision;
    let nothing = Decision::Hold(HoldReason::Unresolved(Unresolved::NothingToInherit));
    assert_eq!(decision(vec![inherit.clone()]), nothing);
    assert_eq!(decision(vec![inherit.clone(), beside.clone()]), nothing, "not from another team");
    let defaults =
        cluster("d", "{defaults: {export: {endpoint: \"http://d:4318\", headersSecretRef: {name: theirs}}}}");
    let plan = plan_of(vec![inherit.clone(), beside, defaults.clone()], &plain());
    assert_eq!(value(&plan, "OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(), Some("http://d:4318"));
    assert_eq!(value(&plan, "OTEL_EXPORTER_OTLP_PROTOCOL").as_deref(), Some("http/protobuf"));
    assert_eq!(plan.secret.unwrap().name, "theirs");
    let also = cluster("e", "{priority: 9, defaults: {export: {inherit: true}}}");
    assert_eq!(decision(vec![also, defaults, inherit]), Decision::Inject, "defaults may inherit from weaker ones");
}

#[test]
fn endpoints_of_teams_are_limited_to_allowed_hosts() {
    let limit = |hosts: &str| cluster("limit", &format!("{{overrides: {{allowedEndpointHosts: {hosts}}}}}"));
    let decision = |policies| plan_of(policies, &plain()).decision;
    assert_eq!(decision(vec![limit("[team]"), team("p", "")]), Decision::Inject);
    let refused = decision(vec![limit("[\"*.team\"]"), team("p", "")]);
    let Decision::Hold(HoldReason::Unresolved(Unresolved::HostNotAllowed(by))) = refused else { panic!("{refused:?}") };
    assert_eq!(by.described(), "ClusterTracingPolicy limit");
    // What the platform itself names is allowed.
    let inherit = policy("p", "{enabled: true, export: {inherit: true}}");
    let defaults = cluster("d", "{defaults: {export: {endpoint: \"http://d:4317\"}}}");
    assert_eq!(decision(vec![limit("[]"), inherit, defaults]), Decision::Inject);
    // The strongest list counts, and one in a policy that is not valid lets nothing new through.
    let stronger = cluster("a", "{priority: 1, overrides: {allowedEndpointHosts: [team]}}");
    assert_eq!(decision(vec![limit("[]"), stronger, team("p", "")]), Decision::Inject);
    let broken = cluster_policy("b", "{overrides: {allowedEndpointHosts: [other], sampling: {ratio: 7}}}");
    assert_eq!(decision(vec![broken, team("p", "")]), Decision::Hold(HoldReason::Invalid));
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let on = "defaults: {enabled: true, export: {endpoint: \"http://c:4317\"}}";
    let decision = |selector: &str, labels: Option<&[(&str, &str)]>| {
        let mut snapshot =
            snapshot(vec![cluster("c", &format!("{{namespaceSelector: {selector}, {on}}}"))], &[plain()]);
        let labels = labels.map(|labels| labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
        snapshot.namespaces.get_mut("shop").unwrap().labels = labels;
        let namespace = &snapshot.namespaces["shop"];
        plan_workload(&snapshot, namespace, namespace.workloads.values().next().unwrap()).decision
    };
    assert_eq!(decision("{matchLabels: {tier: prod}}", Some(&[("tier", "prod")])), Decision::Inject);
    assert_eq!(decision("{matchLabels: {tier: prod}}", Some(&[("tier", "test")])), Decision::Withdraw);
    assert_eq!(decision("{matchLabels: {tier: prod}}", None), Decision::Withdraw);
    assert_eq!(decision("{matchLabels: {kubernetes.io/metadata.name: shop}}", None), Decision::Inject);
    assert_eq!(decision("{}", None), Decision::Inject);
}

#[test]
fn what_is_not_valid_adds_nothing_takes_nothing_and_blocks_nobody() {
    let good = team("whole", "propagators: [b3], limits: {spanEvents: 5}");
    let named = |ratio: &str| team("named", &format!("{BY_NAME}, sampling: {{ratio: {ratio}}}"));
    let before = plan_of(vec![good.clone(), named("0.5")], &plain());
    let live = applied(&plain(), before.intent());
    // The weaker policy breaks, and changes what it says at that.
    let broken =
        policy("whole", &format!("{{enabled: true, {EXPORT}, propagators: [xray], limits: {{spanEvents: -1}}}}"));
    assert!(!broken.is_valid());
    let after = plan_of(vec![broken.clone(), named("0.5")], &live);
    assert!(!after.needs_write, "{after:#?}");
    let edited = plan_of(vec![broken.clone(), named("0.25")], &live);
    assert_eq!(value(&edited, "OTEL_PROPAGATORS").as_deref(), Some("b3"), "it stays");
    assert_eq!(value(&edited, "OTEL_SPAN_EVENT_COUNT_LIMIT").as_deref(), Some("5"), "it stays");
    assert_eq!(value(&edited, "OTEL_TRACES_SAMPLER_ARG").as_deref(), Some("0.25"), "nobody is blocked");
    // In a workload that had nothing of it, nothing of it appears.
    let new = plan_of(vec![broken, named("0.5")], &plain());
    assert_eq!(value(&new, "OTEL_PROPAGATORS").as_deref(), Some("tracecontext,baggage"));
    assert_eq!(value(&new, "OTEL_SPAN_EVENT_COUNT_LIMIT"), None);
    // Defaults and overrides that break are no different.
    let overrides = |spec: &str| cluster_policy("o", &format!("{{overrides: {{{spec}}}}}"));
    let before = plan_of(vec![overrides("propagators: [b3]"), named("0.5")], &plain());
    let live = applied(&plain(), before.intent());
    let broken = overrides("propagators: [b3], sampling: {ratio: 7}");
    assert!(!plan_of(vec![broken, named("0.5")], &live).needs_write);
    let off = overrides("enabled: false, sampling: {ratio: 7}");
    assert_eq!(plan_of(vec![off, named("0.5")], &live).decision, Decision::Hold(HoldReason::Invalid));
}

#[test]
fn settings_that_do_not_go_together_are_not_injected() {
    let base = team("whole", "limits: {queueSize: 600}");
    let named = |batch: i32| team("named", &format!("{BY_NAME}, limits: {{batchSize: {batch}, queueSize: 2048}}"));
    let limit = cluster("o", "{overrides: {limits: {queueSize: 1000}}}");
    assert_eq!(plan_of(vec![base.clone(), named(500), limit.clone()], &plain()).decision, Decision::Inject);
    let plan = plan_of(vec![base, named(1001), limit.clone()], &plain());
    assert!(matches!(plan.decision, Decision::Hold(HoldReason::Discord(..))), "{:?}", plan.decision);
    let (made, findings) = tracesteward::plan::plan(&snapshot(vec![named(1001), limit], &[plain()]));
    let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(codes.contains(&"TRC0404"), "{codes:?}");
    let status = made.policies.iter().find(|(id, _)| id.name == "named").unwrap().1;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "SettingsDisagree"));
}

/// What a policy is told, `reason: message` in lines; and the message of `Accepted`.
fn told(snapshot: &Snapshot, kind: &str, name: &str) -> (Vec<String>, String) {
    let (made, _) = plan(snapshot);
    let (_, status) = made.policies.iter().find(|(id, _)| id.kind() == kind && id.name == name).unwrap();
    let accepted = status.conditions.iter().find(|condition| condition.type_ == "Accepted").unwrap();
    let entries = status.attention.iter().map(|entry| format!("{}: {}", entry.reason, entry.message));
    (entries.collect(), accepted.message.clone())
}

#[test]
fn losers_are_told_who_won_and_with_what() {
    let whole = team("whole", "sampling: {ratio: 0.5}, propagators: [b3]");
    let named = team("named", &format!("{BY_NAME}, sampling: {{ratio: 0.1}}"));
    let limits =
        cluster("limits", "{overrides: {sampling: {ratio: 0.01}, export: {endpoint: \"http://platform:4317\"}}}");
    let world = snapshot(vec![whole, named, limits], &[plain()]);
    let (entries, accepted) = told(&world, "TracingPolicy", "whole");
    assert_eq!(
        entries,
        [
            "Superseded: another policy applies to this workload: TracingPolicy named comes first for Deployment/web, since it \
          selects the workload by name; what it sets instead: sampling.ratio"
        ]
    );
    assert!(accepted.ends_with("For 1 of 1 workloads TracingPolicy named comes first."), "{accepted}");
    let (entries, accepted) = told(&world, "TracingPolicy", "named");
    let expected = "a ClusterTracingPolicy overrides what this policy sets: ClusterTracingPolicy limits for Deployment/web: export, sampling.ratio";
    assert_eq!(entries, [format!("OverriddenByCluster: {expected}")]);
    assert!(accepted.ends_with(&format!("{expected}.")), "{accepted}");
    assert_eq!(told(&world, "ClusterTracingPolicy", "limits").0, [""; 0]);
}

#[test]
fn policies_of_the_same_rank_are_called_a_conflict() {
    let one = team("a", "sampling: {ratio: 0.5}");
    let other = team("b", "sampling: {ratio: 0.1}");
    let (entries, _) = told(&snapshot(vec![one.clone(), other], &[plain()]), "TracingPolicy", "b");
    assert_eq!(entries.len(), 1);
    assert!(
        entries[0].starts_with("Conflicted: two policies of the same rank set the same field differently"),
        "{entries:?}"
    );
    assert!(entries[0].ends_with("since its name comes first; what it sets instead: sampling.ratio"), "{entries:?}");
    // The same settings are no conflict.
    let same = team("c", "sampling: {ratio: 0.5}");
    let (entries, _) = told(&snapshot(vec![one, same], &[plain()]), "TracingPolicy", "c");
    assert!(entries[0].starts_with("Superseded: "), "{entries:?}");
}

/// A Deployment of this name and namespace, with these labels.
fn deployment(namespace: &str, name: &str, label: &str) -> Value {
    let mut object = super::common::deployment(&format!("{{labels: {{app: {label}}}}}"), "[{name: app, image: i}]");
    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = namespace.into();
    object
}

#[test]
fn a_change_plans_again_what_it_can_affect_and_nothing_else() {
    let mut world = Tracked::new(None, []);
    let in_namespace = |namespace: &str, name: &str, spec: &str| {
        super::common::policy_at(name, &format!("{{enabled: true, {EXPORT}, {spec}}}"), namespace, None)
    };
    world.update(Change::Policy(cluster("base", "{defaults: {sampling: {ratio: 0.5}}}"), None));
    for namespace in (0..20).map(|number| format!("team-{number}")) {
        let by_label = "targets: [{kind: Deployment, selector: {matchLabels: {app: web}}}]";
        world.update(Change::Policy(in_namespace(&namespace, "whole", ""), None));
        world.update(Change::Policy(in_namespace(&namespace, "web", by_label), None));
        for number in 0..10 {
            let label = if number < 3 { "web" } else { "other" };
            world.update(Change::Workload(read(&deployment(&namespace, &format!("w{number}"), label)), None));
        }
    }
    let mut cost = |change: Change| {
        let before = world.planner.planned();
        let dirty = world.update(change);
        (world.planner.planned() - before, dirty.workloads.len(), dirty.policies.len())
    };
    assert_eq!(cost(Change::Workload(read(&deployment("team-7", "w5", "web")), None)), (1, 1, 3), "a label");
    assert_eq!(cost(Change::Workload(read(&deployment("team-7", "w5", "web")), None)), (0, 0, 0), "nothing");
    let by_label = "targets: [{kind: Deployment, selector: {matchLabels: {app: web}}}], sampling: {ratio: 0.1}";
    assert_eq!(cost(Change::Policy(in_namespace("team-7", "web", by_label), None)).0, 4, "by selector");
    assert_eq!(cost(Change::Policy(in_namespace("team-3", "whole", "language: go"), None)).0, 10, "by namespace");
    let one = cluster(
        "one",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-1}}, overrides: {limits: {spanEvents: 1}}}",
    );
    assert_eq!(cost(Change::Policy(one, None)).0, 10, "by the label of a namespace");
    assert_eq!(cost(Change::WorkloadGone(read(&deployment("team-7", "w5", "web")).id)).0, 0, "what is gone");
    assert_eq!(
        cost(Change::Policy(cluster("base", "{defaults: {sampling: {ratio: 0.4}}}"), None)).0,
        199,
        "all of them"
    );
}

/// The sampling findings of a policy in namespace `shop` that exports to this collector: code, path and help.
fn sampling(collector: &str, policies: Vec<Policy>) -> Vec<String> {
    let object = serde_json::json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": {"name": "gw", "namespace": "shop"},
        "spec": {"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}], "sampling": super::common::yaml(collector)},
    });
    let mut world = snapshot(policies, &[plain()]);
    let collector = tracesteward::plan::read_collector(&object, "shop");
    assert!(collector.valid().is_some(), "{:?}", collector.findings);
    world.collectors.insert(collector.id.clone(), collector);
    let (_, findings) = plan(&world);
    let about_sampling = findings.iter().filter(|finding| finding.code.as_str().starts_with("TRC03"));
    about_sampling.map(|finding| format!("{} {} {}", finding.code, finding.path, finding.help)).collect()
}

/// One that exports to the collector of [`sampling`].
fn sampled(sampling: &str) -> Policy {
    let policy =
        policy("p", &format!("{{enabled: true, export: {{collectorRef: {{name: gw}}}}, sampling: {sampling}}}"));
    assert!(policy.is_valid(), "{sampling}: {:?}", policy.findings);
    policy
}

#[test]
fn sampling_that_cannot_do_what_it_says_comes_with_its_proof() {
    let one = |collector: &str, policy: &str, expected: &[&str]| {
        let found = sampling(collector, vec![sampled(policy)]);
        assert_eq!(found.len(), expected.len(), "{policy} under {collector}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{policy} under {collector}: {found}");
        }
    };
    one("{}", "{tail: {ratio: 1, routes: [{route: /, ratio: 1}]}}", &[]);
    one(
        "{keep: {services: [other, web]}}",
        "{tail: {ratio: 1, routes: [{route: /, ratio: 1}]}}",
        &[
            "TRC0306 spec.sampling.tail TracingCollector shop/gw: spec.sampling.keep.services[1] keeps every trace with a span of \
           web, so that ratio 1 and the rule in routes decides about none. Take the service out",
        ],
    );
    one(
        "{baselineRatio: 0.1}",
        "{tail: {routes: [{route: /a, ratio: 0.5}, {route: /b, ratio: 0.01}]}}",
        &[
            "TRC0307 spec.sampling.tail.routes[1].ratio A trace is kept with the highest ratio on offer: TracingCollector shop/gw \
           offers 0.1 for every service without rules, and spec.sampling.tail.routes[1].ratio offers 0.01.",
        ],
    );
    one(
        "{keep: {errors: true, slowerThan: 1s}}",
        "{tail: {keep: {errors: false, httpServerErrors: false, slowerThan: 1500ms}}}",
        &[
            "TRC0308 spec.sampling.tail.keep.errors TracingCollector shop/gw: spec.sampling.keep.errors is true",
            "TRC0308 spec.sampling.tail.keep.slowerThan A trace lasts at least as long as any of its spans",
        ],
    );
    one("{keep: {slowerThan: 1s}}", "{tail: {keep: {slowerThan: 999ms}}}", &[]);
    // The head sees first. A rule of the policy's own is told about by the policy alone, one of the collector by both.
    one(
        "{}",
        "{ratio: 0.1, tail: {keep: {errors: true}}}",
        &["TRC0302 spec.sampling.ratio 0.1 (1 in 10) of the traces that begin here are recorded at all"],
    );
    one(
        "{keep: {httpServerErrors: true}}",
        "{profile: high}",
        &[
            "TRC0302 spec.sampling.profile spec.sampling.profile lets 0.01 (1 in 100) of the traces that begin here through, and \
           TracingCollector shop/gw: spec.sampling.keep.httpServerErrors sees no others.",
        ],
    );
    one(
        "{baselineRatio: 0.1}",
        "{ratio: 0.1}",
        &[
            "TRC0309 spec.sampling.ratio spec.sampling.ratio keeps 0.1, and of those the baseline of TracingCollector shop/gw \
           keeps 0.1: 0.01 of all.",
        ],
    );
    one("{baselineRatio: 0.1}", "{ratio: 1}", &[]);
}

#[test]
fn settings_from_above_defeat_rules_too_and_the_team_is_told_whose_they_are() {
    let rules = sampled("{tail: {keep: {errors: true}}}");
    let base = cluster("base", "{defaults: {sampling: {ratio: 0.1}}}");
    let found = sampling("{}", vec![rules, base]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with(
            "TRC0302 spec spec.defaults.sampling.ratio of ClusterTracingPolicy base lets 0.1 (1 in 10) of the traces"
        ),
        "{found:#?}"
    );
    // Rules beside an inherited endpoint reach nobody.
    let inherit = policy("p", "{enabled: true, export: {inherit: true}, sampling: {tail: {ratio: 0.1}}}");
    let base = cluster("base", "{defaults: {export: {endpoint: \"http://c:4317\"}}}");
    let found = sampling("{}", vec![inherit, base]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("The export is inherited from ClusterTracingPolicy base"), "{found:#?}");
}

#[test]
fn tail_rules_are_merged_too() {
    // A policy with routes for the namespace, and one by name that has but a ratio: both hold for the service.
    let whole = policy(
        "whole",
        "{enabled: true, export: {collectorRef: {name: gw}}, sampling: {tail: {routes: [{route: /hot, ratio: 0.125}]}}}",
    );
    let named = policy(
        "named",
        &format!(
            "{{enabled: true, {BY_NAME}, export: {{collectorRef: {{name: gw}}}}, sampling: {{tail: {{ratio: 0.0625}}}}}}"
        ),
    );
    let object = serde_json::json!({"metadata": {"name": "gw", "namespace": "shop"}, "spec": {"backends": [{"name": "t", "endpoint": "http://t:4317"}]}});
    let mut world = snapshot(vec![whole, named], &[plain()]);
    let collector = tracesteward::plan::read_collector(&object, "shop");
    world.collectors.insert(collector.id.clone(), collector);
    let (made, findings) = plan(&world);
    let compiled = made.collectors.values().next().unwrap();
    let text = &compiled.configurations[0].text;
    assert!(text.contains("0.125") || text.contains("12.5"), "{text}");
    assert!(text.contains("0.0625") || text.contains("6.25"), "{text}");
    assert!(findings.iter().all(|finding| finding.code.as_str() != "TRC0402"), "{findings:#?}");
}

#[test]
fn what_stays_of_a_policy_that_broke_is_never_mixed_with_what_others_say() {
    // The platform's endpoint is in the workload; its policy breaks, and the team's own token must not be sent there.
    let token = policy(
        "p",
        "{enabled: true, export: {endpoint: \"http://team:4317\", headersSecretRef: {name: token}}, limits: {queueSize: 600}}",
    );
    let above = |limits: &str| {
        cluster_policy(
            "above",
            &format!("{{overrides: {{export: {{endpoint: \"http://platform:4317\"}}, limits: {limits}}}}}"),
        )
    };
    let before = plan_of(vec![token.clone(), above("{queueSize: 2000, batchSize: 1500}")], &plain());
    let live = applied(&plain(), before.intent());
    let broken = above("{queueSize: 2000, batchSize: 1500, scheduleDelay: 0s}");
    assert!(!broken.is_valid());
    let plan = plan_of(vec![token.clone(), broken.clone()], &live);
    assert!(!plan.needs_write && plan.secret.is_none(), "{plan:#?}");
    assert_eq!(value(&plan, "OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(), Some("http://platform:4317"));
    let sizes = ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"].map(|name| value(&plan, name));
    assert_eq!(sizes, [Some("2000".to_owned()), Some("1500".to_owned())]);
    // Where nothing of it is in place, the team's settings are all there is.
    let plan = plan_of(vec![token, broken], &plain());
    assert_eq!(value(&plan, "OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(), Some("http://team:4317"));
    assert_eq!(plan.secret.map(|secret| secret.name).as_deref(), Some("token"));
}

#[test]
fn what_cannot_be_read_limits_whom_it_may_be_about_and_what_is_broken_blocks_nobody() {
    let decision = |policies| plan_of(policies, &plain()).decision;
    let unreadable = cluster_policy("limit", "{overrides: {allowedEndpointHosts: [other], language: cobol}}");
    assert_eq!(decision(vec![unreadable, team("p", "")]), Decision::Hold(HoldReason::Invalid));
    // A weaker policy that is not valid, and would have it another way.
    let weaker =
        policy("whole", &format!("{{enabled: true, {EXPORT}, injection: {{mode: None}}, limits: {{spanEvents: -1}}}}"));
    assert!(!weaker.is_valid());
    assert_eq!(decision(vec![weaker, team("named", BY_NAME)]), Decision::Inject);
}

#[test]
fn a_container_that_only_a_broken_policy_selects_keeps_what_it_has() {
    let object = super::common::deployment("{}", "[{name: app, image: i}, {name: envoy, image: e}]");
    let base = |more: &str| cluster_policy("base", &format!("{{defaults: {{containers: [app, envoy]{more}}}}}"));
    let live = applied(&object, plan_of(vec![base(""), team("p", "")], &object).intent());
    let plan = plan_of(vec![base(", limits: {spanEvents: -1}"), team("p", "")], &live);
    assert!(!plan.needs_write, "{plan:#?}");
}

#[test]
fn a_propagator_from_above_that_python_lacks_is_not_injected() {
    let above = cluster("o", "{overrides: {propagators: [b3]}}");
    let python = plan_of(vec![above.clone(), team("p", "language: python")], &plain());
    assert!(matches!(python.decision, Decision::Hold(HoldReason::Discord(..))), "{:?}", python.decision);
    assert_eq!(plan_of(vec![above.clone(), team("p", "language: java")], &plain()).decision, Decision::Inject);
    let meant = team("p", "language: python, propagators: [b3]");
    assert_eq!(plan_of(vec![above, meant], &plain()).decision, Decision::Inject, "who says both was warned");
}

#[test]
fn many_policies_for_one_workload_cost_in_proportion() {
    let ids = |count: usize| (0..count).map(|number| team(&format!("p{number:04}"), "")).collect::<Vec<_>>();
    let cost = |count: usize| {
        let world = snapshot(ids(count), &[plain()]);
        let begun = std::time::Instant::now();
        let (made, _) = plan(&world);
        assert_eq!(made.policies.len(), count);
        begun.elapsed()
    };
    // The best of several: what else the machine does is in none of them by chance.
    let best = |count: usize| (0..5).map(|_| cost(count)).min().unwrap();
    let (few, many) = (best(200), best(1_600));
    assert!(many < few * 40, "eight times as many took {few:?} and {many:?}");
}

#[test]
fn an_image_of_another_language_is_not_used() {
    let above = |more: &str| {
        cluster_policy("above", &format!("{{defaults: {{instrumentation: {{image: mirror/java}}{more}}}}}"))
    };
    let own = |more: &str| {
        super::common::policy(
            "p",
            &format!("{{enabled: true, export: {{endpoint: \"http://c:4318\"}}, language: python{more}}}"),
        )
    };
    let image = |above, own| {
        let planned = super::common::plan_of(vec![above, own], &super::common::plain());
        planned.instrumentation().map(|agent| agent.image.clone()).unwrap_or_default()
    };
    assert!(image(above(", language: java"), own("")).contains("autoinstrumentation-python"));
    assert_eq!(image(above(", language: python"), own("")), "mirror/java");
    assert_eq!(image(above(", language: java"), own(", instrumentation: {image: mine}")), "mine");
}
