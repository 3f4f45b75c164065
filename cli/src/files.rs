//! Topology files from the disk: one file, or the `*.yaml` files of a folder.

use crate::exit::{self, Failure};
use crate::output::{colour, say};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use topology::{FILE_BYTES_MAX, FILES_MAX, Reading, Topology};

/// A file's name for messages, and its bytes.
type Named = (String, Vec<u8>);

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::NO, format!("{}: {error}", path.display()))
}

/// Bytes of a file, never more than one too many.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    Ok(bytes)
}

/// The file itself, or the folder's `*.yaml` files by name; not those of folders in it.
pub(crate) fn paths_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| failed(path, &error))? {
        let found = entry.map_err(|error| failed(path, &error))?.path();
        if found.extension().is_some_and(|extension| extension == "yaml") && found.is_file() {
            paths.push(found);
        }
        if paths.len() > FILES_MAX {
            let message = format!("{}: more than the {FILES_MAX} files that are read", path.display());
            return Err(Failure::new(exit::NO, message));
        }
    }
    if paths.is_empty() {
        return Err(Failure::new(exit::NO, format!("{}: there is no *.yaml file in it", path.display())));
    }
    paths.sort();
    Ok(paths)
}

fn files_of(path: &Path) -> Result<Vec<Named>, Failure> {
    let (mut files, mut bytes_left) = (Vec::new(), FILE_BYTES_MAX + 1);
    for path in paths_of(path)? {
        let mut bytes = bytes_of(&path)?;
        // Beyond the limit nothing is read; one byte too many makes the reader say so.
        bytes.truncate(bytes_left);
        bytes_left -= bytes.len();
        files.push((path.display().to_string(), bytes));
    }
    Ok(files)
}

fn borrowed(files: &[Named]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

/// The network of a file or folder, or its problems.
pub(crate) fn reading_of(path: &Path) -> Result<Reading, Failure> {
    Ok(topology::read_all(&borrowed(&files_of(path)?)))
}

/// A network that must be valid; its problems are told.
pub(crate) fn topology_of(path: &Path) -> Result<Topology, Failure> {
    let reading = reading_of(path)?;
    let told = reading.render(colour());
    if !told.is_empty() {
        say(&told);
    }
    reading.topology.ok_or_else(|| Failure::new(exit::NO, format!("{} is not valid", path.display())))
}

/// The one text that stands for a file or folder. What is sent for a folder is checked before, since problems in
/// it would name lines of that text and not of the files.
pub(crate) fn text_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let files = files_of(path)?;
    let joined = topology::join(&borrowed(&files));
    if files.len() > 1 {
        let wanted = topology_of(path)?;
        if topology::read("", &joined).topology.as_ref() != Some(&wanted) {
            let message = format!(
                "{}: the files mean something else as one text; end each with a line feed",
                path.display()
            );
            return Err(Failure::new(exit::NO, message));
        }
    }
    Ok(joined)
}
