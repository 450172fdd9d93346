use serde_json::json;

use super::*;
use crate::diagnostics::source::{read, too_large};
use crate::diagnostics::{Code, FieldPath};

fn findings() -> Vec<Located> {
    let text = "kind: TracingPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n  enabled: \"yes\"\n  exprot: {}\n";
    let reading = read("policies/web.yaml", text.as_bytes().to_vec());
    let document = &reading.documents[0];
    let found = |code, path: &str, detail: &str| {
        document.located(Diagnostic::new(code, FieldPath::fields(path)).detail(detail))
    };
    vec![
        found(Code::TRC0120, "spec.export.endpoint", "4318 and grpc"),
        found(Code::TRC0111, "spec.exprot", "\"exprot\""),
        found(Code::TRC0112, "spec.enabled", "expected boolean, found string \"yes\""),
        too_large("huge.yaml"),
        Located::from(Diagnostic::new(Code::TRC0401, FieldPath::root())),
    ]
}

#[test]
fn pretty_reads_like_rustc() {
    let findings = findings();
    insta::assert_snapshot!(pretty(&findings, Summary::of(&findings, 3), false));
}

#[test]
fn json_has_every_key_in_a_fixed_order() {
    let findings = findings();
    insta::assert_snapshot!(json(&findings, Summary::of(&findings, 1)));
    assert_eq!(
        json(&[], Summary::default()),
        r#"{"version":1,"diagnostics":[],"summary":{"errors":0,"warnings":0,"objects":0}}"#
    );
}

#[test]
fn the_other_formats_read_as_they_should() {
    let findings = findings();
    insta::assert_snapshot!("compact", compact(&findings));
    insta::assert_snapshot!("github", github(&findings));
    insta::assert_snapshot!("junit", junit(&findings, false));
    let sarif: serde_json::Value = serde_json::from_str(&sarif(&findings)).unwrap();
    let sarif = format!("{sarif:#}").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!("sarif", sarif);
}

#[test]
fn without_findings_every_format_is_whole() {
    assert_eq!(compact(&[]), "");
    assert_eq!(github(&[]), "");
    let none = junit(&[], true);
    assert!(none.contains("tests=\"1\" failures=\"0\"") && none.contains("name=\"no findings\""), "{none}");
    let log: serde_json::Value = serde_json::from_str(&sarif(&[])).unwrap();
    assert_eq!((&log["runs"][0]["results"], &log["runs"][0]["tool"]["driver"]["rules"]), (&json!([]), &json!([])));
}

