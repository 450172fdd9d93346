//! Marks: what a span and its resource are to the tail sampler, set before it and removed after it.
//!
//! Whose a resource is is decided once for each resource, by a statement for each service with rules, grouped by namespace.
//! From there on a span costs a constant number of statements, whatever the number of policies: it looks its route up in the
//! table that its resource carries. Rules with patterns are tried one by one, for spans of their own service only.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    text::{literal, map, quote_regex},
    transform::{Context, Group, Transform},
};
use crate::{
    api::{CollectorKeep, Identity, Keep, SpanMatcher},
    plan::collector::tail::{BASE, Model, Offers},
};

/// The attribute that carries an offer's mark, on resources and spans.
pub(in crate::plan::collector) const MARK: &str = "tracesteward.m";
/// The attribute of what is kept whatever the ratios say.
pub(in crate::plan::collector) const KEEP: &str = "tracesteward.keep";
/// The attribute of a root span that drops its trace.
pub(in crate::plan::collector) const DROP: &str = "tracesteward.drop";
/// Everything of ours; whatever a sender sets there is removed first.
pub(in crate::plan::collector) const OURS: &str = "^tracesteward[.]";
/// What is only needed while marks are set.
const SCRATCH: &str = "^tracesteward[.]_";

/// The processor that sets the marks.
pub(in crate::plan::collector) fn mark(model: &Model<'_>, keep: &CollectorKeep, identity: Identity) -> Transform {
    let mut groups = vec![forget(Context::Resource, OURS), forget(Context::Span, OURS), whose(identity, keep)];
    groups.extend(services(model));
    groups.extend(kept(model, keep));
    groups.extend(matched(model));
    groups.push(forget(Context::Resource, SCRATCH));
    Transform::new(groups)
}

/// The processor that removes the marks from what was kept.
pub(in crate::plan::collector) fn unmark() -> Transform {
    Transform::new([forget(Context::Resource, OURS), forget(Context::Span, OURS)])
}

fn forget(context: Context, pattern: &str) -> Group {
    Group::new(context, [format!("delete_matching_keys({}, {})", context.attributes(), literal(pattern))])
}

fn resource(name: &str) -> String {
    format!("resource.attributes[{}]", literal(name))
}

fn span(name: &str) -> String {
    format!("span.attributes[{}]", literal(name))
}

/// The namespace of a resource, the offer of services without rules, and what is always kept.
fn whose(identity: Identity, keep: &CollectorKeep) -> Group {
    let namespace = resource("tracesteward._ns");
    let mut statements = vec![format!("set({namespace}, {})", resource("k8s.namespace.name"))];
    // What the connection says is the only truth there: a name that the sender gives itself must not stand in for it.
    if identity == Identity::Attributes {
        statements.push(format!("set({namespace}, {}) where {namespace} == nil", resource("service.namespace")));
    }
    statements.push(format!("set({}, {})", resource(MARK), literal(BASE)));
    let mut always: Vec<&String> = keep.services.iter().collect();
    always.sort();
    always.dedup();
    let name = resource("service.name");
    statements.extend(
        always
            .into_iter()
            .map(|service| format!("set({}, \"1\") where {name} == {}", resource(KEEP), literal(service))),
    );
    Group::new(Context::Resource, statements)
}

/// One group for each namespace, one statement for each service with rules.
fn services(model: &Model<'_>) -> Vec<Group> {
    let mut namespaces: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for offers in &model.services {
        namespaces.entry(offers.service.namespace).or_default().push(service(offers));
    }
    let group = |(namespace, statements): (&str, Vec<String>)| {
        let condition = format!("{} == {}", resource("tracesteward._ns"), literal(namespace));
        Group::new(Context::Resource, statements).when(condition)
    };
    namespaces.into_iter().map(group).collect()
}

