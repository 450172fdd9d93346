//! Several policies into one set of settings, field by field, with who set what (DESIGN section 2).
//!
//! Maps are merged by key, lists are taken whole. Two blocks are atomic, because their parts belong together: `export` (a
//! token must never meet an endpoint that its owner did not choose), and `ratio` with `profile`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{
    Export, GenAi, Injection, Instrumentation, Keep, Limits, Logs, Rollout, Sampling, Service, Settings, Tail,
};

/// Settings with, for each field, the layer that set it last.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    /// The settings.
    pub(super) settings: Settings,
    /// By field, such as `sampling.tail.ratio` or `service.attributes[team]`; empty where nobody asked.
    pub(super) origins: BTreeMap<String, usize>,
}

/// Merges layers, the weakest first. Of exports that inherit, nothing is taken.
pub(super) fn merge<'a>(layers: impl IntoIterator<Item = &'a Settings>, traced: bool) -> Merged {
    let mut settings = Settings::default();
    let mut trace = Trace { layer: 0, origins: traced.then(BTreeMap::new) };
    for (position, layer) in layers.into_iter().enumerate() {
        trace.layer = position;
        lay(&mut settings, layer, &mut trace);
    }
    Merged { settings, origins: trace.origins.unwrap_or_default() }
}

/// The fields that settings set, each with its value.
pub(super) fn fields(settings: &Settings) -> BTreeMap<String, Value> {
    let set = merge([settings], true).origins;
    let whole = serde_json::to_value(settings).unwrap_or_default();
    let value = |field: &str| {
        if let Some(key) = field.strip_prefix("service.attributes[").and_then(|rest| rest.strip_suffix(']')) {
            return whole.pointer("/service/attributes").and_then(|attributes| attributes.get(key));
        }
        whole.pointer(&format!("/{}", field.replace('.', "/")))
    };
    set.into_keys().filter_map(|field| Some((field.clone(), value(&field)?.clone()))).collect()
}

/// Who set what.
struct Trace {
    layer: usize,
    origins: Option<BTreeMap<String, usize>>,
}

impl Trace {
    fn set(&mut self, field: impl AsRef<str> + Into<String>) {
        if let Some(origins) = &mut self.origins {
            origins.insert(field.into(), self.layer);
        }
    }

    fn unset(&mut self, field: &str) {
        if let Some(origins) = &mut self.origins {
            origins.retain(|known, _| {
                known != field && !known.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
            });
        }
    }

    /// Takes a field that is set.
    fn take<T: Clone>(&mut self, field: &str, into: &mut Option<T>, from: Option<&T>) {
        if from.is_some() {
            *into = from.cloned();
            self.set(field);
        }
    }

    /// Takes a list that is not empty.
    fn list<T: Clone>(&mut self, field: &str, into: &mut Vec<T>, from: &[T]) {
        if !from.is_empty() {
            from.clone_into(into);
            self.set(field);
        }
    }
}

