//! The `transform` processor: groups of statements, each for exactly one context.

use serde::Serialize;

use super::text::Text;

/// What statements of a group see. A list of statements without a context, or one that names two, runs for the deepest one
/// alone: spans without events would never be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::plan::collector) enum Context {
    /// Each resource.
    Resource,
    /// Each instrumentation scope.
    Scope,
    /// Each span.
    Span,
    /// Each event of a span.
    SpanEvent,
}

impl Context {
    /// The path of its attributes.
    pub(in crate::plan::collector) const fn attributes(self) -> &'static str {
        match self {
            Self::Resource => "resource.attributes",
            Self::Scope => "scope.attributes",
            Self::Span => "span.attributes",
            Self::SpanEvent => "spanevent.attributes",
        }
    }

    /// The path of what statements of a group remember for each other.
    pub(in crate::plan::collector) const fn cache(self) -> &'static str {
        match self {
            Self::Resource => "resource.cache",
            Self::Scope => "scope.cache",
            Self::Span => "span.cache",
            Self::SpanEvent => "spanevent.cache",
        }
    }
}

/// A `transform` processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::plan::collector) struct Transform {
    error_mode: &'static str,
    trace_statements: Vec<Group>,
}

/// Statements for one context, behind conditions of which one must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::plan::collector) struct Group {
    context: Context,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Text>,
    statements: Vec<Text>,
}

impl Transform {
    /// Groups run in this order. A statement that fails is skipped; the span goes on.
    pub(in crate::plan::collector) fn new(groups: impl IntoIterator<Item = Group>) -> Self {
        let groups = groups.into_iter().filter(|group| !group.statements.is_empty());
        Self { error_mode: "ignore", trace_statements: groups.collect() }
    }
}

impl Group {
    /// Statements that always run.
    pub(in crate::plan::collector) fn new<T: Into<Text>>(
        context: Context,
        statements: impl IntoIterator<Item = T>,
    ) -> Self {
        Self { context, conditions: Vec::new(), statements: statements.into_iter().map(Into::into).collect() }
    }

    /// They run only where this holds; of several conditions one is enough.
    #[must_use]
    pub(in crate::plan::collector) fn when(mut self, condition: impl Into<Text>) -> Self {
        self.conditions.push(condition.into());
        self
    }
}
