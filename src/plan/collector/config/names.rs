//! What components and functions are called, by the version of the collector.

/// Names and abilities of one version. Where it is not known when a name came, the older one is used: it goes on working,
/// with a line in the collector's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan::collector) struct Names {
    /// The exporter for OTLP over gRPC (`otlp` before 0.144; opentelemetry-collector#14403).
    pub(super) otlp_grpc: &'static str,
    /// The exporter for OTLP over HTTP (`otlphttp` before 0.144; opentelemetry-collector#14397).
    pub(super) otlp_http: &'static str,
    /// The exporter of routers (`loadbalancing` before 0.153; contrib#48533).
    pub(super) load_balancing: &'static str,
    /// The processor that knows pods (`k8sattributes` before 0.146; contrib#45901).
    pub(super) k8s_attributes: &'static str,
    /// The connector that makes metrics of spans.
    pub(super) span_metrics: &'static str,
    /// Whether `Substring` can spare characters (contrib#48590).
    pub(super) whole_characters: bool,
}

impl Names {
    /// Those of a version in the known range.
    pub(in crate::plan::collector) fn of(version: &str) -> Self {
        let minor: u32 = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default();
        let since = |first: u32, new: &'static str, old: &'static str| if minor >= first { new } else { old };
        Self {
            otlp_grpc: since(144, "otlp_grpc", "otlp"),
            otlp_http: since(144, "otlp_http", "otlphttp"),
            load_balancing: since(153, "load_balancing", "loadbalancing"),
            k8s_attributes: since(147, "k8s_attributes", "k8sattributes"),
            span_metrics: since(155, "span_metrics", "spanmetrics"),
            whole_characters: minor >= 155,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_version() {
        assert_eq!(Names::of("0.143.1").otlp_grpc, "otlp");
        assert_eq!(Names::of("0.144.0").otlp_grpc, "otlp_grpc");
        assert_eq!(Names::of("0.152.0").load_balancing, "loadbalancing");
        assert_eq!(Names::of("0.155.0").span_metrics, "span_metrics");
    }
}
