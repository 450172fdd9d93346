//! From the bytes of a recording to spans: which format it is, and where each of its parts begins and ends.
//!
//! Bytes are pushed in as they come, so that no more than one line, message or document is held. Whoever reads the file
//! undoes its compression first.

mod format;
mod jaeger;
mod json;
mod protobuf;
mod spans;

#[cfg(test)]
mod tests;

use format::Format;
pub use spans::{Attribute, Batch, Scope, Span, Value};

/// The most bytes that one line, message or document may have.
pub const MAX_BYTES: usize = 256 << 20;

/// A part of a recording that cannot be read. It says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line, or the number of the message, from 1.
    pub at: u64,
    /// What `at` counts: `line` or `message`.
    pub unit: &'static str,
    /// What is wrong.
    pub why: String,
    /// Whether nothing that comes after it in the recording can be read.
    pub is_last: bool,
}

/// Undoes the compression of a message, where it has any; what is wrong with it else.
pub type Unpack = fn(&[u8]) -> Result<Option<Vec<u8>>, String>;

/// Takes what is read.
pub trait Sink {
    /// Spans.
    fn batches(&mut self, batches: &[Batch<'_>]);

    /// What cannot be read; the rest is read unless this says `false`.
    fn malformed(&mut self, malformed: Malformed) -> bool;
}

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer has no end of a line that was not seen.
    searched: usize,
    format: Option<Format>,
    /// Lines or messages so far.
    count: u64,
    unpack: Unpack,
    /// The most bytes of a part.
    limit: usize,
    /// The line that is being read is too long.
    is_skipping: bool,
    stopped: bool,
}

/// How much of a recording says which format it is, where its first line ends in it.
const BEGINNING: usize = 64 << 10;

impl Reader {
    /// A recording whose messages may be compressed one by one.
    pub fn new(unpack: Unpack) -> Self {
        Self {
            buffer: Vec::new(),
            searched: 0,
            format: None,
            count: 0,
            unpack,
            limit: MAX_BYTES,
            is_skipping: false,
            stopped: false,
        }
    }

