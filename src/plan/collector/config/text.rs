//! Text inside a configuration: what users write never becomes syntax.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

/// Text of the configuration. `$` is written as `$$`, so that the collector resolves nothing in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::plan::collector) struct Text(String);

/// The value of a variable of the collector's environment. Never part of a longer text: after an escaped `$${` the collector
/// would not resolve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan::collector) struct Variable(pub(in crate::plan::collector) String);

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.replace('$', "$$"))
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("${{env:{}}}", self.0))
    }
}

/// A string of OTTL. Everything that is no printable character is escaped, since YAML forbids some of them.
pub(in crate::plan::collector) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Line and paragraph separators, byte order mark, and what Unicode has left unassigned for good.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => escape(&mut quoted, character),
            character if character.is_control() => escape(&mut quoted, character),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(quoted: &mut String, character: char) {
    // Writing to a string cannot fail.
    write!(quoted, "\\u{:04x}", u32::from(character)).unwrap_or_default();
}

/// A map of OTTL, as text: keys are strings, values are OTTL.
pub(in crate::plan::collector) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{}: {value}", literal(key))).collect();
    format!("{{{}}}", entries.join(", "))
}

/// Text as a regular expression that matches nothing else (RE2).
pub(in crate::plan::collector) fn quote_regex(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_keep_every_character_and_hold_none_that_yaml_forbids() {
        assert_eq!(literal("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(literal("é\u{1f600}\u{85}\u{7f}\0\n"), "\"é\u{1f600}\\u0085\\u007f\\u0000\\n\"");
        assert_eq!(serde_json::to_string(&Text::from("$1 ${x} $$")).unwrap(), r#""$$1 $${x} $$$$""#);
        assert_eq!(serde_json::to_string(&Variable("A".into())).unwrap(), r#""${env:A}""#);
        assert_eq!(map([("k", literal("v")), ("n", "true".into())]), r#"{"k": "v", "n": true}"#);
        assert_eq!(quote_regex("a.b[$]-c"), r"a\.b\[\$\]-c");
    }
}
