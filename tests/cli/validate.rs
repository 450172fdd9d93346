//! `tracesteward validate`.

use std::process::{Command, Stdio};

use serde_json::json;

use super::common::{BAD, Files, GOOD, WARNING, WORKLOAD, command, finish, run, run_with};

#[test]
fn exit_codes_say_how_it_went() {
    let files = Files::new(&[
        ("good.yaml", GOOD),
        ("bad.yaml", BAD),
        ("warning.yaml", WARNING),
        ("broken.yaml", "a: ["),
        ("empty.yaml", ""),
        ("comments.yaml", "# nothing\n---\n---\n# more\n"),
        ("others.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"),
        ("folder/good.yaml", GOOD),
        ("mixed/bad.yml", BAD),
        ("mixed/broken.json", "{"),
        ("values/values.yaml", "replicaCount: 1\n"),
    ]);
    std::fs::create_dir(files.path("void")).unwrap();
    for (args, code) in [
        (&["good.yaml"][..], 0),
        (&["bad.yaml"], 1),
        (&["warning.yaml"], 0),
        (&["--fail-on", "warning", "warning.yaml"], 1),
        (&["--fail-on", "warning", "good.yaml"], 0),
        (&["--fail-on=error", "warning.yaml"], 0),
        (&["broken.yaml"], 3),
        (&["missing.yaml"], 3),
        (&["empty.yaml"], 0),
        (&["comments.yaml"], 0),
        (&["others.yaml"], 0),
        (&["folder"], 0),
        (&["void"], 0),
        (&["mixed"], 3),
        // A chart's values lie about in folders; a file that is named is meant.
        (&["values"], 0),
        (&["values/values.yaml"], 3),
        // The highest.
        (&["good.yaml", "bad.yaml"], 1),
        (&["missing.yaml", "bad.yaml", "good.yaml"], 3),
        (&["bad.yaml", "broken.yaml"], 3),
        // Usage.
        (&[], 2),
        (&["--no-such-flag", "good.yaml"], 2),
        (&["--output", "xml", "good.yaml"], 2),
        (&["--fail-on", "never", "good.yaml"], 2),
    ] {
        let mut all = vec!["validate"];
        all.extend(args);
        let answer = files.run(&all);
        assert_eq!(answer.code, Some(code), "{all:?}: {answer:?}");
        let usage = code == 2;
        assert_eq!(answer.stderr.is_empty(), !usage, "findings go to standard output: {answer:?}");
    }
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(run(&["--help"]).code, Some(0));
    assert_eq!(run(&["validate", "--help"]).code, Some(0));
    assert_eq!(run(&["nonsense"]).code, Some(2));
    let version = run(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("tracesteward ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    assert_eq!(run_with(&["validate", "-"], GOOD).code, Some(0));
    assert_eq!(run_with(&["validate", "-"], "").code, Some(0));
    let answer = run_with(&["validate", "-", "config/samples/checkout.yaml"], BAD);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stdout.contains("<stdin>:4:"), "{}", answer.stdout);
}

#[test]
fn every_form_of_input_is_read() {
    let as_json = r#"{"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "NAME"}, "spec": {"enabled": true}}"#;
    let (one, two) = (as_json.replace("NAME", "one"), as_json.replace("NAME", "two"));
    let list = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nitems:\n- {one}\n- {two}\n");
    let forms = [
        ("several documents", format!("{}\n---\n{}\n...\n---\n", BAD, BAD.replace("bad", "two")), 2),
        ("JSON", one.clone(), 1),
        ("a stream of JSON", format!("{one}\n{two}{}", one.replace("one", "three")), 3),
        ("a List", list("List"), 2),
        ("a JSON List", format!(r#"{{"apiVersion":"v1","kind":"List","items":[{one},{two}]}}"#), 2),
        ("a byte order mark", format!("\u{feff}{BAD}"), 1),
        ("line ends of Windows", BAD.replace('\n', "\r\n"), 1),
    ];
    for (form, text, count) in forms {
        let answer = run_with(&["validate", "-o", "json", "-"], &text);
        assert_eq!(answer.codes(), vec!["TRC0101"; count], "{form}");
        assert_eq!(answer.json()["summary"], json!({"errors": count, "warnings": 0, "objects": count}), "{form}");
        assert_eq!(answer.code, Some(1), "{form}");
    }
}

#[test]
fn no_value_of_a_secret_is_ever_printed() {
    let policy = r#"{"apiVersion":"tracesteward.io/v1alpha1","kind":"TracingPolicy","metadata":{"name":"bad","namespace":"shop"},"spec":{"enabled":true,"exprot":1}}"#;
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"shop"},"data":{"token":"aHVudGVyMg=="},"stringData":{"OTEL_EXPORTER_OTLP_HEADERS":"authorization=hunter2"}}"#;
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{secret},{policy},{secret}]}}"#);
    // Also where the fault is in the Secret, or in the syntax right behind it.
    let texts = [
        list.clone(),
        format!("{list}}}"),
        list.replace("stringData\":", "stringData\" "),
        list.replace("\"token\":", "\"token\":\"hunter2\",\"token\":"),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: hunter2\n  a: hunter2\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hunter2, b: [hunter2\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: !!int hunter2\n  b: *hunter2\n"
            .to_owned(),
    ];
    for text in texts {
        for args in [
            &["validate", "-"][..],
            &["validate", "-o", "json", "-"],
            &["validate", "-o", "compact", "-"],
            &["validate", "-o", "sarif", "-"],
            &["validate", "-o", "github", "-"],
            &["validate", "-o", "junit", "-"],
            &["render", "-"],
            &["render", "-o", "json", "-"],
            &["render", "-o", "patch", "-"],
            &["render", "-o", "env", "--workload", "Deployment/web", "-n", "shop", "-"],
        ] {
            let answer = run_with(args, &text);
            let all = format!("{}{}", answer.stdout, answer.stderr);
            assert!(!all.contains("hunter2") && !all.contains("aHVudGVyMg"), "{args:?}:\n{all}");
            assert!(answer.code > Some(0), "{args:?}: {answer:?}");
        }
    }
}

