//! The plan of one workload.

use serde_json::Value;

use super::{
    attach::{self, Attached, Attachment, Strength},
    effective::{Effective, Rules, discord, effective},
    env::{self, Inputs, Variable},
    export::Unresolved,
    inject::{self, ContainerPlan},
    instrument::{self, InstrumentationPlan, Uninstrumented},
    patch::apply_patch,
    pod,
    rollout::{self, Pace},
};
use crate::{
    api::{InjectionMode, Settings},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{
        Container, ENV_NAMES, EnvValue, Namespace, Owner, PolicyId, Rollout, SecretId, Snapshot, Workload, WorkloadKind,
    },
};

/// What happens to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its namespace is never touched, or it is a collector of the operator's own.
    Excluded,
    /// No policy is about it, or the one that is says that it is not traced: nothing of the operator's stays.
    Withdraw,
    /// The planned variables are written.
    Inject,
    /// The policy wants nothing written (mode None); the planned variables are for `render`.
    Manual,
    /// The variables belong into pods as they are created (mode Pod), not into the template.
    AtPods,
    /// The policy is not valid now: nothing new, and what is there stays.
    Hold(HoldReason),
}

/// Why a workload is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The policy has errors.
    Invalid,
    /// The policy's export cannot be found.
    Unresolved(Unresolved),
    /// Two fields that several policies set do not go together.
    Discord(Code, [&'static str; 2]),
}

/// What should be in one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPlan {
    /// What happens.
    pub decision: Decision,
    /// The policy that decided.
    pub winner: Option<PolicyId>,
    /// Policies that are about the workload too, and are weaker; the strongest first.
    pub superseded: Vec<PolicyId>,
    /// ClusterTracingPolicies whose overrides hold for it; the strongest first.
    pub overrides: Vec<PolicyId>,
    /// The headers Secret in force.
    pub secret: Option<SecretId>,
    /// `service.name`, where variables are planned.
    pub service_name: Option<String>,
    /// What the settings are, as a hash, where they go into pods as these are created.
    pub configuration: Option<String>,
    /// The selected containers, in order.
    pub containers: Vec<ContainerPlan>,
    /// How changes are rolled out.
    pub pace: Pace,
    /// Whether the configuration in force was taken back in this workload: it is not tried again.
    pub refused: bool,
    /// The configuration for which the template says that its pods are restarted.
    pub restart: Option<String>,
    /// Whether the workload differs from this.
    pub needs_write: bool,
}

