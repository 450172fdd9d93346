//! "Why is this not traced?": everything that keeps spans of a workload away, in the order in which to look at it.

use super::{Setting, View, fields::Origin, misses, rollouts, variables::unselected};
use crate::{
    api::{HEADERS_KEY, Management, Profile},
    diagnostics::{Code, Severity},
    index::{Container, Policy, SecretState, WorkloadKind},
    plan::{
        Unresolved,
        inject::causes,
        workload::{Decision, HoldReason},
    },
};

/// One thing that keeps spans away, or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is so.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Reason {
    pub(super) fn new(reason: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { reason, message: message.into(), help: help.into() }
    }
}

/// All reasons, the most basic first.
pub(super) fn reasons(view: &View<'_>, fields: &[Setting]) -> Vec<Reason> {
    match &view.plan.decision {
        _ if view.plan.refused => chain(vec![rollouts::reverted(view)], of_settings(view, fields)),
        Decision::Excluded => vec![excluded(view)],
        Decision::Withdraw if view.plan.winner.is_none() => chain(vec![not_selected(view)], pending(view)),
        Decision::Withdraw => chain(vec![disabled(fields)], pending(view)),
        Decision::Hold(reason) => vec![held(view, reason)],
        Decision::Manual => {
            let help = "Commit what `tracesteward render` prints, or use injection.mode Workload.";
            let message =
                format!("injection.mode is None{}: the operator writes nothing.", set_by(fields, "injection.mode"));
            chain(vec![Reason::new("NotInjected", message, help)], of_settings(view, fields))
        }
        Decision::AtPods => chain(vec![at_pods(view, fields)], of_settings(view, fields)),
        Decision::Inject => {
            let mut all = pending(view);
            all.extend(of_settings(view, fields));
            all
        }
    }
}

/// Pods are injected as they are created: those that are there already are not.
fn at_pods(view: &View<'_>, fields: &[Setting]) -> Reason {
    let id = &view.workload.id;
    let why = match id.kind {
        WorkloadKind::Job => "The template of a Job cannot be changed".to_owned(),
        WorkloadKind::Pod => "A pod cannot be changed".to_owned(),
        _ => format!("injection.mode is Pod{}", set_by(fields, "injection.mode")),
    };
    let configurations: Vec<_> = view.snapshot.namespaces.get(&id.namespace).map_or_else(Vec::new, |namespace| {
        namespace.pods.configurations(id).map(|given| given == view.plan.configuration.as_deref()).collect()
    });
    let without = configurations.iter().filter(|has| !**has).count();
    let known = match (configurations.len(), without) {
        (0, _) => String::new(),
        (all, 0) => format!(" All {all} pods have them."),
        (all, without) => format!(" {without} of {all} pods do not have them."),
    };
    Reason::new(
        "InjectedAtPods",
        format!("{why}: pods get the variables as they are created, and never afterwards.{known}"),
        "Create pods anew that are older than the policy, or that were created while the operator did not run.",
    )
}

fn chain(mut first: Vec<Reason>, then: Vec<Reason>) -> Vec<Reason> {
    first.extend(then);
    first
}

fn excluded(view: &View<'_>) -> Reason {
    if view.workload.is_collector {
        let help = "Nothing to do: a collector's own spans are not traced.";
        return Reason::new(
            "IsCollector",
            "The operator runs it for a TracingCollector; collectors are never injected.",
            help,
        );
    }
    let message = format!(
        "The namespace {} is never touched: kube-* and the operator's own are excluded.",
        view.workload.id.namespace
    );
    Reason::new("NamespaceExcluded", message, "Run the workload in another namespace.")
}

fn not_selected(view: &View<'_>) -> Reason {
    let nearest = misses::nearest(view);
    let id = &view.workload.id;
    if nearest.is_empty() {
        let message =
            format!("No policy selects it: there is none in the namespace {} and none for the cluster.", id.namespace);
        let help = "Create a TracingPolicy in this namespace; without targets it selects every supported workload.";
        return Reason::new("NotSelected", message, help);
    }
    let message = format!("No policy selects it. Nearest: {}.", nearest.join("; "));
    let help = format!(
        "Add {{kind: {}, name: {}}} to the targets of a policy, or change what keeps the nearest one from it.",
        id.kind, id.name
    );
    Reason::new("NotSelected", message, help)
}

fn place(origin: &Origin) -> String {
    format!("{} at {}", origin.policy.described(), origin.path)
}

