//! Everything that an explanation is made from: files, a cluster, or both, and where each field stands.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Args, subject::Subject};
use crate::{
    cli::{
        Exit,
        live::{LiveError, Scope, load, managers, runtime, secrets},
        load::{Leniency, Loaded, Source},
        output::complain,
        validate::{colour, exit},
    },
    diagnostics::{
        Located,
        format::{Summary, pretty},
    },
    index::{PolicyId, Snapshot},
    plan::{explain::Origin, plan},
};

/// What was loaded.
pub(super) struct World {
    pub(super) loaded: Loaded,
    pub(super) namespace: String,
    pub(super) is_live: bool,
    pub(super) notes: Vec<String>,
    managed: BTreeMap<PolicyId, Value>,
}

/// Where a field of a policy is.
#[derive(Clone, Debug, Default)]
pub(super) struct Where {
    pub(super) file: Option<String>,
    pub(super) line: Option<usize>,
    /// Of a policy of the cluster.
    pub(super) managers: Vec<String>,
}

impl World {
    pub(super) fn load(args: &Args, subject: Subject) -> Result<Self, LiveError> {
        if args.files.is_empty() || args.live {
            return runtime()?.block_on(Self::of_cluster(args, subject));
        }
        let namespace = args.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let source = Source { files: args.files.clone(), namespace: namespace.clone(), leniency: Leniency::default() };
        let loaded = source.load();
        Ok(Self { notes: loaded.notes.clone(), loaded, namespace, is_live: false, managed: BTreeMap::new() })
    }

    async fn of_cluster(args: &Args, subject: Subject) -> Result<Self, LiveError> {
        let connection = args.cluster.connect().await?;
        let namespace = args.namespace.clone().unwrap_or(connection.namespace);
        let everywhere = matches!(subject, Subject::ClusterPolicy | Subject::Collector);
        let namespaces = BTreeSet::from([namespace.clone()]);
        let live = load(&connection.client, &Scope { everywhere, namespaces, whole: BTreeSet::new() }).await?;
        let source = Source { files: args.files.clone(), namespace: namespace.clone(), leniency: Leniency::default() };
        let mut laid = source.lay(source.read(), live.snapshot);
        let planned = plan(&laid.snapshot).0;
        secrets(&connection.client, &mut laid.snapshot, &planned).await;
        let loaded = laid.judge(&source.leniency);
        Ok(Self { loaded, namespace, is_live: true, notes: live.notes, managed: live.managed })
    }

    /// What cannot be read of the input, on standard error: what follows is without it.
    pub(super) fn complain(&self) -> Exit {
        let unreadable: Vec<Located> =
            self.loaded.findings.iter().filter(|found| found.diagnostic.code.is_unreadable()).cloned().collect();
        if !unreadable.is_empty() {
            let summary = Summary::of(&unreadable, self.loaded.summary.objects);
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            complain(pretty(&unreadable, summary, colour(terminal)).trim_end());
        }
        exit(&unreadable, false)
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.loaded.snapshot
    }

    /// Where a field stands: in the input, else in the cluster with those who set it.
    pub(super) fn locate(&self, origin: &Origin) -> Where {
        if let Some(place) = self.loaded.place(&origin.policy.object(), &origin.path) {
            return Where { file: Some(place.file), line: place.line, managers: Vec::new() };
        }
        let managed = self.managed.get(&origin.policy);
        Where {
            managers: managed.map(|managed| managers(managed, &origin.path)).unwrap_or_default(),
            ..Where::default()
        }
    }
}

impl Where {
    /// `file:line`, or who set it.
    pub(super) fn words(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.clone(),
            (None, _) if self.managers.is_empty() => "-".to_owned(),
            (None, _) => format!("set by {}", self.managers.join(", ")),
        }
    }
}
