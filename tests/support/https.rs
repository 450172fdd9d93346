//! A POST over HTTPS, as the API server sends it to a webhook on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::http::Answer;

/// A client that trusts these authorities (PEM) and nobody else.
pub(crate) struct Caller {
    config: Arc<ClientConfig>,
    port: u16,
}

impl Caller {
    /// For the webhook at this port.
    pub(crate) fn new(port: u16, bundle: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.expect("a certificate")).expect("an authority");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions of the provider");
        Self { config: Arc::new(config.with_root_certificates(roots).with_no_client_auth()), port }
    }

    /// Posts a body; an error where no connection comes about, or nothing is answered.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Result<Answer, String> {
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        self.send(&head, body)
    }

    /// Sends a head (without host, and without its end) and a body.
    pub(crate) fn send(&self, head: &str, body: &[u8]) -> Result<Answer, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let timeout = Duration::from_secs(20);
        let stream = TcpStream::connect_timeout(&address, timeout).map_err(|error| said(&error))?;
        stream.set_read_timeout(Some(timeout)).map_err(|error| said(&error))?;
        let name = ServerName::IpAddress(address.ip().into());
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| said(&error))?;
        let mut tls = StreamOwned::new(session, stream);
        let head = format!("{head}Host: {address}\r\nConnection: close\r\n\r\n");
        tls.write_all(head.as_bytes()).map_err(|error| said(&error))?;
        // Who refuses a body early may close before all of it was sent, and has answered all the same.
        let sent = tls.write_all(body).and_then(|()| tls.flush());
        let mut raw = Vec::new();
        let read = tls.read_to_end(&mut raw);
        let text = String::from_utf8_lossy(&raw);
        let Some((headers, body)) = text.split_once("\r\n\r\n") else {
            return Err(format!("no HTTP answer: {text:?}, {sent:?}, {read:?}"));
        };
        let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {headers:?}"))?;
        Ok(Answer { status, headers: headers.to_owned(), body: body.to_owned() })
    }

    /// Asks `/validate` about the creation of an object; returns the response.
    pub(crate) fn review(&self, object: &Value, namespace: &str) -> Result<Value, String> {
        self.ask("/validate", &review("CREATE", object, &Value::Null, namespace))
    }

    /// Posts a review and returns the response in the answer.
    pub(crate) fn ask(&self, path: &str, review: &Value) -> Result<Value, String> {
        let answer = self.post(path, review.to_string().as_bytes())?;
        let value: Value = serde_json::from_str(&answer.body).map_err(|error| format!("{}: {error}", answer.body))?;
        if answer.status == 200 { Ok(value["response"].clone()) } else { Err(format!("{}: {value}", answer.status)) }
    }
}

/// An AdmissionReview as the API server writes it.
pub(crate) fn review(operation: &str, object: &Value, old: &Value, namespace: &str) -> Value {
    let whole = if object.is_null() { old } else { object };
    let kind = whole["kind"].as_str().unwrap_or_default();
    let (group, version) = whole["apiVersion"].as_str().and_then(|text| text.split_once('/')).unwrap_or(("", "v1"));
    let kind = json!({"group": group, "version": version, "kind": kind});
    let resource = json!({"group": group, "version": version, "resource": "ignored"});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "d2b2b1a4-0000-4000-8000-000000000000", "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "name": whole["metadata"]["name"], "namespace": namespace, "operation": operation,
            "userInfo": {"username": "somebody", "groups": ["system:authenticated"]}, "object": object, "oldObject": old,
            "dryRun": false, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}