/// Everything that a resource of this service carries while its spans are marked.
pub(in crate::plan::collector) fn service(offers: &Offers<'_>) -> String {
    let mut entries = vec![(MARK, literal(&offers.own))];
    let keep = offers.keep.cloned().unwrap_or_default();
    if keep.always == Some(true) {
        entries.push((KEEP, literal("1")));
    }
    if keep.errors == Some(true) {
        entries.push(("tracesteward._errors", "true".to_owned()));
    }
    if keep.http_server_errors == Some(true) {
        entries.push(("tracesteward._httpServerErrors", "true".to_owned()));
    }
    if let Some(nanos) = slower_than(&keep) {
        entries.push(("tracesteward._slower", nanos));
    }
    let rules: Vec<_> = offers.rules.iter().map(|(rule, mark)| (&rule.matcher, mark.as_str())).collect();
    entries.extend(table(&rules, "tracesteward._routes", "tracesteward._rules"));
    let drops: Vec<_> = offers.drop.iter().map(|matcher| (matcher, "1")).collect();
    entries.extend(table(&drops, "tracesteward._drops", "tracesteward._dropRules"));
    let name = resource("service.name");
    format!(
        "merge_maps(resource.attributes, {}, \"upsert\") where {name} == {}",
        map(entries),
        literal(&offers.service.name)
    )
}

fn slower_than(keep: &Keep) -> Option<String> {
    Some(keep.slower_than.as_ref()?.0.get()?.as_nanos().to_string())
}

/// Rules as a table by method and route where every rule is about a route; else as a list to be tried in order.
fn table(
    rules: &[(&SpanMatcher, &str)],
    by_route: &'static str,
    in_order: &'static str,
) -> Option<(&'static str, String)> {
    if rules.is_empty() {
        return None;
    }
    if rules.iter().any(|(matcher, _)| is_pattern(matcher)) {
        let numbered = rules.iter().enumerate().map(|(at, (matcher, mark))| (at.to_string(), record(matcher, mark)));
        let numbered: Vec<_> = numbered.collect();
        return Some((in_order, map(numbered.iter().map(|(at, record)| (at.as_str(), record.clone())))));
    }
    // An entry holds the first rule that matches a span of this method and route; `*` stands for every other method.
    let mut methods: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (matcher, _) in rules {
        let (route, method) = (matcher.route.as_deref().unwrap_or_default(), matcher.method.as_deref());
        let covers = |other: &SpanMatcher| {
            other.route.as_deref() == Some(route) && (other.method.is_none() || other.method.as_deref() == method)
        };
        if let Some((_, mark)) = rules.iter().find(|(other, _)| covers(other)) {
            methods.entry(method.unwrap_or(ANY_METHOD)).or_default().entry(route).or_insert(mark);
        }
    }
    let routes = |routes: BTreeMap<&str, &str>| map(routes.into_iter().map(|(route, mark)| (route, literal(mark))));
    Some((by_route, map(methods.into_iter().map(|(method, marks)| (method, routes(marks))))))
}

/// The entry of a table for every method that has none of its own.
const ANY_METHOD: &str = "*";

/// Rules that no table can hold.
fn is_pattern(matcher: &SpanMatcher) -> bool {
    matcher.span_name.is_some() || matcher.route_prefix.is_some() || matcher.method.as_deref() == Some(ANY_METHOD)
}

/// A rule as the list has it.
fn record(matcher: &SpanMatcher, mark: &str) -> String {
    map([("mark", literal(mark))].into_iter().chain(fields(matcher)))
}

