//! Tail sampling as offers: what each service may be kept with, and under which mark the collector finds it.
//!
//! A trace is kept with the highest ratio on offer. Each service of the trace offers one ratio: that of its first rule
//! that matches any of its spans, else its own. Marks carry offers; since all ratios are decided on one hash, keeping a
//! trace where any offer would keep it is keeping it with the highest. A rule is "the first that matches" only where no
//! earlier one matches: that is to be looked at only where an earlier one offers less, because otherwise the earlier offer
//! keeps the trace anyway.

use std::collections::BTreeMap;

use crate::api::{Keep, Ratio, RouteRule, SpanMatcher, Tail};

use super::services::Service;

/// The mark of a service that offers the collector's baseline.
pub(super) const BASE: &str = "base";

/// What one service asks of the collector.
#[derive(Clone, Debug)]
pub(super) struct Offers<'a> {
    /// The service.
    pub(super) service: &'a Service<'a>,
    /// The mark of its own offer, for every resource of it.
    pub(super) own: String,
    /// Its rules, in order, each with the mark of its offer.
    pub(super) rules: Vec<(&'a RouteRule, String)>,
    /// What is kept whatever the ratios say.
    pub(super) keep: Option<&'a Keep>,
    /// What is dropped where it is the root of its trace.
    pub(super) drop: &'a [SpanMatcher],
}

/// A ratio, with the marks that offer it whatever else is in the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unconditional {
    /// The marks, in order.
    pub(super) marks: Vec<String>,
}

/// An offer that is void where an earlier rule of the same service matches too.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conditional {
    /// The mark of the offer.
    pub(super) mark: String,
    /// Its ratio.
    pub(super) ratio: Ratio,
    /// The marks of the earlier rules that offer less.
    pub(super) unless: Vec<String>,
}

/// Everything that is on offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Model<'a> {
    /// The services that ask for anything, in the order of their names.
    pub(super) services: Vec<Offers<'a>>,
    /// Ratios above 0, as shortest decimals, that some mark offers whatever else is in the trace.
    pub(super) ratios: BTreeMap<String, Unconditional>,
    /// The other offers above 0.
    pub(super) conditional: Vec<Conditional>,
}

impl<'a> Model<'a> {
    /// The offers of these services, of which each has sampling rules, beside the baseline.
    pub(super) fn new(services: &'a [Service<'a>], baseline: Ratio) -> Self {
        let mut model = Self::default();
        model.offer(baseline, BASE);
        for (number, service) in services.iter().enumerate() {
            let offers = model.service(number, service, &service.tail, baseline);
            model.services.push(offers);
        }
        model
    }

    fn service(&mut self, number: usize, service: &'a Service<'a>, tail: &'a Tail, baseline: Ratio) -> Offers<'a> {
        let own = tail.ratio.unwrap_or(baseline);
        let ratios: Vec<Ratio> = tail.routes.iter().map(|rule| rule.ratio).chain([own]).collect();
        let is_named = |at: usize| {
            let earlier = ratios.iter().take(at).any(|earlier| *earlier < ratios[at]);
            earlier || ratios.iter().skip(at + 1).any(|later| *later > ratios[at])
        };
        let last = ratios.len() - 1;
        let marks: Vec<String> = ratios
            .iter()
            .enumerate()
            .map(|(at, ratio)| match (is_named(at), at == last) {
                (true, true) => format!("{number}"),
                (true, false) => format!("{number}.{at}"),
                (false, _) if *ratio == baseline => BASE.to_owned(),
                (false, _) => format!("ratio-{}", ratio.decimal()),
            })
            .collect();
        for (at, (ratio, mark)) in ratios.iter().zip(&marks).enumerate() {
            let lower = ratios.iter().zip(&marks).take(at).filter(|(earlier, _)| *earlier < ratio);
            let unless: Vec<String> = lower.map(|(_, mark)| mark.clone()).collect();
            if unless.is_empty() {
                self.offer(*ratio, mark);
            } else {
                self.conditional.push(Conditional { mark: mark.clone(), ratio: *ratio, unless });
            }
        }
        Offers {
            service,
            own: marks[last].clone(),
            rules: tail.routes.iter().zip(marks).collect(),
            keep: tail.keep.as_ref(),
            drop: &tail.drop,
        }
    }

    /// Nothing is kept with ratio 0, so that nobody needs to look.
    fn offer(&mut self, ratio: Ratio, mark: &str) {
        if ratio.0 > 0.0 {
            let marks = &mut self.ratios.entry(ratio.decimal()).or_default().marks;
            if marks.iter().all(|known| known != mark) {
                marks.push(mark.to_owned());
            }
        }
    }
}
