//! How a problem in a topology file is told: where, what, why it matters, what to do.
//!
//! Also the bounded list in which all stages collect problems. Never decides what is a problem.

use std::collections::BTreeSet;
use std::fmt;

/// Most problems that one reading lists; the rest is counted. A person repairs a few and reads again.
pub const DIAGNOSTICS_MAX: usize = 200;

/// Longest piece of a source line that a diagnostic shows, in characters.
pub const SNIPPET_CHARS_MAX: usize = 120;

/// Characters that stay visible before the place when a long line is cut.
const SNIPPET_CHARS_BEFORE: usize = 60;

/// Longest piece of the file's own text that a message repeats, in characters.
const QUOTE_CHARS_MAX: usize = 80;

/// Whether the file can be used in spite of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted.
    Warning,
}

/// Stable name of a kind of problem, for example `unknown-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code($text);)*

            /// Every code, sorted by its text. Codes are never renamed or reused.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
        }
    };
}

codes! {
    /// Aliases repeat so much that the file means far more than it says.
    ALIAS_BOMB = "alias-bomb",
    /// An address that no interface or loopback can have.
    BAD_ADDRESS = "bad-address",
    /// A prefix or an interface address that is not written as `ADDRESS/LENGTH`.
    BAD_CIDR = "bad-cidr",
    /// A cost outside of 1 to 4294967295.
    BAD_COST = "bad-cost",
    /// An endpoint that is not written as `node:interface`.
    BAD_ENDPOINT = "bad-endpoint",
    /// A key that is not plain text.
    BAD_KEY = "bad-key",
    /// A loopback range that cannot serve.
    BAD_LOOPBACK_RANGE = "bad-loopback-range",
    /// A name with other characters, or another length, than allowed.
    BAD_NAME = "bad-name",
    /// A quantity without a unit, or with one that the key does not take.
    BAD_UNIT = "bad-unit",
    /// A version of the file's format that this program does not read.
    BAD_VERSION = "bad-version",
    /// Two documents give one key differently.
    CONFLICTING_DOCUMENTS = "conflicting-documents",
    /// A NUL byte or another control character.
    CONTROL_CHARACTER = "control-character",
    /// An endpoint on a node that does not exist.
    DANGLING_ENDPOINT = "dangling-endpoint",
    /// The network falls into parts.
    DISCONNECTED = "disconnected",
    /// Two controllers with one number or one address.
    DUPLICATE_CONTROLLER = "duplicate-controller",
    /// One link group twice.
    DUPLICATE_GROUP = "duplicate-group",
    /// One key twice in one mapping.
    DUPLICATE_KEY = "duplicate-key",
    /// One node twice.
    DUPLICATE_NODE = "duplicate-node",
    /// One zone twice.
    DUPLICATE_ZONE = "duplicate-zone",
    /// Nothing in the file.
    EMPTY_FILE = "empty-file",
    /// The links of a group are not alike, or too few.
    GROUP_MISMATCH = "group-mismatch",
    /// A prefix whose address is not the first one of the prefix.
    HOST_BITS_SET = "host-bits-set",
    /// One interface at two links.
    INTERFACE_USED_TWICE = "interface-used-twice",
    /// The two ends of a numbered link do not share their subnets.
    LINK_SUBNET_MISMATCH = "link-subnet-mismatch",
    /// Two nodes have the same loopback address.
    LOOPBACK_CLASH = "loopback-clash",
    /// `controllers` without in-band management, or the other way round.
    MANAGEMENT_MISMATCH = "management-mismatch",
    /// A key that must be there is not.
    MISSING_KEY = "missing-key",
    /// IPv4 and IPv6 where one family must be.
    MIXED_FAMILIES = "mixed-families",
    /// Values inside values, deeper than any topology needs.
    NESTED_TOO_DEEP = "nested-too-deep",
    /// No node in the file.
    NO_NODES = "no-nodes",
    /// Something of the format that this version does not implement.
    NOT_SUPPORTED_YET = "not-supported-yet",
    /// Bytes that are not UTF-8.
    NOT_UTF8 = "not-utf8",
    /// A number outside of its range.
    OUT_OF_RANGE = "out-of-range",
    /// Two prefixes share addresses.
    OVERLAPPING_PREFIXES = "overlapping-prefixes",
    /// A prefix with addresses that every host keeps for itself.
    RESERVED_PREFIX = "reserved-prefix",
    /// A selector that no node is in, or an invariant about no pair of nodes.
    SELECTS_NOTHING = "selects-nothing",
    /// A demand from a node to itself.
    SELF_DEMAND = "self-demand",
    /// A link from a node to itself.
    SELF_LINK = "self-link",
    /// All controllers are behind one node.
    SINGLE_MANAGEMENT_NODE = "single-management-node",
    /// A tab in indentation.
    TAB = "tab",
    /// A file of more bytes or values than are read.
    TOO_LARGE = "too-large",
    /// An alias without an anchor.
    UNKNOWN_ALIAS = "unknown-alias",
    /// A group that is not in the list of link groups.
    UNKNOWN_GROUP = "unknown-group",
    /// A key that is not part of the format.
    UNKNOWN_KEY = "unknown-key",
    /// A kind that is not in `kinds`.
    UNKNOWN_KIND = "unknown-kind",
    /// A node that is not in `nodes`.
    UNKNOWN_NODE = "unknown-node",
    /// A zone that is not in the list of zones.
    UNKNOWN_ZONE = "unknown-zone",
    /// A node that no link reaches.
    UNREACHABLE_NODE = "unreachable-node",
    /// A value of another type than the key takes.
    WRONG_TYPE = "wrong-type",
    /// Text that is not YAML.
    YAML_SYNTAX = "yaml-syntax",
    /// A YAML tag (`!name`).
    YAML_TAG = "yaml-tag",
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Stable name of the kind.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong and why it matters, one sentence.
    pub message: String,
    /// What to do about it, one sentence.
    pub help: String,
    /// The source line, without its line end; of a long line, the 120 characters around the place.
    #[serde(skip)]
    pub snippet: String,
    /// Where in `snippet` the place is, in characters from 1.
    #[serde(skip)]
    pub snippet_column: u32,
    /// How many characters of `snippet` are meant, at least 1.
    #[serde(skip)]
    pub width: u32,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// A place in a text. Ordered by text, and as in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Which of the texts that are read together.
    pub(crate) source: u16,
    /// Offset in bytes: the sort key, and where the snippet is cut out.
    pub(crate) offset: u32,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// Characters that are meant, at least 1.
    pub(crate) width: u32,
}