#[test]
fn findings_have_their_place_the_line_and_what_to_do() {
    let text = "apiVersion: tracesteward.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: web\nspec:\n  enabled: true\n  export:\n    endpoint: otel:4317  # no scheme\n";
    let files = Files::new(&[("policies/web.yaml", text)]);
    let answer = files.run(&["validate", "policies"]);
    assert_eq!(answer.code, Some(1));
    for part in [
        "error[TRC0104]: endpoint is not an http or https URL with a host",
        "--> policies/web.yaml:8:5",
        "8 | endpoint: otel:4317\n",
        "| ^^^^^^^^^^^^^^^^^^^\n",
        "TracingPolicy default/web: spec.export.endpoint",
        "help: Write scheme, host and port",
        "1 error in 1 object",
    ] {
        assert!(answer.stdout.contains(part), "{part} is not in:\n{}", answer.stdout);
    }
}

#[test]
fn json_has_the_promised_shape() {
    let answer = run_with(&["validate", "-o", "json", "-"], &format!("{BAD}---\n{WARNING}---\n{WORKLOAD}"));
    let expected = json!({
        "version": 1,
        "diagnostics": [{
            "code": "TRC0101",
            "severity": "error",
            "path": "spec.export.endpoint",
            "message": "enabled without an endpoint: spec.export needs exactly one of endpoint, collectorRef and inherit: true",
            "help": "Set spec.export.endpoint, for example http://otel-collector.observability:4317, or set spec.enabled to false.",
            "file": "<stdin>", "line": 4, "column": 1,
            "kind": "TracingPolicy", "namespace": "shop", "name": "bad",
        }, {
            "code": "TRC0401",
            "severity": "info",
            "path": "spec",
            "message": "another policy applies to this workload: TracingPolicy bad comes first for Deployment/web, since its name comes first",
            "help": "More specific targets win, then the higher priority, then the older policy.",
            "file": "<stdin>", "line": 9, "column": 1,
            "kind": "TracingPolicy", "namespace": "shop", "name": "warning",
        }, {
            "code": "TRC0120",
            "severity": "warning",
            "path": "spec.export.endpoint",
            "message": "the port of the endpoint and the protocol do not belong together",
            "help": "By convention 4317 speaks grpc and 4318 speaks http/protobuf: change one of the two.",
            "file": "<stdin>", "line": 9, "column": 32,
            "kind": "TracingPolicy", "namespace": "shop", "name": "warning",
        }],
        "summary": {"errors": 1, "warnings": 1, "objects": 3},
    });
    assert_eq!(answer.json(), expected);
    // The order of the keys too.
    assert_eq!(answer.json().to_string(), expected.to_string());
    let empty = run_with(&["validate", "-o", "json", "-"], "");
    assert_eq!(
        empty.json(),
        json!({"version": 1, "diagnostics": [], "summary": {"errors": 0, "warnings": 0, "objects": 0}})
    );
    let missing = run(&["validate", "-o", "json", "no-such-file.yaml"]);
    let found = &missing.json()["diagnostics"][0];
    assert_eq!((&found["code"], &found["file"]), (&json!("TRC0001"), &json!("no-such-file.yaml")));
    assert_eq!((&found["line"], &found["kind"]), (&json!(null), &json!(null)));
}

