//! One set of policies, and the collector that samples for them.

use crate::{
    cli::{
        Exit,
        load::Loaded,
        output::{complain, fail},
    },
    diagnostics::format::visible,
    index::CollectorId,
    plan::collector::{Effect, RuleId, Sampler},
};

/// What a recording is replayed through.
pub(super) struct Subject<'a> {
    pub(super) collector: CollectorId,
    pub(super) sampler: Sampler,
    pub(super) loaded: &'a Loaded,
}

impl<'a> Subject<'a> {
    pub(super) fn new(wanted: Option<&String>, loaded: &'a Loaded) -> Result<Self, Exit> {
        let id = chosen(wanted, loaded)?;
        let is_compiled = loaded.plan.collectors.get(&id).is_some_and(|plan| !plan.configurations.is_empty());
        let collector = loaded.snapshot.collectors.get(&id).filter(|_| is_compiled);
        let sampler = collector.and_then(|collector| Sampler::new(&loaded.snapshot, collector));
        let Some(sampler) = sampler else {
            return Err(fail(&format!("TracingCollector {id} has errors: there is no configuration"), Exit::Findings));
        };
        if sampler.is_by_connection() {
            complain(&format!(
                "note: TracingCollector {id} takes namespaces from connections: k8s.namespace.name of the recording stands for them"
            ));
        }
        for policy in sampler.unheard() {
            complain(&format!(
                "note: {} takes no part: no service is known that follows it; give the manifests of its workloads too",
                policy.described()
            ));
        }
        Ok(Self { collector: id, sampler, loaded })
    }

    /// The rules that take part, with their places.
    pub(super) fn rules(&self, with_head: bool) -> impl Iterator<Item = (RuleId, Place)> {
        let is_meant = move |id: &RuleId| with_head || !matches!(self.sampler.rule(*id).effect, Effect::Head(_));
        let all = self.sampler.rules().map(|(id, _)| id).filter(is_meant);
        all.map(|id| (id, Place::of(self, id)))
    }
}

/// Where a rule is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) file: Option<String>,
    pub(super) line: Option<usize>,
}

impl Place {
    pub(super) fn of(subject: &Subject<'_>, rule: RuleId) -> Self {
        let rule = subject.sampler.rule(rule);
        let place = subject.loaded.place(&rule.object, &rule.path);
        place.map_or_else(Self::default, |place| Self { file: Some(place.file), line: place.line })
    }

    pub(super) fn words(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (file, _) => file.clone().unwrap_or_else(|| "-".to_owned()),
        }
    }
}

/// The collector that is meant.
fn chosen(wanted: Option<&String>, loaded: &Loaded) -> Result<CollectorId, Exit> {
    let known = &loaded.plan.collectors;
    if let Some(wanted) = wanted {
        let Some((namespace, name)) = wanted.split_once('/') else {
            return Err(fail(&format!("--collector {}: write NAMESPACE/NAME", visible(wanted)), Exit::Usage));
        };
        let id = CollectorId { namespace: namespace.to_owned(), name: name.to_owned() };
        let is_known = known.contains_key(&id);
        return is_known
            .then(|| id.clone())
            .ok_or_else(|| fail(&visible(&format!("TracingCollector {id} is not in the input")), Exit::Findings));
    }
    let used: Vec<_> = known.iter().filter(|(_, plan)| plan.policies > 0).map(|(id, _)| id).collect();
    let all: Vec<_> = known.keys().collect();
    let candidates = if used.is_empty() { all } else { used };
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(fail("there is no TracingCollector in the input: nothing else samples whole traces", Exit::Findings)),
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(fail(
                &format!("several TracingCollectors are in the input: add --collector {}", names.join("|")),
                Exit::Usage,
            ))
        }
    }
}
