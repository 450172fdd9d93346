//! What is wrong with a policy by itself (TRC01xx, TRC03xx). The CRD's CEL rules say the same in the API server.

pub(super) mod sampling;

use super::{attach, export, findings::Findings};
use crate::{
    api::{
        ClusterTracingPolicySpec, Export, Instrumentation, Language, Limits, Propagator, Protocol, Service, Settings,
        Target, TracingPolicySpec, patterns, settings::is_reserved_attribute, target::is_object_name,
        values::DurationText,
    },
    diagnostics::{Code, Diagnostic, FieldPath},
};

/// Checks a policy whose fields have the right types. `namespace` is where it lives.
pub fn validate(spec: &TracingPolicySpec, namespace: &str) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    if attach::is_excluded(namespace, None) {
        findings.add(Code::TRC0127, FieldPath::fields("metadata.namespace"));
    }
    let root = FieldPath::fields("spec");
    enabled(Some(spec.enabled), &spec.settings, &root, &mut findings);
    for (position, target) in spec.targets.iter().enumerate() {
        self::target(target, &root.field("targets").index(position), &mut findings);
    }
    settings(&spec.settings, &root, &mut findings);
    correlation(&spec.settings, &root, true, &mut findings);
    if let Some(instrumentation) = &spec.settings.instrumentation {
        self::instrumentation(&spec.settings, instrumentation, &root, true, &mut findings);
    }
    findings.0
}

/// Checks a ClusterTracingPolicy whose fields have the right types.
pub fn validate_cluster(spec: &ClusterTracingPolicySpec) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let root = FieldPath::fields("spec");
    findings.selector(spec.namespace_selector.as_ref(), &root.field("namespaceSelector"));
    for (position, target) in spec.targets.iter().enumerate() {
        self::target(target, &root.field("targets").index(position), &mut findings);
    }
    if let Some(defaults) = &spec.defaults {
        block(defaults.enabled, &defaults.settings, &root.field("defaults"), &mut findings);
    }
    if let Some(overrides) = &spec.overrides {
        let root = root.field("overrides");
        block(overrides.enabled, &overrides.settings, &root, &mut findings);
        let inherits = overrides.settings.export.as_ref().is_some_and(|export| export.inherit == Some(true));
        findings.add_if(inherits, Code::TRC0135, root.field("export").field("inherit"));
        for (position, host) in overrides.allowed_endpoint_hosts.iter().flatten().enumerate() {
            let is_host = patterns::matches(patterns::HOST_PATTERN, host);
            findings.add_if(!is_host, Code::TRC0137, root.field("allowedEndpointHosts").index(position));
        }
    }
    findings.add_if(spec.defaults.is_none() && spec.overrides.is_none(), Code::TRC0138, root);
    findings.0
}

/// A block of a ClusterTracingPolicy, by itself.
fn block(enabled: Option<bool>, settings: &Settings, root: &FieldPath, findings: &mut Findings) {
    // An export is taken as a whole: one without a target would take it away from everybody below.
    let needs_target = enabled == Some(true) || settings.export.is_some();
    self::enabled(if needs_target { Some(true) } else { enabled }, settings, root, findings);
    let has_secret = settings.export.as_ref().is_some_and(|export| export.headers_secret_ref.is_some());
    let unused = enabled == Some(false) && has_secret;
    findings.add_if(unused, Code::TRC0102, root.field("export").field("headersSecretRef"));
    self::settings(settings, root, findings);
    // The language may come from a TracingPolicy.
    correlation(settings, root, settings.language.is_some(), findings);
    let name = settings.service.as_ref().and_then(|service| service.name.as_ref());
    findings.add_if(name.is_some(), Code::TRC0134, root.field("service").field("name"));
    if let Some(instrumentation) = &settings.instrumentation {
        // The language may come from a TracingPolicy.
        self::instrumentation(settings, instrumentation, root, settings.language.is_some(), findings);
    }
}

