//! What scrapes, alerts and shows: each metric and label in it is there, and Prometheus' own tool has no complaint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::common::{
    ALL_VALUES, file, helm_template, identity, named, names_in, of_kind, one, refused, render, root, run, shape, text,
};

/// Every metric that is documented with its labels; tests/metrics.rs compares that with a scrape.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for page in names_in("docs/reference") {
        for row in file(&format!("docs/reference/{page}")).lines().filter_map(|line| line.strip_prefix("| `")) {
            let mut cells = row.split('|').map(str::trim);
            let name = cells.next().unwrap_or_default().trim_end_matches('`');
            // The page of the operator's own metrics has their types before the labels.
            let labels = cells.nth(usize::from(page == "metrics.md")).unwrap_or_default().split('`').skip(1).step_by(2);
            all.insert(name.to_owned(), labels.map(str::to_owned).collect());
        }
    }
    all
}

/// Metrics with the labels by which they are selected: `name{label="value",...}`.
fn selected(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let parts: Vec<&str> = expression.split('{').collect();
    for pair in parts.windows(2) {
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
        let name = pair[0].rsplit(|character| !is_name(character)).next().unwrap_or_default();
        let (inside, _) = pair[1].split_once('}').expect("a selector ends");
        let matcher = |part: &str| {
            let (label, value) = part.split_once('=').expect("a matcher");
            (label.to_owned(), value.trim_start_matches('~').trim_matches('"').to_owned())
        };
        found.push((name.to_owned(), inside.split(',').map(matcher).collect()));
    }
    found
}

/// Labels in `by (...)` and `on (...)`.
fn grouped(expression: &str) -> BTreeSet<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| expression.split(word).skip(1));
    lists.flat_map(|rest| rest.split(')').next().unwrap_or_default().split(", ")).map(str::to_owned).collect()
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&file(&format!("charts/tracesteward/files/dashboards/{name}"))).expect("JSON")
}

fn rules(objects: &[Value]) -> Vec<Value> {
    let spec = &one(objects, "PrometheusRule")["spec"];
    spec["groups"][0]["rules"].as_array().expect("rules").clone()
}

/// All expressions, with where they are.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for rule in rules(&shape("monitoring")) {
        all.push((rule["alert"].to_string(), rule["expr"].as_str().expect("an expression").to_owned()));
    }
    for name in names_in("charts/tracesteward/files/dashboards") {
        for panel in dashboard(&name)["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{name}: {}", panel["title"]);
                all.push((place, target["expr"].as_str().expect("an expression").to_owned()));
            }
        }
    }
    assert!(all.len() > 20);
    all
}

#[test]
fn every_metric_and_label_in_use_is_there() {
    let known = documented();
    // What Prometheus adds to every metric of a target, and to a histogram.
    let added = ["job", "namespace", "le"];
    for (place, expression) in expressions() {
        let mut labels: BTreeSet<&str> = added.into();
        for (name, matchers) in selected(&expression) {
            let of_histogram = name.strip_suffix("_bucket").filter(|name| known.contains_key(*name));
            if name != "up" {
                let all = known.get(of_histogram.unwrap_or(&name));
                let all = all.unwrap_or_else(|| panic!("{place}: the operator has no metric {name}"));
                labels.extend(all.iter().map(String::as_str));
                for (label, _) in matchers.iter().filter(|(label, _)| !added.contains(&label.as_str())) {
                    assert!(all.contains(label), "{place}: {name} has no label {label}");
                }
            }
            let is_narrowed = matchers.iter().any(|(label, _)| label == "job");
            assert!(is_narrowed, "{place}: {name} is that of other operators too");
        }
        for label in grouped(&expression) {
            assert!(labels.contains(label.as_str()), "{place}: no metric there has the label {label}");
        }
    }
}