impl Place {
    /// The first character of a text.
    pub(crate) const START: Place = Place { source: 0, offset: 0, line: 1, column: 1, width: 1 };
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// Field order is the order in which a full list keeps problems: errors first, then by place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    severity: Severity,
    place: Place,
    code: Code,
    message: String,
    help: String,
}

/// A text that is read, with its name for messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'t> {
    pub(crate) name: &'t str,
    pub(crate) text: &'t str,
}

/// The problems found so far: the first [`DIAGNOSTICS_MAX`] by place, and a count of all.
pub(crate) struct Problems {
    /// Names of the texts that are read together, with the number of lines before each.
    texts: Vec<(String, u32)>,
    kept: BTreeSet<Problem>,
    total: usize,
    errors: usize,
}

impl Problems {
    /// Names of the texts, with the number of lines before each.
    pub(crate) fn new(texts: Vec<(String, u32)>) -> Self {
        Problems { texts, kept: BTreeSet::new(), total: 0, errors: 0 }
    }

    /// Where `there` is for who reads about a problem at `here`: `line 7`, or `line 7 of b.yaml`.
    pub(crate) fn line(&self, there: Place, here: Place) -> String {
        let text = self.texts.get(there.source as usize).filter(|_| there.source != here.source);
        match text {
            Some((name, _)) => format!("line {} of {}", there.line, quote(name)),
            None => format!("line {}", there.line),
        }
    }

