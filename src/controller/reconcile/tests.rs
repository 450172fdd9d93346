use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::{
    apply::{Leadership, Writer, leadership, now},
    controller::{Controller, Options},
    index::{Change, CollectorId, Index},
    plan::read_collector,
};

fn context(address: std::net::SocketAddr, leads: bool) -> Arc<Context> {
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let leadership = if leads { Leadership::for_good() } else { Leadership::never() };
    let writer = Writer::over(client.clone(), leadership.clone());
    Controller::new(client, writer, &Options::default(), leadership).context()
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

/// Counts down when it is dropped.
struct UnderWay(tokio::sync::watch::Sender<usize>);

impl UnderWay {
    fn new(count: &tokio::sync::watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_term_and_begins_again_with_the_next() {
    let (count, mut under_way) = tokio::sync::watch::channel(0);
    // It never answers.
    let hangs = move |_: hyper::Request<kube::client::Body>| {
        let under_way = UnderWay::new(&count);
        async move {
            std::future::pending::<()>().await;
            drop(under_way);
            Ok::<_, std::convert::Infallible>(hyper::Response::new(kube::client::Body::empty()))
        }
    };
    let client = kube::Client::new(tower::service_fn(hangs), "ns");
    let (mandate, leadership) = leadership();
    let writer = Writer::over(client.clone(), leadership.clone());
    // It asks what the API server has for admission, by a client that does not look at the term.
    let options = Options { managed: Some(crate::controller::Managed::default()), ..Options::default() };
    let mut controller = Controller::new(client, writer, &options, leadership);
    controller.sources.clear();
    *controller.context.index() = Index::new(None, []);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(controller.run(stopped));
    let soon = Duration::from_secs(20);
    for _ in 0..2 {
        mandate.extend(now() + Duration::from_secs(60));
        tokio::time::timeout(soon, under_way.wait_for(|count| *count == 1)).await.unwrap().unwrap();
        mandate.end();
        tokio::time::timeout(soon, under_way.wait_for(|count| *count == 0)).await.unwrap().unwrap();
    }
    // At a stop nobody waits for an answer of an earlier term.
    mandate.extend(now() + Duration::from_secs(60));
    tokio::time::timeout(soon, under_way.wait_for(|count| *count == 1)).await.unwrap().unwrap();
    stop.send_replace(true);
    mandate.end();
    tokio::time::timeout(soon, running).await.unwrap().unwrap().unwrap();
}
