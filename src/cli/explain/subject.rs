//! `KIND/NAME`, as users of kubectl write it.

use crate::{api::GROUP, index::WorkloadKind};

/// What is to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Workload(WorkloadKind),
    Policy,
    ClusterPolicy,
    Collector,
}

impl Subject {
    /// The kind's name.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Workload(kind) => kind.as_str(),
            Self::Policy => "TracingPolicy",
            Self::ClusterPolicy => "ClusterTracingPolicy",
            Self::Collector => "TracingCollector",
        }
    }
}

/// Every name of each kind, in small letters and without its group.
const NAMES: [(Subject, &[&str]); 9] = [
    (Subject::Workload(WorkloadKind::Deployment), &["deployment", "deployments", "deploy"]),
    (Subject::Workload(WorkloadKind::StatefulSet), &["statefulset", "statefulsets", "sts"]),
    (Subject::Workload(WorkloadKind::DaemonSet), &["daemonset", "daemonsets", "ds"]),
    (Subject::Workload(WorkloadKind::CronJob), &["cronjob", "cronjobs", "cj"]),
    (Subject::Workload(WorkloadKind::Job), &["job", "jobs"]),
    (Subject::Workload(WorkloadKind::Pod), &["pod", "pods", "po"]),
    (Subject::Policy, &["tracingpolicy", "tracingpolicies", "trp"]),
    (Subject::ClusterPolicy, &["clustertracingpolicy", "clustertracingpolicies", "ctrp"]),
    (Subject::Collector, &["tracingcollector", "tracingcollectors", "trc"]),
];

/// Reads `KIND/NAME`; of a kind with its group (`deployments.apps`), the group must be the right one.
pub(super) fn parse(text: &str) -> Result<(Subject, String), String> {
    let Some((kind, name)) = text.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty()) else {
        return Err(format!("{text}: write KIND/NAME, for example Deployment/web"));
    };
    let kind = kind.to_ascii_lowercase();
    let (plain, group) = kind.split_once('.').map_or((kind.as_str(), None), |(plain, group)| (plain, Some(group)));
    let found = NAMES.iter().find(|(_, names)| names.contains(&plain)).map(|(subject, _)| *subject);
    let right = found.filter(|subject| group.is_none_or(|group| group == group_of(*subject)));
    right.map(|subject| (subject, name.to_owned())).ok_or_else(|| {
        let nearest = NAMES.iter().flat_map(|(subject, names)| names.iter().map(|name| (subject.kind(), *name)));
        let nearest = nearest.max_by(|one, other| strsim::jaro(one.1, plain).total_cmp(&strsim::jaro(other.1, plain)));
        format!(
            "{text}: no kind that can be explained; did you mean {}?",
            nearest.map(|(kind, _)| kind).unwrap_or_default()
        )
    })
}

const fn group_of(subject: Subject) -> &'static str {
    match subject {
        Subject::Workload(WorkloadKind::CronJob | WorkloadKind::Job) => "batch",
        Subject::Workload(WorkloadKind::Pod) => "",
        Subject::Workload(_) => "apps",
        Subject::Policy | Subject::ClusterPolicy | Subject::Collector => GROUP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_every_name_of_kubectl() {
        let of = |text: &str| parse(text).map(|(subject, name)| format!("{} {name}", subject.kind()));
        for (text, expected) in [
            ("deploy/web", "Deployment web"),
            ("Deployments.apps/web", "Deployment web"),
            ("STS/db", "StatefulSet db"),
            ("ds/agent", "DaemonSet agent"),
            ("cj/nightly", "CronJob nightly"),
            ("trp/a", "TracingPolicy a"),
            ("tracingpolicies.tracesteward.io/a", "TracingPolicy a"),
            ("CTRP/a", "ClusterTracingPolicy a"),
            ("trc/a", "TracingCollector a"),
            ("po/a", "Pod a"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected));
        }
        // Another project's kind of the same name.
        for text in ["tracingpolicies.cilium.io/a", "web", "deploy/", "/web", "ingress/a"] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(of("deplyoment/a").unwrap_err().contains("did you mean Deployment?"));
    }
}
