//! An operator with its webhook on a control plane of its own: what is cluster-wide is there but once.

use k8s_openapi::ByteString;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::fixtures::{SOON, World, policy};
use crate::support::{ControlPlane, Operator, eventually};

/// With these an operator looks every second, and nothing else is different.
pub(crate) const IMPATIENT: &str = "--webhook-cert-lifetime=12s";

pub(crate) const SECRET: &str = "tracesteward-webhook-ca";

/// The ClusterRole of the chart.
pub(crate) const ROLE: &str = "tracesteward-system-tracesteward";

pub(crate) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    crate::fixtures::install_crds(&plane);
    plane
}

/// Starts an operator with its webhook at this port and waits until it is ready.
pub(crate) async fn operator(world: &World<'_>, port: u16, extra: &[&str]) -> Operator {
    let mut operator = spawn(world, port, extra);
    operator.wait_ready().await;
    operator
}

pub(crate) fn spawn(world: &World<'_>, port: u16, extra: &[&str]) -> Operator {
    let flags = Operator::webhook_args(port);
    let owner = format!("--admission-owner={ROLE}");
    let args: Vec<&str> =
        flags.iter().map(String::as_str).chain([owner.as_str()]).chain(extra.iter().copied()).collect();
    world.spawn(&args)
}

/// An object of the cluster.
pub(crate) async fn find(world: &World<'_>, kind: &str, name: &str) -> Option<Value> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &ApiResource::from_gvk(&kind));
    let found = api.get_opt(name).await.expect("the API server answers");
    found.map(|object| serde_json::to_value(object).expect("an object is JSON"))
}

/// The configuration by which the API server finds the webhook.
pub(crate) async fn configuration(world: &World<'_>) -> Option<Value> {
    find(world, "ValidatingWebhookConfiguration", "tracesteward").await
}

pub(crate) fn decoded(base64: &Value) -> String {
    let bytes: ByteString = serde_json::from_value(base64.clone()).expect("base64");
    String::from_utf8(bytes.0).expect("PEM is text")
}

/// The authorities that the API server trusts.
pub(crate) async fn trusted(world: &World<'_>) -> String {
    let configuration = configuration(world).await.expect("there is a configuration");
    decoded(&configuration["webhooks"][0]["clientConfig"]["caBundle"])
}

/// What the API server says to a policy that only the webhook would refuse: an error where it asked.
pub(crate) async fn asked(world: &World<'_>) -> Result<(), String> {
    let kind = GroupVersionKind::gvk("tracesteward.io", "v1alpha1", "TracingPolicy");
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), "kube-system", &ApiResource::from_gvk(&kind));
    let object = serde_json::from_value(policy("excluded", &json!({"enabled": false}))).expect("an object");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, &object).await {
        Ok(_) => Err("let through: the webhook was not asked".to_owned()),
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains("TRC0127: ") => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits until the API server asks the webhook.
pub(crate) async fn until_asked(world: &World<'_>) {
    eventually("the API server asks the webhook", SOON, async || asked(world).await).await;
}
