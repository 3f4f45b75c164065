//! `ballast check --watch`: checks again when a file changes. Looks at metadata a few times a second and needs no events of
//! the kernel: editors rename, remove and create again, and network file systems tell nothing.

use crate::arguments::Check;
use crate::exit::{self, Done, Failure};
use crate::files::paths_of;
use crate::offline;
use crate::output::{print, say};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pause between two looks. Files that are equal at two looks are not being written.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Looks without a file until a person is told.
const LOOKS_UNTIL_MISSED: u32 = 7;

/// What tells one state of a file from another: inode, size, and both times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Checks now and after each change, until SIGINT or SIGTERM.
pub(crate) fn watch(arguments: &Check) -> Done {
    let ends = signals()?;
    let mut checked = look(&arguments.files);
    check(arguments)?;
    let (mut last, mut missed) = (checked.clone(), 0);
    while !ended(&ends) {
        std::thread::sleep(LOOK_EVERY);
        let now = look(&arguments.files);
        let settled = now == last;
        match &now {
            Err(path) => {
                missed += 1;
                if missed == LOOKS_UNTIL_MISSED {
                    say(&format!("{} {} is gone: waiting for it", time_of_day(), path.display()));
                }
            }
            Ok(_) if settled && now != checked => {
                check(arguments)?;
                checked = now.clone();
                missed = 0;
            }
            // A file that was away and is back as it was is no news, but its absence may have been told.
            Ok(_) if settled && missed >= LOOKS_UNTIL_MISSED => {
                say(&format!("{} all files are back, unchanged", time_of_day()));
                missed = 0;
            }
            Ok(_) if settled => missed = 0,
            Ok(_) => {}
        }
        last = now;
    }
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Check) -> Result<(), Failure> {
    let valid = offline::check(arguments)? == ExitCode::SUCCESS;
    print(&format!("{} {}", time_of_day(), if valid { "valid" } else { "not valid" }));
    Ok(())
}

/// SIGINT and SIGTERM as something to read, so that neither ends the process in the middle of a line.
fn signals() -> Result<SignalFd, Failure> {
    let failed = |error: nix::Error| Failure::new(exit::NO, format!("signals: {error}"));
    let set: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    set.thread_block().map_err(failed)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)
}

fn ended(signals: &SignalFd) -> bool {
    !matches!(signals.read_signal(), Ok(None))
}

/// All files as they are now; the error is one that is not there.
fn look(paths: &[PathBuf]) -> Result<Vec<Seen>, PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        let files = paths_of(path).map_err(|_| path.clone())?;
        for file in files {
            let metadata = std::fs::metadata(&file).map_err(|_| file.clone())?;
            all.push(seen(&file, &metadata));
        }
    }
    Ok(all)
}

fn seen(path: &Path, metadata: &Metadata) -> Seen {
    Seen {
        path: path.to_owned(),
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// The time of day in UTC, as `11:53:41Z`.
fn time_of_day() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{:02}:{:02}:{:02}Z", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
