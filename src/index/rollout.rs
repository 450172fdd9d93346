//! How far the controller of a workload is with its pod template, and what the operator has noted on a workload.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::{
    WorkloadKind,
    raw::{RawCondition, RawStatus, WorkloadSpec},
};
use crate::api::{MANAGER_INJECTED, REFUSED_ANNOTATION, REFUSED_BECAUSE_ANNOTATION, RESTARTED_FOR_ANNOTATION};

/// How far the controller of a workload is with its pod template. Few states, so that most changes of a status change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// A change of the template replaces no pods: there are none, or they are replaced by somebody else, or as a schedule says.
    #[default]
    Still,
    /// Somebody has stopped it.
    Paused,
    /// All pods run the template and are available.
    Complete,
    /// Pods are being replaced, or were not seen yet.
    UnderWay {
        /// Whether any pod is available.
        serving: bool,
        /// Whether all pods run the template already.
        updated: bool,
    },
    /// All pods run the template, or their controller has given up to bring them about, and not all of them are available.
    Unhealthy {
        /// Whether the progress deadline was exceeded.
        gave_up: bool,
    },
}

impl Rollout {
    /// Whether pods are being replaced.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::UnderWay { .. })
    }

    /// Whether a change of the template makes its controller replace pods.
    pub const fn follows(self) -> bool {
        !matches!(self, Self::Still | Self::Paused)
    }
}

/// How a rollout stands.
pub(super) fn rollout(kind: WorkloadKind, meta: &ObjectMeta, spec: &WorkloadSpec, status: &RawStatus) -> Rollout {
    let generation = meta.generation;
    let is_on_delete = spec.update_strategy.get("type").and_then(Value::as_str) == Some("OnDelete");
    let is_daemon_set = kind == WorkloadKind::DaemonSet;
    let wanted = if is_daemon_set { status.desired_number_scheduled } else { spec.replicas.as_i64().unwrap_or(1) };
    let is_observed = generation.is_none_or(|generation| status.observed_generation >= generation);
    let has_pods = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => wanted > 0,
        // How many there should be is not known before its controller has seen it.
        WorkloadKind::DaemonSet => wanted > 0 || !is_observed,
        WorkloadKind::CronJob | WorkloadKind::Job | WorkloadKind::Pod => false,
    };
    if !has_pods || is_on_delete {
        return Rollout::Still;
    }
    if spec.paused == Value::Bool(true) {
        return Rollout::Paused;
    }
    let (updated, available) = if is_daemon_set {
        (status.updated_number_scheduled, status.number_available)
    } else {
        (status.updated_replicas, status.available_replicas)
    };
    let partition =
        spec.update_strategy.pointer("/rollingUpdate/partition").and_then(Value::as_i64).unwrap_or_default();
    let to_update = (wanted - partition).clamp(0, wanted);
    // Old pods that are still there are to go.
    let none_left = kind != WorkloadKind::Deployment || status.replicas <= updated;
    let all_updated = is_observed && updated >= to_update && none_left;
    if all_updated && available >= wanted {
        return Rollout::Complete;
    }
    let says = |is_true: &str, reason: &str| {
        let is =
            |known: &&RawCondition| known.type_ == "Progressing" && known.status == is_true && known.reason == reason;
        is_observed && status.conditions.iter().flatten().any(|known| is(&known))
    };
    if says("False", "ProgressDeadlineExceeded") {
        return Rollout::Unhealthy { gave_up: true };
    }
    // Also where more pods are wanted since, and cannot be had.
    if is_observed && none_left && has_ended(meta, status, updated > 0) {
        return Rollout::Unhealthy { gave_up: false };
    }
    Rollout::UnderWay { serving: available > 0, updated: all_updated }
}

/// Whether the last rollout of a Deployment has come to its end. Where a `ReplicaSet` is used again, its condition may be one of before,
/// and nothing else says so: what was said before the operator's last write says nothing of it.
fn has_ended(meta: &ObjectMeta, status: &RawStatus, any_updated: bool) -> bool {
    let ended = status.conditions.iter().flatten().find(|known| {
        (&*known.type_, &*known.status, &*known.reason) == ("Progressing", "True", "NewReplicaSetAvailable")
    });
    let entries = meta.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(MANAGER_INJECTED));
    let written = ours.filter_map(|entry| entry.time.as_ref()).max();
    match (ended.map(|condition| condition.last_update_time.as_ref()), written) {
        (None, _) => false,
        (Some(_), None) | (Some(None), _) => any_updated,
        // No rollout ends in the second in which it begins.
        (Some(Some(said)), Some(written)) => any_updated && said > written,
    }
}

