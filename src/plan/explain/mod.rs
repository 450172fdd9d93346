//! Why a workload, a policy or a collector is as it is: what is in force, who set it, what lost, and what keeps spans away.

mod fields;
mod misses;
mod objects;
mod reasons;
mod rollouts;
mod variables;

use super::{
    attach::{self, Attached, Attachment, Part, Specificity},
    effective::effective,
    status::why,
    workload::{Decision, WorkloadPlan, plan_workload},
};
use crate::{
    api::Settings,
    diagnostics::{Diagnostic, Severity},
    index::{Container, PolicyId, Snapshot, WorkloadId},
};

pub use fields::{Lost, Origin, Setting};
pub use objects::{CollectorExplanation, PolicyExplanation, Selected, Served, explain_collector, explain_policy};
pub use reasons::Reason;
pub use variables::{ContainerReport, Feed, State, VariableReport, Withheld};

/// What happens to a workload, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is to be traced: the variables are in it, or will be. The user's own may still keep spans away.
    Traced,
    /// No policy selects it.
    NotSelected,
    /// What selects it says that it is not traced.
    Disabled,
    /// It stays as it is, since something that decides about it is not valid now.
    Held,
    /// The operator writes nothing (injection mode None).
    Manual,
    /// Its pods would get the variables (injection mode Pod).
    AtPods,
    /// The configuration in force broke it, and was taken out again.
    Reverted,
    /// It is never touched.
    Excluded,
}

impl Ranked {
    /// How it means the workload, in words.
    pub const fn selects(&self) -> &'static str {
        match self.part {
            Part::Overrides => "overrides of the cluster",
            Part::Policy | Part::Defaults => self.specificity.describe(),
        }
    }
}

impl Verdict {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traced => "Traced",
            Self::NotSelected => "NotSelected",
            Self::Disabled => "Disabled",
            Self::Held => "Held",
            Self::Manual => "Manual",
            Self::AtPods => "AtPods",
            Self::Reverted => "Reverted",
            Self::Excluded => "Excluded",
        }
    }

    /// Of a plan.
    pub fn of(plan: &WorkloadPlan) -> Self {
        match &plan.decision {
            _ if plan.refused => Self::Reverted,
            Decision::Excluded => Self::Excluded,
            Decision::Withdraw if plan.winner.is_none() => Self::NotSelected,
            Decision::Withdraw => Self::Disabled,
            Decision::Inject => Self::Traced,
            Decision::Manual => Self::Manual,
            Decision::AtPods => Self::AtPods,
            Decision::Hold(_) => Self::Held,
        }
    }
}

/// A policy that is about the workload.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Which one.
    pub policy: PolicyId,
    /// The part of it.
    pub part: Part,
    /// How precisely it means the workload.
    pub specificity: Specificity,
    /// Its priority.
    pub priority: i32,
    /// When it was created, where that is known.
    pub created: Option<String>,
    /// Why it comes before the next one of the list.
    pub before_next: Option<&'static str>,
    /// Its errors; a policy with any takes no part.
    pub errors: Vec<Diagnostic>,
}

/// Everything there is to say about a workload.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Which one.
    pub id: WorkloadId,
    /// What happens to it.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub summary: String,
    /// Whether it has to be written.
    pub pending: bool,
    /// The policies that are about it, the strongest first.
    pub policies: Vec<Ranked>,
    /// The settings in force, and those that others would set.
    pub fields: Vec<Setting>,
    /// Its containers.
    pub containers: Vec<ContainerReport>,
    /// Why it is not traced, or not as it seems.
    pub reasons: Vec<Reason>,
}

/// Explains one workload; `None` where it is not known.
pub fn explain(snapshot: &Snapshot, id: &WorkloadId) -> Option<Explanation> {
    let namespace = snapshot.namespaces.get(&id.namespace)?;
    let workload = namespace.workloads.get(id)?;
    let plan = plan_workload(snapshot, namespace, workload);
    let attachment = match plan.decision {
        Decision::Excluded => Attachment::default(),
        _ => attach::attached(snapshot, namespace, workload),
    };
    let in_force = effective(&attachment, false);
    let fields = fields::settings(&attachment, &in_force, workload);
    let view = View { snapshot, workload, plan: &plan, attachment: &attachment, settings: &in_force.settings };
    let containers = variables::containers(&view, &fields);
    let reasons = reasons::reasons(&view, &fields);
    Some(Explanation {
        id: id.clone(),
        verdict: Verdict::of(&plan),
        summary: summary(&view),
        pending: plan.needs_write,
        policies: ranked(&attachment),
        fields,
        containers,
        reasons,
    })
}

