//! The layout on a commented file, on generated files in any style, and on damaged ones.

#![allow(clippy::unwrap_used)]
use super::*;

fn formatted(text: &str) -> String {
    let one = format("x.yaml", text.as_bytes(), FormatOptions::default());
    let one = one.unwrap_or_else(|refused| panic!("{}\n{text}", refused.render(false)));
    let two = format("x.yaml", one.as_bytes(), FormatOptions::default());
    let two = two.unwrap_or_else(|refused| panic!("{}\n{one}", refused.render(false)));
    assert!(two == one, "not idempotent:\n{text}\n=====\n{one}\n=====\n{two}");
    let (before, after) = (read("x.yaml", text.as_bytes()), read("x.yaml", one.as_bytes()));
    assert_eq!(before.topology.unwrap(), after.topology.unwrap());
    one
}

#[test]
fn a_messy_file_gets_one_order_and_keeps_every_comment() {
    insta::assert_snapshot!(formatted(include_str!("messy.yaml")));
}

/// Writes a network in a style that the coins choose, with numbered comments wherever YAML allows one.
struct Scribe {
    coins: Vec<u8>,
    at: usize,
    comments: usize,
    out: String,
}

impl Scribe {
    fn coin(&mut self, sides: u8) -> u8 {
        self.at += 1;
        self.coins[self.at % self.coins.len()].wrapping_add(self.at as u8) % sides
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# {}: \"{{[", self.comments)
    }

    /// The end of a line, perhaps with comments; the next line starts in column 0.
    fn end(&mut self, indent: usize) {
        if self.coin(4) == 0 {
            let comment = self.comment();
            self.out.push_str(&format!("  {comment} "));
        }
        self.out.push('\n');
        while self.coin(3) == 0 {
            let line = if self.coin(3) == 0 {
                "  ".to_owned()
            } else {
                let indent = if self.coin(5) == 0 { 0 } else { indent };
                format!("{}{}", " ".repeat(indent), self.comment())
            };
            self.out.push_str(&format!("{line}\n"));
        }
    }

    /// Entries as they stand in the file: key (empty in a list) and value.
    fn collection(&mut self, entries: &[(String, Tree)], indent: usize, in_flow: bool) {
        let mapping = entries.iter().any(|(key, _)| !key.is_empty());
        if in_flow || entries.is_empty() || self.coin(2) == 0 {
            self.out.push_str(if mapping { " {" } else { " [" });
            for (at, (key, value)) in entries.iter().enumerate() {
                self.flow_gap(indent);
                if !key.is_empty() {
                    self.out.push_str(&format!("{key}:"));
                }
                self.value(value, indent, true);
                self.flow_gap(indent);
                if at + 1 < entries.len() || self.coin(2) == 0 {
                    self.out.push(',');
                }
            }
            self.flow_gap(indent);
            self.out.push_str(if mapping { "}" } else { "]" });
            return;
        }
        self.end(indent);
        for (at, (key, value)) in entries.iter().enumerate() {
            if at > 0 {
                self.end(indent);
            }
            let key = if key.is_empty() { "-".to_owned() } else { format!("{key}:") };
            self.out.push_str(&format!("{}{key}", " ".repeat(indent)));
            self.value(value, indent + 1 + usize::from(self.at.is_multiple_of(3)), false);
        }
    }

    fn flow_gap(&mut self, indent: usize) {
        match self.coin(6) {
            0 => {
                self.end(indent + 1);
                self.out.push_str(&" ".repeat(indent + 1));
            }
            _ => self.out.push(' '),
        }
    }

    fn value(&mut self, value: &Tree, indent: usize, in_flow: bool) {
        match value {
            Tree::Text(text) => self.out.push_str(&format!(" {text}")),
            Tree::All(entries) => self.collection(entries, indent, in_flow),
        }
    }
}

#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    All(Vec<(String, Tree)>),
}

