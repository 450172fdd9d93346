//! YAML as kubectl reads it: cut at `---` lines first, then one document at a time.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::Value;

use super::scalar::resolve;
use super::tree::{Budget, Builder, Fault, MAX_DEPTH, Node, Span};
use crate::diagnostics::Code;

/// The prefix of the tags that YAML itself defines.
const CORE: &str = "tag:yaml.org,2002:";

/// A piece of a stream between two `---` lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'t> {
    pub(super) text: &'t str,
    /// Where in the file the piece begins, in bytes.
    pub(super) offset: usize,
    /// What follows `---` on the line above, where that is more than a comment.
    pub(super) trailing: Option<Span>,
}

/// Cuts a stream at every line that begins with `---`. Pieces without content are left out.
pub(super) fn chunks(text: &str, offset: usize) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = Some((text, offset, None));
    std::iter::from_fn(move || {
        let (text, offset, trailing) = rest.take()?;
        let chunk = match separator(text) {
            None => Chunk { text, offset, trailing },
            Some((before, line)) => {
                let after = before + line.len();
                rest = text.get(after..).map(|next| (next, offset + after, refused(line, offset + before)));
                Chunk { text: text.get(..before).unwrap_or_default(), offset, trailing }
            }
        };
        Some(chunk)
    })
    .filter(|chunk| chunk.trailing.is_some() || has_content(chunk.text))
}

/// The next line that begins with `---`: where it begins, and the line with its end.
fn separator(text: &str) -> Option<(usize, &str)> {
    let start = if text.starts_with("---") { 0 } else { text.find("\n---")? + 1 };
    let rest = text.get(start..)?;
    let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
    Some((start, rest.get(..length)?))
}

/// kubectl allows nothing but a comment behind `---`.
fn refused(line: &str, offset: usize) -> Option<Span> {
    let trailing = line.get(3..)?.trim();
    (!trailing.is_empty() && !trailing.starts_with('#')).then(|| Span::new(offset, offset + line.trim_end().len()))
}

