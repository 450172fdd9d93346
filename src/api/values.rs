//! Scalars with rules of their own: durations and ratios. Each carries its CEL rule in its schema.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::patterns;
use crate::diagnostics::Code;

/// A positive Go/Kubernetes duration as the user wrote it, such as `500ms`, `10s` or `1m30s`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

/// A [`DurationText`] that must not be finer than a millisecond.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milliseconds(pub DurationText);

/// A share of the traces, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(pub f64);

/// A Kubernetes quantity as the user wrote it, such as `512Mi`, `1` or `0.5`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl Quantity {
    /// The quantity in whole units, rounded up; `None` where the text is no quantity, is negative, or is too large.
    pub fn value(&self) -> Option<u64> {
        u64::try_from(self.parts(1)?).ok()
    }

    /// The quantity in billionths of a unit, rounded up, which is as fine as Kubernetes counts: what two spellings of one
    /// quantity have in common.
    pub fn nanos(&self) -> Option<u128> {
        self.parts(1_000_000_000)
    }

    fn parts(&self, unit: u128) -> Option<u128> {
        match self {
            Self::Number(number) => u128::try_from(*number).ok()?.checked_mul(unit),
            Self::Text(text) => quantity(text, unit),
        }
    }
}

/// A quantity in parts, of which there are `unit` in one, rounded up (apimachinery, `resource.ParseQuantity`).
fn quantity(text: &str, unit: u128) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 || fraction.len() > 18 {
        return None;
    }
    let (scale, divisor) = scale(suffix)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let places = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(digits.checked_mul(scale)?.checked_mul(unit)?.div_ceil(places.checked_mul(divisor)?))
}

/// What a suffix multiplies by, and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| (1_u128 << (10 * power), 1);
    let decimal = |power: u32| (10_u128.pow(power), 1);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_u128.checked_pow(power.unsigned_abs().min(40))?;
            if power < 0 { (1, size) } else { (size, 1) }
        }
    })
}

impl DurationText {
    /// The duration, or `None` where the text is no positive duration (or exceeds about 290 years, as in Go).
    pub fn get(&self) -> Option<Duration> {
        let nanos = nanoseconds(&self.0)?;
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Whole milliseconds, rounded up, so that a positive duration never becomes "no limit".
    pub fn as_millis(&self) -> Option<u64> {
        let nanos = u64::try_from(self.get()?.as_nanos()).ok()?;
        Some(nanos.div_ceil(1_000_000))
    }
}

impl Milliseconds {
    /// Whether the duration is a whole number of milliseconds; `true` for text that is no duration at all.
    pub fn is_whole(&self) -> bool {
        self.0.get().is_none() || patterns::matches(patterns::MILLISECONDS, &self.0.0)
    }
}

impl Ratio {
    /// Whether the value is in [0, 1].
    pub fn is_valid(self) -> bool {
        (0.0..=1.0).contains(&self.0)
    }

    /// The shortest decimal that reads back as the same number, never with an exponent.
    pub fn decimal(self) -> String {
        // Display of f64 in Rust is exactly that; JSON and Debug would switch to exponents.
        format!("{}", self.0)
    }
}

/// Nanoseconds of a Go duration; `None` where it is none or overflows the 63 bits that Go has.
fn nanoseconds(text: &str) -> Option<u64> {
    if text.chars().count() > 64 || !patterns::matches(patterns::DURATION, text) {
        return None;
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(number_len)?;
        let unit_len = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(unit_len)?;
        total = total.checked_add(part(number, unit)?)?;
        rest = next;
    }
    u64::try_from(total).ok().filter(|nanos| i64::try_from(*nanos).is_ok())
}

fn part(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        total = total.checked_add(fraction.parse::<u128>().ok()?.checked_mul(scale)? / 10_u128.checked_pow(digits)?)?;
    }
    Some(total)
}

fn duration_rule() -> serde_json::Value {
    serde_json::json!({
        "rule": format!("self.matches('{}') && duration(self) > duration('0s')", patterns::DURATION),
        "message": Code::TRC0107.rule_message(),
    })
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 64, "x-kubernetes-validations": [duration_rule()]})
    }
}