#[test]
fn a_pipe_gets_no_colour() {
    for setting in [None, Some("1"), Some("")] {
        let mut command = command(&["validate", "-"]);
        if let Some(setting) = setting {
            command.env("NO_COLOR", setting);
        }
        let answer = finish(command, BAD.as_bytes());
        assert!(!answer.stdout.contains('\u{1b}') && answer.stdout.contains("TRC0101"), "{setting:?}: {answer:?}");
    }
}

#[test]
fn a_terminal_gets_colour_unless_it_is_not_wanted() {
    // `script` (util-linux) runs a command on a terminal.
    if Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let files = Files::new(&[("bad.yaml", BAD)]);
    for (setting, coloured) in [("", true), ("1", false)] {
        let line = format!("{} validate {}", env!("CARGO_BIN_EXE_tracesteward"), files.path("bad.yaml").display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("NO_COLOR", setting).env("TERM", "xterm");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("TRC0101"), "{text}");
        assert_eq!(text.contains('\u{1b}'), coloured, "NO_COLOR={setting}: {text}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let many: Vec<_> = (0..3_000).map(|index| BAD.replace("bad", &format!("bad-{index}"))).collect();
    let files = Files::new(&[("many.yaml", &many.join("---\n"))]);
    for subcommand in ["validate", "render"] {
        let line = format!(
            "{} {subcommand} {} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_tracesteward"),
            files.path("many.yaml").display()
        );
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("error[TRC0101]") && !text.contains("panicked"), "{text}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "the findings are still the answer");
    }
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    // 1.1: yes is true, so that this policy is enabled, and fine.
    let spoken = GOOD.replace("enabled: true", "enabled: yes");
    assert_eq!(run_with(&["validate", "-"], &spoken).code, Some(0));
    let off = BAD.replace("enabled: true", "enabled: off");
    assert_eq!(run_with(&["validate", "-"], &off).code, Some(0));
    // In quotes it is text, which the API server refuses.
    let quoted = run_with(&["validate", "-o", "json", "-"], &GOOD.replace("enabled: true", "enabled: \"yes\""));
    assert_eq!(quoted.codes(), ["TRC0112"]);
    let number = GOOD.replace("spec: {", "spec: {service: {version: 1.10}, ");
    let answer = run_with(&["validate", "-o", "json", "-"], &number);
    assert_eq!(answer.codes(), ["TRC0112"]);
    assert_eq!(answer.json()["diagnostics"][0]["path"], "spec.service.version");
}

#[test]
fn misspelt_names_come_with_the_nearest() {
    for (text, wanted) in [
        (GOOD.replace("endpoint", "endpont"), "did you mean \"endpoint\"?"),
        (GOOD.replace("export", "exprot"), "did you mean \"export\"?"),
        (GOOD.replace("enabled", "Enabled"), "did you mean \"enabled\"?"),
        (GOOD.replace("TracingPolicy", "TracePolicy"), "Did you mean tracesteward.io/v1alpha1 TracingPolicy?"),
        (GOOD.replace("v1alpha1", "v1"), "Did you mean tracesteward.io/v1alpha1 TracingPolicy?"),
        (GOOD.replace("enabled: true", "enabled: true, language: pyhton"), "Did you mean python?"),
    ] {
        let answer = run_with(&["validate", "-"], &text);
        assert!(answer.stdout.contains(wanted), "{wanted}:\n{}", answer.stdout);
        assert!(answer.code > Some(0), "{answer:?}");
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    let answer = run_with(&["validate", "-o", "json", "-"], &GOOD.replace("spec: {", "spec: {enabled: false, "));
    assert_eq!((answer.codes(), answer.code), (vec!["TRC0004".to_owned()], Some(3)));
    let answer = run_with(&["validate", "-o", "json", "-"], &format!("{GOOD}---\n{GOOD}"));
    assert_eq!((answer.codes(), answer.code), (vec!["TRC0006".to_owned()], Some(3)));
    assert_eq!(answer.json()["diagnostics"][0]["line"], 8);
    // Without a namespace it is the one of -n.
    let without = GOOD.replace(", namespace: shop", "");
    let both = format!("{GOOD}---\n{without}");
    assert_eq!(run_with(&["validate", "-"], &both).code, Some(0));
    assert_eq!(run_with(&["validate", "-n", "shop", "-"], &both).code, Some(3));
    // The same name in another kind or group is another object.
    let other = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: good, namespace: shop}\n";
    assert_eq!(run_with(&["validate", "-"], &format!("{GOOD}---\n{other}")).code, Some(0));
}

#[test]
fn one_broken_document_hides_no_other() {
    let text = format!("{BAD}---\na: [\n---\n{}", BAD.replace("bad", "also"));
    let answer = run_with(&["validate", "-o", "json", "-"], &text);
    assert_eq!(answer.code, Some(3));
    assert!(
        answer.codes().contains(&"TRC0003".to_owned()) && answer.codes().contains(&"TRC0101".to_owned()),
        "{answer:?}"
    );
}

#[test]
fn policies_of_the_cluster_are_read_and_have_no_namespace() {
    let text = "apiVersion: tracesteward.io/v1alpha1\nkind: ClusterTracingPolicy\nmetadata: {name: a}\nspec: {overrides: {service: {name: x}}}\n";
    let answer = run_with(&["validate", "-o", "json", "-"], text);
    assert_eq!((answer.codes(), answer.code), (vec!["TRC0134".to_owned()], Some(1)));
    let found = &answer.json()["diagnostics"][0];
    assert_eq!((&found["line"], &found["namespace"]), (&json!(4), &json!(null)), "{found}");
}

#[test]
fn references_among_the_files_are_checked() {
    let policy = GOOD.replace("http://otel:4317", "http://otel:4317, headersSecretRef: {name: h}");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: h, namespace: shop}\nstringData: {wrong: x}\n";
    assert_eq!(run_with(&["validate", "-"], &policy).code, Some(0), "a Secret elsewhere is no fault");
    let answer = run_with(&["validate", "-o", "json", "-"], &format!("{policy}---\n{secret}"));
    assert_eq!(answer.codes(), ["TRC0202"]);
    let right = secret.replace("wrong", "OTEL_EXPORTER_OTLP_HEADERS");
    assert!(run_with(&["validate", "-o", "json", "-"], &format!("{policy}---\n{right}")).codes().is_empty());
    let target = GOOD.replace("enabled: true", "enabled: true, targets: [{kind: Deployment, name: api}]");
    assert!(run_with(&["validate", "-o", "json", "-"], &target).codes().is_empty(), "no workloads: nothing is known");
    let answer = run_with(&["validate", "-o", "json", "-"], &format!("{target}---\n{WORKLOAD}"));
    assert_eq!(answer.codes(), ["TRC0203"]);
}
