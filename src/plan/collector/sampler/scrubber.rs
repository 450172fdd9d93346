//! What scrubbing removes and cuts, by the patterns of `config::scrub`.

use std::collections::HashMap;

use regex_lite::Regex;

use super::super::config;
use crate::api::Scrub;

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scrubbed {
    /// It stays as it is.
    #[default]
    Stays,
    /// It is removed.
    Removed,
    /// Of a text, this many bytes are left at most.
    Cut(usize),
}

/// Says what becomes of attributes, by their names.
#[derive(Clone, Debug)]
pub struct Scrubber {
    /// `None` where it would not compile: then nothing can be said of headers.
    headers: Option<Regex>,
    named: HashMap<String, Scrubbed>,
}

impl Scrubber {
    pub(super) fn new(settings: &Scrub) -> Self {
        let cut = config::truncated(settings).into_iter();
        let cut = cut.map(|(name, bytes)| (name.to_owned(), Scrubbed::Cut(usize::try_from(bytes).unwrap_or_default())));
        // What is removed cannot be cut any more.
        let removed = settings.attributes.iter().map(|name| (name.clone(), Scrubbed::Removed));
        Self { headers: Regex::new(&config::removed_headers(settings)).ok(), named: cut.chain(removed).collect() }
    }

    /// What becomes of an attribute.
    pub fn fate(&self, name: &str) -> Scrubbed {
        match self.named.get(name) {
            Some(Scrubbed::Removed) => Scrubbed::Removed,
            _ if self.is_header(name) => Scrubbed::Removed,
            other => other.copied().unwrap_or_default(),
        }
    }

    fn is_header(&self, name: &str) -> bool {
        // What the pattern can begin with; it costs much more than this.
        if !name.starts_with(['h', 'H', 'r', 'R']) {
            return false;
        }
        // The collector's expressions take two letters beyond ASCII for the same as `s` and `k` where case does not matter.
        let plain = name.replace('\u{17f}', "s").replace('\u{212a}', "k");
        self.headers.as_ref().is_some_and(|pattern| pattern.is_match(&plain))
    }
}

/// A text within so many bytes, whole characters only.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

impl Scrubbed {
    /// What is left of a text.
    pub fn left(self, text: &str) -> Option<&str> {
        match self {
            Self::Stays => Some(text),
            Self::Removed => None,
            Self::Cut(bytes) => Some(cut(text, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_told_apart_by_their_names() {
        let settings = "{headers: [X-Tenant.Token], attributes: [db.statement, url.full], truncate: {http.url: 8}}";
        let scrubber = Scrubber::new(&serde_saphyr::from_str(settings).unwrap());
        for name in [
            "db.statement",
            "url.full",
            "http.request.header.Authorization",
            "http.response.header.set_cookie",
            "HTTP.Request.Header",
            "rpc.grpc.request.metadata.x-tenant.token",
            "http.request.header.COO\u{212a}IE",
        ] {
            assert_eq!(scrubber.fate(name), Scrubbed::Removed, "{name}");
        }
        for name in ["db_statement", "http.request.header.cookies", "session.cookie", "http.route"] {
            assert_eq!(scrubber.fate(name), Scrubbed::Stays, "{name}");
        }
        assert_eq!(scrubber.fate("http.url"), Scrubbed::Cut(8));
        assert_eq!(Scrubbed::Cut(3).left("aéé"), Some("aé"));
        assert_eq!(Scrubbed::Cut(2).left("aéé"), Some("a"));
        assert_eq!(Scrubbed::Cut(9).left("aéé"), Some("aéé"));
    }
}
