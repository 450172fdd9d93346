//! Printing that survives a closed pipe.

use std::io::{self, Write};

use serde::Serialize;

use super::Exit;

/// Prints to standard output. A reader that has gone away (`| head`) is no fault of anybody's.
pub(super) fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => fail(&format!("cannot write to standard output: {error}"), Exit::Unreadable),
    }
}

/// A value as YAML: values stay on their line however long they are, so that a diff shows which one changed.
///
/// # Errors
/// Where the value cannot be written as YAML.
pub(super) fn yaml(value: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(value, serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX })
}

/// Says what is wrong on standard error.
pub(super) fn complain(message: &str) {
    // Where standard error is gone, there is nobody to tell.
    writeln!(io::stderr().lock(), "{message}").unwrap_or_default();
}

/// Says what is wrong on standard error; the exit code is the answer.
pub(super) fn fail(message: &str, exit: Exit) -> Exit {
    complain(&format!("tracesteward: {message}"));
    exit
}