    /// The line of `place` when lines count on from text to text.
    pub(crate) fn running_line(&self, place: Place) -> u32 {
        self.texts.get(place.source as usize).map_or(0, |(_, before)| *before) + place.line
    }

    /// The texts' names, with the number of lines before each.
    pub(crate) fn texts(&self) -> &[(String, u32)] {
        &self.texts
    }

    pub(crate) fn error(
        &mut self,
        code: Code,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.errors += 1;
        self.add(Problem {
            severity: Severity::Error,
            place,
            code,
            message: message.into(),
            help: help.into(),
        });
    }

    pub(crate) fn warning(
        &mut self,
        code: Code,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Problem {
            severity: Severity::Warning,
            place,
            code,
            message: message.into(),
            help: help.into(),
        });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    fn add(&mut self, problem: Problem) {
        let full = self.kept.len() >= DIAGNOSTICS_MAX;
        if full && self.kept.last().is_some_and(|last| *last < problem) {
            self.total += 1;
        } else if self.kept.insert(problem) {
            // A value that aliases repeat gives the same problem again; it is one problem.
            self.total += 1;
            if full {
                self.kept.pop_last();
            }
        }
    }

    /// The list by place, and the number of all problems.
    pub(crate) fn finish(self, sources: &[Source<'_>]) -> (Vec<Diagnostic>, usize) {
        let mut kept: Vec<Problem> = self.kept.into_iter().collect();
        kept.sort_by(|a, b| (a.place, a.code, &a.message).cmp(&(b.place, b.code, &b.message)));
        let list = kept.into_iter().map(|problem| {
            let Problem { severity, place, code, message, help } = problem;
            let source = sources.get(place.source as usize).copied().unwrap_or(Source { name: "", text: "" });
            let (snippet, snippet_column) = snippet(source.text, place);
            let (line, column, file) = (place.line, place.column, source.name.to_owned());
            let width =
                place.width.clamp(1, (SNIPPET_CHARS_MAX as u32 + 1).saturating_sub(snippet_column).max(1));
            Diagnostic { code, severity, file, line, column, message, help, snippet, snippet_column, width }
        });
        (list.collect(), self.total)
    }
}

/// The line around `place`, cut, and the column of the place in it. Characters that would move a
/// terminal's cursor are replaced one for one; a tab, so that it can be told from spaces, by an arrow.
fn snippet(text: &str, place: Place) -> (String, u32) {
    let at = floor_char_boundary(text, place.offset as usize);
    // Bounded by the snippet, not by the line: a file may be one line of 16 MiB.
    let before = text[..at].chars().rev().take_while(|c| !is_line_break(*c));
    let before: Vec<char> = before.take(SNIPPET_CHARS_MAX.min(place.column as usize - 1)).collect();
    let after = text[at..].chars().take_while(|c| !is_line_break(*c));
    let after: Vec<char> = after.take(SNIPPET_CHARS_MAX).collect();
    let skipped = if before.len() + after.len() <= SNIPPET_CHARS_MAX {
        0
    } else {
        before.len().saturating_sub(SNIPPET_CHARS_BEFORE)
    };
    let line = before.iter().rev().chain(&after).skip(skipped).take(SNIPPET_CHARS_MAX);
    let line: String = line.map(|c| if *c == '\t' { '→' } else { printable(*c) }).collect();
    (line.trim_end().to_owned(), (before.len() - skipped) as u32 + 1)
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Control and text-direction characters as a replacement mark, so that a file cannot steer the
/// terminal of who reads about it.
fn printable(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// The file's own words inside a message: in back quotes, printable, cut.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (at, c) in text.chars().enumerate() {
        if at == QUOTE_CHARS_MAX {
            quoted.push('…');
            break;
        }
        quoted.push(printable(c));
    }
    quoted.push('`');
    quoted
}