/// What the parts of an explanation are made of.
struct View<'a> {
    snapshot: &'a Snapshot,
    workload: &'a crate::index::Workload,
    plan: &'a WorkloadPlan,
    attachment: &'a Attachment<'a>,
    settings: &'a Settings,
}

impl<'a> View<'a> {
    /// Whether the workload is one of a cluster, and not of a file alone.
    fn is_live(&self) -> bool {
        self.workload.uid.is_some() && !self.snapshot.assumes_permission
    }

    /// Its containers that the policies select.
    fn selected(&self) -> impl Iterator<Item = &'a Container> {
        let planned = &self.plan.containers;
        self.workload.containers.iter().filter(|live| planned.iter().any(|planned| planned.name == live.name))
    }

    /// The policies that are about it: overrides first, as they win.
    fn attached(&self) -> impl Iterator<Item = &'a Attached<'a>> {
        self.attachment.overrides.iter().chain(&self.attachment.base)
    }
}

/// The user's own variables that decide whether there are any spans, whatever else is set; their values are never kept.
const SWITCHES: [&str; 2] = ["OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"];

fn summary(view: &View<'_>) -> String {
    let plan = view.plan;
    let pending = plan.needs_write && view.is_live();
    let switches: Vec<_> =
        SWITCHES.into_iter().filter(|name| view.selected().any(|live| live.is_users(name))).collect();
    let by = plan.winner.as_ref().map(PolicyId::described).unwrap_or_default();
    match Verdict::of(plan) {
        Verdict::Traced if plan.containers.is_empty() => format!("{by} selects it, and none of its containers."),
        Verdict::Traced if !switches.is_empty() => {
            let to_write = if pending { "; the variables are still to be written" } else { "" };
            format!("{by} is to trace it{to_write}; its own {} may keep it from that.", switches.join(" and "))
        }
        Verdict::Traced if pending => format!("Traced by {by}; the variables are still to be written."),
        Verdict::Traced => format!("Traced by {by}."),
        Verdict::NotSelected if pending => {
            "No policy selects it; the operator's variables are still to be taken out.".to_owned()
        }
        Verdict::NotSelected => "Not traced: no policy selects it.".to_owned(),
        Verdict::Disabled => format!("Not traced: it is switched off; {by} comes first."),
        Verdict::Held => format!("It stays as it is: {by} comes first, and cannot take effect now."),
        Verdict::Manual => format!("{by} selects it with injection.mode None: the operator writes nothing."),
        Verdict::Reverted => {
            format!("Not traced: its pods did not run with what {by} says, and it was taken out again.")
        }
        Verdict::AtPods => {
            format!("{by} selects it: its pods get the variables as they are created.")
        }
        Verdict::Excluded => "It is never touched.".to_owned(),
    }
}

fn ranked(attachment: &Attachment<'_>) -> Vec<Ranked> {
    let all: Vec<_> = attachment.overrides.iter().chain(&attachment.base).collect();
    let before_next = |position: usize| {
        let (own, next) = (all.get(position)?, all.get(position + 1)?);
        match (own.part, next.part) {
            (Part::Overrides, Part::Policy | Part::Defaults) => {
                Some("overrides of the cluster win over everything else")
            }
            _ => Some(why(own, next).0),
        }
    };
    let one = |(position, attached): (usize, &&Attached<'_>)| Ranked {
        policy: attached.policy.id.clone(),
        part: attached.part,
        specificity: attached.specificity,
        priority: attached.policy.priority(),
        created: attached.policy.created.clone(),
        before_next: before_next(position),
        errors: errors(&attached.policy.findings),
    };
    all.iter().enumerate().map(one).collect()
}

fn errors(findings: &[Diagnostic]) -> Vec<Diagnostic> {
    findings.iter().filter(|finding| finding.severity() == Severity::Error).cloned().collect()
}
