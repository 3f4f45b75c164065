//! Hostile and huge inputs: refused quickly, with the right word.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};
use topology::{Code, DIAGNOSTICS_MAX, FILE_BYTES_MAX, read};

/// Generous for a debug build on a busy machine; a quadratic walk takes minutes.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The codes of one reading, each once, which must be ready in time.
fn codes(text: &str) -> Vec<&'static str> {
    let start = Instant::now();
    let reading = read("big.yaml", text.as_bytes());
    let elapsed = start.elapsed();
    assert!(elapsed < TIME_MAX, "{elapsed:?} for {:.40}", text);
    assert!(reading.diagnostics.len() <= DIAGNOSTICS_MAX);
    assert_eq!(
        reading.topology.is_none(),
        reading.diagnostics.iter().any(|d| d.severity == topology::Severity::Error)
    );
    let mut codes: Vec<_> = reading.diagnostics.iter().map(|d| d.code.0).collect();
    codes.dedup();
    codes
}

#[test]
fn a_large_file_of_anything_is_refused() {
    const PIECE_BYTES: usize = 512 << 10;
    for (piece, wanted) in [
        ("x", "wrong-type"),
        ("x\n", "wrong-type"),
        ("- x\n", "wrong-type"),
        ("[", "nested-too-deep"),
        ("[],", "yaml-syntax"),
        ("{", "nested-too-deep"),
        ("? ", "nested-too-deep"),
        ("- ", "nested-too-deep"),
        ("\"", "yaml-syntax"),
        ("'", "wrong-type"),
        ("a: b\n", "duplicate-key"),
        ("---\n", "empty-file"),
        ("--- a\n", "wrong-type"),
        ("\n", "empty-file"),
        ("#\n", "empty-file"),
        (" ", "empty-file"),
        ("\t", "empty-file"),
        ("\r", "empty-file"),
        ("\0", "control-character"),
        ("&a ", "yaml-syntax"),
        ("*a ", "yaml-syntax"),
        ("!a ", "yaml-syntax"),
        ("%a\n", "yaml-syntax"),
        ("é", "wrong-type"),
    ] {
        let found = codes(&piece.repeat(PIECE_BYTES / piece.len()));
        assert!(found.contains(&wanted), "{piece:?}: {found:?}");
    }
    assert_eq!(codes(&"x".repeat(FILE_BYTES_MAX + 1)), ["too-large"]);
}

#[test]
fn a_hundred_thousand_errors_are_counted_and_the_first_are_shown() {
    const ERRORS: usize = 100_000;
    let mut text = String::from("version: 1\nname: x\nnodes:\n  node-a: {}\nlinks:\n");
    for at in 0..ERRORS {
        text.push_str(&format!("- {{endpoints: [\"node-a:e{at}\", \"node-b:e{at}\"]}}\n"));
    }
    let start = Instant::now();
    let reading = read("big.yaml", text.as_bytes());
    assert!(start.elapsed() < TIME_MAX, "{:?}", start.elapsed());
    assert_eq!((reading.total, reading.diagnostics.len()), (ERRORS, DIAGNOSTICS_MAX));
    let lines: Vec<u32> = reading.diagnostics.iter().map(|d| d.line).collect();
    assert_eq!(lines, (6..6 + DIAGNOSTICS_MAX as u32).collect::<Vec<_>>());
    assert!(
        reading.render(false).ends_with("big.yaml is refused: 100000 problems, the first 200 are shown\n")
    );
}

#[test]
fn errors_in_one_very_long_line_stay_quick() {
    // The errors stand at the line's end, so that each snippet has all of the line before it.
    let labels: String = (0..50_000).map(|at| format!("\"a-label-{at}\": \"{:100}\", ", "x")).collect();
    let wrong: String = (0..1_000).map(|at| format!(", \"wrong{at}\": 1")).collect();
    let text = format!(
        "{{\"version\": 1, \"name\": \"n\", \"nodes\": {{\"a\": {{\"labels\": {{{labels}}}}}}}{wrong}}}"
    );
    assert_eq!(codes(&text), ["unknown-key"]);
}

#[test]
fn suggestions_among_many_names_stay_quick() {
    let mut text =
        String::from("version: 1\nname: x\naddressing: {loopbacks: [\"fd00:ba11::/64\"]}\nnodes:\n");
    (0..20_000).for_each(|at| text.push_str(&format!("  a-rather-long-name-of-node-{at}: {{}}\n")));
    text.push_str("links:\n");
    (0..20_000).for_each(|at| {
        text.push_str(&format!("- {{endpoints: [\"a-rather-lung-name-{at}:a\", \"b:e{at}\"]}}\n"))
    });
    assert_eq!(codes(&text), ["dangling-endpoint"]);
}

#[test]
fn a_chain_of_aliases_is_not_a_way_around_the_depth() {
    let mut text = String::from("a0: &a0 [x]\n");
    (1..50_000).for_each(|at| text.push_str(&format!("a{at}: &a{at} [*a{}]\n", at - 1)));
    assert_eq!(codes(&text), ["nested-too-deep"]);
}