impl WorkloadPlan {
    fn nothing(decision: Decision, attachment: &Attachment<'_>) -> Self {
        let ids = |list: &[Attached<'_>]| list.iter().map(|attached| attached.policy.id.clone()).collect::<Vec<_>>();
        let mut superseded = ids(&attachment.base);
        let winner = (!superseded.is_empty()).then(|| superseded.remove(0));
        Self {
            decision,
            winner,
            superseded,
            overrides: ids(&attachment.overrides),
            secret: None,
            service_name: None,
            configuration: None,
            containers: Vec::new(),
            pace: Pace::default(),
            refused: false,
            restart: None,
            needs_write: false,
        }
    }

    /// The containers as the operator writes them: none, where it withdraws.
    pub fn intent(&self) -> &[ContainerPlan] {
        if self.decision == Decision::Inject && !self.refused { &self.containers } else { &[] }
    }

    /// What the operator applies: its whole intent, with what it notes on the workload.
    pub fn intended(&self, workload: &Workload) -> Value {
        let mut patch = apply_patch(workload, self.intent());
        rollout::note(&mut patch, workload, self);
        patch
    }

    /// Whether what is written takes everything out.
    pub fn withdraws(&self) -> bool {
        self.restart.is_none() && self.intent().iter().all(|container| container.variables.is_empty())
    }

    /// Whether the operator has set something in force of which it is still to be seen whether pods run with it.
    pub fn is_watched(&self, workload: &Workload) -> bool {
        let is_ours = match self.decision {
            // What is left of it keeps a StatefulSet from going back.
            Decision::Inject | Decision::AtPods if self.refused => workload.id.kind == WorkloadKind::StatefulSet,
            // What is not valid any more is no reason to leave a workload broken.
            Decision::Inject | Decision::Hold(_) => workload.is_held(),
            Decision::AtPods => workload.restarted_for().is_some(),
            _ => false,
        };
        let is_open = matches!(workload.rollout, Rollout::UnderWay { .. } | Rollout::Unhealthy { gave_up: true });
        is_ours && is_open && self.pace.auto_revert && !workload.deleting
    }

    /// The containers as `render` shows them: also where the operator itself does not write them.
    pub fn rendered(&self) -> &[ContainerPlan] {
        match self.decision {
            Decision::Inject | Decision::Manual | Decision::AtPods => &self.containers,
            Decision::Excluded | Decision::Withdraw | Decision::Hold(_) => &[],
        }
    }

    /// Whether [`Self::rendered`] differs from the workload.
    pub fn changes(&self, workload: &Workload) -> bool {
        !matches!(self.decision, Decision::Excluded | Decision::Hold(_)) && differs(workload, self.rendered())
    }

    /// Whether anybody needs to know of this plan.
    pub fn is_relevant(&self, workload: &Workload) -> bool {
        self.winner.is_some() || self.needs_write || workload.is_held()
    }

    /// Whether the user's own variables keep some of the policy's out.
    pub fn is_overridden(&self) -> bool {
        let is_kept_out = |container: &ContainerPlan| {
            let reason = container.uninstrumented.as_ref();
            !container.withheld.is_empty() || reason.is_some_and(Uninstrumented::is_the_users)
        };
        self.containers.iter().any(is_kept_out)
    }

    /// The instrumentation that is planned.
    pub fn instrumentation(&self) -> Option<&InstrumentationPlan> {
        instrument::of(&self.containers)
    }

    /// Whether any variable is planned.
    pub fn sets_anything(&self) -> bool {
        self.containers.iter().any(|container| !container.variables.is_empty())
    }
}

/// Plans one workload.
pub fn plan_workload(snapshot: &Snapshot, namespace: &Namespace, workload: &Workload) -> WorkloadPlan {
    if workload.is_collector || attach::is_excluded(&workload.id.namespace, snapshot.own_namespace.as_deref()) {
        return WorkloadPlan::nothing(Decision::Excluded, &Attachment::default());
    }
    let attachment = attach::attached(snapshot, namespace, workload);
    let mut plan = decide(snapshot, workload, &attachment);
    let may_write = workload.id.kind.is_writable() && !workload.deleting;
    if matches!(plan.decision, Decision::Hold(_)) {
        return plan;
    }
    plan.refused = rollout::is_refused(workload, &plan);
    plan.restart = rollout::restarted_for(snapshot, namespace, workload, &plan);
    plan.needs_write = may_write && (differs(workload, plan.intent()) || rollout::notes_differ(workload, &plan));
    plan
}

/// The hash of the configuration that is in force for a workload, where it is injected.
pub fn configuration(snapshot: &Snapshot, namespace: &Namespace, workload: &Workload) -> Option<String> {
    // It is not made for each plan, but wherever it is asked whether it was refused.
    let mut asked = workload.clone();
    asked.notes.get_or_insert_default().refusal.get_or_insert_default();
    plan_workload(snapshot, namespace, &asked).configuration
}

/// What is not valid injects nothing and takes nothing away: what it would set is left as it is in the workload, and
/// everything else goes on.
fn decide(snapshot: &Snapshot, workload: &Workload, attachment: &Attachment<'_>) -> WorkloadPlan {
    let Some(strongest) = attachment.base.first() else { return WorkloadPlan::nothing(Decision::Withdraw, attachment) };
    let plan = with(snapshot, workload, attachment, false);
    // The platform's switch also works on what is not valid.
    let switched_off =
        attachment.overrides.iter().find(|attached| attached.policy.is_valid() && attached.enabled().is_some());
    if switched_off.is_some_and(|attached| attached.enabled() == Some(false)) {
        return plan;
    }
    let hold = || {
        // Of what cannot be read it is not known whether it is to be taken back.
        let unknown = Pace { auto_revert: false, ..Pace::default() };
        let mut all = attachment.base.iter().map(Attached::settings);
        let pace = if all.clone().any(|settings| settings.is_none()) {
            unknown
        } else {
            all.find_map(|settings| settings.filter(|settings| settings.rollout.is_some()))
                .map(Pace::of)
                .unwrap_or_default()
        };
        WorkloadPlan { pace, ..WorkloadPlan::nothing(Decision::Hold(HoldReason::Invalid), attachment) }
    };
    if !strongest.policy.is_valid() {
        return hold();
    }
    // What cannot be read may limit where tokens go.
    if attachment.base.iter().any(|attached| attached.policy.id.is_cluster() && attached.settings().is_none()) {
        return hold();
    }
    let mut others = attachment.base.iter().chain(&attachment.overrides);
    if others.all(|attached| attached.policy.is_valid() || attached.settings().is_none()) {
        return plan;
    }
    let doubtful = with(snapshot, workload, attachment, true);
    if doubtful.decision != plan.decision {
        // It would forbid what is planned; or what is in place may come from it.
        let forbids = match &doubtful.decision {
            Decision::Hold(HoldReason::Unresolved(Unresolved::HostNotAllowed(_))) | Decision::Withdraw => true,
            _ => workload.is_held() && plan.decision != Decision::Inject,
        };
        return if forbids { hold() } else { plan };
    }
    keep_doubtful(workload, plan, &doubtful)
}

/// Leaves variables that depend on what is not valid as they are, where the workload carries any that belong together with
/// them already: a part of them would meet parts of somebody else's.
fn keep_doubtful(workload: &Workload, mut plan: WorkloadPlan, doubtful: &WorkloadPlan) -> WorkloadPlan {
    let held = |live: &Container, name: &'static str| match &live.variable(name)?.owner {
        Owner::Operator(value) => Some(Variable { name, value: value.clone() }),
        Owner::User => None,
    };
    let find = |list: &[Variable], name: &str| list.iter().find(|variable| variable.name == name).cloned();
    for planned in &mut plan.containers {
        let Some(live) = workload.containers.iter().find(|live| live.name == planned.name) else { continue };
        let other = doubtful.containers.iter().find(|other| other.name == planned.name);
        let other = other.map(|other| other.variables.as_slice()).unwrap_or_default();
        let mut chosen = Vec::new();
        for group in inject::groups() {
            let differs = group.iter().any(|name| find(&planned.variables, name) != find(other, name));
            let stays = differs && group.iter().any(|name| held(live, name).is_some());
            let value = |name: &&'static str| if stays { held(live, name) } else { find(&planned.variables, name) };
            chosen.extend(group.iter().filter_map(value));
        }
        planned.variables = ENV_NAMES.iter().filter_map(|name| find(&chosen, name)).collect();
    }
    // Containers that only what is not valid selects.
    for other in &doubtful.containers {
        let is_planned = plan.containers.iter().any(|planned| planned.name == other.name);
        let live = workload.containers.iter().find(|live| live.name == other.name && !live.held.is_empty());
        if let Some(live) = live.filter(|_| !is_planned) {
            let variables = ENV_NAMES.iter().filter_map(|name| held(live, name)).collect();
            plan.containers.push(ContainerPlan { name: other.name.clone(), variables, ..ContainerPlan::default() });
        }
    }
    let held_by_name = |container: &str, name: &'static str| {
        workload.containers.iter().find(|live| live.name == container).and_then(|live| held(live, name))
    };
    instrument::live::keep(workload, &mut plan.containers, &doubtful.containers, held_by_name);
    let variables = plan.containers.iter().flat_map(|planned| &planned.variables);
    let secret = variables.into_iter().find_map(|variable| match &variable.value {
        EnvValue::HeadersSecret(name) => Some(name.clone()),
        _ => None,
    });
    plan.secret = secret.map(|name| SecretId { namespace: workload.id.namespace.clone(), name });
    plan
}

