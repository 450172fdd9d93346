//! HTTP as the exporter of spans needs it, over what is here already.

use std::{io::Write, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderValue, Request, Response, header},
};
use flate2::{Compression, write::GzEncoder};
use futures::{FutureExt, future::BoxFuture};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::variable;

/// How long a connection to the collector may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const ANSWER: usize = 64 << 10;

/// HTTP as the exporter needs it.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    compresses: bool,
}

impl Http {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls()?).https_or_http().enable_http1();
        let connector = connector.wrap_connector(plain);
        let compression =
            variable("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION").or_else(|| variable("OTEL_EXPORTER_OTLP_COMPRESSION"));
        let compresses = compression.is_some_and(|compression| compression == "gzip");
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), compresses })
    }
}

/// Trusts `OTEL_EXPORTER_OTLP_CERTIFICATE` alone where that is a file of certificates, else who the machine trusts.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let file = variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE").or_else(|| variable("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    let own = file.and_then(|file| CertificateDer::pem_file_iter(file).ok());
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(own.into_iter().flatten().flatten());
    if added > 0 {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    // An image may have none at all, which does not matter to an endpoint without TLS.
    let trusting = builder.clone().with_native_roots();
    Ok(trusting.unwrap_or_else(|_| builder.with_root_certificates(RootCertStore::empty())).with_no_client_auth())
}

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let (client, compresses) = (self.client.clone(), self.compresses);
        async move { send_bytes(client, if compresses { compressed(request)? } else { request }).await }.boxed()
    }
}

async fn send_bytes(
    client: Client<HttpsConnector<HttpConnector>, Body>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let response = client.request(request.map(Body::from)).await?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, to_bytes(Body::new(body), ANSWER).await?))
}

/// The exporter could do that too, by a library of its own.
fn compressed(request: Request<Bytes>) -> Result<Request<Bytes>, std::io::Error> {
    let (mut head, body) = request.into_parts();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body)?;
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(Request::from_parts(head, encoder.finish()?.into()))
}
