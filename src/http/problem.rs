//! What goes wrong, as a problem document (RFC 9457).

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// A problem document: status, code, what is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    members: Map<String, Value>,
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem. `code` is for programs, `detail` for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new(), allow: None }
    }

    /// A path that nobody knows; `known` says which ones there are.
    pub fn not_found(known: &[&str]) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("there is nothing here, only {}", known.join(", ")))
    }

    /// Another method than these.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("only {allow} can be answered here");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", detail) }
    }

    /// With a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// The code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn document(&self, instance: Option<&str>) -> Value {
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut document = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail, "code": self.code,
        });
        if let Some(instance) = instance {
            document["instance"] = reference(instance).into();
        }
        for (name, value) in &self.members {
            document[name] = value.clone();
        }
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body::from(self.document(None).to_string());
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        // The id of the request is known to the layer around all routes.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer, with the id of its request where it is a problem.
pub(super) fn with_instance(mut response: Response, id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    tracing::debug!(code = problem.code(), detail = problem.detail(), "a problem was answered");
    *response.body_mut() = Body::from(problem.document(Some(id)).to_string());
    response
}

/// As a reference in the sense of RFC 3986, which `instance` has to be.
fn reference(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_what_the_standard_asks_for_and_the_id_of_its_request() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", "not yet").with("ready", json!(false));
        let response = with_instance(problem.clone().into_response(), "a/b");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.status(), 503);
        assert_eq!(
            problem.document(Some("a/b")),
            json!({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "not yet", "code": "NotReady",
                "instance": "a%2Fb", "ready": false})
        );
    }

    #[test]
    fn a_method_that_is_not_allowed_is_told_which_ones_are() {
        let response = Problem::method_not_allowed("GET, HEAD").into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::ALLOW]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
}
