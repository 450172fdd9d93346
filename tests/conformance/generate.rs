//! Cases from a seed: the same seed, the same case. Values are taken from the edges of what the rules speak of.

use crate::model::{Baseline, Case, Keep, Matcher, Policy, Ratio, Span, Trace};
use crate::oracle::hash;
use crate::support::otlp::{Value, text};

const START: u64 = 1_700_000_000_000_000_000;
const NAMESPACES: [&str; 4] = ["shop", "shop-eu", "bank", "a"];
/// Names of services. The same ones occur in every namespace.
const SERVICES: [&str; 18] = [
    "web",
    "web",
    "cart",
    "we.b",
    "w+b",
    ".*",
    "web|cart",
    "^web$",
    "$web",
    "$$web",
    "$1",
    "%s",
    "wéb-日本-🚀",
    "we\"b",
    "we\\b",
    "we'b `c`",
    "{web}",
    "[web] (1)",
];
const ROUTES: [&str; 26] = [
    "/search",
    "/searchx",
    "/search/",
    "/search/{id}",
    "/",
    "/a.b",
    "/aXb",
    "/a+b",
    "/aab",
    "/files/*",
    "/files/x",
    "/q\"uote",
    "/back\\slash",
    "/tab\there",
    "/new\nline",
    "/cash$",
    "/$1",
    "/$$",
    "/%s",
    "/[x]",
    "(/group)",
    "/ünï/日本/🚀",
    "/SEARCH",
    " /search",
    "/healthz",
    "*",
];
const PREFIXES: [&str; 8] = ["/sea", "/search/", "/", "/a.", "/files/*", "/ün", "/$", "(/"];
const NAMES: [&str; 20] = [
    "poll",
    "poll ",
    "poll queue",
    "poll a\nb",
    "xpoll queue",
    "GET /x.y",
    "GET /xzy",
    "a-b-c",
    "abc",
    "[x]1",
    "x1",
    "$5",
    "5",
    "日本語 span",
    "tab\tname",
    "qu\"ote\\",
    "%d",
    "",
    "*",
    "get",
];
const PATTERNS: [&str; 17] = [
    "*que*",
    "p*l",
    "poll *",
    "poll*",
    "*",
    "GET /x.y",
    "a*b*c",
    "[x]*",
    "$*",
    "日本*",
    "*\tname",
    "qu\"ote\\",
    "%d",
    "*queue",
    "^get$",
    "p.ll*",
    "**",
];
const METHODS: [&str; 6] = ["GET", "POST", "get", "GET ", "M-\"X", "*"];
const RATIOS: [&str; 8] = ["0", "0.01", "0.07", "0.1", "0.5", "1", "0.001", "0.25"];
/// Limits of slow spans and traces, in milliseconds.
const LIMITS: [u64; 3] = [1000, 250, 1];
/// Nanoseconds; below zero, a clock went back.
const DURATIONS: [i64; 12] = [
    0,
    1,
    999_999,
    1_000_000,
    249_999_999,
    250_000_000,
    300_000_000,
    999_999_999,
    1_000_000_000,
    1_000_000_001,
    -1_000_000_000,
    -5_000_000,
];

/// A xorshift generator: small, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    /// Begins at a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 11).expect("64 bits") % end
    }

    /// True in so many of a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.below(index + 1));
        }
    }
}

/// A random case with so many traces.
pub(crate) fn case(seed: u64, traces: usize) -> Case {
    let mut random = Random::new(seed);
    let baseline = Baseline {
        ratio: random.chance(85).then(|| Ratio(random.pick(&RATIOS[..5]))),
        keep: Keep { services: some(&mut random, 25, |random| random.pick(&SERVICES)), ..keep(&mut random, 20, false) },
    };
    let mut free: Vec<(&str, &str)> =
        NAMESPACES.iter().flat_map(|namespace| SERVICES[1..].iter().map(move |name| (*namespace, *name))).collect();
    random.shuffle(&mut free);
    let policies: Vec<Policy> = (0..6).map(|index| policy(&mut random, index, &mut free)).collect();
    // Three services that no policy reaches, one of them without a namespace and one without a name.
    let strangers = [("shop", "stranger"), ("", "web"), ("bank", "")];
    let known = policies
        .iter()
        .flat_map(|policy| policy.services.iter().map(|name| (policy.namespace.as_str(), name.as_str())));
    let services: Vec<(&str, &str)> = known.chain(strangers).collect();
    let traces: Vec<Trace> = (0..traces).map(|_| trace(&mut random, &services, &policies)).collect();
    let requests = requests(&mut random, &traces);
    Case { name: format!("random case {seed}"), baseline, policies, manifests: None, traces, requests }
}

