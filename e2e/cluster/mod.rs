//! The cluster that the flows use: the own node, or one that somebody else runs.
#![allow(dead_code, reason = "not every helper is in use at all times")]

mod report;
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::node::Node;
use crate::support::{Output, kubectl, tools::tool};

/// A cluster with its administrator's rights.
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    /// For caches of clients, and what is told of failures.
    folder: PathBuf,
    node: Option<Node>,
    /// Namespaces that the flows made.
    made: Mutex<Vec<String>>,
    /// Removed with this, where the sandbox does not.
    _temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Starts a node in the sandbox that has this folder, with these images (docker-archives).
    pub(crate) async fn start(images: &[PathBuf], folder: &Path) -> Self {
        let node = Node::start(images, folder).await;
        Self {
            kubeconfig: node.plane().admin_kubeconfig(),
            folder: folder.to_owned(),
            node: Some(node),
            made: Mutex::default(),
            _temporary: None,
        }
    }

    /// The cluster of this kubeconfig.
    pub(crate) async fn existing(kubeconfig: &Path) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let cluster = Self {
            kubeconfig: kubeconfig.to_owned(),
            folder: temporary.path().to_owned(),
            node: None,
            made: Mutex::default(),
            _temporary: Some(temporary),
        };
        let version = cluster.client().await.apiserver_version().await;
        let version = version.unwrap_or_else(|error| panic!("the cluster of {}: {error}", kubeconfig.display()));
        say!("Kubernetes {}", version.git_version);
        cluster
    }

    /// How a person gets in.
    pub(crate) fn invitation(&self) -> String {
        self.node.as_ref().map_or_else(|| format!("KUBECONFIG={}", self.kubeconfig.display()), Node::invitation)
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with an administrator's rights.
    pub(crate) async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a kubeconfig with a context")).expect("a client")
    }

    /// Runs kubectl; what it printed, or what it said where it failed. Blocks the thread.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.kubectl_stdin(args, "")
    }

    /// Runs kubectl with `input` on its standard input. Blocks the thread.
    pub(crate) fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String, String> {
        told("kubectl", args, kubectl::run(self.command("kubectl").args(args), input))
    }

    /// Runs helm. Blocks the thread.
    pub(crate) fn helm(&self, args: &[&str]) -> Result<String, String> {
        told("helm", args, kubectl::run(self.command("helm").args(args), ""))
    }

    /// A command of a client tool that talks to this cluster and shares no cache with others.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(tool(name));
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder).env("KUBECTL_KUBERC", "false");
        command
    }

    /// Applies `yaml` (one document or more). Blocks the thread.
    pub(crate) fn apply_yaml(&self, yaml: &str) -> Result<String, String> {
        self.kubectl_stdin(&["apply", "-f", "-"], yaml)
    }

    /// Everything that a container of the pods of this selector has printed. Blocks the thread.
    pub(crate) fn logs(&self, namespace: &str, selector: &str, container: &str) -> Result<String, String> {
        self.kubectl(&["logs", "-n", namespace, "-l", selector, "-c", container, "--tail=-1"])
    }

    /// Makes a namespace for a flow and waits until pods can be created in it. It is removed at the end.
    pub(crate) async fn namespace(&self, name: &str) -> Result<(), String> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply_yaml(&object.to_string())?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        self.wait_for("the default ServiceAccount", wait::SHORT, async || {
            self.kubectl(&["get", "serviceaccount", "default", "-n", name]).map(drop)
        })
        .await
    }

    /// Where what is told of failures goes.
    fn report_folder(&self) -> PathBuf {
        let folder = self.folder.join("report");
        fs::create_dir_all(&folder).expect("the run's folder is writable");
        folder
    }

    /// Leaves the cluster: an own node ends with the sandbox; elsewhere, the flows' namespaces are deleted. Blocks the thread.
    pub(crate) fn stop(self) {
        if self.node.is_some() {
            return;
        }
        for namespace in self.made.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Err(reason) = self.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"])
            {
                eprintln!("e2e: {reason}");
            }
        }
    }
}

fn told(program: &str, args: &[&str], output: Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{program} {}: {}{}", args.join(" "), output.stdout, output.stderr.trim()))
}
