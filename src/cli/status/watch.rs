//! The same picture again upon every change, from watch streams.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use kube::Client;
use tokio::sync::mpsc;

use super::{Args, Exit, print, text};
use crate::{
    index::{Change, Index, Source, Watched},
    watch,
};

/// Changes that come together are shown together.
const PAUSE: Duration = Duration::from_millis(200);
/// Changes that may wait to be taken in.
const CAPACITY: usize = 1024;

/// Follows what may be listed, until an interrupt or until nobody reads any more.
pub(super) async fn follow(
    args: &Args,
    client: Client,
    seen: Vec<(Watched, Option<String>)>,
    only: Option<&str>,
) -> Exit {
    let sources: Vec<_> = seen.into_iter().map(|(watched, namespace)| Source { watched, namespace }).collect();
    let mut index = Index::new(None, sources.clone());
    let (sender, mut changes) = mpsc::channel(CAPACITY);
    for source in sources {
        tokio::spawn(watch::follow(client.clone(), source, sender.clone()));
    }
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut shown = String::new();
    loop {
        tokio::select! {
            _ = &mut interrupted => return Exit::Success,
            taken = take(&mut index, &mut changes) => if !taken { return Exit::Success },
        }
        if !index.is_synced() {
            continue;
        }
        let now = text(args, index.snapshot(), only);
        if now != shown {
            // On a terminal the picture is drawn over; elsewhere it is one block after another.
            let clear = if io::stdout().is_terminal() { "\u{1b}[2J\u{1b}[H" } else { "" };
            let apart = if clear.is_empty() && !shown.is_empty() && !now.starts_with('{') { "\n" } else { "" };
            if print(&format!("{clear}{apart}{now}")) != Exit::Success {
                return Exit::Unreadable;
            }
            shown = now;
        }
    }
}

/// Takes in the next change, and those that come with it; `false` where there are no streams.
async fn take(index: &mut Index, changes: &mut mpsc::Receiver<Change>) -> bool {
    let Some(first) = changes.recv().await else { return false };
    index.update(first);
    tokio::time::sleep(PAUSE).await;
    while let Ok(change) = changes.try_recv() {
        index.update(change);
    }
    true
}
