//! A tree to text: block style for what is large or commented, one line for the rest.
//!
//! Knows layout alone: the order of keys is decided before.

use super::source::{Body, Collection, Comment, Document, Entry, Node, Scalar};
use std::borrow::Cow;

/// Longest line in characters that holds a list or mapping; comments do not count.
const COLUMNS_MAX: usize = 120;

/// Spaces of one level.
const INDENT: usize = 2;

/// Characters that end a text without quotes inside of brackets.
const FLOW_INDICATORS: [char; 5] = [',', '[', ']', '{', '}'];

/// The text of all documents.
pub(super) fn write(documents: Vec<Document<'_>>) -> String {
    let mut writer = Writer { out: String::new() };
    for (at, mut document) in documents.into_iter().enumerate() {
        if at > 0 {
            writer.out.push_str("---\n");
        }
        lift(&mut document.root);
        writer.document(document);
    }
    writer.out
}

/// Whether a text without quotes keeps its meaning inside of brackets.
pub(super) fn is_plain_in_brackets(scalar: &Scalar<'_>) -> bool {
    scalar.plain && !scalar.text.contains(FLOW_INDICATORS)
}

/// Moves comments above the first value of a list's item to above the item: the dash has no line for them.
fn lift(node: &mut Node<'_>) {
    let Some(collection) = node.collection_mut() else { return };
    for entry in &mut collection.entries {
        lift(&mut entry.value);
        if entry.key.is_none()
            && let Some(first) = entry.value.collection_mut().and_then(|inner| inner.entries.first_mut())
        {
            entry.before.append(&mut first.before);
        }
    }
}

struct Writer {
    out: String,
}

impl Writer {
    fn document(&mut self, Document { root, header }: Document<'_>) {
        self.comments(&header, 0, false);
        let Body::Collection(mut root) = root.body else { return };
        if !header.is_empty() {
            self.out.push('\n');
        }
        let mut after_block = false;
        for (at, mut entry) in root.entries.into_iter().enumerate() {
            let line = one_line(&entry, 0, 0);
            let block = line.is_none();
            settle(&mut entry, block, 0, 0);
            let apart = block || after_block || begins_group(&entry);
            if at > 0 && apart {
                self.out.push('\n');
            }
            self.above(&entry, 0);
            self.entry(entry, line, 0, 0);
            after_block = block;
        }
        if let Some(first) = root.tail.first_mut() {
            first.blank |= after_block;
        }
        self.comments(&root.tail, 0, true);
    }

