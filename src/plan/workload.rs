//! The plan of one workload.

use super::{
    attach::{self, Attached},
    env::{self, Inputs},
    export::{self, Unresolved},
    inject::{self, ContainerPlan},
};
use crate::{
    api::{InjectionMode, Settings},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Container, Namespace, PolicyId, Snapshot, Workload},
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
}

/// What should be in one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPlan {
    /// What happens.
    pub decision: Decision,
    /// The policy that decided.
    pub winner: Option<PolicyId>,
    /// Policies that are about the workload too, and lost; the strongest first.
    pub superseded: Vec<PolicyId>,
    /// `service.name`, where variables are planned.
    pub service_name: Option<String>,
    /// The selected containers, in order.
    pub containers: Vec<ContainerPlan>,
    /// Whether the workload differs from this.
    pub needs_write: bool,
}

impl WorkloadPlan {
    fn nothing(decision: Decision, attached: &[Attached<'_>]) -> Self {
        let mut policies = attached.iter().map(|attached| attached.policy.id.clone());
        Self {
            decision,
            winner: policies.next(),
            superseded: policies.collect(),
            service_name: None,
            containers: Vec::new(),
            needs_write: false,
        }
    }

    /// The containers as the operator writes them: none, where it withdraws.
    pub fn intent(&self) -> &[ContainerPlan] {
        if self.decision == Decision::Inject { &self.containers } else { &[] }
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
        self.containers.iter().any(|container| !container.withheld.is_empty())
    }

    /// Whether any variable is planned.
    pub fn sets_anything(&self) -> bool {
        self.containers.iter().any(|container| !container.variables.is_empty())
    }
}

/// Plans one workload.
pub fn plan_workload(snapshot: &Snapshot, namespace: &Namespace, workload: &Workload) -> WorkloadPlan {
    if workload.is_collector || attach::is_excluded(&workload.id.namespace, snapshot.own_namespace.as_deref()) {
        return WorkloadPlan::nothing(Decision::Excluded, &[]);
    }
    let attached = attach::attached(namespace, workload);
    let mut plan = decide(snapshot, workload, &attached);
    let may_write = !workload.deleting && !matches!(plan.decision, Decision::Hold(_));
    plan.needs_write = may_write && differs(workload, plan.intent());
    plan
}

fn decide(snapshot: &Snapshot, workload: &Workload, attached: &[Attached<'_>]) -> WorkloadPlan {
    // One policy at a time. Where several merge, this is the place: `attached` is in order of strength.
    let Some(winner) = attached.first() else { return WorkloadPlan::nothing(Decision::Withdraw, attached) };
    let Some(spec) = winner.policy.spec().filter(|_| winner.policy.is_valid()) else {
        return WorkloadPlan::nothing(Decision::Hold(HoldReason::Invalid), attached);
    };
    if !spec.enabled {
        return WorkloadPlan::nothing(Decision::Withdraw, attached);
    }
    let settings = &spec.settings;
    let export = match export::resolve(snapshot, &workload.id.namespace, settings) {
        Ok(export) => export,
        Err(unresolved) => return WorkloadPlan::nothing(Decision::Hold(HoldReason::Unresolved(unresolved)), attached),
    };
    let service_name = service_name(winner, settings, workload);
    let inputs = Inputs { settings, export: &export, workload, service_name: &service_name };
    let selected = workload.containers.iter().filter(|container| is_selected(settings, container));
    let containers =
        selected.map(|container| inject::yield_to_user(container, env::variables(&inputs, &container.name))).collect();
    let decision = match settings.injection.as_ref().and_then(|injection| injection.mode).unwrap_or_default() {
        InjectionMode::Workload => Decision::Inject,
        InjectionMode::Pod => Decision::AtPods,
        InjectionMode::None => Decision::Manual,
    };
    WorkloadPlan { containers, service_name: Some(service_name), ..WorkloadPlan::nothing(decision, attached) }
}

/// The policy that decides about a workload, and what its service is called where that policy is in force.
pub(super) fn service<'a>(namespace: &'a Namespace, workload: &Workload) -> Option<(Attached<'a>, String)> {
    let winner = attach::attached(namespace, workload).into_iter().next()?;
    let spec = winner.policy.spec().filter(|spec| spec.enabled && winner.policy.is_valid())?;
    Some((winner, service_name(&winner, &spec.settings, workload)))
}

fn differs(workload: &Workload, wanted: &[ContainerPlan]) -> bool {
    workload.containers.iter().any(|container| {
        let wanted = wanted.iter().find(|wanted| wanted.name == container.name);
        !inject::is_current(container, wanted.map_or(&[], |wanted| wanted.variables.as_slice()))
    })
}

/// The target's `serviceName`; the policy's; the annotation; the workload's name.
fn service_name(winner: &Attached<'_>, settings: &Settings, workload: &Workload) -> String {
    let policy = settings.service.as_ref().and_then(|service| service.name.as_deref());
    let annotation = workload.attributes.get("service.name").map(String::as_str).filter(|name| !name.is_empty());
    winner.service_name.or(policy).or(annotation).unwrap_or(&workload.id.name).to_owned()
}

/// Containers of infrastructure that other projects add to pods; they are traced only where a policy names them.
const SIDECARS: [&str; 22] = [
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

fn is_selected(settings: &Settings, container: &Container) -> bool {
    match &settings.containers {
        Some(names) if !names.is_empty() => names.contains(&container.name),
        _ => !SIDECARS.contains(&container.name.as_str()),
    }
}

/// What a user should know about this workload (TRC05xx).
pub fn workload_findings(workload: &Workload, plan: &WorkloadPlan) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut path = FieldPath::root();
    for step in workload.id.kind.template_path().iter().chain(&["spec", "containers"]) {
        path = path.field(step);
    }
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
        if container.env_from {
            let detail = format!("container {}", planned.name);
            findings.push(Diagnostic::new(Code::TRC0503, place.field("envFrom")).detail(detail));
        }
    }
    workload.ignored.apply(&mut findings);
    findings.into_iter().map(|finding| finding.on(workload.id.object())).collect()
}
