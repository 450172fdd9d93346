//! Rules about certain spans, taken apart once and asked for every span.

use super::SpanFacts;
use crate::api::SpanMatcher;

/// A [`SpanMatcher`] that is ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matcher {
    route: Option<String>,
    prefix: Option<String>,
    method: Option<String>,
    name: Option<Pattern>,
}

impl Matcher {
    pub(super) fn new(matcher: &SpanMatcher) -> Self {
        Self {
            route: matcher.route.clone(),
            prefix: matcher.route_prefix.clone(),
            method: matcher.method.clone(),
            name: matcher.span_name.as_deref().map(Pattern::new),
        }
    }

    /// Whether everything that it asks for is there, on this one span.
    pub(super) fn matches(&self, span: &SpanFacts<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        same(&self.route, span.route)
            && same(&self.method, span.method)
            && self.prefix.as_deref().is_none_or(|prefix| span.route.is_some_and(|route| route.starts_with(prefix)))
            && self.name.as_ref().is_none_or(|pattern| pattern.matches(span.name))
    }
}

/// A text in which `*` stands for any characters: at least one piece, with such a star between two pieces.
#[derive(Clone, Debug, PartialEq)]
struct Pattern(Vec<String>);

impl Pattern {
    fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(str::to_owned).collect())
    }

    fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        // The leftmost place leaves most to the pieces that follow.
        middle.iter().all(|piece| match rest.split_once(piece.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        for (pattern, text) in [
            ("poll *", "poll a\nb"),
            ("*", ""),
            ("**", "x"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("*que*", "poll queue"),
            ("*a*", "a"),
            ("p*l", "poll"),
            ("x", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("poll *", "poll"), ("aa*aa", "aaa"), ("a*b*c", "acb"), ("x", "xx"), ("a*b*b*c", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
