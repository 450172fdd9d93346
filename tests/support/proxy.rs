//! A proxy before the API server that does what networks and busy API servers do: it is slow, refuses, cuts watches, says that
//! versions are gone, or nothing at all. It has a thread of its own, so that a test that blocks does not hold it up.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certs::KeyedCert;
use super::kubectl;
use super::plane::ControlPlane;
use super::process::free_port;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// Which requests a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    All,
    /// Everything that is no GET.
    Writes,
    /// Watches as they begin.
    Watches,
}

/// How a watch is told that its version is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// By the status of the answer.
    Status,
    /// By an event in a stream that began well.
    Event,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Each request waits so long before it is passed on.
    Slow(Duration),
    /// Of these requests one in so many is answered with this status.
    Refuse { status: u16, retry_after: Option<u32>, what: What, one_in: u64 },
    /// The version at which a watch begins is gone.
    Gone(Gone),
    /// Nothing passes, in no direction; what was held passes when this is over.
    Silence,
    /// Requests are accepted and never answered, also when this is over.
    Swallow,
}

/// How open watches end.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The connection breaks.
    Broken,
    /// The stream says 410 Gone.
    Gone,
}

struct State {
    fault: watch::Sender<Option<Fault>>,
    cuts: watch::Sender<Cut>,
    requests: AtomicUsize,
    candidates: AtomicU64,
    hit: AtomicUsize,
    open: AtomicUsize,
    log: Mutex<Vec<String>>,
    traces: Mutex<Vec<(String, String)>>,
    api_port: u16,
    connector: TlsConnector,
}

