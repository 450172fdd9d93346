//! What a YAML scalar means to kubectl: the rules of go-yaml v2 (YAML 1.1) and of the way through JSON that follows.

use serde_json::{Number, Value};

/// What go-yaml makes of a scalar, before it becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'t> {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer above the range of `i64`; the API server makes a float of it.
    Large(u64),
    Float(f64),
    Timestamp(&'t str),
    Text(&'t str),
}

/// Reads a scalar. `tag` is what follows `tag:yaml.org,2002:`, or `Some("")` for any other tag.
///
/// # Errors
/// In words, without the scalar itself: it may come from a Secret.
pub(super) fn resolve<'t>(text: &'t str, plain: bool, tag: Option<&str>) -> Result<Scalar<'t>, &'static str> {
    let found = match tag {
        None if plain => return Ok(implicit(text)),
        None | Some("str" | "") => return Ok(Scalar::Text(text)),
        Some("binary") => return Err("!!binary is not supported: write the base64 text as a string"),
        Some(_) => implicit(text),
    };
    match (tag, found) {
        (Some("bool"), Scalar::Bool(_))
        | (Some("int"), Scalar::Int(_) | Scalar::Large(_))
        | (Some("float"), Scalar::Float(_))
        | (Some("null"), Scalar::Null)
        | (Some("timestamp"), Scalar::Timestamp(_)) => Ok(found),
        #[allow(clippy::cast_precision_loss, reason = "as go-yaml does")]
        (Some("float"), Scalar::Int(number)) => Ok(Scalar::Float(number as f64)),
        (Some("bool"), _) => Err("the value is not a boolean, as its tag says"),
        (Some("int"), _) => Err("the value is not an integer, as its tag says"),
        (Some("float"), _) => Err("the value is not a number, as its tag says"),
        (Some("null"), _) => Err("the value is not null, as its tag says"),
        (Some("timestamp"), _) => Err("the value is not a timestamp, as its tag says"),
        // Tags that go-yaml does not know leave the text alone.
        _ => Ok(Scalar::Text(text)),
    }
}

impl Scalar<'_> {
    /// The value that the API server gets.
    ///
    /// # Errors
    /// Infinity and NaN have no JSON.
    pub(super) fn to_value(self) -> Result<Value, &'static str> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(flag),
            Self::Int(number) => number.into(),
            #[allow(clippy::cast_precision_loss, reason = "as the API server does with integers above 63 bits")]
            Self::Large(number) => Value::from(number as f64),
            Self::Float(number) => normal(number).ok_or("infinity and NaN cannot be sent to an API server")?,
            Self::Timestamp(text) | Self::Text(text) => Value::String(text.to_owned()),
        })
    }

    /// The key of a mapping that this scalar becomes.
    ///
    /// # Errors
    /// Null and integers above 63 bits are no keys.
    pub(super) fn to_key(self) -> Result<String, &'static str> {
        Ok(match self {
            Self::Null => return Err("null cannot be a key"),
            Self::Large(_) => return Err("an integer above 63 bits cannot be a key: put it in quotes"),
            Self::Bool(flag) => flag.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => float_key(number),
            Self::Timestamp(text) | Self::Text(text) => text.to_owned(),
        })
    }
}

/// A number as it arrives at the API server: kubectl writes a float without a fraction as an integer, and one of more
/// than 16 digits with zeros at its end. `None` for what is no number in JSON.
pub(super) fn normal(number: f64) -> Option<Value> {
    if number.fract() == 0.0
        && let Ok(integer) = number.to_string().parse::<i64>()
    {
        return Some(Value::from(integer));
    }
    Number::from_f64(number).map(Value::Number)
}

fn implicit(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => match text.as_bytes().first() {
            // Here underscores are part of the text, so that it is no number.
            Some(b'.') => float(text).map_or(Scalar::Text(text), Scalar::Float),
            Some(b'+' | b'-' | b'0'..=b'9') => number(text),
            _ => Scalar::Text(text),
        },
    }
}

fn number(text: &str) -> Scalar<'_> {
    if is_timestamp(text) {
        return Scalar::Timestamp(text);
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain).map(Scalar::Float)).unwrap_or(Scalar::Text(text))
}

/// Go's `ParseInt` with base 0, then `ParseUint`, which takes no sign.
fn integer(plain: &str) -> Option<Scalar<'static>> {
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => ("-", plain.get(1..)?),
        b'+' => ("+", plain.get(1..)?),
        _ => ("", plain),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    if let Ok(number) = i64::from_str_radix(&format!("{sign}{digits}"), base) {
        return Some(Scalar::Int(number));
    }
    u64::from_str_radix(digits, base).ok().filter(|_| sign.is_empty()).map(Scalar::Large)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and finite.
fn float(plain: &str) -> Option<f64> {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = digits(whole) && digits(fraction) && digits(exponent) && !exponent.is_empty();
    if !well_formed || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `2001-1-2`, alone or with a time behind it. Only its shape matters: a timestamp stays text, but cannot be a number.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 5 && bytes.iter().take(4).all(u8::is_ascii_digit) && bytes.get(4) == Some(&b'-')
}

/// Go's `FormatFloat(number, 'g', -1, 32)`, which is how kubectl writes a float as a key.
#[allow(clippy::cast_possible_truncation, reason = "kubectl narrows to 32 bits")]
fn float_key(number: f64) -> String {
    let narrow = number as f32;
    if narrow.is_nan() {
        return ".nan".to_owned();
    }
    if narrow.is_infinite() {
        return if narrow > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() };
    }
    let scientific = format!("{narrow:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{narrow}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
