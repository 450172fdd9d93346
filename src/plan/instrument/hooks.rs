//! What makes each language load the instrumentation at start: one table, and how a value of the user's own is joined.

use crate::{api::Settings, index::Agent};

/// How a hook goes together with a value that the user has set.
enum Join {
    /// Not at all: who sets it has another profiler or another installation.
    Never,
    /// `ours:theirs:more of ours`.
    Around(&'static str, &'static str),
    /// Behind the user's, with this between them.
    Behind(&'static str),
}

/// A variable that makes a language load the instrumentation.
pub(super) struct Hook {
    agent: Agent,
    pub(super) name: &'static str,
    value: &'static str,
    /// Where the container's C library is musl.
    musl: &'static str,
    join: Join,
}

const STORE: &str = "/otel-auto-instrumentation-dotnet/store";
const DEPS: &str = "/otel-auto-instrumentation-dotnet/AdditionalDeps";
const STARTUP: &str = "/otel-auto-instrumentation-dotnet/net/OpenTelemetry.AutoInstrumentation.StartupHook.dll";

const fn hook(agent: Agent, name: &'static str, value: &'static str, join: Join) -> Hook {
    Hook { agent, name, value, musl: value, join }
}

/// In the layout of the images of the OpenTelemetry operator.
///
/// The profiler of .NET: images for x64 have it under `linux-x64`, old and new ones; those for arm64 under `linux` alone,
/// and the runtime on arm64 looks at the variable with that name first.
const HOOKS: [Hook; 11] = [
    hook(
        Agent::Python,
        "PYTHONPATH",
        "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:/otel-auto-instrumentation-python",
        Join::Around(
            "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation",
            "/otel-auto-instrumentation-python",
        ),
    ),
    hook(
        Agent::Java,
        "JAVA_TOOL_OPTIONS",
        "-javaagent:/otel-auto-instrumentation-java/javaagent.jar",
        Join::Behind(" "),
    ),
    hook(
        Agent::Nodejs,
        "NODE_OPTIONS",
        "--require /otel-auto-instrumentation-nodejs/autoinstrumentation.js",
        Join::Behind(" "),
    ),
    hook(Agent::Dotnet, "CORECLR_ENABLE_PROFILING", "1", Join::Never),
    hook(Agent::Dotnet, "CORECLR_PROFILER", "{918728DD-259F-4A6A-AC2B-B85E1B658318}", Join::Never),
    Hook {
        agent: Agent::Dotnet,
        name: "CORECLR_PROFILER_PATH",
        value: "/otel-auto-instrumentation-dotnet/linux-x64/OpenTelemetry.AutoInstrumentation.Native.so",
        musl: "/otel-auto-instrumentation-dotnet/linux-musl-x64/OpenTelemetry.AutoInstrumentation.Native.so",
        join: Join::Never,
    },
    Hook {
        agent: Agent::Dotnet,
        name: "CORECLR_PROFILER_PATH_ARM64",
        value: "/otel-auto-instrumentation-dotnet/linux/OpenTelemetry.AutoInstrumentation.Native.so",
        musl: "/otel-auto-instrumentation-dotnet/linux-musl/OpenTelemetry.AutoInstrumentation.Native.so",
        join: Join::Never,
    },
    hook(Agent::Dotnet, "DOTNET_STARTUP_HOOKS", STARTUP, Join::Behind(":")),
    hook(Agent::Dotnet, "DOTNET_ADDITIONAL_DEPS", DEPS, Join::Behind(":")),
    hook(Agent::Dotnet, "DOTNET_SHARED_STORE", STORE, Join::Behind(":")),
    hook(Agent::Dotnet, "OTEL_DOTNET_AUTO_HOME", "/otel-auto-instrumentation-dotnet", Join::Never),
];

/// The hooks of a language.
pub(super) fn of(agent: Agent) -> impl Iterator<Item = &'static Hook> {
    HOOKS.iter().filter(move |hook| hook.agent == agent)
}

impl Hook {
    /// What it is set to where the user sets nothing.
    pub(super) const fn value(&self, musl: bool) -> &'static str {
        if musl { self.musl } else { self.value }
    }

    /// Whether it can be joined with a value of the user's.
    pub(super) const fn joins(&self) -> bool {
        !matches!(self.join, Join::Never)
    }
}

fn named(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}

/// What is set only in containers that are instrumented, in the order of the list of all variables: the public images would
/// send metrics and logs too, and a policy is about traces.
const BESIDE: [&str; 3] = [NODE_LOGGERS, "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"];

/// What keeps the agent for Node.js from touching log records: it has no other switch (its documentation, instrumentations
/// of bunyan, pino and winston). An SDK of the application's would no longer send them either.
const NODE_LOGGERS: &str = "OTEL_NODE_DISABLED_INSTRUMENTATIONS";

/// What is set beside the hooks.
pub(super) fn beside(settings: &Settings, agent: Agent) -> Vec<(&'static str, &'static str)> {
    let correlation = settings.logs.as_ref().and_then(|logs| logs.correlation);
    let loggers =
        (agent == Agent::Nodejs && correlation == Some(false)).then_some((NODE_LOGGERS, "bunyan,pino,winston"));
    loggers.into_iter().chain([("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")]).collect()
}

/// The names of everything that is set only in containers that are instrumented.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BESIDE.into_iter().chain(HOOKS.iter().map(|hook| hook.name))
}

/// Whether a variable is set only in containers that are instrumented.
pub(in crate::plan) fn belongs(name: &str) -> bool {
    BESIDE.contains(&name) || is_hook(name)
}

/// Whether a variable loads the instrumentation.
pub fn is_hook(name: &str) -> bool {
    named(name).is_some()
}

/// The user's own plain value of a hook, joined with what loads the instrumentation. What is joined already, and what is no
/// hook, stays as it is; so does every `$(NAME)` in it.
pub fn joined(name: &str, users: &str) -> String {
    let Some(hook) = named(name).filter(|_| !has_hook(name, users)) else { return users.to_owned() };
    match hook.join {
        Join::Never => users.to_owned(),
        _ if users.trim().is_empty() => hook.value.to_owned(),
        // An empty part of a path would mean the working directory.
        Join::Around(front, back) => format!("{front}:{}:{back}", users.trim_matches(':')),
        Join::Behind(":") => format!("{}:{}", users.trim_end_matches(':'), hook.value),
        Join::Behind(between) => format!("{users}{between}{}", hook.value),
    }
}

/// Whether a container's value of this variable has our hook in it, joined with the user's own or not.
pub fn has_hook(name: &str, value: &str) -> bool {
    named(name).is_some_and(|hook| match hook.join {
        Join::Never => value == hook.value || value == hook.musl,
        Join::Around(front, _) => value.split(':').any(|part| part == front),
        Join::Behind(":") => value.split(':').any(|part| part == hook.value),
        Join::Behind(_) => value.contains(hook.value),
    })
}
