//! `tracesteward render`.

use serde_json::{Value, json};
use tracesteward::diagnostics::source;

use super::common::{Answer, BAD, GOOD, WORKLOAD, run, run_with};

/// Both samples and what they hold.
const SAMPLES: [&str; 2] = ["config/samples/checkout.yaml", "config/samples/worker.yaml"];

fn documents(text: &str) -> Vec<Value> {
    let reading = source::read("output", text.as_bytes().to_vec());
    assert_eq!(reading.diagnostics, [], "{text}");
    reading.documents.iter().map(|document| document.value().clone()).collect()
}

fn render(args: &[&str], input: &str) -> Answer {
    let mut all = vec!["render"];
    all.extend(args);
    all.push("-");
    run_with(&all, input)
}

fn variable<'v>(manifest: &'v Value, name: &str) -> &'v Value {
    let env = manifest.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).unwrap();
    env.iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn whole_manifests_as_yaml_and_as_json() {
    let input = format!("{WORKLOAD}---\n{GOOD}");
    let yaml = render(&[], &input);
    assert_eq!((yaml.code, yaml.stderr.as_str()), (Some(0), ""));
    let manifests = documents(&yaml.stdout);
    assert_eq!(manifests.len(), 1, "only what changes: {}", yaml.stdout);
    assert_eq!(variable(&manifests[0], "OTEL_SERVICE_NAME")["value"], "web");
    assert_eq!(manifests[0].pointer("/spec/template/spec/containers/0/image"), Some(&json!("web:1")), "whole");
    let list = render(&["-o", "json"], &input).json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("List"), &json!("v1")));
    assert_eq!(list["items"], json!(manifests));
}

#[test]
fn patches_hold_nothing_but_the_intent() {
    let answer = render(&["-o", "patch"], &format!("{WORKLOAD}---\n{GOOD}"));
    let patches = documents(&answer.stdout);
    assert_eq!(patches.len(), 1);
    let patch = patches[0].as_object().unwrap();
    assert_eq!(patch.keys().collect::<Vec<_>>(), ["apiVersion", "kind", "metadata", "spec"]);
    assert_eq!(patch["metadata"], json!({"name": "web", "namespace": "shop"}));
    let container = patches[0].pointer("/spec/template/spec/containers/0").unwrap().as_object().unwrap();
    assert_eq!(container.keys().collect::<Vec<_>>(), ["name", "env"], "no image");
}

#[test]
fn lines_for_a_local_run() {
    let input = format!("{WORKLOAD}---\n{GOOD}");
    let env = |args: &[&str]| {
        let mut all = vec!["-o", "env"];
        all.extend(args);
        render(&all, &input)
    };
    let answer = env(&["-n", "shop", "--workload", "Deployment/web"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = answer.stdout.lines().collect();
    assert_eq!(lines[0], "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317");
    assert!(lines.contains(&"# TRACESTEWARD_POD_NAME: field metadata.name of the pod"), "{lines:?}");
    let attributes = lines.iter().find(|line| line.starts_with("OTEL_RESOURCE_ATTRIBUTES=")).unwrap();
    assert!(attributes.contains("k8s.deployment.name=web") && !attributes.contains("$("), "{attributes}");
    for line in lines {
        assert!(
            line.starts_with("# ")
                || line
                    .split_once('=')
                    .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')),
            "{line}"
        );
    }
    // The kind in any case, as kubectl takes it; the container by name.
    assert_eq!(env(&["-n", "shop", "--workload", "deployment/web", "--container", "app"]).code, Some(0));

    for (args, code, words) in [
        (&["-n", "shop"][..], 2, "--workload"),
        (&["-n", "shop", "--workload", "web"], 2, "KIND/NAME"),
        (&["--workload", "Deployment/web"], 1, "namespace default"),
        (&["-n", "shop", "--workload", "Deployment/api"], 1, "Deployment/api"),
        (&["-n", "shop", "--workload", "StatefulSet/web"], 1, "StatefulSet/web"),
        (&["-n", "shop", "--workload", "Deployment/web", "--container", "none"], 1, "--container"),
    ] {
        let answer = env(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{args:?}: {answer:?}");
        assert!(answer.stderr.contains(words), "{args:?}: {}", answer.stderr);
    }
    let two = WORKLOAD.replace("image: web:1}", "image: web:1}, {name: cache, image: cache:1}");
    let answer = render(&["-o", "env", "-n", "shop", "--workload", "Deployment/web"], &format!("{two}---\n{GOOD}"));
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("--container app|cache"), "{}", answer.stderr);
}

#[test]
fn dollars_are_undone_for_local_runs_only() {
    let policy = GOOD.replace("http://otel:4317", "http://otel:4317/$(HOME)");
    let input = format!("{WORKLOAD}---\n{policy}");
    let manifests = documents(&render(&[], &input).stdout);
    assert_eq!(variable(&manifests[0], "OTEL_EXPORTER_OTLP_ENDPOINT")["value"], "http://otel:4317/$$(HOME)");
    let env = render(&["-o", "env", "-n", "shop", "--workload", "Deployment/web"], &input).stdout;
    assert!(env.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317/$(HOME)\n"), "{env}");
}

#[test]
fn a_policy_with_errors_takes_no_part() {
    // By name, so that it would win.
    let bad = BAD.replace("enabled: true", "enabled: true, targets: [{kind: Deployment, name: other}]");
    let answer = render(&[], &format!("{WORKLOAD}---\n{bad}---\n{GOOD}"));
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("error[TRC0101]") && answer.stderr.contains("<stdin>:"), "{}", answer.stderr);
    assert_eq!(documents(&answer.stdout).len(), 1, "the others are rendered");
    let alone = render(&[], &format!("{WORKLOAD}---\n{BAD}"));
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""));
    let unreadable = render(&[], &format!("{WORKLOAD}---\n{GOOD}---\na: [\n"));
    assert_eq!(unreadable.code, Some(3));
}

