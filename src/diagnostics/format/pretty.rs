//! Findings for people, in the manner of rustc.

use annotate_snippets::renderer::DEFAULT_TERM_WIDTH;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Located, Place, Summary, about, sorted, visible};
use crate::diagnostics::{Severity, source::Excerpt};

/// All findings with their excerpts, and a closing line. `colour` for terminals that take ANSI sequences.
pub fn pretty(findings: &[Located], summary: Summary, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    // Excerpts are cut already; the renderer shall not cut them again.
    let renderer = renderer.term_width(DEFAULT_TERM_WIDTH * 2);
    let mut text = String::new();
    for found in sorted(findings) {
        text.push_str(&one(&renderer, found));
        text.push_str("\n\n");
    }
    text.push_str(&closing(findings, summary));
    text.push('\n');
    text
}

fn one(renderer: &Renderer, found: &Located) -> String {
    let diagnostic = &found.diagnostic;
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(visible(&diagnostic.message)).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    if let Some(place) = &found.place {
        group = group.element(origin(place));
        if let Some(excerpt) = &place.excerpt {
            group = group.element(snippet(excerpt));
        }
    }
    if let Some(about) = about(diagnostic, ": ") {
        group = group.element(Level::NOTE.message(about));
    }
    let help = Level::HELP.message(visible(&diagnostic.help));
    let page = Level::NOTE.with_name("docs").message(diagnostic.code.url());
    let text = renderer.render(&[group.element(help).element(page)]);
    text.lines().filter(|line| !is_continuation(line)).collect::<Vec<_>>().join("\n")
}

/// The mark with which the renderer announces a second source. Here it is the first: the origin stands apart from the
/// source because the source is but a piece of its line, from which the renderer would derive another column.
fn is_continuation(line: &str) -> bool {
    let plain = line.split('\u{1b}').enumerate().map(|(index, piece)| match piece.split_once('m') {
        Some((_, text)) if index > 0 => text,
        _ => piece,
    });
    plain.flat_map(str::split_whitespace).eq([":::"])
}

fn origin(place: &Place) -> Origin<'static> {
    let mut origin = Origin::path(visible(&place.file));
    if let Some(line) = place.line {
        origin = origin.line(line);
    }
    if let Some(column) = place.column {
        origin = origin.char_column(column);
    }
    origin
}

/// The source is the excerpt alone: what stands beside it in the line may be a Secret.
fn snippet(excerpt: &Excerpt) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
    let text = visible(&excerpt.text);
    let offset = |characters: usize| text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    let range = offset(excerpt.start)..offset(excerpt.start + excerpt.length);
    Snippet::source(text).line_start(excerpt.line_number).annotation(AnnotationKind::Primary.span(range))
}

fn closing(findings: &[Located], summary: Summary) -> String {
    let infos = findings.iter().filter(|found| found.diagnostic.severity() == Severity::Info).count();
    let counts = [(summary.errors, "error"), (summary.warnings, "warning"), (infos, "note")];
    let counts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, noun)| number(count, noun)).collect();
    let objects = number(summary.objects, "object");
    if counts.is_empty() {
        return format!("{objects} checked: no findings");
    }
    format!("{} in {objects}", counts.join(", "))
}

fn number(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
