use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::*;
use crate::apply::{ApplyError, leadership::leadership, now};

const LONG: Duration = Duration::from_secs(60);

/// What a server on loopback met: a request, or the end of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Request,
    End(Option<io::ErrorKind>),
}

/// A server in threads of its own that answers every request so; not at all where that is empty.
fn server(answer: &'static str) -> (SocketAddr, Receiver<Met>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, met) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender): (TcpStream, _) = (stream.unwrap(), sender.clone());
            thread::spawn(move || {
                let mut buffer = [0; 4_096];
                loop {
                    let met = match stream.read(&mut buffer) {
                        Ok(0) => Met::End(None),
                        Ok(_) => Met::Request,
                        Err(error) => Met::End(Some(error.kind())),
                    };
                    let is_end = met != Met::Request;
                    if sender.send(met).is_err() || is_end || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, met)
}

fn config(address: SocketAddr) -> Config {
    Config::new(format!("http://{address}").parse().unwrap())
}

async fn write(writer: &Writer) -> ApplyError {
    let api: Api<ConfigMap> = Api::namespaced(writer.client(), "ns");
    let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}));
    api.patch("a", &PatchParams::apply("test"), &patch).await.unwrap_err().into()
}

const REFUSAL: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n";

#[tokio::test]
async fn who_does_not_lead_sends_nothing() {
    let (address, met) = server(REFUSAL);
    let (mandate, leadership) = leadership();
    let writer = Writer::connect(config(address), leadership, &Metrics::default()).unwrap();
    assert!(matches!(write(&writer).await, ApplyError::NotLeading));
    mandate.extend(now() + LONG);
    mandate.end();
    assert!(matches!(write(&writer).await, ApplyError::NotLeading));
    assert!(met.try_recv().is_err());
}

#[tokio::test]
async fn a_request_that_is_under_way_when_the_term_ends_is_given_up_and_its_connection_reset() {
    let (address, met) = server("");
    let (mandate, leadership) = leadership();
    let writer = Writer::connect(config(address), leadership, &Metrics::default()).unwrap();
    mandate.extend(now() + Duration::from_millis(300));
    assert!(matches!(write(&writer).await, ApplyError::NotLeading));
    let met = tokio::task::spawn_blocking(move || [met.recv().unwrap(), met.recv().unwrap()]).await.unwrap();
    // An orderly end would deliver what the network holds.
    assert_eq!(met, [Met::Request, Met::End(Some(io::ErrorKind::ConnectionReset))]);
}

#[tokio::test]
async fn what_is_refused_is_not_repeated_after_the_term() {
    let (address, met) = server(REFUSAL);
    let (mandate, leadership) = leadership();
    let writer = Writer::connect(config(address), leadership, &Metrics::default()).unwrap();
    mandate.extend(now() + Duration::from_millis(300));
    let write = tokio::spawn(async move { write(&writer).await });
    let first = tokio::task::spawn_blocking(move || (met.recv().unwrap(), met)).await.unwrap();
    assert_eq!(first.0, Met::Request);
    // As after a pause of the whole process: no timer has run when everything is due at once.
    thread::sleep(Duration::from_millis(1_500));
    // Leading again is no reason: what is to be written may be something else by now.
    mandate.extend(now() + LONG);
    assert!(matches!(write.await.unwrap(), ApplyError::NotLeading));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!first.1.try_iter().any(|met| met == Met::Request));
}

#[tokio::test]
async fn a_connection_serves_one_term() {
    let (address, met) = server("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n");
    let (mandate, leadership) = leadership();
    let mut gate = Gate { connector: HttpConnector::new(), leadership };
    let connect = |gate: &mut Gate| gate.call(format!("http://{address}").parse().unwrap());
    assert!(connect(&mut gate).await.is_err(), "nobody leads");
    mandate.extend(now() + LONG);
    let mut io = connect(&mut gate).await.unwrap();
    let mut send = async || poll_fn(|context| Pin::new(&mut io).poll_write(context, b"bytes")).await;
    assert_eq!(send().await.unwrap(), 5);
    mandate.extend(now() + LONG);
    assert_eq!(send().await.unwrap(), 5, "the same term");
    mandate.end();
    assert!(send().await.is_err());
    mandate.extend(now() + LONG);
    assert!(send().await.is_err(), "another term");
    poll_fn(|context| Pin::new(&mut io).poll_shutdown(context)).await.unwrap_err();
    drop(met);
}
