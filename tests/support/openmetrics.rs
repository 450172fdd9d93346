//! A strict reader of OpenMetrics text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), as far as the operator uses it.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a sample.
pub(crate) type Labels = BTreeMap<String, String>;

/// A metric family.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Name, labels, value.
    pub(crate) samples: Vec<(String, Labels, f64)>,
}

/// What a scrape has brought, by the names of the families.
#[derive(Debug)]
pub(crate) struct Scrape(pub(crate) BTreeMap<String, Family>);

impl Scrape {
    /// Reads a text; an error names the line at fault.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("does not end with `# EOF` and a line break")?;
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in body.split_terminator('\n') {
            let fault = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| fault("no text"))?;
                let family = Family { help: help.to_owned(), ..Family::default() };
                if families.insert(name.to_owned(), family).is_some() {
                    return Err(fault("a family for the second time"));
                }
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| fault("no type"))?;
                let family = families.get_mut(name).filter(|_| name == current);
                let family = family.ok_or_else(|| fault("a type without its help before it"))?;
                if !["counter", "gauge", "histogram"].contains(&kind) || !family.kind.is_empty() {
                    return Err(fault("a type that is unknown, or a second one"));
                }
                kind.clone_into(&mut family.kind);
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| fault("no sample"))?;
                let family = families.get_mut(&current).ok_or_else(|| fault("a sample without a family"))?;
                let suffix = name.strip_prefix(current.as_str()).ok_or_else(|| fault("a sample of another family"))?;
                let known: &[&str] = match family.kind.as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    _ => &["_bucket", "_sum", "_count"],
                };
                if !known.contains(&suffix) || (suffix == "_bucket") != labels.contains_key("le") {
                    return Err(fault("a name that does not go with the type"));
                }
                if family.samples.iter().any(|known| (&known.0, &known.1) == (&name, &labels)) {
                    return Err(fault("the same sample for the second time"));
                }
                family.samples.push((name, labels, value));
            }
        }
        let scrape = Self(families);
        scrape.check()?;
        Ok(scrape)
    }

    /// Within a family every sample has the same labels; counters are not negative; buckets only grow, up to the count.
    fn check(&self) -> Result<(), String> {
        for (name, family) in &self.0 {
            if family.kind.is_empty() || family.help.trim().is_empty() {
                return Err(format!("{name} has no type or no help"));
            }
            let names =
                |labels: &Labels| -> Vec<String> { labels.keys().filter(|key| *key != "le").cloned().collect() };
            let sets: BTreeSet<_> = family.samples.iter().map(|(_, labels, _)| names(labels)).collect();
            if sets.len() > 1 {
                return Err(format!("{name}: samples with different labels: {sets:?}"));
            }
            if family.kind != "gauge" && family.samples.iter().any(|(_, _, value)| value.is_nan() || *value < 0.0) {
                return Err(format!("{name} counts backwards"));
            }
            if family.kind == "histogram" {
                family.check_buckets().map_err(|fault| format!("{name}: {fault}"))?;
            }
        }
        Ok(())
    }

    /// Every name as users write it in queries (`x_total` of a counter), with the labels of its samples.
    pub(crate) fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let name = |(name, family): (&String, &Family)| {
            let name = if family.kind == "counter" { format!("{name}_total") } else { name.clone() };
            let labels = family.samples.iter().flat_map(|(_, labels, _)| labels.keys());
            (name, labels.filter(|label| *label != "le").cloned().collect())
        };
        self.0.iter().map(name).collect()
    }

    /// The sum of the samples of this name (as it is in the text) that have these labels; 0 where there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |known: &Labels| labels.iter().all(|(key, value)| known.get(*key).is_some_and(|own| own == value));
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples.filter(|sample| sample.0 == name && has(&sample.1)).map(|sample| sample.2).sum()
    }
}

impl Family {
    fn check_buckets(&self) -> Result<(), String> {
        let mut last: BTreeMap<Labels, (f64, f64)> = BTreeMap::new();
        for (name, labels, value) in &self.samples {
            let mut labels = labels.clone();
            let bound = labels.remove("le");
            if let Some(bound) = bound {
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| "a bound")? };
                let before = last.insert(labels, (bound, *value));
                if before.is_some_and(|(less, fewer)| less >= bound || fewer > *value) {
                    return Err("buckets do not grow".to_owned());
                }
            } else if name.ends_with("_count")
                && !self.samples.iter().any(|(name, all, most)| {
                    let mut all = all.clone();
                    let is_last = all.remove("le").is_some_and(|bound| bound == "+Inf");
                    name.ends_with("_bucket") && is_last && all == labels && most.total_cmp(value).is_eq()
                })
            {
                return Err("the count is not that of the last bucket".to_owned());
            }
        }
        Ok(())
    }
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        None => (head, Labels::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
    };
    let is_name = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    (is_name(name) && labels.keys().all(|label| is_name(label))).then_some(())?;
    Some((name.to_owned(), labels, value.parse().ok()?))
}

/// `a="b",c="d"`; no value of the operator's needs an escape.
fn labels(text: &str) -> Option<Labels> {
    let mut found = Labels::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        (!value.contains(['"', '\\'])).then_some(())?;
        found.insert(name.to_owned(), value.to_owned()).is_none().then_some(())?;
    }
    Some(found)
}
