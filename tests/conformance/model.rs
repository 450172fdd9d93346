//! What a case is made of: a collector's settings, policies, traces; and their forms as manifests and as OTLP.

use serde_json::{Value as Json, json};

use crate::support::otlp::{self, ResourceSpans, Value, attribute, from_resource};

/// A ratio as somebody writes it. The text, because the share that the collector computes with is made from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio(pub(crate) &'static str);

impl Ratio {
    /// The number.
    pub(crate) fn value(self) -> f64 {
        self.0.parse().expect("a ratio")
    }

    /// The number that a percentage has when the decimal point of the ratio moves by two places.
    pub(crate) fn percentage(self) -> f64 {
        let (whole, part) = self.0.split_once('.').unwrap_or((self.0, ""));
        let part = format!("{part:0<2}");
        let (moved, rest) = part.split_at(2);
        format!("{whole}{moved}.{rest}0").parse().expect("a percentage")
    }
}

/// Certain spans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matcher {
    pub(crate) route: Option<String>,
    pub(crate) route_prefix: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) span_name: Option<String>,
}

/// Keep rules of a collector or of a policy; durations are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keep {
    pub(crate) errors: bool,
    pub(crate) http_server_errors: bool,
    pub(crate) slower_than: Option<u64>,
    pub(crate) always: bool,
    pub(crate) services: Vec<String>,
}

/// What a TracingPolicy says about tail sampling, and the services that it is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) services: Vec<String>,
    pub(crate) disabled: bool,
    pub(crate) ratio: Option<Ratio>,
    pub(crate) keep: Keep,
    pub(crate) drop: Vec<Matcher>,
    pub(crate) routes: Vec<(Matcher, Ratio)>,
}

/// What a TracingCollector says about tail sampling.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub(crate) ratio: Option<Ratio>,
    pub(crate) keep: Keep,
}

/// One span, as its sender sees it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) error: bool,
    pub(crate) resource: Vec<(String, Value)>,
    pub(crate) attributes: Vec<(String, Value)>,
}

/// A whole trace.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) id: [u8; 16],
    pub(crate) spans: Vec<Span>,
}

/// Settings and the traces that are sent under them, already in requests.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) baseline: Baseline,
    pub(crate) policies: Vec<Policy>,
    pub(crate) traces: Vec<Trace>,
    /// Each request is a list of groups, each group is spans of one resource: indices of trace and span.
    pub(crate) requests: Vec<Vec<Vec<(usize, usize)>>>,
}

/// The collector that every case renders.
pub(crate) const COLLECTOR: &str = "observability/gateway";

impl Case {
    /// The manifests: the collector with `spec` merged over the usual one, policies, and the workloads that they select.
    pub(crate) fn documents(&self, endpoint: &str) -> Vec<Json> {
        let mut sampling = json!({"decisionWait": "2s", "keep": keep(&self.baseline.keep)});
        if let Some(ratio) = self.baseline.ratio {
            sampling["baselineRatio"] = number(ratio);
        }
        let mut documents = vec![collector(endpoint, json!({"sampling": sampling}))];
        for policy in &self.policies {
            documents.extend(policy.documents());
        }
        documents
    }

    /// One request in OTLP.
    pub(crate) fn encode(&self, request: &[Vec<(usize, usize)>]) -> Vec<ResourceSpans> {
        let encode = |group: &Vec<(usize, usize)>| {
            let spans = group.iter().map(|(trace, span)| (&self.traces[*trace].id, &self.traces[*trace].spans[*span]));
            let resource = &self.traces[group[0].0].spans[group[0].1].resource;
            from_resource(attributes(resource), spans.map(|(id, span)| span.encode(*id)).collect())
        };
        request.iter().map(encode).collect()
    }
}

