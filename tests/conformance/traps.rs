//! The eight ways in which a configuration that the collector accepts loses data or lets secrets out: none of them is in
//! what is rendered. Where the trap cannot be seen in the rendered configuration, it is shown beside it.

use serde_json::{Value as Json, json};

use crate::cases::{case, nothing, policy, route, span as modelled};
use crate::compare::{check, check_changed, render};
use crate::model::{Keep, Policy, Ratio, collector};
use crate::support::collector::{complaint, parse};
use crate::support::otlp::{Client, Event, KeyValue, Span, Value, attribute, find, from_resource, service, span, text};
use crate::support::{Backend, Collector};
use crate::through::{assert_quiet, keeping_all, some_metrics, through, through_with_metrics};

/// A list of statements that names spans and their events would run for events alone.
#[tokio::test(flavor = "multi_thread")]
async fn trap_1_spans_without_events_are_scrubbed_too() {
    let (backend, configuration) = keeping_all(json!({"scrub": {"headers": ["authorization"]}})).await;
    let secret = || vec![attribute("http.request.header.authorization", text("SECRET"))];
    let event = Event { attributes: secret(), ..Event::default() };
    let with = Span { events: vec![event], ..span(1, 1, "with", secret()) };
    let resource = [service("shop", "web"), secret()].concat();
    through(&configuration, &[], vec![from_resource(resource, vec![with, span(1, 2, "without", secret())])]).await;
    assert_eq!(backend.spans().len(), 2);
    assert!(!backend.saw(b"SECRET"));
}

/// `validate` does not look into policies: the renderer has to be right by construction.
#[tokio::test(flavor = "multi_thread")]
async fn trap_2_policies_are_well_formed_though_nobody_checks() {
    let keep = Keep { slower_than: Some(1000), errors: true, services: vec!["vip".to_owned()], ..Keep::default() };
    let mut own = policy("p", "shop/web");
    own.ratio = Some(Ratio("0.5"));
    own.drop = vec![route("/healthz")];
    own.routes = vec![(route("/cheap"), Ratio("0.01")), (route("/none"), Ratio("0")), (route("/all"), Ratio("1"))];
    let baseline = crate::model::Baseline { ratio: Some(Ratio("0.1")), keep };
    let traces = (1..=20).map(|share| (f64::from(share) / 20.0, vec![modelled("shop/web", &[])])).collect();
    let case = case("every kind of policy", baseline, vec![own], traces);
    let configuration = render(&case.documents("http://127.0.0.1:1"));
    assert_eq!(complaint(&configuration), None);
    let policies = policies(&parse(&configuration));
    let mut names: Vec<&Json> = policies.iter().map(|policy| &policy["name"]).collect();
    let count = names.len();
    names.sort_by_key(ToString::to_string);
    names.dedup();
    assert_eq!(names.len(), count, "names occur once");
    policies.iter().for_each(assert_well_formed);
    // The trap itself: one letter more, and nothing is kept by ratios; `validate` has nothing to say.
    let outcome = check_changed(&case, |configuration| {
        let mutated = configuration
            .replace("probabilistic:", "probabalistic:")
            .replace("\"probabilistic\":", "\"probabalistic\":");
        assert_ne!(mutated, configuration);
        assert_eq!(complaint(&mutated), None);
        mutated
    });
    assert!(!outcome.await.differences.is_empty());
}

/// The policies of the tail_sampling processor.
fn policies(configuration: &Json) -> Vec<Json> {
    configuration["processors"]["tail_sampling"]["policies"].as_array().expect("policies").clone()
}