/// The plan by everything that is valid; `doubtful` includes what is not.
fn with(snapshot: &Snapshot, workload: &Workload, attachment: &Attachment<'_>, doubtful: bool) -> WorkloadPlan {
    let nothing = |decision| WorkloadPlan::nothing(decision, attachment);
    let in_force = effective(attachment, doubtful);
    if !in_force.enabled {
        // Who is switched off says nothing about how to trace, but still about how to change.
        let mut all = attachment.overrides.iter().chain(&attachment.base).filter_map(Attached::settings);
        let pace = all.find(|settings| settings.rollout.is_some()).map(Pace::of).unwrap_or_default();
        return WorkloadPlan { pace, ..nothing(Decision::Withdraw) };
    }
    let pace = Pace::of(&in_force.settings);
    let export = match in_force.export(snapshot, &workload.id.namespace, attachment, doubtful) {
        Ok(export) => export,
        Err(unresolved) => return WorkloadPlan { pace, ..nothing(Decision::Hold(HoldReason::Unresolved(unresolved))) },
    };
    let settings = &*in_force.settings;
    if let Some((code, fields)) = discord(&in_force).filter(|_| in_force.layers.len() > 1) {
        return WorkloadPlan { pace, ..nothing(Decision::Hold(HoldReason::Discord(code, fields))) };
    }
    let service_name = service_name(&in_force, workload);
    let inputs = Inputs { settings, export: &export, workload, service_name: &service_name };
    let decision = match settings.injection.as_ref().and_then(|injection| injection.mode).unwrap_or_default() {
        InjectionMode::Workload if workload.id.kind.is_writable() => Decision::Inject,
        InjectionMode::Workload | InjectionMode::Pod => Decision::AtPods,
        InjectionMode::None => Decision::Manual,
    };
    let selected: Vec<_> = workload.containers.iter().filter(|container| is_selected(settings, container)).collect();
    let home = snapshot.namespaces.get(&workload.id.namespace);
    let at_pods = decision == Decision::AtPods;
    let agent = instrument::Intent::of(settings, home, workload, &selected, at_pods);
    let containers = selected.into_iter().map(|container| {
        let tag = container.tag.as_deref().filter(|_| at_pods);
        let mut plan = inject::yield_to_user(container, env::variables(&inputs, &container.name, tag));
        if let Some(agent) = &agent {
            agent.instrument(container, &mut plan);
        }
        plan
    });
    let containers = containers.collect();
    let configuration = (at_pods || workload.refusal().is_some()).then(|| pod::configuration(&inputs));
    let secret = export.headers_secret.map(|name| SecretId { namespace: workload.id.namespace.clone(), name });
    WorkloadPlan { containers, configuration, pace, service_name: Some(service_name), secret, ..nothing(decision) }
}

