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
fn the_order_of_findings_does_not_matter() {
    let forward = findings();
    let mut backward = findings();
    backward.reverse();
    assert_eq!(json(&forward, Summary::default()), json(&backward, Summary::default()));
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
        let coloured = pretty(&findings, Summary::of(&findings, 1), true);
        let stripped = coloured.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "");
        assert!(coloured.contains("\u{1b}[") && !stripped.contains("[2J\u{1b}") && !stripped.contains('\u{9b}'));
    }
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
