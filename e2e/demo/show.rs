//! What the demo prints.

use std::cell::Cell;
use std::io::{IsTerminal, Write};

use serde_json::Value;

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($text:tt)*) => { $crate::show::print(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints. Where the reader has gone away (`| head`), there is nobody to tell, and the demo still cleans up.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).unwrap_or_default();
}

/// Standard output, with colour where it is a terminal.
pub(crate) struct Screen {
    colour: bool,
    steps: Cell<usize>,
}

/// The variables of one container.
#[derive(Clone, PartialEq)]
pub(crate) struct Container {
    title: String,
    variables: Vec<(String, String)>,
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

impl Screen {
    pub(crate) fn new() -> Self {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour, steps: Cell::new(0) }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A heading.
    pub(crate) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        say!("\n{}", self.paint(BOLD, &format!("{}. {title}", self.steps.get())));
    }

    pub(crate) fn note(&self, text: &str) {
        say!("{}", self.paint(YELLOW, text));
    }

    pub(crate) fn command(&self, line: &str) {
        say!("{}", self.paint(CYAN, &format!("$ {line}")));
    }

    /// The variables of each container, those that were not there `before` marked.
    pub(crate) fn environment(&self, before: &[Container], after: &[Container]) {
        for container in after {
            say!("{}", container.title);
            if container.variables.is_empty() {
                say!("    (no variables)");
            }
            let known = before.iter().find(|known| known.title == container.title);
            for (name, value) in &container.variables {
                let old = known.and_then(|known| known.variables.iter().find(|(known, _)| known == name));
                let line = format!("{name}={value}");
                match old {
                    // Before there were policies, there is nothing to compare with.
                    _ if before == after => say!("    {line}"),
                    Some((_, old)) if old == value => say!("  = {line}"),
                    _ => say!("{}", self.paint(GREEN, &format!("  + {line}"))),
                }
            }
        }
    }

    /// The conditions of each policy, what it counted, and what somebody should look at.
    pub(crate) fn conditions(&self, policies: &[Value]) {
        for policy in policies {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            say!("{}", self.paint(BOLD, &format!("TracingPolicy {}", text(&policy["metadata"]["name"]))));
            for condition in policy["status"]["conditions"].as_array().into_iter().flatten() {
                let [kind, status, reason, message] =
                    ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
                say!("    {kind:<13} {status:<8} {reason:<13} {message}");
            }
            let counts = policy["status"]["workloads"].as_object().into_iter().flatten();
            let counts: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
            say!("    workloads: {}", counts.join(", "));
            for entry in policy["status"]["attention"].as_array().into_iter().flatten() {
                let [kind, name, reason, message] =
                    ["kind", "name", "reason", "message"].map(|field| text(&entry[field]));
                say!("    {}", self.paint(YELLOW, &format!("attention: {kind} {name} {reason}: {message}")));
            }
        }
    }
}

/// The containers of a workload.
pub(crate) fn containers(workload: &Value) -> Vec<Container> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spec = workload
        .pointer("/spec/jobTemplate/spec/template")
        .or_else(|| workload.pointer("/spec/template"))
        .unwrap_or(&Value::Null);
    let of = |container: &Value| Container {
        title: format!(
            "{} {}, container {}",
            text(&workload["kind"]),
            text(&workload["metadata"]["name"]),
            text(&container["name"])
        ),
        variables: container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| (text(&entry["name"]), value(entry)))
            .collect(),
    };
    spec["spec"]["containers"].as_array().into_iter().flatten().map(of).collect()
}

fn value(entry: &Value) -> String {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    if let Some(field) = text("/valueFrom/fieldRef/fieldPath") {
        return format!("<field {field}>");
    }
    if let Some(secret) = text("/valueFrom/secretKeyRef/name") {
        return format!("<Secret {secret}>");
    }
    text("/value").unwrap_or_default().to_owned()
}
