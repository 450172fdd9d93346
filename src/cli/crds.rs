//! `tracesteward crds`: the CustomResourceDefinitions.

use std::{fs, path::PathBuf};

use super::{
    Exit,
    output::{fail, print},
};
use crate::api;

/// Prints the CustomResourceDefinitions, or writes them into a folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Writes one file for each CRD into this folder.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let crds = match api::crds() {
        Ok(crds) => crds,
        Err(error) => return fail(&format!("cannot build the CRDs: {error}"), Exit::Unreadable),
    };
    let mut documents = Vec::new();
    for (name, crd) in crds {
        let yaml = match api::to_yaml(&crd) {
            Ok(yaml) => yaml,
            Err(error) => return fail(&format!("cannot write {name}: {error}"), Exit::Unreadable),
        };
        let Some(folder) = &args.output else {
            documents.push(yaml);
            continue;
        };
        let path = folder.join(name);
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&path, yaml)) {
            return fail(&format!("cannot write {}: {error}", path.display()), Exit::Unreadable);
        }
    }
    print(&documents.join("---\n"))
}
