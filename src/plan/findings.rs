//! Findings as validators collect them, and the checks that policies and collectors share.

use crate::{
    api::{DurationText, LabelSelector, Milliseconds, Ratio},
    diagnostics::{Code, Diagnostic, FieldPath},
};

/// What was found so far.
#[derive(Default)]
pub(in crate::plan) struct Findings(pub(in crate::plan) Vec<Diagnostic>);

impl Findings {
    pub(in crate::plan) fn add(&mut self, code: Code, path: FieldPath) {
        self.0.push(Diagnostic::new(code, path));
    }

    pub(in crate::plan) fn add_if(&mut self, wrong: bool, code: Code, path: FieldPath) {
        if wrong {
            self.add(code, path);
        }
    }

    pub(in crate::plan) fn ratio(&mut self, ratio: Option<Ratio>, path: FieldPath) {
        self.add_if(ratio.is_some_and(|ratio| !ratio.is_valid()), Code::TRC0105, path);
    }

    pub(in crate::plan) fn duration(&mut self, duration: Option<&DurationText>, path: FieldPath) {
        self.add_if(duration.is_some_and(|duration| duration.get().is_none()), Code::TRC0107, path);
    }

    pub(in crate::plan) fn milliseconds(&mut self, duration: Option<&Milliseconds>, path: &FieldPath) {
        self.duration(duration.map(|duration| &duration.0), path.clone());
        self.add_if(duration.is_some_and(|duration| !duration.is_whole()), Code::TRC0110, path.clone());
    }

    pub(in crate::plan) fn selector(&mut self, selector: Option<&LabelSelector>, path: &FieldPath) {
        let expressions = selector.into_iter().flat_map(|selector| &selector.match_expressions);
        for (position, requirement) in expressions.enumerate() {
            let path = path.field("matchExpressions").index(position);
            self.add_if(!requirement.is_valid(), Code::TRC0124, path);
        }
    }

    /// Text that goes into the configuration of a collector must not look like a reference of its own.
    pub(in crate::plan) fn reference(&mut self, text: &str, path: FieldPath) {
        self.add_if(text.contains("${"), Code::TRC0131, path);
    }
}
