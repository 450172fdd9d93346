//! JSON with positions. `serde_json` is the authority for every number and string, and for the words of syntax errors.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::tree::{Budget, Builder, Fault, Node, Span};
use super::yaml::double_quoted;
use crate::diagnostics::Code;

/// One value of a stream.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) node: Node,
    /// All but syntax: keys that stand there twice.
    pub(super) duplicates: Vec<Fault>,
    /// Where the value ends, in bytes.
    pub(super) end: usize,
}

/// Reads the JSON value at `start`, which must be no blank.
///
/// # Errors
/// A syntax error (TRC0003), or a limit (TRC0005).
pub(super) fn read(text: &str, start: usize, budget: &mut Budget) -> Result<Parsed, Fault> {
    let mut reader = Reader { text, at: start, builder: Builder::new(budget), open: Vec::new() };
    match reader.value() {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::Syntax) => return Err(syntax(text, start, reader.at)),
    }
    let end = reader.at;
    let duplicates = std::mem::take(&mut reader.builder.duplicates);
    let (value, node) = reader.builder.finish().ok_or_else(|| syntax(text, start, end))?;
    Ok(Parsed { value, node, duplicates, end })
}

/// Where the next value of the stream begins; `None` at its end.
pub(super) fn next(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let blanks = rest.len() - rest.trim_start().len();
    (blanks < rest.len()).then_some(from + blanks)
}

enum Stop {
    Syntax,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The collection that is being read.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    List,
    Map,
}

struct Reader<'t, 'b> {
    text: &'t str,
    at: usize,
    builder: Builder<'b>,
    open: Vec<Open>,
}

impl Reader<'_, '_> {
    /// One value with all that is in it, by an own stack: depth is the builder's to judge.
    fn value(&mut self) -> Result<(), Stop> {
        loop {
            let opened = self.begin()?;
            if opened && !self.empty()? {
                self.key()?;
                continue;
            }
            if self.after()? {
                return Ok(());
            }
        }
    }

    /// The beginning of a value, or the whole of a scalar. Whether a collection was opened.
    fn begin(&mut self) -> Result<bool, Stop> {
        self.blanks();
        match self.peek() {
            Some(b'{') => {
                self.builder.open_map(self.at)?;
                self.open.push(Open::Map);
            }
            Some(b'[') => {
                self.builder.open_list(self.at)?;
                self.open.push(Open::List);
            }
            Some(_) => {
                let (value, span) = self.scalar()?;
                self.builder.scalar(value, span)?;
                return Ok(false);
            }
            None => return Err(Stop::Syntax),
        }
        self.at += 1;
        Ok(true)
    }

    /// Closes a collection that was opened just now, where nothing is in it.
    fn empty(&mut self) -> Result<bool, Stop> {
        self.blanks();
        let closing = if self.open.last() == Some(&Open::Map) { b'}' } else { b']' };
        if self.peek() != Some(closing) {
            return Ok(false);
        }
        self.close()?;
        Ok(true)
    }

    /// What follows a value: closings, then a comma and the next key. Whether the outermost value is complete.
    fn after(&mut self) -> Result<bool, Stop> {
        loop {
            let Some(open) = self.open.last().copied() else { return Ok(true) };
            self.blanks();
            match (self.peek(), open) {
                (Some(b','), _) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(false);
                }
                (Some(b'}'), Open::Map) | (Some(b']'), Open::List) => self.close()?,
                _ => return Err(Stop::Syntax),
            }
        }
    }

    fn close(&mut self) -> Result<(), Stop> {
        self.at += 1;
        self.open.pop();
        self.builder.close(self.at)?;
        Ok(())
    }

    /// The key of the next entry, where the open collection is an object.
    fn key(&mut self) -> Result<(), Stop> {
        if self.open.last() != Some(&Open::Map) {
            return Ok(());
        }
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(Stop::Syntax);
        }
        let (Value::String(key), span) = self.scalar()? else { return Err(Stop::Syntax) };
        self.builder.key(key, span);
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(Stop::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(Value, Span), Stop> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = if rest.starts_with('"') {
            double_quoted(rest).ok_or(Stop::Syntax)?
        } else {
            rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count()
        };
        let span = Span::new(self.at, self.at + length);
        let token = rest.get(..length).unwrap_or_default();
        let value = serde_json::from_str(token).map_err(|error| match length {
            0 => Stop::Syntax,
            // No reason to try the text as YAML, where this would be a string.
            _ if words(&error) == "number out of range" => Stop::Fault(Fault::new(Code::TRC0005, span, words(&error))),
            _ => Stop::Fault(Fault::new(Code::TRC0003, span, words(&error))),
        })?;
        self.at += length;
        // kubectl writes 1.0 as 1, and so the API server gets it. Rust reads the last digit more exactly than serde_json.
        let value = match value {
            Value::Number(number) if !number.is_i64() => {
                token.parse().ok().and_then(super::scalar::normal).unwrap_or(Value::Number(number))
            }
            value => value,
        };
        Ok((value, span))
    }

    fn blanks(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The syntax error as `serde_json` words and places it.
fn syntax(text: &str, start: usize, at: usize) -> Fault {
    let rest = text.get(start..).unwrap_or_default();
    let error = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>().next().and_then(Result::err);
    let Some(error) = error else {
        return Fault::new(Code::TRC0003, Span::new(at, at), "invalid JSON");
    };
    let line: usize = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut offset = (start + line + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    Fault::new(Code::TRC0003, Span::new(offset, offset), words(&error))
}

/// The words of an error without its position, which is relative to some piece of the text.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}
