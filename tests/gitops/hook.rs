//! A webhook that does what the repairs say, behind their conditions: the way for API servers without
//! MutatingAdmissionPolicy. It keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};
use tracesteward::plan::repair::{Operation, match_conditions, repair, rules};

use super::common::{OWN_NAMESPACE, REPAIRED_BY};
use crate::support::ControlPlane;

/// What the webhook was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) object: Value,
    pub(crate) operations: Vec<Operation>,
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A running webhook, for namespaces labelled `webhook`.
pub(crate) struct Hook {
    log: Log,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Hook {
    /// Starts the server in this test's runtime, and makes its configuration.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let keyed = plane.authority().server("repair-hook", &["127.0.0.1"]);
        let cert = CertificateDer::from_pem_file(&keyed.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&keyed.key).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
        let log = Log::default();
        let app = Router::new().route("/", post(review)).with_state(log.clone());
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let ca = std::fs::read(plane.authority().ca()).unwrap();
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "repair-hook"},
            "webhooks": [{
                "name": "repair.test.tracesteward.io", "failurePolicy": "Ignore", "sideEffects": "None",
                "admissionReviewVersions": ["v1"], "timeoutSeconds": 5, "rules": rules(),
                "matchConditions": match_conditions(OWN_NAMESPACE),
                "namespaceSelector": {"matchLabels": {REPAIRED_BY: "webhook"}},
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": base64(&ca)},
            }],
        });
        plane.kubectl_stdin(&["apply", "-f", "-"], &configuration.to_string()).success();
        Self { log, server }
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

async fn review(State(log): State<Log>, Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let operations = repair(&request["object"], &request["oldObject"]);
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if !operations.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(base64(&serde_json::to_vec(&operations).unwrap()));
    }
    log.lock().unwrap().push(Asked { object: request["object"].clone(), operations });
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap().as_str().unwrap().to_owned()
}
