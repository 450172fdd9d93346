//! One validator, four callers: what the tables say is found by the webhook over HTTPS, by the API server that asks it, by the
//! controller and by the command line, with the same codes. The CRDs of this control plane let everything through, so that
//! each caller is on its own; the CRDs themselves are asked in `refusals.rs`.

use std::collections::BTreeSet;

use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};
use tracesteward::api::crds;
use tracesteward::diagnostics::{Code, Diagnostic, Severity};

use super::{Case, TABLES, Table, codes_in};
use crate::fixtures::{SOON, World, condition_of, text, tracesteward, wait_for_crds};
use crate::support::https::Caller;
use crate::support::process::free_port;
use crate::support::{ControlPlane, Operator, eventually};

/// What somebody said of a case.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    is_refused: bool,
    /// Of the errors, where there are any; else of what else was found.
    codes: BTreeSet<String>,
}

impl Said {
    fn new(errors: &[&str], others: &[&str]) -> Self {
        let codes = if errors.is_empty() { others } else { errors };
        Self { is_refused: !errors.is_empty(), codes: codes.iter().map(|code| (*code).to_owned()).collect() }
    }

    /// What the functions behind all callers say.
    fn by_the_library(table: &Table, object: &Value) -> Self {
        let found = (table.findings)(object);
        let codes = |severe: bool| -> Vec<&str> {
            let is_meant = |finding: &&Diagnostic| (finding.severity() == Severity::Error) == severe;
            found.iter().filter(is_meant).map(|finding| finding.code.as_str()).collect()
        };
        Self::new(&codes(true), &codes(false))
    }

    fn by_the_webhook(response: &Value) -> Self {
        let message = response["status"]["message"].as_str().unwrap_or_default();
        let warnings: Vec<_> =
            response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(response["allowed"] == true, message.is_empty(), "{response}");
        Self::new(&first_codes(message), &first_codes(&warnings.join("\n")))
    }

    fn by_the_command_line(case: &Case) -> Self {
        let args = ["validate", "-n", "team", "-o", "json", "-"];
        let printed = tracesteward(&args, &case.object.to_string()).stdout;
        let printed: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let codes = |severe: bool| -> Vec<&str> {
            let findings = printed["diagnostics"].as_array().unwrap().iter();
            let meant = findings.filter(|finding| (finding["severity"] == "error") == severe);
            meant.map(|finding| text(&finding["code"])).filter(|code| is_of_the_object(code)).collect()
        };
        Self::new(&codes(true), &codes(false))
    }

    fn by_the_controller(live: &Value) -> Option<Self> {
        let accepted = condition_of(live, "Accepted")?;
        let codes = codes_in(text(&accepted["message"]));
        let codes: Vec<_> = codes.into_iter().filter(|code| is_of_the_object(code)).collect();
        match text(&accepted["status"]) {
            "True" => Some(Self::new(&[], &codes)),
            "False" => Some(Self::new(&codes, &[])),
            _ => None,
        }
    }
}

/// The code at the beginning of each line.
fn first_codes(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split(':').next().unwrap_or_default()).collect()
}

/// Findings about references need the cluster, and those about a whole configuration a collector's policies.
fn is_of_the_object(code: &str) -> bool {
    let family = |code: Code| code.as_str().get(..5).map(str::to_owned);
    let known = Code::parse(code).and_then(family);
    !matches!(known.as_deref(), Some("TRC02" | "TRC04" | "TRC05"))
}

/// A control plane of its own, whose CRDs refuse nothing, with an operator that serves its webhook without telling anybody.
async fn lenient() -> ControlPlane {
    let plane = ControlPlane::start().await;
    let items: Vec<Value> = crds().unwrap().iter().map(|(_, crd)| without_rules(&json!(crd))).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &list.to_string()).success();
    wait_for_crds(&plane);
    plane
}

/// The same kind with a schema that says nothing.
fn without_rules(crd: &Value) -> Value {
    let mut crd = crd.clone();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for version in crd["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"] = json!({"openAPIV3Schema": anything});
        version.as_object_mut().unwrap().remove("additionalPrinterColumns");
        version.as_object_mut().unwrap().remove("selectableFields");
    }
    crd
}

/// Every case with the name under which it is created: one that has no name of its own in the table gets one, because `case` can
/// be there but once.
fn numbered() -> impl Iterator<Item = (&'static Table, Case)> {
    TABLES.iter().flat_map(|table| {
        table.cases().into_iter().enumerate().map(move |(number, mut case)| {
            if case.object["metadata"]["name"] == "case" {
                case.object["metadata"]["name"] = json!(format!("case-{number}"));
            }
            (table, case)
        })
    })
}

