//! Metrics of spans: of all that were received, whatever sampling keeps, and without what was scrubbed.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use serde_json::json;

use crate::compare::render;
use crate::model::collector;
use crate::support::Backend;
use crate::support::otlp::{ResourceSpans, Value, attribute, find, from_resource, service, span, text};
use crate::through::through_with_metrics;

/// The highest count of each series of `calls`: service and route.
fn calls(backend: &Backend) -> BTreeMap<(String, String), i64> {
    let mut counts = BTreeMap::new();
    for resource_metrics in backend.metrics() {
        let resource = resource_metrics.resource.unwrap_or_default().attributes;
        let metrics = resource_metrics.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        for metric in metrics.filter(|metric| metric.name == "traces.span.metrics.calls") {
            let Some(Data::Sum(sum)) = metric.data else { panic!("calls are a sum: {:?}", metric.data) };
            for point in sum.data_points {
                let Some(number_data_point::Value::AsInt(count)) = point.value else { panic!("{point:?}") };
                let words = |value: Option<&Value>| match value {
                    Some(Value::StringValue(text)) => text.clone(),
                    other => format!("{other:?}"),
                };
                let service = find(&point.attributes, "service.name").or_else(|| find(&resource, "service.name"));
                let series = (words(service), words(find(&point.attributes, "http.route")));
                // More than one series of the same name differ in what this does not look at; there is none here.
                let known: &mut i64 = counts.entry(series).or_default();
                *known = count.max(*known);
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_all_spans_before_sampling() {
    let backend = Backend::start().await;
    let spec = json!({
        "sampling": {"baselineRatio": 0},
        "scrub": {"headers": ["cookie"], "attributes": ["user.email"], "truncate": {"url.full": 1024}},
        "spanMetrics": {"enabled": true, "dimensions": ["http.route", "url.full"]},
    });
    let configuration = render(&[collector(&backend.endpoint(), spec)]);
    let spans = |name: &str, route: &str, count: u64| -> ResourceSpans {
        let secrets = ["http.request.header.cookie", "user.email"].map(|key| attribute(key, text("SECRET")));
        let long = attribute("url.full", text("x".repeat(1024) + "SECRET"));
        let attributes = [&secrets[..], &[attribute("http.route", text(route)), long]].concat();
        let spans = (1..=count).map(|id| span(id, id, "request", attributes.clone())).collect();
        from_resource([service("shop", name), secrets.to_vec()].concat(), spans)
    };
    let sent = vec![spans("web", "/a", 70), spans("web", "/b", 30), spans("cart", "/a", 25)];
    let expected = [(("web", "/a"), 70), (("web", "/b"), 30), (("cart", "/a"), 25)];
    let expected = expected.map(|((service, route), count)| ((service.to_owned(), route.to_owned()), count));
    let expected = BTreeMap::from(expected);
    let counted = |backend: &Backend| match calls(backend) {
        counts if counts == expected => Ok(()),
        counts => Err(format!("{counts:?} instead of {expected:?}")),
    };
    through_with_metrics(&configuration, &backend, sent, counted).await;
    assert_eq!(backend.spans().len(), 0, "the baseline keeps nothing");
    assert!(!backend.saw(b"SECRET"));
    assert!(!backend.saw(b"tracesteward."));
}
