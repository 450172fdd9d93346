//! Which request it is: what its sender says, else its trace, else a number of its own.

use axum::http::HeaderMap;
use opentelemetry::Context;

use crate::telemetry::trace;

/// The header that carries it, in the request and in the answer.
pub const HEADER: &str = "x-request-id";
/// The longest one that is taken over.
const LENGTH: usize = 128;

/// The id of a request.
pub(super) fn id(headers: &HeaderMap, parent: Option<&Context>) -> String {
    let said = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    match (said, parent) {
        (Some(said), _) => said.to_owned(),
        (None, Some(parent)) => trace::ids(parent).trace_id().to_string(),
        (None, None) => trace::uuid(),
    }
}

/// Whether a text that somebody sent can be an id in logs: short, and nothing but visible ASCII.
pub fn is_sane(id: &str) -> bool {
    (1..=LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(said: Option<&str>, traceparent: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HEADER, said), ("traceparent", traceparent)] {
            if let Some(value) = value {
                headers.insert(name, axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        let parent = trace::parent(&headers);
        id(&headers, parent.as_ref())
    }

    #[test]
    fn the_sender_comes_first_then_the_trace_then_a_uuid() {
        assert_eq!(of(Some("abc-1"), Some(TRACE)), "abc-1");
        assert_eq!(of(None, Some(TRACE)), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(of(None, None).len(), 36);
        assert_eq!(of(None, Some("nonsense")).len(), 36);
    }

    #[test]
    fn what_does_not_belong_in_a_log_is_not_taken_over() {
        let long = "a".repeat(129);
        for said in ["", "a b", "a\tb", "ä", &long] {
            assert_eq!(of(Some(said), None).len(), 36, "{said:?}");
        }
        let longest = "a".repeat(128);
        assert_eq!(of(Some(&longest), None), longest);
    }
}
