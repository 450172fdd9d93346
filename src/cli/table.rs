//! Tables and marks for people: aligned columns, colour where a terminal takes it.

use std::fmt::Write as _;

use super::validate::colour;
use crate::diagnostics::format::visible;

/// How text is set off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// For standard output, or for what is said to be a terminal or not.
    pub(super) fn new(terminal: bool) -> Self {
        Self { colour: colour(terminal) }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A heading.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A line that comes.
    pub(super) fn added(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A line that goes.
    pub(super) fn removed(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// By what it says: `True` and the like are well, `False` is not, anything else is to be watched.
    pub(super) fn mark(self, text: &str) -> String {
        let code = match text {
            "True" | "Traced" | "in place" => "32",
            "False" | "Held" => "31",
            "Unknown" | "Disabled" | "NotSelected" | "to add" | "to change" | "to remove" => "33",
            _ => return text.to_owned(),
        };
        self.paint(code, text)
    }
}

/// Rows of cells under headings, and lines between them.
#[derive(Debug)]
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// Below a row, from this column on.
    Note(usize, String),
}

impl Table {
    pub(super) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row::Cells(cells.into_iter().take(self.heads.len()).map(|cell| visible(&cell)).collect()));
    }

    /// A line that belongs to the row before it.
    pub(super) fn note(&mut self, column: usize, text: &str) {
        self.rows.push(Row::Note(column, visible(text)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every line begins with `indent`; the last column is as wide as it is.
    pub(super) fn print(&self, indent: &str, style: Style) -> String {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.chars().count()).collect();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        line(&mut text, indent, &heads, &widths, |cell| style.bold(cell));
        for row in &self.rows {
            match row {
                Row::Cells(cells) => line(&mut text, indent, cells, &widths, |cell| style.mark(cell)),
                Row::Note(column, note) => {
                    let before: usize = widths.iter().take(*column).map(|width| width + 2).sum();
                    // Writing to a string cannot fail.
                    writeln!(text, "{indent}{:before$}{}", "", style.dim(note)).unwrap_or_default();
                }
            }
        }
        text
    }
}

/// Padding goes by what is seen, not by the sequences that colour it.
fn line(text: &mut String, indent: &str, cells: &[String], widths: &[usize], paint: impl Fn(&str) -> String) {
    let mut line = indent.to_owned();
    for (position, (cell, width)) in cells.iter().zip(widths).enumerate() {
        line.push_str(&paint(cell));
        if position + 1 < cells.len() {
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            line.push_str(&" ".repeat(padding));
        }
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Adds a piece to a text.
pub(super) fn add(text: &mut String, piece: impl AsRef<str>) {
    text.push_str(piece.as_ref());
}

/// Adds a line to a text.
pub(super) fn say(text: &mut String, line: impl AsRef<str>) {
    text.push_str(line.as_ref());
    text.push('\n');
}

/// A number with its noun.
pub(super) fn number(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(["True".to_owned(), "x".to_owned(), "y".to_owned()]);
        table.note(1, "more");
        table.row(["ä\u{1b}".to_owned(), "longer".to_owned(), String::new()]);
        let plain = table.print("  ", Style { colour: false });
        assert_eq!(plain, "  A     LONG    C\n  True  x       y\n        more\n  ä␛    longer\n");
        let coloured = table.print("", Style { colour: true });
        assert!(coloured.contains("\u{1b}[32mTrue\u{1b}[0m  x       y"), "{coloured:?}");
    }
}
