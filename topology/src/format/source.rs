//! YAML text to a tree that still knows how each value was written and which comment belongs to what.
//!
//! Keeps every scalar in its own spelling. Refuses what it could not keep (anchors, aliases, directives, text of
//! several lines). Runs after `yaml::parse`, so that syntax and nesting are already known to be in order.

use crate::diagnostic::{Code, Place, Problems, quote};
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};
use std::borrow::Cow;

/// What the formatter cannot keep. Not a code of `read`: such a file is valid.
pub(super) const NOT_FORMATTED: Code = Code("not-formatted");

/// One document of the text.
#[derive(Clone, Debug)]
pub(super) struct Document<'t> {
    pub(super) root: Node<'t>,
    /// Comments at the start that an empty line separates from the first key.
    pub(super) header: Vec<Comment<'t>>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    pub(super) body: Body<'t>,
    span: Extent,
}

#[derive(Clone, Debug)]
pub(super) enum Body<'t> {
    Scalar(Scalar<'t>),
    Collection(Collection<'t>),
}

/// A list or a mapping.
#[derive(Clone, Debug)]
pub(super) struct Collection<'t> {
    pub(super) mapping: bool,
    pub(super) entries: Vec<Entry<'t>>,
    /// Comments after the last entry.
    pub(super) tail: Vec<Comment<'t>>,
}

/// An item of a list, or a key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'t> {
    /// Nothing in a list.
    pub(super) key: Option<Scalar<'t>>,
    pub(super) value: Node<'t>,
    /// Comments on lines of their own before it.
    pub(super) before: Vec<Comment<'t>>,
    /// An empty line stood above it.
    pub(super) blank: bool,
    /// Comments at the end of its first or last line.
    pub(super) marks: Vec<&'t str>,
    start: usize,
    key_end: usize,
}

/// Text without line breaks.
#[derive(Clone, Debug)]
pub(super) struct Scalar<'t> {
    /// As written, with quotes.
    pub(super) source: Cow<'t, str>,
    /// What it means.
    pub(super) text: Cow<'t, str>,
    pub(super) plain: bool,
}

/// A comment on a line of its own, from `#` on.
#[derive(Clone, Debug)]
pub(super) struct Comment<'t> {
    /// An empty line stood above it.
    pub(super) blank: bool,
    pub(super) text: &'t str,
}

/// Where a value stands, in bytes; without what follows a block's last value.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    start: usize,
    end: usize,
    /// Column of a block's keys or dashes.
    column: usize,
    /// In brackets.
    brackets: bool,
    flow: bool,
}

impl<'t> Node<'t> {
    /// A value that is in no text yet.
    pub(super) fn new(body: Body<'t>) -> Node<'t> {
        Node { body, span: Extent::default() }
    }

    pub(super) fn collection(&self) -> Option<&Collection<'t>> {
        match &self.body {
            Body::Collection(collection) => Some(collection),
            Body::Scalar(_) => None,
        }
    }

    pub(super) fn collection_mut(&mut self) -> Option<&mut Collection<'t>> {
        match &mut self.body {
            Body::Collection(collection) => Some(collection),
            Body::Scalar(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Scalar(scalar) => Some(&scalar.text),
            Body::Collection(_) => None,
        }
    }
}

impl<'t> Collection<'t> {
    /// The entry with this key.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry<'t>> {
        self.entries.iter_mut().find(|entry| entry.key_text() == key)
    }
}

impl<'t> Entry<'t> {
    /// An entry that is in no text yet.
    pub(super) fn new(key: Option<Scalar<'t>>, value: Node<'t>) -> Entry<'t> {
        let (before, marks) = (Vec::new(), Vec::new());
        Entry { key, value, before, blank: false, marks, start: 0, key_end: 0 }
    }

    pub(super) fn key_text(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.text)
    }
}

/// A comment anywhere in the text.
#[derive(Clone, Copy, Debug)]
struct Found<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
    column: usize,
    /// Nothing but white space stands before it on its line.
    own_line: bool,
}

