//! TracingCollectors among files: what is known of them, of their Secrets and of who may use them.

use super::common::Files;

const COLLECTOR: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingCollector
metadata: {name: gateway, namespace: observability}
spec:
  allowedNamespaces: {from: Selector, selector: {matchLabels: {tracing: 'true'}}}
  backends:
  - name: tempo
    endpoint: http://tempo:4317
    headers:
    - {name: x-org, secretKeyRef: {name: tempo, key: org}}
    - {name: authorization, secretKeyRef: {name: tempo, key: token}}
";

const POLICY: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: shop, namespace: shop}
spec: {enabled: true, export: {collectorRef: {name: gateway, namespace: observability}}}
";

const WORKLOAD: &str = super::common::WORKLOAD;

fn namespace(labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}}}\n")
}

fn secret(fields: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: tempo, namespace: observability}}\n{fields}\n")
}

/// `CODE path` of every finding.
fn found(texts: &[&str]) -> Vec<String> {
    let files = Files::new(&[("all.yaml", &texts.join("---\n"))]);
    let answer = files.run(&["validate", "-o", "json", "all.yaml"]).json();
    let findings = answer["diagnostics"].as_array().unwrap();
    let line = |found: &serde_json::Value| {
        assert!(found["line"].is_u64(), "without a place: {found}");
        format!("{} {}", found["code"].as_str().unwrap(), found["path"].as_str().unwrap())
    };
    findings.iter().map(line).collect()
}

#[test]
fn what_files_do_not_show_is_not_reported() {
    assert_eq!(found(&[COLLECTOR]), [""; 0]);
    assert_eq!(found(&[POLICY]), [""; 0]);
    assert_eq!(found(&[COLLECTOR, POLICY, WORKLOAD]), [""; 0]);
}

#[test]
fn a_collector_that_is_not_beside_its_neighbours_is_missing() {
    let other = COLLECTOR.replace("name: gateway", "name: other");
    assert_eq!(found(&[&other, POLICY]), ["TRC0205 spec.export.collectorRef"]);
    // Collectors of other namespaces say nothing about this one.
    let elsewhere = other.replace("observability", "elsewhere");
    assert_eq!(found(&[&elsewhere, POLICY]), [""; 0]);
}

#[test]
fn labels_of_namespaces_decide_where_they_are_known() {
    assert_eq!(found(&[COLLECTOR, POLICY, &namespace("tracing: 'true'")]), [""; 0]);
    assert_eq!(found(&[COLLECTOR, POLICY, &namespace("tracing: 'no'")]), ["TRC0207 spec.export.collectorRef"]);
    let by_name = COLLECTOR.replace("tracing: 'true'", "kubernetes.io/metadata.name: shop");
    assert_eq!(found(&[&by_name, POLICY, &namespace("")]), [""; 0]);
    let same = COLLECTOR.replace("from: Selector, selector: {matchLabels: {tracing: 'true'}}", "from: Same");
    assert_eq!(found(&[&same, POLICY]), ["TRC0207 spec.export.collectorRef"]);
}

#[test]
fn render_says_what_it_takes_for_granted() {
    let all = [COLLECTOR, POLICY, WORKLOAD].join("---\n");
    let known = format!("{all}---\n{}", namespace("tracing: 'true'"));
    let refused = format!("{all}---\n{}", namespace("tracing: 'no'"));
    let files = Files::new(&[("all.yaml", &all), ("known.yaml", &known), ("refused.yaml", &refused)]);
    let answer = files.run(&["render", "all.yaml"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stdout.contains("value: http://gateway-collector.observability.svc:4317"), "{answer:?}");
    let note = "note: TracingPolicy shop/shop: taken for allowed by TracingCollector observability/gateway, as the labels of \
                Namespace shop are not in the input";
    assert!(answer.stderr.contains(note), "{answer:?}");
    assert!(!files.run(&["render", "known.yaml"]).stderr.contains("taken for allowed"));
    let refused = files.run(&["render", "refused.yaml"]);
    assert!(!refused.stdout.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && refused.code == Some(1), "{refused:?}");
}

#[test]
fn a_collector_with_errors_serves_nobody() {
    let bad = COLLECTOR.replace("name: tempo\n", "name: tem/po\n");
    assert_eq!(
        found(&[&bad, POLICY]),
        ["TRC0116 spec.backends[0].name", "TRC0208 spec.export.collectorRef"],
        "the place of each is in the file"
    );
}

#[test]
fn keys_of_secrets_are_looked_at_and_their_values_are_not_shown() {
    let reference = |header: usize| format!("spec.backends[0].headers[{header}].secretKeyRef");
    let fine = secret("stringData: {org: team, token: Bearer abc}");
    assert_eq!(found(&[COLLECTOR, &fine]), [""; 0]);
    // Base64 of "abc" and of "Bearer $$hunter2".
    let encoded = secret("data: {org: YWJj, token: QmVhcmVyICQkaHVudGVyMg==}");
    assert_eq!(found(&[COLLECTOR, &encoded]), [format!("TRC0211 {}", reference(1))]);
    // What stringData says counts.
    let both = secret("data: {org: YWJj, token: QmVhcmVyICQkaHVudGVyMg==}\nstringData: {token: fine}");
    assert_eq!(found(&[COLLECTOR, &both]), [""; 0]);
    assert_eq!(found(&[COLLECTOR, &secret("stringData: {org: a}")]), [format!("TRC0210 {}", reference(1))]);
    let two = [format!("TRC0211 {}", reference(0)), format!("TRC0210 {}", reference(1))];
    assert_eq!(found(&[COLLECTOR, &secret("stringData: {org: 'hunter2${env:HOME}'}")]), two);
    let broken = secret("stringData: {org: \"hunter2\\n\", token: '${hunter2'}");
    let files = Files::new(&[("all.yaml", &format!("{COLLECTOR}---\n{broken}"))]);
    for (format, mark) in [
        ("pretty", "[TRC0211]"),
        ("compact", " TRC0211 "),
        ("json", "\"TRC0211\""),
        ("sarif", "\"ruleId\":\"TRC0211\""),
        ("github", "title=TRC0211"),
        ("junit", "name=\"TRC0211 "),
    ] {
        let answer = files.run(&["validate", "-o", format, "all.yaml"]);
        assert_eq!(answer.stdout.matches(mark).count(), 2, "{answer:?}");
        assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
    }
}

#[test]
fn a_credential_in_the_wrong_place_is_not_repeated() {
    let wrong = COLLECTOR.replace("secretKeyRef: {name: tempo, key: token}", "secretKeyRef: Bearer hunter2");
    let files = Files::new(&[("all.yaml", &wrong)]);
    let answer = files.run(&["validate", "-o", "json", "all.yaml"]);
    assert_eq!(answer.codes(), ["TRC0112"]);
    assert!(!answer.stdout.contains("hunter2"), "{answer:?}");
}

#[test]
fn a_collector_without_a_name_is_checked_and_takes_no_part() {
    let nameless = COLLECTOR.replace("name: gateway, ", "").replace("http://tempo:4317", "tempo");
    assert_eq!(found(&[&nameless]), ["TRC0114 metadata.name", "TRC0104 spec.backends[0].endpoint"]);
}
