//! `simulate -o html`: the page shows the figures of the JSON, its filters and its timelines work, and it asks nobody for anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::{Answer, Files};
use crate::driver::Browser;

const POLICIES: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingCollector
metadata: {name: gateway, namespace: observability}
spec:
  allowedNamespaces: {from: All}
  sampling: {baselineRatio: 0.4, keep: {errors: true}, decisionWait: 5s}
  scrub: {attributes: [db.statement]}
  backends: [{name: tempo, endpoint: 'http://tempo:4317'}]
---
apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: web, namespace: shop}
spec:
  enabled: true
  targets: [{kind: Deployment, name: web}]
  export: {collectorRef: {name: gateway, namespace: observability}}
  sampling:
    tail:
      ratio: 0.7
      keep: {slowerThan: 2s}
      drop: [{route: /healthz}]
      routes: [{route: /search, ratio: 0.3}, {route: /never, ratio: 1}]
";

const SECOND: u64 = 1_000_000_000;
/// What no page may run.
const HOSTILE: &str = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>";

struct Made<'a> {
    trace: u64,
    id: u64,
    parent: u64,
    service: &'a str,
    name: &'a str,
    route: Option<&'a str>,
    start: u64,
    end: u64,
    error: bool,
}

fn line(span: &Made<'_>) -> String {
    let text = |key: &str, text: &str| json!({"key": key, "value": {"stringValue": text}});
    let mut attributes = vec![text("db.statement", "hunter2")];
    attributes.extend(span.route.map(|route| text("http.route", route)));
    let parent = if span.parent == 0 { String::new() } else { format!("{:016x}", span.parent) };
    let span = json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", span.service), text("k8s.namespace.name", "shop")]},
        "scopeSpans": [{"spans": [{
            "traceId": format!("{:032x}", u128::from(span.trace).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)),
            "spanId": format!("{:016x}", span.id), "parentSpanId": parent, "name": span.name,
            "startTimeUnixNano": span.start.to_string(), "endTimeUnixNano": span.end.to_string(),
            "status": {"code": if span.error { 2 } else { 0 }}, "attributes": attributes,
        }]}],
    }]});
    format!("{span}\n")
}

/// Sixty traces: a root in `web` or `batch`, a span of `db` below it, and below that one that is named to break the page.
fn recording() -> String {
    let routes = ["/cart", "/search", "/healthz", HOSTILE];
    let traces = (1..=60_u64).map(|trace| {
        let begin = SECOND * trace;
        let length = if trace % 11 == 0 { 3 * SECOND } else { SECOND };
        let (service, route) =
            if trace % 5 == 0 { ("batch", None) } else { ("web", Some(routes[usize::try_from(trace).unwrap() % 4])) };
        let root = Made {
            trace,
            id: 1,
            parent: 0,
            service,
            name: "root",
            route,
            start: begin,
            end: begin + length,
            error: false,
        };
        let end = begin + SECOND / 2;
        let query = Made {
            id: 2,
            parent: 1,
            service: "db",
            name: "query",
            route: None,
            start: begin + SECOND / 4,
            end,
            error: trace % 13 == 0,
            ..root
        };
        let odd = Made { id: 3, parent: 2, name: HOSTILE, error: false, end: begin + SECOND * 3 / 8, ..query };
        // Children come first, as they end first.
        [line(&odd), line(&query), line(&root)].concat()
    });
    traces.collect()
}