/// A service as collectors know it.
#[derive(Clone, Debug)]
pub(super) struct Served<'a> {
    /// Its `service.name`.
    pub(super) name: String,
    /// How strong the policy is that comes first.
    pub(super) strength: Strength,
    /// What holds for it.
    pub(super) rules: Rules<'a>,
}

/// What a workload's service is called, and which rules it follows, where it is traced.
pub(super) fn service<'a>(
    snapshot: &'a Snapshot,
    namespace: &'a Namespace,
    workload: &'a Workload,
) -> Option<Served<'a>> {
    let attachment = attach::attached(snapshot, namespace, workload);
    let strongest = attachment.base.first().filter(|strongest| strongest.policy.is_valid())?;
    let in_force = effective(&attachment, false);
    let rules = in_force.rules(snapshot, &workload.id.namespace, &attachment)?;
    Some(Served { name: service_name(&in_force, workload), strength: strongest.strength(), rules })
}

fn differs(workload: &Workload, wanted: &[ContainerPlan]) -> bool {
    let differs = |container: &Container| {
        let wanted = wanted.iter().find(|wanted| wanted.name == container.name);
        !inject::is_current(container, wanted.map_or(&[], |wanted| wanted.variables.as_slice()))
    };
    workload.containers.iter().any(differs) || !instrument::live::is_current(workload, wanted)
}