fn enabled(enabled: Option<bool>, settings: &Settings, root: &FieldPath, findings: &mut Findings) {
    let export = settings.export.as_ref();
    let has_export = export.is_some_and(|export| {
        export.endpoint.as_deref().is_some_and(|endpoint| !endpoint.is_empty())
            || export.collector_ref.is_some()
            || export.inherit == Some(true)
    });
    findings.add_if(enabled == Some(true) && !has_export, Code::TRC0101, root.field("export").field("endpoint"));
    let has_secret = export.is_some_and(|export| export.headers_secret_ref.is_some());
    findings.add_if(
        enabled == Some(false) && has_secret,
        Code::TRC0102,
        root.field("export").field("headersSecretRef"),
    );
}

fn target(target: &Target, path: &FieldPath, findings: &mut Findings) {
    findings.add_if(target.name.is_some() && target.selector.is_some(), Code::TRC0109, path.clone());
    findings.selector(target.selector.as_ref(), &path.field("selector"));
    findings.reference(target.service_name.as_deref().unwrap_or_default(), path.field("serviceName"));
}

fn settings(settings: &Settings, root: &FieldPath, findings: &mut Findings) {
    if let Some(export) = &settings.export {
        self::export(settings, export, &root.field("export"), findings);
    }
    if let Some(service) = &settings.service {
        self::service(service, &root.field("service"), findings);
    }
    if let Some(names) = &settings.propagators {
        propagators(settings, names, &root.field("propagators"), findings);
    }
    if let Some(sampling) = &settings.sampling {
        sampling::check(settings, sampling, &root.field("sampling"), findings);
    }
    if let Some(limits) = &settings.limits {
        self::limits(limits, &root.field("limits"), findings);
    }
}

fn export(settings: &Settings, export: &Export, path: &FieldPath, findings: &mut Findings) {
    let endpoint = export.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let ways = [endpoint.is_some(), export.collector_ref.is_some(), export.inherit == Some(true)];
    findings.add_if(ways.into_iter().filter(|way| *way).count() > 1, Code::TRC0103, path.clone());
    if let Some(endpoint) = endpoint {
        self::endpoint(settings, export, endpoint, &path.field("endpoint"), findings);
    }
    if let Some(secret) = &export.headers_secret_ref {
        let path = path.field("headersSecretRef").field("name");
        findings.add_if(!is_object_name(&secret.name), Code::TRC0116, path);
    }
    let beside = [
        export.protocol.is_some(),
        export.headers_secret_ref.is_some(),
        export.timeout.is_some(),
        export.compression.is_some(),
    ];
    let beside = beside.contains(&true) && export.inherit == Some(true);
    findings.add_if(beside, Code::TRC0136, path.field("inherit"));
    let timeout = path.field("timeout");
    findings.duration(export.timeout.as_ref(), timeout.clone());
    if let Some(millis) = export.timeout.as_ref().and_then(DurationText::as_millis) {
        findings.add_if(settings.language.is_none(), Code::TRC0121, timeout.clone());
        let python = settings.language == Some(Language::Python);
        findings.add_if(python && millis % 1_000 != 0, Code::TRC0126, timeout);
    }
}

fn endpoint(settings: &Settings, export: &Export, endpoint: &str, path: &FieldPath, findings: &mut Findings) {
    if !export::is_endpoint(endpoint) {
        findings.add(Code::TRC0104, path.clone());
        return;
    }
    findings.add_if(export::has_user_information(endpoint), Code::TRC0122, path.clone());
    let python = settings.instrumentation.is_some() && settings.language == Some(Language::Python);
    let mismatch = match (export::port(endpoint), export.protocol) {
        (Some(4317), Some(Protocol::HttpProtobuf)) | (Some(4318), Some(Protocol::Grpc)) => true,
        (Some(4317), None) => python,
        _ => false,
    };
    findings.add_if(mismatch, Code::TRC0120, path.clone());
    findings.add_if(endpoint.trim_end_matches('/').ends_with("/v1/traces"), Code::TRC0123, path.clone());
}

