//! The client of everything that writes: it sends nothing for a process that does not lead.
//!
//! Three things can be late where a process was stopped or the network hangs, and each is met here. A request that was not sent
//! yet, or that is to be repeated, is looked at before each step ([`Fence`]). Bytes that wait between a request and its
//! connection are looked at before they go to the kernel, and those that wait in the kernel are thrown away ([`Gate`]).

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use hyper::{
    Request, Response, Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::{
        Client as Http,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tokio::net::TcpStream;
use tower::{Service, ServiceBuilder, retry::RetryLayer};

use super::leadership::Leadership;
use crate::telemetry::metrics::Metrics;

type BoxError = Box<dyn Error + Send + Sync>;

/// Nothing was sent, or its answer is of no interest any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this process does not lead")]
pub(super) struct NotLeading;

/// What every write needs.
#[derive(Clone)]
pub struct Writer {
    client: Client,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Connections of its own to the API server, over which nothing is sent after a term of leadership.
    ///
    /// # Errors
    /// Where the configuration names credentials or certificates that cannot be used.
    pub fn connect(config: Config, leadership: Leadership, metrics: &Metrics) -> Result<Self, kube::Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(config.connect_timeout);
        let gate = Gate { connector, leadership: leadership.clone() };
        let http = Http::builder(TokioExecutor::new()).build(config.rustls_https_connector_with_connector(gate)?);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(RetryLayer::new(RetryPolicy::server_retry()))
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .layer_fn(metrics.layer())
            .service(http);
        Ok(Self::over(Client::new(service, config.default_namespace), leadership))
    }

    /// Over connections that others may use too.
    pub fn over(client: Client, leadership: Leadership) -> Self {
        let namespace = client.default_namespace().to_owned();
        Self { client: Client::new(Fence { client, leadership }, namespace) }
    }

    /// For the calls of this module: nobody else can get at it.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }
}

/// Gives up a request as soon as the term ends in which it was begun.
struct Fence {
    client: Client,
    leadership: Leadership,
}

impl Service<Request<Body>> for Fence {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        let Some(term) = leadership.term() else { return Box::pin(async { Err(NotLeading.into()) }) };
        Box::pin(async move {
            let mut turned = pin!(leadership.turned(Some(term)));
            let mut answer = pin!(client.send(request));
            poll_fn(|context| {
                // The clock is asked before each step. After a pause of the whole process a timer may be the last to notice.
                if leadership.term() != Some(term) || turned.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(NotLeading.into()));
                }
                answer.as_mut().poll(context).map_err(BoxError::from)
            })
            .await
        })
    }
}

/// Makes connections that a process can send by only while it leads.
#[derive(Clone)]
struct Gate {
    connector: HttpConnector,
    leadership: Leadership,
}

impl Service<Uri> for Gate {
    type Response = Gated;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Gated, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, leadership) = (self.connector.call(uri), self.leadership.clone());
        Box::pin(async move {
            let io = connecting.await?;
            let Some(term) = leadership.term() else { return Err(NotLeading.into()) };
            Ok(Gated { io, leadership, term })
        })
    }
}

/// A connection of one term.
struct Gated {
    io: TokioIo<TcpStream>,
    leadership: Leadership,
    term: u64,
}

impl Gated {
    fn is_open(&self) -> bool {
        self.leadership.term() == Some(self.term)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_open() { Ok(()) } else { Err(io::Error::new(io::ErrorKind::ConnectionAborted, NotLeading)) }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().io)
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if !self.is_open() {
            // What was sent and not received yet would be sent again, for minutes, by the kernel.
            drop(self.io.inner().set_zero_linger());
        }
    }
}

impl Connection for Gated {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl Read for Gated {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.io().poll_read(context, buffer)
    }
}

impl Write for Gated {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        self.io().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An orderly end would first deliver what waits.
        self.check()?;
        self.io().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.io().poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests;
