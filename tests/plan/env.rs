//! The environment of a container.

use super::common::{attributes, deployment, env, plain, plan_of, policy, value, workload_object};
use serde_json::json;
use tracesteward::index::ENV_NAMES;

#[test]
fn an_export_alone() {
    assert_eq!(
        env("{enabled: true, export: {endpoint: \"http://otel:4317\"}}", &plain()),
        [
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_TRACES_EXPORTER=otlp",
            "OTEL_SERVICE_NAME=web",
            "TRACESTEWARD_POD_NAME field metadata.name",
            "TRACESTEWARD_NODE_NAME field spec.nodeName",
            "OTEL_RESOURCE_ATTRIBUTES=k8s.container.name=app,k8s.deployment.name=web,k8s.namespace.name=shop,\
             k8s.node.name=$(TRACESTEWARD_NODE_NAME),k8s.pod.name=$(TRACESTEWARD_POD_NAME),\
             service.instance.id=shop.$(TRACESTEWARD_POD_NAME).app,service.namespace=shop",
            "OTEL_PROPAGATORS=tracecontext,baggage",
        ]
    );
}

#[test]
fn everything_in_order() {
    let spec = "{enabled: true, language: python,
      export: {endpoint: \"https://otel/\", headersSecretRef: {name: h}, timeout: 10s, compression: gzip},
      service: {name: checkout, namespace: pay, version: 1.4.2, attributes: {deployment.environment.name: production}},
      sampling: {ratio: 0.25}, genAi: {captureContent: false}, logs: {correlation: true}, propagators: [b3multi, xray],
      limits: {spanAttributes: 1, attributeValueLength: 2, spanEvents: 3, queueSize: 2048, batchSize: 512, scheduleDelay: 5s, exportTimeout: 30s}}";
    let lines = env(spec, &deployment("{labels: {app.kubernetes.io/version: v1}}", "[{name: app}]"));
    assert_eq!(
        lines.iter().filter(|line| !line.contains("RESOURCE")).collect::<Vec<_>>(),
        [
            "OTEL_EXPORTER_OTLP_ENDPOINT=https://otel/",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_EXPORTER_OTLP_HEADERS secret h",
            "OTEL_EXPORTER_OTLP_TIMEOUT=10",
            "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
            "OTEL_TRACES_EXPORTER=otlp",
            "OTEL_SERVICE_NAME=checkout",
            "TRACESTEWARD_POD_NAME field metadata.name",
            "TRACESTEWARD_NODE_NAME field spec.nodeName",
            "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG=0.25",
            "OTEL_PROPAGATORS=b3multi,xray",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=1",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=2",
            "OTEL_SPAN_EVENT_COUNT_LIMIT=3",
            "OTEL_BSP_SCHEDULE_DELAY=5000",
            "OTEL_BSP_EXPORT_TIMEOUT=30000",
            "OTEL_BSP_MAX_QUEUE_SIZE=2048",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512",
            "OTEL_PYTHON_LOG_CORRELATION=true",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=false",
        ]
    );
    let position = |line: &String| ENV_NAMES.iter().position(|name| line.split(['=', ' ']).next() == Some(name));
    assert!(lines.iter().map(|line| position(line).expect("a known name")).is_sorted());
}

#[test]
fn what_is_referred_to_stands_before() {
    let at = |wanted: &str| ENV_NAMES.iter().position(|name| *name == wanted).unwrap();
    for feeding in ["TRACESTEWARD_POD_NAME", "TRACESTEWARD_NODE_NAME", "TRACESTEWARD_SERVICE_VERSION"] {
        assert!(at(feeding) < at("OTEL_RESOURCE_ATTRIBUTES"), "the kubelet expands earlier variables only");
    }
}

