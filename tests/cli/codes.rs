//! Every code has a page, every page an example that gives the code, and one that is mended.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tracesteward::diagnostics::{Code, pages::Page, source};
use tracesteward::index::{Collector, Policy, SecretState, Snapshot, raw::read_workload};
use tracesteward::plan::{plan, read_collector, read_policy};

use super::common::{Files, command, finish, run, run_with};

/// The codes that a text gives, read from standard input.
fn validated(bytes: &[u8]) -> Vec<String> {
    let answer = finish(command(&["validate", "-o", "json", "-"]), bytes);
    let codes: BTreeSet<_> = answer.codes().into_iter().collect();
    codes.into_iter().collect()
}

/// The documents of a text.
fn documents(text: &str) -> Vec<Value> {
    let reading = source::read("page", text.as_bytes().to_vec());
    assert_eq!(reading.diagnostics, [], "{text}");
    reading.documents.iter().map(|document| document.value().clone()).collect()
}

/// In a cluster of these documents alone: what is not among them does not exist.
fn in_a_cluster(text: &str) -> Vec<String> {
    let mut snapshot = Snapshot::default();
    let mut secrets = BTreeSet::new();
    for document in documents(text) {
        let metadata = |field: &str| document["metadata"][field].as_str().unwrap().to_owned();
        let namespace = snapshot.namespaces.entry(metadata("namespace")).or_default();
        match document["kind"].as_str().unwrap() {
            "TracingPolicy" => {
                namespace.policies.insert(metadata("name"), read_policy(&document, ""));
            }
            "TracingCollector" => {
                let collector = read_collector(&document, "");
                snapshot.collectors.insert(collector.id.clone(), collector);
            }
            "Secret" => {
                secrets.insert((metadata("namespace"), metadata("name")));
            }
            _ => {
                let workload = read_workload(&document, "").unwrap().unwrap();
                namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
            }
        }
    }
    let state = |namespace: &String, name: &String| {
        let exists = secrets.contains(&(namespace.clone(), name.clone()));
        if exists { SecretState::Present } else { SecretState::NotFound }
    };
    for key in snapshot.collectors.values().flat_map(Collector::secrets).collect::<Vec<_>>() {
        let state = state(&key.namespace, &key.name);
        snapshot.namespaces.entry(key.namespace).or_default().keys.insert((key.name, key.key), state);
    }
    for namespace in snapshot.namespaces.values_mut() {
        let named: Vec<_> = namespace.policies.values().filter_map(Policy::secret).collect();
        namespace.secrets.extend(named.into_iter().map(|secret| {
            let state = state(&secret.namespace, &secret.name);
            (secret.name, state)
        }));
    }
    let codes: BTreeSet<_> = plan(&snapshot).1.iter().map(|finding| finding.code.to_string()).collect();
    codes.into_iter().collect()
}