fn pairs(entries: Vec<(&str, Tree)>) -> Tree {
    Tree::All(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: impl Into<String>) -> Tree {
    Tree::Text(text.into())
}

/// A ring of nodes with a little of everything.
fn network(nodes: usize) -> Vec<(String, Tree)> {
    let node = |at: usize| {
        let prefixes =
            vec![("", text(format!("10.{at}.0.0/24"))), ("", text(format!("\"2001:db8:{at}::/64\"")))];
        let labels = vec![("role", text("'a # b'")), ("note", text("x#y"))];
        let fields = [("zone", text("z")), ("labels", pairs(labels)), ("prefixes", pairs(prefixes))];
        let fields = if at % 4 == 3 { text("~") } else { pairs(fields[at % 4..].to_vec()) };
        (format!("n{at}"), fields)
    };
    let link = |at: usize| {
        let other = (at + 1) % nodes;
        let ends = vec![("", text(format!("\"n{at}:e1\""))), ("", text(format!("n{other}:e2")))];
        let cost = Tree::All(vec![(format!("n{other}"), text("3")), (format!("n{at}"), text("4"))]);
        let fields = [("mtu", text("1500")), ("cost", cost), ("endpoints", pairs(ends))];
        (String::new(), pairs(fields[at % 3..].to_vec()))
    };
    let own = |key: &str, value| (key.to_owned(), value);
    vec![
        own("links", Tree::All((0..nodes).map(link).collect())),
        own("safety", pairs(vec![("bake", text("0s")), ("max_hosts_per_step", text("50%"))])),
        own("nodes", Tree::All((0..nodes).rev().map(node).collect())),
        own("zones", pairs(vec![("", pairs(vec![("name", text("z"))]))])),
        own("name", text("generated")),
        own("version", text("1")),
    ]
}

fn count(text: &str, comments: usize) -> Vec<usize> {
    (1..=comments).map(|number| text.matches(&format!("# {number}: \"{{[")).count()).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]

    #[test]
    fn any_style_with_comments_anywhere_means_the_same_afterwards(
        nodes in 3..6usize,
        coins in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..200),
        first in 0..6usize,
    ) {
        let mut entries = network(nodes);
        entries.rotate_left(first);
        let mut scribe = Scribe { coins, at: 0, comments: 0, out: String::new() };
        scribe.end(0);
        for (at, (key, value)) in entries.iter().enumerate() {
            if at > 0 {
                scribe.end(0);
            }
            scribe.out.push_str(&format!("{key}:"));
            scribe.value(value, 1 + at % 3, false);
        }
        scribe.end(0);
        let new = formatted(&scribe.out);
        proptest::prop_assert_eq!(count(&new, scribe.comments), vec![1; scribe.comments], "{}\n{}", scribe.out, new);
        proptest::prop_assert!(new.ends_with('\n') && !new.ends_with("\n\n"));
        proptest::prop_assert!(new.lines().all(|line| line.trim_end() == line), "{}", new);
    }

    #[test]
    fn damaged_files_are_refused_or_keep_their_meaning(
        sample in 0..SAMPLES.len(),
        places in proptest::collection::vec((proptest::prelude::any::<u32>(), 0..SNIPPETS.len()), 1..4),
    ) {
        let mut text = SAMPLES[sample].to_owned();
        for (place, snippet) in places {
            let mut at = place as usize % text.len();
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, SNIPPETS[snippet]);
        }
        if format("x.yaml", text.as_bytes(), FormatOptions::default()).is_ok() {
            formatted(&text);
        }
    }
}

const SNIPPETS: [&str; 20] = [
    "#", " # c\n", "\n", "\n\n", "{", "}", "?", "- ", ": ", "'", "\"", "\t", "&a ", "*a", "|", "\n---\n",
    "\n...\n", "%", "\r", ",",
];

const SAMPLES: [&str; 6] = [
    include_str!("../../files/everything.yaml"),
    include_str!("../../files/abilene.yaml"),
    include_str!("../../files/leaf-spine.yaml"),
    include_str!("../../files/line.yaml"),
    include_str!("../../files/triangle.yaml"),
    include_str!("messy.yaml"),
];

#[test]
fn all_samples_keep_their_meaning() {
    for sample in SAMPLES {
        formatted(sample);
    }
    formatted(include_str!("../../files/leaf-spine-64.yaml"));
}