/// What a rule asks for; absent fields match everything.
fn fields(matcher: &SpanMatcher) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut text = |name: &'static str, value: &Option<String>| {
        fields.extend(value.as_deref().map(|value| (name, literal(value))));
    };
    text("route", &matcher.route);
    text("prefix", &matcher.route_prefix);
    text("method", &matcher.method);
    if let Some(pattern) = &matcher.span_name {
        let pieces: Vec<&str> = pattern.split('*').collect();
        let mut both = |beginning: &str, end: &str| {
            fields.push(("begins", literal(beginning)));
            fields.push(("ends", literal(end)));
            // The beginning must not be read as the end too.
            fields.push(("atLeast", (beginning.len() + end.len()).to_string()));
        };
        match pieces.as_slice() {
            [_] => fields.push(("name", literal(pattern))),
            [beginning, ""] => fields.push(("begins", literal(beginning))),
            ["", end] => fields.push(("ends", literal(end))),
            [beginning, end] => both(beginning, end),
            ["", middle, ""] => fields.push(("holds", literal(middle))),
            _ => fields.push(("pattern", literal(pattern))),
        }
    }
    fields
}

/// Spans that are kept whatever the ratios say.
fn kept(model: &Model<'_>, collector: &CollectorKeep) -> Vec<Group> {
    let keep = format!("set({}, \"1\")", span(KEEP));
    let any = |asks: fn(&Keep) -> bool| model.services.iter().any(|offers| offers.keep.is_some_and(asks));
    let mut groups = Vec::new();
    if any(|keep| keep.errors == Some(true)) {
        let condition =
            format!("{} == true and span.status.code == STATUS_CODE_ERROR", resource("tracesteward._errors"));
        groups.push(Group::new(Context::Span, [keep.clone()]).when(condition));
    }
    let everywhere = collector.http_server_errors == Some(true);
    if everywhere || any(|keep| keep.http_server_errors == Some(true)) {
        let wanted = format!("{} == true and ", resource("tracesteward._httpServerErrors"));
        let wanted = if everywhere { "" } else { wanted.as_str() };
        let group = Group::new(Context::Span, [keep.clone()]);
        let names = ["http.response.status_code", "http.status_code"];
        groups.push(
            names.into_iter().fold(group, |group, name| group.when(format!("{wanted}{}", is_server_error(name)))),
        );
    }
    if any(|keep| keep.slower_than.is_some()) {
        let limit = resource("tracesteward._slower");
        let condition = format!("{limit} != nil and span.end_time_unix_nano - span.start_time_unix_nano >= {limit}");
        groups.push(Group::new(Context::Span, [keep]).when(condition));
    }
    groups
}

/// Integers and texts of digits; `Int` would read fractions as whole numbers too.
fn is_server_error(name: &str) -> String {
    let status = span(name);
    format!("(IsInt({status}) or IsString({status})) and Int({status}) >= 500 and Int({status}) <= 599")
}

/// The rules that a span matches: for offers by any span, for drops by the root of a trace.
fn matched(model: &Model<'_>) -> Vec<Group> {
    let has_table = |lists: &[Vec<&SpanMatcher>]| {
        lists.iter().any(|list| !list.is_empty() && !list.iter().any(|matcher| is_pattern(matcher)))
    };
    let offers: Vec<Vec<_>> =
        model.services.iter().map(|service| service.rules.iter().map(|(rule, _)| &rule.matcher).collect()).collect();
    let drops: Vec<Vec<_>> = model.services.iter().map(|service| service.drop.iter().collect()).collect();
    let mut groups = Vec::new();
    if has_table(&offers) {
        groups.push(by_route("tracesteward._routes", MARK, ""));
    }
    if has_table(&drops) {
        groups.push(by_route("tracesteward._drops", DROP, "IsRootSpan() and "));
    }
    groups.extend(in_order("tracesteward._rules", MARK, "", &offers));
    groups.extend(in_order("tracesteward._dropRules", DROP, "IsRootSpan() and ", &drops));
    groups
}

/// The method of a span, as either version of the semantic conventions has it; texts only.
fn method() -> [String; 2] {
    let (new, old) = (span("http.request.method"), span("http.method"));
    [
        format!("set(span.cache[\"m\"], {new}) where IsString({new})"),
        format!("set(span.cache[\"m\"], {old}) where {new} == nil and IsString({old})"),
    ]
}

