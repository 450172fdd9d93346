//! Text to documents with positions: YAML as kubectl reads it, JSON, streams of either. Pure, and safe with any input:
//! every limit ends in a finding, never in a panic or an exhausted stack.

mod document;
mod file;
mod json;
mod lines;
mod scalar;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use document::{Document, repeated};
pub use file::{Excerpt, Location, SourceFile};

use crate::diagnostics::{Code, Diagnostic, FieldPath, Located, Place};
use tree::{Budget, Fault, Span};

/// The largest file that is read, in bytes (32 MiB).
pub const MAX_BYTES: usize = 32 << 20;
/// Findings about one file after which its reading ends.
const MAX_FINDINGS: usize = 1000;

/// What a text, or several, hold.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The documents, in order; those with an error are left out.
    pub documents: Vec<Document>,
    /// What cannot be read, in order.
    pub diagnostics: Vec<Located>,
}

impl Reading {
    /// Adds another reading behind this one.
    pub fn append(&mut self, mut other: Self) {
        self.documents.append(&mut other.documents);
        self.diagnostics.append(&mut other.diagnostics);
    }
}

/// Reads the documents of a file. `name` is what findings call it. Empty documents are left out.
pub fn read(name: &str, bytes: Vec<u8>) -> Reading {
    match decode(name, bytes) {
        Ok(file) => Reader::new(file).run(),
        Err(finding) => Reading { documents: Vec::new(), diagnostics: vec![*finding] },
    }
}

/// A finding about a file as a whole.
pub fn about_file(name: &str, diagnostic: Diagnostic) -> Located {
    let place = Place { file: name.to_owned(), line: None, column: None, excerpt: None };
    Located { diagnostic, place: Some(place) }
}

/// The finding about a file of more than [`MAX_BYTES`].
pub fn too_large(name: &str) -> Located {
    let detail = format!("larger than {} MiB", MAX_BYTES >> 20);
    about_file(name, Diagnostic::new(Code::TRC0005, FieldPath::root()).detail(detail))
}

fn decode(name: &str, bytes: Vec<u8>) -> Result<SourceFile, Box<Located>> {
    if bytes.len() > MAX_BYTES {
        return Err(Box::new(too_large(name)));
    }
    let refused = |detail: &str, bytes: &[u8], at: usize| {
        // Everything before the fault is text, so that its position can be named.
        let valid = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
        let (line, column) = SourceFile::new(name, valid.as_ref()).position(valid.len());
        let mut diagnostic = Diagnostic::new(Code::TRC0002, FieldPath::root()).detail(detail);
        if detail == UTF_16 {
            diagnostic = diagnostic.help("Save the file as UTF-8, for example: iconv -f UTF-16 -t UTF-8 FILE");
        }
        let mut finding = about_file(name, diagnostic);
        if let Some(place) = &mut finding.place {
            (place.line, place.column) = (Some(line), Some(column));
        }
        Box::new(finding)
    };
    if is_utf16(&bytes) {
        return Err(refused(UTF_16, &bytes, 0));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(refused("it holds zero bytes, as binary files do", &bytes, at));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err(refused("invalid bytes at this place", error.as_bytes(), at))
        }
    }
}

const UTF_16: &str = "the encoding is UTF-16";

/// By the byte order mark, or because every other of the first bytes is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(64) & !1).unwrap_or_default();
    let zero = |odd: usize| head.len() >= 4 && head.iter().skip(odd).step_by(2).all(|byte| *byte == 0);
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || (zero(0) != zero(1))
}

struct Reader {
    file: Arc<SourceFile>,
    budget: Budget,
    reading: Reading,
}

impl Reader {
    fn new(file: SourceFile) -> Self {
        Self { file: Arc::new(file), budget: Budget::default(), reading: Reading::default() }
    }

    fn run(mut self) -> Reading {
        let file = Arc::clone(&self.file);
        // The same guess as kubectl's: JSON begins with a brace.
        if file.text().trim_start().starts_with('{') {
            self.json(file.text());
        } else {
            self.yaml(file.text(), 0, None);
        }
        self.reading
    }

    fn json(&mut self, text: &str) {
        let (mut at, mut count) = (0, 0);
        while let Some(start) = json::next(text, at) {
            match json::read(text, start, &mut self.budget) {
                Ok(parsed) => {
                    (at, count) = (parsed.end, count + 1);
                    if parsed.duplicates.is_empty() {
                        document::expand(&self.file, parsed.value, parsed.node, &mut self.reading.documents);
                    } else if !self.report(&parsed.duplicates) {
                        return;
                    }
                }
                // After one object at most, kubectl takes the rest for YAML, of which a brace may be the beginning.
                Err(fault) if fault.code == Code::TRC0003 && count < 2 => {
                    let json_like = text.get(start + 1..).is_some_and(|rest| rest.trim_start().starts_with(['"', '}']));
                    let fault = (json_like && text.as_bytes().get(start) == Some(&b'{')).then_some(fault);
                    return self.yaml(text, line_start(text, at, start), fault);
                }
                Err(fault) => {
                    self.report(&[fault]);
                    return;
                }
            }
        }
    }

    /// Reads the rest of a text as YAML. `otherwise` stands for the syntax error of the first document, should it have one.
    fn yaml(&mut self, text: &str, from: usize, mut otherwise: Option<Fault>) {
        for chunk in yaml::chunks(text.get(from..).unwrap_or_default(), from) {
            let otherwise = otherwise.take();
            match yaml::read(chunk, &mut self.budget) {
                Ok(Some((value, node))) => {
                    document::expand(&self.file, value, node, &mut self.reading.documents);
                }
                Ok(None) => {}
                Err(mut faults) => {
                    let exhausted = faults.iter().any(|fault| fault.code == Code::TRC0005 && self.budget.is_spent());
                    if let (Some(better), [fault]) = (otherwise, faults.as_mut_slice())
                        && fault.code == Code::TRC0003
                    {
                        *fault = better;
                    }
                    if !self.report(&faults) || exhausted {
                        return;
                    }
                }
            }
        }
    }

    /// Whether to go on.
    fn report(&mut self, faults: &[Fault]) -> bool {
        for fault in faults {
            if self.reading.diagnostics.len() >= MAX_FINDINGS {
                let end = Fault::new(Code::TRC0005, Span::default(), format!("more than {MAX_FINDINGS} errors"));
                self.reading.diagnostics.push(self.file.located(&Fault { span: fault.span, ..end }));
                return false;
            }
            self.reading.diagnostics.push(self.file.located(fault));
        }
        true
    }
}

/// Where YAML goes on behind JSON: blanks up to the end of the line are eaten, the next line keeps its indentation.
fn line_start(text: &str, from: usize, to: usize) -> usize {
    let blanks = text.get(from..to).unwrap_or_default();
    blanks.find('\n').map_or(to, |end| from + end + 1)
}
