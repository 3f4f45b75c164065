//! Diagnostics as text for a terminal, in the manner of compilers. Never prints by itself.

use crate::{Diagnostic, Reading, Severity};
use std::fmt::Write;

/// Terminal sequences (ECMA-48) or nothing.
struct Paint {
    error: &'static str,
    warning: &'static str,
    frame: &'static str,
    bold: &'static str,
    reset: &'static str,
}

const COLOUR: Paint = Paint {
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    frame: "\x1b[1;34m",
    bold: "\x1b[1m",
    reset: "\x1b[0m",
};
const PLAIN: Paint = Paint { error: "", warning: "", frame: "", bold: "", reset: "" };

impl Diagnostic {
    /// The problem as text of several lines, each with a line end: what, where, the source line with the
    /// place marked, what to do.
    pub fn render(&self, colour: bool) -> String {
        let Paint { error, warning, frame, bold, reset } = if colour { COLOUR } else { PLAIN };
        let (word, shade) = match self.severity {
            Severity::Error => ("error", error),
            Severity::Warning => ("warning", warning),
        };
        let line = self.line.to_string();
        let gutter = " ".repeat(line.len());
        let indent = " ".repeat(self.snippet_column.saturating_sub(1) as usize);
        let space = if self.snippet.is_empty() { "" } else { " " };
        let mark = "^".repeat(self.width as usize);
        format!(
            "{shade}{word}[{code}]{reset}{bold}: {message}{reset}\n\
             {gutter}{frame}-->{reset} {file}:{line}:{column}\n\
             {gutter} {frame}|{reset}\n\
             {frame}{line} |{reset}{space}{snippet}\n\
             {gutter} {frame}|{reset} {indent}{shade}{mark}{reset}\n\
             {gutter} {frame}={reset} {bold}help:{reset} {help}\n",
            code = self.code,
            message = self.message,
            file = self.file,
            column = self.column,
            snippet = self.snippet,
            help = self.help,
        )
    }
}

impl Reading {
    /// All listed problems as text, an empty line between them, and a closing line with the counts; empty
    /// when there is no problem.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&diagnostic.render(colour));
            text.push('\n');
        }
        let Some(first) = self.diagnostics.first() else { return text };
        let (word, shade, verdict) = match self.topology {
            Some(_) => ("warning", COLOUR.warning, "can be used"),
            None => ("error", COLOUR.error, "is refused"),
        };
        let (shade, reset) = if colour { (shade, COLOUR.reset) } else { ("", "") };
        let problems =
            if self.total == 1 { "1 problem".to_owned() } else { format!("{} problems", self.total) };
        let listed = self.diagnostics.len();
        let first_only =
            if listed < self.total { format!(", the first {listed} are shown") } else { String::new() };
        let subject = match self.files {
            0 | 1 => first.file.clone(),
            files => format!("the network of {files} files"),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{shade}{word}{reset}: {subject} {verdict}: {problems}{first_only}");
        text
    }
}
