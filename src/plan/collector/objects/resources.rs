//! What a pod may use, and what its process is told of it.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as ApiQuantity};

use super::super::CollectorSettings;
use crate::api::Quantity;

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;
/// What a pod gets for certain, where the user requests nothing.
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "256Mi")];

/// The user's limits and requests, completed: memory is always limited, or a burst of spans would take the node's.
pub(super) fn resources(settings: &CollectorSettings<'_>) -> ResourceRequirements {
    let users = settings.spec.resources.clone().unwrap_or_default();
    let (mut limits, mut requests) = (users.limits, users.requests);
    limits.entry("memory".to_owned()).or_insert_with(|| Quantity::Text(binary(settings.memory)));
    for (resource, amount) in REQUESTS {
        let within = || smaller(Quantity::Text(amount.to_owned()), limits.get(resource));
        requests.entry(resource.to_owned()).or_insert_with(within);
    }
    ResourceRequirements { limits: Some(api(limits)), requests: Some(api(requests)), claims: None }
}

/// The value of GOMEMLIMIT: 80 % of the memory limit in whole MiB. Above it Go's collector works harder, below the limit at
/// which the kernel kills.
pub(super) fn go_memory_limit(memory: u64) -> String {
    format!("{}MiB", (memory / 10 * 8 / MIB).max(1))
}

/// The default amount, or the limit where that is less: the API server refuses requests above limits.
fn smaller(amount: Quantity, limit: Option<&Quantity>) -> Quantity {
    match limit {
        Some(limit) if limit.nanos() < amount.nanos() => limit.clone(),
        _ => amount,
    }
}

/// Bytes as a quantity.
fn binary(bytes: u64) -> String {
    let units = [("Gi", MIB << 10), ("Mi", MIB), ("Ki", MIB >> 10)];
    let unit = units.into_iter().find(|(_, size)| bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(unit, size)| format!("{}{unit}", bytes / size))
}

fn api(quantities: BTreeMap<String, Quantity>) -> BTreeMap<String, ApiQuantity> {
    quantities.into_iter().map(|(resource, quantity)| (resource, api_quantity(&quantity))).collect()
}

/// A quantity as the types of the API hold it.
pub(super) fn api_quantity(quantity: &Quantity) -> ApiQuantity {
    ApiQuantity(match quantity {
        Quantity::Number(number) => number.to_string(),
        Quantity::Text(text) => text.clone(),
    })
}
