//! What is wrong with a policy by itself (TRC01xx). The CRD's CEL rules say the same in the API server.

use super::{attach, export};
use crate::{
    api::{
        Export, Instrumentation, Language, Limits, Milliseconds, Propagator, Protocol, Ratio, Sampling, Service,
        Settings, Tail, Target, TracingPolicySpec, settings::is_reserved_attribute, target::is_object_name,
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
    enabled(spec, &root, &mut findings);
    for (position, target) in spec.targets.iter().enumerate() {
        self::target(target, &root.field("targets").index(position), &mut findings);
    }
    settings(&spec.settings, &root, &mut findings);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Diagnostic>);

impl Findings {
    fn add(&mut self, code: Code, path: FieldPath) {
        self.0.push(Diagnostic::new(code, path));
    }

    fn add_if(&mut self, wrong: bool, code: Code, path: FieldPath) {
        if wrong {
            self.add(code, path);
        }
    }
}

fn enabled(spec: &TracingPolicySpec, root: &FieldPath, findings: &mut Findings) {
    let export = spec.settings.export.as_ref();
    let has_export = export.is_some_and(|export| {
        export.endpoint.as_deref().is_some_and(|endpoint| !endpoint.is_empty())
            || export.collector_ref.is_some()
            || export.inherit == Some(true)
    });
    findings.add_if(spec.enabled && !has_export, Code::TRC0101, root.field("export").field("endpoint"));
    let has_secret = export.is_some_and(|export| export.headers_secret_ref.is_some());
    findings.add_if(!spec.enabled && has_secret, Code::TRC0102, root.field("export").field("headersSecretRef"));
}

fn target(target: &Target, path: &FieldPath, findings: &mut Findings) {
    findings.add_if(target.name.is_some() && target.selector.is_some(), Code::TRC0109, path.clone());
    let expressions = target.selector.iter().flat_map(|selector| &selector.match_expressions);
    for (position, requirement) in expressions.enumerate() {
        let path = path.field("selector").field("matchExpressions").index(position);
        findings.add_if(!requirement.is_valid(), Code::TRC0124, path);
    }
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
        self::sampling(sampling, &root.field("sampling"), findings);
    }
    if let Some(limits) = &settings.limits {
        self::limits(limits, &root.field("limits"), findings);
    }
    if let Some(instrumentation) = &settings.instrumentation {
        self::instrumentation(settings, instrumentation, root, findings);
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
    let timeout = path.field("timeout");
    duration(export.timeout.as_ref(), &timeout, findings);
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

fn sampling(sampling: &Sampling, path: &FieldPath, findings: &mut Findings) {
    ratio(sampling.ratio, &path.field("ratio"), findings);
    findings.add_if(sampling.ratio.is_some() && sampling.profile.is_some(), Code::TRC0106, path.field("profile"));
    if let Some(tail) = &sampling.tail {
        self::tail(tail, &path.field("tail"), findings);
    }
}

fn tail(tail: &Tail, path: &FieldPath, findings: &mut Findings) {
    ratio(tail.ratio, &path.field("ratio"), findings);
    if let Some(slower) = tail.keep.as_ref().and_then(|keep| keep.slower_than.as_ref()) {
        let path = path.field("keep").field("slowerThan");
        duration(Some(&slower.0), &path, findings);
        findings.add_if(!Milliseconds::is_whole(slower), Code::TRC0110, path);
    }
    for (position, matcher) in tail.drop.iter().enumerate() {
        findings.add_if(!matcher.is_valid(), Code::TRC0125, path.field("drop").index(position));
    }
    for (position, rule) in tail.routes.iter().enumerate() {
        let path = path.field("routes").index(position);
        findings.add_if(!rule.matcher.is_valid(), Code::TRC0125, path.clone());
        ratio(Some(rule.ratio), &path.field("ratio"), findings);
    }
}

fn limits(limits: &Limits, path: &FieldPath, findings: &mut Findings) {
    duration(limits.schedule_delay.as_ref(), &path.field("scheduleDelay"), findings);
    duration(limits.export_timeout.as_ref(), &path.field("exportTimeout"), findings);
    // The defaults are the SDKs' (OpenTelemetry specification, batch span processor). A queue of nothing is out of range,
    // which says enough.
    let queue_size = limits.queue_size.unwrap_or(2048);
    let too_large = queue_size >= 1 && limits.batch_size.unwrap_or(512) > queue_size;
    let field = if limits.batch_size.is_some() { "batchSize" } else { "queueSize" };
    findings.add_if(too_large, Code::TRC0117, path.field(field));
}

fn instrumentation(settings: &Settings, _: &Instrumentation, root: &FieldPath, findings: &mut Findings) {
    let can =
        matches!(settings.language, Some(Language::Python | Language::Java | Language::Nodejs | Language::Dotnet));
    let field = if settings.language.is_some() { "language" } else { "instrumentation" };
    findings.add_if(!can, Code::TRC0119, root.field(field));
    let grpc = settings.export.as_ref().and_then(|export| export.protocol) == Some(Protocol::Grpc);
    let python = settings.language == Some(Language::Python);
    findings.add_if(python && grpc, Code::TRC0118, root.field("export").field("protocol"));
}

fn ratio(ratio: Option<Ratio>, path: &FieldPath, findings: &mut Findings) {
    findings.add_if(ratio.is_some_and(|ratio| !ratio.is_valid()), Code::TRC0105, path.clone());
}

fn duration(duration: Option<&DurationText>, path: &FieldPath, findings: &mut Findings) {
    findings.add_if(duration.is_some_and(|duration| duration.get().is_none()), Code::TRC0107, path.clone());
}
