//! Sampling that cannot do what it says, where it takes other objects to see it (TRC03xx): each with its proof.

use super::View;
use crate::{
    api::{CollectorKeep, Keep, Profile, Ratio, Tail},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Collector, PolicyId},
    plan::{
        attach::Attached,
        collector::CollectorSettings,
        effective::{InForce, in_force, origin},
        validate::sampling::{ratios, share},
    },
};

/// Findings about the sampling of a TracingPolicy, by what is in force in all of its namespace.
pub(super) fn reach(view: &View<'_>) -> Vec<Diagnostic> {
    let Some(in_force) = in_force(view.snapshot, view.policy).filter(|in_force| in_force.enabled) else {
        return Vec::new();
    };
    let collector = in_force.collector.as_ref().and_then(|id| view.snapshot.collectors.get(id));
    let settings = &in_force.settings;
    let tail = settings.sampling.as_ref().and_then(|sampling| sampling.tail.as_ref());
    let own_tail = view.policy.settings().and_then(|own| own.sampling.as_ref()?.tail.as_ref());
    let Some(collector) = collector else {
        let nobody =
            own_tail.filter(|tail| **tail != Tail::default() && in_force.is_elsewhere && view.policy.inherits());
        return nobody.map(|_| inherited_endpoint(&in_force)).into_iter().collect();
    };
    let Some(spec) = collector.valid() else { return Vec::new() };
    let baseline = Ratio(CollectorSettings::new(spec).baseline);
    let keep = spec.sampling.as_ref().and_then(|sampling| sampling.keep.as_ref());
    let look = Look { view, in_force: &in_force, collector, baseline };
    let mut findings = look.head(tail, keep);
    if let Some(own) = own_tail {
        findings.extend(look.always_kept(own, keep));
        let is_chosen = spec.sampling.as_ref().is_some_and(|sampling| sampling.baseline_ratio.is_some());
        findings.extend(look.below_baseline(own).filter(|_| is_chosen));
        findings.extend(keep.into_iter().flat_map(|keep| look.kept_anyway(own.keep.as_ref(), keep)));
    }
    findings
}

/// Tail rules beside an inherited export that leads to no collector of the operator's.
fn inherited_endpoint(in_force: &InForce<'_>) -> Diagnostic {
    let from = in_force.export_from.map(|from| from.policy.id.described()).unwrap_or_default();
    let proof = format!("The export is inherited from {from}, which names an endpoint.");
    Diagnostic::new(Code::TRC0301, FieldPath::fields("spec.sampling.tail")).proof(proof)
}

struct Look<'a> {
    view: &'a View<'a>,
    in_force: &'a InForce<'a>,
    collector: &'a Collector,
    baseline: Ratio,
}