/// What the policies say, a target before its policy; the annotation; the workload's name, or what made it where that is no name to keep.
fn service_name(in_force: &Effective<'_>, workload: &Workload) -> String {
    let annotation = workload.attributes.get("service.name").map(String::as_str).filter(|name| !name.is_empty());
    let called = workload.called.as_deref().unwrap_or(&workload.id.name);
    in_force.service_name.or(annotation).unwrap_or(called).to_owned()
}

/// Containers of infrastructure that other projects add to pods; they are traced only where a policy names them.
pub(super) const SIDECARS: [&str; 22] = [
    "istio-proxy",
    "linkerd-proxy",
    "envoy",
    "envoy-sidecar",
    "kuma-sidecar",
    "consul-dataplane",
    "consul-connect-envoy-sidecar",
    "cilium-envoy",
    "aws-appmesh-envoy",
    "daprd",
    "queue-proxy",
    "vault-agent",
    "cloudsql-proxy",
    "cloud-sql-proxy",
    "otc-container",
    "otel-collector",
    "jaeger-agent",
    "datadog-agent",
    "fluent-bit",
    "fluentd",
    "filebeat",
    "oauth2-proxy",
];

pub(super) fn is_selected(settings: &Settings, container: &Container) -> bool {
    match &settings.containers {
        Some(names) if !names.is_empty() => names.contains(&container.name),
        _ => !SIDECARS.contains(&container.name.as_str()),
    }
}

/// What a user should know about this workload (TRC05xx).
pub fn workload_findings(workload: &Workload, plan: &WorkloadPlan) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut pod = FieldPath::root();
    for step in workload.id.kind.template_path().iter().chain(&["spec"]) {
        pod = pod.field(step);
    }
    let path = pod.field("containers");
    for planned in &plan.containers {
        let position = workload.containers.iter().position(|container| container.name == planned.name);
        let Some((position, container)) = position.and_then(|at| Some((at, workload.containers.get(at)?))) else {
            continue;
        };
        let place = path.index(position);
        if !planned.withheld.is_empty() {
            let detail = format!(
                "container {} sets {}; left out: {}",
                planned.name,
                planned.because.join(", "),
                planned.withheld.join(", ")
            );
            findings.push(Diagnostic::new(Code::TRC0501, place.field("env")).detail(detail));
        }
        if !container.duplicates.is_empty() {
            let detail = format!("container {} lists {} more than once", planned.name, container.duplicates.join(", "));
            findings.push(Diagnostic::new(Code::TRC0502, place.field("env")).detail(detail));
        }
        if let Some(reason) = &planned.uninstrumented {
            let field = if matches!(reason, Uninstrumented::Hooks(_)) { place.field("env") } else { place.clone() };
            let detail = format!("container {}: {}", planned.name, reason.describe());
            findings.push(Diagnostic::new(Code::TRC0505, field).detail(detail));
        }
        if container.env_from {
            let detail = format!("container {}", planned.name);
            findings.push(Diagnostic::new(Code::TRC0503, place.field("envFrom")).detail(detail));
        }
    }
    findings.extend(instrument::live::taken_over(workload, plan.intent(), &pod));
    workload.ignored.apply(&mut findings);
    findings.into_iter().map(|finding| finding.on(workload.id.object())).collect()
}
