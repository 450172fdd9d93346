//! `validate --output`: what other programs read.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::common::{Answer, BAD, Files, GOOD, WARNING, WORKLOAD, run};

const FORMATS: [&str; 6] = ["pretty", "compact", "json", "sarif", "github", "junit"];

/// A workload with an info (TRC0501) and a warning (TRC0503), where a policy is about it.
fn noisy() -> String {
    WORKLOAD.replace(
        "{name: app, image: web:1}",
        "{name: app, image: web:1, env: [{name: OTEL_SERVICE_NAME, value: x}], envFrom: [{secretRef: {name: a}}]}",
    )
}

fn files() -> Files {
    Files::new(&[
        ("good.yaml", GOOD),
        ("warning.yaml", WARNING),
        ("bad policy.yaml", BAD),
        ("noisy.yaml", &format!("{}---\n{}", GOOD.replace("name: good", "name: a"), noisy())),
        ("broken.yaml", "a: [\n"),
    ])
}

fn validate(files: &Files, format: &str, args: &[&str]) -> Answer {
    let mut all = vec!["validate", "-o", format];
    all.extend(args);
    files.run(&all)
}

/// Reads a report with a real parser: attributes of the suite, and of each case with what is in it.
fn xml(text: &str) -> Value {
    const PROGRAM: &str = "import json, sys
from xml.etree import ElementTree
root = ElementTree.fromstring(sys.stdin.buffer.read())
suites = [s for s in root]
cases = [[c.attrib, [[e.tag, e.attrib, e.text] for e in c]] for s in suites for c in s]
print(json.dumps([root.tag, [s.attrib for s in suites], cases]))";
    let mut python = Command::new("python3");
    let mut child = python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn exit_codes_are_the_same_in_every_format() {
    let files = files();
    for format in FORMATS {
        for (args, code) in [
            (&["good.yaml"][..], 0),
            (&["warning.yaml"], 0),
            (&["warning.yaml", "--fail-on", "warning"], 1),
            (&["noisy.yaml"], 0),
            (&["noisy.yaml", "--fail-on", "warning"], 1),
            (&["bad policy.yaml"], 1),
            (&["bad policy.yaml", "--fail-on", "error"], 1),
            (&["broken.yaml", "bad policy.yaml"], 3),
        ] {
            let answer = validate(&files, format, args);
            assert_eq!(answer.code, Some(code), "{format} {args:?}: {answer:?}");
            assert_eq!(answer.stderr, "", "{format} {args:?}");
            assert_eq!(answer, validate(&files, format, args), "{format}: the same input, the same bytes");
        }
    }
}

#[test]
fn compact_is_a_line_for_each_finding() {
    let answer = validate(&files(), "compact", &["bad policy.yaml", "noisy.yaml", "missing.yaml"]);
    let lines: Vec<_> = answer.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{answer:?}");
    assert_eq!(
        lines[0],
        "bad policy.yaml:4:1: error TRC0101 TracingPolicy shop/bad spec.export.endpoint: enabled without an endpoint: \
         spec.export needs exactly one of endpoint, collectorRef and inherit: true"
    );
    assert_eq!(lines[1], "missing.yaml: error TRC0001: input cannot be opened: no such file or directory");
    assert!(
        lines[2].starts_with("noisy.yaml:13:51: info TRC0501 Deployment shop/web spec.template.spec."),
        "{lines:?}"
    );
    assert_eq!(validate(&files(), "compact", &["good.yaml"]).stdout, "");
}

#[test]
fn github_gets_a_command_for_each_finding() {
    let answer = validate(&files(), "github", &["bad policy.yaml", "noisy.yaml"]);
    let lines: Vec<_> = answer.stdout.lines().collect();
    assert!(
        lines[0].starts_with("::error file=bad policy.yaml,line=4,col=1,title=TRC0101::enabled without an endpoint: "),
        "{lines:?}"
    );
    assert!(lines[0].contains("%0ATracingPolicy shop/bad: spec.export.endpoint%0ASet spec.export.endpoint"));
    assert!(lines[1].starts_with("::notice file=noisy.yaml,line=13,") && lines[1].contains("title=TRC0501::"));
    assert!(lines[2].starts_with("::warning file=noisy.yaml,line=13,") && lines[2].contains("title=TRC0503::"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn junit_is_read_by_a_parser_of_xml() {
    let files = files();
    let args = ["bad policy.yaml", "noisy.yaml", "warning.yaml"];
    for (more, failures, failed) in [
        (&[][..], "1", vec!["TRC0101"]),
        (&["--fail-on=warning"], "4", vec!["TRC0101", "TRC0503", "TRC0403", "TRC0120"]),
    ] {
        let args: Vec<_> = args.iter().chain(more).copied().collect();
        let read = xml(&validate(&files, "junit", &args).stdout);
        assert_eq!(read[0], "testsuites");
        assert_eq!(
            read[1],
            json!([{"name": "tracesteward", "tests": "5", "failures": failures, "errors": "0", "skipped": "0", "time": "0"}])
        );
        let cases = read[2].as_array().unwrap();
        let failing: Vec<_> = cases.iter().filter(|case| case[1][0][0] == "failure").collect();
        let kinds: Vec<_> = failing.iter().map(|case| case[1][0][1]["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, failed);
        assert_eq!(
            failing[0][0],
            json!({
                "classname": "bad policy.yaml", "name": "TRC0101 TracingPolicy shop/bad spec.export.endpoint",
                "file": "bad policy.yaml", "line": "4", "time": "0",
            })
        );
        assert!(failing[0][1][0][1]["message"].as_str().unwrap().starts_with("enabled without an endpoint"));
        assert!(cases[1][1][0][0] == "system-out" && cases[1][1][0][2].as_str().unwrap().starts_with("info: "));
    }
    let read = xml(&validate(&files, "junit", &["good.yaml"]).stdout);
    assert_eq!((&read[1][0]["tests"], &read[1][0]["failures"]), (&json!("1"), &json!("0")));
    assert_eq!(read[2][0][1], json!([]), "without findings there is a case that passes");
}

#[test]
fn junit_holds_whatever_a_file_or_an_object_is_called() {
    let name = "a\u{b}<&>\"'\u{1b}]]>\u{ffff}.yaml";
    let text = BAD.replace("name: bad", "name: \"\\u0000\\u0008<&>\\uFFFE\\uD83D\\uDE00\"");
    let files = Files::new(&[(name, &text)]);
    for format in FORMATS {
        let answer = files.run(&["validate", "-o", format, "."]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(!answer.stdout.contains(['\u{b}', '\u{1b}', '\u{8}', '\0']), "{format}: {:?}", answer.stdout);
    }
    let read = xml(&files.run(&["validate", "-o", "junit", "."]).stdout);
    let case = read[2].as_array().unwrap().iter().find(|case| case[1][0][1]["type"] == "TRC0101").unwrap();
    assert_eq!(case[0]["file"], "./a\u{240b}<&>\"'\u{241b}]]>\u{fffd}.yaml");
    assert_eq!(case[0]["name"], "TRC0101 TracingPolicy shop/\u{2400}\u{2408}<&>\u{fffd}\u{1f600} spec.export.endpoint");
}

/// What SARIF 2.1.0 requires of the parts that we write.
fn check_sarif(log: &Value) {
    assert_eq!((&log["version"], log["$schema"].as_str().unwrap().contains("sarif-2.1.0")), (&json!("2.1.0"), true));
    let known = |value: &Value, allowed: &[&str]| {
        let keys: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let unknown: Vec<_> = keys.difference(&allowed.iter().copied().collect()).copied().collect::<Vec<_>>();
        assert!(unknown.is_empty(), "SARIF has no {unknown:?} in {value}");
    };
    known(log, &["$schema", "version", "runs"]);
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("one run") };
    known(run, &["tool", "columnKind", "results"]);
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let driver = &run["tool"]["driver"];
    known(driver, &["name", "version", "informationUri", "rules"]);
    assert_eq!((&driver["name"], &driver["version"]), (&json!("tracesteward"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(driver["informationUri"].as_str().unwrap().starts_with("https://"));
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        known(rule, &["id", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration"]);
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        assert!(rule["helpUri"].as_str().unwrap().ends_with(rule["id"].as_str().unwrap()));
        assert!(["error", "warning", "note"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let ids: BTreeSet<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rules.len(), "each rule once");
    for result in run["results"].as_array().unwrap() {
        known(result, &["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"]);
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!((&result["ruleId"], &result["level"]), (&rule["id"], &rule["defaultConfiguration"]["level"]));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        assert!(result["partialFingerprints"]["tracesteward/v1"].as_str().unwrap().len() > 32);
        for location in result["locations"].as_array().unwrap() {
            known(location, &["physicalLocation", "logicalLocations"]);
            let place = &location["physicalLocation"];
            known(place, &["artifactLocation", "region"]);
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(
                !uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|^`".contains(&byte))
            );
            let region = &place["region"];
            known(region, &["startLine", "startColumn"]);
            assert!(region["startLine"].as_u64() >= Some(1), "every result of a file has a line: {result}");
            assert!(region.get("startColumn").is_none_or(|column| column.as_u64() >= Some(1)), "{result}");
        }
    }
    let used: BTreeSet<_> =
        run["results"].as_array().unwrap().iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert_eq!(used, ids, "the rules are those that occur");
}

#[test]
fn sarif_is_what_the_standard_says() {
    let files = files();
    for args in [&["good.yaml"][..], &["bad policy.yaml", "noisy.yaml", "broken.yaml", "missing.yaml", "warning.yaml"]]
    {
        check_sarif(&validate(&files, "sarif", args).json());
    }
    let log = validate(&files, "sarif", &["bad policy.yaml"]).json();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(
        result["locations"],
        json!([{
            "physicalLocation": {
                "artifactLocation": {"uri": "bad%20policy.yaml"},
                "region": {"startLine": 4, "startColumn": 1},
            },
            "logicalLocations": [{
                "name": "bad",
                "fullyQualifiedName": "TracingPolicy shop/bad spec.export.endpoint",
                "kind": "resource",
            }],
        }])
    );
    assert_eq!(run(&["validate", "-o", "SARIF", "-"]).code, Some(2), "names of formats are in small letters");
}

#[test]
fn pretty_names_the_page_of_the_code() {
    let answer = validate(&files(), "pretty", &["bad policy.yaml"]);
    assert!(answer.stdout.contains("  = docs: https://tracesteward.io/docs/codes/TRC0101\n"), "{answer:?}");
}
