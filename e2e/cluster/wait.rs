//! Waiting for a state of the cluster, with the reason where it does not come.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Cluster;

/// For what takes a controller's glance.
pub(super) const SHORT: Duration = Duration::from_secs(60);
/// How often the cluster is asked.
const INTERVAL: Duration = Duration::from_millis(200);

impl Cluster {
    /// Asks `probe` until it answers `Ok`, and returns that; after `timeout`, `what` with its last reason.
    pub(crate) async fn wait_for<T, F>(
        &self,
        what: &str,
        timeout: Duration,
        mut probe: impl FnMut() -> F,
    ) -> Result<T, String>
    where
        F: Future<Output = Result<T, String>>,
    {
        let deadline = Instant::now() + timeout;
        loop {
            let reason = match probe().await {
                Ok(answer) => return Ok(answer),
                Err(reason) => reason,
            };
            if Instant::now() > deadline {
                return Err(format!("{what}: not within {timeout:?}: {reason}"));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until a workload (`deployment/NAME`, ...) is rolled out; ends at once where its rollout has failed.
    pub(crate) async fn wait_for_rollout(
        &self,
        namespace: &str,
        workload: &str,
        timeout: Duration,
    ) -> Result<(), String> {
        let what = format!("{workload} in {namespace} is rolled out");
        let ended = self.wait_for(&what, timeout, async || {
            match self.kubectl(&["rollout", "status", "-n", namespace, workload, "--timeout=1s"]) {
                Err(reason) if reason.contains("exceeded its progress deadline") => Ok(Err(reason)),
                answer => answer.map(|_| Ok(())),
            }
        });
        ended.await.and_then(|ended| ended).map_err(|reason| format!("{reason}\n{}", self.pods(namespace)))
    }

    /// Waits until an object (`KIND/NAME`) has this condition, with the status `True`.
    pub(crate) async fn wait_for_condition(
        &self,
        namespace: &str,
        object: &str,
        condition: &str,
        timeout: Duration,
    ) -> Result<(), String> {
        let what = format!("{object} in {namespace} is {condition}");
        self.wait_for(&what, timeout, async || {
            let object = self.get(namespace, object)?;
            match status(&object, condition) {
                Some("True") => Ok(()),
                _ => Err(format!("its conditions are {}", object["status"]["conditions"])),
            }
        })
        .await
    }

    /// Waits until a Job has completed; ends at once where it has failed.
    pub(crate) async fn wait_for_job(&self, namespace: &str, job: &str, timeout: Duration) -> Result<(), String> {
        let what = format!("Job {job} in {namespace} is complete");
        let ended = self.wait_for(&what, timeout, async || {
            let object = self.get(namespace, &format!("job/{job}"))?;
            match (status(&object, "Complete"), status(&object, "Failed")) {
                (Some("True"), _) => Ok(Ok(())),
                (_, Some("True")) => Ok(Err(format!("Job {job} in {namespace} failed"))),
                _ => Err(format!("its status is {}", object["status"])),
            }
        });
        ended.await.and_then(|ended| ended).map_err(|reason| format!("{reason}\n{}", self.pods(namespace)))
    }

    /// An object (`KIND/NAME`) as it is now.
    pub(crate) fn get(&self, namespace: &str, object: &str) -> Result<Value, String> {
        let text = self.kubectl(&["get", "-n", namespace, object, "-o", "json"])?;
        serde_json::from_str(&text).map_err(|error| format!("{object}: {error}"))
    }

    /// The pods of a namespace, in words.
    fn pods(&self, namespace: &str) -> String {
        self.kubectl(&["get", "pods", "-n", namespace, "-o", "wide"]).unwrap_or_else(|reason| reason)
    }
}

/// The status of a condition.
fn status<'a>(object: &'a Value, condition: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|entry| entry["type"] == condition)?["status"].as_str()
}