fn bundle(world: &World<'_>) -> String {
    let path = "jsonpath={.data.ca\\.crt}";
    let args = ["get", "secret", "tracesteward-webhook-ca", "-n", &world.home, "-o", path];
    let encoded = world.plane.kubectl(&args).success();
    let bytes: k8s_openapi::ByteString = serde_json::from_value(json!(encoded)).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

fn api(world: &World<'_>, table: &Table) -> Api<DynamicObject> {
    world.api(table.kind)
}

#[tokio::test]
async fn four_callers_find_the_same() {
    let plane = lenient().await;
    let world = World::cluster_wide(&plane, "team").await;
    let port = free_port();
    let flags = Operator::webhook_args(port);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let operator = world.operator(&[flags[0], flags[1], "--manage-admission=false"]).await;
    let caller = Caller::new(port, &bundle(&world));
    let mut wrong = Vec::new();
    let mut differs = |who: &str, table: &Table, case: &Case, said: &Said, expected: &Said| {
        if said != expected {
            wrong.push(format!("{}: {}: {who} says {said:?}, not {expected:?}", table.kind, case.name));
        }
    };

    let mut created = Vec::new();
    for (table, case) in numbered() {
        let expected = Said::by_the_library(table, &case.object);
        let response = caller.review(&case.object, "team").unwrap();
        differs("the webhook", table, &case, &Said::by_the_webhook(&response), &expected);
        differs("the command line", table, &case, &Said::by_the_command_line(&case), &expected);
        let object = serde_json::from_value(case.object.clone());
        // Names that no object can have never come to the controller.
        let is_named =
            object.is_ok_and(|object: DynamicObject| !object.metadata.name.unwrap_or_default().contains('_'));
        if is_named {
            let object = serde_json::from_value(case.object.clone()).unwrap();
            match api(&world, table).create(&PostParams::default(), &object).await {
                Ok(_) => created.push((table, case, expected)),
                Err(error) => panic!("{}: {}: {error}", table.kind, case.name),
            }
        }
    }
    assert!(created.len() > 190, "{}", created.len());

    for table in &TABLES {
        let expected = created.iter().filter(|(of, ..)| of.kind == table.kind).count();
        let live = eventually("the controller has judged everything", SOON, async || {
            let live = api(&world, table).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let live: Vec<Value> = live.items.into_iter().map(|object| json!(object)).collect();
            let judged = live.iter().filter(|object| Said::by_the_controller(object).is_some()).count();
            (judged == expected).then_some(live).ok_or_else(|| format!("{judged} of {expected}"))
        })
        .await;
        for (_, case, expected) in created.iter().filter(|(of, ..)| of.kind == table.kind) {
            let live = live.iter().find(|live| live["metadata"]["name"] == case.object["metadata"]["name"]).unwrap();
            differs("the controller", table, case, &Said::by_the_controller(live).unwrap(), expected);
        }
    }
    operator.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let operator = world.operator(&flags).await;
    through_the_api_server(&world).await;
    drop(operator);
}

/// The API server asks the webhook, and hands on what it says.
async fn through_the_api_server(world: &World<'_>) {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let broken = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "broken"},
        "spec": {"enabled": true},
    });
    let broken: DynamicObject = serde_json::from_value(broken).unwrap();
    eventually("the API server asks the webhook", SOON, async || {
        let said = world.api("TracingPolicy").create(&dry, &broken).await;
        said.err().map(|error| error.to_string()).ok_or_else(|| "let through".to_owned())
    })
    .await;
    let (mut wrong, mut warned) = (Vec::new(), 0);
    for (table, mut case) in numbered() {
        // What was created before must not be in the way.
        case.object["metadata"]["name"] = json!(format!("x{}", text(&case.object["metadata"]["name"])));
        let expected = Said::by_the_library(table, &case.object);
        let Ok(object) = serde_json::from_value::<DynamicObject>(case.object.clone()) else { continue };
        let said = match api(world, table).create(&dry, &object).await {
            Ok(_) => Said::new(&[], &expected.codes.iter().map(String::as_str).collect::<Vec<_>>()),
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, 422, "{}: {status:?}", case.name);
                let (denied, message) =
                    status.message.split_once("denied the request: ").unwrap_or(("", &status.message));
                if denied.is_empty() && message.contains("metadata.name: Invalid value") {
                    continue;
                }
                Said::new(&first_codes(message), &[])
            }
            Err(error) => panic!("{}: {error}", case.name),
        };
        if said != expected {
            wrong.push(format!("{}: {}: {said:?}, not {expected:?}", table.kind, case.name));
        }
        // Warnings are headers, which the client does not show; kubectl does.
        if !expected.is_refused && !expected.codes.is_empty() {
            warned += 1;
            let args = ["create", "--dry-run=server", "-f", "-"];
            let shown = world.kubectl_stdin(&args, &case.object.to_string()).stderr;
            let codes: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("Warning: ")).collect();
            let shown = Said::new(&[], &first_codes(&codes.join("\n")));
            if shown != expected {
                wrong.push(format!("{}: {}: kubectl shows {shown:?}, not {expected:?}", table.kind, case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(warned > 10, "{warned}");
    let args = ["create", "--dry-run=server", "-f", "-"];
    let said = world.kubectl_stdin(&args, &json!(broken).to_string()).failure();
    for words in ["TRC0101: ", "(spec.export.endpoint)", Code::TRC0101.help()] {
        assert!(said.contains(words), "{said}");
    }
}
