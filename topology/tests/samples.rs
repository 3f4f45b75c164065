//! The sample files: the good ones read without a word, and every kind of problem has a bad one whose
//! rendered text is reviewed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use topology::{Code, FILE_BYTES_MAX, Reading, read};

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> (String, Reading) {
    let name = path.file_name().unwrap().to_str().unwrap();
    (name.to_owned(), read(name, &fs::read(path).unwrap()))
}

#[test]
fn good_samples_have_no_problems() {
    let mut sizes = Vec::new();
    for path in yaml_files("files") {
        let (name, reading) = read_file(&path);
        let topology = reading.topology.as_ref().unwrap_or_else(|| panic!("{}", reading.render(false)));
        assert_eq!(reading.render(false), "", "{name}");
        sizes.push((name, topology.zones.len(), topology.nodes.len(), topology.links.len()));
    }
    let sizes: Vec<_> =
        sizes.iter().map(|(name, zones, nodes, links)| (name.as_str(), *zones, *nodes, *links)).collect();
    assert_eq!(
        sizes,
        [
            ("abilene.yaml", 2, 11, 14),
            ("everything.yaml", 2, 4, 6),
            ("leaf-spine-64.yaml", 2, 64, 240),
            ("leaf-spine.yaml", 2, 10, 24),
            ("line.yaml", 0, 4, 3),
            ("metro.yaml", 0, 6, 9),
            ("triangle.yaml", 0, 3, 3),
        ]
    );
}

#[test]
fn each_bad_sample_tells_its_problem() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../files/bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for path in yaml_files("files/bad") {
        let (name, reading) = read_file(&path);
        let stem = name.strip_suffix(".yaml").unwrap();
        // `CODE.yaml`, or `CODE.VARIANT.yaml`.
        let code = stem.split('.').next().unwrap();
        assert!(reading.diagnostics.iter().any(|d| d.code.0 == code), "{name} has no {code}");
        settings.bind(|| insta::assert_snapshot!(stem, reading.render(false)));
    }
}

#[test]
fn every_code_has_a_bad_sample_and_a_line_in_the_reference() {
    let found: BTreeSet<Code> = yaml_files("files/bad")
        .iter()
        .flat_map(|path| read_file(path).1.diagnostics)
        .map(|d| d.code)
        .collect();
    let reference = include_str!("../../docs/topology.md");
    for code in Code::ALL {
        // A file of that size is not kept; `oversized_files_are_refused_at_once` makes one.
        assert!(found.contains(code) || *code == Code::TOO_LARGE, "no bad sample for {code}");
        assert!(reference.contains(&format!("| `{code}` |")), "{code} is not in docs/topology.md");
    }
    assert!(Code::ALL.is_sorted());
}

#[test]
fn oversized_files_are_refused_at_once() {
    let reading = read("big.yaml", &vec![b'x'; FILE_BYTES_MAX + 1]);
    assert_eq!(reading.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::TOO_LARGE]);
}
