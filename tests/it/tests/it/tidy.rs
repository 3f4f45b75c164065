//! The absences that ARCHITECTURE.md promises, and what else a machine can check of the style.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest function, in lines of formatted code.
const FUNCTION_LINES_MAX: usize = 80;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Tracked and new files of the repository, relative to its root, that are text.
fn files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the project's files");
    let names = String::from_utf8(listed.stdout).unwrap();
    let read = |name: &str| fs::read_to_string(root().join(name)).ok().map(|text| (name.to_string(), text));
    let all: Vec<_> = names.lines().filter_map(read).collect();
    assert!(all.len() > 50, "the project has more than {} files", all.len());
    all
}

fn rust_sources(folder: &str) -> Vec<(String, String)> {
    let all = files().into_iter().filter(|(name, _)| name.starts_with(folder) && name.ends_with(".rs"));
    let found: Vec<_> = all.collect();
    assert!(!found.is_empty(), "{folder} has Rust sources");
    found
}

/// Code lines with their numbers, without comments and without what follows `#[cfg(test)]`.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or("")))
}

fn demand_absent(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in rust_sources(folder) {
        if name.contains("/tests/") || name.ends_with("tests.rs") || name.contains("/examples/") {
            continue;
        }
        for (number, line) in code_lines(&text) {
            // `net2plan::` is not `plan::`.
            let whole =
                |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            let stands = |word: &&&str| line.match_indices(**word).any(|(at, _)| whole(at));
            for word in words.iter().filter(stands) {
                found.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    found
}

/// Checks that a rule finds nothing in the code.
fn check(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}\n{}", found.join("\n"));
}

#[test]
fn pure_crates_depend_on_no_async_file_system_or_netlink_crate() {
    let allowed: BTreeSet<&str> = [
        "blake3",
        "granit-parser",
        "ipnetwork",
        // XML as a tree, without entities from outside.
        "roxmltree",
        // Computation on several cores; the results do not depend on how many.
        "rayon",
        "serde",
        "serde_json",
        "thiserror",
        "topology",
        "plan",
        "prost",
        // Generated RPC traits only; the transports are the shells'.
        "tonic",
        "tonic-prost",
        "utoipa",
    ]
    .into();
    let mut found = Vec::new();
    for name in ["topology", "plan", "wire"] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let lines = section.lines().take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty());
        for line in lines {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            if !allowed.contains(dependency) {
                found.push(format!("{name}/Cargo.toml: {dependency}"));
            }
        }
    }
    check("a dependency of a pure crate that is not on the list", &found);
}

const WORLD: [&str; 14] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "async fn",
    ".await",
    "Instant",
    "SystemTime",
    "rand::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "HashMap",
];

#[test]
fn pure_crates_know_no_clock_no_file_no_socket_no_task() {
    for folder in ["topology/src/", "plan/src/", "wire/src/"] {
        check("a pure crate touches the world", &demand_absent(folder, &WORLD));
    }
}

#[test]
fn cores_know_no_clock_no_randomness_no_socket_no_task() {
    for folder in ["controller/src/core/", "agent/src/core/", "liveness/src/core/"] {
        check("a core touches the world", &demand_absent(folder, &WORLD));
    }
}

#[test]
fn one_way_flow_nothing_left_knows_anything_right() {
    check(
        "topology knows a later stage",
        &demand_absent("topology/src/", &["plan::", "wire::", "controller::", "agent::"]),
    );
    check("plan knows a later stage", &demand_absent("plan/src/", &["wire::", "controller::", "agent::"]));
    check("wire knows a program that uses it", &demand_absent("wire/src/", &["controller::", "lab::"]));
    check("the controller knows the agent", &demand_absent("controller/src/", &["agent::core", "agent::io"]));
    check("the agent knows the controller", &demand_absent("agent/src/", &["controller::"]));
    check(
        "liveness knows who asks for it",
        &demand_absent("liveness/src/", &["agent::", "controller::", "plan::", "wire::"]),
    );
}

#[test]
fn no_line_names_a_path_of_one_machine() {
    // Written in pieces, so that this file does not find itself.
    let paths =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/tm", "p/w/"]].map(|pieces| pieces.concat());
    let shared = ["../sha", "red"].concat();
    let mut found = Vec::new();
    for (name, text) in files() {
        for (at, line) in text.lines().enumerate() {
            let path = paths.iter().any(|path| {
                let mut before = line.split(path.as_str());
                let first = before.next().unwrap_or("");
                before.next().is_some()
                    && !first
                        .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/' || c == '-')
            });
            if path || (line.contains(&shared) && !line.contains("BALLAST_DATA")) {
                found.push(format!("{name}:{}: {line}", at + 1));
            }
        }
    }
    check("a path of one machine", &found);
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut found = Vec::new();
    for (name, text) in
        files().into_iter().filter(|(name, _)| name.ends_with(".rs") && !name.starts_with("fuzz/"))
    {
        if !text.starts_with("//!") {
            found.push(name);
        }
    }
    check("a module without a header", &found);
}

#[test]
fn functions_fit_a_screen() {
    let mut found = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".rs")) {
        let mut open: Option<(usize, String, &str)> = None;
        for (at, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = " ".repeat(line.len() - trimmed.len());
            let is_function =
                ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn ", "pub(super) fn "]
                    .iter()
                    .any(|start| trimmed.starts_with(start));
            match &open {
                None if is_function && !trimmed.ends_with(';') && !trimmed.ends_with("}") => {
                    open = Some((at, indent, trimmed));
                }
                Some((start, outer, first)) if line == format!("{outer}}}") => {
                    if at - start + 1 > FUNCTION_LINES_MAX {
                        found.push(format!("{name}:{}: {} lines: {first}", start + 1, at - start + 1));
                    }
                    open = None;
                }
                _ => {}
            }
        }
    }
    check("a function that does not fit a screen", &found);
}

#[test]
fn links_between_documents_resolve() {
    let mut found = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".md")) {
        let folder = root().join(&name).parent().unwrap().to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            let outside = path.is_empty() || path.contains("://");
            if !outside && !folder.join(path).exists() {
                found.push(format!("{name}: {target}"));
            }
        }
    }
    check("a link that leads nowhere", &found);
}

#[test]
fn each_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or("");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines
        .filter(|line| line.contains(" = ") && !line.contains("path = "))
        .filter_map(|line| line.split(' ').next());
    let missing: Vec<String> =
        names.filter(|name| !page.contains(&format!("`{name}`"))).map(String::from).collect();
    check("a dependency without a line in docs/dependencies.md", &missing);
}

#[test]
fn kernel_constants_stay() {
    assert_eq!(agent::core::kernel::PROTOCOL, 91);
    assert_eq!(plan::program::NEXTHOP_IDS, 0x5B00_0000..=0x5B7F_FFFF);
    assert_eq!(plan::program::GROUP_IDS, 0x5B80_0000..=0x5BFF_FFFF);
}
