//! Which format a recording has, from its beginning.

use serde::de::IgnoredAny;

use super::protobuf;

/// How a recording is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON value a line.
    Lines,
    /// JSON values over several lines.
    Document,
    /// Messages, each behind its length in four bytes.
    Frames,
    /// One protobuf message.
    Message,
}

impl Format {
    /// What its parts are counted by.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Lines | Self::Document => "line",
            Self::Frames | Self::Message => "message",
        }
    }
}

/// Without the mark that some programs begin UTF-8 with.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The format; `None` where more has to be seen.
pub(super) fn detect(buffer: &[u8], is_end: bool) -> Option<Format> {
    let first = *buffer.first()?;
    // No text begins with such a byte, and no message either: it would be the field 0.
    if first < 8 {
        return Some(Format::Frames);
    }
    let text = without_mark(buffer).trim_ascii_start();
    if text.is_empty() {
        return is_end.then_some(Format::Lines);
    }
    let is_message = !begins_json(text) || (is_end && is_protobuf(buffer));
    if first == PROTOBUF && is_message && (is_end || text.len() > 2) {
        return Some(Format::Message);
    }
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    // A line counts once its end was seen.
    let mut whole = || lines.next().filter(|line| is_end || line.ends_with(b"\n")).map(<[u8]>::trim_ascii);
    let line = whole()?;
    if !ends_early(line) {
        return Some(Format::Lines);
    }
    if text.first() == Some(&b'[') {
        return Some(Format::Document);
    }
    match whole() {
        // The first line is broken, and the others stand by themselves.
        Some(next) if next.starts_with(b"{\"") && !ends_early(next) => Some(Format::Lines),
        Some(_) => Some(Format::Document),
        None => is_end.then_some(Format::Lines),
    }
}

/// The tag of the first field of a message, and a line feed.
const PROTOBUF: u8 = b'\n';

/// Whether a text begins as JSON does, for which two characters are enough.
fn begins_json(text: &[u8]) -> bool {
    let Some((b'{' | b'[', rest)) = text.split_first() else { return false };
    rest.trim_ascii_start().first().is_none_or(|next| matches!(next, b'"' | b'{' | b'[' | b'}' | b']'))
}

fn ends_early(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

/// Whether a message is OTLP protobuf although it might look like JSON.
pub(super) fn is_protobuf(message: &[u8]) -> bool {
    message.first() == Some(&PROTOBUF) && protobuf::read(message).is_ok()
}