fn some(random: &mut Random, percent: usize, mut make: impl FnMut(&mut Random) -> &'static str) -> Vec<String> {
    if random.chance(percent) { vec![make(random).to_owned()] } else { Vec::new() }
}

fn keep(random: &mut Random, percent: usize, always: bool) -> Keep {
    Keep {
        errors: random.chance(percent),
        http_server_errors: random.chance(percent),
        slower_than: random.chance(percent).then(|| random.pick(&LIMITS)),
        always: always && random.chance(6),
        services: Vec::new(),
    }
}

fn policy(random: &mut Random, index: usize, free: &mut Vec<(&'static str, &'static str)>) -> Policy {
    let (namespace, first) = free.pop().expect("names enough");
    let mut services = vec![first.to_owned()];
    if random.chance(30)
        && let Some(other) = free.iter().position(|(other, _)| *other == namespace)
    {
        services.push(free.remove(other).1.to_owned());
    }
    // With others of the same name elsewhere more often than chance would have it.
    if let Some(same) = free.iter().position(|(other, name)| *other != namespace && *name == first) {
        let same = free.remove(same);
        free.push(same);
    }
    let rules = random.below(5);
    Policy {
        namespace: namespace.to_owned(),
        name: format!("p{index}"),
        services,
        disabled: random.chance(8),
        ratio: random.chance(75).then(|| Ratio(random.pick(&RATIOS))),
        keep: keep(random, 30, true),
        drop: (0..random.below(3)).map(|_| matcher(random)).collect(),
        routes: (0..rules).map(|_| (matcher(random), Ratio(random.pick(&RATIOS)))).collect(),
    }
}

fn matcher(random: &mut Random) -> Matcher {
    let kind = random.below(10);
    let mut matcher = Matcher::default();
    match kind {
        0..=4 => matcher.route = Some(random.pick(&ROUTES).to_owned()),
        5 | 6 => matcher.route_prefix = Some(random.pick(&PREFIXES).to_owned()),
        _ => matcher.span_name = Some(random.pick(&PATTERNS).to_owned()),
    }
    if random.chance(35) {
        matcher.method = Some(random.pick(&METHODS).to_owned());
    }
    if matcher.span_name.is_none() && random.chance(15) {
        matcher.span_name = Some(random.pick(&PATTERNS).to_owned());
    }
    matcher
}

fn trace(random: &mut Random, services: &[(&str, &str)], policies: &[Policy]) -> Trace {
    let id = trace_id(random);
    // Most traces stay in few services, and most of them are fast and without faults, so that ratios decide.
    let own: Vec<(&str, &str)> = (0..=random.below(3)).map(|_| random.pick(services)).collect();
    let plain = random.chance(70);
    let count = 1 + random.below(6);
    let mut spans: Vec<Span> = (0..count)
        .map(|index| {
            let service = random.pick(&own);
            let start = START + u64::try_from(random.below(5)).expect("small") * 1_000;
            let duration = if plain { random.pick(&[0, 1, 5_000]) } else { random.pick(&DURATIONS) };
            Span {
                id: random.next() | 1,
                // Some roots are missing, some traces have two.
                parent: (index > 0 || random.chance(12)).then_some(7).filter(|_| index == 0 || !random.chance(4)),
                name: random.pick(&NAMES).to_owned(),
                start,
                end: start.wrapping_add_signed(duration),
                error: !plain && random.chance(15),
                resource: resource(random, service),
                attributes: attributes(random, service, policies, plain),
            }
        })
        .collect();
    let root = spans[0].id;
    spans.iter_mut().skip(1).filter(|span| span.parent.is_some()).for_each(|span| span.parent = Some(root));
    random.shuffle(&mut spans);
    Trace { id, spans }
}

