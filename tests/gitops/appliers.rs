//! Who applies what is in Git, each the way it really does it.

use std::fs;
use std::path::Path;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::common::{answer, apply_with};
use crate::fixtures::{World, text};
use crate::support::kubectl::{Output, run};

/// The field manager under which Flux applies, and Argo CD.
const FLUX: &str = "kustomize-controller";
const ARGO: &str = "argocd-controller";

/// A way to bring a manifest from Git into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applier {
    /// `kubectl apply`.
    KubectlClient,
    /// `kubectl apply --server-side`.
    KubectlServer,
    /// `kubectl apply --server-side --force-conflicts`.
    KubectlForced,
    /// `helm upgrade --install`, as Helm 4 does it by default.
    HelmServer,
    /// `helm upgrade --install --server-side=false`: the three-way merge of Helm 3.
    HelmClient,
    /// Flux: takes the fields of kubectl's managers over, compares a dry run, applies by force.
    Flux,
    /// Argo CD by default: client-side apply where the three-way diff sees a difference.
    ArgoClient,
    /// Argo CD with `ServerSideApply=true` and server-side diff: by force.
    ArgoServer,
}

use Applier::{ArgoClient, ArgoServer, Flux, HelmClient, HelmServer, KubectlClient, KubectlForced, KubectlServer};

impl Applier {
    pub(crate) const ALL: [Self; 8] =
        [KubectlClient, KubectlServer, KubectlForced, HelmServer, HelmClient, Flux, ArgoClient, ArgoServer];

    /// The name of its workload.
    pub(crate) fn name(self) -> &'static str {
        match self {
            KubectlClient => "kubectl-client",
            KubectlServer => "kubectl-server",
            KubectlForced => "kubectl-forced",
            HelmServer => "helm-server",
            HelmClient => "helm-client",
            Flux => "flux",
            ArgoClient => "argo-client",
            ArgoServer => "argo-server",
        }
    }

    /// Whether it uses server-side apply.
    pub(crate) fn is_server_side(self) -> bool {
        !matches!(self, KubectlClient | HelmClient | ArgoClient)
    }

    /// Whether it stops at a conflict.
    pub(crate) fn stops_at_conflicts(self) -> bool {
        matches!(self, KubectlServer | HelmServer)
    }

    /// Brings the manifest into the cluster; what is said where that fails.
    pub(crate) async fn apply(self, world: &World<'_>, manifest: &Value) -> Result<(), String> {
        self.apply_with(world, manifest, &[]).await
    }

    /// The same with further arguments of the program.
    pub(crate) async fn apply_with(self, world: &World<'_>, manifest: &Value, more: &[&str]) -> Result<(), String> {
        let kubectl = |args: &[&str]| {
            let args = [&["apply", "-f", "-"], args, more].concat();
            said(world.kubectl_stdin(&args, &manifest.to_string()))
        };
        match self {
            KubectlClient => kubectl(&[]),
            KubectlServer => kubectl(&["--server-side"]),
            KubectlForced => kubectl(&["--server-side", "--force-conflicts"]),
            HelmServer => helm_upgrade(world, manifest, more),
            HelmClient => helm_upgrade(world, manifest, &[&["--server-side=false"], more].concat()),
            // A controller looks first, and does nothing where there is nothing to do.
            Flux => {
                strip_managers(world, manifest).await;
                self.sync(world, manifest, async || apply_with(world, manifest, &forced(FLUX)).await.map(drop)).await
            }
            ArgoServer => {
                self.sync(world, manifest, async || apply_with(world, manifest, &forced(ARGO)).await.map(drop)).await
            }
            ArgoClient => self.sync(world, manifest, async || kubectl(&[&format!("--field-manager={ARGO}")])).await,
        }
    }

    async fn sync(
        self,
        world: &World<'_>,
        manifest: &Value,
        apply: impl AsyncFn() -> Result<(), String>,
    ) -> Result<(), String> {
        match self.drift(world, manifest).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => apply().await,
            Err(said) => Err(said),
        }
    }

    /// What the applier would see as different from Git; its error where it cannot tell.
    pub(crate) async fn drift(self, world: &World<'_>, manifest: &Value) -> Result<Option<String>, String> {
        let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
        let diff = |args: &[&str]| {
            let output = world.kubectl_stdin(&[&["diff", "-f", "-"], args].concat(), &manifest.to_string());
            match output.status.code() {
                Some(0) => Ok(None),
                Some(1) if !output.stdout.is_empty() => Ok(Some(output.stdout)),
                _ => Err(output.stderr),
            }
        };
        match self {
            KubectlClient => diff(&[]),
            KubectlServer => diff(&["--server-side"]),
            KubectlForced => diff(&["--server-side", "--force-conflicts"]),
            // Helm compares with nothing but its own releases.
            HelmServer | HelmClient => Ok(None),
            Flux | ArgoServer => {
                let manager = if self == Flux { FLUX } else { ARGO };
                let params = forced(manager).dry_run();
                let mut live = answer_opt(world, kind, name).await;
                loop {
                    let Some(before) = live else { return Ok(Some("missing".to_owned())) };
                    let predicted = apply_with(world, manifest, &params).await?;
                    live = answer_opt(world, kind, name).await;
                    // Somebody has written meanwhile: that would be compared, and not what is in Git.
                    if live.as_ref().is_some_and(|live| {
                        live["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
                    }) {
                        let (before, predicted) = (comparable(&before), comparable(&predicted));
                        return Ok((before != predicted).then(|| format!("{before}\n{predicted}")));
                    }
                }
            }
            ArgoClient => {
                let Some(live) = answer_opt(world, kind, name).await else { return Ok(Some("missing".to_owned())) };
                let before = &live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
                let before: Value =
                    before.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                Ok(three_way(&before, manifest, &live, kind))
            }
        }
    }

    /// Takes the workload out again, as its applier does when the release or the application is deleted.
    pub(crate) fn uninstall(self, world: &World<'_>, kind: &str) -> Result<(), String> {
        match self {
            HelmServer | HelmClient => helm(world, &["uninstall", self.name()]),
            _ => said(world.kubectl(&["delete", kind, self.name()])),
        }
    }
}

