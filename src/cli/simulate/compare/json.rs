//! What changes, for programs.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::{
        json::{List, Rule, Rules, hex, summary, with},
        subject::Subject,
    },
    Both, Tallies,
};
use crate::{
    cli::Exit,
    simulate::{Pair, ServiceName, Timing, Verdict},
};

/// A trace that changes its fate.
#[derive(Serialize)]
struct Trace<'a> {
    #[serde(rename = "traceId")]
    id: String,
    namespace: Option<&'a str>,
    service: Option<&'a str>,
    route: Option<&'a str>,
    old: Fate<'a>,
    new: Fate<'a>,
}

#[derive(Serialize)]
struct Fate<'a> {
    kept: bool,
    #[serde(flatten)]
    rule: Option<&'a Rule>,
    timing: Option<&'static str>,
}

/// Prints traces as they come.
pub(super) struct Traces {
    rules: [Rules; 2],
    list: List,
}

impl Traces {
    pub(super) fn new(subjects: &[Subject<'_>; 2]) -> Self {
        Self { rules: subjects.each_ref().map(Rules::new), list: List::new() }
    }

    pub(super) fn changed(&mut self, pair: &Pair<'_>) {
        let [old, new] = &self.rules;
        let service = pair.fate.root.and_then(|(service, _)| pair.names.service_of(service));
        self.list.push(&Trace {
            id: hex(pair.id),
            namespace: service.and_then(|service| service.namespace.as_deref()),
            service: service.and_then(|service| service.name.as_deref()),
            route: pair.fate.root.and_then(|(_, route)| pair.names.route_of(route)),
            old: fate(old, pair.old),
            new: fate(new, pair.new),
        });
    }

    /// What was begun is ended, without a summary.
    pub(super) fn give_up(self) {
        self.list.give_up();
    }

    pub(super) fn end(self, both: &Both<'_>) -> Exit {
        let all = both.turns();
        let rules = both.comparison.turns.iter().map(|((old, new), turn)| {
            let [of_old, of_new] = &self.rules;
            json!({
                "old": of_old.get(*old), "new": of_new.get(*new),
                "toKept": turn.to_kept, "toDropped": turn.to_dropped, "unchanged": turn.alike,
            })
        });
        let services =
            both.services().into_iter().map(|(name, tallies)| sides(named(name.as_ref()), tallies)).collect::<Vec<_>>();
        let routes = both.routes().into_iter().map(|(root, tallies)| {
            let (service, route) = root.unwrap_or_default();
            let mut value = named(service.as_ref());
            value["route"] = route.into();
            sides(value, tallies)
        });
        let figures = json!({
            "toKept": all.to_kept, "toDropped": all.to_dropped, "unchanged": all.alike, "unpaired": both.comparison.unpaired(),
            "rules": rules.collect::<Vec<_>>(), "services": services, "routes": routes.collect::<Vec<_>>(),
            "old": summary(&both.old), "new": summary(&both.new),
        });
        self.list.end(&figures)
    }
}

fn fate(rules: &Rules, verdict: Verdict) -> Fate<'_> {
    Fate { kept: verdict.kept, rule: rules.get(verdict.rule), timing: verdict.timing.map(Timing::as_str) }
}

fn named(service: Option<&ServiceName>) -> Value {
    json!({
        "namespace": service.and_then(|service| service.namespace.as_deref()),
        "service": service.and_then(|service| service.name.as_deref()),
    })
}

fn sides(mut value: Value, [old, new]: Tallies) -> Value {
    value["old"] = with(json!({}), &old);
    value["new"] = with(json!({}), &new);
    value
}
