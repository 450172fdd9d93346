//! OTLP JSON, and Tempo's answer for a trace, which is OTLP under other names.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};

use super::{
    jaeger,
    spans::{self, Attribute, Batch, Scope, Span, Value, size},
};

/// One JSON document, whatever it is: which of the fields are there tells.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    resource_spans: Option<Vec<ResourceSpans<'a>>>,
    /// Tempo, and its older name for the same.
    #[serde(borrow)]
    batches: Option<Vec<ResourceSpans<'a>>>,
    #[serde(borrow)]
    trace: Option<Box<Self>>,
    /// Jaeger's API in its third version.
    #[serde(borrow)]
    result: Option<Box<Self>>,
    /// Jaeger, several traces.
    #[serde(borrow)]
    data: Option<Vec<jaeger::Trace<'a>>>,
    /// Jaeger, one trace.
    #[serde(borrow)]
    spans: Option<Vec<jaeger::Record<'a>>>,
    #[serde(borrow)]
    processes: Option<HashMap<Cow<'a, str>, jaeger::Process<'a>>>,
    /// Other signals may be in the same file.
    resource_metrics: Option<IgnoredAny>,
    resource_logs: Option<IgnoredAny>,
}

impl<'a> Document<'a> {
    /// Its spans; `None` where there is nothing in it that could hold any.
    pub(super) fn into_batches(self) -> Option<Vec<Batch<'a>>> {
        let mut batches: Vec<Batch<'a>> = Vec::new();
        let is_known = self.resource_spans.is_some()
            || self.batches.is_some()
            || self.data.is_some()
            || self.spans.is_some()
            || self.resource_metrics.is_some()
            || self.resource_logs.is_some();
        let spans = self.resource_spans.into_iter().chain(self.batches).flatten();
        batches.extend(spans.map(ResourceSpans::into_batch));
        let one = self.spans.map(|spans| jaeger::Trace { spans: Some(spans), processes: self.processes });
        let traces = self.data.into_iter().flatten().chain(one);
        batches.extend(traces.flat_map(jaeger::Trace::into_batches));
        if let Some(inner) = self.trace.or(self.result) {
            batches.extend(inner.into_batches()?);
            return Some(batches);
        }
        is_known.then_some(batches)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans<'a> {
    #[serde(borrow)]
    resource: Option<Attributes<'a>>,
    #[serde(borrow)]
    scope_spans: Option<Vec<ScopeSpans<'a>>>,
    /// What libraries had before there were scopes.
    #[serde(borrow)]
    instrumentation_library_spans: Option<Vec<ScopeSpans<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes<'a> {
    #[serde(borrow)]
    attributes: Option<Vec<Attribute<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScopeSpans<'a> {
    #[serde(borrow)]
    scope: Option<Attributes<'a>>,
    #[serde(borrow)]
    spans: Option<Vec<Record<'a>>>,
}

/// A span with everything that counts for its size.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record<'a> {
    trace_id: Id<16>,
    span_id: Id<8>,
    #[serde(borrow)]
    trace_state: Option<Text<'a>>,
    parent_span_id: Option<Id<8>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    kind: Option<Name>,
    start_time_unix_nano: Option<Number>,
    end_time_unix_nano: Option<Number>,
    #[serde(borrow)]
    attributes: Option<Vec<Attribute<'a>>>,
    dropped_attributes_count: Option<Number>,
    #[serde(borrow)]
    events: Option<Vec<Event<'a>>>,
    dropped_events_count: Option<Number>,
    #[serde(borrow)]
    links: Option<Vec<Link<'a>>>,
    dropped_links_count: Option<Number>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
    flags: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    attributes: Option<Vec<Attribute<'a>>>,
    dropped_attributes_count: Option<Number>,
    time_unix_nano: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Link<'a> {
    #[serde(borrow)]
    trace_state: Option<Text<'a>>,
    #[serde(borrow)]
    attributes: Option<Vec<Attribute<'a>>>,
    dropped_attributes_count: Option<Number>,
    flags: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status<'a> {
    code: Option<Name>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

impl<'a> ResourceSpans<'a> {
    fn into_batch(self) -> Batch<'a> {
        let list = |attributes: Option<Attributes<'a>>| attributes.and_then(|own| own.attributes).unwrap_or_default();
        let scopes = self.scope_spans.into_iter().chain(self.instrumentation_library_spans).flatten();
        let scopes = scopes.map(|scope| Scope {
            attributes: list(scope.scope),
            spans: scope.spans.into_iter().flatten().map(Record::into_span).collect(),
        });
        Batch { scopes: scopes.collect(), resource: list(self.resource) }
    }
}