impl Policy {
    /// The policy, and one Deployment for each of its services.
    pub(crate) fn documents(&self) -> Vec<Json> {
        let mut tail = json!({"keep": keep(&self.keep)});
        if let Some(ratio) = self.ratio {
            tail["ratio"] = number(ratio);
        }
        if !self.drop.is_empty() {
            tail["drop"] = self.drop.iter().map(matcher).collect();
        }
        let route = |(rule, ratio): &(Matcher, Ratio)| {
            let mut rule = matcher(rule);
            rule["ratio"] = number(*ratio);
            rule
        };
        if !self.routes.is_empty() {
            tail["routes"] = self.routes.iter().map(route).collect();
        }
        let workload = |index: usize| format!("{}-{index}", self.name);
        let mut spec = json!({
            "enabled": !self.disabled,
            "export": {"collectorRef": {"name": "gateway", "namespace": "observability"}},
            "sampling": {"tail": tail},
        });
        let target = |index: usize| json!({"kind": "Deployment", "name": workload(index)});
        match &self.services[..] {
            [only] => {
                spec["targets"] = json!([target(0)]);
                spec["service"] = json!({"name": only});
            }
            several => {
                let named = several.iter().enumerate().map(|(index, name)| {
                    let mut target = target(index);
                    target["serviceName"] = json!(name);
                    target
                });
                spec["targets"] = named.collect();
            }
        }
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        let policy = json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": metadata, "spec": spec,
        });
        let workloads = (0..self.services.len()).map(|index| deployment(&self.namespace, &workload(index)));
        std::iter::once(policy).chain(workloads).collect()
    }
}

impl Span {
    fn encode(&self, trace: [u8; 16]) -> otlp::Span {
        let code = if self.error { otlp::StatusCode::Error } else { otlp::StatusCode::Unset };
        otlp::Span {
            trace_id: trace.to_vec(),
            span_id: self.id.to_be_bytes().to_vec(),
            parent_span_id: self.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name: self.name.clone(),
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.end,
            attributes: attributes(&self.attributes),
            status: Some(otlp::Status { code: code.into(), ..otlp::Status::default() }),
            ..otlp::Span::default()
        }
    }
}

/// A TracingCollector that exports over HTTP to `endpoint`, with the fields of `spec` beside.
pub(crate) fn collector(endpoint: &str, spec: Json) -> Json {
    let mut document = json!({
        "apiVersion": "tracesteward.io/v1alpha1",
        "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": "observability"},
        "spec": {
            "allowedNamespaces": {"from": "All"},
            "backends": [{"name": "backend", "endpoint": endpoint, "protocol": "http/protobuf"}],
        },
    });
    let Json::Object(fields) = spec else { panic!("spec is a map") };
    for (name, value) in fields {
        document["spec"][name] = value;
    }
    document
}

/// A Deployment with one container.
fn deployment(namespace: &str, name: &str) -> Json {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]},
            },
        },
    })
}

/// Attributes in OTLP.
pub(crate) fn attributes(pairs: &[(String, Value)]) -> Vec<otlp::KeyValue> {
    pairs.iter().map(|(key, value)| attribute(key, value.clone())).collect()
}

fn number(ratio: Ratio) -> Json {
    serde_json::from_str(ratio.0).expect("a number")
}

fn keep(keep: &Keep) -> Json {
    let mut rules = json!({});
    for (name, on) in [("errors", keep.errors), ("httpServerErrors", keep.http_server_errors), ("always", keep.always)]
    {
        if on {
            rules[name] = json!(true);
        }
    }
    if let Some(limit) = keep.slower_than {
        rules["slowerThan"] = json!(format!("{limit}ms"));
    }
    if !keep.services.is_empty() {
        rules["services"] = json!(keep.services);
    }
    rules
}

fn matcher(matcher: &Matcher) -> Json {
    let fields = [
        ("route", &matcher.route),
        ("routePrefix", &matcher.route_prefix),
        ("method", &matcher.method),
        ("spanName", &matcher.span_name),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
    Json::Object(present.collect())
}
