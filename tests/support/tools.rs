//! Where the binaries of the real components are.

use std::path::{Path, PathBuf};

/// The path of a component's binary: from the folder that `KUBEBUILDER_ASSETS` names, where it is there, else from the
/// folder that `make tools` fills.
///
/// # Panics
/// Where it is in neither.
pub(crate) fn tool(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    let folders: Vec<PathBuf> =
        std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).into_iter().chain([built]).collect();
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        panic!("{name} is not in {}: run `make tools` (or set KUBEBUILDER_ASSETS)", looked.join(" nor in "))
    })
}
