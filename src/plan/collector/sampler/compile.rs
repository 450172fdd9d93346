//! From a collector and the policies that use it to a [`Sampler`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    BASE, CollectorRules, Effect, HeadRule, Known, Mark, MarkId, Matcher, Model, Rule, RuleId, Sampler, Scrubber,
    ServiceRules, hash,
};
use crate::{
    api::{CollectorKeep, Keep, Ratio, SpanMatcher},
    diagnostics::{FieldPath, ObjectId},
    index::{Collector, Policy, PolicyId, Snapshot},
    plan::{
        attach::Attached,
        collector::{
            CollectorSettings, compile, config,
            services::{HeadService, Participants},
            tail::{self, Offers},
        },
        effective,
        validate::sampling::covers,
    },
};

impl Sampler {
    /// The decisions of a collector; `None` where it is not valid.
    pub fn new(snapshot: &Snapshot, collector: &Collector) -> Option<Self> {
        let spec = collector.valid()?;
        let settings = CollectorSettings::new(spec);
        let participants = compile::in_force(snapshot, collector);
        let model = Model::new(&participants.services, Ratio(settings.baseline));
        let keep = spec.sampling.as_ref().and_then(|sampling| sampling.keep.clone()).unwrap_or_default();
        let mut builder = Builder::new(collector);
        let keep = builder.collector(&keep);
        let marks = Marks::new(&model);
        let services: Vec<_> = model.services.iter().map(|offers| builder.service(offers, &marks, &keep)).collect();
        let baseline = builder.of_collector("baseline", "baselineRatio", Effect::Ratio(settings.baseline));
        let heads: Vec<_> = participants.heads.iter().map(|head| builder.head(head)).collect();
        let mut known: HashMap<String, HashMap<String, Known>> = HashMap::new();
        for (at, service) in participants.services.iter().enumerate() {
            let names = known.entry(service.namespace.to_owned()).or_default();
            names.entry(service.name.clone()).or_default().service = Some(at);
        }
        for (at, head) in participants.heads.iter().enumerate() {
            let names = known.entry(head.namespace.to_owned()).or_default();
            names.entry(head.name.clone()).or_default().head = Some(at);
        }
        Some(Self {
            unheard: unheard(snapshot, collector, &participants),
            identity: settings.identity,
            keep,
            services,
            known,
            heads,
            marks: marks.all,
            rules: builder.finish(),
            baseline,
            scrubber: Scrubber::new(&spec.scrub.clone().unwrap_or_default()),
            decision_wait: settings.decision_wait.saturating_mul(1_000_000_000),
            traces_in_memory: usize::try_from(settings.traces_in_memory).unwrap_or(usize::MAX).max(1),
        })
    }
}

/// Policies whose sampling no known service follows.
fn unheard(snapshot: &Snapshot, collector: &Collector, participants: &Participants<'_>) -> Vec<PolicyId> {
    let tails = participants.services.iter().flat_map(|service| &service.layers);
    let heads = participants.heads.iter().flat_map(|head| &head.layers);
    let heard: BTreeSet<_> = tails.chain(heads).map(|layer| &layer.policy.id).collect();
    let of_clusters = snapshot.cluster_policies.values().filter(|policy| policy.is_valid());
    let of_clusters =
        of_clusters.filter(|policy| policy.collectors("").contains(&collector.id)).map(|policy| &policy.id);
    let all: BTreeSet<_> = participants.policies.iter().copied().chain(of_clusters).collect();
    let samples = |id: &&PolicyId| snapshot.policy(id).is_some_and(Policy::samples);
    all.into_iter().filter(|id| !heard.contains(id)).filter(samples).cloned().collect()
}

/// The marks of a model, by number.
struct Marks<'m> {
    all: Vec<Mark>,
    numbers: HashMap<&'m str, MarkId>,
}

impl<'m> Marks<'m> {
    fn new(model: &'m Model<'_>) -> Self {
        let mut marks = Self { all: Vec::new(), numbers: HashMap::new() };
        // The first one, whether anything is offered under it or not.
        marks.number(tail::BASE);
        for (ratio, unconditional) in &model.ratios {
            let ratio = Ratio(ratio.parse().unwrap_or_default());
            unconditional.marks.iter().for_each(|mark| marks.offer(mark, ratio, &[]));
        }
        for conditional in &model.conditional {
            marks.offer(&conditional.mark, conditional.ratio, &conditional.unless);
        }
        // What offers nothing has no policy in the sampler.
        for offers in &model.services {
            marks.number(&offers.own);
            offers.rules.iter().for_each(|(_, mark)| {
                marks.number(mark);
            });
        }
        marks
    }

