//! The only places that write to standard output and standard error.

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Prints a JSON document.
pub(crate) fn json<T: Serialize>(document: &T) {
    print(&serde_json::to_string_pretty(document).unwrap_or_default());
}

/// Prints the answer. A reader that went away is no error.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Tells a person something beside the answer.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end_matches('\n'));
}

/// Whether to colour standard error: <https://no-color.org>.
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}
