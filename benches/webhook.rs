//! What the webhook adds to the creation of a pod: over real HTTPS and one connection, as the API server keeps it, beside a
//! handler that does nothing, with 500 policies in the index.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench stops where it fails, and prints")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tracesteward::{
    admission::{Admission, Injector, Options, Origin},
    index::{Change, Index},
    plan::{pod::plan_pod, read_policy},
};

const POLICIES: usize = 500;
const REQUESTS: usize = 5_000;
const LIMIT: Duration = Duration::from_millis(1);

/// As the operator does it: the index is locked for as long as it takes to plan.
struct Planning(Mutex<Index>);

impl Injector for Planning {
    fn inject(&self, namespace: &str, pod: &Value) -> Vec<Value> {
        let index = self.0.lock().expect("nobody panicked");
        plan_pod(index.snapshot(), namespace, pod).map(|planned| planned.operations).unwrap_or_default()
    }
}

struct Nothing;

impl Injector for Nothing {
    fn inject(&self, _: &str, _: &Value) -> Vec<Value> {
        Vec::new()
    }
}

/// An index of policies; in each namespace there are so many.
fn index(each: usize) -> Index {
    let mut index = Index::new(None, []);
    for number in 0..POLICIES {
        let namespace = format!("team-{}", number / each);
        let selector = json!({"matchLabels": {"app": format!("app-{number}")}});
        // The first of a namespace is about everything, and those behind it about others.
        let targets = if number % each == 0 { json!([]) } else { json!([{"kind": "Job", "selector": selector}]) };
        let spec = json!({
            "enabled": true, "targets": targets, "language": "python", "instrumentation": {"image": "agent:1"},
            "export": {"endpoint": "http://otel-collector.observability:4318"},
            "service": {"attributes": {"deployment.environment.name": "production"}}, "sampling": {"ratio": 0.5},
        });
        let object = json!({"metadata": {"name": format!("p{number}"), "namespace": namespace}, "spec": spec});
        index.update(Change::Policy(read_policy(&object, &namespace), None));
    }
    index
}

/// A pod as the API server sends it, with what others have put into it.
fn review() -> Vec<u8> {
    let mount = json!({"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true});
    let env: Vec<_> =
        (0..20).map(|number| json!({"name": format!("SETTING_{number}"), "value": "some value"})).collect();
    let container =
        |name: &str| json!({"name": name, "image": "registry.example/app:1.2.3", "env": env, "volumeMounts": [mount]});
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "once", "uid": "1", "controller": true});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "once-", "namespace": "team-0", "labels": {"app": "once"}, "ownerReferences": [owner]},
        "spec": {"containers": [container("app"), container("istio-proxy")], "volumes": [{"name": "kube-api-access", "projected": {}}]},
    });
    let request = json!({
        "uid": "d2b2b1a4-0000-4000-8000-000000000000", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE", "namespace": "team-0", "object": pod, "oldObject": null, "dryRun": false,
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string().into_bytes()
}

fn certificates(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("written");
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).expect("a certificate")
}

struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    fn open(address: SocketAddr, authority: &CertificateDer<'static>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).ok()?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().ok()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), ServerName::IpAddress(address.ip().into())).ok()?;
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(StreamOwned::new(session, stream)))
    }

    /// Posts a body and reads the whole answer.
    fn post(&mut self, body: &[u8]) -> std::io::Result<usize> {
        let head = format!("POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.write_all(&[head.as_bytes(), body].concat())?;
        self.0.flush()?;
        let (mut seen, mut buffer) = (Vec::new(), [0; 16 << 10]);
        loop {
            let read = self.0.read(&mut buffer)?;
            seen.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&seen);
            let Some((headers, rest)) = text.split_once("\r\n\r\n") else { continue };
            let headers = headers.to_ascii_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if rest.len() >= length.unwrap_or(usize::MAX) {
                assert!(headers.starts_with("http/1.1 200"), "{text}");
                return Ok(rest.len());
            }
        }
    }
}

/// Serves, asks many times, and says how long each answer took, shortest first, and how large it was.
fn measure(injector: Arc<dyn Injector>) -> (Vec<Duration>, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = certificates(folder.path());
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let options = Options {
        address,
        origin: Origin::Mounted(folder.path().to_owned()),
        hosts: Vec::new(),
        own_namespace: None,
        reach: None,
        timeout: 5,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (admission, server) = runtime.block_on(Admission::bind(options)).expect("the port is free");
    let client = runtime.block_on(async {
        // Nobody is asked: certificates come from files.
        Client::try_from(Config::new("http://127.0.0.1:1".parse().expect("an address"))).expect("a client")
    });
    runtime.spawn(admission.run(server, client, injector, Arc::default(), std::future::pending()));
    let body = review();
    let start = Instant::now();
    let mut connection = loop {
        let opened = Connection::open(address, &authority).filter(|_| start.elapsed() < Duration::from_secs(30));
        match opened.map(|mut connection| connection.post(&body).map(|_| connection)) {
            Some(Ok(connection)) => break connection,
            _ => assert!(start.elapsed() < Duration::from_secs(30), "the webhook does not answer"),
        }
    };
    for _ in 0..REQUESTS / 10 {
        connection.post(&body).expect("an answer");
    }
    let mut size = 0;
    let one = |_| {
        let start = Instant::now();
        size = connection.post(&body).expect("an answer");
        start.elapsed()
    };
    let mut times: Vec<_> = (0..REQUESTS).map(one).collect();
    times.sort_unstable();
    (times, size)
}

fn percentile(times: &[Duration], share: usize) -> Duration {
    times[(times.len() - 1) * share / 100]
}

fn main() {
    println!("webhook, {REQUESTS} pods over one HTTPS connection, {POLICIES} policies in the index");
    println!("{:<34}{:>10}{:>10}{:>10}{:>12}", "handler", "p50 us", "p90 us", "p99 us", "answer");
    let row = |name: &str, (times, size): &(Vec<Duration>, usize)| {
        let of = |share| percentile(times, share).as_micros();
        println!("{name:<34}{:>10}{:>10}{:>10}{:>10} B", of(50), of(90), of(99), size);
        percentile(times, 99)
    };
    let empty = row("empty", &measure(Arc::new(Nothing)));
    for (name, each) in [("5 in the pod's namespace", 5), ("all in the pod's namespace", POLICIES)] {
        assert_eq!(index(each).snapshot().policies().count(), POLICIES);
        let own = row(name, &measure(Arc::new(Planning(Mutex::new(index(each)))))).saturating_sub(empty);
        let verdict = if own < LIMIT { "below" } else { "NOT below" };
        println!("  its own time at p99: {} us, {verdict} {} us", own.as_micros(), LIMIT.as_micros());
    }
}
