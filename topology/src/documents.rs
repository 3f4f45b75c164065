//! Several documents to one: what a network is does not depend on how it is spread over documents and files.
//!
//! Lists and named things (nodes, kinds) of the top level are put one after the other; settings are merged key
//! by key and must be equal where two documents give them. Never looks into what values mean.

use crate::diagnostic::{Code, Place, Problems, quote};
use crate::keys::{self, Type};
use crate::yaml::{self, Kind, Value};
use std::collections::BTreeMap;

/// A key as written and its value, with the number of the document that they are from.
type Given<'t> = (usize, Value<'t>, Value<'t>);

/// The files of one network as one text, which reads as they do together: each after a `---` line that names it.
/// One file stays as it is. Files that end with a line feed read the same; without, a block of text may not.
pub fn join(files: &[(&str, &[u8])]) -> Vec<u8> {
    if let [(_, only)] = files {
        return only.to_vec();
    }
    let mut joined = Vec::new();
    for (name, bytes) in files {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // A directive must follow the end of a document, and then writes its own `---` line.
        let directives = bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"%"));
        if directives {
            joined.extend_from_slice(b"...\n");
        } else {
            let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            joined.extend_from_slice(format!("--- # {name}\n").as_bytes());
        }
        joined.extend_from_slice(bytes);
        if !bytes.ends_with(b"\n") {
            joined.push(b'\n');
        }
    }
    joined
}

/// The documents as one; nothing there when there is none.
pub(crate) fn merge<'t>(mut documents: Vec<Value<'t>>, problems: &mut Problems) -> Value<'t> {
    let Some(first) = documents.first() else { return yaml::nothing() };
    let place = first.place;
    if documents.len() == 1 {
        return documents.swap_remove(0);
    }
    let (mut given, mut extra) = (BTreeMap::new(), Vec::new());
    for (number, document) in documents.iter().enumerate() {
        let Kind::Mapping(pairs) = &document.kind else {
            let message =
                format!("a document is {}, but must be a mapping of keys to values", document.describe());
            problems.error(Code::WRONG_TYPE, document.place, message, "write `key: value` pairs");
            continue;
        };
        gather(number, pairs, &mut given, &mut extra);
    }
    let pairs = given.into_iter().map(|(name, given)| {
        let known = keys::TOP.known.iter().find(|key| key.name == name);
        match known.map(|key| &key.takes) {
            Some(Type::List(..) | Type::Map(..)) => chain(&name, given, problems),
            _ => settle(&name, given, problems),
        }
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.append(&mut extra);
    yaml::mapping(place, pairs)
}

/// Sorts a document's pairs by key. What cannot be merged stays as it is, for the reader to refuse: a key that
/// is no text, and one that its own document has twice.
fn gather<'t>(
    number: usize,
    pairs: &[(Value<'t>, Value<'t>)],
    given: &mut BTreeMap<String, Vec<Given<'t>>>,
    extra: &mut Vec<(Value<'t>, Value<'t>)>,
) {
    for (key, value) in pairs {
        let (Kind::Plain(text) | Kind::Quoted(text)) = &key.kind else {
            extra.push((key.clone(), value.clone()));
            continue;
        };
        let same = given.entry(text.to_string()).or_default();
        if same.last().is_some_and(|(last, ..)| *last == number) {
            extra.push((key.clone(), value.clone()));
        } else {
            same.push((number, key.clone(), value.clone()));
        }
    }
}

/// All items, or all pairs, one after the other.
fn chain<'t>(name: &str, given: Vec<Given<'t>>, problems: &mut Problems) -> (Value<'t>, Value<'t>) {
    let lists = given.iter().all(|(.., value)| value.is_null() || matches!(value.kind, Kind::List(_)));
    let mappings = given.iter().all(|(.., value)| value.is_null() || matches!(value.kind, Kind::Mapping(_)));
    if given.len() == 1 || (!lists && !mappings) {
        return settle(name, given, problems);
    }
    let (mut place, mut first_key) = (Place::START, None);
    let (mut items, mut pairs) = (Vec::new(), Vec::new());
    for (_, key, value) in given {
        if first_key.is_none() {
            (place, first_key) = (value.place, Some(key));
        }
        match &value.kind {
            Kind::List(more) => items.extend(more.iter().cloned()),
            Kind::Mapping(more) => pairs.extend(more.iter().cloned()),
            Kind::Plain(_) | Kind::Quoted(_) => {}
        }
    }
    let value = if pairs.is_empty() { yaml::list(place, items) } else { yaml::mapping(place, pairs) };
    (first_key.unwrap_or_else(yaml::nothing), value)
}

/// Mappings merged key by key; anything else once, and equal.
fn settle<'t>(name: &str, given: Vec<Given<'t>>, problems: &mut Problems) -> (Value<'t>, Value<'t>) {
    let mut all = given.into_iter();
    let Some((number, key, first)) = all.next() else { return (yaml::nothing(), yaml::nothing()) };
    let rest: Vec<Given<'t>> = all.collect();
    let Kind::Mapping(pairs) = &first.kind else {
        for (_, other, value) in rest.iter().filter(|(.., value)| !equal(&first, value)) {
            conflict(name, (&key, &first), (other, value), problems);
        }
        return (key, first);
    };
    if rest.is_empty() {
        return (key, first);
    }
    let (mut inner, mut extra) = (BTreeMap::new(), Vec::new());
    gather(number, pairs, &mut inner, &mut extra);
    for (number, other, value) in &rest {
        match &value.kind {
            Kind::Mapping(pairs) => gather(*number, pairs, &mut inner, &mut extra),
            _ => conflict(name, (&key, &first), (other, value), problems),
        }
    }
    let merged = inner.into_iter().map(|(key, given)| settle(&format!("{name}.{key}"), given, problems));
    let mut pairs: Vec<_> = merged.collect();
    pairs.append(&mut extra);
    (key, yaml::mapping(first.place, pairs))
}

fn conflict(
    name: &str,
    first: (&Value<'_>, &Value<'_>),
    other: (&Value<'_>, &Value<'_>),
    problems: &mut Problems,
) {
    let line = problems.line(first.0.place, other.0.place);
    let (here, there) = (other.1.describe(), first.1.describe());
    let message = if here == there {
        format!("{} is {here} here, but not the same as on {line}", quote(name))
    } else {
        format!("{} is {here} here, but {there} on {line}", quote(name))
    };
    let help = "say it in one of the documents alone, or say the same in both";
    problems.error(Code::CONFLICTING_DOCUMENTS, other.1.place, message, help);
}

/// Whether two values say the same, in the same order.
fn equal(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Plain(one) | Kind::Quoted(one), Kind::Plain(other) | Kind::Quoted(other)) => one == other,
        (Kind::List(one), Kind::List(other)) => {
            one.len() == other.len() && one.iter().zip(other.iter()).all(|(one, other)| equal(one, other))
        }
        (Kind::Mapping(one), Kind::Mapping(other)) => {
            let same = |((a, x), (b, y)): (&(Value<'_>, Value<'_>), &(Value<'_>, Value<'_>))| {
                equal(a, b) && equal(x, y)
            };
            one.len() == other.len() && one.iter().zip(other.iter()).all(same)
        }
        _ => false,
    }
}