#[test]
fn values_that_are_looked_for_are_documented() {
    let page = file("docs/reference/metrics.md");
    for (place, expression) in expressions() {
        for (name, matchers) in selected(&expression) {
            for (label, value) in
                matchers.iter().filter(|(label, _)| ["state", "ready", "result"].contains(&label.as_str()))
            {
                let row = page.lines().find(|line| line.starts_with(&format!("| `{name}`")));
                assert!(
                    row.is_some_and(|row| row.contains(&format!("`{value}`"))),
                    "{place}: {name}{{{label}={value}}}"
                );
            }
        }
    }
}

/// Runs promtool over the rules that the chart makes, with more beside them: whether it succeeded, and what it said.
fn promtool(command: &[&str], files: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = one(&render(&["--set", "metrics.prometheusRule.enabled=true"]), "PrometheusRule")["spec"].clone();
    fs::write(folder.path().join("rules.yaml"), spec.to_string()).expect("the rules are written");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file is written");
    }
    let last = files.last().map_or("rules.yaml", |(name, _)| name);
    let path = folder.path().join(last).to_string_lossy().into_owned();
    let output = run("promtool", &[command, &[path.as_str()]].concat());
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said)
}

#[test]
fn prometheus_takes_the_rules() {
    let (is_good, said) = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &[]);
    assert!(is_good && said.contains("8 rules found"), "{said}");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let tests = file("tests/chart/alerts.test.yaml");
    let (is_good, said) = promtool(&["test", "rules"], &[("tests.yaml", &tests)]);
    assert!(is_good, "{said}");
    for rule in rules(&shape("podmonitor")) {
        let name = rule["alert"].as_str().expect("a name");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} is not tested");
    }
    // The tests can fail.
    let wrong = tests.replacen("exp_alerts: []", "exp_alerts: [{exp_labels: {severity: warning}}]", 1);
    assert!(!promtool(&["test", "rules"], &[("tests.yaml", &wrong)]).0);
}

#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let page = file("docs/troubleshooting.md");
    for rule in rules(&shape("monitoring")) {
        let name = rule["alert"].as_str().expect("a name");
        assert!(page.contains(&format!("\n### {name}\n")), "docs/troubleshooting.md has no section {name}");
        let link = format!("https://tracesteward.io/docs/troubleshooting#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link);
        assert!(["warning", "info"].contains(&rule["labels"]["severity"].as_str().expect("a severity")), "{name}");
        assert_eq!(rule["labels"]["team"], "platform");
    }
    let sections = page.lines().filter(|line| line.starts_with("### Tracesteward")).count();
    assert_eq!(sections, rules(&shape("monitoring")).len(), "a section for each alert, and no other");
}

#[test]
fn rules_are_narrowed_to_the_release_and_changed_as_told() {
    let objects = shape("all");
    let rule = one(&objects, "PrometheusRule");
    assert_eq!(
        (&rule["metadata"]["namespace"], &rule["metadata"]["labels"]["release"]),
        (&json!("rules"), &json!("prometheus"))
    );
    let rules = rules(&objects);
    assert_eq!(rules.last(), Some(&json!({"alert": "Mine", "expr": "vector(1)"})));
    for rule in rules.iter().filter(|rule| rule["alert"] != "Mine") {
        let (name, expression) = (rule["alert"].as_str().expect("a name"), rule["expr"].as_str().expect("text"));
        assert_ne!(name, "TracestewardWorkloadsPending");
        assert_eq!(rule["labels"], json!({"severity": "page", "team": "platform"}));
        assert_eq!(rule["annotations"]["runbook_url"], format!("https://example.com/runbooks#{}", name.to_lowercase()));
        let selectors = expression.matches('{').count();
        assert_eq!(expression.matches("job=\"steward\",namespace=\"steward-home\"").count(), selectors, "{expression}");
    }
}

