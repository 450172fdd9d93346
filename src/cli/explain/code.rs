//! The page of a code, on the terminal; and codes as arguments.

use serde_json::{Value, json};

use super::super::{
    Exit,
    output::{fail, print},
};
use crate::diagnostics::{
    Code, Severity,
    pages::{self, Page},
};

/// Prints the page of a code, for people or as one object.
pub(super) fn explain(name: &str, as_json: bool) -> Exit {
    match Code::parse(name.trim()) {
        Some(code) if as_json => print(&format!("{:#}\n", value(code))),
        Some(code) => print(&pages::text(code)),
        None => fail(&format!("explain: {}", Code::unknown(&name.escape_debug().to_string())), Exit::Usage),
    }
}

fn value(code: Code) -> Value {
    let Page { since, meaning, example, remedy, fix, .. } = Page::of(code);
    json!({
        "version": 1,
        "code": code.as_str(),
        "severity": code.severity().to_string(),
        "message": code.message(),
        "help": code.help(),
        "since": since,
        "meaning": meaning,
        "example": example,
        "remedy": remedy,
        "fix": fix,
        "url": code.url(),
    })
}

/// A code that findings may be left out of.
///
/// # Errors
/// Says why, where it is no code or that of an error.
pub(in crate::cli) fn of_no_error(name: &str) -> Result<Code, String> {
    match Code::parse(name.trim()) {
        Some(code) if code.severity() == Severity::Error => {
            Err(format!("{code} is an error, and errors are never left out"))
        }
        Some(code) => Ok(code),
        None => Err(Code::unknown(name)),
    }
}
