//! One text that was given to us, and how offsets in it become lines, columns and excerpts.

use std::ops::Range;

use super::lines::LineIndex;
use super::tree::Fault;
use crate::diagnostics::{Code, Diagnostic, FieldPath, Located, Place};

/// Characters that an excerpt shows at most.
const EXCERPT: usize = 160;
/// Characters of a line that are shown before a syntax error.
const CONTEXT: usize = 80;

/// A text with its name. A byte order mark at its beginning is not part of it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    lines: LineIndex,
    secretive: bool,
}

/// Where something stands in a [`SourceFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, in bytes of the text, where it is an entry of a mapping.
    pub key: Option<Range<usize>>,
    /// The value, in bytes of the text.
    pub value: Range<usize>,
    /// Whether the value is a mapping or a list.
    pub collection: bool,
}

/// The piece of a line that a finding is about: never more than the field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, from 1.
    pub line_number: usize,
    /// The piece itself, at most 160 characters. It may hold control characters of the input.
    pub text: String,
    /// Which column of the line the piece begins at, in characters, from 1.
    pub column: usize,
    /// Where in the piece the fault begins, in characters, from 0.
    pub start: usize,
    /// How many characters of the piece are at fault; at least 1.
    pub length: usize,
}

impl SourceFile {
    /// A text under a name, such as its path or `<stdin>`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let lines = LineIndex::new(&text);
        let secretive = mentions_secret(&text);
        Self { name: name.into(), text, lines, secretive }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a Secret may be in the text: then excerpts show fields only, and of collections the key only.
    pub fn is_secretive(&self) -> bool {
        self.secretive
    }

    pub(super) fn locate(&self, key: Option<Range<usize>>, value: Range<usize>, collection: bool) -> Location {
        let (line, column) = self.position(key.as_ref().unwrap_or(&value).start);
        Location { line, column, key, value, collection }
    }

    /// The line and the column of a byte offset, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        (self.lines.line(offset) + 1, self.lines.column(&self.text, offset) + 1)
    }

    /// The piece of the line from the beginning of the key to the end of the value, or of the line. `None` where nothing
    /// can be shown without showing more than the field.
    pub fn excerpt(&self, location: &Location) -> Option<Excerpt> {
        let start = location.key.as_ref().unwrap_or(&location.value).start;
        let line = self.lines.line(start);
        let end_of_line = self.lines.end(&self.text, line);
        let mut end = if location.value.start <= end_of_line { location.value.end } else { end_of_line };
        if self.secretive && location.collection {
            end = location.key.as_ref()?.end;
        }
        let text = self.text.get(start..end.min(end_of_line))?.trim_end();
        let text: String = text.chars().take(EXCERPT).collect();
        if text.is_empty() {
            return None;
        }
        let length = text.chars().count();
        Some(Excerpt { line_number: location.line, text, column: location.column, start: 0, length })
    }

    /// The surroundings of a place where the text cannot be read.
    fn surroundings(&self, at: usize) -> Option<Excerpt> {
        if self.secretive {
            return None;
        }
        let (line, column) = self.position(at);
        let text = self.text.get(self.lines.start(line - 1)..self.lines.end(&self.text, line - 1))?;
        let skipped = column.saturating_sub(CONTEXT + 1);
        let text: String = text.chars().skip(skipped).take(EXCERPT).collect();
        let start = (column - 1 - skipped).min(text.chars().count());
        (!text.is_empty()).then_some(Excerpt { line_number: line, text, column: skipped + 1, start, length: 1 })
    }

    /// A fault of reading as a finding.
    pub(super) fn located(&self, fault: &Fault) -> Located {
        let Range { start, end } = fault.span.range();
        let (line, column) = self.position(start);
        let excerpt = match fault.code {
            Code::TRC0003 => self.surroundings(start),
            Code::TRC0004 if !self.secretive => self.excerpt(&self.locate(None, start..end, false)),
            _ => None,
        };
        let place = Place { file: self.name.clone(), line: Some(line), column: Some(column), excerpt };
        let diagnostic = Diagnostic::new(fault.code, FieldPath::root()).detail(&fault.detail);
        Located { diagnostic, place: Some(place) }
    }
}

/// Whether the word `Secret` or `SecretList` stands anywhere, or could be hidden in an escape. `headersSecretRef` and
/// the like are other words.
fn mentions_secret(text: &str) -> bool {
    let word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let whole = text.match_indices("Secret").any(|(at, found)| {
        let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at).copied());
        let rest = text.get(at + found.len()..).unwrap_or_default();
        let rest = rest.strip_prefix("List").unwrap_or(rest);
        !word(before) && !word(rest.bytes().next())
    });
    // "S\u0065cret", or a double-quoted scalar with an escaped line break in it.
    whole || text.contains("\\u") || text.contains("\\U") || text.contains("\\x") || text.contains("\\\n")
}