#[test]
fn what_another_layout_would_lose_is_refused_by_name() {
    let head = "version: 1\nname: x\n";
    for (rest, line, what) in [
        ("nodes: {a: &one {}}\n", 3, "an anchor"),
        ("nodes:\n  a: &one {}\n  b: *one\n", 4, "an anchor"),
        ("nodes:\n  a:\n    labels:\n      note: |-\n        two\n", 7, "a text of several lines"),
        ("nodes:\n  a:\n    labels:\n      note: \"two\n        lines\"\n", 6, "a text of several lines"),
        ("nodes:\n  a:\n    labels:\n      note: two\n        lines\n", 6, "a text of several lines"),
    ] {
        let text = format!("{head}{rest}");
        assert!(read("x.yaml", text.as_bytes()).topology.is_some(), "{text}");
        let refused = format("x.yaml", text.as_bytes(), FormatOptions::default()).unwrap_err();
        let [problem] = &refused.diagnostics[..] else { panic!("{}", refused.render(false)) };
        assert_eq!((problem.line, problem.code), (line, source::NOT_FORMATTED), "{text}");
        assert!(problem.message.ends_with(&format!("losing {what}")), "{}", problem.message);
    }
    let directive = format!("%YAML 1.2\n---\n{head}nodes: {{a: {{}}}}\n");
    let refused = format("x.yaml", directive.as_bytes(), FormatOptions::default()).unwrap_err();
    assert!(refused.diagnostics[0].message.ends_with("losing `%YAML 1.2` here"), "{}", refused.render(false));
}

#[test]
fn a_file_with_errors_is_refused_with_its_errors() {
    let text = "version: 1\nname: x\nnodes: {a: {prefixes: [10.1.0.1/24]}, b: {zone: west}}\n";
    let refused = format("x.yaml", text.as_bytes(), FormatOptions::default()).unwrap_err();
    assert_eq!(refused.render(false), read("x.yaml", text.as_bytes()).render(false));
    assert_eq!(refused.total, 2);
}

#[test]
fn one_line_has_at_most_120_characters_and_comments_do_not_count() {
    let comment = "# a comment that is longer than what is left on the line";
    for (letters, lines) in [(96, 1), (97, 2)] {
        let note = "x".repeat(letters);
        let text = format!("version: 1\nname: x\nnodes: {{a: {{labels: {{n: {note}}}}}}} {comment}\n");
        let new = formatted(&text);
        let node: Vec<&str> = new.lines().skip(4).collect();
        assert_eq!(node.len(), lines, "{new}");
        assert_eq!(
            node.iter().map(|line| line.len()).max(),
            Some(if lines == 1 { 120 } else { 116 }),
            "{new}"
        );
        assert!(new.contains(&format!("nodes:  {comment}\n")), "{new}");
    }
}

#[test]
fn pinning_adds_what_is_missing_and_moves_no_address() {
    let text = "version: 1\nname: x\nnodes:\n  a: {}\n  b:\n  c: {loopbacks: [10.255.9.9]} # by hand\n  d:\n    loopbacks:\n    - fd00:0:0::5 # printed\n    labels: {x: y}\n";
    let pinned = format("x.yaml", text.as_bytes(), FormatOptions { pin: true }).unwrap();
    insta::assert_snapshot!(pinned);
    let (before, after) = (read("", text.as_bytes()), read("", pinned.as_bytes()));
    assert_eq!(before.topology, after.topology);
    assert_eq!(format("x.yaml", pinned.as_bytes(), FormatOptions { pin: true }).unwrap(), pinned);
    // Another range moves nobody any more.
    let moved = format!("{pinned}addressing: {{ loopbacks: [10.9.0.0/16, fd09::/64] }}\n");
    let loopbacks = |text: &str| -> Vec<_> {
        read("", text.as_bytes()).topology.unwrap().nodes.into_iter().map(|node| node.loopbacks).collect()
    };
    assert_eq!(loopbacks(&moved), loopbacks(&pinned));
}

#[test]
fn json_crlf_and_a_byte_order_mark_are_laid_out_like_the_rest() {
    let text = "\u{feff}{\"name\": \"x\",\r\n \"version\": 1, \"nodes\": {\"b\": {}, \"a\": {\"prefixes\": []}}}\r\n";
    assert_eq!(
        formatted(text),
        "\"version\": 1\n\"name\": \"x\"\n\n\"nodes\":\n  \"a\": { \"prefixes\": [] }\n  \"b\": {}\n"
    );
}

#[test]
fn each_document_of_a_file_keeps_its_own() {
    let text = "# one\n--- # of two\nname: x\nversion: 1\n# done\n---\n# two\nlinks: [{endpoints: [b:e, a:e]}]\nnodes: {b: {}, a: {}} # both\n...\n# end\n";
    assert_eq!(
        formatted(text),
        "version: 1\n# one\n# of two\nname: x\n# done\n---\nnodes:  # both\n  a: {}\n  b: {}\n\n# two\nlinks:\n  \
         - { endpoints: [a:e, b:e] }\n\n# end\n"
    );
}