fn assert_well_formed(policy: &Json) {
    let kind = policy["type"].as_str().expect("a type");
    let block = &policy[kind];
    let keys: Vec<&String> = policy.as_object().expect("a policy").keys().collect();
    assert!(keys.iter().all(|key| [kind, "name", "type"].contains(&key.as_str())), "{keys:?}");
    match kind {
        "always_sample" => {}
        "status_code" => {
            assert!(
                block["status_codes"].as_array().is_some_and(|codes| codes.iter().all(|code| code == "ERROR")),
                "{policy}"
            );
            assert_ne!(block["status_codes"], json!([]), "{policy}");
        }
        "string_attribute" => {
            assert!(
                block["values"].as_array().is_some_and(|values| !values.is_empty() && !values.contains(&json!(""))),
                "{policy}"
            );
        }
        "probabilistic" => {
            assert!(
                block["sampling_percentage"].as_f64().is_some_and(|share| share > 0.0 && share <= 100.0),
                "{policy}"
            );
        }
        "latency" => assert!(block["threshold_ms"].as_u64().is_some_and(|limit| limit > 0), "{policy}"),
        "and" | "drop" => {
            let parts = block[format!("{kind}_sub_policy")].as_array().expect("parts");
            assert!(!parts.is_empty(), "{policy}");
            assert!(parts.iter().all(|part| part["type"] != "and" && part["type"] != "drop"), "{policy}");
            parts.iter().for_each(assert_well_formed);
        }
        "not" => assert_well_formed(&block["not_sub_policy"]),
        other => panic!("a policy of type {other}: what can go wrong with it?"),
    }
}

/// `and` looks at the trace: an error in one service would meet the keep rule of another.
#[tokio::test(flavor = "multi_thread")]
async fn trap_3_rules_hold_on_one_span() {
    let failed = |service: &str| {
        let mut span = modelled(service, &[]);
        span.error = true;
        span
    };
    let at = |service: &str, path: &str, method: &str| {
        modelled(service, &[("http.route", text(path)), ("http.method", text(method))])
    };
    let get = crate::model::Matcher { method: Some("GET".to_owned()), ..route("/a") };
    let own = Policy {
        keep: Keep { errors: true, ..Keep::default() },
        drop: vec![crate::model::Matcher { method: Some("GET".to_owned()), ..route("/dropped") }],
        routes: vec![(get, Ratio("1"))],
        ..policy("p", "shop/web")
    };
    let mut child = at("shop/web", "/dropped", "GET");
    child.parent = Some(1);
    let traces = vec![
        (0.5, vec![modelled("shop/web", &[]), failed("bank/web")]),
        (0.5, vec![failed("shop/web"), modelled("bank/web", &[])]),
        // The route on one span and the method on another.
        (0.5, vec![at("shop/web", "/a", "POST"), at("shop/web", "/b", "GET")]),
        (0.5, vec![at("shop/web", "/a", "GET")]),
        (0.5, vec![at("shop/web", "/a", "GET"), at("shop/web", "/dropped", "POST"), child]),
        (0.5, vec![at("bank/web", "/a", "GET"), modelled("shop/web", &[])]),
    ];
    let case = case("rules on one span", nothing(), vec![own], traces);
    let outcome = check(&case).await;
    outcome.assert_equal(&case);
    assert_eq!(outcome.kept, 3);
}

/// Values of variables are expanded again: a plain token arrives as it is, one with `$$` does not.
#[tokio::test(flavor = "multi_thread")]
async fn trap_4_values_of_variables_are_expanded_again() {
    for (token, arrives) in [
        ("Bearer a-b.c_d/e+f=", "Bearer a-b.c_d/e+f="),
        ("123", "123"),
        ("pa$word", "pa$word"),
        ("pa$$word", "pa$word"),
    ] {
        let backend = Backend::demanding(arrives).await;
        let configuration = render(&[with_token(&backend.endpoint(), "http/protobuf")]);
        let names = crate::through::variables(&configuration);
        let [name] = &names[..] else { panic!("one header, so one variable, and not {names:?}") };
        let spans = from_resource(service("shop", "web"), vec![span(1, 1, "s", Vec::new())]);
        through(&configuration, &[(name, token)], vec![spans]).await;
        assert_eq!(backend.spans().len(), 1, "{token} arrives as {arrives}");
    }
}

/// A collector with one backend, and a token for it from a Secret.
pub(crate) fn with_token(endpoint: &str, protocol: &str) -> Json {
    let headers = json!([{"name": "authorization", "secretKeyRef": {"name": "tempo", "key": "token"}}]);
    let backend = json!({"name": "tempo", "endpoint": endpoint, "protocol": protocol, "headers": headers});
    collector(endpoint, json!({"backends": [backend]}))
}