impl JsonSchema for Milliseconds {
    fn schema_name() -> Cow<'static, str> {
        "Milliseconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let whole = serde_json::json!({
            "rule": format!("!self.matches('{}') || self.matches('{}')", patterns::DURATION, patterns::MILLISECONDS),
            "message": Code::TRC0110.rule_message(),
        });
        json_schema!({"type": "string", "maxLength": 64, "x-kubernetes-validations": [duration_rule(), whole]})
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 64, "x-kubernetes-validations": [{
            "rule": "type(self) == string ? isQuantity(self) && !self.startsWith('-') : int(self) >= 0",
            "message": Code::TRC0605.rule_message(),
        }]})
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "x-kubernetes-validations": [{
            "rule": "self >= 0.0 && self <= 1.0",
            "message": Code::TRC0105.rule_message(),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u128> {
        DurationText(text.to_owned()).get().map(|duration| duration.as_nanos())
    }

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!(nanos("10s"), Some(10_000_000_000));
        assert_eq!(nanos("1m30s"), Some(90_000_000_000));
        assert_eq!(nanos("1.5h"), Some(5_400_000_000_000));
        assert_eq!(nanos(".5s"), Some(500_000_000));
        assert_eq!(nanos("1.s"), Some(1_000_000_000));
        assert_eq!(nanos("2µs"), Some(2_000));
        assert_eq!(nanos("+1ms"), Some(1_000_000));
        for bad in ["", "0s", "-1s", "10", "10 s", "s", "1d", "1e3s", "9999999999h", "0.0000000001ns"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    #[test]
    fn milliseconds_round_up_and_fractions_are_seen() {
        assert_eq!(DurationText("1us".into()).as_millis(), Some(1));
        assert_eq!(DurationText("1.5s".into()).as_millis(), Some(1_500));
        let is_whole = |text: &str| Milliseconds(DurationText(text.into())).is_whole();
        for whole in ["1s", "1.5s", "1m0.250s", "1.500000s", "250ms", "2.0ms", "3000us", "5000000ns", "0.001h", ".5s"] {
            assert!(is_whole(whole), "{whole}");
        }
        for finer in ["1.5ms", "0.0005s", "1500us", "1ns", "1s1us"] {
            assert!(!is_whole(finer), "{finer}");
        }
    }

    #[test]
    fn quantities_read_as_in_kubernetes() {
        let value = |text: &str| Quantity::Text(text.to_owned()).value();
        assert_eq!(Quantity::Number(5).value(), Some(5));
        for (text, units) in [
            ("1Gi", 1 << 30),
            ("1.5Ki", 1536),
            ("100m", 1),
            ("2", 2),
            ("1e3", 1000),
            ("9E9", 9_000_000_000),
            ("1E", 1_000_000_000_000_000_000),
            (".5M", 500_000),
            ("+1k", 1000),
            ("1500e-3", 2),
            ("9E9", 9_000_000_000),
        ] {
            assert_eq!(value(text), Some(units), "{text}");
        }
        for bad in ["", "-1", "1 Gi", "Gi", "1GB", "1.2.3", "1e99", "e3", "1KI"] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }

    #[test]
    fn spellings_of_one_quantity_have_the_same_billionths() {
        let nanos = |text: &str| Quantity::Text(text.to_owned()).nanos();
        for (one, other) in [("0.1", "100m"), ("1024Mi", "1Gi"), ("1e3", "1k"), (".5", "500000u"), ("3E", "3000P")] {
            assert_eq!(nanos(one), nanos(other), "{one} {other}");
            assert!(nanos(one).is_some(), "{one}");
        }
        assert_ne!(nanos("100m"), nanos("1"));
        assert_eq!(Quantity::Number(2).nanos(), nanos("2"));
    }

    #[test]
    fn ratios_are_shortest_decimals() {
        let texts: Vec<_> = [0.1, 0.000_000_1, 1.0, 0.0, 0.25].iter().map(|ratio| Ratio(*ratio).decimal()).collect();
        assert_eq!(texts, ["0.1", "0.0000001", "1", "0", "0.25"]);
        assert!(!Ratio(1.5).is_valid() && !Ratio(f64::NAN).is_valid() && Ratio(1.0).is_valid());
    }
}
