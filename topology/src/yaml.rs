//! YAML text to a tree that knows where each key and value stands.
//!
//! Knows YAML, never topologies. Everything is bounded: values, nesting, and what aliases repeat.
//! Aliased values are shared, so no file can make the tree larger than itself.

use crate::diagnostic::{Code, Place, Problems, quote};
use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most values (keys count as values) in one file: a link takes about ten, so this is 300,000 links.
const VALUES_MAX: u32 = 3_000_000;

/// Most values that aliases may add by repetition: plenty for shared settings, harmless to walk through.
const ALIASED_VALUES_MAX: u32 = 100_000;

/// Deepest nesting; a topology needs seven.
const DEPTH_MAX: u16 = 32;

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Value<'t> {
    pub(crate) place: Place,
    pub(crate) kind: Kind<'t>,
    /// Values in here with this one, aliases followed.
    count: u32,
    /// Levels in here with this one.
    depth: u16,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind<'t> {
    /// Text without quotes: what it means is for the key to say.
    Plain(Cow<'t, str>),
    /// Text in quotes, or a block of text.
    Quoted(Cow<'t, str>),
    List(Rc<Vec<Value<'t>>>),
    Mapping(Rc<Vec<(Value<'t>, Value<'t>)>>),
}

impl Value<'_> {
    /// Nothing at all: no text, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Plain(text) if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether this is `text`, in quotes or without.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Plain(own) | Kind::Quoted(own) if own == text)
    }

    /// What the value is, for a message: "a list", "the text `x`".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".into(),
            Kind::Plain(text) => quote(text),
            Kind::Quoted(text) => format!("the text {}", quote(text)),
            Kind::List(_) => "a list".into(),
            Kind::Mapping(_) => "a mapping".into(),
        }
    }
}

/// A list or mapping that is not complete yet.
struct Open<'t> {
    place: Place,
    anchor: usize,
    /// Keys and values in turn, for a mapping.
    children: Vec<Value<'t>>,
    mapping: bool,
}

struct Builder<'t, 'p> {
    text: &'t str,
    /// Which of the texts this is.
    source: u16,
    open: Vec<Open<'t>>,
    documents: Vec<Value<'t>>,
    anchors: BTreeMap<usize, Value<'t>>,
    budget: &'p mut Budget,
    problems: &'p mut Problems,
}

/// What the texts that are read together may still have in common.
#[derive(Default)]
pub(crate) struct Budget {
    values: u32,
    aliased: u32,
}

/// The text's documents, or nothing when it is no YAML (and `problems` says why). Documents with nothing in
/// them are left out. `source` is the text's number in places.
pub(crate) fn parse<'t>(
    text: &'t str,
    source: u16,
    budget: &mut Budget,
    problems: &mut Problems,
) -> Option<Vec<Value<'t>>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = DEPTH_MAX as usize;
    options.block_nesting_limit = DEPTH_MAX as usize;
    let (open, documents, anchors) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut builder = Builder { text, source, open, documents, anchors, budget, problems };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            // Anchors end with their document (YAML 1.2, section 3.2.2.2).
            Ok((Event::DocumentStart(..), _)) => builder.anchors.clear(),
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                syntax_problem(text, source, &error, builder.problems);
                return None;
            }
        }
    }
    Some(builder.documents)
}

/// No value at all.
pub(crate) fn nothing<'t>() -> Value<'t> {
    leaf(Place::START, Kind::Plain("".into()))
}

/// A mapping that was put together from several documents, at the place of the first.
pub(crate) fn mapping<'t>(place: Place, pairs: Vec<(Value<'t>, Value<'t>)>) -> Value<'t> {
    Value { place, kind: Kind::Mapping(Rc::new(pairs)), count: 1, depth: 1 }
}

/// A list that was put together from several documents, at the place of the first.
pub(crate) fn list<'t>(place: Place, items: Vec<Value<'t>>) -> Value<'t> {
    Value { place, kind: Kind::List(Rc::new(items)), count: 1, depth: 1 }
}