    /// Comments on lines of their own; `follows`: something stands above the first one.
    fn comments(&mut self, comments: &[Comment<'_>], indent: usize, follows: bool) {
        for (at, comment) in comments.iter().enumerate() {
            if comment.blank && (at > 0 || follows) {
                self.out.push('\n');
            }
            self.spaces(indent);
            self.out.push_str(comment.text);
            self.out.push('\n');
        }
    }

    /// The comments above an entry, and the empty line between them where there was one.
    fn above(&mut self, entry: &Entry<'_>, indent: usize) {
        self.comments(&entry.before, indent, false);
        if entry.blank && !entry.before.is_empty() {
            self.out.push('\n');
        }
    }

    /// The entries of a collection. The first one continues the line where `inline` says so.
    fn block(&mut self, collection: Collection<'_>, indent: usize, level: usize, inline: bool) {
        for (at, mut entry) in collection.entries.into_iter().enumerate() {
            let line = one_line(&entry, indent, level);
            settle(&mut entry, line.is_none(), indent, level);
            if at > 0 && begins_group(&entry) {
                self.out.push('\n');
            }
            self.above(&entry, indent);
            if at > 0 || !inline {
                self.spaces(indent);
            }
            self.entry(entry, line, indent, level);
        }
        self.comments(&collection.tail, indent, true);
    }

    /// An entry that is settled. `line` is its value, where it has room on the line.
    fn entry(&mut self, entry: Entry<'_>, line: Option<String>, indent: usize, level: usize) {
        match &entry.key {
            Some(key) => {
                self.out.push_str(&key.source);
                self.out.push(':');
            }
            None => self.out.push('-'),
        }
        if let Some(line) = &line
            && !line.is_empty()
        {
            self.out.push(' ');
            self.out.push_str(line);
        }
        for mark in &entry.marks {
            self.out.push_str("  ");
            self.out.push_str(mark);
        }
        let inline = entry.key.is_none() && line.is_none();
        self.out.push(if inline { ' ' } else { '\n' });
        if let (None, Body::Collection(collection)) = (line, entry.value.body) {
            self.block(collection, indent + INDENT, level + 1, inline);
        }
    }

    fn spaces(&mut self, number: usize) {
        self.out.extend(std::iter::repeat_n(' ', number));
    }
}

/// Whether an empty line sets the entry and its comments off.
fn begins_group(entry: &Entry<'_>) -> bool {
    entry.before.first().is_some_and(|comment| comment.blank)
}

/// The value of an entry, where it goes on the line of its key or dash; level 0 is the top.
fn one_line(entry: &Entry<'_>, indent: usize, level: usize) -> Option<String> {
    let collection = match &entry.value.body {
        Body::Scalar(scalar) => return Some(scalar.source.clone().into_owned()),
        Body::Collection(collection) => collection,
    };
    if level == 0 && !collection.entries.is_empty() {
        return None;
    }
    let before = indent + entry.key.as_ref().map_or(INDENT, |key| key.source.chars().count() + ": ".len());
    let room = COLUMNS_MAX.saturating_sub(before);
    let mut line = String::new();
    let fits = flow(&entry.value, room, &mut line) && line.chars().count() <= room;
    (fits || collection.entries.is_empty()).then_some(line)
}

/// Writes a value in brackets; gives up at comments, and when there is no room.
fn flow(node: &Node<'_>, room: usize, out: &mut String) -> bool {
    let collection = match &node.body {
        Body::Scalar(scalar) => {
            out.push_str(&in_brackets(scalar));
            return true;
        }
        Body::Collection(collection) => collection,
    };
    let (open, close) = match (collection.mapping, collection.entries.is_empty()) {
        (true, false) => ("{ ", " }"),
        (true, true) => ("{", "}"),
        (false, _) => ("[", "]"),
    };
    out.push_str(open);
    for (at, entry) in collection.entries.iter().enumerate() {
        // A character has up to four bytes.
        if !entry.before.is_empty() || !entry.marks.is_empty() || out.len() > 4 * room {
            return false;
        }
        if at > 0 {
            out.push_str(", ");
        }
        if let Some(key) = &entry.key {
            out.push_str(&in_brackets(key));
            out.push_str(": ");
        }
        if !flow(&entry.value, room, out) {
            return false;
        }
    }
    out.push_str(close);
    collection.tail.is_empty()
}

/// A scalar's spelling inside of brackets.
fn in_brackets<'s>(scalar: &'s Scalar<'_>) -> Cow<'s, str> {
    if scalar.source.is_empty() {
        Cow::Borrowed("null")
    } else if scalar.plain && !is_plain_in_brackets(scalar) {
        Cow::Owned(format!("\"{}\"", scalar.text.replace('\\', "\\\\").replace('"', "\\\"")))
    } else {
        Cow::Borrowed(&scalar.source)
    }
}

/// Moves comments that would have no place: afterwards an entry has at most one comment at the end of its line, and
/// none above what continues the line of a dash.
fn settle(entry: &mut Entry<'_>, block: bool, indent: usize, level: usize) {
    let spare = if entry.marks.len() > 1 { entry.marks.split_off(1) } else { Vec::new() };
    let mut spare: Vec<Comment<'_>> = spare.into_iter().map(|text| Comment { blank: false, text }).collect();
    let Some(collection) = entry.value.collection_mut().filter(|_| block) else {
        entry.before.append(&mut spare);
        return;
    };
    if entry.key.is_some() {
        collection.tail.append(&mut spare);
        return;
    }
    let mark = entry.marks.pop();
    if let Some(first) = collection.entries.first_mut() {
        let first_is_block = one_line(first, indent + INDENT, level + 1).is_none();
        settle(first, first_is_block, indent + INDENT, level + 1);
        entry.before.append(&mut first.before);
        match mark {
            Some(mark) if first.marks.is_empty() && !first_is_block => first.marks.push(mark),
            Some(text) => entry.before.push(Comment { blank: false, text }),
            None => {}
        }
    }
    entry.before.append(&mut spare);
}
