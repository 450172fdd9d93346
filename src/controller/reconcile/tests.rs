use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::*;
use crate::{
    controller::{Controller, Options},
    index::{Change, CollectorId},
    plan::read_collector,
};

fn context(address: std::net::SocketAddr, leads: bool) -> Arc<Context> {
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    Controller::new(client, &Options::default(), watch::channel(leads).1).context()
}

#[tokio::test]
async fn an_api_server_that_never_answers_holds_no_key_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let context = context(listener.local_addr().unwrap(), true);
    tokio::time::pause();
    let done = reconcile(context, Key::Identity).await;
    assert_eq!((done.outcome, done.changes.len()), (Outcome::Failed, 0));
}

#[tokio::test]
async fn who_no_longer_leads_writes_no_object_of_a_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Connections are refused: what is tried fails.
    drop(listener);
    let object = json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gw", "namespace": "ns", "uid": "u"},
        "spec": {"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}]}});
    let id = CollectorId { namespace: "ns".into(), name: "gw".into() };
    for (leads, outcome) in [(true, Outcome::Failed), (false, Outcome::Done)] {
        let context = context(address, leads);
        context.index().update(Change::Collector(read_collector(&object, "ns"), None));
        let done = reconcile(context, Key::Collector(id.clone())).await;
        assert_eq!(done.outcome, outcome, "leads: {leads}");
    }
}