#[test]
fn the_protocol_follows_the_port() {
    for (endpoint, protocol, expected) in [
        ("http://otel:4317", "", "grpc"),
        ("http://otel:4318", "", "http/protobuf"),
        ("http://otel:4318/", "", "http/protobuf"),
        ("http://u:p@otel:4318", "", "http/protobuf"),
        ("http://[::1]:4318", "", "http/protobuf"),
        ("https://otel", "", "grpc"),
        ("https://otel:443/4318", "", "grpc"),
        ("http://otel:4318", ", protocol: grpc", "grpc"),
        ("http://otel:4317", ", protocol: http/protobuf", "http/protobuf"),
    ] {
        let lines = env(&format!("{{enabled: true, export: {{endpoint: \"{endpoint}\"{protocol}}}}}"), &plain());
        assert_eq!(lines[1], format!("OTEL_EXPORTER_OTLP_PROTOCOL={expected}"), "{endpoint}{protocol}");
    }
    let lines = env(
        "{enabled: true, language: python, instrumentation: {}, export: {endpoint: \"http://otel:4317\"}}",
        &plain(),
    );
    assert_eq!(lines[1], "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "what the instrumentation can speak");
}

#[test]
fn timeouts_are_in_the_unit_that_the_sdk_reads() {
    for (language, timeout, expected) in [
        ("python", "10s", "10"),
        ("python", "1500ms", "2"),
        ("python", "1ms", "1"),
        ("python", "1m30s", "90"),
        ("java", "10s", "10000"),
        ("go", "1.5s", "1500"),
        ("other", "1us", "1"),
        ("nodejs", "2m", "120000"),
    ] {
        let spec =
            format!("{{enabled: true, language: {language}, export: {{endpoint: \"http://c\", timeout: {timeout}}}}}");
        let expected = format!("OTEL_EXPORTER_OTLP_TIMEOUT={expected}");
        assert!(env(&spec, &plain()).contains(&expected), "{language} {timeout}: {expected}");
    }
}

#[test]
fn samplers() {
    let sampler = |sampling: &str| {
        let of = |name: &str| value(name, &format!("sampling: {sampling}"), &plain());
        (of("OTEL_TRACES_SAMPLER"), of("OTEL_TRACES_SAMPLER_ARG"))
    };
    for (sampling, name, argument) in [
        ("{ratio: 1}", "parentbased_always_on", None),
        ("{ratio: 1.0}", "parentbased_always_on", None),
        ("{ratio: 0}", "parentbased_always_off", None),
        ("{ratio: 0.1}", "parentbased_traceidratio", Some("0.1")),
        ("{ratio: 1e-7}", "parentbased_traceidratio", Some("0.0000001")),
        ("{ratio: 0.30000000000000004}", "parentbased_traceidratio", Some("0.30000000000000004")),
        ("{ratio: 0.1, parentBased: true}", "parentbased_traceidratio", Some("0.1")),
        ("{ratio: 0.1, parentBased: false}", "traceidratio", Some("0.1")),
        ("{ratio: 1, parentBased: false}", "always_on", None),
        ("{ratio: 0, parentBased: false}", "always_off", None),
        ("{profile: development}", "parentbased_always_on", None),
        ("{profile: low}", "parentbased_always_on", None),
        ("{profile: medium}", "parentbased_traceidratio", Some("0.1")),
        ("{profile: high}", "parentbased_traceidratio", Some("0.01")),
        ("{profile: none}", "parentbased_always_off", None),
        ("{profile: high, parentBased: false}", "traceidratio", Some("0.01")),
    ] {
        assert_eq!(sampler(sampling), (Some(name.to_owned()), argument.map(str::to_owned)), "{sampling}");
    }
    // Nothing is said about the head: the SDK's own default holds.
    for sampling in ["{}", "{parentBased: false}", "{tail: {ratio: 0.1}}"] {
        assert_eq!(sampler(sampling), (None, None), "{sampling}");
    }
}

#[test]
fn resource_attributes_say_where_a_span_is_from() {
    for (version, kind, attribute) in [
        ("apps/v1", "Deployment", "k8s.deployment.name"),
        ("apps/v1", "StatefulSet", "k8s.statefulset.name"),
        ("apps/v1", "DaemonSet", "k8s.daemonset.name"),
        ("batch/v1", "CronJob", "k8s.cronjob.name"),
    ] {
        let object = workload_object(version, kind, "the-one", &json!({"spec": {"containers": [{"name": "app"}]}}));
        assert_eq!(attributes("", &object)[attribute], "the-one");
        assert_eq!(value("OTEL_SERVICE_NAME", "", &object).unwrap(), "the-one");
    }
}

#[test]
fn attributes_are_encoded() {
    let found = attributes(
        "service: {namespace: \"a b\", attributes: {x: \"1,2=3\", w: \"ü%\", z: \"a-._~/:Z9\", \"k,ey\": \"$(HOME)\", e: \"\"}}",
        &plain(),
    );
    assert_eq!(found["service.namespace"], "a%20b");
    assert_eq!(found["k8s.namespace.name"], "shop", "where it is, not what it is called");
    assert_eq!((found["x"].as_str(), found["w"].as_str()), ("1%2C2%3D3", "%C3%BC%25"));
    assert_eq!(
        (found["z"].as_str(), found["k%2Cey"].as_str(), found["e"].as_str()),
        ("a-._~/:Z9", "%24%28HOME%29", "")
    );
}

#[test]
fn annotations_are_weaker_than_the_policy_and_stronger_than_what_is_derived() {
    let object = deployment(
        "{annotations: {resource.opentelemetry.io/service.namespace: annotated, resource.opentelemetry.io/team: blue, \
          resource.opentelemetry.io/k8s.cluster.name: eu, resource.opentelemetry.io/: x, other/team: red, \
          resource.opentelemetry.io/service.name: named}}",
        "[{name: app}]",
    );
    let found = attributes("", &object);
    assert_eq!((found["service.namespace"].as_str(), found["team"].as_str()), ("annotated", "blue"));
    assert_eq!(found["k8s.cluster.name"], "eu");
    assert!(!found.contains_key("service.name") && !found.contains_key(""), "it has a variable of its own");
    let found = attributes("service: {namespace: policy, attributes: {team: green}}", &object);
    assert_eq!((found["service.namespace"].as_str(), found["team"].as_str()), ("policy", "green"));
}

#[test]
fn the_version_by_its_precedence() {
    let label = "labels: {app.kubernetes.io/version: v1}";
    let annotation = "annotations: {resource.opentelemetry.io/service.version: v2}";
    let object = |parts: &[&str]| deployment(&format!("{{{}}}", parts.join(", ")), "[{name: app}]");
    let version = |settings: &str, parts: &[&str]| {
        let lines = env(&format!("{{enabled: true, export: {{endpoint: \"http://c\"}}, {settings}}}"), &object(parts));
        let field = "TRACESTEWARD_SERVICE_VERSION field metadata.labels['app.kubernetes.io/version']".to_owned();
        (attributes(settings, &object(parts)).get("service.version").cloned(), lines.contains(&field))
    };
    assert_eq!(version("", &[]), (None, false));
    assert_eq!(version("", &[label]), (Some("$(TRACESTEWARD_SERVICE_VERSION)".to_owned()), true));
    assert_eq!(version("", &[label, annotation]), (Some("v2".to_owned()), false));
    assert_eq!(version("service: {version: \"3\"}", &[label, annotation]), (Some("3".to_owned()), false));
    assert_eq!(version("", &["labels: {app.kubernetes.io/version: \"\"}"]), (None, false));
}

#[test]
fn the_name_by_its_precedence() {
    let annotated = deployment("{annotations: {resource.opentelemetry.io/service.name: annotated}}", "[{name: app}]");
    let name = |settings: &str, object: &serde_json::Value| value("OTEL_SERVICE_NAME", settings, object).unwrap();
    assert_eq!(name("", &plain()), "web");
    assert_eq!(name("", &annotated), "annotated");
    assert_eq!(name("service: {name: policy}", &annotated), "policy");
    let target = "targets: [{kind: Deployment}, {kind: Deployment, name: web, serviceName: target}]";
    assert_eq!(name(&format!("service: {{name: policy}}, {target}"), &annotated), "target");
    let other = "targets: [{kind: Deployment}, {kind: Deployment, name: api, serviceName: target}]";
    assert_eq!(name(&format!("service: {{name: policy}}, {other}"), &annotated), "policy");
}

#[test]
fn the_kubelet_expands_nothing_that_users_write() {
    for (written, expected) in [
        ("http://c/$(HOME)", "http://c/$$(HOME)"),
        ("http://c/$$(A)", "http://c/$$$$(A)"),
        ("http://c/$A", "http://c/$A"),
    ] {
        let lines = env(&format!("{{enabled: true, export: {{endpoint: \"{written}\"}}}}"), &plain());
        assert_eq!(lines[0], format!("OTEL_EXPORTER_OTLP_ENDPOINT={expected}"));
    }
    assert_eq!(value("OTEL_SERVICE_NAME", "service: {name: \"a$(HOME)\"}", &plain()).unwrap(), "a$$(HOME)");
}

#[test]
fn content_is_captured_only_where_it_is_wanted() {
    for (language, capture, expected) in
        [("python", false, "false"), ("python", true, "true"), ("java", false, "false"), ("nodejs", true, "true")]
    {
        let settings = format!("language: {language}, genAi: {{captureContent: {capture}}}");
        let seen = value("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", &settings, &plain());
        assert_eq!(seen.as_deref(), Some(expected), "{settings}");
    }
}

#[test]
fn each_language_has_its_own_switches_for_log_correlation() {
    let switches = |settings: &str| {
        let spec = format!("{{enabled: true, export: {{endpoint: \"http://otel:4318\"}}, {settings}}}");
        let of_logs = |line: &String| {
            ["LOG_CORRELATION", "_MDC_", "CONTEXT_DATA", "NODE_DISABLED"].iter().any(|part| line.contains(part))
        };
        let found: Vec<_> = env(&spec, &plain()).into_iter().filter(of_logs).collect();
        found.join(" ")
    };
    let java = "OTEL_INSTRUMENTATION_LOGBACK_MDC_ENABLED=false OTEL_INSTRUMENTATION_LOG4J_CONTEXT_DATA_ENABLED=false \
                OTEL_INSTRUMENTATION_LOG4J_MDC_ENABLED=false OTEL_INSTRUMENTATION_JBOSS_LOGMANAGER_MDC_ENABLED=false";
    for (language, correlation, expected) in [
        ("python", "true", "OTEL_PYTHON_LOG_CORRELATION=true"),
        ("python", "false", "OTEL_PYTHON_LOG_CORRELATION=false"),
        ("java", "true", ""),
        ("java", "false", java),
        ("nodejs", "true", ""),
        ("nodejs", "false", ""),
        ("nodejs, instrumentation: {}", "true", ""),
        ("nodejs, instrumentation: {}", "false", "OTEL_NODE_DISABLED_INSTRUMENTATIONS=bunyan,pino,winston"),
        ("dotnet", "false", ""),
        ("other", "true", ""),
    ] {
        let settings = format!("language: {language}, logs: {{correlation: {correlation}}}");
        assert_eq!(switches(&settings), expected, "{settings}");
    }
}

#[test]
fn containers_are_all_but_known_sidecars() {
    let object = deployment("{}", "[{name: app}, {name: istio-proxy}, {name: worker}]");
    let names = |settings: &str| {
        let policy = policy("p", &format!("{{enabled: true, export: {{endpoint: \"http://c\"}}, {settings}}}"));
        let plan = plan_of(vec![policy], &object);
        plan.containers.into_iter().map(|container| container.name).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["app", "worker"]);
    assert_eq!(names("containers: []"), ["app", "worker"]);
    assert_eq!(names("containers: [worker, istio-proxy, none]"), ["istio-proxy", "worker"]);
}
