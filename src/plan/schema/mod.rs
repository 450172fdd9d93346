//! What the API server's structural schema, with strict field validation, answers to an object.
//!
//! Not checked here: `pattern`, `allOf`, `anyOf`, `oneOf`, `not`, formats of strings, and CEL rules.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

use crate::diagnostics::{Code, Diagnostic, FieldPath, Segment};

/// Fields of every object that its schema does not have to name.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// Fields that refer to a Secret, or in whose place a credential may have been written.
const SECRETIVE: [&str; 3] = ["headersSecretRef", "secretKeyRef", "headers"];
/// Names that a help text lists at most.
const LISTED: usize = 20;

/// Everything in `value` that the API server would refuse by this schema: fields in the order of the value, then what is
/// missing. `apiVersion`, `kind` and `metadata` at the root are left alone.
pub fn check(schema: &JSONSchemaProps, value: &Value) -> Vec<Diagnostic> {
    let mut check = Check { findings: Vec::new() };
    check.value(schema, value, &FieldPath::root());
    check.findings
}

struct Check {
    findings: Vec<Diagnostic>,
}

impl Check {
    fn report(&mut self, code: Code, path: &FieldPath, detail: impl AsRef<str>, help: Option<String>) {
        let finding = Diagnostic::new(code, path.clone()).detail(detail);
        self.findings.push(match help {
            Some(help) => finding.help(help),
            None => finding,
        });
    }

    fn value(&mut self, schema: &JSONSchemaProps, value: &Value, path: &FieldPath) {
        if value.is_null() && schema.nullable == Some(true) {
            return;
        }
        if let Some(expected) = mismatch(schema, value) {
            let detail = format!("expected {expected}, found {}", describe(value, path));
            return self.report(Code::TRC0112, path, detail, type_help(expected, value));
        }
        self.enumeration(schema, value, path);
        match value {
            Value::Object(map) => self.object(schema, map, path),
            Value::Array(items) => self.list(schema, items, path),
            Value::String(text) => self.length(schema, text, path),
            Value::Number(number) => self.number(schema, number, path),
            _ => {}
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, map: &Map<String, Value>, path: &FieldPath) {
        let root = path.segments().is_empty();
        for (name, value) in map {
            if root && META.contains(&name.as_str()) {
                continue;
            }
            let known = schema.properties.as_ref().and_then(|properties| properties.get(name));
            let (below, schema) = match (known, additional(schema)) {
                (Some(known), _) => (path.field(name), known),
                (None, Additional::Schema(schema)) => (path.key(name), schema),
                (None, Additional::Anything) => continue,
                (None, Additional::Nothing) if is_embedded(schema) && META.contains(&name.as_str()) => continue,
                (None, Additional::Nothing) => {
                    self.unknown(schema, name, path);
                    continue;
                }
            };
            // The API server drops such a null before it validates, or puts the default in its place.
            if !value.is_null() || schema.nullable == Some(true) {
                self.value(schema, value, &below);
            }
        }
        self.missing(schema, map, path);
        let count = i64::try_from(map.len()).unwrap_or(i64::MAX);
        self.limits(path, "entries", count, schema.min_properties, schema.max_properties);
    }

    fn unknown(&mut self, schema: &JSONSchemaProps, name: &str, path: &FieldPath) {
        let known = schema.properties.iter().flatten().map(|(name, _)| name.as_str());
        let known = nearest_first(name, known.filter(|known| !path.segments().is_empty() || !META.contains(known)));
        let near = known.first().copied().filter(|known| is_near(name, known));
        let quoted = describe(&Value::from(name), path);
        let quoted = quoted.strip_prefix("string ").unwrap_or(&quoted);
        let (detail, advice) = match near {
            Some(near) => (format!("{quoted}, did you mean \"{near}\"?"), format!("Write {near}")),
            None => (quoted.to_owned(), "Remove the field".to_owned()),
        };
        let list = if known.is_empty() { String::new() } else { format!("; known here: {}", listed(&known)) };
        self.report(Code::TRC0111, &path.field(name), detail, Some(format!("{advice}{list}.")));
    }

    fn missing(&mut self, schema: &JSONSchemaProps, map: &Map<String, Value>, path: &FieldPath) {
        for name in schema.required.iter().flatten() {
            if path.segments().is_empty() && META.contains(&name.as_str()) {
                continue;
            }
            let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
            let nullable = property.is_some_and(|property| property.nullable == Some(true));
            let defaulted = property.is_some_and(|property| property.default.is_some());
            let present = map.get(name).is_some_and(|value| !value.is_null() || nullable);
            if !present && !defaulted {
                let help = format!("Add {}.", path.field(name));
                self.report(Code::TRC0114, &path.field(name), name, Some(help));
            }
        }
    }

    fn list(&mut self, schema: &JSONSchemaProps, items: &[Value], path: &FieldPath) {
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            for (index, value) in items.iter().enumerate() {
                self.value(item, value, &path.index(index));
            }
        }
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        self.limits(path, "items", count, schema.min_items, schema.max_items);
    }

    fn enumeration(&mut self, schema: &JSONSchemaProps, value: &Value, path: &FieldPath) {
        let Some(allowed) = schema.enum_.as_ref().filter(|allowed| !allowed.iter().any(|json| json.0 == *value)) else {
            return;
        };
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let names: Vec<String> = allowed.iter().map(|json| plain(&json.0)).collect();
        let names = nearest_first(&plain(value), names.iter().map(String::as_str));
        let detail = format!("{}; supported: {}", describe(value, path), listed(&names));
        let near = names.first().filter(|name| is_near(&plain(value), name));
        self.report(Code::TRC0113, path, detail, near.map(|name| format!("Did you mean {name}?")));
    }