fn has_content(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A tab in front of the first content of a piece: the parser passes over it, kubectl does not.
fn tab(chunk: Chunk<'_>) -> Option<Span> {
    let blank = |line: &&str| line.trim().is_empty() || line.starts_with('#');
    let before: usize = chunk.text.split_inclusive('\n').take_while(blank).map(str::len).sum();
    let at = chunk.offset + before;
    chunk.text.get(before..)?.starts_with('\t').then(|| Span::new(at, at))
}

/// Reads the one document of a piece. `None` is an empty document.
///
/// # Errors
/// The first fault that ends the reading, or all duplicate keys.
pub(super) fn read(chunk: Chunk<'_>, budget: &mut Budget) -> Result<Option<(Value, Node)>, Vec<Fault>> {
    if let Some(span) = chunk.trailing {
        return Err(vec![Fault::new(Code::TRC0003, span, "only a comment may follow `---` on its line")]);
    }
    if let Some(span) = tab(chunk) {
        return Err(vec![Fault::new(Code::TRC0003, span, "a tab cannot indent")]);
    }
    let mut loader = Loader {
        chunk,
        builder: Builder::new(budget),
        recorded: Vec::new(),
        recording: chunk.text.contains('&'),
        anchors: HashMap::new(),
        open: Vec::new(),
    };
    loader.run().map_err(|fault| vec![fault])?;
    let duplicates = std::mem::take(&mut loader.builder.duplicates);
    if !duplicates.is_empty() {
        return Err(duplicates);
    }
    Ok(loader.builder.finish().filter(|(value, _)| !value.is_null()))
}

/// One step of a document, small enough to be kept where an alias may repeat it.
#[derive(Clone, Debug)]
enum Step<'t> {
    Scalar { text: Cow<'t, str>, plain: bool, tag: Option<Box<str>>, span: Span },
    List(usize),
    Map(usize),
    End(usize),
    Alias(usize, Span),
}

struct Loader<'t, 'b> {
    chunk: Chunk<'t>,
    builder: Builder<'b>,
    recorded: Vec<Step<'t>>,
    recording: bool,
    /// Which recorded steps an anchor stands for; `None` while its value is still open.
    anchors: HashMap<usize, Option<std::ops::Range<usize>>>,
    /// The open collections: the anchor of each (0 for none) and where its steps begin.
    open: Vec<(usize, usize)>,
}

impl<'t> Loader<'t, '_> {
    fn run(&mut self) -> Result<(), Fault> {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        // One more than allowed: the builder words the refusal.
        options.flow_nesting_limit = MAX_DEPTH + 1;
        options.block_nesting_limit = MAX_DEPTH + 1;
        let mut documents = 0;
        for next in Parser::new_from_str_with_options(self.chunk.text, options) {
            let (event, span) = next.map_err(|error| self.scan_fault(&error))?;
            let span = self.span(span.start, span.end);
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents > 1 {
                    let detail = "kubectl ignores what follows `...`: separate documents by `---`";
                    return Err(Fault::new(Code::TRC0003, span, detail));
                }
            }
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'t>, span: Span) -> Result<(), Fault> {
        let at = span.start as usize;
        let (anchor, step) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.trimmed(span, style);
                let plain = style == ScalarStyle::Plain;
                (anchor, Step::Scalar { text, plain, tag: tag.map(|tag| core_tag(&tag)), span })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, Step::List(at)),
            Event::MappingStart(_, anchor, _) => (anchor, Step::Map(at)),
            Event::SequenceEnd | Event::MappingEnd => (0, Step::End(span.end as usize)),
            Event::Alias(anchor) => (0, Step::Alias(anchor, span)),
            _ => return Ok(()),
        };
        if self.recording {
            self.record(anchor, &step);
        }
        match step {
            Step::Alias(anchor, span) => self.repeat(anchor, span),
            step => self.feed(step),
        }
    }

    fn record(&mut self, anchor: usize, step: &Step<'t>) {
        let at = self.recorded.len();
        self.recorded.push(step.clone());
        match step {
            Step::Scalar { .. } if anchor > 0 => {
                self.anchors.insert(anchor, Some(at..at + 1));
            }
            Step::List(_) | Step::Map(_) => {
                if anchor > 0 {
                    self.anchors.insert(anchor, None);
                }
                self.open.push((anchor, at));
            }
            Step::End(_) => {
                if let Some((anchor, start)) = self.open.pop().filter(|(anchor, _)| *anchor > 0) {
                    self.anchors.insert(anchor, Some(start..at + 1));
                }
            }
            _ => {}
        }
    }

    fn feed(&mut self, step: Step<'t>) -> Result<(), Fault> {
        match step {
            Step::Scalar { text, plain, tag, span } => self.scalar(&text, plain, tag.as_deref(), span),
            Step::List(at) => self.builder.open_list(at),
            Step::Map(at) => self.builder.open_map(at),
            Step::End(at) => self.builder.close(at),
            Step::Alias(..) => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&str>, span: Span) -> Result<(), Fault> {
        let fault = |words| Fault::new(Code::TRC0003, span, words);
        if !self.builder.expects_key() {
            let value = resolve(text, plain, tag).and_then(super::scalar::Scalar::to_value).map_err(fault)?;
            return self.builder.scalar(value, span);
        }
        if text == "<<" && ((plain && tag.is_none()) || tag == Some("merge")) {
            self.builder.merge_key(span);
        } else {
            let key = resolve(text, plain, tag).and_then(super::scalar::Scalar::to_key).map_err(fault)?;
            self.builder.key(key, span);
        }
        Ok(())
    }

    /// Feeds what an anchor stands for once more. Aliases nest without limit, so this keeps its own stack.
    fn repeat(&mut self, anchor: usize, span: Span) -> Result<(), Fault> {
        let first = self.target(anchor, span)?;
        let mut ranges = vec![first];
        while let Some(range) = ranges.last_mut() {
            let Some(at) = range.next() else {
                ranges.pop();
                continue;
            };
            let Some(step) = self.recorded.get(at).cloned() else { continue };
            let bytes = if let Step::Scalar { text, .. } = &step { text.len() } else { 0 };
            self.builder.budget().expand(bytes, span)?;
            match step {
                Step::Alias(anchor, inner) => ranges.push(self.target(anchor, inner)?),
                step => self.feed(step)?,
            }
        }
        Ok(())
    }

    fn target(&mut self, anchor: usize, span: Span) -> Result<std::ops::Range<usize>, Fault> {
        let Some(range) = self.anchors.get(&anchor).cloned().flatten() else {
            return Err(Fault::new(Code::TRC0003, span, "the value of the anchor contains itself"));
        };
        if self.builder.expects_merge() && !matches!(self.recorded.get(range.start), Some(Step::Map(_))) {
            return Err(Fault::new(Code::TRC0003, span, "`<<` needs a mapping or a list of mappings"));
        }
        if !self.builder.expects_key() {
            self.builder.alias(span);
        }
        Ok(range)
    }

    fn scan_fault(&self, error: &granit_parser::ScanError) -> Fault {
        let span = self.span(*error.marker(), *error.marker());
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return Fault::new(Code::TRC0005, span, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        // The character may be the first of a password.
        if matches!(error.kind(), ErrorKind::UnexpectedCharacter { .. }) {
            return Fault::new(Code::TRC0003, span, "this character cannot begin a value: put the text in quotes");
        }
        Fault::new(Code::TRC0003, span, error.info())
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let offset = |marker: Marker| {
            self.chunk.offset + marker.byte_offset().unwrap_or_else(|| marker.index()).min(self.chunk.text.len())
        };
        Span::new(offset(start), offset(end))
    }

    /// A quoted scalar without the blanks and the comment behind it, which the parser counts in.
    fn trimmed(&self, span: Span, style: ScalarStyle) -> Span {
        let Some(text) = self.chunk.text.get(span.start as usize - self.chunk.offset..) else { return span };
        let length = match style {
            ScalarStyle::SingleQuoted => single_quoted(text),
            ScalarStyle::DoubleQuoted => double_quoted(text),
            _ => None,
        };
        length.map_or(span, |length| Span::new(span.start as usize, span.start as usize + length))
    }
}

fn core_tag(tag: &Tag) -> Box<str> {
    let (handle, suffix) = tag.parts();
    let full = format!("{handle}{suffix}");
    full.strip_prefix(CORE).unwrap_or_default().into()
}

/// The length of a single-quoted scalar with its quotes.
fn single_quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\'' && bytes.next_if(|(_, next)| *next == b'\'').is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The length of a double-quoted scalar with its quotes.
pub(super) fn double_quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
