//! The operator itself makes a container's rename under a server-side applier work, by a policy and by its webhook.

use serde_json::json;

use super::common::{IMPATIENT, ROLE, find, operator, plane};
use crate::fixtures::{KINDS, SOON, World, container, install_crds, names, policy, traced, workload_of};
use crate::support::process::free_port;
use crate::support::{ControlPlane, Mark, eventually};

const POLICY: (&str, &str) = ("MutatingAdmissionPolicy", "tracesteward-repair");
const BINDING: (&str, &str) = ("MutatingAdmissionPolicyBinding", "tracesteward-repair");
const WEBHOOK: (&str, &str) = ("MutatingWebhookConfiguration", "tracesteward");

async fn until_there_are(world: &World<'_>, expected: [bool; 3]) {
    eventually(&format!("policy, binding, webhook: {expected:?}"), SOON, async || {
        let mut found = [false; 3];
        for (place, (kind, name)) in found.iter_mut().zip([POLICY, BINDING, WEBHOOK]) {
            *place = find(world, kind, name).await.is_some();
        }
        (found == expected).then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
}

/// Renames a container of an injected workload of every kind, as Flux, Argo CD and Helm 4 do it.
async fn renames_work(world: &World<'_>, prefix: &str) {
    for (kind, _) in KINDS {
        let name = format!("{prefix}-{}", kind.to_lowercase());
        let with = |container_name: &str| workload_of(kind, &name, &json!([container(container_name, &json!([]))]));
        world.apply_server_side(&with("old"), "team", &[]).success();
        world
            .until("it is injected", kind, &name, |live| {
                names(live, "old").contains(&"OTEL_SERVICE_NAME").then_some(()).ok_or_else(|| live.to_string())
            })
            .await;
        let renamed = with("new");
        eventually(&format!("{kind}: the rename works"), SOON, async || {
            let said = world.apply_server_side(&renamed, "team", &[]);
            if said.status.success() { Ok(()) } else { Err(said.stderr) }
        })
        .await;
        world
            .until("the new one is injected", kind, &name, |live| {
                names(live, "new").contains(&"OTEL_SERVICE_NAME").then_some(()).ok_or_else(|| live.to_string())
            })
            .await;
    }
}

#[tokio::test]
async fn a_rename_works_by_the_policy_and_by_the_webhook() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "rename").await;
    world.apply(&policy("all", &traced(1.0)));
    let port = free_port();

    let running = operator(&world, port, &[IMPATIENT, "--manage-admission=false"]).await;
    let with = |name: &str| workload_of("Deployment", "plain", &json!([container(name, &json!([]))]));
    world.apply_server_side(&with("old"), "team", &[]).success();
    world
        .until("it is injected", "Deployment", "plain", |live| {
            names(live, "old").contains(&"OTEL_SERVICE_NAME").then_some(()).ok_or_else(|| live.to_string())
        })
        .await;
    let said = world.apply_server_side(&with("new"), "team", &[]).failure();
    assert!(said.contains("image: Required value"), "without a repair: {said}");
    running.stop();

    for (how, expected) in
        [("policy", [true, true, false]), ("webhook", [false, false, true]), ("auto", [true, true, false])]
    {
        let flag = format!("--admission-policy={how}");
        let running = operator(&world, port, &[IMPATIENT, &flag]).await;
        until_there_are(&world, expected).await;
        renames_work(&world, how).await;
        running.stop();
    }
}

#[tokio::test]
async fn where_the_policy_is_refused_the_webhook_repairs() {
    // An API server that stays compatible with this version refuses a function that the policy calls, as that version does.
    let plane = ControlPlane::start_with(&["--min-compatibility-version=1.33"]).await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "refused").await;
    world.apply(&policy("all", &traced(1.0)));
    let running = operator(&world, free_port(), &[IMPATIENT]).await;
    eventually("the webhook is there", SOON, async || {
        find(&world, WEBHOOK.0, WEBHOOK.1).await.map(|_| ()).ok_or_else(|| running.logs())
    })
    .await;
    renames_work(&world, "refused").await;
    let said = running.logs().matches("refuses the admission policy").count();
    assert_eq!(said, 1, "it is said once: {}", running.logs());
    let refused = world.writes(Mark::default()).only(|write| write.code == 422);
    assert_eq!(refused.len(), 1, "and not tried all the time: {refused:#?}");
    running.stop();

    // Without its webhook the operator does not leave a closed door behind.
    let running = world.operator(&["--manage-admission", &format!("--admission-owner={ROLE}")]).await;
    eventually("the configuration goes", SOON, async || {
        find(&world, WEBHOOK.0, WEBHOOK.1).await.map_or(Ok(()), |_| Err(running.logs()))
    })
    .await;
}