/// A configuration that was taken back in a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The hash of the configuration.
    pub configuration: String,
    /// What its pods said.
    pub because: String,
    /// Whether the operator holds the note: what somebody else has written is not taken out.
    pub held: bool,
}

/// What the operator has noted on a workload, besides the fields that it sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What was taken back.
    pub refusal: Option<Refusal>,
    /// The configuration for which its pods were restarted last, where the operator holds that note.
    pub restarted_for: Option<String>,
}

impl Notes {
    /// Reads metadata, and the annotations of the pod template.
    pub(super) fn read<'a>(
        kind: WorkloadKind,
        meta: &ObjectMeta,
        of_template: impl Fn(&str) -> Option<&'a String>,
    ) -> Option<Box<Self>> {
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        let managed = meta.managed_fields.as_deref().unwrap_or_default();
        let refusal = annotation(REFUSED_ANNOTATION).map(|configuration| Refusal {
            configuration,
            because: annotation(REFUSED_BECAUSE_ANNOTATION).unwrap_or_default(),
            held: holds(managed, &[], REFUSED_ANNOTATION),
        });
        let restarted_for = of_template(RESTARTED_FOR_ANNOTATION).cloned();
        let restarted_for = restarted_for.filter(|_| holds(managed, kind.template_path(), RESTARTED_FOR_ANNOTATION));
        let notes = Self { refusal, restarted_for };
        (notes != Self::default()).then(|| Box::new(notes))
    }

    /// Whether the operator's field manager holds any.
    pub fn is_held(&self) -> bool {
        self.restarted_for.is_some() || self.refusal.as_ref().is_some_and(|refusal| refusal.held)
    }
}