impl<'a> Record<'a> {
    fn into_span(self) -> Span<'a> {
        let bytes = self.size() as u64;
        let time = |time: Option<Number>| time.map_or(0, |time| time.0.cast_unsigned());
        let events = self.events.into_iter().flatten().map(|event| event.attributes.unwrap_or_default());
        Span {
            trace: self.trace_id.0,
            id: self.span_id.0,
            parent: self.parent_span_id.unwrap_or_default().0,
            name: self.name.unwrap_or_default().0,
            start: time(self.start_time_unix_nano),
            end: time(self.end_time_unix_nano),
            is_error: self.status.as_ref().and_then(|status| status.code).unwrap_or_default().0 == 2,
            attributes: self.attributes.unwrap_or_default(),
            events: events.collect(),
            bytes,
        }
    }

    /// How large it is as protobuf.
    fn size(&self) -> usize {
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or(0, |text| size::text(text.0.len()));
        let ids =
            [self.trace_id.0 != [0; 16], self.span_id.0 != [0; 8], self.parent_span_id.unwrap_or_default().0 != [0; 8]];
        let ids: usize = ids.into_iter().zip([18, 10, 10]).map(|(there, size)| if there { size } else { 0 }).sum();
        let times = fixed(self.start_time_unix_nano, 9) + fixed(self.end_time_unix_nano, 9);
        let counts = [self.dropped_attributes_count, self.dropped_events_count, self.dropped_links_count];
        let events = self.events.iter().flatten().map(|event| {
            let own = fixed(event.time_unix_nano, 9) + text(&event.name);
            size::field(own + list(event.attributes.as_ref()) + count(event.dropped_attributes_count))
        });
        let links = self.links.iter().flatten().map(|link| {
            let own = 18 + 10 + text(&link.trace_state) + fixed(link.flags, 5);
            size::field(own + list(link.attributes.as_ref()) + count(link.dropped_attributes_count))
        });
        let status = self.status.as_ref().map_or(0, |status| {
            size::field(text(&status.message) + status.code.map_or(0, |code| if code.0 == 0 { 0 } else { 2 }))
        });
        let kind = self.kind.map_or(0, |kind| if kind.0 == 0 { 0 } else { 2 });
        // The number of this field takes two bytes.
        let flags = fixed(self.flags, 6);
        let texts = text(&self.trace_state) + text(&self.name);
        let counts: usize = counts.into_iter().map(count).sum();
        let lists = list(self.attributes.as_ref()) + events.sum::<usize>() + links.sum::<usize>();
        ids + times + texts + counts + lists + status + kind + flags
    }
}

/// A number of so many bytes, which is left out where it is 0.
fn fixed(number: Option<Number>, bytes: usize) -> usize {
    number.map_or(0, |number| if number.0 == 0 { 0 } else { bytes })
}

fn count(number: Option<Number>) -> usize {
    number.map_or(0, |number| if number.0 == 0 { 0 } else { 1 + size::varint(number.0.cast_unsigned()) })
}

fn list(attributes: Option<&Vec<Attribute<'_>>>) -> usize {
    attributes.map_or(0, |attributes| size::attributes(attributes))
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// An id.
#[derive(Clone, Copy, Debug)]
struct Id<const N: usize>([u8; N]);

impl<const N: usize> Default for Id<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<'de, const N: usize> Deserialize<'de> for Id<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<const N: usize>;
        impl<const N: usize> Visitor<'_> for Text<N> {
            type Value = Id<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an id of {N} bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                spans::id(text).map(Id).ok_or_else(|| E::custom("not an id"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A whole number, as a number or as a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number.cast_signed()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
                // What passed through a language without integers.
                #[allow(clippy::cast_possible_truncation, reason = "cut at the ends of the range")]
                if number.fract() == 0.0 { Ok(Number(number as i64)) } else { Err(E::custom("not a whole number")) }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let signed = text.parse().ok();
                let unsigned = || text.parse::<u64>().ok().map(u64::cast_signed);
                signed.or_else(unsigned).map(Number).ok_or_else(|| E::custom("not a whole number"))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

/// A value of an enumeration: its number, or its name. Only that of an error is told from the others.
#[derive(Clone, Copy, Debug, Default)]
struct Name(i64);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a name")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Name, E> {
                Ok(Name(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.cast_signed()))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(match name {
                    "STATUS_CODE_ERROR" => 2,
                    _ if name.ends_with("_UNSET") || name.ends_with("_UNSPECIFIED") => 0,
                    _ => 1,
                }))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attribute<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct KeyValue<'a> {
            #[serde(borrow, default)]
            key: Text<'a>,
            #[serde(borrow, default)]
            value: Option<Value<'a>>,
        }
        let KeyValue { key, value } = KeyValue::deserialize(deserializer)?;
        Ok(Self { key: key.0, value: value.unwrap_or_default() })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut value = Value::Empty;
                while let Some(kind) = map.next_key::<Text<'de>>()? {
                    value = match &*kind.0 {
                        "stringValue" => Value::Text(map.next_value::<Text<'de>>()?.0),
                        "intValue" => Value::Int(map.next_value::<Number>()?.0),
                        "boolValue" => Value::Bool(map.next_value()?),
                        "doubleValue" => map.next_value::<IgnoredAny>().map(|_| Value::Other(9))?,
                        "bytesValue" => {
                            let text: Text<'de> = map.next_value()?;
                            Value::Other(size::field(text.0.trim_end_matches('=').len() * 6 / 8))
                        }
                        "arrayValue" => {
                            let list: List<Value<'de>> = map.next_value()?;
                            let values = list.values.iter().flatten().map(|value| size::field(size::value(value)));
                            Value::Other(size::field(values.sum()))
                        }
                        "kvlistValue" => {
                            let list: List<Attribute<'de>> = map.next_value()?;
                            let pairs = list.values.iter().flatten();
                            Value::Other(size::field(pairs.map(|pair| size::field(size::attribute(pair))).sum()))
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            value
                        }
                    };
                }
                Ok(value)
            }
        }
        #[derive(Deserialize)]
        struct List<T> {
            values: Option<Vec<T>>,
        }
        deserializer.deserialize_map(Any)
    }
}
