//! What is scrubbed is absent from every byte that leaves the collector; what only looks like it stays.

use serde_json::json;

use crate::compare::render;
use crate::model::collector;
use crate::support::Backend;
use crate::support::otlp::{
    AnyValue, Event, InstrumentationScope, KeyValue, KeyValueList, ResourceSpans, Span, Value, attribute,
    from_resource, service, span, text, texts,
};
use crate::through::{assert_quiet, keeping_all, some_metrics, through, through_with_metrics};

const SECRET: &str = "SECRET-";

/// Attributes whose values have to vanish: every spelling in which instrumentations report these headers, and those
/// that the collector's owner named. Each value is another marker.
fn secrets() -> Vec<KeyValue> {
    let prefixes = [
        "http.request.header",
        "http.response.header",
        "rpc.request.metadata",
        "rpc.response.metadata",
        "rpc.grpc.request.metadata",
        "rpc.grpc.response.metadata",
        "rpc.connect_rpc.request.metadata",
        "rpc.connect_rpc.response.metadata",
        "HTTP.Request.Header",
    ];
    let headers = [
        "authorization",
        "AUTHORIZATION",
        "Authorization",
        "cookie",
        "Cookie",
        "set-cookie",
        "set_cookie",
        "Set-Cookie",
        "SET_COOKIE",
        "proxy-authorization",
        "proxy_authorization",
        "Proxy-Authorization",
        "x-api-key",
        "x_api_key",
        "X-API-Key",
        "x-api_key",
        "X_Api-Key",
        "x-tenant.token",
        "X-Tenant.Token",
        "x_tenant.token",
    ];
    let spelled = prefixes.iter().flat_map(|prefix| headers.iter().map(move |header| format!("{prefix}.{header}")));
    let named = ["db.statement", "user.email", "a\"b\\c$d"].map(str::to_owned);
    let value = |number: usize| {
        let marker = format!("{SECRET}{number}-{number}");
        match number % 4 {
            0 | 1 => text(marker),
            2 => texts(&["first", &marker]),
            _ => {
                let inner = KeyValueList { values: vec![attribute("inner", texts(&[&marker]))] };
                Value::ArrayValue(crate::support::otlp::ArrayValue {
                    values: vec![AnyValue { value: Some(Value::KvlistValue(inner)) }],
                })
            }
        }
    };
    spelled.chain(named).enumerate().map(|(number, key)| attribute(key, value(number))).collect()
}

/// What only looks like it.
const HARMLESS: [&str; 14] = [
    "http.request.header.authorization-info",
    "http.request.header.x-authorization",
    "http.request.header.content-type",
    "http.response.header.cookies",
    "http.response.header.set-cookie2",
    "http.request.headers.cookie",
    "xhttp.request.header.cookie",
    "httpxrequest.header.cookie",
    "rpc.grpc.request.metadata.cookies",
    "rpc.grpc.request.metadata.x-api-key-id",
    "http.request.header.x-tenantxtoken",
    "session.cookie",
    "db.statement.kind",
    "db_statement",
];

fn harmless() -> Vec<KeyValue> {
    HARMLESS.iter().map(|key| attribute(*key, text(format!("STAYS-{key}")))).collect()
}

fn all() -> Vec<KeyValue> {
    [secrets(), harmless()].concat()
}

fn event() -> Event {
    Event { name: "event".to_owned(), attributes: all(), ..Event::default() }
}

fn spans() -> Vec<ResourceSpans> {
    let resource = [service("shop", "web"), all()].concat();
    let without = span(1, 1, "without events", all());
    let with = Span { events: vec![event()], ..span(1, 2, "with events", all()) };
    let alone = Span { events: vec![event(), event()], ..span(1, 3, "only events", Vec::new()) };
    vec![
        from_resource(resource.clone(), vec![without, with, alone]),
        from_resource(resource, vec![span(2, 4, "alone in its resource", all())]),
    ]
}

/// The configuration of a collector that scrubs, and the backend that it exports to.
async fn scrubbing() -> (Backend, String) {
    let backend = Backend::start().await;
    let spec = json!({
        "scrub": {
            "headers": ["Authorization", "cookie", "set-cookie", "X-Tenant.Token"],
            "attributes": ["db.statement", "user.email", "a\"b\\c$d"],
        },
        "spanMetrics": {"enabled": true, "dimensions": ["http.route", "session.cookie"]},
    });
    let configuration = render(&[collector(&backend.endpoint(), spec)]);
    (backend, configuration)
}

/// What left that should not, and what did not that should have.
async fn faults(backend: &Backend, configuration: &str) -> Vec<String> {
    let collector = through_with_metrics(configuration, backend, spans(), some_metrics).await;
    assert_quiet(&collector);
    let mut faults = Vec::new();
    for secret in secrets() {
        let Some(AnyValue { value: Some(value) }) = &secret.value else { unreachable!("every secret has a value") };
        let marker = format!("{value:?}");
        let marker = marker.split('"').find(|part| part.starts_with(SECRET)).expect("a marker");
        if backend.saw(marker.as_bytes()) {
            faults.push(format!("the value of {} left the collector", secret.key));
        }
    }
    let arrived = backend.resource_spans();
    for resource in &arrived {
        check_harmless("the resource", &resource.resource.clone().unwrap_or_default().attributes, &mut faults);
    }
    let spans = backend.spans();
    assert_eq!(spans.len(), 4, "every span arrives once");
    for span in &spans {
        if span.name != "only events" {
            check_harmless(&span.name, &span.attributes, &mut faults);
        }
        for event in &span.events {
            check_harmless("an event", &event.attributes, &mut faults);
        }
    }
    faults
}