/// One look into the table of the resource, with the span's method and without.
fn by_route(table: &str, mark: &str, only: &str) -> Group {
    let (table, mark, route) = (resource(table), span(mark), span("http.route"));
    let [new, old] = method();
    let own = format!("{table}[span.cache[\"m\"]]");
    let any = format!("{table}[{}]", literal(ANY_METHOD));
    let with_method = format!("set({mark}, {own}[{route}]) where span.cache[\"m\"] != nil and {own} != nil");
    let without = format!("set({mark}, {any}[{route}]) where {mark} == nil and {any} != nil");
    Group::new(Context::Span, [new, old, with_method, without])
        .when(format!("{only}{table} != nil and IsString({route})"))
}

/// One statement for each place of the longest list; the first rule that matches counts.
fn in_order(list: &str, mark: &str, only: &str, lists: &[Vec<&SpanMatcher>]) -> Option<Group> {
    let lists: Vec<_> = lists.iter().filter(|list| list.iter().any(|matcher| is_pattern(matcher))).collect();
    let places = lists.iter().map(|list| list.len()).max()?;
    let (list, mark) = (resource(list), span(mark));
    let at = |place: usize| {
        let fields: BTreeSet<_> = lists
            .iter()
            .filter_map(|list| list.get(place))
            .flat_map(|rule| fields(rule))
            .map(|(name, _)| name)
            .collect();
        let rule = format!("{list}[\"{place}\"]");
        let rules = lists.iter().filter_map(|list| list.get(place));
        let patterns: BTreeSet<_> = rules.filter_map(|rule| regex(rule.span_name.as_deref()?)).collect();
        let tests = fields.into_iter().map(|name| {
            let value = format!("{rule}[{}]", literal(name));
            let test = if name == "pattern" { any_pattern(&patterns, &value) } else { test(name, &value) };
            format!(" and ({value} == nil or {test})")
        });
        format!("set({mark}, {rule}[\"mark\"]) where {mark} == nil and {rule} != nil{}", tests.collect::<String>())
    };
    let statements = method().into_iter().chain((0..places).map(at));
    Some(Group::new(Context::Span, statements).when(format!("{only}{list} != nil")))
}

/// Whether a span has what the field of a rule asks for.
fn test(field: &str, value: &str) -> String {
    let route = span("http.route");
    match field {
        "route" => format!("{route} == {value}"),
        "prefix" => format!("(IsString({route}) and HasPrefix({route}, {value}))"),
        "method" => format!("span.cache[\"m\"] == {value}"),
        "name" => format!("span.name == {value}"),
        "begins" => format!("HasPrefix(span.name, {value})"),
        "ends" => format!("HasSuffix(span.name, {value})"),
        "atLeast" => format!("Len(span.name) >= {value}"),
        _ => format!("Index(span.name, {value}) >= 0"),
    }
}

/// A pattern that is more than a beginning, an end, or something in the middle, with its regular expression.
fn regex(pattern: &str) -> Option<(&str, String)> {
    let pieces: Vec<&str> = pattern.split('*').collect();
    let is_simple = pieces.len() <= 2 || matches!(pieces.as_slice(), ["", _, ""]);
    let quoted = || pieces.iter().map(|piece| quote_regex(piece)).collect::<Vec<_>>().join(".*");
    (!is_simple).then(|| (pattern, format!("(?s)^{}$", quoted())))
}

/// Which pattern a rule has is compared as text; each expression stands in the configuration itself. One that came from an
/// attribute would be compiled anew for every span.
fn any_pattern(patterns: &BTreeSet<(&str, String)>, value: &str) -> String {
    let each = patterns.iter().map(|(pattern, regex)| {
        format!("({value} == {} and IsMatch(span.name, {}))", literal(pattern), literal(regex))
    });
    format!("({})", each.collect::<Vec<_>>().join(" or "))
}
