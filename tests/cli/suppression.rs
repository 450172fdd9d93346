//! What is left out: by `--allow`, by annotation, and files of others by `--skip-others`.

use tracesteward::diagnostics::{Code, pages::Page};

use super::common::{BAD, Files, GOOD, WARNING, WORKLOAD, run, run_with};

const LEAVE_OUT: &str = "tracesteward.io/ignore";

fn annotated(text: &str, codes: &str) -> String {
    text.replacen("namespace: shop}", &format!("namespace: shop, annotations: {{{LEAVE_OUT}: \"{codes}\"}}}}"), 1)
}

fn env_from(annotation: &str) -> String {
    let workload = WORKLOAD.replace("image: web:1}", "image: web:1, envFrom: [{secretRef: {name: a}}]}");
    if annotation.is_empty() { workload } else { annotated(&workload, annotation) }
}

fn codes(text: &str, args: &[&str]) -> Vec<String> {
    let mut all = vec!["validate", "-o", "json"];
    all.extend(args);
    all.push("-");
    run_with(&all, text).codes()
}

#[test]
fn allowed_codes_are_not_reported_and_do_not_count() {
    let text = format!("{WARNING}---\n{}", env_from(""));
    assert_eq!(codes(&text, &[]), ["TRC0120", "TRC0503"]);
    assert_eq!(codes(&text, &["--allow", "TRC0503"]), ["TRC0120"]);
    assert_eq!(codes(&text, &["--allow", "trc0503"]), ["TRC0120"]);
    for both in [&["--allow", "TRC0503,TRC0120"][..], &["--allow=TRC0120", "--allow", "TRC0503"]] {
        assert!(codes(&text, both).is_empty(), "{both:?}");
    }
    for format in ["pretty", "compact", "json", "sarif", "github", "junit"] {
        let args = ["validate", "-o", format, "--fail-on=warning", "--allow=TRC0120,TRC0503", "-"];
        let answer = run_with(&args, &text);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(!answer.stdout.contains("TRC0"), "{answer:?}");
    }
    let answer = run_with(&["validate", "-o", "json", "--allow", "TRC0120", "-"], &text);
    assert_eq!(answer.json()["summary"], serde_json::json!({"errors": 0, "warnings": 1, "objects": 2}));
    let rendered = run_with(&["render", "--allow", "TRC0120,TRC0503", "-"], &text);
    assert!(rendered.code == Some(0) && rendered.stderr.is_empty(), "{rendered:?}");
}

#[test]
fn what_cannot_be_allowed_is_a_usage_error() {
    for (allow, words) in [
        ("TRC503", "TRC503 is no code; did you mean TRC0503"),
        ("TRC0503,nonsense", "nonsense is no code"),
        ("TRC0101", "TRC0101 is an error, and errors are never left out"),
        ("", "is no code"),
    ] {
        let answer = run(&["validate", "--allow", allow, "config/samples"]);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
    }
}

#[test]
fn an_annotation_leaves_findings_about_its_object_out() {
    assert!(codes(&annotated(WARNING, "TRC0120"), &["--fail-on", "warning"]).is_empty());
    assert!(codes(&annotated(WARNING, "TRC0203 trc0120"), &[]).is_empty());
    // On the workload where the finding is about the workload; the policy's says nothing of it.
    assert!(codes(&format!("{GOOD}---\n{}", env_from("TRC0503")), &[]).is_empty());
    assert_eq!(codes(&format!("{}---\n{}", annotated(GOOD, "TRC0503"), env_from("")), &[]), ["TRC0503"]);
    // What is known only beside other objects.
    let target = GOOD.replace("enabled: true", "enabled: true, targets: [{kind: Deployment, name: api}]");
    assert_eq!(codes(&format!("{target}---\n{WORKLOAD}"), &[]), ["TRC0203"]);
    assert!(codes(&format!("{}---\n{WORKLOAD}", annotated(&target, "TRC0203")), &[]).is_empty());
    let collector = "apiVersion: tracesteward.io/v1alpha1\nkind: TracingCollector\nmetadata: {name: c, namespace: shop}\nspec:\n  sampling: {decisionWait: 1500ms}\n  backends: [{name: a, endpoint: 'http://a', headers: [{name: x, secretKeyRef: {name: s, key: k}}]}]\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {other: x}\n";
    assert_eq!(codes(collector, &[]), ["TRC0614", "TRC0210"]);
    assert!(codes(&annotated(collector, "TRC0614,TRC0210"), &[]).is_empty());
}