/// ` by TracingPolicy x at spec.y`, where somebody has set the field.
fn set_by(fields: &[Setting], name: &str) -> String {
    let setting = fields.iter().find(|setting| setting.field == name);
    setting
        .and_then(|setting| setting.origin.as_ref())
        .map(|origin| format!(", set by {}", place(origin)))
        .unwrap_or_default()
}

fn disabled(fields: &[Setting]) -> Reason {
    let setting = fields.iter().find(|setting| setting.field == "enabled");
    let Some((setting, origin)) = setting.and_then(|setting| Some((setting, setting.origin.as_ref()?))) else {
        let help = "Set enabled: true in the policy that is about the workload.";
        return Reason::new("Disabled", "Nothing that is about it says that it is traced (`enabled`).", help);
    };
    let overruled: Vec<_> = setting.lost.iter().map(|lost| lost.origin.policy.described()).collect();
    let over = if overruled.is_empty() { String::new() } else { format!("; it overrules {}", overruled.join(", ")) };
    let reason = if origin.policy.is_cluster() { "DisabledByCluster" } else { "Disabled" };
    let help = if origin.policy.is_cluster() {
        "Ask whoever runs the cluster: this switch is the platform's.".to_owned()
    } else {
        format!("Set {} to true.", origin.path)
    };
    Reason::new(reason, format!("It is switched off by {}{over}.", place(origin)), help)
}

fn held(view: &View<'_>, reason: &HoldReason) -> Reason {
    match reason {
        HoldReason::Invalid => invalid(view),
        HoldReason::Unresolved(unresolved) => self::unresolved(view, unresolved),
        HoldReason::Discord(code, fields) => Reason::new(
            "SettingsDisagree",
            format!(
                "{} come from several policies and do not go together: {}. It stays as it is.",
                fields.join(" and "),
                code.message()
            ),
            format!("Set {} in one policy, to values that fit. {}", fields.join(" and "), code.help()),
        ),
    }
}

fn invalid(view: &View<'_>) -> Reason {
    let faulty = view.attached().map(|attached| attached.policy).filter(|policy| !policy.is_valid());
    let words: Vec<_> =
        faulty.map(|policy| format!("{} has errors: {}", policy.id.described(), errors(policy))).collect();
    let message =
        format!("{}. Nothing is injected, and nothing is taken away, until they are mended.", words.join("; "));
    Reason::new("PolicyInvalid", message, "Mend the policy; `tracesteward validate` shows the line and the fix.")
}

fn errors(policy: &Policy) -> String {
    let errors = policy.findings.iter().filter(|finding| finding.severity() == Severity::Error);
    let errors: Vec<_> =
        errors.map(|finding| format!("{} {} ({})", finding.code, finding.message, finding.path)).collect();
    if errors.is_empty() { "it has no specification".to_owned() } else { errors.join(", ") }
}

fn unresolved(view: &View<'_>, unresolved: &Unresolved) -> Reason {
    let namespace = &view.workload.id.namespace;
    let named = view.settings.export.as_ref().and_then(|export| export.collector_ref.as_ref());
    let collector = named.map(|reference| reference.id(namespace).to_string()).unwrap_or_default();
    let (message, help) = match unresolved {
        Unresolved::CollectorNotFound => (
            format!("TracingCollector {collector} does not exist."),
            "Create it, or name another one in export.collectorRef.".to_owned(),
        ),
        Unresolved::CollectorNotPermitted => (
            format!(
                "TracingCollector {collector} does not allow policies of the namespace {namespace}: {}.",
                handshake(view)
            ),
            "Let spec.allowedNamespaces of the collector select this namespace.".to_owned(),
        ),
        Unresolved::CollectorInvalid => (
            format!("TracingCollector {collector} has errors."),
            format!(
                "Mend it: `tracesteward explain TracingCollector/{}`.",
                named.map(|reference| reference.name.as_str()).unwrap_or_default()
            ),
        ),
        Unresolved::NothingToInherit => (
            "The policy inherits its export, and no ClusterTracingPolicy has defaults with one for this namespace."
                .to_owned(),
            "Name an endpoint or a collectorRef, or give the namespace defaults.".to_owned(),
        ),
        Unresolved::HostNotAllowed(by) => (
            format!("{} does not allow to send to the host of the endpoint.", by.described()),
            "Use an endpoint of an allowed host, or a collectorRef.".to_owned(),
        ),
        Unresolved::NoExport => (
            "It is enabled, and nothing says where to send spans.".to_owned(),
            "Set export in a policy that is about the workload.".to_owned(),
        ),
    };
    Reason::new(unresolved.reason(), format!("{message} It stays as it is."), help)
}