#[test]
fn objects_without_a_namespace_are_in_that_of_n() {
    let (workload, policy) = (WORKLOAD.replace(", namespace: shop", ""), GOOD.replace(", namespace: shop", ""));
    let input = format!("{workload}---\n{policy}");
    for (args, namespace) in [(&[][..], "default"), (&["-n", "payments"], "payments"), (&["--namespace=x"], "x")] {
        let manifests = documents(&render(args, &input).stdout);
        let Value::String(attributes) = &variable(&manifests[0], "OTEL_RESOURCE_ATTRIBUTES")["value"] else { panic!() };
        assert!(attributes.contains(&format!("service.namespace={namespace}")), "{attributes}");
        assert_eq!(manifests[0]["metadata"]["namespace"], json!(null), "the manifest stays as it is");
    }
    let answer = render(&["-n", "kube-system"], &input);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "kube-* is never touched: {answer:?}");
    assert!(answer.stderr.contains("TRC0127"), "{}", answer.stderr);
}

#[test]
fn modes_that_do_not_write_say_so() {
    for (mode, comment) in [("None", "# injection.mode None: "), ("Pod", "# Injected at Pod level: ")] {
        let policy = GOOD.replace("enabled: true", &format!("enabled: true, injection: {{mode: {mode}}}"));
        let answer = render(&[], &format!("{WORKLOAD}---\n{policy}"));
        assert!(answer.stdout.starts_with(comment), "{}", answer.stdout);
        assert_eq!(documents(&answer.stdout).len(), 1);
    }
    let policy = GOOD.replace("enabled: true", "enabled: true, rollout: {maxConcurrent: 1}");
    let answer = render(&[], &format!("{WORKLOAD}---\n{policy}"));
    assert_eq!((answer.stderr.as_str(), answer.code), ("", Some(0)), "how it is rolled out changes nothing here");
}

