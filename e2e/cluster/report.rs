//! What a cluster looks like where a flow has failed, as files for a person.

use std::fs;

use super::Cluster;

/// The questions, with the file that takes the answer.
const QUESTIONS: [(&str, &[&str]); 5] = [
    ("pods.txt", &["get", "pods", "--all-namespaces", "-o", "wide"]),
    ("events.txt", &["get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp"]),
    ("pods-described.txt", &["describe", "pods", "--all-namespaces"]),
    ("workloads.yaml", &["get", "deployments,statefulsets,daemonsets,jobs,cronjobs", "--all-namespaces", "-o", "yaml"]),
    ("services.txt", &["get", "services,endpointslices", "--all-namespaces", "-o", "wide"]),
];

impl Cluster {
    /// Writes what the cluster looks like, under the name of the flow. Blocks the thread.
    pub(crate) fn report(&self, flow: &str) {
        for (file, question) in QUESTIONS {
            let answer = self.kubectl(question).unwrap_or_else(|reason| reason);
            let path = self.report_folder().join(format!("{flow}-{file}"));
            if let Err(error) = fs::write(&path, answer) {
                eprintln!("e2e: {}: {error}", path.display());
            }
        }
        if let (Ok(pods), None) = (self.kubectl(QUESTIONS[0].1), &self.node) {
            say!("{pods}");
        }
    }
}
