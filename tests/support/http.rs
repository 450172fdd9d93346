//! A GET over plain HTTP, for probes and metrics of processes on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server answered.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The header block, as sent.
    pub(crate) headers: String,
    /// The body.
    pub(crate) body: String,
}

/// Asks 127.0.0.1:`port` for `path`. HTTP/1.0, so that the answer ends with the connection and is never chunked.
pub(crate) fn get(port: u16, path: &str) -> Result<Answer, String> {
    let timeout = Duration::from_secs(5);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(timeout)).map_err(|error| error.to_string())?;
    // In one piece: a server may answer and close after the first that it reads.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&raw);
    let (headers, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP answer: {text:?}"))?;
    let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status line: {headers:?}"))?;
    Ok(Answer { status, headers: headers.to_owned(), body: body.to_owned() })
}