    fn length(&mut self, schema: &JSONSchemaProps, text: &str, path: &FieldPath) {
        let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        self.limits(path, "characters", count, schema.min_length, schema.max_length);
    }

    fn limits(&mut self, path: &FieldPath, unit: &str, count: i64, min: Option<i64>, max: Option<i64>) {
        if let Some(min) = min.filter(|min| count < *min) {
            self.report(Code::TRC0115, path, format!("{count} {unit}, at least {min} are needed"), None);
        }
        if let Some(max) = max.filter(|max| count > *max) {
            self.report(Code::TRC0115, path, format!("{count} {unit}, at most {max} are allowed"), None);
        }
    }

    fn number(&mut self, schema: &JSONSchemaProps, number: &serde_json::Number, path: &FieldPath) {
        let Some(value) = number.as_f64() else { return };
        let (low, high) = format_range(schema.format.as_deref().unwrap_or_default());
        if value < low || value > high {
            let format = schema.format.as_deref().unwrap_or_default();
            return self.report(Code::TRC0115, path, format!("{number} does not fit {format}"), None);
        }
        let exclusive = |flag: Option<bool>| flag == Some(true);
        if let Some(min) = schema.minimum {
            let open = exclusive(schema.exclusive_minimum);
            if value < min || (open && value <= min) {
                let words = if open { "must be greater than" } else { "must be at least" };
                self.report(Code::TRC0115, path, format!("{number} {words} {min}"), None);
            }
        }
        if let Some(max) = schema.maximum {
            let open = exclusive(schema.exclusive_maximum);
            if value > max || (open && value >= max) {
                let words = if open { "must be less than" } else { "must be at most" };
                self.report(Code::TRC0115, path, format!("{number} {words} {max}"), None);
            }
        }
    }
}

/// What an object may hold beside the fields that its schema names.
enum Additional<'s> {
    Schema(&'s JSONSchemaProps),
    Anything,
    Nothing,
}

fn additional(schema: &JSONSchemaProps) -> Additional<'_> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Additional::Schema(schema),
        Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Anything,
        _ if schema.x_kubernetes_preserve_unknown_fields == Some(true) => Additional::Anything,
        _ => Additional::Nothing,
    }
}

fn is_embedded(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_embedded_resource == Some(true)
}

/// What the schema wants, where the value is something else.
fn mismatch<'s>(schema: &'s JSONSchemaProps, value: &Value) -> Option<&'s str> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return (!value.is_string() && !is_integer(value)).then_some("integer or string");
    }
    let expected = schema.type_.as_deref().filter(|expected| !expected.is_empty())?;
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => is_integer(value),
        _ => true,
    };
    (!fits).then_some(expected)
}

/// Also 1.0: kube-openapi accepts a float without a fraction, and kubectl sends it as 1 anyway.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The range of an integer format, as kube-openapi has it.
fn format_range(format: &str) -> (f64, f64) {
    match format {
        "int32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
        "uint32" => (0.0, f64::from(u32::MAX)),
        "uint64" => (0.0, f64::INFINITY),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// A value by its type, scalars with their content, cut at 60 characters.
///
/// What stands where a Secret is referred to may be a credential in the wrong place: its text is not repeated.
fn describe(value: &Value, path: &FieldPath) -> String {
    let is_about_secret = |step: &Segment| matches!(step, Segment::Field(name) if SECRETIVE.contains(&name.as_str()));
    let secret = path.segments().iter().any(is_about_secret);
    let kind = match value {
        Value::String(_) if secret => return "string".to_owned(),
        Value::Null => return "null".to_owned(),
        Value::Object(_) => return "object".to_owned(),
        Value::Array(_) => return "array".to_owned(),
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    let text = match value {
        // Only what will be shown is quoted: the text may be megabytes.
        Value::String(text) if text.chars().nth(60).is_some() => {
            let cut: String = text.chars().take(60).collect();
            format!("{}…", Value::from(cut))
        }
        value => value.to_string(),
    };
    format!("{kind} {text}")
}

fn type_help(expected: &str, value: &Value) -> Option<String> {
    match (expected, value) {
        ("string", Value::Bool(_) | Value::Number(_)) => {
            Some("Put the value in quotes: YAML reads yes, no, on, off and numbers as other types.".to_owned())
        }
        ("boolean", Value::String(_)) => Some("Write true or false, without quotes.".to_owned()),
        ("integer" | "number", Value::String(_)) => Some("Write the number without quotes.".to_owned()),
        ("array", _) => Some("Write a list: each item on a line of its own behind `- `.".to_owned()),
        _ => None,
    }
}

/// Names by their distance from a word, then alphabetically.
fn nearest_first<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_by_cached_key(|name| (distance(word, name), *name));
    names
}

fn listed(names: &[&str]) -> String {
    let mut list = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        list.push_str(", …");
    }
    list
}

/// Typing errors count, capitals do not. Words that are too long to be a name are far from every name.
fn distance(word: &str, name: &str) -> usize {
    if word.len() > 100 {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase())
}

fn is_near(word: &str, name: &str) -> bool {
    distance(word, name) <= (name.chars().count() / 3).clamp(1, 3)
}

#[cfg(test)]
mod tests;