#[test]
fn shared_settings_by_alias_are_welcome() {
    let text = "version: 1\nname: x\nnodes:\n  a: {labels: &l {role: pop}}\n  b: {labels: *l}\n\
                links: [{endpoints: [\"a:e\", \"b:e\"]}]\n";
    let reading = read("x.yaml", text.as_bytes());
    assert_eq!(reading.render(false), "");
    let topology = reading.topology.unwrap();
    assert_eq!(topology.nodes[1].labels["role"], "pop");
}

#[test]
fn problems_in_long_lines_show_the_piece_around_them() {
    let name = "x".repeat(500);
    let text = format!(
        "{{\"version\": 1, \"name\": \"n\", \"nodes\": {{\"a\": {{}}}}, \"{name}\": 1, \"capactiy\": 2}}"
    );
    let reading = read("x.json", text.as_bytes());
    let last = reading.diagnostics.last().unwrap();
    assert_eq!(last.code, Code::UNKNOWN_KEY);
    let shown: String =
        last.snippet.chars().skip(last.snippet_column as usize - 1).take(last.width as usize).collect();
    assert_eq!(shown, "\"capactiy\"");
    assert!(last.snippet.chars().count() <= 120);
}

#[test]
fn terminal_escapes_in_a_file_do_not_reach_the_terminal() {
    let reading = read("x.yaml", b"version: 1\nname: \"a\\e[2Jb\"\nnodes: {a: {zone: \"x\\e]0;y\"}}\n");
    let text = reading.render(false);
    assert!(reading.total == 2 && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn ten_thousand_links_at_one_node_and_the_largest_costs_are_read() {
    const LINKS: usize = 10_000;
    let mut text = String::from(
        "version: 1\nname: x\naddressing: {loopbacks: [\"fd00:ba11::/64\"]}\nnodes:\n  hub: {}\n",
    );
    (0..LINKS).for_each(|at| text.push_str(&format!("  n{at}: {{prefixes: [192.0.2.53/32]}}\n")));
    text.push_str("links:\n");
    (0..LINKS).for_each(|at| {
        let cost = [1, 2_147_483_647, 2_147_483_648, 4_294_967_295u64][at % 4];
        text.push_str(&format!("- {{endpoints: [\"hub:e{at}\", \"n{at}:e\"], cost: {cost}}}\n"));
    });
    let start = Instant::now();
    let reading = read("big.yaml", text.as_bytes());
    assert!(start.elapsed() < TIME_MAX, "{:?}", start.elapsed());
    assert_eq!(reading.render(false), "");
    let topology = reading.topology.unwrap();
    assert_eq!(topology.links.len(), LINKS);
    let most = topology.links.iter().map(|link| link.ends[0].cost).max();
    assert_eq!(most, Some(4_294_967_295));
}

/// A file of `nodes` nodes without links and `rest`.
fn network(nodes: usize, rest: &str) -> String {
    let nodes: String = (0..nodes).map(|at| format!("  n{at}: {{}}\n")).collect();
    format!("version: 1\nname: x\naddressing: {{loopbacks: [\"fd00:ba11::/64\"]}}\n{rest}nodes:\n{nodes}")
}

#[test]
fn what_repeats_cannot_fill_the_memory() {
    let labels: Vec<String> = (0..660).map(|at| format!("l{at}: \"{}\"", "x".repeat(250))).collect();
    let template = format!("defaults: {{node: {{labels: {{{}}}}}}}\n", labels.join(", "));
    assert!(codes(&network(660, &template)).contains(&"too-large"));
    let prefixes: Vec<String> = (0..2_200).map(|at| format!("\"2001:db8:{at:x}::/48\"")).collect();
    let kind =
        format!("defaults: {{node: {{kind: k}}}}\nkinds: {{k: {{prefixes: [{}]}}}}\n", prefixes.join(", "));
    assert!(codes(&network(1_000, &kind)).contains(&"too-large"));
    let invariants = format!("invariants: [{}]\n", "{reach: {from: any, to: any}},".repeat(5_100));
    assert!(codes(&network(2_000, &invariants)).contains(&"too-large"));
}

#[test]
fn many_documents_and_files_stay_quick() {
    let mut text = String::from("version: 1\nname: x\naddressing: {loopbacks: [\"fd00:ba11::/64\"]}\n");
    (0..10_000).for_each(|at| {
        text.push_str(&format!("---\nname: x\nnodes: {{n{at}: {{}}}}\nsafety: {{bake: 1s}}\n"))
    });
    assert_eq!(codes(&text), ["unreachable-node"]);
    let files: Vec<(&str, &[u8])> = (0..=topology::FILES_MAX).map(|_| ("x.yaml", &b"a: b"[..])).collect();
    let reading = topology::read_all(&files);
    assert_eq!(reading.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::TOO_LARGE]);
    let halves = [vec![b' '; FILE_BYTES_MAX / 2 + 1], vec![b' '; FILE_BYTES_MAX / 2 + 1]];
    let reading = topology::read_all(&[("a.yaml", &halves[0]), ("b.yaml", &halves[1])]);
    assert_eq!(reading.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::TOO_LARGE]);
    let reading = topology::read_all(&[]);
    assert_eq!(reading.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::EMPTY_FILE]);
}
