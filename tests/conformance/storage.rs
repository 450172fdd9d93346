//! A queue on disk: what waits for a backend outlives the process.

use serde_json::json;

use crate::compare::render;
use crate::model::collector;
use crate::support::otlp::{Client, from_resource, service, span};
use crate::support::process::free_port;
use crate::support::{Backend, Collector};

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_on_disk_is_sent_by_the_next_process() {
    let queue = tempfile::tempdir().unwrap();
    let storage = json!({"queue": {"storage": {"size": "1Gi"}}});
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let over = json!({"extensions": {"file_storage/queue": {"directory": queue.path()}}});
    let mut first = Collector::start_with(&render(&[collector(&nowhere, storage.clone())]), &[], &over).await;
    let spans = (1..=20).map(|number| span(number, number, "s", Vec::new())).collect();
    Client::connect(first.http_port()).send(vec![from_resource(service("shop", "web"), spans)]);
    assert!(first.stop().success(), "{}", first.logs());
    let backend = Backend::start().await;
    let mut second = Collector::start_with(&render(&[collector(&backend.endpoint(), storage)]), &[], &over).await;
    crate::support::eventually("the spans arrive", std::time::Duration::from_secs(30), || {
        let arrived = backend.spans().len();
        async move { if arrived == 20 { Ok(()) } else { Err(format!("{arrived} spans")) } }
    })
    .await;
    assert!(second.stop().success(), "{}", second.logs());
}
