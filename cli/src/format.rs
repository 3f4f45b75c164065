//! `ballast fmt`: files in the one layout. A file is replaced as a whole or not at all, never written in place.

use crate::arguments::Fmt;
use crate::exit::{self, Done, Failure};
use crate::files::{bytes_of, paths_of, reading_of};
use crate::output::{colour, print, say};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use topology::{FILE_BYTES_MAX, FormatOptions, Reading};

/// What stands for standard input and output.
const STANDARD: &str = "-";

/// `ballast fmt`.
pub(crate) fn fmt(arguments: &Fmt) -> Done {
    let mut good = true;
    for path in &arguments.files {
        let done = if path.as_os_str() == STANDARD { standard(arguments) } else { network(path, arguments) };
        good &= done.unwrap_or_else(|failure| {
            say(&failure.message);
            false
        });
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) })
}

/// Standard input; false when it is refused, or would change and `--check` asks.
fn standard(arguments: &Fmt) -> Result<bool, Failure> {
    let name = "<standard input>";
    let bytes = standard_input()?;
    match topology::format(name, &bytes, FormatOptions { pin: arguments.pin }) {
        Ok(new) if arguments.check => Ok(unchanged(name, &bytes, &new)),
        Ok(new) => {
            print(&new);
            Ok(true)
        }
        Err(refused) => Ok(told(&refused)),
    }
}

/// A file, or the files of a folder, which are only valid together; false as for [`standard`].
fn network(path: &Path, arguments: &Fmt) -> Result<bool, Failure> {
    let reading = reading_of(path)?;
    let Some(topology) = &reading.topology else { return Ok(told(&reading)) };
    let pins = arguments.pin.then(|| topology::pins(topology));
    let mut good = true;
    for path in paths_of(path)? {
        let (name, bytes) = (path.display().to_string(), bytes_of(&path)?);
        good &= match topology::format_part(&name, &bytes, pins.as_ref()) {
            Ok(new) if arguments.check => unchanged(&name, &bytes, &new),
            Ok(new) if new.as_bytes() == bytes => true,
            Ok(new) => {
                replace(&path, &new).map_err(|error| Failure::new(exit::NO, format!("{name}: {error}")))?;
                say(&format!("{name}: rewritten"));
                true
            }
            Err(refused) => told(&refused),
        };
    }
    Ok(good)
}

/// Says why nothing was done.
fn told(reading: &Reading) -> bool {
    say(&reading.render(colour()));
    false
}

/// Whether the layout is right already; names what would change.
fn unchanged(name: &str, bytes: &[u8], new: &str) -> bool {
    let unchanged = new.as_bytes() == bytes;
    if !unchanged {
        print(name);
    }
    unchanged
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(exit::NO, format!("standard input: {error}")))?;
    Ok(bytes)
}

/// Puts a file with the same mode and owner into the place of `path`, of what a symbolic link points to.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let temporary = beside(&path);
    let done = write_like(&path, &temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
    if done.is_err() {
        // The error that counts is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

/// A name in the same folder, since a file is renamed only within its file system; no topology file by its ending.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn write_like(model: &Path, temporary: &Path, text: &str) -> std::io::Result<()> {
    let metadata = std::fs::metadata(model)?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    file.set_permissions(metadata.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
