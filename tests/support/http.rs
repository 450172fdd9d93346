//! Requests over plain HTTP, for probes and metrics of processes on loopback.

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

impl Answer {
    /// The value of a header, named in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(known, _)| known.to_lowercase() == name).map(|(_, value)| value.trim()).next()
    }
}

/// Asks 127.0.0.1:`port` for `path`.
pub(crate) fn get(port: u16, path: &str) -> Result<Answer, String> {
    send(port, &format!("GET {path}"), &[], "")
}

/// Sends a request (`PUT /path`) with these headers to 127.0.0.1:`port`. HTTP/1.0, so that the answer ends with the connection and is never
/// chunked.
pub(crate) fn send(port: u16, line: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
    let timeout = Duration::from_secs(5);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect_timeout(&address, timeout).map_err(|error| error.to_string())?;
    over(stream, line, headers, body)
}

/// The same over a connection that is there.
pub(crate) fn over(mut stream: TcpStream, line: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
    let address = stream.peer_addr().map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    let host =
        if headers.iter().any(|(name, _)| *name == "Host") { String::new() } else { format!("Host: {address}\r\n") };
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    // In one piece: a server may answer and close after the first that it reads.
    let request = format!("{line} HTTP/1.0\r\nContent-Length: {length}\r\n{host}{}\r\n{body}", headers.concat());
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&raw);
    let (headers, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP answer: {text:?}"))?;
    let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status line: {headers:?}"))?;
    Ok(Answer { status, headers: headers.to_owned(), body: body.to_owned() })
}
