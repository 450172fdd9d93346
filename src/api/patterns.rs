//! Regular expressions that CEL (RE2) and the Rust checks share, so that both give the same answer.

use std::sync::LazyLock;

use regex_lite::Regex;

/// A Go duration such as `1m30s` or `.5s`; the sign `-` is left out because every duration here is positive.
pub const DURATION: &str = r"^[+]?(([0-9]{1,10}[.]?[0-9]{0,10}|[.][0-9]{1,10})(ns|us|µs|μs|ms|s|m|h))+$";

/// A [`DURATION`] of which every part is a whole number of milliseconds. A pattern and no arithmetic, because the API
/// server's cost estimate does not allow for converting durations in CEL.
pub const MILLISECONDS: &str =
    r"^[+]?(([0-9]+[.]?|[0-9]*[.][0-9]{1,3}0*)(s|m|h)|[0-9]+([.]0*)?ms|[0-9]*000(us|µs|μs)|[0-9]*000000ns)+$";

/// An http or https URL with a host: scheme, optional user information, host, optional port, optional path and query, all in
/// the characters that RFC 3986 allows there (an apostrophe apart, which would end a string in CEL).
pub const ENDPOINT: &str = r"^[hH][tT][tT][pP][sS]?://(([A-Za-z0-9._~!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?([/?]([A-Za-z0-9._~!$&()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$";

/// A DNS subdomain as Kubernetes names objects (RFC 1123).
pub const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Whether `text` matches one of the patterns of this module; each is compiled once.
pub fn matches(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<Vec<(&'static str, Option<Regex>)>> = LazyLock::new(|| {
        [DURATION, MILLISECONDS, ENDPOINT, DNS_SUBDOMAIN].map(|pattern| (pattern, Regex::new(pattern).ok())).into()
    });
    let compiled = COMPILED.iter().find(|(known, _)| *known == pattern).and_then(|(_, regex)| regex.as_ref());
    compiled.is_some_and(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for good in ["http://a", "https://a.b:4317", "http://[::1]:4318/x", "http://u:p@h:1/?q", "HTTP://x/"] {
            assert!(matches(ENDPOINT, good), "{good}");
        }
        for bad in [
            "",
            "a:4317",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a b",
            "http://:4317",
            "http://a:port",
            "http://a/#f",
            "http://a/%zz",
            "http://a/ü",
            "http://u\"x@h:1",
            "http://a/\u{1}",
            "http://[1.2.3.4]",
        ] {
            assert!(!matches(ENDPOINT, bad), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert!(matches(DNS_SUBDOMAIN, "otel-headers.v1"));
        for bad in ["", "Otel", "a..b", "-a", "a_b", "a."] {
            assert!(!matches(DNS_SUBDOMAIN, bad), "{bad}");
        }
    }
}
