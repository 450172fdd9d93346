//! Findings as text. Pure: what is written where is the caller's.

mod compact;
mod github;
mod json;
mod junit;
mod pretty;
mod sarif;

#[cfg(test)]
mod tests;

pub use compact::compact;
pub use github::github;
pub use json::json;
pub use junit::junit;
pub use pretty::pretty;
pub use sarif::sarif;

use std::{cmp::Ordering, fmt::Write as _};

use super::source::Excerpt;
use super::{Diagnostic, Severity};

/// A finding and the place in a file that it is about, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The finding.
    pub diagnostic: Diagnostic,
    /// Where; `None` for objects that come from no file.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The piece of text at fault, where it may be shown.
    pub excerpt: Option<Excerpt>,
}

impl From<Diagnostic> for Located {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, place: None }
    }
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Findings of severity error.
    pub errors: usize,
    /// Findings of severity warning.
    pub warnings: usize,
    /// Objects that were looked at.
    pub objects: usize,
}

impl Summary {
    /// Counts findings about this many objects.
    pub fn of(findings: &[Located], objects: usize) -> Self {
        let count = |severity| findings.iter().filter(|found| found.diagnostic.severity() == severity).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning), objects }
    }
}

/// Puts findings in the order in which they are shown: file, line, column, code, and what remains.
pub fn sort(findings: &mut [Located]) {
    findings.sort_by(order);
}

fn order(one: &Located, other: &Located) -> Ordering {
    position(one).cmp(&position(other)).then_with(|| one.diagnostic.cmp(&other.diagnostic))
}

fn position(found: &Located) -> Option<(&str, Option<usize>, Option<usize>)> {
    found.place.as_ref().map(|place| (place.file.as_str(), place.line, place.column))
}

/// Findings in order, whatever order they came in.
fn sorted(findings: &[Located]) -> Vec<&Located> {
    let mut sorted: Vec<&Located> = findings.iter().collect();
    sorted.sort_by(|one, other| order(one, other));
    sorted
}

/// Which field of which object, as `kubectl` would name them; `between` stands between object and field.
fn about(diagnostic: &Diagnostic, between: &str) -> Option<String> {
    let path = diagnostic.path.to_string();
    let object = diagnostic.object.as_ref().map(|object| match object.namespace.as_str() {
        "" => format!("{} {}", object.kind, object.name).trim_end().to_owned(),
        namespace => format!("{} {namespace}/{}", object.kind, object.name),
    });
    let about = match (object, path.as_str()) {
        (None, "") => return None,
        (None, path) => path.to_owned(),
        (Some(object), "") => object,
        (Some(object), path) => format!("{object}{between}{path}"),
    };
    Some(visible(&about))
}

/// JSON needs no escape for DEL and what lies above ASCII; a terminal on which it is printed does.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                write!(escaped, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a terminal could take the character for a command, or show the text around it in another order.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}

/// The text with every unsafe character replaced by a picture of it: one for one, so that columns stay.
pub(crate) fn visible(text: &str) -> String {
    let picture = |character: char| match character {
        '\t' => ' ',
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        character if is_unsafe(character) => '\u{fffd}',
        character => character,
    };
    text.chars().map(picture).collect()
}