fn leaf(place: Place, kind: Kind<'_>) -> Value<'_> {
    Value { place, kind, count: 1, depth: 1 }
}

impl<'t> Builder<'t, '_> {
    /// One event of the parser; nothing when reading must stop.
    fn take(&mut self, event: Event<'t>, span: Span) -> Option<()> {
        let place = place(self.text, self.source, &span);
        if let Some(tag) = event.tag() {
            let place = span.tag_span().map_or(place, |span| self::place(self.text, self.source, &span));
            let message = format!("{} is a YAML tag: topology files have none", quote(&tag.original()));
            let help = "remove the tag, the key already says the type";
            self.problems.error(Code::YAML_TAG, place, message, help);
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) => {
                self.complete(leaf(place, Kind::Plain(text)), anchor)
            }
            Event::Scalar(text, _, anchor, _) => self.complete(leaf(place, Kind::Quoted(text)), anchor),
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, false),
            Event::MappingStart(_, anchor, _) => self.begin(place, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::UnresolvedAlias(name) => {
                let message = format!("the alias {} has no anchor before it", quote(&format!("*{name}")));
                let help = format!(
                    "write {} before the value that is meant, or write the value out",
                    quote(&format!("&{name}"))
                );
                self.problems.error(Code::UNKNOWN_ALIAS, place, message, help);
                self.complete(leaf(place, Kind::Plain("".into())), 0)
            }
            _ => Some(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, mapping: bool) -> Option<()> {
        if self.open.len() >= DEPTH_MAX as usize {
            nested_too_deep(place, self.problems);
            return None;
        }
        self.open.push(Open { place: Place { width: 1, ..place }, anchor, children: Vec::new(), mapping });
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        let Open { place, anchor, children, mapping } = self.open.pop()?;
        let count = children.iter().fold(1u32, |sum, child| sum.saturating_add(child.count));
        let depth = 1 + children.iter().map(|child| child.depth).max().unwrap_or(0);
        let kind = if mapping {
            let mut pairs = Vec::with_capacity(children.len() / 2);
            let mut children = children.into_iter();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                pairs.push((key, value));
            }
            Kind::Mapping(Rc::new(pairs))
        } else {
            Kind::List(Rc::new(children))
        };
        self.complete(Value { place, kind, count, depth }, anchor)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Option<()> {
        let Some(value) = self.anchors.get(&anchor).cloned() else {
            let message = "this alias stands inside the value that it repeats";
            self.problems.error(Code::UNKNOWN_ALIAS, place, message, "write the value out");
            return self.complete(leaf(place, Kind::Plain("".into())), 0);
        };
        self.budget.aliased = self.budget.aliased.saturating_add(value.count);
        if self.budget.aliased > ALIASED_VALUES_MAX {
            let message =
                format!("aliases repeat more than {ALIASED_VALUES_MAX} values: the file is refused unread");
            self.problems.error(Code::ALIAS_BOMB, place, message, "write the repeated values out");
            return None;
        }
        if value.depth as usize + self.open.len() > DEPTH_MAX as usize {
            nested_too_deep(place, self.problems);
            return None;
        }
        self.complete(value, 0)
    }

    /// Puts a complete value where it belongs.
    fn complete(&mut self, value: Value<'t>, anchor: usize) -> Option<()> {
        self.budget.values += 1;
        if self.budget.values > VALUES_MAX {
            let message = format!("the file has more than {VALUES_MAX} values: it is refused unread");
            self.problems.error(
                Code::TOO_LARGE,
                value.place,
                message,
                "split the network into several files",
            );
            return None;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(value),
            None if value.is_null() => {}
            None => self.documents.push(value),
        }
        Some(())
    }
}

fn nested_too_deep(place: Place, problems: &mut Problems) {
    let message = format!("values are nested more than {DEPTH_MAX} deep: the file is refused unread");
    let help = "check for a bracket that is not closed, or remove the nesting";
    problems.error(Code::NESTED_TOO_DEEP, Place { width: 1, ..place }, message, help);
}

pub(crate) fn place(text: &str, source: u16, span: &Span) -> Place {
    let (start, end) = (&span.start, &span.end);
    let width = if start.line() == end.line() {
        end.col().saturating_sub(start.col())
    } else {
        let rest = text.get(start.byte_offset().unwrap_or(0)..).unwrap_or("");
        rest.chars()
            .take(crate::diagnostic::SNIPPET_CHARS_MAX)
            .take_while(|c| !matches!(c, '\n' | '\r'))
            .count()
    };
    Place {
        source,
        offset: start.byte_offset().unwrap_or(0) as u32,
        line: start.line() as u32,
        column: start.col() as u32 + 1,
        width: width.max(1) as u32,
    }
}

fn syntax_problem(text: &str, source: u16, error: &ScanError, problems: &mut Problems) {
    let marker = error.marker();
    let place = place(text, source, &Span::empty(*marker));
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => tab_problem(text, place, problems),
        ErrorKind::RecursionLimitExceeded => nested_too_deep(place, problems),
        kind => {
            let message = format!("this is not YAML: {kind}");
            let help = "check the indentation, brackets and quotes here and on the line above; what follows was not read";
            problems.error(Code::YAML_SYNTAX, place, message, help);
        }
    }
}

/// One problem for each line that starts with a tab, since an editor that made one made many.
fn tab_problem(text: &str, place: Place, problems: &mut Problems) {
    let message = "a tab is used for indentation: YAML allows spaces alone";
    let help = "replace the tab by spaces, and set the editor to write spaces in YAML files";
    let mut reported = false;
    let mut offset = 0;
    for (at, line) in text.split('\n').enumerate() {
        let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..blank].find('\t').filter(|_| blank < line.len()) {
            let (source, offset, line, column) =
                (place.source, (offset + tab) as u32, at as u32 + 1, tab as u32 + 1);
            problems.error(Code::TAB, Place { source, offset, line, column, width: 1 }, message, help);
            reported = true;
        }
        offset += line.len() + 1;
    }
    if !reported {
        problems.error(Code::TAB, place, message, help);
    }
}
