//! XML for the readers that need it: parsed whole, with bounds that keep a hostile file from costing more
//! than its size.
//!
//! Never knows a format. A document type (and with it every entity of the file's own) is refused.

use super::ImportError;
use super::source::{check_size, error, number};
use crate::diagnostic::quote;
use roxmltree::{Document, Node, ParsingOptions};

/// Most elements, texts and comments of one file.
const XML_NODES_MAX: u32 = 4_000_000;

/// Deepest nesting. The formats read here need about eight levels.
const DEPTH_MAX: usize = 64;

/// Most attributes of one element: each is compared with all others.
const ATTRIBUTES_MAX: usize = 64;

/// Most declarations of name spaces: each deeper one copies those above it.
const NAMESPACES_MAX: usize = 64;

/// Parses the text of a file.
pub(super) fn parse(text: &str) -> Result<Document<'_>, ImportError> {
    check_size(text)?;
    check_shape(text)?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: XML_NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|problem| {
        let (line, help) = match problem {
            roxmltree::Error::NodesLimitReached => (None, "import a file with a part of the network"),
            roxmltree::Error::UnclosedRootNode => (None, "the file is cut off: fetch it again"),
            _ => (
                Some(problem.pos().row),
                "correct the XML there; a file that was cut off must be fetched again",
            ),
        };
        error(line, format!("this is not well-formed XML: {problem}"), help)
    })
}

/// The line of an element. Counts from the start of the file: for errors, not for every element.
pub(super) fn line(node: Node<'_, '_>) -> Option<u32> {
    Some(node.document().text_pos_at(node.range().start).row)
}

/// An attribute that the format demands.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Result<&'a str, ImportError> {
    node.attribute(name).ok_or_else(|| {
        let message = format!("the element <{}> has no attribute {name}", node.tag_name().name());
        error(line(node), message, "add the attribute, or remove the element")
    })
}

/// A number in an attribute, when it is there and not empty.
pub(super) fn number_attribute(node: Node<'_, '_>, name: &str) -> Result<Option<f64>, ImportError> {
    let Some(text) = node.attribute(name).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if let Ok(value) = number(text, name, None) {
        return Ok(Some(value));
    }
    number(text, &format!("the attribute {name} of <{}>", node.tag_name().name()), line(node)).map(Some)
}

/// Children of that name, whatever their name space.
pub(super) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The first child of that name.
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// The text of an element without the space around it; none when there is none.
pub(super) fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The root, when it has that name.
pub(super) fn root<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
    format: &str,
) -> Result<Node<'a, 'input>, ImportError> {
    let root = document.root_element();
    if root.tag_name().name() == name {
        return Ok(root);
    }
    let message = format!(
        "the outermost element is {}, and {format} has <{name}> there",
        quote(root.tag_name().name())
    );
    Err(error(line(root), message, "say which format the file has"))
}

/// One pass over the tags before the parser sees them: it bounds what the parser does not.
fn check_shape(text: &str) -> Result<(), ImportError> {
    let bytes = text.as_bytes();
    let line = |at: usize| u32::try_from(bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1).ok();
    let (mut at, mut depth, mut namespaces) = (0, 0_usize, 0);
    while let Some(start) = find(bytes, at, b"<") {
        let rest = &bytes[start..];
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
            .iter()
            .find(|(open, _)| rest.starts_with(open.as_bytes()))
            .map(|(open, close)| Some(find(bytes, start + open.len(), close.as_bytes())? + close.len()));
        match skipped {
            Some(Some(end)) => {
                at = end;
                continue;
            }
            // Not closed: the parser says so, with the place.
            Some(None) => return Ok(()),
            None => {}
        }
        if rest.starts_with(b"<!") {
            let message = "the file has a document type (<!DOCTYPE ...>), which is not read: its entities can make a small file huge";
            return Err(error(line(start), message, "remove it; nodes and links do not need it"));
        }
        let tag = tag(bytes, start + 1);
        at = tag.end;
        namespaces += tag.namespaces;
        if rest.starts_with(b"</") {
            depth = depth.saturating_sub(1);
        } else if !tag.closes_itself {
            depth += 1;
        }
        let broken = [
            (depth > DEPTH_MAX, format!("elements are nested deeper than {DEPTH_MAX}")),
            (
                tag.attributes > ATTRIBUTES_MAX,
                format!("an element has more than {ATTRIBUTES_MAX} attributes"),
            ),
            (namespaces > NAMESPACES_MAX, format!("more than {NAMESPACES_MAX} name spaces are declared")),
        ];
        if let Some((_, message)) = broken.into_iter().find(|(broken, _)| *broken) {
            return Err(error(line(start), message, "no network file needs that: check that this is one"));
        }
    }
    Ok(())
}

struct Tag {
    end: usize,
    attributes: usize,
    namespaces: usize,
    closes_itself: bool,
}

/// Reads on from after the `<` of a tag to after its `>`, which quotes may hide.
fn tag(bytes: &[u8], start: usize) -> Tag {
    let mut tag = Tag { end: bytes.len(), attributes: 0, namespaces: 0, closes_itself: false };
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'>' => {
                tag.end = at + 1;
                tag.closes_itself = at > start && bytes[at - 1] == b'/';
                break;
            }
            b'"' | b'\'' => match find(bytes, at + 1, &[*byte]) {
                Some(end) => {
                    tag.attributes += 1;
                    at = end;
                }
                None => break,
            },
            b'x' if bytes[at..].starts_with(b"xmlns") => tag.namespaces += 1,
            _ => {}
        }
        at += 1;
    }
    tag
}

/// Where `what` begins, at or after `from`.
fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let at = bytes.get(from..)?.windows(what.len()).position(|window| window == what)?;
    Some(from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> ImportError {
        parse(text).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_document_type_is_refused_with_its_line() {
        let text =
            "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]>\n<a>&c;</a>";
        assert_eq!(refused(text).line, Some(2));
    }

    #[test]
    fn hostile_shapes_are_refused_before_they_cost() {
        let deep = "<a>".repeat(200_000);
        let wide = format!("<a {}/>", (0..100_000).map(|at| format!("b{at}='' ")).collect::<String>());
        let spaces = (0..60_000).map(|at| format!("<a xmlns:n{at}='u'/>")).collect::<String>();
        for text in [deep, wide, format!("<r>{spaces}</r>")] {
            let problem = refused(&text);
            assert!(problem.line.is_some() && problem.help.contains("network file"), "{problem}");
        }
    }

    #[test]
    fn broken_xml_has_a_line_and_a_remedy() {
        for (text, line) in [
            ("<a>\n<b></a>", Some(2)),
            ("<a>\n<b>", None),
            ("", Some(1)),
            ("<a><!-- x", Some(1)),
            ("<a b=\"", Some(1)),
        ] {
            let problem = refused(text);
            assert!(line.is_none() || problem.line == line, "{text}: {problem:?}");
            assert!(!problem.help.is_empty());
        }
    }

    #[test]
    fn quotes_comments_and_sections_hide_their_brackets() {
        let text = "<a b='>' c=\"<\"/>";
        assert!(parse(text).is_err(), "an attribute cannot hold <");
        let document = parse("<a b='>'><!-- <c> --><![CDATA[<d>]]><e/></a>").unwrap();
        assert_eq!(document.root_element().attribute("b"), Some(">"));
        assert!(child(document.root_element(), "e").is_some());
    }
}