/// What the collector asks of namespaces, and what this one lacks.
fn handshake(view: &View<'_>) -> String {
    let namespace = &view.workload.id.namespace;
    let allowed = view
        .settings
        .export
        .as_ref()
        .and_then(|export| export.collector_ref.as_ref())
        .and_then(|reference| view.snapshot.collectors.get(&reference.id(namespace)))
        .and_then(|collector| collector.valid()?.allowed_namespaces.as_ref());
    let Some(selector) = allowed.and_then(|allowed| allowed.selector.as_ref()) else {
        return "it takes those of its own namespace".to_owned();
    };
    match view.snapshot.place(namespace).labels {
        Some(labels) => misses::mismatches(selector, labels).join(", "),
        None => "the labels of the namespace are not known".to_owned(),
    }
}

/// What is still to be written, and why it is not.
fn pending(view: &View<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let id = &view.workload.id;
    if !view.plan.needs_write || !view.is_live() {
        return reasons;
    }
    if view.workload.deleting {
        reasons.push(Reason::new("BeingDeleted", "The workload is being deleted.", "Nothing to do."));
    }
    let home = view.snapshot.namespaces.get(&id.namespace);
    if let Some(fault) = home.and_then(|namespace| namespace.faults.get(id)) {
        reasons.push(failed(&fault.reason, &fault.message));
    } else if let Some((reason, message)) = reported(view) {
        reasons.push(failed(reason, message));
    }
    reasons.extend(rollouts::halted(view));
    if let Some(reason) = rollouts::waiting(view) {
        reasons.push(reason);
        return reasons;
    }
    reasons.push(Reason::new(
        "WritePending",
        "The workload does not carry yet what the policies say.",
        "The operator writes at most rollout.maxConcurrent workloads of a policy at one time (`tracesteward status`), each within seconds. If this stays: does it run, does it watch this namespace (`kubectl get lease -A`, its log)?",
    ));
    reasons
}

fn failed(reason: &str, message: &str) -> Reason {
    let help = "Mend what the API server refuses; the operator tries again by itself.";
    Reason::new("WriteFailed", format!("The operator cannot write it: {reason}: {message}"), help)
}

/// Reasons in `status.attention` that are no failures of writing.
const NO_FAULTS: [&str; 12] = [
    "Reverted",
    "Paused",
    "RolloutUnderWay",
    "Unhealthy",
    "Overridden",
    "DuplicateVariables",
    "EnvFromNotSeen",
    "NoContainerSelected",
    "SettingsDisagree",
    "TargetNotFound",
    "NotInstrumented",
    "InstrumentationChanged",
];

/// What the operator itself has reported about the workload.
fn reported<'a>(view: &View<'a>) -> Option<(&'a str, &'a str)> {
    let id = &view.workload.id;
    let winner = view.snapshot.policy(view.plan.winner.as_ref()?)?;
    let name = if winner.id.is_cluster() { format!("{}/{}", id.namespace, id.name) } else { id.name.clone() };
    let entries = winner.status.as_ref()?.attention.iter();
    let mut own = entries.filter(|entry| entry.kind == id.kind.as_str() && entry.name == name);
    let entry = own.find(|entry| !NO_FAULTS.contains(&entry.reason.as_str()))?;
    Some((&entry.reason, &entry.message))
}

/// What keeps spans away although the workload is selected and everything is written.
fn of_settings(view: &View<'_>, fields: &[Setting]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(containers(view, fields));
    reasons.extend(uninstrumented(view));
    view.selected().for_each(|live| own_variables(live, &mut reasons));
    reasons.extend(head_ratio(view, fields));
    reasons.extend(secret(view));
    reasons.extend(collector(view));
    reasons
}

fn containers(view: &View<'_>, fields: &[Setting]) -> Vec<Reason> {
    let left_out = view.workload.containers.iter().filter_map(|live| Some((live, unselected(view, live)?)));
    let help = format!("Name it in the setting `containers`{}.", set_by(fields, "containers"));
    let mut reasons: Vec<_> = left_out
        .map(|(live, why)| {
            Reason::new("ContainerNotSelected", format!("Container {} gets nothing: {why}.", live.name), help.clone())
        })
        .collect();
    if view.plan.containers.is_empty() {
        let message = "None of its containers is selected: nothing is injected.";
        reasons.insert(0, Reason::new("NoContainerSelected", message, help));
    }
    reasons
}

/// Containers that should load instrumentation and do not.
fn uninstrumented<'a>(view: &'a View<'_>) -> impl Iterator<Item = Reason> + 'a {
    view.plan.containers.iter().filter_map(|planned| {
        let why = planned.uninstrumented.as_ref()?.describe();
        let message = format!("Container {} is not instrumented: {why}. Its other variables are set.", planned.name);
        Some(Reason::new("NotInstrumented", message, Code::TRC0505.help()))
    })
}