/// Whether the operator holds an annotation of what is at this path.
fn holds(managed: &[ManagedFieldsEntry], path: &[&str], annotation: &str) -> bool {
    let is_ours = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(MANAGER_INJECTED) && entry.operation.as_deref() == Some("Apply")
    };
    managed.iter().filter(is_ours).filter_map(|entry| entry.fields_v1.as_ref()).any(|fields| {
        let mut place = Some(&fields.0);
        for step in path.iter().chain(&["metadata", "annotations"]) {
            place = place.and_then(|place| place.get(format!("f:{step}")));
        }
        place.is_some_and(|place| place.get(format!("f:{annotation}")).is_some())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workload of the second generation, with these fields.
    fn of(kind: WorkloadKind, spec: &Value, status: &Value) -> Rollout {
        let spec: WorkloadSpec = serde_json::from_value(spec.clone()).unwrap();
        let status: RawStatus = serde_json::from_value(status.clone()).unwrap();
        rollout(kind, &ObjectMeta { generation: Some(2), ..ObjectMeta::default() }, &spec, &status)
    }

    fn counts(observed: i64, replicas: i64, updated: i64, available: i64) -> Value {
        json!({"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available})
    }

    #[test]
    fn a_deployment_is_under_way_until_all_its_pods_run_the_template_and_are_available() {
        let three = |status: &Value| of(WorkloadKind::Deployment, &json!({"replicas": 3}), status);
        let serving = |serving| Rollout::UnderWay { serving, updated: false };
        assert_eq!(three(&counts(2, 3, 3, 3)), Rollout::Complete);
        assert_eq!(three(&counts(1, 3, 3, 3)), serving(true), "its controller has not seen the template");
        assert_eq!(three(&counts(2, 4, 3, 3)), serving(true), "an old pod is left");
        assert_eq!(three(&counts(2, 3, 2, 3)), serving(true));
        assert_eq!(three(&counts(2, 3, 3, 2)), Rollout::UnderWay { serving: true, updated: true });
        assert_eq!(three(&json!({})), serving(false));
        let said = |condition: &Value, counted: Value| {
            let mut status = counted;
            status["conditions"] = json!([condition]);
            three(&status)
        };
        let came = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        assert_eq!(said(&came, counts(2, 3, 3, 1)), Rollout::Unhealthy { gave_up: false }, "it had come to its end");
        assert_eq!(said(&came, counts(1, 3, 3, 1)), serving(true), "of the template before");
        assert_eq!(said(&came, counts(2, 3, 1, 1)), serving(true));
        assert_eq!(said(&came, counts(2, 2, 2, 2)), Rollout::Unhealthy { gave_up: false }, "a third one cannot be had");
        assert_eq!(said(&came, counts(2, 0, 0, 0)), serving(false), "all at once");
        let late = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
        assert_eq!(said(&late, counts(2, 4, 1, 3)), Rollout::Unhealthy { gave_up: true });
        assert_eq!(said(&late, counts(1, 4, 1, 3)), serving(true));
    }

    #[test]
    fn a_condition_of_before_the_last_write_says_nothing_of_it() {
        let ended = |said: &str, written: &str| {
            let mut status = counts(2, 1, 1, 0);
            status["conditions"] = json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": said}]);
            let entry = json!({"manager": MANAGER_INJECTED, "operation": "Apply", "time": written});
            let meta = serde_json::from_value(json!({"generation": 2, "managedFields": [entry]})).unwrap();
            let (spec, status) = (json!({"replicas": 1}), serde_json::from_value(status).unwrap());
            rollout(WorkloadKind::Deployment, &meta, &serde_json::from_value(spec).unwrap(), &status)
        };
        assert_eq!(
            ended("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"),
            Rollout::UnderWay { serving: false, updated: true }
        );
        let (early, late) = ("2026-01-01T12:00:00Z", "2026-01-01T12:00:09Z");
        assert_eq!(ended(late, early), Rollout::Unhealthy { gave_up: false }, "its pod does not run any more");
        assert_eq!(
            ended(early, late),
            Rollout::UnderWay { serving: false, updated: true },
            "a ReplicaSet is used again"
        );
    }

    #[test]
    fn what_replaces_no_pods_is_still() {
        let zero = json!({"replicas": 0});
        assert_eq!(of(WorkloadKind::Deployment, &zero, &json!({})), Rollout::Still);
        assert_eq!(of(WorkloadKind::StatefulSet, &zero, &json!({})), Rollout::Still);
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        assert_eq!(of(WorkloadKind::StatefulSet, &on_delete, &json!({})), Rollout::Still);
        assert_eq!(of(WorkloadKind::DaemonSet, &on_delete, &json!({})), Rollout::Still);
        assert_eq!(of(WorkloadKind::CronJob, &json!({}), &json!({})), Rollout::Still);
        assert_eq!(of(WorkloadKind::Deployment, &json!({"paused": true}), &json!({})), Rollout::Paused);
        assert_eq!(of(WorkloadKind::Deployment, &json!({"paused": true, "replicas": 0}), &json!({})), Rollout::Still);
    }

    #[test]
    fn a_partition_keeps_pods_of_a_stateful_set_as_they_are() {
        let two_of_three = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        let set = |status: &Value| of(WorkloadKind::StatefulSet, &two_of_three, status);
        assert_eq!(set(&counts(2, 3, 2, 3)), Rollout::Complete);
        assert_eq!(set(&counts(2, 3, 1, 3)), Rollout::UnderWay { serving: true, updated: false });
    }

    #[test]
    fn a_daemon_set_has_a_pod_on_each_node() {
        let status = |observed: i64, desired: i64, updated: i64, available: i64| {
            let status = json!({"observedGeneration": observed, "desiredNumberScheduled": desired,
                "updatedNumberScheduled": updated, "numberAvailable": available});
            of(WorkloadKind::DaemonSet, &json!({}), &status)
        };
        assert_eq!(status(2, 2, 2, 2), Rollout::Complete);
        assert_eq!(status(2, 2, 1, 2), Rollout::UnderWay { serving: true, updated: false });
        assert_eq!(status(2, 0, 0, 0), Rollout::Still, "there is no node for it");
        assert_eq!(
            status(0, 0, 0, 0),
            Rollout::UnderWay { serving: false, updated: false },
            "nobody has looked for nodes yet"
        );
    }
}
