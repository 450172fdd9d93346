//! Scrubbing: what never leaves the collector.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mark::OURS,
    names::Names,
    text::{literal, quote_regex},
    transform::{Context, Group, Transform},
};
use crate::api::Scrub;

/// Headers that carry credentials, whatever else is listed.
const ALWAYS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];
/// One attribute under the names of two versions of the semantic conventions: truncated alike.
const URL: [&str; 2] = ["http.url", "url.full"];

/// Removes headers, named attributes and the ends of long texts from resources, scopes, spans and span events.
pub(in crate::plan::collector) fn scrub(settings: &Scrub, names: Names) -> Transform {
    let headers = removed_headers(settings);
    let truncated = truncated(settings);
    let contexts = [Context::Resource, Context::Scope, Context::Span, Context::SpanEvent];
    Transform::new(contexts.map(|context| {
        let attributes = context.attributes();
        // By patterns: `delete_key` would leave the second of two attributes of one name.
        let delete = |pattern: &str| format!("delete_matching_keys({attributes}, {})", literal(pattern));
        let mut statements = vec![delete(&headers)];
        if context == Context::Resource {
            // Metrics of spans carry every attribute of a resource, and are made before marks are set.
            statements.push(delete(OURS));
        }
        let removed: BTreeSet<_> = settings.attributes.iter().map(|name| quote_regex(name)).collect();
        if !removed.is_empty() {
            let removed: Vec<_> = removed.into_iter().collect();
            statements.push(delete(&format!("(?s)^({})$", removed.join("|"))));
        }
        for (at, (name, bytes)) in truncated.iter().enumerate() {
            let path = format!("{attributes}[{}]", literal(name));
            let only = format!("{}[\"{at}\"]", context.cache());
            statements.push(format!("set({only}, {path})"));
            statements.push(format!("{} where {only} != nil", delete(&format!("(?s)^{}$", quote_regex(name)))));
            statements.push(format!("set({path}, {only}) where {only} != nil"));
            statements.extend(truncate(&path, *bytes, names));
        }
        Group::new(context, statements)
    }))
}

/// A pattern (RE2) of the attributes that are removed because they hold headers.
pub(in crate::plan::collector) fn removed_headers(settings: &Scrub) -> String {
    pattern(&headers(settings))
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

/// The attributes that hold one of the headers: HTTP headers and RPC metadata, of every RPC system, in any case; and those
/// that hold all headers in one value, whose parts cannot be told apart for certain.
fn pattern(headers: &BTreeSet<String>) -> String {
    let places = r"http[.](request|response)[.]header|rpc[.]([a-z0-9_-]+[.])?(request|response)[.]metadata";
    format!("(?is)^({places})([.]{}([.].*)?)?$", any_header(headers))
}

/// Limits in bytes, by attribute; both names of the URL where one is listed.
pub(in crate::plan::collector) fn truncated(settings: &Scrub) -> BTreeMap<&str, i32> {
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