/// The text's documents, or nothing (and `problems` says why).
pub(super) fn parse<'t>(text: &'t str, problems: &mut Problems) -> Option<Vec<Document<'t>>> {
    let mut builder =
        Builder { text, lines: Lines::new(text), open: Vec::new(), roots: Vec::new(), spans: Vec::new() };
    let mut options = Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        // `yaml::parse` has told errors of syntax already.
        let (event, span) = event.ok()?;
        if let Err(what) = builder.take(event, span) {
            let place = crate::yaml::place(text, 0, &span);
            refuse(problems, place, what);
            return None;
        }
    }
    let Builder { lines, mut roots, spans, .. } = builder;
    let gaps = match gaps(text, &lines, &spans) {
        Ok(gaps) => gaps,
        Err(offset) => {
            let (line, column) = lines.place(offset);
            let (offset_bytes, line, column) = (offset as u32, line as u32 + 1, column as u32 + 1);
            let place = Place { source: 0, offset: offset_bytes, line, column, width: 1 };
            let rest: String = text[offset..].chars().take_while(|c| !matches!(c, '\n' | '\r')).collect();
            refuse(problems, place, &format!("{} here", quote(&rest)));
            return None;
        }
    };
    for (_, root) in &mut roots {
        set_columns(root, &gaps.dashes, &lines);
    }
    Some(with_comments(roots, &lines, &gaps.comments))
}

pub(super) fn refuse(problems: &mut Problems, place: Place, what: &str) {
    let message = format!("the layout of this file cannot be changed without losing {what}");
    let help = "write it another way (values out, text on one line), or leave the file's layout as it is";
    problems.error(NOT_FORMATTED, place, message, help);
}

/// Where lines start, and which are empty. A line ends with LF, CR LF or CR alone (YAML 1.2, section 5.4).
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    empty: Vec<bool>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Lines<'t> {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let empty = starts.iter().zip(ends).map(|(start, end)| text[*start..end].trim().is_empty()).collect();
        Lines { text, starts, empty }
    }

    /// Line from 0.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// Line and column in characters, both from 0.
    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        (line, self.text[self.starts[line]..offset].chars().count())
    }

    /// Whether the line above the one at `offset` is there and empty.
    fn blank_above(&self, offset: usize) -> bool {
        let line = self.line(offset);
        line > 0 && self.empty[line - 1]
    }
}

/// A collection that is not complete yet.
struct Open<'t> {
    extent: Extent,
    collection: Collection<'t>,
    key: Option<(Scalar<'t>, Extent)>,
}

struct Builder<'t> {
    text: &'t str,
    lines: Lines<'t>,
    open: Vec<Open<'t>>,
    /// Documents, with the offset where each starts.
    roots: Vec<(usize, Node<'t>)>,
    /// Scalars with text, in bytes.
    spans: Vec<(usize, usize)>,
}

impl<'t> Builder<'t> {
    /// One event; an error says what would be lost.
    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), &'static str> {
        let start = span.start.byte_offset().unwrap_or(0);
        let end = span.end.byte_offset().unwrap_or(start);
        match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => return Err("an alias"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _)
            | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                return Err("an anchor");
            }
            Event::DocumentStart(..) => self.roots.push((start, Node::new(Body::Scalar(Scalar::empty())))),
            Event::Scalar(text, style, ..) => self.scalar(text, style, start, end)?,
            Event::SequenceStart(style, ..) => self.begin(false, style, start),
            Event::MappingStart(style, ..) => self.begin(true, style, start),
            Event::SequenceEnd | Event::MappingEnd => self.end(end),
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        start: usize,
        end: usize,
    ) -> Result<(), &'static str> {
        let source = self.text[start..end].trim_end();
        let end = start + source.len();
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) || source.contains(['\n', '\r']) {
            return Err("a text of several lines");
        }
        if !source.is_empty() {
            self.spans.push((start, end));
        }
        let plain = style == ScalarStyle::Plain;
        // The parser says `~` for what is not there at all.
        let text = if source.is_empty() { Cow::Borrowed("") } else { text };
        let scalar = Scalar { source: Cow::Borrowed(source), text, plain };
        let extent = Extent { start, end, ..Extent::default() };
        if let Some(open) = self.open.last_mut()
            && open.collection.mapping
            && open.key.is_none()
        {
            open.key = Some((scalar, extent));
        } else {
            self.complete(Node { body: Body::Scalar(scalar), span: extent });
        }
        Ok(())
    }

    fn begin(&mut self, mapping: bool, style: StructureStyle, start: usize) {
        let flow = style == StructureStyle::Flow;
        let brackets = flow && self.text[start..].starts_with(['[', '{']);
        // Only blocks need it, and these start lines: counting along one endless line of JSON would take for ever.
        let column = if flow { 0 } else { self.lines.place(start).1 };
        let extent = Extent { start, end: start, column, brackets, flow };
        let collection = Collection { mapping, entries: Vec::new(), tail: Vec::new() };
        self.open.push(Open { extent, collection, key: None });
    }

    fn end(&mut self, end: usize) {
        let Some(Open { mut extent, collection, .. }) = self.open.pop() else { return };
        let last = collection.entries.last().map_or(extent.start, |entry| entry.value.span.end);
        extent.end = if extent.brackets { end } else { last };
        self.complete(Node { body: Body::Collection(collection), span: extent });
    }

    fn complete(&mut self, value: Node<'t>) {
        let Some(open) = self.open.last_mut() else {
            if let Some(root) = self.roots.last_mut() {
                root.1 = value;
            }
            return;
        };
        let start = value.span.start;
        let (key, extent) = match open.key.take() {
            Some((key, extent)) => (Some(key), extent),
            None => (None, Extent { start, end: start, ..Extent::default() }),
        };
        let blank = self.lines.blank_above(extent.start);
        let entry = Entry { blank, start: extent.start, key_end: extent.end, ..Entry::new(key, value) };
        open.collection.entries.push(entry);
    }
}