fn service(service: &Service, path: &FieldPath, findings: &mut Findings) {
    findings.reference(service.name.as_deref().unwrap_or_default(), path.field("name"));
    let path = path.field("attributes");
    for key in service.attributes.keys().filter(|key| key.is_empty() || key.chars().count() > 255) {
        findings.add(Code::TRC0130, path.key(key));
    }
    for key in service.attributes.keys().filter(|key| is_reserved_attribute(key)) {
        let help = match key.as_str() {
            "service.name" => "Use spec.service.name, or serviceName of a target.",
            "service.namespace" => "Use spec.service.namespace.",
            "service.version" => "Use spec.service.version.",
            _ => "Remove it: the operator derives it for every pod.",
        };
        findings.0.push(Diagnostic::new(Code::TRC0108, path.key(key)).help(help));
    }
}

fn propagators(settings: &Settings, names: &[Propagator], path: &FieldPath, findings: &mut Findings) {
    let repeated =
        names.iter().enumerate().any(|(position, name)| names.iter().take(position).any(|other| other == name));
    let none_beside_others = names.len() > 1 && names.contains(&Propagator::None);
    findings.add_if(repeated || none_beside_others, Code::TRC0128, path.clone());
    // What opentelemetry-api registers by itself.
    let built_in = [Propagator::Tracecontext, Propagator::Baggage, Propagator::None];
    let foreign = names.iter().any(|name| !built_in.contains(name));
    findings.add_if(foreign && settings.language == Some(Language::Python), Code::TRC0129, path.clone());
}

fn limits(limits: &Limits, path: &FieldPath, findings: &mut Findings) {
    findings.duration(limits.schedule_delay.as_ref(), path.field("scheduleDelay"));
    findings.duration(limits.export_timeout.as_ref(), path.field("exportTimeout"));
    // The defaults are the SDKs' (OpenTelemetry specification, batch span processor). A queue of nothing is out of range,
    // which says enough.
    let queue_size = limits.queue_size.unwrap_or(2048);
    let too_large = queue_size >= 1 && limits.batch_size.unwrap_or(512) > queue_size;
    let field = if limits.batch_size.is_some() { "batchSize" } else { "queueSize" };
    findings.add_if(too_large, Code::TRC0117, path.field(field));
}

/// Which languages have a switch: `env::switches` and `instrument::hooks` write it.
fn correlation(settings: &Settings, root: &FieldPath, is_whole: bool, findings: &mut Findings) {
    let Some(wanted) = settings.logs.as_ref().and_then(|logs| logs.correlation) else { return };
    let has_effect = match settings.language {
        Some(Language::Python | Language::Java) => true,
        // It is the default of the agent. What switches it off would also stop an SDK of the application's from sending logs.
        Some(Language::Nodejs) => wanted || settings.instrumentation.is_some(),
        Some(Language::Dotnet | Language::Go | Language::Other) | None => false,
    };
    findings.add_if(is_whole && !has_effect, Code::TRC0139, root.field("logs").field("correlation"));
}

fn instrumentation(
    settings: &Settings,
    _: &Instrumentation,
    root: &FieldPath,
    needs_language: bool,
    findings: &mut Findings,
) {
    let can =
        matches!(settings.language, Some(Language::Python | Language::Java | Language::Nodejs | Language::Dotnet));
    let field = if settings.language.is_some() { "language" } else { "instrumentation" };
    findings.add_if(needs_language && !can, Code::TRC0119, root.field(field));
    let grpc = settings.export.as_ref().and_then(|export| export.protocol) == Some(Protocol::Grpc);
    let python = settings.language == Some(Language::Python);
    findings.add_if(python && grpc, Code::TRC0118, root.field("export").field("protocol"));
}
