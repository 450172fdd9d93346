//! Child processes and folders that never outlive the process that made them.
//!
//! A test can end without a destructor (statics are never dropped, `abort`, SIGKILL). So each child hangs on a leash: a
//! pipe whose writing end only this process holds. The kernel closes it at our death, and a tiny shell beside the child,
//! which waits for just that, kills the child. `PR_SET_PDEATHSIG` would not do: it follows the *thread* that started the
//! child, and each test is a thread of its own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Becomes the program, after starting the watcher. The watcher is a child of the program: where its parent is another
/// process by now, the program is dead, its id may belong to somebody else, and nothing is killed.
const LEASHED: &str = r#"
exec 3<&0 </dev/null
(
  exec >/dev/null 2>&1
  read -r _ <&3
  read -r _ _ _ parent _ </proc/self/stat
  [ "$parent" = "$$" ] && kill -KILL "$$"
) &
exec 3<&-
exec "$@"
"#;

/// Removes a folder when the leash ends. What still writes there is being killed at the same moment: hence the retries.
const JANITOR: &str = r#"
read -r _
attempts=0
until rm -rf "$1" 2>/dev/null || [ "$attempts" -ge 100 ]; do attempts=$((attempts + 1)); sleep 0.1; done
"#;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Not in `child`: waiting for a [`Child`] closes the pipe that it holds.
    _leash: ChildStdin,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`. Its standard input is empty.
    pub(crate) fn start(name: &str, command: &Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log file opens");
        let mut leashed = Command::new("sh");
        leashed.arg("-c").arg(LEASHED).arg("sh").arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => leashed.env(variable, value),
                None => leashed.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            leashed.current_dir(folder);
        }
        // An own process group: Ctrl-C reaches the tests alone, and the leash does the rest in order.
        let mut child = leashed
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("the log file can be shared"))
            .stderr(output)
            .spawn()
            .expect("sh starts");
        let leash = child.stdin.take().expect("standard input is piped");
        Self { name: name.to_owned(), child, _leash: leash, log: log.to_owned() }
    }

    /// The process id, of the program itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the program ended, once it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Fails with the end of the log where the program has ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        match self.exited() {
            Some(status) => Err(format!("{} ended ({status}); its log ends with:\n{}", self.name, self.log_tail())),
            None => Ok(()),
        }
    }

    /// Panics with the end of the log where the program has ended: waiting for it would be in vain.
    pub(crate) fn assert_alive(&mut self) {
        self.check_alive().unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Kills the program at once (SIGKILL) and waits for its end.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends it a signal: `STOP`, `CONT`, ... It must not have been waited for: its id may be another's by then.
    pub(crate) fn signal(&self, name: &str) {
        // The builtin of the shell: /bin/kill is no part of every system.
        let script = format!("kill -{name} \"$1\"");
        let status = Command::new("sh").args(["-c", &script, "sh", &self.pid().to_string()]).status();
        assert!(status.expect("sh starts").success(), "{} cannot be signalled", self.name);
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Panics
    /// Where it has not ended within `timeout`.
    pub(crate) fn stop(&mut self, timeout: Duration) -> ExitStatus {
        if self.exited().is_none() {
            self.signal("TERM");
        }
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end on SIGTERM:\n{}", self.name, self.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that the program has printed.
    pub(crate) fn logs(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that the program has printed.
    pub(crate) fn log_tail(&self) -> String {
        let logs = self.logs();
        let lines: Vec<&str> = logs.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for what has already ended. Waiting leaves no zombie.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A temporary folder that is removed when this is dropped, or when this process dies.
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Option<(Child, ChildStdin)>,
}

impl Scratch {
    /// Makes the folder, readable for this user alone.
    pub(crate) fn new() -> Self {
        let path = tempfile::Builder::new().prefix("tracesteward-").tempdir().expect("a temporary folder").keep();
        if std::env::var_os("TRACESTEWARD_KEEP").is_some() {
            eprintln!("kept: {}", path.display());
            return Self { path, janitor: None };
        }
        let mut janitor = Command::new("sh")
            .args(["-c", JANITOR, "sh"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let leash = janitor.stdin.take().expect("standard input is piped");
        Self { path, janitor: Some((janitor, leash)) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some((mut janitor, leash)) = self.janitor.take() {
            drop(leash);
            drop(janitor.wait());
        }
    }
}

/// A port of loopback on which nobody listens, never the same twice in this process.
///
/// Below the range from which the kernel takes the ports of outgoing connections (32768 and up), so that a server which
/// is stopped finds its port free when it starts again.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin at different places.
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback");
}