    fn offer(&mut self, mark: &'m str, ratio: Ratio, unless: &'m [String]) {
        let unless = unless.iter().map(|earlier| self.number(earlier)).collect();
        let number = self.number(mark) as usize;
        // The collector computes with the percentage that is written, not with the ratio.
        let threshold = hash::threshold(config::percentage(ratio).as_f64().unwrap_or_default());
        if let Some(known) = self.all.get_mut(number) {
            *known = Mark { ratio: ratio.0, threshold, unless };
        }
    }

    fn number(&mut self, mark: &'m str) -> MarkId {
        *self.numbers.entry(mark).or_insert_with(|| {
            self.all.push(Mark::default());
            MarkId::try_from(self.all.len() - 1).unwrap_or(MarkId::MAX)
        })
    }

    fn of(&self, mark: &str) -> MarkId {
        self.numbers.get(mark).copied().unwrap_or(BASE)
    }
}

/// Numbers rules, each once however many services follow it.
struct Builder {
    collector: ObjectId,
    rules: Vec<Rule>,
    numbers: BTreeMap<(ObjectId, String), RuleId>,
    /// What leaves a rule nothing to decide, in each of the services that follow it.
    shadows: BTreeMap<RuleId, Vec<Option<RuleId>>>,
}

impl Builder {
    fn new(collector: &Collector) -> Self {
        let collector = collector.id.object();
        Self { collector, rules: Vec::new(), numbers: BTreeMap::new(), shadows: BTreeMap::new() }
    }

    fn finish(mut self) -> Vec<Rule> {
        for (rule, by) in self.shadows {
            // A rule that one service still needs is not superfluous.
            if by.iter().all(Option::is_some) {
                self.rules[rule.index()].shadowed_by = by.into_iter().flatten().next();
            }
        }
        self.rules
    }

    fn number(&mut self, text: String, policy: Option<&PolicyId>, path: FieldPath, effect: Effect) -> RuleId {
        let object = policy.map_or_else(|| self.collector.clone(), PolicyId::object);
        let next = RuleId::new(self.rules.len());
        let number = *self.numbers.entry((object.clone(), path.to_string())).or_insert(next);
        if number == next {
            self.rules.push(Rule { text, policy: policy.cloned(), object, path, effect, shadowed_by: None });
        }
        number
    }

    fn of_collector(&mut self, text: &str, field: &str, effect: Effect) -> RuleId {
        self.number(text.to_owned(), None, FieldPath::fields(&format!("spec.sampling.{field}")), effect)
    }

