//! What a release is made of agrees with the rest: the image with the chart, the plugin's manifest with the archives, the workflows with both.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const ARCHIVES: [&str; 3] = ["linux-amd64", "linux-arm64", "darwin-arm64"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"))
}

fn run(program: &str, args: &[&Path]) -> Output {
    let program = root().join(program);
    Command::new(&program).args(args).output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn workflows() -> Vec<(String, Value)> {
    let entries = fs::read_dir(root().join(".github/workflows")).expect("workflows");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.map(|name| (name.clone(), yaml(&file(&format!(".github/workflows/{name}"))))).collect()
}

/// The jobs of a workflow, by name.
fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().expect("jobs").iter()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().expect("steps")
}

/// The value of an instruction's last occurrence.
fn instruction<'d>(dockerfile: &'d str, name: &str) -> &'d str {
    let mut lines = dockerfile.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.next_back().unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_image_is_what_the_chart_runs() {
    let dockerfile = file("Dockerfile");
    let values = yaml(&file("charts/tracesteward/values.yaml"));
    let account = &values["podSecurityContext"];
    assert_eq!(instruction(&dockerfile, "USER"), format!("{}:{}", account["runAsUser"], account["runAsGroup"]));
    assert_eq!(instruction(&dockerfile, "FROM"), "scratch");
    assert_eq!(instruction(&dockerfile, "ENTRYPOINT"), r#"["tracesteward"]"#);
    let path = instruction(&dockerfile, "ENV").strip_prefix("PATH=").expect("where the chart's command is found");
    assert!(dockerfile.contains(&format!("/out{path}/tracesteward")));
    let template = file("charts/tracesteward/templates/deployment.yaml");
    assert!(template.contains("command: [tracesteward, operator]"));
    for port in instruction(&dockerfile, "EXPOSE").split(' ') {
        assert!(template.contains(&format!("containerPort: {port}")), "{port}");
    }
}

#[test]
fn every_build_uses_one_version_of_rust_that_is_new_enough() {
    let manifest = file("Cargo.toml");
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("rust-version");
    let minor = |version: &str| version.trim_matches('"').split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let dockerfile = file("Dockerfile");
    let (_, image) = dockerfile.split_once("FROM rust:").expect("the image of the build");
    let image = image.split('-').next().expect("a version");
    assert!(minor(image) >= minor(needed), "{image}");
    for (name, workflow) in workflows() {
        let version = workflow["env"]["RUST"].as_str().unwrap_or_else(|| panic!("{name}: env.RUST"));
        assert!(version.starts_with(&format!("{image}.")), "{name}: {version}, and the image {image}");
    }
}

#[test]
fn what_the_image_is_built_from_reaches_the_build() {
    let left_out: Vec<_> = file(".dockerignore").lines().map(str::to_owned).collect();
    let manifest = file("Cargo.toml");
    let paths = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    for path in paths.chain(["src", "benches", "Cargo.lock", "LICENSE"]) {
        assert!(root().join(path).exists(), "{path}");
        assert!(!left_out.iter().any(|out| path.starts_with(out.as_str())), "{path} is in .dockerignore");
    }
}

#[test]
fn archives_hold_the_binary_and_are_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("any-name");
    fs::write(&binary, "the binary").expect("a file");
    let archive = |name: &str| {
        let out = folder.path().join(name);
        let output = run("packaging/archive.py", &[&binary, &out]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        out
    };
    let (one, two) = (archive("one.tar.gz"), archive("two.tar.gz"));
    assert_eq!(fs::read(&one).expect("an archive"), fs::read(&two).expect("an archive"));
    let unpacked = Command::new("tar").arg("-xzf").arg(&one).arg("-C").arg(folder.path()).status().expect("tar");
    assert!(unpacked.success());
    assert_eq!(fs::read_to_string(folder.path().join("LICENSE")).expect("the licence"), file("LICENSE"));
    let mode = fs::metadata(folder.path().join("tracesteward")).expect("the binary").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn the_plugin_names_the_archives_of_the_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = folder.path().join("SHA256SUMS");
    let line = |(number, name): (usize, &str)| format!("{number:a>64}  tracesteward-{name}.tar.gz\n");
    let all: String = ARCHIVES.into_iter().enumerate().map(line).collect();
    fs::write(&sums, &all).expect("a file");
    let output = run("packaging/krew.sh", &[Path::new("1.2.3"), &sums]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let manifest = yaml(&text(&output.stdout));
    assert_eq!(
        (&manifest["metadata"]["name"], &manifest["spec"]["version"]),
        (&"tracesteward".into(), &"v1.2.3".into())
    );
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    assert_eq!(platforms.len(), ARCHIVES.len());
    for ((number, name), platform) in ARCHIVES.into_iter().enumerate().zip(platforms) {
        let labels = &platform["selector"]["matchLabels"];
        assert_eq!(format!("{}-{}", labels["os"], labels["arch"]).replace('"', ""), name);
        let uri = platform["uri"].as_str().expect("an address");
        assert!(uri.ends_with(&format!("/v1.2.3/tracesteward-{name}.tar.gz")), "{uri}");
        assert_eq!(platform["sha256"], format!("{number:a>64}"));
        assert_eq!(platform["bin"], "tracesteward");
    }
    fs::write(&sums, all.lines().next().expect("a line")).expect("a file");
    let output = run("packaging/krew.sh", &[Path::new("1.2.3"), &sums]);
    assert!(!output.status.success() && text(&output.stderr).contains("tracesteward-darwin-arm64"));
    let (_, release) = workflows().into_iter().find(|(name, _)| name == "release.yaml").expect("release.yaml");
    let matrix = release["jobs"]["binaries"]["strategy"]["matrix"]["include"].as_array().expect("a matrix");
    let built: Vec<_> = matrix.iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert_eq!(built, ARCHIVES);
    let checked = file("deny.toml");
    for entry in matrix {
        assert!(checked.contains(entry["target"].as_str().expect("a target")), "{entry}: not among those of deny.toml");
    }
}

#[test]
fn workflows_get_no_more_rights_than_they_need_and_run_nothing_that_others_wrote() {
    // Who makes the actions that are used.
    let known = ["actions", "docker", "sigstore", "anchore"];
    for (name, workflow) in workflows() {
        assert_eq!(workflow["permissions"].to_string(), r#"{"contents":"read"}"#, "{name}");
        for (job, body) in jobs(&workflow) {
            assert!(body["timeout-minutes"].is_u64(), "{name}: {job} may run for ever");
            for step in steps(body) {
                if let Some(action) = step["uses"].as_str() {
                    let (path, version) = action.split_once('@').expect("a version");
                    assert!(path.split('/').next().is_some_and(|owner| known.contains(&owner)), "{name}: {action}");
                    assert!(!["main", "master", ""].contains(&version), "{name}: {action}");
                    let is_checkout = path == "actions/checkout";
                    assert!(
                        !is_checkout || step["with"]["persist-credentials"] == false,
                        "{name}: {job} keeps a token"
                    );
                }
                // What a tag or a branch is called would be a part of the script.
                assert!(step["run"].as_str().is_none_or(|script| !script.contains("${{")), "{name}: {step}");
            }
        }
    }
}

#[test]
fn what_workflows_call_is_there() {
    let makefile = file("Makefile");
    let mut called = BTreeSet::new();
    for (_, workflow) in workflows() {
        for script in jobs(&workflow).flat_map(|(_, job)| steps(job)).filter_map(|step| step["run"].as_str()) {
            let lines = script.lines().filter(|line| !line.contains("apt-get"));
            for words in lines.filter_map(|line| line.split_once("make ").map(|(_, words)| words)) {
                called.extend(words.split(' ').map(str::to_owned));
            }
            for path in script.split([' ', '\n']).filter(|word| word.contains("packaging/")) {
                assert!(root().join(path.trim_start_matches("../")).is_file(), "{path}");
            }
        }
    }
    assert!(called.len() > 5, "{called:?}");
    for target in called {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}