/// To an `http://` endpoint the gRPC exporter would speak TLS all the same; and a trailing slash would be refused.
/// That spans arrive is shown in `delivery`.
#[test]
fn trap_5_http_means_without_tls() {
    for (endpoint, insecure) in
        [("http://127.0.0.1:4317", true), ("https://127.0.0.1:4317", false), ("http://127.0.0.1:4317/", true)]
    {
        let configuration = render(&[with_token(endpoint, "grpc")]);
        let parsed = parse(&configuration);
        let exporters = parsed["exporters"].as_object().expect("exporters");
        let (name, exporter) =
            exporters.iter().find(|(name, _)| name.starts_with("otlp_grpc")).expect("an exporter over gRPC");
        let found = exporter["tls"]["insecure"].as_bool().unwrap_or(false);
        assert_eq!(found, insecure, "{name} to {endpoint}: {exporter}");
        assert_eq!(complaint(&configuration), None, "{endpoint}");
    }
}

/// With `block_on_overflow` and without decision caches the collector would hang for good once its memory is full.
#[tokio::test(flavor = "multi_thread")]
async fn trap_6_more_traces_than_memory_do_not_stop_the_collector() {
    let sampling = json!({"baselineRatio": 1, "decisionWait": "1s", "tracesInMemory": 100});
    let (_backend, configuration) = keeping_all(json!({"sampling": sampling})).await;
    let mut collector = Collector::start(&configuration).await;
    let mut client = Client::connect(collector.http_port());
    for number in 1..=40 {
        let spans = (1..=20).map(|id| span(number * 100 + id, id, "s", Vec::new())).collect();
        client.send(vec![from_resource(service("shop", "web"), spans)]);
    }
    assert!(collector.stop().success(), "{}", collector.logs());
}

/// Cutting at a byte would leave half a character, which is no UTF-8.
#[tokio::test(flavor = "multi_thread")]
async fn trap_7_urls_are_cut_between_characters() {
    let spec = json!({"scrub": {"truncate": {"url.full": 1024, "url.query": 10}}});
    let (backend, configuration) = keeping_all(spec).await;
    let mut values = vec!["short".to_owned(), String::new(), "日本語日".to_owned()];
    for character in ['a', 'ü', '日', '🚀'] {
        values.extend((1016..=1024).map(|ascii| "x".repeat(ascii) + &character.to_string().repeat(40)));
        values.extend((1020..=1024).map(|ascii| "x".repeat(ascii) + &character.to_string()));
        values.push(character.to_string().repeat(3000));
    }
    values.push("x".repeat(1023));
    let urls = |value: &Value| {
        ["url.full", "http.url", "url.query", "url.path"].map(|key| attribute(key, value.clone())).to_vec()
    };
    let cut = |value: &Value, limit: usize| match value {
        Value::StringValue(whole) => {
            let ends = whole.char_indices().map(|(start, character)| start + character.len_utf8());
            let end = ends.take_while(|end| *end <= limit).last().unwrap_or(0);
            text(whole.get(..end).expect("between characters"))
        }
        other => other.clone(),
    };
    let expected = |value: &Value| -> Vec<KeyValue> {
        let limits = [("url.full", 1024), ("http.url", 1024), ("url.query", 10), ("url.path", usize::MAX)];
        limits.map(|(key, limit)| attribute(key, cut(value, limit))).to_vec()
    };
    let long = crate::support::otlp::texts(&["x".repeat(2000).as_str()]);
    let mut values: Vec<Value> = values.into_iter().map(text).collect();
    values.extend([Value::IntValue(7), Value::BytesValue(vec![b'x'; 2000]), Value::BoolValue(true), long]);
    let sent = (1..).zip(&values).map(|(id, value)| {
        let event = Event { attributes: urls(value), ..Event::default() };
        let span = Span { events: vec![event], ..span(id, id, "s", urls(value)) };
        from_resource([service("shop", "web"), urls(value)].concat(), vec![span])
    });
    let collector = through(&configuration, &[], sent.collect()).await;
    assert_quiet(&collector);
    let arrived = backend.resource_spans();
    let mut seen = 0;
    for resource_spans in arrived {
        let resource = resource_spans.resource.unwrap_or_default().attributes;
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen += 1;
            let number = usize::from(span.span_id[7]) - 1;
            let expected = expected(&values[number]);
            // Their order means nothing.
            let same = |attributes: &[KeyValue]| {
                attributes.len() == expected.len() && expected.iter().all(|wanted| attributes.contains(wanted))
            };
            assert!(same(&span.attributes), "on the span: {:?}", span.attributes);
            assert!(same(&span.events[0].attributes), "on its event: {:?}", span.events[0].attributes);
            assert!(expected.iter().all(|attribute| resource.contains(attribute)), "on the resource: {resource:?}");
            assert!(find(&resource, "service.name").is_some());
        }
    }
    assert_eq!(seen, values.len());
}