fn check_harmless(place: &str, attributes: &[KeyValue], faults: &mut Vec<String>) {
    for wanted in harmless() {
        if !attributes.contains(&wanted) {
            faults.push(format!("{} of {place} is gone or changed", wanted.key));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_the_collector() {
    let (backend, configuration) = scrubbing().await;
    let faults = faults(&backend, &configuration).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spelling_that_the_pattern_misses_is_noticed() {
    let (backend, configuration) = scrubbing().await;
    let mutated = configuration.replace("[-_]", "-").replace("[_-]", "-");
    assert_ne!(mutated, configuration, "nothing was changed");
    let faults = faults(&backend, &mutated).await;
    assert!(faults.iter().any(|fault| fault.contains("header.set_cookie")), "{faults:?}");
    assert!(!faults.iter().any(|fault| fault.contains("header.set-cookie")), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_headers_are_scrubbed_without_being_named() {
    let (backend, configuration) = keeping_all(json!({})).await;
    let always = ["http.request.header.proxy-authorization", "rpc.grpc.request.metadata.x-api-key"];
    let attributes: Vec<KeyValue> = always.iter().map(|key| attribute(*key, text(SECRET))).collect();
    through(&configuration, &[], vec![from_resource(service("shop", "web"), vec![span(1, 1, "s", attributes)])]).await;
    assert_eq!(backend.spans().len(), 1);
    assert!(!backend.saw(SECRET.as_bytes()));
}

/// Some instrumentations report all headers as one value: which of its parts are secret cannot be told for certain.
#[tokio::test(flavor = "multi_thread")]
async fn all_headers_in_one_value_are_removed_whole() {
    let (backend, configuration) = keeping_all(json!({"scrub": {"headers": ["authorization"]}})).await;
    let map = || Value::KvlistValue(KeyValueList { values: vec![attribute("Authorization", texts(&[SECRET]))] });
    let keys = [
        "http.request.header",
        "HTTP.Response.Header",
        "rpc.request.metadata",
        "rpc.connect_rpc.response.metadata",
        "rpc.dubbo-x.request.metadata.authorization",
        "http.request.header.authorization.0",
    ];
    let secret = move || {
        let list =
            Value::ArrayValue(crate::support::otlp::ArrayValue { values: vec![AnyValue { value: Some(map()) }] });
        let mut all: Vec<_> = keys.iter().map(|key| attribute(*key, map())).collect();
        all.push(attribute("rpc.request.metadata", list));
        all.push(attribute("http.request.headers", text("STAYS")));
        all
    };
    everywhere(&backend, &configuration, &secret).await;
}

/// A name that is sent twice is removed twice, and is cut in both places; scopes are no way out either.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_sent_twice_does_not_slip_through() {
    let spec = json!({"scrub": {"attributes": ["db.statement"], "truncate": {"url.full": 8}}});
    let (backend, configuration) = keeping_all(spec).await;
    let twice = || {
        let cut = || attribute("url.full", text(format!("01234567{SECRET}")));
        let gone = || attribute("db.statement", text(SECRET));
        vec![cut(), gone(), gone(), cut(), attribute("http.url", text("short")), attribute("db.name", text("STAYS"))]
    };
    everywhere(&backend, &configuration, &twice).await;
    let spans = backend.spans();
    let cut: Vec<_> = spans[0].attributes.iter().filter(|attribute| attribute.key == "url.full").collect();
    assert_eq!(cut, [&attribute("url.full", text("01234567"))]);
    assert!(spans[0].attributes.contains(&attribute("http.url", text("short"))));
}

/// Sends these attributes on a resource, a scope, spans and events; what is secret in them must not leave, the rest must.
async fn everywhere(backend: &Backend, configuration: &str, attributes: &dyn Fn() -> Vec<KeyValue>) {
    let event = Event { attributes: attributes(), ..Event::default() };
    let sent =
        vec![span(1, 1, "without", attributes()), Span { events: vec![event], ..span(1, 2, "with", attributes()) }];
    let mut resource = from_resource([service("shop", "web"), attributes()].concat(), sent);
    let scope = InstrumentationScope { attributes: attributes(), ..InstrumentationScope::default() };
    resource.scope_spans[0].scope = Some(scope);
    let collector = through(configuration, &[], vec![resource]).await;
    assert_quiet(&collector);
    let arrived = format!("{:?}", backend.resource_spans());
    assert_eq!(arrived.matches("STAYS").count(), 5, "{arrived}");
    assert_eq!(arrived.matches(SECRET).count(), 0, "{arrived}");
}
