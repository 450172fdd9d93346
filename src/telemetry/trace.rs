//! The context of a trace in the headers of HTTP, as W3C Trace Context has it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator},
};

/// The longest list of vendors' entries that is taken over: what the specification asks for at least.
const TRACESTATE: usize = 512;

/// Who has asked, where `traceparent` says so in a way that can be read.
pub fn parent(headers: &HeaderMap) -> Option<Context> {
    // Two of them contradict each other: the specification says to start anew.
    if headers.get_all("traceparent").iter().count() != 1 {
        return None;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    context.span().span_context().is_valid().then_some(context)
}

/// The ids of a context.
pub fn ids(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

/// Tells who is asked whose request it is.
pub fn pass_on(context: &Context, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(context, &mut HeadersMut(headers));
}

/// A random UUID (version 4).
pub fn uuid() -> String {
    let random = u128::from_be_bytes(RandomIdGenerator::default().new_trace_id().to_bytes());
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&place) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?.to_str().ok()?;
        (key != "tracestate" || value.len() <= TRACESTATE).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        // An empty list of vendors' entries says nothing.
        if let (Ok(name), Ok(value), false) = (name, HeaderValue::try_from(&value), value.is_empty()) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_is_taken_over_and_passed_on() {
        let context = parent(&headers(&[("traceparent", GOOD), ("tracestate", "a=b")])).unwrap();
        assert_eq!(ids(&context).trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        let mut sent = HeaderMap::new();
        pass_on(&context, &mut sent);
        assert_eq!((&sent["traceparent"], &sent["tracestate"]), (&GOOD.parse().unwrap(), &"a=b".parse().unwrap()));
    }

    #[test]
    fn what_is_no_trace_starts_anew() {
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let bad: [&[(&str, &str)]; 5] = [
            &[],
            &[("traceparent", "01")],
            &[("traceparent", zero)],
            &[("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")],
            &[("traceparent", GOOD), ("traceparent", GOOD)],
        ];
        for pairs in bad {
            assert!(parent(&headers(pairs)).is_none(), "{pairs:?}");
        }
        let long = "a=".to_owned() + &"b".repeat(600);
        let context = parent(&headers(&[("traceparent", GOOD), ("tracestate", &long)])).unwrap();
        let mut sent = HeaderMap::new();
        pass_on(&context, &mut sent);
        assert!(!sent.contains_key("tracestate"), "{sent:?}");
    }

    #[test]
    fn a_uuid_has_its_form_and_is_another_one_each_time() {
        let (one, two) = (uuid(), uuid());
        assert_ne!(one, two);
        for text in [one, two] {
            let parts: Vec<_> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
            assert_eq!(text.chars().nth(14), Some('4'), "{text}");
            assert!(text.chars().nth(19).is_some_and(|digit| "89ab".contains(digit)), "{text}");
        }
    }
}