fn said(output: Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(output.stderr) }
}

fn forced(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

async fn answer_opt(world: &World<'_>, kind: &str, name: &str) -> Option<Value> {
    world.api(kind).get_opt(name).await.unwrap().map(|object| serde_json::to_value(object).unwrap())
}

/// An object without what changes with every request.
fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion"] {
        metadata.shift_remove(field);
    }
    object
}

/// Flux takes over what was applied by kubectl before (`ssa: Override`): it removes managers whose name begins with
/// `kubectl`, and `before-first-apply`, from the managed fields.
async fn strip_managers(world: &World<'_>, manifest: &Value) {
    let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
    let Some(live) = answer_opt(world, kind, name).await else { return };
    let all = live["metadata"]["managedFields"].as_array().unwrap();
    let is_stripped = |entry: &&Value| {
        let manager = text(&entry["manager"]);
        manager.starts_with("kubectl") || manager == "before-first-apply"
    };
    if !all.iter().any(|entry| is_stripped(&entry)) {
        return;
    }
    let kept: Vec<_> = all.iter().filter(|entry| !is_stripped(entry)).collect();
    let patch = json!({"metadata": {"managedFields": kept, "resourceVersion": live["metadata"]["resourceVersion"]}});
    let params = PatchParams { field_manager: Some(FLUX.to_owned()), ..PatchParams::default() };
    drop(answer(world.api(kind).patch(name, &params, &Patch::Merge(&patch)).await).unwrap());
}

/// What a three-way diff sees: fields of Git that are not so in the cluster, and fields that Git had before and has no more.
/// Elements of lists are told apart by their names; what only the cluster has is nobody's business.
fn three_way(before: &Value, git: &Value, live: &Value, path: &str) -> Option<String> {
    match (git, live) {
        (Value::Object(fields), Value::Object(_)) => {
            let gone =
                before.as_object().into_iter().flatten().find(|(key, _)| !git[*key].is_null() || !live[*key].is_null());
            let gone =
                gone.filter(|(key, _)| git.get(key).is_none() && live.get(key).is_some() && *key != "annotations");
            let gone = gone.map(|(key, _)| format!("{path}.{key} has to go"));
            gone.or_else(|| {
                fields.iter().find_map(|(key, git)| three_way(&before[key], git, &live[key], &format!("{path}.{key}")))
            })
        }
        (Value::Array(items), Value::Array(present))
            if items.iter().chain(present).all(|item| item["name"].is_string()) =>
        {
            let named = |list: &Value, name: &Value| {
                list.as_array().into_iter().flatten().find(|item| item["name"] == *name).cloned()
            };
            let old = before.as_array().into_iter().flatten().map(|item| &item["name"]);
            let mut gone = old.filter(|name| named(git, name).is_none() && named(live, name).is_some());
            gone.next().map(|name| format!("{path}[{name}] has to go")).or_else(|| {
                items.iter().find_map(|item| {
                    let name = &item["name"];
                    let live = named(live, name).unwrap_or_default();
                    three_way(&named(before, name).unwrap_or_default(), item, &live, &format!("{path}[{name}]"))
                })
            })
        }
        // An empty list is not stored.
        (Value::Array(items), Value::Null) if items.is_empty() => None,
        _ => (git != live).then(|| format!("{path}: {git} in Git, {live} in the cluster")),
    }
}

fn helm(world: &World<'_>, args: &[&str]) -> Result<(), String> {
    let mut command = world.plane.command("helm", &world.plane.admin_kubeconfig());
    said(run(command.args(args).args(["--namespace", &world.namespace]), ""))
}

/// A chart of which the manifest is all.
fn helm_upgrade(world: &World<'_>, manifest: &Value, args: &[&str]) -> Result<(), String> {
    let name = text(&manifest["metadata"]["name"]);
    let chart = world.plane.folder().join(format!("{}-{name}-chart", world.namespace));
    write_chart(&chart, manifest).map_err(|error| error.to_string())?;
    helm(world, &[&["upgrade", "--install", name, &chart.to_string_lossy()], args].concat())
}

fn write_chart(folder: &Path, manifest: &Value) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("templates"))?;
    fs::write(folder.join("Chart.yaml"), "{apiVersion: v2, name: web, version: 1.0.0}")?;
    fs::write(folder.join("templates/web.yaml"), manifest.to_string())
}
