//! A revision: a configuration and the pod that runs it, under a name that is their hash.

use std::collections::BTreeMap;

use super::Tier;

/// The key of a revision's ConfigMap that holds the collector's configuration file.
pub const CONFIGURATION_KEY: &str = "collector.yaml";
/// The key of a revision's ConfigMap that holds the pod template which runs it, as JSON and without the ConfigMap's name:
/// a configuration belongs to an image, so a return to an earlier one must bring back both.
pub const POD_KEY: &str = "pod.json";

/// A configuration and the pod that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The tier.
    pub tier: Tier,
    /// Ten hexadecimal digits of the content's SHA-256.
    pub hash: String,
    /// The ConfigMap's data.
    pub data: BTreeMap<String, String>,
}
