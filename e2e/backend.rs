//! What arrives at the backend: a collector that writes every span to its standard output as OTLP JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;

/// Deployed by `e2e/manifests/backend.yaml` in a namespace of its own.
pub(crate) struct Backend<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

/// A span with the words of its resource.
pub(crate) struct Span {
    /// Trace, in 32 hexadecimal digits.
    pub(crate) trace: String,
    /// Its own id.
    pub(crate) id: String,
    /// The id of its parent; empty for the root.
    pub(crate) parent: String,
    /// Its name.
    pub(crate) name: String,
    /// The library that made it.
    pub(crate) scope: String,
    /// Attributes; arrays as JSON.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Resource attributes.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Span {
    /// `service.name`.
    pub(crate) fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// `http.route`; empty where it has none.
    pub(crate) fn route(&self) -> &str {
        self.attributes.get("http.route").map_or("", String::as_str)
    }
}

/// Everything that has arrived so far.
pub(crate) struct Received {
    /// The spans.
    pub(crate) spans: Vec<Span>,
    /// The same as text, as it arrived.
    pub(crate) text: String,
}

impl Received {
    /// Reads what the collector printed; its own log lines are between the documents. Runtimes store long lines in pieces of
    /// 16 KiB, and a kubelet that is asked between two of them gives the first: a line counts once it has its end.
    fn parse(log: &str) -> Result<Self, String> {
        let mut received = Self { spans: Vec::new(), text: String::new() };
        let complete = log.rsplit_once('\n').map_or("", |(complete, _)| complete);
        for line in complete.lines().filter(|line| line.starts_with("{\"resourceSpans\"")) {
            let document: Value =
                serde_json::from_str(line).map_err(|error| format!("the backend's output: {error}"))?;
            received.spans.extend(spans(&document));
            received.text.push_str(line);
            received.text.push('\n');
        }
        Ok(received)
    }

    /// The traces that have a span with this route.
    pub(crate) fn with_route(&self, route: &str) -> BTreeSet<&str> {
        self.spans.iter().filter(|span| span.route() == route).map(|span| span.trace.as_str()).collect()
    }

    /// The traces that have a span of this name.
    pub(crate) fn with_span(&self, name: &str) -> BTreeSet<&str> {
        self.spans.iter().filter(|span| span.name == name).map(|span| span.trace.as_str()).collect()
    }

    /// The spans of a trace.
    pub(crate) fn trace(&self, trace: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.trace == trace).collect()
    }

    /// Whether a trace is whole: one root, and the parent of every other span.
    pub(crate) fn whole(&self, trace: &str) -> Result<(), String> {
        let spans = self.trace(trace);
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
        let roots = spans.iter().filter(|span| span.parent.is_empty()).count();
        let orphan = spans.iter().find(|span| !span.parent.is_empty() && !ids.contains(&span.parent));
        match (roots, orphan) {
            (1, None) => Ok(()),
            (roots, None) => Err(format!("trace {trace} has {roots} roots")),
            (_, Some(orphan)) => Err(format!("trace {trace}: the parent of {} is not there", orphan.name)),
        }
    }

    /// What there is, in few words: for messages.
    pub(crate) fn summary(&self) -> String {
        let mut counts = BTreeMap::<_, usize>::new();
        for span in &self.spans {
            *counts.entry(format!("{}: {}", span.service(), span.name)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(span, count)| format!("{count} x {span}")).collect();
        counts.truncate(30);
        format!("{} spans ({})", self.spans.len(), counts.join(", "))
    }
}

fn spans(document: &Value) -> impl Iterator<Item = Span> + '_ {
    list(&document["resourceSpans"]).flat_map(|resource| {
        let words = attributes(&resource["resource"]["attributes"]);
        list(&resource["scopeSpans"]).flat_map(move |scope| {
            let words = words.clone();
            let library = text(&scope["scope"]["name"]);
            list(&scope["spans"]).map(move |span| Span {
                trace: text(&span["traceId"]),
                id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                name: text(&span["name"]),
                scope: library.clone(),
                attributes: attributes(&span["attributes"]),
                resource: words.clone(),
            })
        })
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(list_of: &Value) -> BTreeMap<String, String> {
    let value = |value: &Value| {
        let inner = value.as_object().and_then(|kinds| kinds.values().next());
        inner.map_or_else(String::new, |inner| inner.as_str().map_or_else(|| inner.to_string(), str::to_owned))
    };
    list(list_of).map(|entry| (text(&entry["key"]), value(&entry["value"]))).collect()
}

impl<'a> Backend<'a> {
    /// Starts a backend in this namespace, with the configuration in this file of `e2e/manifests`.
    pub(crate) async fn start(cluster: &'a Cluster, namespace: &'a str, config: &str) -> Result<Self, String> {
        for file in [config, "backend.yaml"] {
            cluster.kubectl(&["apply", "-n", namespace, "-f", &format!("e2e/manifests/{file}")])?;
        }
        cluster.wait_for_rollout(namespace, "deployment/backend", Duration::from_secs(60)).await?;
        Ok(Self { cluster, namespace })
    }

    /// What has arrived since the backend's pod was started.
    pub(crate) fn received(&self) -> Result<Received, String> {
        Received::parse(&self.cluster.logs(self.namespace, "app=backend", "otelcol")?)
    }

    /// Waits until `probe` finds in what has arrived what it looks for.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut probe: impl FnMut(&Received) -> Result<T, String>,
    ) -> Result<T, String> {
        let what = format!("at the backend: {what}");
        self.cluster
            .wait_for(&what, timeout, || {
                let answer = self.received().and_then(|received| {
                    probe(&received).map_err(|reason| format!("{reason}; there are {}", received.summary()))
                });
                async { answer }
            })
            .await
    }
}
