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

/// Versions of the OpenTelemetry Collector whose names and semantics are known: 0.140 to 0.155.
pub const COLLECTOR_VERSION: &str = r"^0[.]1(4[0-9]|5[0-5])[.][0-9]{1,4}$";

/// The name of an HTTP header (RFC 9110, token; without the apostrophe and the backtick).
pub const HEADER: &str = r"^[A-Za-z0-9!#$%&*+.^_|~-]+$";

/// The name of a header that can be sent over HTTP and over gRPC, which takes fewer characters.
pub const SENT_HEADER: &str = r"^[A-Za-z0-9._-]+$";

/// A key of a Secret.
pub const SECRET_KEY: &str = r"^[A-Za-z0-9._-]+$";

/// A URL without a path and a query: what OTLP over gRPC can be sent to.
pub const NO_PATH: &str = r"^[A-Za-z]+://[^/?]*/?$";

/// What the objects of a collector can be called after: a DNS label that begins with a letter (RFC 1035), short enough
/// for `<name>-collector-<hash>` to be the label of a pod.
pub const COLLECTOR_NAME: &str = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$";

/// A host, or `*.` and the end of hosts; IPv6 addresses in brackets.
pub const HOST_PATTERN: &str = r"^([*][.])?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$|^\[[0-9A-Fa-f:.]+\]$";

/// Whether `text` matches one of the patterns of this module; each is compiled once.
pub fn matches(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<Vec<(&'static str, Option<Regex>)>> =
        LazyLock::new(|| ALL.map(|pattern| (pattern, Regex::new(pattern).ok())).into());
    let compiled = COMPILED.iter().find(|(known, _)| *known == pattern).and_then(|(_, regex)| regex.as_ref());
    compiled.is_some_and(|regex| regex.is_match(text))
}

/// Text with at most eight `*`.
pub const WILDCARDS: &str = r"^[^*]*([*][^*]*){0,8}$";

const ALL: [&str; 12] = [
    DURATION,
    MILLISECONDS,
    ENDPOINT,
    DNS_SUBDOMAIN,
    COLLECTOR_VERSION,
    HEADER,
    SENT_HEADER,
    SECRET_KEY,
    NO_PATH,
    COLLECTOR_NAME,
    WILDCARDS,
    HOST_PATTERN,
];

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