impl Scalar<'_> {
    /// Nothing at all.
    fn empty() -> Self {
        Scalar { source: Cow::Borrowed(""), text: Cow::Borrowed(""), plain: true }
    }
}

/// What stands between scalars.
struct Gaps<'t> {
    comments: Vec<Found<'t>>,
    /// Offsets of the dashes of lists.
    dashes: Vec<usize>,
}

/// Comments and dashes between scalars; an error is the offset of something else that is not of YAML's own brackets.
fn gaps<'t>(text: &'t str, lines: &Lines<'t>, scalars: &[(usize, usize)]) -> Result<Gaps<'t>, usize> {
    let (mut comments, mut dashes) = (Vec::new(), Vec::new());
    let mut from = 0;
    for (start, end) in scalars.iter().copied().chain([(text.len(), text.len())]) {
        let mut at = from;
        while at < start {
            let rest = &text[at..start];
            match rest.as_bytes()[0] {
                b'#' => {
                    let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
                    let (line, column) = lines.place(at);
                    let own_line = text[lines.starts[line]..at].trim().is_empty();
                    comments.push(Found {
                        text: rest[..length].trim_end(),
                        offset: at,
                        line,
                        column,
                        own_line,
                    });
                    at += length;
                }
                b'-' if rest.starts_with("---") => at += 3,
                b'.' if rest.starts_with("...") => at += 3,
                b'-' => {
                    dashes.push(at);
                    at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'?' => at += 1,
                _ => return Err(at),
            }
        }
        from = end;
    }
    Ok(Gaps { comments, dashes })
}

/// The parser's place of a block list is at its first dash or just behind it; the dash is what counts.
fn set_columns(node: &mut Node<'_>, dashes: &[usize], lines: &Lines<'_>) {
    let (start, block) = (node.span.start, !node.span.flow);
    let Some(collection) = node.collection_mut() else { return };
    for entry in &mut collection.entries {
        set_columns(&mut entry.value, dashes, lines);
    }
    if block && !collection.mapping {
        let next = dashes.partition_point(|dash| *dash <= start);
        if let Some(dash) = next.checked_sub(1).and_then(|at| dashes.get(at)) {
            node.span.column = lines.place(*dash).1;
        }
    }
}

fn with_comments<'t>(
    roots: Vec<(usize, Node<'t>)>,
    lines: &Lines<'t>,
    comments: &[Found<'t>],
) -> Vec<Document<'t>> {
    let mut attacher = Attacher { comments, lines };
    let starts: Vec<usize> = roots.iter().map(|(start, _)| *start).collect();
    let mut documents = Vec::with_capacity(roots.len());
    for (at, (_, mut root)) in roots.into_iter().enumerate() {
        let limit = starts.get(at + 1).copied().unwrap_or(usize::MAX);
        let heads = attacher.collection(&mut root, limit);
        let mut header: Vec<Comment<'t>> =
            heads.into_iter().map(|text| Comment { blank: false, text }).collect();
        let mut rest = Vec::new();
        while let Some(comment) = attacher.next(limit) {
            rest.push(comment);
        }
        match &mut root.body {
            Body::Collection(collection) => {
                collection.tail.extend(rest);
                if let Some(first) = collection.entries.first_mut() {
                    header.extend(split_header(first));
                }
            }
            Body::Scalar(_) => header.extend(rest),
        }
        documents.push(Document { root, header });
    }
    documents
}

/// The comments of the text's first key that are of the whole text: those above the last empty line.
fn split_header<'t>(first: &mut Entry<'t>) -> Vec<Comment<'t>> {
    let own = if first.blank { Some(first.before.len()) } else { first.before.iter().rposition(|c| c.blank) };
    first.blank = false;
    first.before.drain(..own.unwrap_or(0)).collect()
}

