//! What a run says: lines, and a table at the end.
#![allow(dead_code, reason = "not every helper is in use at all times")]

use std::fmt;
use std::io::Write;
use std::time::Duration;

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($text:tt)*) => { $crate::table::print(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints. Where the reader has gone away (`| head`), there is nobody to tell, and the run still cleans up.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).unwrap_or_default();
}

/// Why a flow failed.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whatever says what is wrong, errors of kube among it.
impl<E: fmt::Display> From<E> for Failure
where
    E: Said,
{
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What becomes a [`Failure`] by its words.
pub(crate) trait Said {}
impl Said for String {}
impl Said for &str {}
impl Said for kube::Error {}
impl Said for serde_json::Error {}
impl Said for std::io::Error {}

/// What a flow has to tell besides its result.
#[derive(Default)]
pub(crate) struct Report {
    /// The traces that were sent.
    pub(crate) sent: Option<u64>,
    /// Those of them that reached the backend.
    pub(crate) kept: Option<u64>,
    /// How many should, in words: `40`, `10% (25 to 60)`.
    pub(crate) expected: Option<String>,
    /// Further lines of the table, each with a name of its own.
    pub(crate) parts: Vec<(String, Self)>,
}

impl Report {
    /// Says what is being done.
    #[allow(clippy::unused_self, reason = "who has no report does not talk")]
    pub(crate) fn step(&self, text: impl fmt::Display) {
        say!("   {text}");
    }

    /// The traces of the whole flow.
    pub(crate) fn traces(&mut self, sent: u64, kept: u64, expected: impl fmt::Display) {
        (self.sent, self.kept, self.expected) = (Some(sent), Some(kept), Some(expected.to_string()));
    }

    /// The traces of a part of it, in a line of its own.
    pub(crate) fn part(&mut self, name: impl fmt::Display, sent: u64, kept: u64, expected: impl fmt::Display) {
        let mut part = Self::default();
        part.traces(sent, kept, expected);
        self.parts.push((name.to_string(), part));
    }
}

/// How a flow went.
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it told.
    pub(crate) report: Report,
    /// How long it took.
    pub(crate) time: Duration,
    /// Why it failed, where it did.
    pub(crate) failure: Option<Failure>,
}

/// The table of all flows.
pub(crate) fn render(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["flow", "sent", "kept", "expected", "time", "result"].map(str::to_owned)];
    for outcome in outcomes {
        let result = if outcome.failure.is_none() { "passed" } else { "FAILED" };
        let time = format!("{:.1} s", outcome.time.as_secs_f64());
        rows.push(row(outcome.name, &outcome.report, &time, result));
        rows.extend(outcome.report.parts.iter().map(|(name, part)| row(&format!("  {name}"), part, "", "")));
    }
    let widths: Vec<_> = (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max()).collect();
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let width = width.unwrap_or_default();
            if (1..=2).contains(&column) || column == 4 { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

fn row(name: &str, report: &Report, time: &str, result: &str) -> [String; 6] {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let expected = report.expected.clone().unwrap_or_else(|| "-".to_owned());
    [name.to_owned(), number(report.sent), number(report.kept), expected, time.to_owned(), result.to_owned()]
}
