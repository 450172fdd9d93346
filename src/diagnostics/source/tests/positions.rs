use serde_json::json;

use super::{faults, text, values};
use crate::diagnostics::source::{Document, Reading, read, repeated};
use crate::diagnostics::{Code, Diagnostic, FieldPath};

const POLICY: &str = "\u{feff}# a comment
apiVersion: tracesteward.io/v1alpha1\r
kind: TracingPolicy
metadata: {name: \"größe\", namespace: 'shop'} # é
spec:
  enabled: yes
  targets:
  - kind: Deployment
    name: web
  - {kind: Job, name: \"two\"}   # \"quotes\"
  service:
    attributes:
      team.name: |
        many
        lines
---
# only a comment
---
kind: Second
";

fn place(document: &Document, path: &FieldPath) -> (usize, usize, Option<String>) {
    let location = document.locate(path);
    (location.line, location.column, document.file().excerpt(&location).map(|excerpt| excerpt.text))
}

fn fields(document: &Document, dotted: &str) -> (usize, usize, Option<String>) {
    place(document, &FieldPath::fields(dotted))
}

fn shown(line: usize, column: usize, text: &str) -> (usize, usize, Option<String>) {
    (line, column, Some(text.to_owned()))
}

#[test]
fn yaml_fields_are_found() {
    let reading = text(POLICY);
    assert_eq!(reading.diagnostics, []);
    let [policy, second] = reading.documents.as_slice() else { panic!("{reading:?}") };
    assert_eq!(fields(policy, "apiVersion"), shown(2, 1, "apiVersion: tracesteward.io/v1alpha1"));
    assert_eq!(fields(policy, "metadata.name"), shown(4, 12, "name: \"größe\""));
    assert_eq!(fields(policy, "metadata.namespace"), shown(4, 27, "namespace: 'shop'"));
    assert_eq!(fields(policy, "spec.enabled"), shown(6, 3, "enabled: yes"));
    assert_eq!(fields(policy, "spec"), shown(5, 1, "spec:"));
    assert_eq!(fields(policy, "spec.export.endpoint"), shown(5, 1, "spec:"));
    let targets = FieldPath::fields("spec.targets");
    assert_eq!(place(policy, &targets.index(0)), shown(8, 5, "kind: Deployment"));
    assert_eq!(place(policy, &targets.index(0).field("name")), shown(9, 5, "name: web"));
    assert_eq!(place(policy, &targets.index(1).field("name")), shown(10, 17, "name: \"two\""));
    assert_eq!(place(policy, &targets.index(7)), shown(7, 3, "targets:"));
    let attributes = FieldPath::fields("spec.service.attributes");
    assert_eq!(place(policy, &attributes.key("team.name")), shown(13, 7, "team.name: |"));
    assert_eq!(fields(policy, ""), shown(2, 1, "apiVersion: tracesteward.io/v1alpha1"));
    assert_eq!(fields(second, "kind"), shown(19, 1, "kind: Second"));
}

const ONE_LINE: &str = r#" {"apiVersion":"v1","kind":"List","items":[{"kind":"Secret","data":{"token":"aHVudGVyMg=="}},{"kind":"TracingPolicy","metadata":{"name":"ä"},"spec":{"enabled":"hü","n":[1.0,{"x":null}]}},{"kind":"ConfigMapList","apiVersion":"v1","items":[{"metadata":{"name":"inner"}}]}]}"#;

#[test]
fn json_lists_are_expanded_and_show_only_the_field() {
    let reading = text(ONE_LINE);
    assert_eq!(reading.diagnostics, []);
    let [secret, policy, inner] = reading.documents.as_slice() else { panic!("{reading:?}") };
    let column = |piece: &str| {
        1 + ONE_LINE.chars().count() - ONE_LINE.split_once(piece).unwrap().1.chars().count() - piece.chars().count()
    };
    assert_eq!(fields(policy, "spec.enabled"), shown(1, column("\"enabled\""), "\"enabled\":\"hü\""));
    assert_eq!(place(policy, &FieldPath::fields("spec.n").index(0)), shown(1, column("1.0"), "1.0"));
    assert_eq!(fields(policy, "spec.missing"), shown(1, column("\"spec\""), "\"spec\""));
    assert_eq!(fields(policy, ""), (1, column("{\"kind\":\"TracingPolicy\""), None));
    assert_eq!(inner.value(), &json!({"metadata": {"name": "inner"}, "apiVersion": "v1", "kind": "ConfigMap"}));
    assert_eq!(secret.place(&FieldPath::fields("data.token")).excerpt, None);
    assert_eq!(policy.value()["spec"]["n"].to_string(), r#"[1,{"x":null}]"#);
}

#[test]
fn an_anchor_shared_with_a_secret_shows_nothing_of_it() {
    let input = "apiVersion: v1
kind: List
items:
- {kind: Secret, stringData: &d {password: hunter2}, more: &l [hunter2]}
- kind: TracingPolicy
  spec: {attributes: *d, containers: *l}
";
    let reading = text(input);
    let policy = &reading.documents[1];
    assert_eq!(policy.value()["spec"]["attributes"]["password"], "hunter2");
    assert_eq!(fields(policy, "spec.attributes.password"), shown(6, 10, "attributes"));
    assert_eq!(place(policy, &FieldPath::fields("spec.containers").index(0)), shown(6, 26, "containers"));
}

/// Every excerpt and message of a reading.
fn everything(reading: &Reading) -> String {
    format!("{:?}", reading.diagnostics)
}

#[test]
fn faults_beside_a_secret_show_nothing_of_it() {
    let faulty = [
        "kind: Secret\nstringData:\n  password: @hunter2",
        "kind: Secret\nstringData:\n  password: hunter2\n  password: hunter2",
        "kind: Secret\nstringData:\n  password: *hunter2",
        "kind: Secret\nstringData:\n  password: !!int hunter2",
        "kind: Secret\nstringData:\n  password: \"hunter2\n---\nkind: Other",
        r#"{"kind":"Secret","stringData":{"password":"hunter2"#,
        r#"{"kind":"Secret","stringData":{"password":"hunter2","password":"hunter2"}}"#,
        r#"{"kind":"Secret","stringData":{"password":hunter2:,}}"#,
        r#"{"kind":"S\u0065cret","stringData":{"password":"hunter2",}"#,
        "kind: >-\n  Secret\nstringData: {password: !<hunter2 x}",
    ];
    for input in faulty {
        let reading = text(input);
        assert!(!reading.diagnostics.is_empty(), "{input}");
        assert!(!everything(&reading).contains("hunter2"), "{input}: {}", everything(&reading));
    }
    assert!(everything(&text("kind: ConfigMap\ndata: {headersSecretRef: visible")).contains("visible"));
}

#[test]
fn one_broken_document_does_not_hide_the_others() {
    let reading = text("kind: A\n---\nkind: [\n--- # comment\nkind: B\n--- x\nkind: C\n---\n\n---\nkind: D\n");
    assert_eq!(values(&reading), [&json!({"kind": "A"}), &json!({"kind": "B"}), &json!({"kind": "D"})]);
    assert_eq!(faults(&reading), [("TRC0003", 3, 7), ("TRC0003", 6, 1)]);
    assert_eq!(reading.diagnostics[1].place.as_ref().unwrap().excerpt.as_ref().unwrap().text, "--- x");
}

#[test]
fn json_streams_and_what_only_looks_like_json() {
    assert_eq!(values(&text("{\"a\":1}\n{\"b\":2} {\"c\":3}")).len(), 3);
    assert_eq!(values(&text("{a: b, c: [d]}")), [&json!({"a": "b", "c": ["d"]})]);
    assert_eq!(values(&text("{\"a\": 1,}")), [&json!({"a": 1})]);
    assert_eq!(values(&text("{\"a\":1}\n---\nb: 2\n---\n{\"c\": 3}\n")).len(), 3);
    assert_eq!(values(&text("# c\n{\"a\":1}")), [&json!({"a": 1})]);
    assert_eq!(values(&text("[{\"a\":1}]")), [&json!([{"a": 1}])]);
    let reading = text("{\"a\":1}\n{\"b\":2}\n{\"c\":}\n");
    assert_eq!((values(&reading).len(), faults(&reading)), (2, vec![("TRC0003", 3, 6)]));
    let reading = text("{\"ä\": 1 \"b\": 2}");
    assert_eq!(faults(&reading), [("TRC0003", 1, 9)]);
    assert_eq!(reading.diagnostics[0].diagnostic.message, "syntax error: expected `,` or `}`");
    assert_eq!(faults(&text("{\"a\": [1, \"\\ud800\"]}")), [("TRC0003", 1, 11)]);
    assert_eq!(faults(&text("{\"a\": 1, \"b\": {\"a\": 2},\n \"a\": 3}")), [("TRC0004", 2, 2)]);
    assert_eq!(faults(&text("{\"a\": 1")), [("TRC0003", 1, 7)]);
}

#[test]
fn encodings_are_told_apart() {
    let refused = |bytes: &[u8]| {
        let reading = read("in.yaml", bytes.to_vec());
        let help = reading.diagnostics[0].diagnostic.help.clone();
        assert!(reading.documents.is_empty());
        (faults(&reading)[0], help.contains("iconv"))
    };
    assert_eq!(refused(b"a: b\nc: \xC3\xA9\xFF"), (("TRC0002", 2, 5), false));
    assert_eq!(refused(b"\x7fELF\x02\x01\x01\x00\x00\x00"), (("TRC0002", 1, 8), false));
    assert_eq!(refused(b"\xFF\xFEa\0:\0"), (("TRC0002", 1, 1), true));
    assert_eq!(refused(b"\xFE\xFF\0a\0:"), (("TRC0002", 1, 1), true));
    assert_eq!(refused(b"a\0:\0 \x001\0"), (("TRC0002", 1, 1), true));
}

#[test]
fn the_same_object_twice_is_found_over_groups_and_default_namespace() {
    let object = |version: &str, kind: &str, namespace: &str| {
        format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: web{namespace}}}\n")
    };
    let input = [
        object("apps/v1", "Deployment", ""),
        object("apps/v1beta1", "Deployment", ", namespace: default"),
        object("example.com/v1", "Deployment", ""),
        object("apps/v1", "Deployment", ", namespace: other"),
        "---\nkind: Job\nmetadata: {generateName: x}\n---\nkind: Job\nmetadata: {generateName: x}\n".to_owned(),
    ];
    let reading = text(&input.concat());
    let found = repeated(&reading.documents, "default");
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].diagnostic.message,
        "the same object twice in the input: Deployment default/web stands already in in.yaml:4"
    );
    assert_eq!(found[0].place.as_ref().unwrap().line, Some(8));
}

#[test]
fn findings_carry_object_and_place_and_long_fields_are_cut() {
    let reading = text(&format!("kind: A\nmetadata: {{name: it, namespace: ns}}\nlong: {}\n", "ü".repeat(500)));
    let found = reading.documents[0].located(Diagnostic::new(Code::TRC0111, FieldPath::fields("long")));
    let object = found.diagnostic.object.unwrap();
    assert_eq!((object.kind.as_str(), object.namespace.as_str(), object.name.as_str()), ("A", "ns", "it"));
    let excerpt = found.place.unwrap().excerpt.unwrap();
    assert_eq!((excerpt.text.chars().count(), excerpt.line_number, excerpt.column), (160, 3, 1));
}