/// A running proxy. Dropping it stops it.
pub(crate) struct Proxy {
    state: Arc<State>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy before the API server of this control plane, under a certificate of its authority.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        let port = free_port();
        let KeyedCert { cert, key } = plane.authority().server(&format!("proxy-{port}"), &["127.0.0.1"]);
        let acceptor = acceptor(&cert, &key);
        let state = Arc::new(State {
            fault: watch::Sender::new(None),
            cuts: watch::Sender::new(Cut::Broken),
            requests: AtomicUsize::new(0),
            candidates: AtomicU64::new(0),
            hit: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            log: Mutex::default(),
            traces: Mutex::default(),
            api_port: plane.api_port(),
            connector: connector(&plane.authority().ca()),
        });
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("a socket can be set up");
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).expect("a listening socket");
                tokio::select! {
                    () = accept(listener, acceptor, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { state, port, stop: Some(stop), thread: Some(thread) }
    }

    /// A copy of a kubeconfig that leads through this proxy.
    pub(crate) fn kubeconfig(&self, of: &Path) -> PathBuf {
        let known: Value = serde_json::from_slice(&fs::read(of).expect("a kubeconfig")).expect("it is JSON");
        let path = of.with_extension(format!("{}.kubeconfig", self.port));
        let authority =
            PathBuf::from(known["clusters"][0]["cluster"]["certificate-authority"].as_str().expect("a path"));
        let server = format!("https://127.0.0.1:{}", self.port);
        kubectl::write_kubeconfig(&path, &server, &authority, &known["users"][0]["user"]);
        path
    }

    /// From now on this goes wrong, and nothing else.
    pub(crate) fn set(&self, fault: Fault) {
        self.state.candidates.store(0, Ordering::Relaxed);
        self.state.fault.send_replace(Some(fault));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn clear(&self) {
        self.state.fault.send_replace(None);
    }

    /// Breaks the connections of all open watches; says how many those were.
    pub(crate) fn cut_watches(&self) -> usize {
        let open = self.watches();
        self.state.cuts.send_replace(Cut::Broken);
        open
    }

    /// Has all open watches say that their version is gone; says how many those were.
    pub(crate) fn end_watches_as_gone(&self) -> usize {
        let open = self.watches();
        self.state.cuts.send_replace(Cut::Gone);
        open
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How many of them a fault has met.
    pub(crate) fn hit(&self) -> usize {
        self.state.hit.load(Ordering::Relaxed)
    }

    /// How many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Every request so far: `GET /api/v1/pods?watch=true`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of them that had a `traceparent`, with it.
    pub(crate) fn traces(&self) -> Vec<(String, String)> {
        self.state.traces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Dropped, it is heard as well.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::task::spawn_local(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            // One connection to the API server for each to the proxy.
            let upstream = Arc::new(tokio::sync::Mutex::new(None));
            let service = service_fn(move |request| {
                let (state, upstream) = (Arc::clone(&state), Arc::clone(&upstream));
                async move { answer(&state, &mut *upstream.lock().await, request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
            drop(connection.await);
        });
    }
}

/// An error ends the connection.
async fn answer(
    state: &Arc<State>,
    upstream: &mut Option<SendRequest<Incoming>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let line = format!("{} {}", request.method(), request.uri());
    if let Some(trace) = request.headers().get("traceparent").and_then(|value| value.to_str().ok()) {
        let traced = (line.clone(), trace.to_owned());
        state.traces.lock().unwrap_or_else(PoisonError::into_inner).push(traced);
    }
    state.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    let fault = *state.fault.borrow();
    if let Some(response) = met(state, fault, request.method(), is_watch).await {
        return Ok(response);
    }
    let address = format!("127.0.0.1:{}", state.api_port);
    request.headers_mut().insert(HOST, address.parse()?);
    if upstream.as_ref().is_none_or(SendRequest::is_closed) {
        *upstream = Some(connect(state).await?);
    }
    let sender = upstream.as_mut().ok_or("no connection")?;
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    // Answers are held as requests are: what was sent before the silence has not arrived.
    passing(state).await;
    let body = if is_watch && parts.status.is_success() {
        watched(state, body)
    } else {
        body.map_err(Error::from).boxed_unsync()
    };
    Ok(Response::from_parts(parts, body))
}

/// The answer of the fault to a request, where the fault is that.
async fn met(state: &State, fault: Option<Fault>, method: &Method, is_watch: bool) -> Option<Response<Body>> {
    let hit = || state.hit.fetch_add(1, Ordering::Relaxed);
    match fault? {
        Fault::Slow(delay) => {
            hit();
            tokio::time::sleep(delay).await;
            None
        }
        Fault::Silence => {
            hit();
            passing(state).await;
            None
        }
        Fault::Swallow => {
            hit();
            std::future::pending().await
        }
        Fault::Refuse { status, retry_after, what, one_in } => {
            let is_meant = match what {
                What::All => true,
                What::Writes => method != Method::GET,
                What::Watches => is_watch,
            };
            if !is_meant || !scattered(state.candidates.fetch_add(1, Ordering::Relaxed)).is_multiple_of(one_in) {
                return None;
            }
            hit();
            Some(said(status, retry_after, &refusal(status, "InternalError", "the test says no")))
        }
        Fault::Gone(_) if !is_watch => None,
        Fault::Gone(how) => {
            hit();
            let status = refusal(410, "Expired", "too old resource version: the test says so");
            Some(match how {
                Gone::Status => said(410, None, &status),
                Gone::Event => said(200, None, &json!({"type": "ERROR", "object": status})),
            })
        }
    }
}

/// Which requests of a share are met: the same ones each time, and in no rhythm that a client could fall into.
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32
}

/// Waits until nothing is held any longer.
async fn passing(state: &State) {
    let silent = |fault: &Option<Fault>| matches!(fault, Some(Fault::Silence));
    drop(state.fault.subscribe().wait_for(|fault| !silent(fault)).await);
}

fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

fn said(status: u16, retry_after: Option<u32>, body: &Value) -> Response<Body> {
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        response = response.header(RETRY_AFTER, seconds);
    }
    let body = Full::new(Bytes::from(format!("{body}\n"))).map_err(|never: Infallible| match never {});
    response.body(body.boxed_unsync()).expect("a response")
}

/// The body of a watch, which can be cut.
fn watched(state: &Arc<State>, body: Incoming) -> Body {
    let open = Open::new(state);
    let cuts = state.cuts.subscribe();
    let frames = stream::unfold(Some((body, cuts, open)), async |known| {
        let (mut body, mut cuts, open) = known?;
        tokio::select! {
            biased;
            _ = cuts.changed() => {
                let cut = *cuts.borrow();
                open.0.hit.fetch_add(1, Ordering::Relaxed);
                let end = match cut {
                    Cut::Broken => Err(Error::from("the test cuts the watch")),
                    Cut::Gone => {
                        let status = refusal(410, "Expired", "too old resource version: the test says so");
                        let event = json!({"type": "ERROR", "object": status});
                        Ok(Frame::data(Bytes::from(format!("{event}\n"))))
                    }
                };
                Some((end, None))
            }
            frame = body.frame() => {
                let frame = frame?.map_err(Error::from);
                passing(&open.0).await;
                Some((frame, Some((body, cuts, open))))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Counts a watch for as long as it is open.
struct Open(Arc<State>);

impl Open {
    fn new(state: &Arc<State>) -> Self {
        state.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connect(state: &State) -> Result<SendRequest<Incoming>, Error> {
    let stream = TcpStream::connect(("127.0.0.1", state.api_port)).await?;
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let tls = state.connector.connect(name, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn connector(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions of the provider");
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn acceptor(cert: &Path, key: &Path) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(cert).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions of the provider")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("a certificate and its key")))
}