/// Gives comments, in the order of the text, to what they belong to.
struct Attacher<'c, 't> {
    /// Those that belong to nothing yet.
    comments: &'c [Found<'t>],
    lines: &'c Lines<'t>,
}

impl<'t> Attacher<'_, 't> {
    fn peek(&self, limit: usize) -> Option<Found<'t>> {
        self.comments.first().copied().filter(|found| found.offset < limit)
    }

    /// The next comment before `limit`, as one of its own line.
    fn next(&mut self, limit: usize) -> Option<Comment<'t>> {
        let found = self.peek(limit)?;
        self.comments = &self.comments[1..];
        Some(Comment { blank: found.own_line && self.lines.blank_above(found.offset), text: found.text })
    }

    /// Comments behind something on `line`.
    fn on_line(&mut self, line: usize, limit: usize, marks: &mut Vec<&'t str>) {
        while let Some(found) = self.peek(limit).filter(|found| !found.own_line && found.line == line) {
            marks.push(found.text);
            self.comments = &self.comments[1..];
        }
    }

    /// All comments in and right after a collection; gives those behind its opening bracket.
    fn collection(&mut self, node: &mut Node<'t>, limit: usize) -> Vec<&'t str> {
        let span = node.span;
        let mut heads = Vec::new();
        let Some(collection) = node.collection_mut() else { return heads };
        let limit = if span.brackets { span.end } else { limit };
        if span.brackets {
            let first = collection.entries.first().map_or(limit, |entry| entry.start);
            self.on_line(self.lines.line(span.start), first, &mut heads);
        }
        let starts: Vec<usize> = collection.entries.iter().map(|entry| entry.start).collect();
        for (at, entry) in collection.entries.iter_mut().enumerate() {
            let next = starts.get(at + 1).copied().unwrap_or(usize::MAX);
            self.entry(entry, limit.min(next));
        }
        let inside = |found: &Found<'t>| {
            span.brackets || (!span.flow && found.own_line && found.column >= span.column)
        };
        // A list may stand as far left as the key that it belongs to: what follows there is the next key's.
        let nested = span.column > 0;
        while self.peek(limit).is_some_and(|found| inside(&found) && (nested || span.brackets)) {
            collection.tail.extend(self.next(limit));
        }
        heads
    }

    fn entry(&mut self, entry: &mut Entry<'t>, limit: usize) {
        while let Some(found) = self.peek(entry.start.min(limit)) {
            if !found.own_line && entry.key.is_none() {
                // Behind the dash.
                entry.marks.push(found.text);
                self.comments = &self.comments[1..];
            } else {
                entry.before.extend(self.next(limit));
            }
        }
        if entry.key.is_some() {
            self.on_line(self.lines.line(entry.key_end), entry.value.span.start.min(limit), &mut entry.marks);
        }
        if entry.value.collection().is_some_and(|collection| !collection.entries.is_empty()) {
            entry.marks.extend(self.collection(&mut entry.value, limit));
        } else {
            while let Some(comment) = self.next(entry.value.span.end.min(limit)) {
                entry.before.push(comment);
            }
        }
        self.on_line(self.lines.line(entry.value.span.end), limit, &mut entry.marks);
    }
}
