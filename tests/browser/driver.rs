//! A real headless Chromium, driven over WebDriver. Debian's packages are `chromium` and `chromium-driver`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::support::eventually;
use crate::support::process::{Process, Scratch, free_port};

/// A browser with one window. Dropping it ends it.
pub(crate) struct Browser {
    /// Drives the window.
    pub(crate) client: Client,
    port: u16,
    _driver: Process,
    folder: Scratch,
}

/// Nothing that runs beside the page: a log of the network holds what the page asks for. Over a pipe, so that the browser ends with its
/// driver, however that ends.
const SWITCHES: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

impl Browser {
    /// Starts a browser. `dark`: its user prefers dark pages.
    pub(crate) async fn start(dark: bool) -> Self {
        let (folder, port) = (Scratch::new(), free_port());
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("TMPDIR", folder.path()).env("HOME", folder.path());
        let mut driver = Process::start("chromedriver", &command, &folder.path().join("driver.log"));
        eventually("chromedriver answers (Debian's chromium-driver)", Duration::from_secs(30), || {
            driver.assert_alive();
            let answer = ask(port, "/status").map_err(|error| error.to_string());
            async { answer }
        })
        .await;
        let mut switches: Vec<String> = SWITCHES.map(str::to_owned).to_vec();
        switches.push(format!("--user-data-dir={}", folder.path().join("profile").display()));
        switches.push("--window-size=1280,900".to_owned());
        if dark {
            switches.push("--force-dark-mode".to_owned());
        }
        let wanted = json!({
            "goog:chromeOptions": {"args": switches},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "pageLoadStrategy": "normal",
        });
        let Value::Object(wanted) = wanted else { unreachable!("it is an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}\n{}", driver.log_tail()));
        Self { client, port, _driver: driver, folder }
    }

    /// Opens a text as a file.
    pub(crate) async fn open_file(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the scratch folder can be written");
        self.client.goto(&format!("file://{}", path.display())).await.expect("the page opens");
    }

    /// What a function of JavaScript (its body) returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What the console has been told since the last look: errors of scripts, and what a Content-Security-Policy refuses.
    pub(crate) async fn console(&self) -> Vec<String> {
        self.log("browser").await.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// The addresses that were asked for since the last look, but for those of the browser's own first page.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let entries = self.log("performance").await;
        let events = entries.iter().filter_map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str()?).ok().map(|entry| entry["message"].clone())
        });
        let is_own =
            |event: &Value| event["params"]["documentURL"].as_str().is_some_and(|url| url.starts_with("chrome:"));
        let asked = events.filter(|event| event["method"] == "Network.requestWillBeSent" && !is_own(event));
        asked.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    async fn log(&self, kind: &'static str) -> Vec<Value> {
        let entries = self.client.issue_cmd(Log(kind)).await.expect("chromedriver has its logs");
        entries.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser too. Where that fails, both end with the driver's process.
        ask(self.port, "/shutdown").unwrap_or_default();
    }
}

/// Asks the driver for something whose answer does not matter. It understands HTTP/1.1 alone.
fn ask(port: u16, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut begins = [0; 12];
    stream.read_exact(&mut begins)?;
    if &begins == b"HTTP/1.1 200" { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&begins))) }
}

/// An extension of chromedriver: the entries of a log since the last time.
#[derive(Debug)]
struct Log(&'static str);

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.0}).to_string()))
    }
}
