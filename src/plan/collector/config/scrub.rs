//! Scrubbing: what never leaves the collector.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    names::Names,
    text::{literal, quote_regex},
    transform::{Context, Group, Transform},
};
use crate::api::Scrub;

/// Headers that carry credentials, whatever else is listed.
const ALWAYS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];
/// One attribute under the names of two versions of the semantic conventions: truncated alike.
const URL: [&str; 2] = ["http.url", "url.full"];
/// Attributes that hold headers as one map.
const HEADER_MAPS: [&str; 4] =
    ["http.request.header", "http.response.header", "rpc.request.metadata", "rpc.response.metadata"];

/// Removes headers, named attributes and the ends of long texts from resources, spans and span events.
pub(in crate::plan::collector) fn scrub(settings: &Scrub, names: Names) -> Transform {
    let headers = headers(settings);
    let truncated = truncated(settings);
    let contexts = [Context::Resource, Context::Span, Context::SpanEvent];
    Transform::new(contexts.map(|context| {
        let attributes = context.attributes();
        let mut statements = vec![format!("delete_matching_keys({attributes}, {})", literal(&pattern(&headers)))];
        if context != Context::Resource {
            statements.extend(HEADER_MAPS.map(|name| in_map(attributes, name, &headers)));
        }
        let removed = settings.attributes.iter().collect::<BTreeSet<_>>();
        statements.extend(removed.into_iter().map(|name| format!("delete_key({attributes}, {})", literal(name))));
        for (name, bytes) in &truncated {
            statements.extend(truncate(&format!("{attributes}[{}]", literal(name)), *bytes, names));
        }
        Group::new(context, statements)
    }))
}

/// The headers in lower case.
fn headers(settings: &Scrub) -> BTreeSet<String> {
    let users = settings.headers.iter().map(|name| name.to_lowercase());
    ALWAYS.iter().map(|name| (*name).to_owned()).chain(users).collect()
}

/// Any of the headers, with `-` and `_` alike: older conventions wrote one for the other.
fn any_header(headers: &BTreeSet<String>) -> String {
    // Two names that differ only there are the same pattern.
    let spelt: BTreeSet<String> = headers.iter().map(|name| quote_regex(name).replace(['-', '_'], "[-_]")).collect();
    format!("({})", spelt.into_iter().collect::<Vec<_>>().join("|"))
}

/// The attributes that hold one of the headers: HTTP headers and RPC metadata, of every RPC system, in any case.
fn pattern(headers: &BTreeSet<String>) -> String {
    let places = r"http[.](request|response)[.]header|rpc[.]([a-z0-9_]+[.])?(request|response)[.]metadata";
    format!("(?i)^({places})[.]{}$", any_header(headers))
}

fn in_map(attributes: &str, name: &str, headers: &BTreeSet<String>) -> String {
    let map = format!("{attributes}[{}]", literal(name));
    let keys = literal(&format!("(?i)^{}$", any_header(headers)));
    format!("delete_matching_keys({map}, {keys}) where IsMap({map})")
}

/// Limits in bytes, by attribute; both names of the URL where one is listed.
fn truncated(settings: &Scrub) -> BTreeMap<&str, i32> {
    let mut limits: BTreeMap<&str, i32> =
        settings.truncate.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let url = URL.iter().filter_map(|name| limits.get(name)).min().copied();
    if let Some(bytes) = url {
        for name in URL {
            limits.entry(name).or_insert(bytes);
        }
    }
    limits
}

/// Cuts a text to so many bytes, and never through a character. The condition keeps the function from failing on short
/// texts and other types.
fn truncate(path: &str, bytes: i32, names: Names) -> Vec<String> {
    let long = format!("where IsString({path}) and Len({path}) > {bytes}");
    if names.whole_characters {
        return vec![format!("set({path}, Substring({path}, 0, {bytes}, true)) {long}")];
    }
    // Cut first; the bytes that are left of a character are no valid text, and read as U+FFFD each. One such text is not
    // longer than the limit any more, so the second statement asks for exactly the limit.
    let exact = format!("where IsString({path}) and Len({path}) == {bytes}");
    let rest = literal(r"\x{FFFD}{1,3}$");
    vec![
        format!("set({path}, Substring({path}, 0, {bytes})) {long}"),
        format!("replace_pattern({path}, {rest}, \"\") {exact}"),
    ]
}
