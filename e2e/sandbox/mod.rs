//! The sandbox of one run: its own network, mounts and process ids, a folder and a cgroup, all with one random name.
//!
//! Nothing that runs in it can outlive it. The first process of a PID namespace takes all others along when it ends, and
//! mounts and network end with the last process; so there is no list of what to kill, unmount or delete, not even after
//! `kill -9`. What is left then is a folder of files and empty cgroups: the run that made them removes them, else the next
//! run or `make e2e-clean`, which know by its lock that a run has ended.

mod cgroup;
mod mounts;
mod run;

use std::io::Read;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use std::os::unix::process::CommandExt;

pub(crate) use mounts::{prepare, run as run_tool};
pub(crate) use run::sweep;

use run::Run;

/// The first process of the sandbox. A shell, because it has to reap what others leave behind.
const FIRST: &str = r#"
exec 3<&0 </dev/null
"$@" <&3 3<&- &
exec 3<&-
wait "$!"
"#;

/// Longer than leaving takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where programs of the administrator are, which not everybody's PATH names.
const ADMIN_PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// The exit code of a run that was interrupted, as of a program that SIGINT ends.
const INTERRUPTED: u8 = 130;

/// Runs this program again inside a new sandbox, with the same arguments, and removes the sandbox.
pub(crate) async fn run() -> ExitCode {
    if let Some(reason) = impossible() {
        eprintln!("e2e: {reason}");
        return ExitCode::from(2);
    }
    sweep(false);
    let run = Run::new();
    let (child, owner) = enter(&run);
    let pid = child.id();
    run.note_first_process(pid);
    let mut waiting = tokio::task::spawn_blocking(move || wait(child));
    let (status, interrupted) = tokio::select! {
        status = &mut waiting => (status.expect("waiting does not panic"), false),
        () = stop_signal() => {
            drop(owner);
            (leave(waiting, pid).await, true)
        }
    };
    let failed = !status.success() && !interrupted;
    if failed && let Some(kept) = run.keep_logs() {
        eprintln!("e2e: failed ({status}); the logs are in {}", kept.display());
    }
    run.remove();
    match (interrupted, status.code()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        (false, None) => ExitCode::FAILURE,
    }
}

/// Why there can be no sandbox here.
fn impossible() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    if uid.split_whitespace().nth(1) != Some("0") {
        return Some("an own node needs root on Linux (or name a cluster by E2E_KUBECONFIG)");
    }
    None
}

/// Starts this program inside; it ends when the pipe that is returned is closed.
fn enter(run: &Run) -> (Child, ChildStdin) {
    let own = std::env::current_exe().expect("an executable has a path");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", FIRST, "sh"])
        .arg(own)
        .arg("--inside")
        .arg(run.folder())
        .args(std::env::args_os().skip(1))
        .env("TMPDIR", run.folder())
        .env("PATH", format!("{path}:{ADMIN_PATHS}"))
        // Ctrl-C reaches only the owner, who then closes the pipe.
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) starts");
    let owner = child.stdin.take().expect("standard input is piped");
    (child, owner)
}

fn wait(mut child: Child) -> ExitStatus {
    child.wait().expect("a child can be waited for")
}

/// Waits for the end of what has been told to end, and does not wait for ever.
async fn leave(mut waiting: tokio::task::JoinHandle<ExitStatus>, pid: u32) -> ExitStatus {
    if let Ok(status) = tokio::time::timeout(PATIENCE, &mut waiting).await {
        return status.expect("waiting does not panic");
    }
    // Not yet waited for, so the id is still the child's; and `--kill-child` takes the sandbox along.
    drop(Command::new("sh").args(["-c", "kill -KILL \"$1\"", "sh", &pid.to_string()]).status());
    waiting.await.expect("waiting does not panic")
}

/// Ends at Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
    tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminated.recv() => {} }
}

/// Inside: ends this process when its owner does, or wants it to. Everything in the sandbox ends with it.
pub(crate) fn end_with_the_owner() {
    std::thread::spawn(|| {
        drop(std::io::stdin().read(&mut [0]));
        std::process::exit(INTERRUPTED.into());
    });
}
