//! An operator whose lines, answers and spans are looked at.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{World, policy};
use crate::support::certs::mount;
use crate::support::http::{Answer, send};
use crate::support::https::{Caller, review};
use crate::support::process::free_port;
use crate::support::{Operator, Proxy, Scrape};

/// Ids of a caller, as `traceparent` has them.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const PARENT: &str = "00f067aa0ba902b7";

pub(crate) fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// An operator with its webhook, that nobody but the test asks.
pub(crate) struct Subject {
    pub(crate) operator: Operator,
    webhook: Caller,
    _folder: TempDir,
}

impl Subject {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(world: &World<'_>, environment: &[(&str, &str)], extra: &[&str]) -> Self {
        Self::spawned(extra, |args| world.spawn_with(environment, args)).await
    }

    /// The same with the API server behind a proxy.
    pub(crate) async fn behind(world: &World<'_>, proxy: &Proxy, extra: &[&str]) -> Self {
        Self::spawned(extra, |args| world.spawn_behind(proxy, args)).await
    }

    async fn spawned(extra: &[&str], spawn: impl FnOnce(&[&str]) -> Operator) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let bundle = mount(folder.path());
        let certificates = format!("--webhook-cert-dir={}", folder.path().display());
        let address = format!("--webhook-address=127.0.0.1:{port}");
        let args: Vec<&str> = [certificates.as_str(), &address].into_iter().chain(extra.iter().copied()).collect();
        let mut operator = spawn(&args);
        operator.wait_ready().await;
        Self { operator, webhook: Caller::new(port, &bundle), _folder: folder }
    }

    /// Asks the HTTP server.
    pub(crate) fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.operator.http_port(), line, headers, body).unwrap()
    }

    /// Asks the webhook about a policy that is refused.
    pub(crate) fn review(&self, headers: &[(&str, &str)]) -> Answer {
        let review = review("CREATE", &policy("bad", &json!({"enabled": true})), &Value::Null, "team").to_string();
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("POST /validate HTTP/1.1\r\nContent-Length: {}\r\n{}", review.len(), headers.concat());
        self.webhook.send(&head, review.as_bytes()).unwrap()
    }

    /// Its lines, each of them JSON, that have this field.
    pub(crate) fn lines(&self, field: &str, value: &str) -> Vec<Value> {
        let logs = self.operator.logs();
        // The last one may be under way.
        let whole = logs.rsplit_once('\n').map(|(whole, _)| whole).unwrap_or_default();
        let lines = whole
            .lines()
            .map(|line| -> Value { serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) });
        lines.filter(|line| line[field] == value).collect()
    }

    /// What `/metrics` says.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let answer = self.operator.get("/metrics").unwrap();
        Scrape::parse(&answer.body).unwrap().sum(name, labels)
    }
}
