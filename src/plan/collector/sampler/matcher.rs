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

    /// Whether it certainly matches every span that the other one matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let route = match (&self.route, &self.prefix) {
            (Some(route), _) => other.route.as_ref() == Some(route),
            (None, Some(prefix)) => {
                let begins = |text: &Option<String>| text.as_ref().is_some_and(|text| text.starts_with(prefix));
                begins(&other.route) || begins(&other.prefix)
            }
            (None, None) => true,
        };
        let name = match (&self.name, &other.name) {
            (None, _) => true,
            (Some(own), None) => own.is_any(),
            (Some(own), Some(other)) => own.covers(other),
        };
        route && name && (self.method.is_none() || self.method == other.method)
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

    /// Stars alone.
    fn is_any(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(String::is_empty)
    }

    fn covers(&self, other: &Self) -> bool {
        match (self.0.as_slice(), other.0.as_slice()) {
            _ if self.is_any() || self == other => true,
            (_, [text]) => self.matches(text),
            ([beginning, end], [first, .., last]) => first.starts_with(beginning) && last.ends_with(end),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(yaml: &str) -> Matcher {
        Matcher::new(&serde_saphyr::from_str(yaml).unwrap())
    }

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
        for (pattern, text) in
            [("poll *", "poll"), ("aa*aa", "aaa"), ("a*b*c", "acb"), ("x", "xx"), ("a*b*b*c", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_covers_another_rule_covers_each_field() {
        let covers = |one: &str, other: &str| matcher(one).covers(&matcher(other));
        for (one, other) in [
            ("{route: /a}", "{route: /a, method: GET}"),
            ("{routePrefix: /a}", "{route: /ab}"),
            ("{routePrefix: /a}", "{routePrefix: /a/}"),
            ("{spanName: '*'}", "{route: /a}"),
            ("{spanName: 'poll *'}", "{spanName: 'poll x', route: /a}"),
            ("{spanName: 'poll*'}", "{spanName: 'poll a*b'}"),
            ("{spanName: '*a*'}", "{spanName: '*a*'}"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("{route: /a, method: GET}", "{route: /a}"),
            ("{route: /a}", "{routePrefix: /a}"),
            ("{routePrefix: /ab}", "{routePrefix: /a}"),
            ("{routePrefix: /a}", "{spanName: x}"),
            ("{spanName: 'poll *'}", "{route: /a}"),
            ("{spanName: '*a*'}", "{spanName: 'b*c'}"),
            ("{spanName: 'ab*bc'}", "{spanName: 'abc'}"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }
}