    /// A rule that policies may have merged: it is the strongest one's that has the field.
    fn merged(&mut self, text: &str, layers: &[Attached<'_>], field: &str, effect: Effect) -> Option<RuleId> {
        let (policy, path) = origin(layers, field)?;
        Some(self.number(text.to_owned(), Some(policy), path, effect))
    }

    fn collector(&mut self, keep: &CollectorKeep) -> CollectorRules {
        let mut on = |name: &str, on: bool| {
            on.then(|| self.of_collector(&format!("collector.{name}"), &format!("keep.{name}"), Effect::Keep))
        };
        let services = on("services", !keep.services.is_empty());
        let names = keep.services.iter().filter_map(|name| Some((name.clone(), services?)));
        let limit = keep.slower_than.as_ref().and_then(|slower| slower.0.as_millis());
        CollectorRules {
            services: names.collect(),
            errors: on("errors", keep.errors == Some(true)),
            server_errors: on("httpServerErrors", keep.http_server_errors == Some(true)),
            slower: on("slowerThan", limit.is_some()).zip(limit).map(|(rule, limit)| (limit.into(), rule)),
        }
    }

    fn service(&mut self, offers: &Offers<'_>, marks: &Marks<'_>, collector: &CollectorRules) -> ServiceRules {
        let tail = &offers.service.tail;
        let layers = &offers.service.layers;
        let dropped = offers.drop.iter().map(Matcher::new).enumerate();
        let drop: Vec<_> = dropped
            .filter_map(|(at, matcher)| Some((matcher, self.listed("drop", layers, at, Effect::Drop)?)))
            .collect();
        let keep = offers.keep.cloned().unwrap_or_default();
        let mut on = |name: &str, on: bool| {
            let text = format!("keep.{name}");
            on.then(|| self.merged(&text, layers, &format!("sampling.tail.keep.{name}"), Effect::Keep)).flatten()
        };
        let always = on("always", keep.always == Some(true));
        let errors = on("errors", keep.errors == Some(true));
        let server_errors = on("httpServerErrors", keep.http_server_errors == Some(true));
        let limit = slower_than(&keep);
        let slower = on("slowerThan", limit.is_some()).zip(limit).map(|(rule, limit)| (limit, rule));
        let routes = offers.rules.iter().enumerate().filter_map(|(at, (rule, mark))| {
            let number = self.listed("routes", layers, at, Effect::Ratio(rule.ratio.0))?;
            Some((Matcher::new(&rule.matcher), marks.of(mark), number))
        });
        let routes: Vec<_> = routes.collect();
        let own =
            tail.ratio.and_then(|ratio| self.merged("ratio", layers, "sampling.tail.ratio", Effect::Ratio(ratio.0)));
        let own = (marks.of(&offers.own), own);
        let service = ServiceRules { own, routes, drop, always, errors, server_errors, slower };
        self.shade(offers, &service, collector);
        service
    }

    fn listed(&mut self, list: &str, layers: &[Attached<'_>], at: usize, effect: Effect) -> Option<RuleId> {
        let (policy, path) = origin(layers, &format!("sampling.tail.{list}"))?;
        Some(self.number(format!("{list}[{at}]"), Some(policy), path.index(at), effect))
    }

    fn head(&mut self, service: &HeadService<'_>) -> HeadRule {
        let effect = Effect::Head(service.head.ratio.0);
        let fields = ["sampling.ratio", "sampling.profile"];
        let rule = fields.into_iter().find_map(|field| self.merged("head", &service.layers, field, effect));
        let rule = rule.unwrap_or_else(|| self.of_collector("head", "", effect));
        HeadRule { ratio: service.head.ratio.0, parent_based: service.head.parent_based, rule }
    }

    /// What a service's rules leave nothing to decide: an earlier one of the same list that matches all that they match, and
    /// whatever keeps every trace of the service.
    fn shade(&mut self, offers: &Offers<'_>, service: &ServiceRules, collector: &CollectorRules) {
        let ServiceRules { own, routes, drop, always, errors, server_errors, slower } = service;
        let kept = collector.services.get(&offers.service.name).copied();
        let all = kept.or(*always);
        let mut shadow = |rule: Option<RuleId>, by: Option<RuleId>| {
            if let Some(rule) = rule {
                self.shadows.entry(rule).or_default().push(by);
            }
        };
        shadow(*always, kept);
        shadow(*errors, all.or(collector.errors));
        shadow(*server_errors, all.or(collector.server_errors));
        let wider = |(limit, _): (i64, _)| {
            collector.slower.filter(|(millis, _)| *millis * 1_000_000 <= i128::from(limit)).map(|(_, by)| by)
        };
        shadow(slower.map(|(_, rule)| rule), all.or_else(|| slower.and_then(wider)));
        let dropped: Vec<_> = offers.drop.iter().zip(drop.iter().map(|(_, rule)| *rule)).collect();
        earlier(&dropped).for_each(|(rule, by)| shadow(Some(rule), by));
        let matchers = offers.rules.iter().map(|(rule, _)| &rule.matcher);
        let routed: Vec<_> = matchers.zip(routes.iter().map(|(.., rule)| *rule)).collect();
        earlier(&routed).for_each(|(rule, by)| shadow(Some(rule), all.or(by)));
        let catching = routed.iter().find(|(matcher, _)| covers(matcher, &ANY));
        shadow(own.1, all.or_else(|| catching.map(|(_, by)| *by)));
    }
}

/// Every span.
const ANY: SpanMatcher = SpanMatcher { route: None, route_prefix: None, method: None, span_name: None };

/// The rules of a list, each with an earlier one that matches all that it matches.
fn earlier<'l>(list: &'l [(&SpanMatcher, RuleId)]) -> impl Iterator<Item = (RuleId, Option<RuleId>)> + 'l {
    list.iter().enumerate().map(|(at, (matcher, rule))| {
        let earlier = list.iter().take(at).find(|(earlier, _)| covers(earlier, matcher));
        (*rule, earlier.map(|(_, by)| *by))
    })
}

/// In nanoseconds.
fn slower_than(keep: &Keep) -> Option<i64> {
    i64::try_from(keep.slower_than.as_ref()?.0.get()?.as_nanos()).ok()
}

/// Who set a field, and where.
fn origin<'a>(layers: &[Attached<'a>], field: &str) -> Option<(&'a PolicyId, FieldPath)> {
    let attached = match layers {
        [only] => *only,
        several => effective::origin(several, field).or_else(|| several.last().copied())?,
    };
    Some((&attached.policy.id, FieldPath::fields(&format!("{}.{field}", attached.part.root()))))
}