    /// Reads on. `false` where nothing more is wanted.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> bool {
        let mut bytes = bytes;
        if self.is_skipping {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return true };
            bytes = bytes.get(end + 1..).unwrap_or_default();
            self.is_skipping = false;
        }
        self.buffer.extend_from_slice(bytes);
        self.read(false, sink);
        if !self.stopped && self.buffer.len() > self.limit {
            self.too_long(sink);
        }
        !self.stopped
    }

    /// A line is left out; where a message is too long, nobody knows where the next one begins.
    fn too_long(&mut self, sink: &mut dyn Sink) {
        let format = *self.format.get_or_insert(Format::Lines);
        self.count += 1;
        self.buffer = Vec::new();
        self.searched = 0;
        self.is_skipping = format == Format::Lines;
        let why = format!("longer than {} MiB", self.limit >> 20);
        let malformed = Malformed { at: self.count, unit: format.unit(), why, is_last: !self.is_skipping };
        self.stopped |= !sink.malformed(malformed) || !self.is_skipping;
    }

    /// Reads what is left at the end.
    pub fn finish(mut self, sink: &mut dyn Sink) {
        self.read(true, sink);
    }

    fn read(&mut self, is_end: bool, sink: &mut dyn Sink) {
        if self.stopped {
            return;
        }
        let Some(format) = self.format.or_else(|| self.detect(is_end)) else { return };
        let buffer = std::mem::take(&mut self.buffer);
        let used = match format {
            Format::Lines => self.lines(&buffer, is_end, sink),
            Format::Frames => self.frames(&buffer, is_end, sink),
            Format::Document if is_end => self.document(&buffer, sink),
            Format::Message if is_end => self.message(&buffer, sink),
            Format::Document | Format::Message => 0,
        };
        self.buffer = buffer;
        self.buffer.drain(..used);
    }

    fn detect(&mut self, is_end: bool) -> Option<Format> {
        if self.buffer.len() < BEGINNING && !is_end {
            return None;
        }
        // A long first line is not looked at again with every piece of it.
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        if self.searched > 0 && !is_end && !fresh.contains(&b'\n') {
            self.searched = self.buffer.len();
            return None;
        }
        self.format = format::detect(&self.buffer, is_end);
        self.searched = if self.format.is_some() { 0 } else { self.buffer.len() };
        self.format
    }

    fn lines(&mut self, buffer: &[u8], is_end: bool, sink: &mut dyn Sink) -> usize {
        let mut used = 0;
        while !self.stopped {
            let rest = buffer.get(used + self.searched..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n').map(|at| used + self.searched + at);
            let Some(end) = end.or_else(|| (is_end && used < buffer.len()).then_some(buffer.len())) else {
                self.searched = buffer.len() - used;
                return used;
            };
            self.searched = 0;
            self.count += 1;
            let line = buffer.get(used..end).unwrap_or_default().trim_ascii();
            used = (end + 1).min(buffer.len());
            let line = if self.count == 1 { format::without_mark(line) } else { line };
            if !line.is_empty() {
                self.line(line, sink);
            }
        }
        used
    }

    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) {
        let Err(error) = std::str::from_utf8(line) else { return self.part(json(line), "line", sink) };
        // The collector takes such texts in, and its file exporter writes them as they are.
        let mended = String::from_utf8_lossy(line);
        let found = json(mended.as_bytes());
        self.part(found.map_err(|_| format!("not UTF-8 (column {})", error.valid_up_to() + 1)), "line", sink);
    }

    fn frames(&mut self, buffer: &[u8], is_end: bool, sink: &mut dyn Sink) -> usize {
        let mut rest = buffer;
        while let Some((length, after)) = rest.split_first_chunk::<4>()
            && !self.stopped
        {
            let length = u32::from_be_bytes(*length) as usize;
            if length > self.limit {
                self.too_long(sink);
                return buffer.len();
            }
            let Some((message, after)) = after.split_at_checked(length) else { break };
            rest = after;
            self.count += 1;
            self.packed(message, sink);
        }
        if is_end && !rest.is_empty() && !self.stopped {
            self.count += 1;
            self.part(Err("its end is missing".to_owned()), "message", sink);
        }
        buffer.len() - rest.len()
    }

    /// A message of a frame: compressed or not, protobuf or JSON.
    fn packed(&mut self, message: &[u8], sink: &mut dyn Sink) {
        let unpacked = match (self.unpack)(message) {
            Ok(unpacked) => unpacked,
            Err(why) => return self.part(Err(why), "message", sink),
        };
        let message = unpacked.as_deref().unwrap_or(message);
        if message.trim_ascii_start().starts_with(b"{") && !format::is_protobuf(message) {
            self.part(json(message), "message", sink);
        } else {
            self.part(binary(message), "message", sink);
        }
    }

    fn message(&mut self, buffer: &[u8], sink: &mut dyn Sink) -> usize {
        self.count += 1;
        self.part(binary(buffer), "message", sink);
        buffer.len()
    }

    /// JSON over several lines, one value or several of them. After a broken one, the next that begins with its line is looked for.
    fn document(&mut self, buffer: &[u8], sink: &mut dyn Sink) -> usize {
        let mut text = format::without_mark(buffer);
        let mut lines = 0;
        while !self.stopped {
            let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<OneOrMany<'_>>();
            let broken = loop {
                let begins = documents.byte_offset();
                match documents.next() {
                    None => return buffer.len(),
                    Some(Ok(document)) => {
                        self.count = lines + line_of(text, begins);
                        let found = document.into_batches().ok_or_else(|| NO_SPANS.to_owned());
                        self.part(found, "line", sink);
                        if self.stopped {
                            return buffer.len();
                        }
                    }
                    Some(Err(error)) => {
                        self.count = lines + error.line() as u64;
                        self.part(Err(why(&error)), "line", sink);
                        break begins;
                    }
                }
            };
            let rest = text.get(broken + 1..).unwrap_or_default();
            let Some(next) = rest.windows(2).position(|two| matches!(two, b"\n{" | b"\n[")) else { break };
            let next = broken + 1 + next + 1;
            lines += line_of(text, next) - 1;
            text = text.get(next..).unwrap_or_default();
        }
        buffer.len()
    }

    fn part(&mut self, found: Result<Vec<Batch<'_>>, String>, unit: &'static str, sink: &mut dyn Sink) {
        let mut batches = match found {
            Ok(batches) => batches,
            Err(why) => return self.malformed(why, unit, sink),
        };
        let mut lost = 0;
        for scope in batches.iter_mut().flat_map(|batch| &mut batch.scopes) {
            let before = scope.spans.len();
            scope.spans.retain(|span| span.trace != [0; 16]);
            lost += before - scope.spans.len();
        }
        if lost > 0 {
            self.malformed(format!("spans without a trace id: {lost}"), unit, sink);
        }
        if !self.stopped {
            sink.batches(&batches);
        }
    }

    fn malformed(&mut self, why: String, unit: &'static str, sink: &mut dyn Sink) {
        self.stopped |= !sink.malformed(Malformed { at: self.count, unit, why, is_last: false });
    }
}

/// The number of the line in which this place is, from 1.
fn line_of(text: &[u8], place: usize) -> u64 {
    1 + text.iter().take(place).filter(|byte| **byte == b'\n').count() as u64
}

const NO_SPANS: &str = "JSON that holds no traces of OTLP, Tempo or Jaeger";

/// What stands at the top of a document.
#[derive(Debug)]
enum OneOrMany<'a> {
    One(json::Document<'a>),
    Many(Vec<json::Document<'a>>),
}

impl<'a> OneOrMany<'a> {
    fn into_batches(self) -> Option<Vec<Batch<'a>>> {
        match self {
            Self::One(document) => document.into_batches(),
            Self::Many(documents) => {
                let all: Option<Vec<_>> = documents.into_iter().map(json::Document::into_batches).collect();
                Some(all?.into_iter().flatten().collect())
            }
        }
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for OneOrMany<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OneOrMany<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object or a list of objects")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                use serde::Deserialize;
                let deserializer = serde::de::value::MapAccessDeserializer::new(map);
                json::Document::deserialize(deserializer).map(OneOrMany::One)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(document) = seq.next_element()? {
                    all.push(document);
                }
                Ok(OneOrMany::Many(all))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One JSON value.
fn json(text: &[u8]) -> Result<Vec<Batch<'_>>, String> {
    // Once for the whole, which is faster than once for each text in it.
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8 (column {})", error.valid_up_to() + 1))?;
    let document = serde_json::from_str::<OneOrMany<'_>>(text).map_err(|error| why(&error))?;
    document.into_batches().ok_or_else(|| NO_SPANS.to_owned())
}

/// What is wrong, without the words of the parser: they repeat values.
fn why(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "JSON that ends too early",
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    };
    format!("{what} (column {})", error.column())
}

fn binary(message: &[u8]) -> Result<Vec<Batch<'_>>, String> {
    protobuf::read(message).map_err(|protobuf::Broken| "not OTLP protobuf".to_owned())
}
