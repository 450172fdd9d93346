//! A revision: a configuration and the pod that runs it, under a name that is their hash.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{CollectorSettings, Configuration, Tier, objects};
use crate::{api::Management, index::Collector};

/// The key of a revision's ConfigMap that holds the collector's configuration file.
pub const CONFIGURATION_KEY: &str = "collector.yaml";
/// The key of a revision's ConfigMap that holds the pod template which runs it, as JSON and without the ConfigMap's name:
/// a configuration belongs to an image, so a return to an earlier one must bring back both.
pub const POD_KEY: &str = "pod.json";

/// The key that holds how many pods belong together, as JSON: routers name their samplers, and what samples by itself must
/// be one pod. Absent: one pod, or of samplers as many as are asked for.
pub const WORKLOAD_KEY: &str = "workload.json";

/// Hexadecimal digits of the SHA-256 that a name carries.
const HASH_DIGITS: usize = 10;

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

impl Revision {
    /// A revision with this content.
    pub fn new(tier: Tier, data: BTreeMap<String, String>) -> Self {
        let hash = digest(&data).chars().take(HASH_DIGITS).collect();
        Self { tier, hash, data }
    }

    /// How many pods run it, where that belongs to it: for every tier but the samplers.
    pub fn replicas(&self) -> Option<i32> {
        let said = self.data.get(WORKLOAD_KEY).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let replicas = said.and_then(|said| i32::try_from(said.get("replicas")?.as_i64()?).ok());
        (self.tier == Tier::Collector).then(|| replicas.unwrap_or(1))
    }

    /// The whole SHA-256 of the content.
    pub fn digest(&self) -> String {
        digest(&self.data)
    }

    /// The revision that a ConfigMap holds; `None` where its content has another digest. Whoever can write ConfigMaps must
    /// not get to say by that what runs in a pod, so the short hash is not enough.
    pub fn read(tier: Tier, expected: &str, data: BTreeMap<String, String>) -> Option<Self> {
        (digest(&data) == expected).then(|| Self::new(tier, data))
    }
}

/// The revision of a configuration as these settings run it. Where somebody else runs it, the configuration alone.
pub fn revision(collector: &Collector, settings: &CollectorSettings<'_>, configuration: &Configuration) -> Revision {
    let mut data = BTreeMap::from([(CONFIGURATION_KEY.to_owned(), configuration.text.clone())]);
    if settings.management == Management::Managed {
        let template = objects::template(collector, settings, configuration);
        data.insert(POD_KEY.to_owned(), objects::value(&template).to_string());
        if configuration.tier == Tier::Collector && settings.has_sampler_tier() {
            data.insert(WORKLOAD_KEY.to_owned(), json!({"replicas": settings.replicas}).to_string());
        }
    }
    Revision::new(configuration.tier, data)
}

/// The name of a revision's ConfigMap.
pub fn configuration_name(collector: &str, tier: Tier, hash: &str) -> String {
    format!("{collector}-{}-{hash}", tier.as_str())
}

/// The SHA-256 of a ConfigMap's data. Lengths go in too: else text could move between a key and its value unseen.
fn digest(data: &BTreeMap<String, String>) -> String {
    let mut sha = Sha256::new();
    for text in data.iter().flat_map(|(key, value)| [key, value]) {
        sha.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        sha.update(text);
    }
    sha.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_hash_is_of_the_content_alone() {
        let one = Revision::new(Tier::Collector, data(&[("a", "1"), ("b", "2")]));
        assert_eq!(one.hash, Revision::new(Tier::Sampler, data(&[("b", "2"), ("a", "1")])).hash);
        assert_eq!(one.hash.len(), 10);
        assert!(one.hash.chars().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase()));
        // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\0011\0\0\0\0\0\0\0\1b\0\0\0\0\0\0\0\0012' | sha256sum
        assert_eq!(one.hash, "63662dcece");
    }

    #[test]
    fn text_does_not_move_between_entries() {
        let hash = |entries: &[(&str, &str)]| Revision::new(Tier::Collector, data(entries)).hash;
        assert_ne!(hash(&[("a", "bc")]), hash(&[("ab", "c")]));
        assert_ne!(hash(&[("a", "b"), ("c", "d")]), hash(&[("a", "bcd")]));
    }

    #[test]
    fn content_that_was_tampered_with_is_no_revision() {
        let good = Revision::new(Tier::Collector, data(&[("a", "1")]));
        assert_eq!(Revision::read(Tier::Collector, &good.digest(), good.data.clone()), Some(good.clone()));
        assert_eq!(Revision::read(Tier::Collector, &good.digest(), data(&[("a", "2")])), None);
        assert_eq!(Revision::read(Tier::Collector, &good.hash, good.data.clone()), None, "too few digits");
        assert_eq!((good.digest().len(), good.digest().starts_with(&good.hash)), (64, true));
    }
}
