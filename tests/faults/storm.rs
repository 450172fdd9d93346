//! Somebody else writes the same Deployments, twenty times a second: by updates of the whole object, and by server-side apply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::common::{Ground, RECOVERY, row, stripped};
use crate::fixtures::{SOON, shared, text, value};
use crate::support::{consistently, eventually};

/// Twenty times a second.
const TICK: Duration = Duration::from_millis(50);

/// What a storm has done to one Deployment.
struct Storm {
    name: String,
    /// The answer to its last write.
    last: Value,
    written: usize,
    conflicts: usize,
}

/// Writes a Deployment until it is told to stop. Its own annotation, its own variable, its own field of the specification; and
/// one variable that the operator knows too, where `taken` says so.
async fn storm(
    api: Api<DynamicObject>,
    name: String,
    taken: bool,
    over: Arc<AtomicBool>,
    ticks: Arc<AtomicUsize>,
) -> Storm {
    let mut known = Storm { name, last: Value::Null, written: 0, conflicts: 0 };
    let mut interval = tokio::time::interval(TICK);
    let mut tick = 0;
    while !over.load(Ordering::Relaxed) {
        interval.tick().await;
        tick += 1;
        ticks.fetch_add(1, Ordering::Relaxed);
        let done = if tick % 2 == 0 {
            apply(&api, &known.name, tick, taken).await
        } else {
            update(&api, &known.name, tick).await
        };
        match done {
            Ok(object) => {
                known.written += 1;
                known.last = serde_json::to_value(object).unwrap();
            }
            Err(kube::Error::Api(status)) if status.code == 409 => known.conflicts += 1,
            Err(error) => panic!("{}: {error}", known.name),
        }
    }
    known
}

async fn update(api: &Api<DynamicObject>, name: &str, tick: usize) -> Result<DynamicObject, kube::Error> {
    let mut object = api.get(name).await?;
    object.metadata.annotations.get_or_insert_default().insert("storm/updated".to_owned(), tick.to_string());
    object.data["spec"]["revisionHistoryLimit"] = json!(tick % 20);
    api.replace(name, &PostParams { field_manager: Some("storm-update".to_owned()), ..PostParams::default() }, &object)
        .await
}

async fn apply(api: &Api<DynamicObject>, name: &str, tick: usize, taken: bool) -> Result<DynamicObject, kube::Error> {
    let mut env = vec![json!({"name": "STORM", "value": tick.to_string()})];
    if taken {
        env.push(json!({"name": "OTEL_SERVICE_NAME", "value": format!("taken-{tick}")}));
    }
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"storm/applied": tick.to_string()}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}});
    api.patch(name, &PatchParams::apply("storm"), &Patch::Apply(patch)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_writer_twenty_times_a_second() {
    const COUNT: usize = 4;
    let mut ground = Ground::new(shared().await, "storm", COUNT).await;
    let api = ground.world.api("Deployment");
    // Before there is a policy, `web-0` has its own name for the service.
    apply(&api, "web-0", 0, true).await.unwrap();
    let mut operator = ground.world.operator(&[]).await;
    let (over, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let storms: Vec<_> = (0..COUNT)
        .map(|number| storm(api.clone(), format!("web-{number}"), number == 0, Arc::clone(&over), Arc::clone(&ticks)))
        .map(tokio::spawn)
        .collect();
    let mark = ground.world.plane.audit_mark();
    for _ in 0..4 {
        ground.change();
        let before = ticks.load(Ordering::Relaxed);
        eventually("every workload is reached in the storm", RECOVERY, async || {
            let reached = ground.reached().await;
            (reached == ground.count()).then_some(()).ok_or_else(|| reached.to_string())
        })
        .await;
        eventually("the storm goes on", SOON, async || {
            let since = ticks.load(Ordering::Relaxed) - before;
            (since >= 20 * COUNT).then_some(()).ok_or_else(|| since.to_string())
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    let storms: Vec<Storm> = join_all(storms).await.into_iter().map(Result::unwrap).collect();
    let since = Instant::now();
    let (ready, counts) = ("True/Ready", format!("matched={0} injected={0} overridden=1", ground.count()));
    ground.world.settled("all", ready, &counts).await;
    let recovered = since.elapsed();

    let writes = ground.world.writes(mark).counted();
    let due = 4 * ground.count();
    for write in writes.iter() {
        assert_eq!((write.verb.as_str(), write.code), ("patch", 200), "{write:?}");
    }
    let storm_writes: usize = storms.iter().map(|known| known.written).sum();
    assert!(storm_writes > 40 * COUNT, "{storm_writes}");
    assert_eq!(writes.len(), due, "however often others write");
    for known in &storms {
        let live = ground.world.get("Deployment", &known.name).await;
        assert_eq!(stripped(live.clone()).to_string(), stripped(known.last.clone()).to_string(), "{}", known.name);
        assert_eq!(value(&live, "OTEL_TRACES_SAMPLER_ARG"), Some(ground.ratio().as_str()));
        let service = value(&live, "OTEL_SERVICE_NAME").unwrap();
        assert_eq!(service.starts_with("taken-"), known.name == "web-0", "{service}");
        let variables = live["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let first: Vec<_> = variables.iter().take(3).map(|variable| text(&variable["name"])).collect();
        assert_eq!(first, ["FIRST", "SECOND", "NODE"]);
        assert!(known.conflicts < known.written, "{}: {} conflicts", known.name, known.conflicts);
    }
    consistently("there is rest", Duration::from_secs(2), async || {
        let more = ground.world.writes(mark).counted().len();
        (more == due).then_some(()).ok_or_else(|| more.to_string())
    })
    .await;
    operator.assert_alive();
    row("another writer, 20 times a second", recovered, writes.len(), 0, due);
}
