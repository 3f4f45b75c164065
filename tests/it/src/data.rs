//! Published networks, traffic and routing tables for tests. They are not part of the project: `BALLAST_DATA` says where they
//! are. A test that lacks its data says so and counts as skipped.

use std::path::{Path, PathBuf};

/// Where the data are when `BALLAST_DATA` is not set, from this package.
const BALLAST_DATA_DEFAULT: &str = "../../../shared/data";

/// The folder of this name among the data; `None`, and a line that counts the test as skipped, where it is absent.
#[allow(clippy::print_stdout, reason = "skipped tests are counted by what they print")]
pub fn folder(name: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(BALLAST_DATA_DEFAULT);
    let path = std::env::var_os("BALLAST_DATA").map_or_else(default, PathBuf::from).join(name);
    if !path.is_dir() {
        println!("SKIPPED: {name} is not among the data (BALLAST_DATA)");
        return None;
    }
    Some(path)
}

/// All files below a folder with one of these endings, sorted; at every depth.
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
