//! The variables of each container: what they are set to, which settings feed them, what the user's own keep out.

use super::{Setting, View};
use crate::{
    api::Protocol,
    index::{Container, ENV_NAMES, EnvValue, Owner, VERSION_LABEL},
    plan::{
        inject::{causes, group_rule},
        instrument::{Uninstrumented, is_hook},
        workload::{Decision, SIDECARS, is_selected},
    },
};

/// What a variable is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// A field of the settings.
    Field(String),
    /// Something else, in words.
    Derived(String),
}

/// How a variable of the workload is, compared with what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    InPlace,
    /// Not there yet.
    ToAdd,
    /// There with another value of the operator's.
    ToChange(EnvValue),
    /// The operator does not write it (injection modes None and Pod).
    NotWritten,
    /// Left as it is, since nothing valid decides about it.
    Kept,
}

/// A variable of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableReport {
    /// Its name.
    pub name: &'static str,
    /// What it should be.
    pub value: EnvValue,
    /// What it is made from.
    pub from: Vec<Feed>,
    /// How it is.
    pub state: State,
}

/// A variable that the user's own keep out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its name.
    pub name: &'static str,
    /// The user's variables that cause it.
    pub because: Vec<&'static str>,
    /// The rule, where it belongs with others.
    pub rule: Option<&'static str>,
}

/// What there is to say of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerReport {
    /// Its name.
    pub name: String,
    /// Why it is not selected.
    pub unselected: Option<&'static str>,
    /// The variables, in order.
    pub variables: Vec<VariableReport>,
    /// What the user's own variables keep out.
    pub withheld: Vec<Withheld>,
    /// The image of the instrumentation that it loads.
    pub instrumented: Option<String>,
    /// Why it loads none, where a policy wants it to.
    pub uninstrumented: Option<String>,
    /// The operator's variables that have to go.
    pub leaving: Vec<&'static str>,
}

pub(super) fn containers(view: &View<'_>, fields: &[Setting]) -> Vec<ContainerReport> {
    view.workload.containers.iter().map(|live| container(view, fields, live)).collect()
}

fn container(view: &View<'_>, fields: &[Setting], live: &Container) -> ContainerReport {
    let mut report = ContainerReport { name: live.name.clone(), ..ContainerReport::default() };
    if let Decision::Hold(_) = view.plan.decision {
        report.variables = kept(live);
        return report;
    }
    report.unselected = view.plan.winner.as_ref().and_then(|_| unselected(view, live));
    let planned = view.plan.containers.iter().find(|planned| planned.name == live.name);
    let written = view.plan.decision == Decision::Inject;
    for variable in planned.into_iter().flat_map(|planned| &planned.variables) {
        let state = match live.variable(variable.name).map(|known| &known.owner) {
            _ if !written => State::NotWritten,
            Some(Owner::Operator(value)) if *value == variable.value => State::InPlace,
            Some(Owner::Operator(value)) => State::ToChange(value.clone()),
            _ => State::ToAdd,
        };
        let from = feeds(view, fields, variable.name);
        report.variables.push(VariableReport { name: variable.name, value: variable.value.clone(), from, state });
    }
    report.instrumented =
        planned.and_then(|planned| planned.instrumented.as_ref()).map(|instrumentation| instrumentation.image.clone());
    report.uninstrumented = planned.and_then(|planned| planned.uninstrumented.as_ref()).map(Uninstrumented::describe);
    let withheld = planned.into_iter().flat_map(|planned| &planned.withheld);
    report.withheld =
        withheld.map(|name| Withheld { name, because: causes(live, name), rule: group_rule(name) }).collect();
    let stays = |name: &str| written && report.variables.iter().any(|variable| variable.name == name);
    report.leaving = live.held.iter().filter(|name| !stays(name)).collect();
    report
}

fn kept(live: &Container) -> Vec<VariableReport> {
    let own = ENV_NAMES.iter().filter_map(|name| match &live.variable(name)?.owner {
        Owner::Operator(value) => Some((*name, value.clone())),
        Owner::User => None,
    });
    let from = || vec![Feed::Derived("what the workload carries already".to_owned())];
    own.map(|(name, value)| VariableReport { name, value, from: from(), state: State::Kept }).collect()
}

