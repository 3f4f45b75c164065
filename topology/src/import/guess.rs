//! Which format a file is of, from its words and its name.
//!
//! Looks at the first part of the text alone, and never decides whether the file is valid.

use super::{Format, ImportError};

/// Bytes that are looked at: the words that tell formats apart come early.
const LOOKED_AT_BYTES: usize = 64 << 10;

/// The format of the file; the content says more than the name.
pub(crate) fn guess(file_name: &str, text: &str) -> Result<Format, ImportError> {
    let head = head(text);
    if head.starts_with("DEMANDS ") {
        return Err(ImportError {
            line: Some(1),
            message: "these are demands of REPETITA, which have no network of their own".to_owned(),
            help: "import the `.graph` file, and give this one with `--demands`".to_owned(),
        });
    }
    by_content(head).or_else(|| by_name(file_name)).ok_or_else(|| ImportError {
        line: None,
        message: "the format of this file cannot be told from its content or name".to_owned(),
        help: format!("name it: `--format {}`", Format::ALL.map(Format::name).join("|")),
    })
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().trim_start()
}

fn by_content(head: &str) -> Option<Format> {
    match head.as_bytes().first()? {
        b'<' => by_xml(head),
        b'{' | b'[' => by_json(head),
        b'?' => head.starts_with("?SNDlib").then_some(Format::Sndlib),
        _ => by_lines(head),
    }
}

fn by_xml(head: &str) -> Option<Format> {
    if head.contains("<graphml") {
        Some(Format::Graphml)
    } else if head.contains("sndlib.zib.de") || head.contains("<networkStructure") {
        Some(Format::Sndlib)
    } else if head.contains("<physicalTopology") || head.contains("<network") || head.contains("<demandSet") {
        Some(Format::Net2plan)
    } else {
        None
    }
}

fn by_json(head: &str) -> Option<Format> {
    let any = |words: &[&str]| words.iter().any(|word| head.contains(word));
    if any(&[
        "\"results\"",
        "_terminations\"",
        "\"devices\"",
        "\"interfaces\"",
        "\"cables\"",
        "\"device_type\"",
        "/api/dcim/",
    ]) {
        Some(Format::Netbox)
    } else if any(&["\"topology\""]) {
        // JSON is YAML too, and containerlab reads it.
        Some(Format::Containerlab)
    } else if any(&["\"edges\"", "\"nodes\"", "\"links\"", "\"graph\""]) {
        Some(Format::Topohub)
    } else {
        None
    }
}

fn by_lines(head: &str) -> Option<Format> {
    let lines = || head.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if head.lines().any(|line| line.trim_end() == "topology:" || line.starts_with("topology: ")) {
        return Some(Format::Containerlab);
    }
    let first: Vec<&str> = lines().next()?.split_whitespace().collect();
    match first.as_slice() {
        ["NODES", count] if count.parse::<u64>().is_ok() => Some(Format::Repetita),
        // Node names of Rocketfuel hold blanks as plus signs; the number is last.
        [_, .., number] if first.len() >= 3 && number.parse::<f64>().is_ok() => Some(Format::Rocketfuel),
        _ => None,
    }
}

fn by_name(file_name: &str) -> Option<Format> {
    let name = file_name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".clab.yml", ".clab.yaml", ".yml", ".yaml"]) {
        Some(Format::Containerlab)
    } else if ends(&[".graphml"]) {
        Some(Format::Graphml)
    } else if ends(&[".n2p"]) {
        Some(Format::Net2plan)
    } else if ends(&[".graph"]) {
        Some(Format::Repetita)
    } else if ends(&[".intra"]) {
        Some(Format::Rocketfuel)
    } else {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content_and_else_by_name() {
        for (name, text, wanted) in [
            ("x", "<?xml version=\"1.0\"?>\n<graphml>", Some(Format::Graphml)),
            ("x", "<network xmlns=\"http://sndlib.zib.de/network\">", Some(Format::Sndlib)),
            ("x", "?SNDlib native format; type: network", Some(Format::Sndlib)),
            ("x", "<?xml?><network version=\"6\">", Some(Format::Net2plan)),
            ("x", "<network description=\"\"><physicalTopology>", Some(Format::Net2plan)),
            ("x", "{\"directed\": false, \"nodes\": [], \"edges\": []}", Some(Format::Topohub)),
            ("x", "{\"count\": 1, \"results\": []}", Some(Format::Netbox)),
            ("x", "{\"name\": \"a\", \"topology\": {\"nodes\": {}}}", Some(Format::Containerlab)),
            ("x.yml", "# lab\nname: a\ntopology:\n  nodes:\n", Some(Format::Containerlab)),
            ("x", "NODES 3\nlabel x y\n", Some(Format::Repetita)),
            ("x", "Sydney,+Australia1 Perth,+Australia2 3.5\n", Some(Format::Rocketfuel)),
            ("a.clab.yml", "name: a\n", Some(Format::Containerlab)),
            ("a.n2p", "", Some(Format::Net2plan)),
            ("x", "hello", None),
            ("x", "", None),
        ] {
            assert_eq!(guess(name, text).ok(), wanted, "{name} {text}");
        }
        assert!(guess("x", "DEMANDS 2\n").unwrap_err().help.contains("--demands"));
        assert!(guess("x", "hello").unwrap_err().help.contains("containerlab|graphml"));
    }
}
