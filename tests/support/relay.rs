//! A relay of bytes on loopback, between one client and one server: it can hold them all for a while, as a network does that
//! has come apart, and then deliver them, late and in order.
//!
//! What is held is what a kernel would send again and again until somebody acknowledges it: also after an orderly end of the
//! connection, but not after a reset, which throws it away.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Runs in threads of its own: tests block theirs.
pub(crate) struct Relay {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_held: Mutex<bool>,
    changed: Condvar,
    is_closed: AtomicBool,
    held: AtomicUsize,
}

impl Gate {
    /// Waits while everything is held. Counts what had to wait. Says whether it may be delivered.
    fn pass(&self, from: &TcpStream, bytes: usize) -> bool {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_held {
            return true;
        }
        self.held.fetch_add(bytes, Ordering::Relaxed);
        while *is_held {
            is_held = self.changed.wait(is_held).unwrap_or_else(PoisonError::into_inner);
        }
        matches!(from.take_error(), Ok(None))
    }

    fn set(&self, held: bool) {
        *self.is_held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.changed.notify_all();
    }
}

impl Relay {
    /// To this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        let gate = Arc::<Gate>::default();
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_closed.load(Ordering::Relaxed) {
                    return;
                }
                let gate = Arc::clone(&shared);
                thread::spawn(move || relay(&client, server, &gate));
            }
        });
        Self { address, gate }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing arrives, and nothing is closed: connections come about, and nobody answers.
    pub(crate) fn hold(&self) {
        self.gate.held.store(0, Ordering::Relaxed);
        self.gate.set(true);
    }

    /// Delivers what was held, and goes on. Says how many bytes, or how many at least, had to wait.
    pub(crate) fn go_on(&self) -> usize {
        self.gate.set(false);
        self.gate.held.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.gate.is_closed.store(true, Ordering::Relaxed);
        self.gate.set(false);
        // The listener waits for a connection to notice.
        drop(TcpStream::connect(self.address));
    }
}

fn relay(client: &TcpStream, server: SocketAddr, gate: &Gate) {
    if !gate.pass(client, 0) {
        return;
    }
    let Ok(server) = TcpStream::connect(server) else { return };
    for stream in [client, &server] {
        stream.set_nodelay(true).expect("a connection");
    }
    thread::scope(|scope| {
        scope.spawn(|| pump(client, &server, gate));
        pump(&server, client, gate);
    });
}

/// Also the end arrives in its turn: after what was sent before it.
fn pump(mut from: &TcpStream, mut to: &TcpStream, gate: &Gate) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // What was reset is over too.
        let read = from.read(&mut buffer).unwrap_or(0);
        let is_due = gate.pass(from, read) && !gate.is_closed.load(Ordering::Relaxed);
        if read == 0 || !is_due || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