/// `span_metrics` copies every attribute of a resource: marks of the collector's own may not be there yet, and those of a
/// sender no more.
#[tokio::test(flavor = "multi_thread")]
async fn trap_8_metrics_carry_no_marks() {
    let fake = |key: &str| attribute(format!("tracesteward.{key}"), text("1"));
    let own = service("shop", "web");
    for resource in [own.clone(), [own, vec![fake("m"), fake("keep"), fake("_ns")]].concat()] {
        let backend = Backend::start().await;
        let mut documents = vec![collector(&backend.endpoint(), json!({"spanMetrics": {"enabled": true}}))];
        documents.extend(Policy { routes: vec![(route("/a"), Ratio("0.5"))], ..policy("p", "shop/web") }.documents());
        let spans = vec![span(1, 1, "s", vec![attribute("http.route", text("/a")), fake("m"), fake("drop")])];
        let spans = vec![from_resource(resource.clone(), spans)];
        through_with_metrics(&render(&documents), &backend, spans, some_metrics).await;
        assert!(!backend.saw(b"tracesteward."), "sent: {resource:?}; arrived: {:?}", backend.metrics());
    }
}

/// Not a trap of the eight, and yet: no header value and no statement of the configuration is ever logged as broken.
#[tokio::test(flavor = "multi_thread")]
async fn odd_values_do_not_make_statements_fail() {
    let keep = Keep { errors: true, http_server_errors: true, slower_than: Some(1000), ..Keep::default() };
    let prefix = crate::model::Matcher { route_prefix: Some("/a".to_owned()), ..crate::model::Matcher::default() };
    let own = Policy {
        keep: keep.clone(),
        routes: vec![(prefix, Ratio("1")), (route("/b"), Ratio("1"))],
        ..policy("p", "shop/web")
    };
    let backend = Backend::start().await;
    let mut documents =
        case("odd", crate::model::Baseline { keep, ..nothing() }, vec![own], Vec::new()).documents(&backend.endpoint());
    documents[0]["spec"]["scrub"] = json!({"truncate": {"url.full": 1024}});
    let odd =
        [Value::IntValue(1), Value::BoolValue(true), Value::DoubleValue(0.5), Value::BytesValue(vec![0xff]), text("")];
    let odd = odd.into_iter().chain([crate::support::otlp::texts(&["/a"])]);
    let keys = [
        "http.route",
        "http.method",
        "http.request.method",
        "http.status_code",
        "http.response.status_code",
        "url.full",
    ];
    let spans = (1..).zip(odd).map(|(id, value)| {
        let attributes: Vec<KeyValue> = keys.iter().map(|key| attribute(*key, value.clone())).collect();
        let resource = [service("shop", "web"), vec![attribute("service.namespace", value)]].concat();
        from_resource(resource, vec![span(id, id, "s", attributes)])
    });
    let mut collector = Collector::start(&render(&documents)).await;
    Client::connect(collector.http_port()).send(spans.collect());
    assert!(collector.stop().success(), "{}", collector.logs());
    assert_quiet(&collector);
}
