//! The cluster itself: pods run and are read, and a Service is found by its name and reached.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "smoke";
const TIMEOUT: Duration = Duration::from_secs(60);
const GREETING: &str = "hello from a pod";

/// A server, its Service, and a Job that asks it by its name.
const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: greeter}
spec:
  selector: {matchLabels: {app: greeter}}
  template:
    metadata: {labels: {app: greeter}}
    spec:
      containers:
      - name: greeter
        image: local.test/python:1
        imagePullPolicy: IfNotPresent
        command: [python3, -u, -c]
        args:
        - |
          import http.server
          class Greeter(http.server.BaseHTTPRequestHandler):
              def do_GET(self):
                  self.send_response(200)
                  self.end_headers()
                  self.wfile.write(b"hello from a pod")
          print("listening")
          http.server.HTTPServer(("", 8080), Greeter).serve_forever()
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: greeter}
spec:
  selector: {app: greeter}
  ports: [{port: 80, targetPort: 8080}]
"#;

const GUEST: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: guest}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: guest}}
    spec:
      restartPolicy: Never
      containers:
      - name: guest
        image: local.test/python:1
        imagePullPolicy: IfNotPresent
        command: [python3, -u, -c]
        args:
        - |
          import urllib.request
          for host in ("greeter", "greeter.smoke.svc.cluster.local"):
              print(urllib.request.urlopen(f"http://{host}/", timeout=10).read().decode())
"#;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    cluster.namespace(NAMESPACE).await?;
    let apply = |yaml| cluster.kubectl_stdin(&["apply", "-n", NAMESPACE, "-f", "-"], yaml);

    report.step("a Deployment, its log");
    apply(OBJECTS)?;
    cluster.wait_for_rollout(NAMESPACE, "deployment/greeter", TIMEOUT).await?;
    let log = cluster.logs(NAMESPACE, "app=greeter", "greeter")?;
    if !log.contains("listening") {
        return Err(format!("the greeter's log is {log:?}").into());
    }

    report.step("a Job that finds its Service by name");
    apply(GUEST)?;
    cluster.wait_for_job(NAMESPACE, "guest", TIMEOUT).await?;
    let log = cluster.logs(NAMESPACE, "app=guest", "guest")?;
    if log.lines().filter(|line| *line == GREETING).count() != 2 {
        return Err(format!("the guest's log is {log:?}").into());
    }

    report.step("the same Service, through the API server");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/greeter:80/proxy/");
    let answer = cluster.kubectl(&["get", "--raw", &path])?;
    if answer != GREETING {
        return Err(format!("the API server got {answer:?}").into());
    }
    Ok(())
}
