//! Spans as every format is read into: borrowed from the input, and no more of them than simulating needs.

use std::borrow::Cow;

use crate::plan::collector::{self, TraceId};

/// The spans of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<'a> {
    /// The attributes of the resource.
    pub resource: Vec<Attribute<'a>>,
    /// Its instrumentation scopes.
    pub scopes: Vec<Scope<'a>>,
}

/// The spans of one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope<'a> {
    /// Its attributes.
    pub attributes: Vec<Attribute<'a>>,
    /// Its spans.
    pub spans: Vec<Span<'a>>,
}

/// A span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span<'a> {
    /// Its trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: [u8; 8],
    /// The id of its parent; zeros where it has none.
    pub parent: [u8; 8],
    /// Its name.
    pub name: Cow<'a, str>,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Whether its status is error.
    pub is_error: bool,
    /// Its attributes.
    pub attributes: Vec<Attribute<'a>>,
    /// The attributes of its events.
    pub events: Vec<Vec<Attribute<'a>>>,
    /// How large it is as OTLP protobuf, without its resource.
    pub bytes: u64,
}

/// An attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribute<'a> {
    /// Its name.
    pub key: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
}

/// The value of an attribute. Of most types only the size is of interest.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    #[default]
    Empty,
    /// A text.
    Text(Cow<'a, str>),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// Something else, with its size as OTLP protobuf.
    Other(usize),
}

impl Span<'_> {
    /// Whether it has no parent.
    pub fn is_root(&self) -> bool {
        self.parent == [0; 8]
    }
}

impl Value<'_> {
    /// The value as the sampler asks for it. An attribute without a value is there, and keeps later ones of its name from counting.
    pub fn plain(&self) -> collector::Value<'_> {
        match self {
            Self::Text(text) => collector::Value::Text(text),
            Self::Int(number) => collector::Value::Int(*number),
            Self::Empty | Self::Bool(_) | Self::Other(_) => collector::Value::Other,
        }
    }
}

/// Sizes in protobuf.
pub(super) mod size {
    use super::{Attribute, Value};

    /// A number of variable length.
    pub(in crate::simulate) const fn varint(number: u64) -> usize {
        ((70 - (number | 1).leading_zeros()) / 7) as usize
    }

    /// A field of a message that is this long.
    pub(in crate::simulate) const fn field(length: usize) -> usize {
        1 + varint(length as u64) + length
    }

    /// A field that is left out where it is empty.
    pub(in crate::simulate) const fn text(length: usize) -> usize {
        if length == 0 { 0 } else { field(length) }
    }

    /// An `AnyValue`.
    pub(in crate::simulate) fn value(value: &Value<'_>) -> usize {
        match value {
            Value::Empty => 0,
            Value::Text(text) => field(text.len()),
            Value::Int(number) => 1 + varint(number.cast_unsigned()),
            Value::Bool(_) => 2,
            Value::Other(size) => *size,
        }
    }

    /// A `KeyValue`.
    pub(in crate::simulate) fn attribute(attribute: &Attribute<'_>) -> usize {
        text(attribute.key.len()) + field(value(&attribute.value))
    }

    /// Attributes as a repeated field.
    pub(in crate::simulate) fn attributes(attributes: &[Attribute<'_>]) -> usize {
        attributes.iter().map(|one| field(attribute(one))).sum()
    }
}

/// Bytes in hexadecimal digits; shorter texts are filled up from the left.
pub(super) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() > 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, digit) in digits.iter().rev().enumerate() {
        let value = char::from(*digit).to_digit(16)?;
        let shift = if place % 2 == 0 { 0 } else { 4 };
        bytes[N - 1 - place / 2] |= u8::try_from(value << shift).ok()?;
    }
    Some(bytes)
}

/// An id as JSON has it: hexadecimal in OTLP, base64 where plain protobuf-to-JSON made it (Tempo); absent is zeros.
pub(super) fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.is_empty() {
        return Some([0; N]);
    }
    if text.len() == 2 * N {
        return hex(text);
    }
    let encoded = text.trim_end_matches('=');
    (text.len() == N.div_ceil(3) * 4 && encoded.len() == (N * 8).div_ceil(6)).then(|| base64(encoded)).flatten()
}

fn base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (mut held, mut bits, mut at) = (0_u32, 0, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(at)? = u8::try_from((held >> bits) & 0xff).ok()?;
            at += 1;
        }
    }
    (at == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_or_base64() {
        assert_eq!(id::<8>("00f067aa0ba902b7"), Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
        assert_eq!(id::<8>("APBnqgupArc="), Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
        assert_eq!(id::<16>("rb7/1LYAhgx73P1VMENzsw=="), id("adbeffd4b600860c7bdcfd55304373b3"));
        assert_eq!(id::<8>(""), Some([0; 8]));
        for bad in ["xyz", "00f067aa0ba902b", "00f067aa0ba902b70", "APBnqgupAr=="] {
            assert_eq!(id::<8>(bad), None, "{bad}");
        }
        assert_eq!(hex::<8>("abc"), Some(0xabc_u64.to_be_bytes()));
        assert_eq!(hex::<8>("00f067aa0ba902b70"), None);
    }

    #[test]
    fn sizes_are_those_of_protobuf() {
        assert_eq!([0, 127, 128, u64::MAX].map(size::varint), [1, 1, 2, 10]);
        assert_eq!(size::value(&Value::Int(-1)), 11);
        assert_eq!(size::field(200), 203);
    }
}