#[test]
fn a_monitor_finds_the_operator_alone() {
    let objects = shape("monitoring");
    let (monitor, service) = (one(&objects, "ServiceMonitor"), named(&objects, "Service", "tracesteward-metrics"));
    assert_eq!(
        (&monitor["metadata"]["namespace"], &monitor["metadata"]["labels"]["release"]),
        (&json!("monitoring"), &json!("prometheus"))
    );
    let spec = &monitor["spec"];
    assert_eq!(spec["namespaceSelector"]["matchNames"], json!(["tracesteward-system"]));
    assert_eq!(spec["endpoints"], json!([{"port": "http", "path": "/metrics", "interval": "30s"}]));
    let matches = |service: &Value| {
        let wanted = spec["selector"]["matchLabels"].as_object().expect("labels");
        wanted.iter().all(|(label, value)| service["metadata"]["labels"][label] == *value)
    };
    let found: Vec<_> = of_kind(&objects, "Service").into_iter().filter(|service| matches(service)).collect();
    assert_eq!(found, [service], "not the webhook's");
    assert_eq!(service["metadata"]["labels"]["app.kubernetes.io/name"], "tracesteward", "what jobLabel reads");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");

    let objects = shape("podmonitor");
    let spec = &one(&objects, "PodMonitor")["spec"];
    assert_eq!(spec["selector"], one(&objects, "Deployment")["spec"]["selector"]);
    assert_eq!(spec["podMetricsEndpoints"][0]["port"], "http");
    assert!(of_kind(&objects, "Service").iter().all(|service| service["metadata"]["name"] != "tracesteward-metrics"));
    let both = "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true";
    assert!(refused(&["--set", both]).contains("every metric would be there twice"));
}

#[test]
fn values_of_a_monitor_arrive() {
    let objects = shape("all");
    let endpoint = json!([{
        "port": "http", "path": "/metrics", "interval": "15s", "scrapeTimeout": "5s",
        "relabelings": [{"targetLabel": "cluster", "replacement": "one"}],
        "metricRelabelings": [{"action": "drop", "regex": "workqueue_adds_total", "sourceLabels": ["__name__"]}],
    }]);
    assert_eq!(one(&objects, "ServiceMonitor")["spec"]["endpoints"], endpoint);
    assert_eq!(one(&objects, "Service")["metadata"]["annotations"], json!({"example.com/service": "yes"}));
    let switched = "metrics.serviceMonitor.enabled=false,metrics.podMonitor.enabled=true";
    let objects = render(&["--values", ALL_VALUES, "--set", switched]);
    assert_eq!(one(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"], endpoint);
    assert_eq!(one(&objects, "PodMonitor")["metadata"]["namespace"], "monitors");
}

#[test]
fn dashboards_arrive_as_they_are() {
    let objects = shape("monitoring");
    for name in names_in("charts/tracesteward/files/dashboards") {
        let object = format!("tracesteward-dashboard-{}", name.trim_end_matches(".json"));
        let map = named(&objects, "ConfigMap", &object);
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1", "{}", identity(map));
        assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "Tracing");
        let data = map["data"][&name].as_str().expect("the dashboard");
        assert_eq!(serde_json::from_str::<Value>(data).expect("JSON"), dashboard(&name));
    }
    assert!(helm_template(&[]).is_ok_and(|text| !text.contains("grafana")));
    assert!(root().join("charts/tracesteward/files/dashboards").is_dir());
}

#[test]
fn panels_do_not_overlap_and_use_the_variables() {
    for name in names_in("charts/tracesteward/files/dashboards") {
        let dashboard = dashboard(&name);
        let variables = dashboard["templating"]["list"].as_array().expect("variables");
        let variables: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().expect("a name")).collect();
        assert_eq!(variables, ["datasource", "job"]);
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_u64()), "{}", panel["title"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
            assert!(x + w <= 24, "{}", panel["title"]);
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(places.insert(place), "{} lies over another panel", panel["title"]);
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "$datasource");
            }
        }
    }
}