/// The fingerprints of what is found in a file of this name with this text.
fn fingerprints(name: &str, text: &str) -> Vec<String> {
    let reading = read(name, text.as_bytes().to_vec());
    let mut found: Vec<_> = reading.diagnostics;
    for document in &reading.documents {
        let path = FieldPath::fields("spec.export").field("endpoint");
        found.push(document.located(Diagnostic::new(Code::TRC0104, path)));
    }
    let log: serde_json::Value = serde_json::from_str(&sarif(&found)).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    results.iter().map(|one| one["partialFingerprints"]["tracesteward/v1"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn fingerprints_stay_when_lines_move_and_tell_findings_apart() {
    let text = "kind: K\nmetadata: {name: a}\nspec: {export: {endpoint: x}}\n";
    let before = fingerprints("a.yaml", text);
    assert_eq!(before, fingerprints("./a.yaml", &format!("# more\n\n{text}")));
    assert_eq!(before.len(), 1);
    assert_ne!(before, fingerprints("b.yaml", text), "another file");
    assert_ne!(before, fingerprints("a.yaml", &text.replace("name: a", "name: b")), "another object");
    let twice = fingerprints("a.yaml", "a: [\n---\nb: [\n");
    assert!(twice.len() == 2 && twice[0] != twice[1], "{twice:?}");
}

#[test]
fn files_are_named_by_references_that_every_reader_understands() {
    let uri = |file: &str| {
        let log: serde_json::Value = serde_json::from_str(&sarif(&[too_large(file)])).unwrap();
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["region"], serde_json::json!({"startLine": 1}), "of a whole file");
        place["artifactLocation"]["uri"].as_str().unwrap().to_owned()
    };
    for (file, expected) in [
        ("policies/web.yaml", "policies/web.yaml"),
        ("./a b.yaml", "a%20b.yaml"),
        (".//a.yaml", "a.yaml"),
        ("../a.yaml", "../a.yaml"),
        ("c:d/ä%.yaml", "c%3Ad/%C3%A4%25.yaml"),
        ("/tmp/a#b?.yaml", "file:///tmp/a%23b%3F.yaml"),
        ("<stdin>", "%3Cstdin%3E"),
    ] {
        assert_eq!(uri(file), expected);
    }
}

#[test]
fn the_order_of_findings_does_not_matter() {
    let forward = findings();
    let mut backward = findings();
    backward.reverse();
    assert_eq!(json(&forward, Summary::default()), json(&backward, Summary::default()));
    assert_eq!(compact(&forward), compact(&backward));
    assert_eq!(github(&forward), github(&backward));
    assert_eq!(sarif(&forward), sarif(&backward));
    assert_eq!(junit(&forward, true), junit(&backward, true));
    assert_eq!(pretty(&forward, Summary::default(), true), pretty(&backward, Summary::default(), true));
    sort(&mut backward);
    let lines: Vec<_> = backward.iter().map(|found| found.place.as_ref().and_then(|place| place.line)).collect();
    assert_eq!(lines, [None, None, Some(3), Some(4), Some(5)]);
}

#[test]
fn the_closing_line_counts() {
    let closing = |errors, warnings, objects| {
        let text = pretty(&[], Summary { errors, warnings, objects }, false);
        text.trim_end().to_owned()
    };
    assert_eq!(closing(2, 1, 3), "2 errors, 1 warning in 3 objects");
    assert_eq!(closing(0, 2, 1), "2 warnings in 1 object");
    assert_eq!(closing(0, 0, 3), "3 objects checked: no findings");
}

#[test]
fn nothing_of_the_input_commands_the_terminal() {
    let evil = "a: \"\u{9b}31m\u{202e}x\u{200b}\"\tb\u{7f}";
    let text = format!(
        "{{\"kind\": \"K\", \"metadata\": {{\"name\": \"\\u001b[31m\\u009b\\n\"}}, \"\u{9b}\u{202e}\": \"{}\"}}",
        "\u{7f}\u{9b}"
    );
    let reading = read("\u{1b}]0;evil\u{7}.json", text.into_bytes());
    let mut found = reading.documents[0]
        .located(Diagnostic::new(Code::TRC0111, FieldPath::root().field("\u{9b}\u{202e}")).detail(evil));
    found.diagnostic.help = format!("{evil}\n\r\u{1b}[2J");
    let broken = read("x\n.yaml", "a: [\u{9b}\u{7f}".as_bytes().to_vec()).diagnostics;
    for findings in [vec![found], broken] {
        let plain = pretty(&findings, Summary::of(&findings, 1), false);
        assert!(!plain.chars().any(|character| character != '\n' && is_unsafe(character)), "{plain:?}");
        let json = json(&findings, Summary::of(&findings, 1));
        assert!(!json.chars().any(is_unsafe), "{json:?}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["diagnostics"][0]["message"], findings[0].diagnostic.message);
        for (format, text, lines) in [
            ("compact", compact(&findings), 1),
            ("github", github(&findings), 1),
            ("sarif", sarif(&findings), 1),
            // Its frame, and the case with three lines of text.
            ("junit", junit(&findings, true), 10),
        ] {
            let hostile = |character| character != '\n' && is_unsafe(character);
            assert!(!text.chars().any(hostile), "{format}: {text:?}");
            assert_eq!(text.lines().count(), lines, "{format}: {text}");
        }
        let coloured = pretty(&findings, Summary::of(&findings, 1), true);
        let stripped = coloured.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "");
        assert!(coloured.contains("\u{1b}[") && !stripped.contains("[2J\u{1b}") && !stripped.contains('\u{9b}'));
    }
}

#[test]
fn nothing_of_the_input_breaks_out_of_a_format() {
    let evil = "a,b:c%0A<x attr=\"'&'\">]]>\u{ffff}[click](http://evil)\n::error::x\n</failure>";
    let reading = read(&format!("{evil}.yaml"), b"a: 1".to_vec());
    let found =
        [reading.documents[0].located(Diagnostic::new(Code::TRC0111, FieldPath::root().key(evil)).detail(evil))];
    let command = github(&found);
    assert!(command.starts_with("::error file=a%2Cb%3Ac%250A<x attr="), "{command}");
    assert!(command.contains("title=TRC0111::unknown field: a,b:c%250A<x"), "{command}");
    assert_eq!((command.lines().count(), command.matches("%0A").count()), (1, 2), "{command}");
    let report = junit(&found, false);
    assert!(report.contains("&lt;x attr=&quot;&apos;&amp;&apos;&quot;&gt;]]&gt;\u{fffd}["), "{report}");
    assert_eq!(report.matches("</failure>").count(), 1);
    let log: serde_json::Value = serde_json::from_str(&sarif(&found)).unwrap();
    let message = log["runs"][0]["results"][0]["message"]["text"].as_str().unwrap();
    assert!(message.contains("[click] (http://evil)"), "{message}");
}

#[test]
fn excerpts_far_to_the_right_stay_short() {
    let text =
        format!("{{\"pad\": \"{}\", \"spec\": {{\"a\": \"{}\"}}, \"z\": 1}}", "p".repeat(100_000), "é".repeat(300));
    let reading = read("one.json", text.into_bytes());
    let found = reading.documents[0].located(Diagnostic::new(Code::TRC0111, FieldPath::fields("spec.a")));
    let text = pretty(&[found], Summary::default(), false);
    assert!(text.contains("one.json:1:100022") && text.contains("1 | \"a\": \"éé"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 180) && text.contains(&"^".repeat(160)), "{text}");
}
