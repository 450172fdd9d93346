//! Who may do what: exactly that.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{NAMESPACE, args_of, file, identity, named, of_kind, one, render, shape, shapes, strings};

/// What a role grants: (group, resource, name or nothing) to verbs.
fn grants(role: &Value) -> BTreeMap<(String, String, String), BTreeSet<String>> {
    let mut all: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for rule in role["rules"].as_array().expect("rules") {
        for key in rule.as_object().expect("a rule").keys() {
            assert!(["apiGroups", "resources", "resourceNames", "verbs"].contains(&key.as_str()), "{key} in a rule");
        }
        let mut names = strings(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for name in &names {
                    let verbs = all.entry((group.clone(), resource.clone(), name.clone())).or_default();
                    verbs.extend(strings(&rule["verbs"]));
                }
            }
        }
    }
    all
}

fn expected(list: &[(&str, &str, &str, &str)]) -> BTreeMap<(String, String, String), BTreeSet<String>> {
    list.iter()
        .map(|(group, resource, name, verbs)| {
            let key = ((*group).to_owned(), (*resource).to_owned(), (*name).to_owned());
            (key, verbs.split(' ').map(str::to_owned).collect())
        })
        .collect()
}

const MADE: &str = "get list watch create patch delete";

const NAMESPACED_RIGHTS: [(&str, &str, &str, &str); 19] = [
    ("tracesteward.io", "tracingpolicies", "", "list watch"),
    ("tracesteward.io", "tracingpolicies/status", "", "patch"),
    ("tracesteward.io", "tracingcollectors", "", "list watch"),
    ("tracesteward.io", "tracingcollectors/status", "", "patch"),
    ("apps", "deployments", "", "get list watch create patch delete"),
    ("apps", "statefulsets", "", "get list watch create patch delete"),
    ("apps", "daemonsets", "", "get list watch patch"),
    ("batch", "cronjobs", "", "list watch patch"),
    ("", "configmaps", "", MADE),
    ("", "services", "", MADE),
    ("", "serviceaccounts", "", MADE),
    ("policy", "poddisruptionbudgets", "", MADE),
    ("networking.k8s.io", "networkpolicies", "", MADE),
    ("", "pods", "", "list watch delete"),
    ("apps", "replicasets", "", "list watch"),
    ("apps", "controllerrevisions", "", "list"),
    ("", "events", "", "list"),
    ("batch", "jobs", "", "list watch"),
    ("events.k8s.io", "events", "", "create patch"),
];