/// Why a policy's settings leave this container out.
pub(super) fn unselected(view: &View<'_>, live: &Container) -> Option<&'static str> {
    if is_selected(view.settings, live) {
        return None;
    }
    let is_listed = view.settings.containers.as_ref().is_some_and(|names| !names.is_empty());
    let is_sidecar = SIDECARS.contains(&live.name.as_str()) && !is_listed;
    Some(if is_sidecar {
        "it is a known sidecar, and the setting `containers` does not name it"
    } else {
        "the setting `containers` does not name it"
    })
}

/// What feeds each variable: those of the fields that are in force, else what is derived.
fn feeds(view: &View<'_>, fields: &[Setting], name: &str) -> Vec<Feed> {
    let has = |field: &str| fields.iter().any(|setting| setting.field == field && setting.value.is_some());
    let set = |names: &[&str]| -> Vec<Feed> {
        names.iter().filter(|field| has(field)).map(|field| Feed::Field((*field).to_owned())).collect()
    };
    let or = |feeds: Vec<Feed>, derived: &str| {
        if feeds.is_empty() { vec![Feed::Derived(derived.to_owned())] } else { feeds }
    };
    match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => set(&["export.endpoint", "export.collectorRef", "export.inherit"]),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => or(set(&["export.protocol"]), protocol(view)),
        "OTEL_EXPORTER_OTLP_HEADERS" => set(&["export.headersSecretRef"]),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => set(&["export.timeout", "language"]),
        "OTEL_EXPORTER_OTLP_COMPRESSION" => set(&["export.compression"]),
        "OTEL_TRACES_EXPORTER" => or(Vec::new(), "always otlp where an export is in force"),
        "OTEL_SERVICE_NAME" => or(set(&["service.name"]), service_name(view)),
        "TRACESTEWARD_POD_NAME" => or(Vec::new(), "the pod's name, for OTEL_RESOURCE_ATTRIBUTES"),
        "TRACESTEWARD_NODE_NAME" => or(Vec::new(), "the node's name, for OTEL_RESOURCE_ATTRIBUTES"),
        "TRACESTEWARD_SERVICE_VERSION" => vec![Feed::Derived(format!("the pod template's label {VERSION_LABEL}"))],
        "OTEL_RESOURCE_ATTRIBUTES" => attributes(view, fields),
        "OTEL_TRACES_SAMPLER" => set(&["sampling.ratio", "sampling.profile", "sampling.parentBased"]),
        "OTEL_TRACES_SAMPLER_ARG" => set(&["sampling.ratio", "sampling.profile"]),
        "OTEL_PROPAGATORS" => or(set(&["propagators"]), "the default"),
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" => set(&["limits.spanAttributes"]),
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" => set(&["limits.attributeValueLength"]),
        "OTEL_SPAN_EVENT_COUNT_LIMIT" => set(&["limits.spanEvents"]),
        "OTEL_BSP_SCHEDULE_DELAY" => set(&["limits.scheduleDelay"]),
        "OTEL_BSP_EXPORT_TIMEOUT" => set(&["limits.exportTimeout"]),
        "OTEL_BSP_MAX_QUEUE_SIZE" => set(&["limits.queueSize"]),
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => set(&["limits.batchSize"]),
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" => set(&["genAi.captureContent"]),
        "OTEL_PYTHON_LOG_CORRELATION"
        | "OTEL_NODE_DISABLED_INSTRUMENTATIONS"
        | "OTEL_INSTRUMENTATION_LOGBACK_MDC_ENABLED"
        | "OTEL_INSTRUMENTATION_LOG4J_CONTEXT_DATA_ENABLED"
        | "OTEL_INSTRUMENTATION_LOG4J_MDC_ENABLED"
        | "OTEL_INSTRUMENTATION_JBOSS_LOGMANAGER_MDC_ENABLED" => set(&["logs.correlation", "language"]),
        "OTEL_METRICS_EXPORTER" | "OTEL_LOGS_EXPORTER" => {
            or(Vec::new(), "the instrumentation, which would send more than traces")
        }
        hook if is_hook(hook) => {
            let fields = set(&["instrumentation", "instrumentation.image", "language"]);
            or(fields, "the instrumentation")
        }
        _ => Vec::new(),
    }
}

fn protocol(view: &View<'_>) -> &'static str {
    let export = view.settings.export.as_ref();
    if view.settings.instrumentation.is_some() {
        return "what the instrumentation can speak";
    }
    match export.and_then(|export| export.protocol) {
        None if export.is_some_and(|export| export.collector_ref.is_some()) => "the default of a collectorRef",
        None | Some(Protocol::Grpc | Protocol::HttpProtobuf) => "the endpoint's port",
    }
}

fn service_name(view: &View<'_>) -> &'static str {
    let is_annotated = view.workload.attributes.get("service.name").is_some_and(|name| !name.is_empty());
    if is_annotated { "the annotation resource.opentelemetry.io/service.name" } else { "the workload's name" }
}

fn attributes(view: &View<'_>, fields: &[Setting]) -> Vec<Feed> {
    let is_attribute = |setting: &&Setting| {
        setting.value.is_some()
            && (matches!(setting.field.as_str(), "service.namespace" | "service.version")
                || setting.field.starts_with("service.attributes["))
    };
    let mut feeds: Vec<_> =
        fields.iter().filter(is_attribute).map(|setting| Feed::Field(setting.field.clone())).collect();
    let annotations = view.workload.attributes.keys().filter(|key| key.as_str() != "service.name");
    feeds.extend(annotations.map(|key| Feed::Derived(format!("the annotation resource.opentelemetry.io/{key}"))));
    feeds.push(Feed::Derived("workload, container, pod and node".to_owned()));
    feeds
}
