//! The page of a code, on the terminal; and codes as arguments.

use super::super::{
    Exit,
    output::{fail, print},
};
use crate::diagnostics::{Code, Severity, pages};

/// Prints the page of a code.
pub(super) fn explain(name: &str) -> Exit {
    match Code::parse(name.trim()) {
        Some(code) => print(&pages::text(code)),
        None => fail(&format!("explain: {}", Code::unknown(&name.escape_debug().to_string())), Exit::Usage),
    }
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