/// An id whose hash lies between two neighbouring ratios, each pair equally often: chance alone would hardly ever tell
/// 0.01 from 0.001.
fn trace_id(random: &mut Random) -> [u8; 16] {
    let edges = [0.0, 0.001, 0.01, 0.07, 0.1, 0.25, 0.5, 1.0];
    let band = random.below(edges.len() - 1);
    loop {
        let id = (u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes();
        #[allow(clippy::cast_precision_loss, reason = "which band it is in may be off at its edge")]
        let share = hash(&id) as f64 / u64::MAX as f64;
        if share > edges[band] && share <= edges[band + 1] {
            return id;
        }
    }
}

fn resource(random: &mut Random, (namespace, name): (&str, &str)) -> Vec<(String, Value)> {
    let mut pairs = vec![("host.name".to_owned(), text(format!("host-{}", random.below(2))))];
    let mut add = |key: &str, value: Value| pairs.push((key.to_owned(), value));
    if !name.is_empty() {
        add("service.name", text(name));
    }
    match random.below(10) {
        _ if namespace.is_empty() => {}
        // The namespace of the cluster counts before what the service says of itself.
        0..=5 => {
            add("k8s.namespace.name", text(namespace));
            if random.chance(30) {
                add("service.namespace", text(random.pick(&NAMESPACES)));
            }
        }
        _ => add("service.namespace", text(namespace)),
    }
    if random.chance(12) {
        fake(random, &mut pairs);
    }
    random.shuffle(&mut pairs);
    pairs
}

fn attributes(random: &mut Random, service: (&str, &str), policies: &[Policy], plain: bool) -> Vec<(String, Value)> {
    let mut pairs = Vec::new();
    let mut add = |key: &str, value: Value| pairs.push((key.to_owned(), value));
    if random.chance(80) {
        // Often what a rule of the service's own policy speaks of, sometimes what others' rules do.
        let own = policies
            .iter()
            .find(|policy| policy.namespace == service.0 && policy.services.iter().any(|name| name == service.1));
        let rules = own.filter(|_| random.chance(70)).or_else(|| policies.get(random.below(policies.len())));
        let rules = rules.into_iter().flat_map(|policy| policy.routes.iter().map(|(rule, _)| rule).chain(&policy.drop));
        let rules: Vec<&Matcher> = rules.collect();
        let rule = if rules.is_empty() { None } else { Some(random.pick(&rules)) };
        let route = rule.and_then(|rule| rule.route.clone()).filter(|_| random.chance(75));
        add("http.route", text(route.unwrap_or_else(|| random.pick(&ROUTES).to_owned())));
        let method = rule.and_then(|rule| rule.method.clone()).filter(|_| random.chance(80));
        let method = method.unwrap_or_else(|| random.pick(&METHODS).to_owned());
        match random.below(5) {
            0 | 1 => add("http.request.method", text(method)),
            2 | 3 => add("http.method", text(method)),
            _ => {
                add("http.request.method", text(method));
                add("http.method", text(random.pick(&METHODS)));
            }
        }
    }
    if !plain && random.chance(40) {
        let status = random.below(16);
        let key = random.pick(&["http.response.status_code", "http.status_code"]);
        add(
            key,
            [200, 499, 500, 503, 599, 600]
                .get(status)
                .map_or_else(|| odd_status(status), |code| Value::IntValue(*code)),
        );
        if random.chance(20) {
            let other = if key == "http.status_code" { "http.response.status_code" } else { "http.status_code" };
            add(other, Value::IntValue(random.pick(&[200, 503])));
        }
    }
    if random.chance(10) {
        // What is said on a span does not make it another service's.
        add("service.name", text("web"));
        add("k8s.namespace.name", text("shop"));
    }
    if random.chance(10) {
        fake(random, &mut pairs);
    }
    pairs
}

/// What is not an integer: only strings of digits count.
fn odd_status(number: usize) -> Value {
    match number {
        6 => text("503"),
        7 => text("500"),
        8 => text("599"),
        9 => text("499"),
        10 => text("600"),
        11 => text("x"),
        12 => text(""),
        13 => Value::DoubleValue(503.0),
        14 => Value::BoolValue(true),
        _ => Value::DoubleValue(599.5),
    }
}

/// Marks of the collector's own, from a sender.
fn fake(random: &mut Random, pairs: &mut Vec<(String, Value)>) {
    let key = random.pick(&["m", "keep", "drop", "_ns", "_errors", "_routes", "_drops", "x"]);
    let values = [text("base"), text("1"), text("0"), text("2"), text("1.0"), text("shop"), Value::BoolValue(true)];
    pairs.push((format!("tracesteward.{key}"), values[random.below(values.len())].clone()));
}

/// Spans of a trace come in several requests, in any order, beside those of others; spans of one resource sometimes
/// together and sometimes apart.
fn requests(random: &mut Random, traces: &[Trace]) -> Vec<Vec<Vec<(usize, usize)>>> {
    let mut requests = Vec::new();
    let all: Vec<usize> = (0..traces.len()).collect();
    for window in all.chunks(25) {
        let mut spans: Vec<(usize, usize)> =
            window.iter().flat_map(|trace| (0..traces[*trace].spans.len()).map(move |span| (*trace, span))).collect();
        random.shuffle(&mut spans);
        let resource = |(trace, span): (usize, usize)| &traces[trace].spans[span].resource;
        for part in spans.chunks(30) {
            let mut groups: Vec<Vec<(usize, usize)>> = Vec::new();
            for own in part {
                match groups.iter_mut().find(|group| resource(group[0]) == resource(*own) && random.chance(80)) {
                    Some(group) => group.push(*own),
                    None => groups.push(vec![*own]),
                }
            }
            requests.push(groups);
        }
    }
    requests
}
