//! What the sampler reads of resources and spans, with the rules of `config::mark`: texts are texts, integers are integers, and
//! of two attributes of one name the first counts.

use crate::api::Identity;

/// The value of an attribute, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// An integer.
    Int(i64),
    /// Of any other type.
    Other,
}

impl<'a> Value<'a> {
    const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::Other => None,
        }
    }

    /// Integers and texts of digits, from 500 to 599.
    fn is_server_error(self) -> bool {
        let status = match self {
            Self::Int(status) => Some(status),
            Self::Text(text) => text.parse().ok(),
            Self::Other => None,
        };
        status.is_some_and(|status| (500..=599).contains(&status))
    }
}

/// The attributes of a resource that say whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceFacts<'a> {
    cluster_namespace: Option<Value<'a>>,
    own_namespace: Option<Value<'a>>,
    name: Option<Value<'a>>,
}

impl<'a> ResourceFacts<'a> {
    /// Takes note of an attribute.
    pub fn attribute(&mut self, key: &str, value: Value<'a>) {
        let slot = match key {
            "k8s.namespace.name" => &mut self.cluster_namespace,
            "service.namespace" => &mut self.own_namespace,
            "service.name" => &mut self.name,
            _ => return,
        };
        slot.get_or_insert(value);
    }

    /// `service.name`.
    pub fn name(&self) -> Option<&'a str> {
        self.name?.text()
    }

    /// The namespace that counts. What is there and is no text is not passed over.
    pub(super) fn namespace(&self, identity: Identity) -> Option<&'a str> {
        let own = self.own_namespace.filter(|_| identity == Identity::Attributes);
        self.cluster_namespace.or(own)?.text()
    }
}

/// What the sampler looks at in a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFacts<'a> {
    /// Whether it has no parent.
    pub is_root: bool,
    /// Its name.
    pub name: &'a str,
    /// Whether its status is error.
    pub is_error: bool,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// `http.route`.
    pub route: Option<&'a str>,
    /// The HTTP method.
    pub method: Option<&'a str>,
    /// Whether it has an HTTP status of 500 to 599.
    pub is_server_error: bool,
}

/// The attributes of a span that rules ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanAttributes<'a> {
    route: Option<Value<'a>>,
    method: Option<Value<'a>>,
    old_method: Option<Value<'a>>,
    status: Option<Value<'a>>,
    old_status: Option<Value<'a>>,
}

impl<'a> SpanAttributes<'a> {
    /// Takes note of an attribute.
    pub fn attribute(&mut self, key: &str, value: Value<'a>) {
        let slot = match key {
            "http.route" => &mut self.route,
            "http.request.method" => &mut self.method,
            "http.method" => &mut self.old_method,
            "http.response.status_code" => &mut self.status,
            "http.status_code" => &mut self.old_status,
            _ => return,
        };
        slot.get_or_insert(value);
    }

    /// Puts them beside what the span says of itself.
    pub fn complete(&self, facts: &mut SpanFacts<'a>) {
        facts.route = self.route.and_then(Value::text);
        facts.method = self.method.or(self.old_method).and_then(Value::text);
        facts.is_server_error =
            self.status.is_some_and(Value::is_server_error) || self.old_status.is_some_and(Value::is_server_error);
    }
}