// Every struct is taken apart without `..`, so that a new field that nobody merges does not compile.
fn lay(into: &mut Settings, from: &Settings, trace: &mut Trace) {
    let Settings {
        language,
        containers,
        export,
        service,
        sampling,
        instrumentation,
        gen_ai,
        logs,
        propagators,
        limits,
        injection,
        rollout,
    } = from;
    // An image is for one language: that of a weaker policy does not serve another one.
    if let (Some(own), Some(weaker), Some(known)) = (language, into.language, &mut into.instrumentation)
        && *own != weaker
    {
        known.image = None;
    }
    trace.take("language", &mut into.language, language.as_ref());
    trace.take("containers", &mut into.containers, containers.as_ref());
    if let Some(export) = export {
        lay_export(&mut into.export, export, trace);
    }
    if let Some(from) = service {
        lay_service(into.service.get_or_insert_default(), from, trace);
    }
    if let Some(from) = sampling {
        lay_sampling(into.sampling.get_or_insert_default(), from, trace);
    }
    if let Some(Instrumentation { image }) = instrumentation {
        trace.set("instrumentation");
        trace.take("instrumentation.image", &mut into.instrumentation.get_or_insert_default().image, image.as_ref());
    }
    if let Some(GenAi { capture_content }) = gen_ai {
        let into = into.gen_ai.get_or_insert_default();
        trace.take("genAi.captureContent", &mut into.capture_content, capture_content.as_ref());
    }
    if let Some(Logs { correlation }) = logs {
        trace.take("logs.correlation", &mut into.logs.get_or_insert_default().correlation, correlation.as_ref());
    }
    trace.take("propagators", &mut into.propagators, propagators.as_ref());
    if let Some(from) = limits {
        lay_limits(into.limits.get_or_insert_default(), from, trace);
    }
    if let Some(Injection { mode }) = injection {
        trace.take("injection.mode", &mut into.injection.get_or_insert_default().mode, mode.as_ref());
    }
    if let Some(Rollout { max_concurrent, auto_revert, restart_stale_pods }) = rollout {
        let into = into.rollout.get_or_insert_default();
        trace.take("rollout.maxConcurrent", &mut into.max_concurrent, max_concurrent.as_ref());
        trace.take("rollout.autoRevert", &mut into.auto_revert, auto_revert.as_ref());
        trace.take("rollout.restartStalePods", &mut into.restart_stale_pods, restart_stale_pods.as_ref());
    }
}

/// As a whole.
fn lay_export(into: &mut Option<Export>, from: &Export, trace: &mut Trace) {
    trace.unset("export");
    *into = Some(from.clone());
    let Export { endpoint, collector_ref, inherit, protocol, headers_secret_ref, timeout, compression } = from;
    let set = [
        ("export.endpoint", endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_empty())),
        ("export.collectorRef", collector_ref.is_some()),
        ("export.inherit", inherit.is_some()),
        ("export.protocol", protocol.is_some()),
        ("export.headersSecretRef", headers_secret_ref.is_some()),
        ("export.timeout", timeout.is_some()),
        ("export.compression", compression.is_some()),
    ];
    for (field, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        trace.set(field);
    }
}

fn lay_service(into: &mut Service, from: &Service, trace: &mut Trace) {
    let Service { name, namespace, version, attributes } = from;
    trace.take("service.name", &mut into.name, name.as_ref());
    trace.take("service.namespace", &mut into.namespace, namespace.as_ref());
    trace.take("service.version", &mut into.version, version.as_ref());
    for (key, value) in attributes {
        into.attributes.insert(key.clone(), value.clone());
        trace.set(format!("service.attributes[{key}]"));
    }
}

fn lay_sampling(into: &mut Sampling, from: &Sampling, trace: &mut Trace) {
    let Sampling { ratio, profile, parent_based, tail } = from;
    if ratio.is_some() || profile.is_some() {
        trace.unset("sampling.ratio");
        trace.unset("sampling.profile");
        (into.ratio, into.profile) = (None, None);
    }
    trace.take("sampling.ratio", &mut into.ratio, ratio.as_ref());
    trace.take("sampling.profile", &mut into.profile, profile.as_ref());
    trace.take("sampling.parentBased", &mut into.parent_based, parent_based.as_ref());
    let Some(Tail { ratio, keep, drop, routes }) = tail else { return };
    let into = into.tail.get_or_insert_default();
    trace.take("sampling.tail.ratio", &mut into.ratio, ratio.as_ref());
    trace.list("sampling.tail.drop", &mut into.drop, drop);
    trace.list("sampling.tail.routes", &mut into.routes, routes);
    let Some(Keep { errors, http_server_errors, slower_than, always }) = keep else { return };
    let into = into.keep.get_or_insert_default();
    trace.take("sampling.tail.keep.errors", &mut into.errors, errors.as_ref());
    trace.take("sampling.tail.keep.httpServerErrors", &mut into.http_server_errors, http_server_errors.as_ref());
    trace.take("sampling.tail.keep.slowerThan", &mut into.slower_than, slower_than.as_ref());
    trace.take("sampling.tail.keep.always", &mut into.always, always.as_ref());
}