/// What a binding in a namespace could not grant.
const WIDE_RIGHTS: [(&str, &str, &str, &str); 11] = [
    ("tracesteward.io", "clustertracingpolicies", "", "list watch"),
    ("tracesteward.io", "clustertracingpolicies/status", "", "patch"),
    ("", "namespaces", "", "list watch"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", IDENTITY, "get create patch delete"),
    ("rbac.authorization.k8s.io", "clusterroles", IDENTITY, "bind"),
    ("rbac.authorization.k8s.io", "clusterroles", ROLE, "get"),
    (ADMISSION, "validatingwebhookconfigurations", "tracesteward", "get create patch delete"),
    (ADMISSION, "mutatingwebhookconfigurations", "tracesteward", "get create patch delete"),
    (ADMISSION, "mutatingwebhookconfigurations", "tracesteward-pods", "get create patch delete"),
    (ADMISSION, "mutatingadmissionpolicies", "tracesteward-repair", "get create patch delete"),
    (ADMISSION, "mutatingadmissionpolicybindings", "tracesteward-repair", "get create patch delete"),
];

const ADMISSION: &str = "admissionregistration.k8s.io";

const SECRET_RIGHTS: (&str, &str, &str, &str) = ("", "secrets", "", "get");

/// The operator's role.
const ROLE: &str = "tracesteward-system-tracesteward";

/// What collectors that look up their senders are bound to.
const IDENTITY: &str = "tracesteward-collector-identity";

#[test]
fn rights_are_exactly_these() {
    let objects = render(&[]);
    let rights = [&NAMESPACED_RIGHTS[..], &WIDE_RIGHTS, &[SECRET_RIGHTS]].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
    assert_eq!(
        grants(named(&objects, "Role", "tracesteward-leader-election")),
        expected(&[
            ("coordination.k8s.io", "leases", "", "create"),
            ("coordination.k8s.io", "leases", "tracesteward", "get update"),
        ])
    );
    assert_eq!(
        grants(named(&objects, "Role", "tracesteward-webhook")),
        expected(&[("", "secrets", "tracesteward-webhook-ca", "get create patch")])
    );
    let read = "get list watch";
    assert_eq!(
        grants(named(&objects, "ClusterRole", IDENTITY)),
        expected(&[("", "pods", "", read), ("", "namespaces", "", read), ("apps", "replicasets", "", read)])
    );
}

#[test]
fn the_page_says_what_each_right_is_for() {
    let page = file("docs/security.md");
    let (_, tables) = page.split_once("### In each namespace\n").expect("the tables");
    let (tables, _) = tables.split_once("\n## ").expect("their end");
    let mut documented: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for row in tables.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [right, verbs, what_for] = cells[..] else { panic!("{row}") };
        assert!(what_for.len() > 5, "{row}");
        let mut words = right.split('`').step_by(2);
        let path = words.next().expect("a resource");
        let name = if right.contains("own") { ROLE } else { right.split('`').nth(2).unwrap_or_default() };
        let (group, resource) = match path.split_once('/') {
            Some((group, rest)) if group.contains('.') || ["apps", "batch", "policy"].contains(&group) => (group, rest),
            _ => ("", path),
        };
        let key = (group.to_owned(), resource.to_owned(), name.to_owned());
        let verbs: BTreeSet<_> = verbs.split(", ").map(str::to_owned).collect();
        assert!(documented.insert(key, verbs).is_none(), "{row} is there twice");
    }
    assert_eq!(documented, grants(named(&render(&[]), "ClusterRole", ROLE)));
}

#[test]
fn rights_to_secrets_go_with_their_value() {
    let objects = render(&["--set", "rbac.secrets.verify=false"]);
    let rights = [&NAMESPACED_RIGHTS[..], &WIDE_RIGHTS].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
    assert!(args_of(&objects).contains(&"--secrets-verify=false".to_owned()));
}

#[test]
fn rights_to_secrets_can_be_for_some_names() {
    let objects = render(&["--set", "rbac.secrets.names={one,two}"]);
    let secrets = [("", "secrets", "one", "get"), ("", "secrets", "two", "get")];
    let rights = [&NAMESPACED_RIGHTS[..], &WIDE_RIGHTS, &secrets].concat();
    assert_eq!(grants(named(&objects, "ClusterRole", ROLE)), expected(&rights));
}

#[test]
fn nothing_of_the_cluster_is_granted_where_namespaces_are_watched() {
    let objects = render(&["--set", "watchNamespaces={team-a,team-b}"]);
    let rights = [&NAMESPACED_RIGHTS[..], &[SECRET_RIGHTS]].concat();
    let roles: Vec<_> = of_kind(&objects, "Role").into_iter().filter(|role| role["metadata"]["name"] == ROLE).collect();
    let places: Vec<_> = roles.iter().map(|role| &role["metadata"]["namespace"]).collect();
    assert_eq!(places, ["team-a", "team-b"]);
    for role in roles {
        assert_eq!(grants(role), expected(&rights));
    }
    assert!(of_kind(&objects, "Service").is_empty() && of_kind(&objects, "Role").len() == 3, "nor is there a webhook");
    for role in of_kind(&objects, "ClusterRole") {
        let name = role["metadata"]["name"].as_str().expect("a name");
        assert!(["-view", "-edit", "-admin"].iter().any(|end| name.ends_with(end)), "{name} is for no person");
    }
    for object in shape("namespaced") {
        assert!(object["metadata"]["namespace"].is_string(), "{} is of the whole cluster", identity(&object));
    }
}

