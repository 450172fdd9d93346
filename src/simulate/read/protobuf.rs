//! OTLP protobuf: the fields that simulating needs, straight from the bytes.

use std::borrow::Cow;

use super::spans::{Attribute, Batch, Scope, Span, Value};

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A field of a message.
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, each with its number.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().ok_or(Broken)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Broken> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Broken)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Fixed32
            }
            _ => return Err(Broken),
        };
        if tag >> 3 == 0 { Err(Broken) } else { Ok(Some((tag >> 3, field))) }
    }
}

/// `TracesData`, which is the same as `ExportTraceServiceRequest`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Batch<'_>>, Broken> {
    let mut batches = Vec::new();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            batches.push(batch(bytes)?);
        }
    }
    Ok(batches)
}

fn batch(bytes: &[u8]) -> Result<Batch<'_>, Broken> {
    let mut batch = Batch::default();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(resource)) => batch.resource.extend(attributes(resource, 1)?),
            // 1000 is what libraries had before there were scopes.
            (2 | 1000, Field::Bytes(bytes)) => batch.scopes.push(scope(bytes)?),
            _ => {}
        }
    }
    Ok(batch)
}

fn scope(bytes: &[u8]) -> Result<Scope<'_>, Broken> {
    let mut scope = Scope::default();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(own)) => scope.attributes.extend(attributes(own, 3)?),
            (2, Field::Bytes(bytes)) => scope.spans.push(span(bytes)?),
            _ => {}
        }
    }
    Ok(scope)
}

/// An id; an empty one is zeros.
fn id<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Broken> {
    if bytes.is_empty() { Ok([0; N]) } else { bytes.try_into().map_err(|_| Broken) }
}

fn span(bytes: &[u8]) -> Result<Span<'_>, Broken> {
    let mut span = Span { bytes: bytes.len() as u64, ..Span::default() };
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => span.trace = id(bytes)?,
            (2, Field::Bytes(bytes)) => span.id = id(bytes)?,
            (4, Field::Bytes(bytes)) => span.parent = id(bytes)?,
            (5, Field::Bytes(bytes)) => span.name = text(bytes),
            (7, Field::Fixed64(time)) => span.start = time,
            (8, Field::Fixed64(time)) => span.end = time,
            (9, Field::Bytes(bytes)) => span.attributes.push(attribute(bytes)?),
            (11, Field::Bytes(bytes)) => span.events.push(attributes(bytes, 3)?),
            (15, Field::Bytes(bytes)) => span.is_error = is_error(bytes)?,
            _ => {}
        }
    }
    Ok(span)
}

fn is_error(status: &[u8]) -> Result<bool, Broken> {
    let mut code = 0;
    let mut fields = Fields(status);
    while let Some((number, field)) = fields.next()? {
        if let (3, Field::Varint(number)) = (number, field) {
            code = number;
        }
    }
    Ok(code == 2)
}

/// All attributes in this field of a message.
fn attributes(bytes: &[u8], wanted: u64) -> Result<Vec<Attribute<'_>>, Broken> {
    let mut attributes = Vec::new();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        if let Field::Bytes(bytes) = field
            && number == wanted
        {
            attributes.push(attribute(bytes)?);
        }
    }
    Ok(attributes)
}

fn attribute(bytes: &[u8]) -> Result<Attribute<'_>, Broken> {
    let mut attribute = Attribute::default();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => attribute.key = text(bytes),
            (2, Field::Bytes(bytes)) => attribute.value = value(bytes)?,
            _ => {}
        }
    }
    Ok(attribute)
}

fn value(bytes: &[u8]) -> Result<Value<'_>, Broken> {
    let mut value = Value::Empty;
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        value = match (number, field) {
            (1, Field::Bytes(bytes)) => Value::Text(text(bytes)),
            (3, Field::Varint(number)) => Value::Int(number.cast_signed()),
            (2, Field::Varint(flag)) => Value::Bool(flag != 0),
            (4..=7, _) => Value::Other(bytes.len()),
            _ => value,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