/// The documents, with policies that have a hundred long rules; `targets` and `copies` as many as asked for.
fn enlarged(text: &str, targets: usize, copies: usize) -> String {
    let routes: Vec<_> =
        (0..100).map(|at| json!({"route": format!("/{}{at}", "x".repeat(900)), "ratio": 0.1})).collect();
    let targets: Vec<_> = (0..targets).map(|at| json!({"kind": "Job", "name": format!("import-{at}")})).collect();
    let mut all = Vec::new();
    for document in documents(text) {
        if document["kind"] != "TracingPolicy" {
            all.push(document);
            continue;
        }
        for copy in 0..copies {
            let mut policy = document.clone();
            policy["spec"]["sampling"]["tail"]["routes"] = json!(routes);
            policy["spec"]["targets"] = json!(targets);
            if copies > 1 {
                policy["metadata"]["namespace"] = format!("shop-{copy}").into();
            }
            all.push(policy);
        }
    }
    all.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// The codes that an example gives, run in the way that its page asks for.
fn given(run: Option<&str>, text: &str) -> Vec<String> {
    match run {
        None | Some("not-reported") => validated(text.as_bytes()),
        Some("missing") => {
            let path = text.split_whitespace().last().unwrap();
            let files = Files::new(&[("policies/checkout.yaml", super::common::GOOD)]);
            files.run(&["validate", "-o", "json", path]).codes()
        }
        Some("latin-1") => {
            let bytes: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
            assert_ne!(bytes, text.as_bytes(), "there is something to save differently");
            validated(&bytes)
        }
        Some("cluster") => in_a_cluster(text),
        Some("large-policy") => validated(enlarged(text, 20, 1).as_bytes()),
        Some("many-policies") => validated(enlarged(text, 1, 12).as_bytes()),
        Some(other) => panic!("no way to run an example is called {other}"),
    }
}

#[test]
fn every_example_gives_its_code_and_every_mended_one_nothing() {
    let mut faults = Vec::new();
    for code in Code::ALL.iter().copied() {
        let page = Page::of(code);
        let name = format!("src/diagnostics/pages/{code}.md");
        let wanted: Vec<_> = page.gives.iter().map(Code::to_string).collect();
        let found = given(page.run, page.example);
        match page.run {
            Some("not-reported") if !found.contains(&code.to_string()) => {}
            Some("not-reported") => faults.push(format!("{name}: the code is reported now: remove run: not-reported")),
            _ if found != wanted => faults.push(format!("{name}: the example gives {found:?}, not {wanted:?}")),
            _ => {}
        }
        // Mended is mended, also where the example has to be enlarged or saved in another way.
        let run = page.run.filter(|run| ["missing", "cluster"].contains(run));
        let left = given(run, page.fix);
        if !left.is_empty() {
            faults.push(format!("{name}: the mended example gives {left:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn explain_prints_the_page_without_a_network() {
    for name in ["TRC0101", "trc0101", " Trc0101 "] {
        let answer = run(&["explain", name]);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
        for part in [
            "TRC0101 (error, since 0.1.0)\nenabled without an endpoint: ",
            "An enabled policy has to say where spans go.",
            "Example:\n\n    apiVersion: tracesteward.io/v1alpha1\n    kind: TracingPolicy\n",
            "How to mend it: Set spec.export.endpoint",
            "      export: {endpoint: \"http://otel-collector.observability:4317\"}\n",
            "https://tracesteward.io/docs/codes/TRC0101\n",
        ] {
            assert!(answer.stdout.contains(part), "{part} is not in:\n{}", answer.stdout);
        }
    }
    for code in Code::ALL {
        let text = run_with(&["explain", code.as_str()], "").stdout;
        assert!(text.contains(code.message()) && !text.contains("```"), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(' ')), "{text:?}");
    }
}

#[test]
fn explain_prints_the_page_for_programs() {
    for code in Code::ALL {
        let page = run(&["explain", code.as_str(), "-o", "json"]).json();
        let names: BTreeSet<_> = page.as_object().unwrap().keys().map(String::as_str).collect();
        let known = "version code severity message help since meaning example remedy fix url";
        assert_eq!(names, known.split(' ').collect(), "{page}");
        assert_eq!((&page["version"], &page["code"]), (&json!(1), &json!(code.as_str())));
        assert_eq!((&page["message"], &page["example"]), (&json!(code.message()), &json!(Page::of(*code).example)));
        assert!(page.as_object().unwrap().values().all(|value| value != ""), "{page}");
    }
    assert_eq!(run(&["explain", "TRC0101", "-o", "json"]).json()["severity"], "error");
}

#[test]
fn explain_of_a_code_takes_nothing_about_objects() {
    for more in [&["a.yaml"][..], &["-n", "shop"], &["--live"], &["--container", "app"]] {
        let answer = run(&[&["explain", "TRC0101"][..], more].concat());
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
        assert!(answer.stderr.contains("with a code, "), "{answer:?}");
    }
}

#[test]
fn what_cannot_be_explained_is_a_usage_error() {
    for (what, words) in [
        ("TRC101", "TRC101 is no code; did you mean TRC0101"),
        ("TRC0110x", "did you mean TRC0110"),
        ("nonsense", "nonsense is no code: codes are like TRC0001"),
        ("\u{1b}[2J", "\\u{1b}[2J is no code"),
        ("Ingress/web", "no kind that can be explained"),
        ("\u{1b}[2J/web", "no kind that can be explained"),
    ] {
        let answer = run(&["explain", what]);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
        assert!(answer.stderr.contains(words) && !answer.stderr.contains('\u{1b}'), "{answer:?}");
    }
    assert_eq!(run(&["explain"]).code, Some(2));
}