impl Look<'_> {
    fn named(&self) -> String {
        format!("TracingCollector {}", self.collector.id)
    }

    /// What the head ratio in force keeps from the collector.
    fn head(&self, tail: Option<&Tail>, keep: Option<&CollectorKeep>) -> Vec<Diagnostic> {
        let sampling = self.in_force.settings.sampling.as_ref();
        let profile = sampling.and_then(|sampling| sampling.profile.map(Profile::ratio));
        let Some(head) = sampling.and_then(|sampling| sampling.ratio).or(profile) else { return Vec::new() };
        if head.0 >= 1.0 || head.0 <= 0.0 {
            return Vec::new();
        }
        let field = if profile.is_some() { "sampling.profile" } else { "sampling.ratio" };
        let Some(from) = origin(&self.in_force.layers, field) else { return Vec::new() };
        let is_own = from.policy.id == self.view.policy.id;
        let path = FieldPath::fields(if is_own { "spec.sampling" } else { "spec" });
        let path = if is_own { path.field(field.trim_start_matches("sampling.")) } else { path };
        let said = said_by(&from, field, &self.view.policy.id);
        let mut findings = Vec::new();
        let own_tail = self.view.policy.settings().and_then(|own| own.sampling.as_ref()?.tail.as_ref());
        let is_said = is_own && own_tail.is_some_and(|tail| *tail != Tail::default());
        let kept = tail.and_then(|tail| tail.keep.as_ref()).is_some_and(|keep| *keep != Keep::default());
        if let Some(whose) = keep
            .and_then(kept_by)
            .map(|rule| format!("{}: spec.sampling.keep.{rule}", self.named()))
            .filter(|_| !is_said)
        {
            let proof = format!(
                "{said} lets {} of the traces that begin here through, and {whose} sees no others.",
                share(head)
            );
            findings.push(Diagnostic::new(Code::TRC0302, path.clone()).proof(proof));
        } else if kept && !is_said {
            let proof = format!(
                "{said} lets {} of the traces that begin here through, and sampling.tail.keep sees no others.",
                share(head)
            );
            findings.push(Diagnostic::new(Code::TRC0302, path.clone()).proof(proof));
        }
        let offered = tail.and_then(|tail| tail.ratio);
        let later = offered.unwrap_or(self.baseline);
        if later.0 > 0.0 && later.0 < 1.0 {
            let whose = if offered.is_some() {
                "sampling.tail.ratio".to_owned()
            } else {
                format!("the baseline of {}", self.named())
            };
            let both = Ratio(((head.0 * later.0) * 1e9).round() / 1e9).decimal();
            let proof = format!(
                "{said} keeps {}, and of those {whose} keeps {}: {both} of all.",
                head.decimal(),
                later.decimal()
            );
            findings.push(Diagnostic::new(Code::TRC0309, path).proof(proof));
        }
        findings
    }

    /// Services that the collector keeps whatever a policy says.
    fn always_kept(&self, tail: &Tail, keep: Option<&CollectorKeep>) -> Option<Diagnostic> {
        let ratios = ratios(tail)?;
        let listed = keep.map(|keep| keep.services.as_slice()).unwrap_or_default();
        let (position, name) =
            listed.iter().enumerate().find(|(_, name)| self.view.tally.services.contains_key(*name))?;
        let proof = format!(
            "{}: spec.sampling.keep.services[{position}] keeps every trace with a span of {name}, so that {ratios} decides about none.",
            self.named()
        );
        Some(Diagnostic::new(Code::TRC0306, FieldPath::fields("spec.sampling.tail")).detail(name).proof(proof))
    }

    /// Ratios that other services of a trace outbid.
    fn below_baseline(&self, tail: &Tail) -> Option<Diagnostic> {
        let root = FieldPath::fields("spec.sampling.tail");
        let own = tail.ratio.map(|ratio| (root.field("ratio"), ratio));
        let routes = tail.routes.iter().enumerate();
        let routes = routes.map(|(position, rule)| (root.field("routes").index(position).field("ratio"), rule.ratio));
        let (path, ratio) = own.into_iter().chain(routes).find(|(_, ratio)| ratio.0 < self.baseline.0)?;
        let proof = format!(
            "A trace is kept with the highest ratio on offer: {} offers {} for every service without rules, and {path} offers {}.",
            self.named(),
            self.baseline.decimal(),
            ratio.decimal()
        );
        Some(Diagnostic::new(Code::TRC0307, path).proof(proof))
    }

    /// Keep rules that say less than the collector's own.
    fn kept_anyway(&self, own: Option<&Keep>, above: &CollectorKeep) -> Vec<Diagnostic> {
        let Some(own) = own else { return Vec::new() };
        let root = FieldPath::fields("spec.sampling.tail.keep");
        let mut findings = Vec::new();
        let switches = [
            ("errors", own.errors, above.errors),
            ("httpServerErrors", own.http_server_errors, above.http_server_errors),
        ];
        for (field, own, above) in switches {
            if own == Some(false) && above == Some(true) {
                let proof =
                    format!("{}: spec.sampling.keep.{field} is true, and holds for every service.", self.named());
                findings.push(Diagnostic::new(Code::TRC0308, root.field(field)).detail(field).proof(proof));
            }
        }
        let millis = |text: Option<&crate::api::Milliseconds>| text.and_then(|text| text.0.as_millis());
        let (mine, theirs) = (millis(own.slower_than.as_ref()), millis(above.slower_than.as_ref()));
        if let (Some(mine), Some(theirs)) = (mine, theirs)
            && mine >= theirs
        {
            let proof = format!(
                "A trace lasts at least as long as any of its spans, and {}: spec.sampling.keep.slowerThan keeps traces of {theirs}ms and more; this rule is about spans of {mine}ms and more.",
                self.named()
            );
            findings.push(Diagnostic::new(Code::TRC0308, root.field("slowerThan")).detail("slowerThan").proof(proof));
        }
        findings
    }
}

/// A rule of the collector that keeps traces for what is in them.
fn kept_by(keep: &CollectorKeep) -> Option<&'static str> {
    let slower = keep.slower_than.is_some();
    let rules = [
        ("errors", keep.errors == Some(true)),
        ("httpServerErrors", keep.http_server_errors == Some(true)),
        ("slowerThan", slower),
    ];
    rules.into_iter().find(|(_, is_set)| *is_set).map(|(rule, _)| rule)
}

/// A field and whose it is: `sampling.ratio of ClusterTracingPolicy base`.
fn said_by(from: &Attached<'_>, field: &str, reader: &PolicyId) -> String {
    if from.policy.id == *reader {
        return format!("{}.{field}", from.part.root());
    }
    format!("{}.{field} of {}", from.part.root(), from.policy.id.described())
}