fn lay_limits(into: &mut Limits, from: &Limits, trace: &mut Trace) {
    let Limits {
        span_attributes,
        attribute_value_length,
        span_events,
        queue_size,
        batch_size,
        schedule_delay,
        export_timeout,
    } = from;
    trace.take("limits.spanAttributes", &mut into.span_attributes, span_attributes.as_ref());
    trace.take("limits.attributeValueLength", &mut into.attribute_value_length, attribute_value_length.as_ref());
    trace.take("limits.spanEvents", &mut into.span_events, span_events.as_ref());
    trace.take("limits.queueSize", &mut into.queue_size, queue_size.as_ref());
    trace.take("limits.batchSize", &mut into.batch_size, batch_size.as_ref());
    trace.take("limits.scheduleDelay", &mut into.schedule_delay, schedule_delay.as_ref());
    trace.take("limits.exportTimeout", &mut into.export_timeout, export_timeout.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str) -> Settings {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn merged(layers: &[&str]) -> Merged {
        let layers: Vec<_> = layers.iter().map(|layer| settings(layer)).collect();
        merge(&layers, true)
    }

    #[test]
    fn fields_are_merged_one_by_one_and_lists_whole() {
        let found = merged(&[
            "{propagators: [b3], limits: {queueSize: 1}, service: {attributes: {a: x, b: x}}, sampling: {tail: {ratio: 0.5, routes: [{route: /a, ratio: 1}], keep: {errors: true}}}}",
            "{limits: {batchSize: 2}, service: {name: n, attributes: {b: y}}, sampling: {tail: {routes: [{route: /b, ratio: 0}], keep: {always: false}}}}",
        ]);
        let expected = settings(
            "{propagators: [b3], limits: {queueSize: 1, batchSize: 2}, service: {name: n, attributes: {a: x, b: y}}, \
             sampling: {tail: {ratio: 0.5, routes: [{route: /b, ratio: 0}], keep: {errors: true, always: false}}}}",
        );
        assert_eq!(found.settings, expected);
        assert_eq!(found.origins["service.attributes[b]"], 1);
        assert_eq!(found.origins["sampling.tail.ratio"], 0);
        assert_eq!(found.origins["sampling.tail.routes"], 1);
    }

    #[test]
    fn atomic_blocks_come_from_one_policy() {
        let found = merged(&[
            "{export: {endpoint: 'http://a', headersSecretRef: {name: s}, timeout: 1s}, sampling: {ratio: 0.5}}",
            "{export: {endpoint: 'http://b'}, sampling: {profile: high}}",
        ]);
        assert_eq!(found.settings, settings("{export: {endpoint: 'http://b'}, sampling: {profile: high}}"));
        let fields: Vec<_> = found.origins.keys().map(String::as_str).collect();
        assert_eq!(fields, ["export.endpoint", "sampling.profile"]);
    }

    #[test]
    fn every_field_of_the_api_is_merged_and_has_its_value() {
        let all = "{language: go, containers: [a], export: {collectorRef: {name: c}, protocol: grpc, headersSecretRef: {name: s}, timeout: 1s, compression: gzip}, \
            service: {name: n, namespace: m, version: v, attributes: {a.b: c}}, sampling: {ratio: 0.5, parentBased: false, tail: {ratio: 0.1, keep: {errors: true, \
            httpServerErrors: true, slowerThan: 1s, always: true}, drop: [{route: /}], routes: [{route: /, ratio: 1}]}}, instrumentation: {image: i}, \
            genAi: {captureContent: true}, logs: {correlation: true}, propagators: [b3], limits: {spanAttributes: 1, attributeValueLength: 1, spanEvents: 1, \
            queueSize: 1, batchSize: 1, scheduleDelay: 1s, exportTimeout: 1s}, injection: {mode: Pod}, rollout: {maxConcurrent: 1, autoRevert: true, restartStalePods: true}}";
        assert_eq!(merged(&[all]).settings, settings(all));
        let fields = fields(&settings(all));
        assert_eq!(fields.len(), merged(&[all]).origins.len());
        assert_eq!(fields["service.attributes[a.b]"], "c");
        assert_eq!(fields["sampling.tail.keep.slowerThan"], "1s");
    }
}
