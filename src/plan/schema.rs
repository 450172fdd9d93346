//! placeholder
use crate::diagnostics::Diagnostic;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;
/// placeholder
pub fn check(_schema: &JSONSchemaProps, _value: &Value) -> Vec<Diagnostic> {
    Vec::new()
}
