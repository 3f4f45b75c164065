//! `fixtures/VERSION/FORMAT-NAME.bin`: bytes as each released version wrote them, never changed, each with what it says as
//! a reviewed snapshot.

use crate::{FORMATS, read, samples};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The version whose fixtures the samples are.
const CURRENT: &str = "v0.2";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files() -> Vec<(String, String, Vec<u8>)> {
    let list = |path: &Path| {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(path).unwrap().map(|item| item.unwrap().path()).collect();
        found.sort();
        found
    };
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_string();
    let mut files = Vec::new();
    for version in list(&folder()) {
        for file in list(&version) {
            let version = version.file_name().unwrap().to_str().unwrap().to_string();
            files.push((version, name(&file), std::fs::read(&file).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn every_fixture_says_for_ever_what_it_said() {
    let mut seen = BTreeSet::new();
    for (version, name, bytes) in files() {
        let (format, _) = name.split_once('-').unwrap();
        let said = read(format, &bytes).unwrap_or_else(|error| panic!("{version}/{name}: {error}"));
        insta::with_settings!({prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(format!("{version}-{name}"), said);
        });
        seen.insert(format.to_string());
    }
    assert_eq!(seen, FORMATS.iter().map(|format| format.to_string()).collect());
}

#[test]
fn this_version_writes_its_fixtures_to_the_byte() {
    let written: Vec<(String, Vec<u8>)> = files()
        .into_iter()
        .filter(|(version, ..)| version == CURRENT)
        .map(|(_, name, bytes)| (name, bytes))
        .collect();
    let mut samples = samples::all();
    samples.sort();
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&samples), names(&written));
    for ((name, now), (_, then)) in samples.iter().zip(&written) {
        assert!(now == then, "{name} is written differently: was a field number or an encoding changed?");
    }
}

/// For a new sample or a new version: `cargo test -p wire --test formats make_fixtures -- --ignored`. Never touches a
/// fixture that is there.
#[test]
#[ignore = "writes files"]
fn make_fixtures() {
    let folder = folder().join(CURRENT);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in samples::all() {
        let path = folder.join(format!("{name}.bin"));
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
}