#[test]
fn users_get_what_belongs_to_their_roles() {
    let objects = render(&[]);
    let role = |name: &str| named(&objects, "ClusterRole", &format!("{ROLE}-{name}"));
    let aggregates = |name: &str, to: &str| {
        role(name)["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] == "true"
    };
    let group = "tracesteward.io";
    let read = "get list watch";
    let write = "create update patch delete deletecollection";
    let kinds = ["tracingpolicies", "clustertracingpolicies", "tracingcollectors"];
    assert_eq!(grants(role("view")), expected(&kinds.map(|kind| (group, kind, "", read))));
    // Who may write a collector lets its account read the pods of all namespaces: that is for no editor of a namespace.
    assert_eq!(grants(role("edit")), expected(&[(group, "tracingpolicies", "", write)]));
    let all = format!("{read} {write}");
    assert_eq!(grants(role("collector-admin")), expected(&[(group, "tracingcollectors", "", &all)]));
    assert_eq!(grants(role("cluster-policy-admin")), expected(&[(group, "clustertracingpolicies", "", &all)]));
    assert!(aggregates("view", "view") && aggregates("edit", "edit") && aggregates("edit", "admin"));
    for to in ["view", "edit", "admin"] {
        assert!(!aggregates("collector-admin", to) && !aggregates("cluster-policy-admin", to));
    }
}

#[test]
fn roles_of_users_aggregate_as_told() {
    let label = |objects: &[Value], name: &str, to: &str| {
        let role = named(objects, "ClusterRole", &format!("{ROLE}-{name}"));
        role["metadata"]["labels"].get(format!("rbac.authorization.k8s.io/aggregate-to-{to}")).is_some()
    };
    let all = [("view", "view"), ("edit", "edit"), ("edit", "admin")];
    for (value, taken) in [("View", all[0]), ("Edit", all[1]), ("Admin", all[2])] {
        let objects = render(&["--set", &format!("rbac.aggregateTo{value}=false")]);
        for (name, to) in all {
            assert_eq!(label(&objects, name, to), (name, to) != taken, "{value}: {name} to {to}");
        }
    }
    let objects = render(&["--set", "rbac.userRoles=false"]);
    assert_eq!(of_kind(&objects, "ClusterRole").len(), 2, "the operator's, and that of collectors");
}

#[test]
fn no_wildcard_anywhere() {
    for values in shapes() {
        let objects = render(&["--values", &values]);
        for role in ["Role", "ClusterRole"].into_iter().flat_map(|kind| of_kind(&objects, kind)) {
            assert!(!role["rules"].to_string().contains('*'), "{role}");
        }
    }
}

fn binding(object: &Value) -> (String, Value, Value) {
    (identity(object), object["roleRef"].clone(), object["subjects"].clone())
}

#[test]
fn bindings_name_the_account_and_follow_the_watched_namespaces() {
    let subject = json!([{"kind": "ServiceAccount", "name": "tracesteward", "namespace": NAMESPACE}]);
    let role = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tracesteward-system-tracesteward",
    });
    let group = "rbac.authorization.k8s.io/v1";
    let everywhere = render(&[]);
    assert_eq!(
        binding(one(&everywhere, "ClusterRoleBinding")),
        (format!("{group} ClusterRoleBinding  {ROLE}"), role, subject.clone())
    );
    let scoped = render(&["--set", "watchNamespaces={team-a,team-b}"]);
    assert!(of_kind(&scoped, "ClusterRoleBinding").is_empty());
    let of_namespaces: Vec<_> = of_kind(&scoped, "RoleBinding")
        .into_iter()
        .filter(|object| object["roleRef"]["name"] == ROLE)
        .map(binding)
        .collect();
    let want = |namespace| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE});
        (format!("{group} RoleBinding {namespace} {ROLE}-watched"), role, subject.clone())
    };
    assert_eq!(of_namespaces, [want("team-a"), want("team-b")]);
}