/// What the user's own variables mean.
fn own_variables(live: &Container, reasons: &mut Vec<Reason>) {
    let name = &live.name;
    let mut add = |variables: &[&str], reason: &'static str, means: &str| {
        let set: Vec<_> = variables.iter().copied().filter(|variable| live.is_users(variable)).collect();
        if !set.is_empty() {
            let message = format!("Container {name} sets {} itself: {means}.", set.join(" and "));
            // The policy has nothing to put in the place of that switch.
            let help = if reason == "SdkDisabled" {
                "Remove it from the manifest, or set it to false."
            } else {
                "Remove the variable from the manifest, so that the policy's takes its place."
            };
            reasons.push(Reason::new(reason, message, help));
        }
    };
    add(&["OTEL_SDK_DISABLED"], "SdkDisabled", "where it is true, the SDK makes no spans");
    add(&["OTEL_TRACES_EXPORTER"], "OwnExporter", "spans go where that says, which may be nowhere");
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    add(&endpoints, "OwnEndpoint", "spans go there, and none of the policy's export is set");
    add(&["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"], "OwnSampler", "the policy's sampling is not set");
    if !live.duplicates.is_empty() {
        let message = format!("Container {name} lists {} more than once.", live.duplicates.join(", "));
        reasons.push(Reason::new("DuplicateVariables", message, "List each variable once: the last one counts."));
    }
    if live.env_from {
        let message = format!("Container {name} takes variables from envFrom, which cannot be seen here.");
        let help =
            "A variable that is listed wins over one of envFrom; others, such as OTEL_SDK_DISABLED, may be set there.";
        reasons.push(Reason::new("EnvFromNotSeen", message, help));
    }
}

fn head_ratio(view: &View<'_>, fields: &[Setting]) -> Option<Reason> {
    let sampling = view.settings.sampling.as_ref()?;
    let ratio = sampling.ratio.or_else(|| sampling.profile.map(Profile::ratio))?;
    let has_own = |live: &&Container| !causes(live, "OTEL_TRACES_SAMPLER").is_empty();
    if ratio.0 > 0.0 || view.selected().all(|live| has_own(&live)) {
        return None;
    }
    let field = if sampling.ratio.is_some() { "sampling.ratio" } else { "sampling.profile" };
    let means = if sampling.parent_based.unwrap_or(true) {
        "only traces that a caller has sampled are continued"
    } else {
        "no spans are made, not even for traces that a caller has sampled, since sampling.parentBased is false"
    };
    let own: Vec<_> = view.selected().filter(has_own).map(|live| live.name.as_str()).collect();
    let except = if own.is_empty() { String::new() } else { format!(", except in container {}", own.join(", ")) };
    let message = format!("The head ratio is 0{}{except}: {means}.", set_by(fields, field));
    Some(Reason::new("HeadRatioZero", message, format!("Set a {field} above 0.")))
}

fn secret(view: &View<'_>) -> Option<Reason> {
    let secret = view.plan.secret.as_ref()?;
    let state = view.snapshot.namespaces.get(&secret.namespace)?.secrets.get(&secret.name)?;
    let name = &secret.name;
    let help = format!("Create it with the key {HEADERS_KEY}, and restart the pods.");
    match state {
        SecretState::NotFound => {
            let message =
                format!("Secret {name} does not exist: spans go out without headers, and the backend may refuse them.");
            Some(Reason::new("SecretNotFound", message, help))
        }
        SecretState::KeyMissing => {
            let message = format!("Secret {name} has no key {HEADERS_KEY}: spans go out without headers.");
            Some(Reason::new("SecretKeyMissing", message, help))
        }
        SecretState::Present | SecretState::Unverified | SecretState::Unsendable => None,
    }
}

/// A collector that the operator runs and that has no ready pods.
fn collector(view: &View<'_>) -> Option<Reason> {
    let id = view.settings.export.as_ref()?.collector_ref.as_ref()?.id(&view.workload.id.namespace);
    let spec = view.snapshot.collectors.get(&id)?.valid()?;
    let is_managed = spec.management.unwrap_or_default() == Management::Managed;
    if !is_managed || !view.is_live() || view.snapshot.has_ready_pods(&id) {
        return None;
    }
    let message = format!("TracingCollector {id} has no ready pods: spans find nobody.");
    let help = format!("`tracesteward explain TracingCollector/{} -n {}` says why.", id.name, id.namespace);
    Some(Reason::new("CollectorNotReady", message, help))
}