/// What YAML could take for something else, or break at.
#[rustfmt::skip]
const TRICKY: &[&str] = &[
    "yes", "no", "on", "off", "y", "n", "true", "True", "null", "~", "Null", "1.0", "1", "0o17", "017", "0x1F", "1e3",
    ".5", ".inf", ".nan", "-.INF", "1_000", "+1", "-1", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "12:30:45",
    "190:20:30", "=", "<<", "", " leading", "trailing ", "a: b", "a #b", "#a", "- a", "? a", "[a]", "{a: b}", "*a",
    "&a", "!a", "!!int 1", "%a", "@a", "`a", "'a'", "\"a\"", "a\\nb", "two\nlines", "two\nlines\n",
    "three\n\n\nlines\n\n", "  indented\nlines", "\n", "\t", "a\tb", "tab\t\nline", "trailing \nspace ",
    "carriage\rreturn", "crlf\r\nline", "\u{1}", "\u{1b}[31m", "\u{7f}", "\u{85}", "\u{2028}", "\u{feff}",
    "a\u{feff}b", "ä ö ü", "日本語", "🦀", "\u{202e}x", "---", "...", "--- a", "a: |\n  b", "$(HOME)", "$$(HOME)", ": a",
    "a:", ",a", "|", ">", "|-\n a", "{{ .Values.x }}",
];

#[test]
fn every_value_comes_back_as_it_was() {
    let values = TRICKY;
    let env: Vec<_> =
        values.iter().enumerate().map(|(index, value)| json!({"name": format!("V{index}"), "value": value})).collect();
    let args: Vec<_> = values.iter().map(|value| json!(value)).collect();
    let annotations: serde_json::Map<_, _> =
        values.iter().enumerate().map(|(index, value)| (format!("a/{index}"), json!(value))).collect();
    let keys: serde_json::Map<_, _> = values.iter().map(|value| ((*value).to_owned(), json!(1))).collect();
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations, "x-keys": keys},
        "spec": {"replicas": 3, "paused": false, "x": [1.5, -0.25, 1e-9, 9_007_199_254_740_993_i64, null, {}, []],
            "template": {"spec": {"containers": [{"name": "app", "image": "web:1", "args": args, "env": env}]}}},
    });
    let policy = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"enabled": true, "export": {"endpoint": "http://otel:4317"}, "service": {"name": "yes"}, "sampling": {"ratio": 0.1}},
    });
    let input = format!("{workload}\n{policy}");
    let yaml = render(&[], &input);
    assert_eq!((yaml.code, yaml.stderr.as_str()), (Some(0), ""));
    let mut back = documents(&yaml.stdout).remove(0);
    assert_eq!(back, render(&["-o", "json"], &input).json()["items"][0], "YAML and JSON hold the same");
    assert_eq!(variable(&back, "OTEL_SERVICE_NAME")["value"], "yes");
    assert_eq!(variable(&back, "OTEL_TRACES_SAMPLER_ARG")["value"], "0.1");
    let written = back.pointer_mut("/spec/template/spec/containers/0/env").and_then(Value::as_array_mut).unwrap();
    written.truncate(values.len());
    for (index, value) in values.iter().enumerate() {
        assert_eq!(written[index]["value"], **value, "V{index}");
    }
    let kept = workload.pointer_mut("/spec/template/spec/containers/0/env").unwrap();
    assert_eq!(written, kept.as_array().unwrap());
    assert_eq!(back, workload, "nothing else changed");
}

#[test]
fn same_input_same_bytes() {
    for output in ["yaml", "json", "patch"] {
        let mut args = vec!["render", "-o", output];
        args.extend(SAMPLES);
        let (one, two) = (run(&args), run(&args));
        assert_eq!(one, two);
        assert_eq!(one.code, Some(0));
    }
}

#[test]
fn what_is_rendered_needs_no_further_change() {
    // What `render` prints is committed; from then on the variables are the user's.
    let rendered = run(&["render", SAMPLES[0]]).stdout;
    let policy = std::fs::read_to_string(SAMPLES[0]).unwrap();
    let policy = policy.split("\n---\n").find(|text| text.contains("kind: TracingPolicy")).unwrap();
    let again = render(&[], &format!("{rendered}---\n{policy}"));
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{}", again.stderr);
}

#[test]
fn a_manifest_keeps_the_order_of_its_fields() {
    let workload = WORKLOAD
        .replace("image: web:1}", "env: [{name: A, value: b}], image: web:1, ports: [{containerPort: 1}], tty: true}");
    let manifests = documents(&render(&[], &format!("{workload}---\n{GOOD}")).stdout);
    let container = manifests[0].pointer("/spec/template/spec/containers/0").unwrap().as_object().unwrap();
    assert_eq!(container.keys().collect::<Vec<_>>(), ["name", "env", "image", "ports", "tty"]);
}
