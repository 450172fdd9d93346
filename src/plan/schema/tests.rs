use serde_json::json;

use super::*;

fn schema() -> JSONSchemaProps {
    let schema = json!({
        "type": "object",
        "required": ["spec", "metadata"],
        "properties": {
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["enabled", "priority"],
                "properties": {
                    "enabled": {"type": "boolean"},
                    "export": {"type": "object", "properties": {"endpoint": {"type": "string", "minLength": 3, "maxLength": 5}}},
                    "priority": {"type": "integer", "format": "int32", "default": 0},
                    "count": {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 10},
                    "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1},
                    "language": {"type": "string", "enum": ["python", "java", "nodejs", "other"]},
                    "nullable": {"type": "string", "nullable": true},
                    "port": {"x-kubernetes-int-or-string": true},
                    "list": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
                    "free": {"x-kubernetes-preserve-unknown-fields": true},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}
                }
            }
        }
    });
    serde_json::from_value(schema).unwrap()
}

/// `CODE path: detail` of each finding for this spec, which is given what is required.
fn spec(mut spec: Value) -> Vec<String> {
    let fields = spec.as_object_mut().unwrap();
    fields.entry("enabled").or_insert(json!(true));
    object(&json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"whatever": 1}, "spec": spec}))
}

fn object(value: &Value) -> Vec<String> {
    let line = |found: Diagnostic| {
        let detail = found.message.strip_prefix(found.code.message()).unwrap().to_owned();
        format!("{} {}{detail}", found.code, found.path)
    };
    check(&schema(), value).into_iter().map(line).collect()
}

#[test]
fn a_good_object_has_no_findings() {
    let good = json!({
        "export": {"endpoint": "é234"}, "priority": 1, "count": 10, "ratio": 1, "language": "java", "nullable": null, "port": 1,
        "list": ["a", "b"], "map": {"k": "v"}, "any": {"b": {"c": [1]}, "a": "x"}, "free": [1, {"a": null}],
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}
    });
    assert_eq!(spec(good), [""; 0]);
    assert_eq!(spec(json!({"port": "http", "count": 2.0, "ratio": 0.5})), [""; 0]);
}

#[test]
fn unknown_fields_are_named_with_the_nearest_known_one() {
    assert_eq!(
        spec(json!({"exprot": {"x": 1}, "export": {"Endpoint": "abc"}, "zzz": null})),
        [
            r#"TRC0111 spec.exprot: "exprot", did you mean "export"?"#,
            r#"TRC0111 spec.export.Endpoint: "Endpoint", did you mean "endpoint"?"#,
            r#"TRC0111 spec.zzz: "zzz""#,
        ]
    );
    let help = |value: Value| check(&schema(), &json!({"metadata": {}, "spec": value}))[0].help.clone();
    assert_eq!(help(json!({"enabled": true, "export": {"enpoint": ""}})), "Write endpoint; known here: endpoint.");
    assert!(help(json!({"enabled": true, "zzz": 1})).starts_with("Remove the field; known here: any, "));
    assert_eq!(
        object(&json!({"metadata": {}, "spec": {"enabled": true}, "sepc": 1})),
        [r#"TRC0111 sepc: "sepc", did you mean "spec"?"#]
    );
    assert_eq!(spec(json!({"template": {"metadata": {}, "status": 1}})), [r#"TRC0111 spec.template.status: "status""#]);
    assert_eq!(spec(json!({"list": [], "any": {"a": 1}})).len(), 2);
}

#[test]
fn wrong_types_say_what_was_expected_and_what_found() {
    assert_eq!(
        spec(json!({
            "enabled": "yes", "export": [], "priority": 1.5, "ratio": "1", "language": true, "port": 1.5, "list": {}, "map": {"a.b/c": 1}
        })),
        [
            r#"TRC0112 spec.enabled: expected boolean, found string "yes""#,
            "TRC0112 spec.export: expected object, found array",
            "TRC0112 spec.priority: expected integer, found number 1.5",
            r#"TRC0112 spec.ratio: expected number, found string "1""#,
            "TRC0112 spec.language: expected string, found boolean true",
            "TRC0112 spec.port: expected integer or string, found number 1.5",
            "TRC0112 spec.list: expected array, found object",
            "TRC0112 spec.map[a.b/c]: expected string, found integer 1",
        ]
    );
    let long = spec(json!({"enabled": "é".repeat(1000)}));
    assert_eq!(long, [format!("TRC0112 spec.enabled: expected boolean, found string \"{}\"…", "é".repeat(60))]);
    assert_eq!(object(&json!("x")), [r#"TRC0112 : expected object, found string "x""#]);
}

#[test]
fn nulls_are_absent_in_objects_and_wrong_in_lists() {
    assert_eq!(
        spec(json!({"language": null, "export": {"endpoint": null}, "map": {"k": null}, "priority": null})),
        [""; 0]
    );
    assert_eq!(spec(json!({"enabled": null})), ["TRC0114 spec.enabled: enabled"]);
    assert_eq!(spec(json!({"list": ["a", null]})), ["TRC0112 spec.list[1]: expected string, found null"]);
    assert_eq!(object(&json!({"spec": null})), ["TRC0114 spec: spec"]);
}

#[test]
fn enums_list_what_is_supported() {
    let found = r#"TRC0113 spec.language: string "pyhton"; supported: python, other, java, nodejs"#;
    assert_eq!(spec(json!({"language": "pyhton"})), [found]);
    let help = check(&schema(), &json!({"spec": {"enabled": true, "language": "Java"}}))[0].help.clone();
    assert_eq!(help, "Did you mean java?");
}

#[test]
fn limits_hold() {
    assert_eq!(
        spec(json!({"export": {"endpoint": "éé"}, "count": 0, "ratio": 0, "list": [], "priority": 3_000_000_000_u32})),
        [
            "TRC0115 spec.export.endpoint: 2 characters, at least 3 are needed",
            "TRC0115 spec.count: 0 must be at least 1",
            "TRC0115 spec.ratio: 0 must be greater than 0",
            "TRC0115 spec.list: 0 items, at least 1 are needed",
            "TRC0115 spec.priority: 3000000000 does not fit int32",
        ]
    );
    assert_eq!(
        spec(
            json!({"export": {"endpoint": "123456"}, "count": 11, "ratio": 1.5, "list": ["", "", ""], "map": {"a": "", "b": "", "c": ""}})
        ),
        [
            "TRC0115 spec.export.endpoint: 6 characters, at most 5 are allowed",
            "TRC0115 spec.count: 11 must be at most 10",
            "TRC0115 spec.ratio: 1.5 must be at most 1",
            "TRC0115 spec.list: 3 items, at most 2 are allowed",
            "TRC0115 spec.map: 3 entries, at most 2 are allowed",
        ]
    );
    assert_eq!(spec(json!({"count": -1})), ["TRC0115 spec.count: -1 does not fit uint32"]);
}