#[test]
fn a_policy_that_is_not_followed_may_know_it() {
    let shared = Page::of(Code::TRC0402).example;
    assert_eq!(codes(shared, &[]), ["TRC0402"]);
    let known = format!("{{name: worker, namespace: shop, annotations: {{{LEAVE_OUT}: TRC0402}}}}");
    let known = shared.replace("{name: worker, namespace: shop}", &known);
    assert!(known != shared && codes(&known, &[]).is_empty());
}

#[test]
fn errors_are_never_left_out_and_words_without_effect_are_named() {
    let answer = run_with(&["validate", "-"], &annotated(BAD, "TRC0101, TRC9999"));
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in [
        "error[TRC0101]",
        "warning[TRC0133]: the annotation names a code that cannot be ignored: TRC0101 is an error; TRC9999 is no code",
        "TracingPolicy shop/bad: metadata.annotations[tracesteward.io/ignore]",
        "3 | tracesteward.io/ignore",
    ] {
        assert!(answer.stdout.contains(part), "{part} is not in:\n{}", answer.stdout);
    }
    assert_eq!(codes(&format!("{GOOD}---\n{}", env_from("TRC0503 x")), &[]), ["TRC0133"]);
    assert_eq!(codes(&annotated(BAD, "TRC0101"), &["--allow", "TRC0133"]), ["TRC0101"]);
}

#[test]
fn files_of_others_are_not_complained_about_where_that_is_asked_for() {
    let chart = "{{- if .Values.enabled }}\nmetadata: {annotations: {tracesteward.io/ignore: TRC0503}}\n{{- end }}\n";
    let files = Files::new(&[
        ("values.yaml", "replicaCount: 1\n"),
        ("package.json", "{\"name\": \"web\"}\n"),
        ("templates/web.yaml", chart),
        ("one/web.yaml", WORKLOAD),
        ("two/web.yaml", WORKLOAD),
        ("good.yaml", GOOD),
        ("bad.yaml", BAD),
        ("ours.yaml", "apiVersion: tracesteward.io/v1alpha1\nkind: [\n"),
        ("nameless.yaml", "apiVersion: tracesteward.io/v1alpha1\n"),
    ]);
    let others = ["values.yaml", "package.json", "templates/web.yaml", "one/web.yaml", "two/web.yaml", "good.yaml"];
    for (more, plain, skipping) in [
        (&[][..], 3, 0),
        (&["bad.yaml"], 3, 1),
        (&["ours.yaml"], 3, 3),
        (&["nameless.yaml"], 3, 3),
        (&["missing.yaml"], 3, 3),
    ] {
        let mut args = vec!["validate"];
        args.extend(others.iter().chain(more));
        assert_eq!(files.run(&args).code, Some(plain), "{more:?}");
        args.push("--skip-others");
        let answer = files.run(&args);
        assert_eq!(answer.code, Some(skipping), "{more:?}: {answer:?}");
    }
}

#[test]
fn the_hook_runs_as_it_is_written() {
    let text = std::fs::read_to_string(super::common::root().join(".pre-commit-hooks.yaml")).unwrap();
    let hooks: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let [hook] = hooks.as_array().unwrap().as_slice() else { panic!("one hook") };
    assert_eq!(hook["id"], "tracesteward-validate");
    assert_eq!((hook["language"].as_str(), &hook["types_or"]), (Some("system"), &serde_json::json!(["yaml", "json"])));
    assert_eq!(hook["require_serial"], true, "what is in one file may be about another");
    for field in ["name", "description", "minimum_pre_commit_version"] {
        assert!(hook[field].is_string(), "{field}");
    }
    let entry: Vec<_> = hook["entry"].as_str().unwrap().split(' ').collect();
    let ["tracesteward", arguments @ ..] = entry.as_slice() else { panic!("{entry:?}") };
    let files = Files::new(&[
        ("values.yaml", "replicaCount: 1\n"),
        ("good.yaml", GOOD),
        ("-o.yaml", GOOD),
        ("bad.yaml", BAD),
        ("warning.yaml", WARNING),
    ]);
    assert_eq!(hook["args"], serde_json::json!(["--"]));
    // The command, its arguments or what the user sets in their place, and the names of the files.
    for (args, names, code) in [
        (&["--"][..], &["values.yaml"][..], 0),
        (&["--"], &["values.yaml", "good.yaml"], 0),
        (&["--"], &["-o.yaml"], 0),
        (&["--"], &["good.yaml", "bad.yaml"], 1),
        (&["--fail-on", "warning"], &["values.yaml", "warning.yaml"], 1),
        (&["--fail-on=warning", "--allow=TRC0120"], &["values.yaml", "warning.yaml"], 0),
    ] {
        let all: Vec<_> = arguments.iter().chain(args).chain(names).copied().collect();
        let answer = files.run(&all);
        assert_eq!(answer.code, Some(code), "{all:?}: {answer:?}");
    }
}