fn simulate(files: &Files, output: &str) -> Answer {
    let answer = files.run(&["simulate", "--traces", "traces.jsonl", "-o", output, "policies.yaml"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    answer
}

/// A table of the page, row by row, by the text of its cells.
async fn rows(browser: &Browser, table: &str) -> Vec<Vec<String>> {
    let script = format!(
        "return [...document.querySelectorAll('#{table} tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    );
    serde_json::from_value(browser.run(&script).await).unwrap()
}

async fn choose(browser: &Browser, filter: &str, value: &str) {
    let script = format!(
        "const select = document.getElementById('filter-{filter}'); select.value = {}; select.dispatchEvent(new Event('change')); return select.value",
        json!(value)
    );
    assert_eq!(browser.run(&script).await, value, "there is such a choice");
}

/// A number as the page writes it.
fn written(number: &Value) -> String {
    let digits = number.as_u64().unwrap().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(kept: u64, all: u64) -> String {
    let tenths = (kept * 1000).checked_div(all).unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn counted(of: &Value) -> Vec<String> {
    let [all, kept] = ["traces", "kept"].map(|name| of[name].as_u64().unwrap());
    vec![written(&of["traces"]), written(&of["kept"]), percent(kept, all), written(&of["spansKept"])]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn name(of: &Value) -> String {
    let part = |part: &Value| part.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", part(&of["namespace"]), part(&of["service"]))
}

/// What the page says has to be what the JSON says.
async fn figures_are_those_of(json: &Value, browser: &Browser) {
    let summary = &json["summary"];
    let total = browser.run("return document.getElementById('total-Traces').innerText").await;
    let words = format!("{} of {}", written(&summary["kept"]), written(&summary["traces"]));
    assert!(total.as_str().unwrap().contains(&words), "{words} in {total}");

    let shown: BTreeSet<Vec<String>> =
        rows(browser, "services").await.into_iter().map(|row| row[..5].to_vec()).collect();
    let said = list(&summary["services"]).iter().map(|one| [vec![name(one)], counted(one)].concat()).collect();
    assert_eq!(shown, said);

    let shown: BTreeSet<Vec<String>> = rows(browser, "routes").await.into_iter().map(|row| row[..6].to_vec()).collect();
    let route = |one: &Value| one["route"].as_str().unwrap_or("(no root)").to_owned();
    let said =
        list(&summary["routes"]).iter().map(|one| [vec![route(one), name(one)], counted(one)].concat()).collect();
    assert_eq!(shown, said);

    let shown: Vec<Vec<String>> = rows(browser, "rules").await.into_iter().map(|row| row[..8].to_vec()).collect();
    let said: Vec<Vec<String>> = list(&summary["rules"])
        .iter()
        .map(|rule| {
            let [decided, kept] = ["decided", "kept"].map(|name| rule[name].as_u64().unwrap());
            let ratio = rule["ratio"].as_f64().map_or_else(|| "–".to_owned(), |ratio| ratio.to_string());
            let place = format!("{}:{}", rule["file"].as_str().unwrap(), rule["line"]);
            let words =
                [&rule["rule"], &rule["policy"]].map(|text| text.as_str().unwrap_or("the collector").to_owned());
            let numbers = ["matched", "decided", "kept"].map(|name| written(&rule[name]));
            words.into_iter().chain([ratio]).chain(numbers).chain([percent(kept, decided), place]).collect()
        })
        .collect();
    assert_eq!(shown, said);

    let shown = rows(browser, "scrubbed").await;
    let said: Vec<Vec<String>> = list(&summary["scrubbed"])
        .iter()
        .map(|one| vec![one["attribute"].as_str().unwrap().to_owned(), written(&one["removed"]), written(&one["cut"])])
        .collect();
    assert_eq!(shown, said);
}

/// With filters, the figures are those that the list of traces gives.
async fn filters_count_what_the_list_says(json: &Value, browser: &Browser) {
    for (at, rule) in list(&json["summary"]["rules"]).iter().enumerate() {
        choose(browser, "rule", &at.to_string()).await;
        let is_of = |trace: &&Value| trace["rule"] == rule["rule"] && trace["policy"] == rule["policy"];
        let of_rule: Vec<&Value> = list(&json["traces"]).iter().filter(is_of).collect();
        let mut routes = BTreeMap::<Vec<String>, (u64, u64)>::new();
        for trace in &of_rule {
            let key = vec![trace["route"].as_str().unwrap().to_owned(), name(trace)];
            let (all, kept) = routes.entry(key).or_default();
            *all += 1;
            *kept += u64::from(trace["kept"] == true);
        }
        let said: BTreeSet<Vec<String>> = routes
            .into_iter()
            .map(|(key, (all, kept))| [key, vec![all.to_string(), kept.to_string(), percent(kept, all)]].concat())
            .collect();
        let shown = rows(browser, "routes").await;
        let shown: BTreeSet<Vec<String>> =
            shown.into_iter().filter(|row| row.len() > 1).map(|row| row[..5].to_vec()).collect();
        assert_eq!(shown, said, "{rule}");
        let kept = of_rule.iter().filter(|trace| trace["kept"] == true).count();
        let result = browser.run("return document.getElementById('result').innerText").await;
        assert!(result.as_str().unwrap().starts_with(&format!("{kept} of {} traces kept", of_rule.len())), "{result}");
    }
    choose(browser, "rule", "").await;
    let number =
        "return [...document.getElementById('filter-service').options].find((one) => one.text === 'shop/batch').value";
    let number = browser.run(number).await;
    choose(browser, "service", number.as_str().unwrap()).await;
    let shown = rows(browser, "services").await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0][0], "shop/batch");
    let decided: u64 = rows(browser, "rules").await.iter().map(|row| row[4].parse::<u64>().unwrap()).sum();
    let batch = list(&json["summary"]["services"]).iter().find(|one| one["service"] == "batch").unwrap();
    assert_eq!(decided, batch["traces"].as_u64().unwrap(), "each trace of the service is decided by one rule");
    browser.run("document.getElementById('reset').click()").await;
}

async fn examples_are_drawn(json: &Value, browser: &Browser) {
    for (fate, kept) in [("kept", true), ("dropped", false)] {
        browser.run(&format!("document.querySelector('[data-fate={fate}]').click()")).await;
        let shown = browser
            .run("return [...document.querySelectorAll('details')].map((one) => [one.dataset.trace, one.querySelector('.badge').innerText])")
            .await;
        assert!(!list(&shown).is_empty());
        for example in list(&shown) {
            let trace = list(&json["traces"]).iter().find(|trace| trace["traceId"] == example[0]).unwrap();
            assert_eq!(trace["kept"], kept);
            assert_eq!(example[1], fate);
        }
    }
    // Every rule that decided has an example, kept or not as the case may be.
    browser.run("document.getElementById('reset').click()").await;
    for (at, rule) in list(&json["summary"]["rules"]).iter().enumerate() {
        choose(browser, "rule", &at.to_string()).await;
        let count = browser.run("return document.querySelectorAll('details').length").await.as_u64().unwrap();
        assert_eq!(count > 0, rule["decided"] != 0, "{rule}");
    }
    browser.run("document.getElementById('reset').click()").await;
    let drawn = browser
        .run(
            "const one = document.querySelector('details'); one.querySelector('summary').click();
             return new Promise((done) => { const look = () => one.querySelector('table') ? done([...one.querySelectorAll('tbody tr')].map((row) => {
               const lane = row.querySelector('.lane').getBoundingClientRect(), bar = row.querySelector('.lane i').getBoundingClientRect();
               return [row.cells[0].innerText, row.cells[1].innerText, (bar.left - lane.left) / lane.width, bar.width / lane.width];
             })) : setTimeout(look, 10); look(); })",
        )
        .await;
    let names: Vec<_> = list(&drawn).iter().map(|row| (row[0].as_str().unwrap(), row[1].as_str().unwrap())).collect();
    assert_eq!(names, [("root", "shop/web"), ("query", "shop/db"), (HOSTILE, "shop/db")], "parents come first");
    // A second; then from a quarter to a half; then from a quarter to three eighths.
    for (row, (left, width)) in list(&drawn).iter().zip([(0.0, 1.0), (0.25, 0.25), (0.25, 0.125)]) {
        let (is_left, is_wide) = (row[2].as_f64().unwrap(), row[3].as_f64().unwrap());
        assert!((is_left - left).abs() < 0.01 && (is_wide - width).abs() < 0.01, "{row}");
    }
}

#[tokio::test]
async fn the_page_shows_the_figures_of_the_json() {
    let files = Files::new(&[("policies.yaml", POLICIES), ("traces.jsonl", &recording())]);
    let (page, json) = (simulate(&files, "html").stdout, simulate(&files, "json").json());
    assert!(!page.contains("hunter2"), "values are not in the page");
    assert_eq!(page, simulate(&files, "html").stdout, "the same input gives the same page");
    for dark in [false, true] {
        let browser = Browser::start(dark).await;
        browser.open_file("page.html", &page).await;
        assert_eq!(browser.run("return document.body.dataset.ready").await, "true", "{:?}", browser.console().await);
        assert_eq!(browser.client.title().await.unwrap(), "What TracingCollector observability/gateway would keep");
        figures_are_those_of(&json, &browser).await;
        filters_count_what_the_list_says(&json, &browser).await;
        examples_are_drawn(&json, &browser).await;
        figures_are_those_of(&json, &browser).await;
        assert_eq!(browser.console().await, Vec::<String>::new());
        let asked = browser.requests().await;
        assert!(asked.len() == 1 && asked[0].ends_with("/page.html"), "{asked:?}");
        let is_dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches").await;
        assert_eq!(is_dark, dark);
        let text = browser.run("return document.body.innerText").await;
        assert!(
            !["null", "undefined", "NaN", "[object"].iter().any(|odd| text.as_str().unwrap().contains(odd)),
            "{text}"
        );
    }
}
