//! A file in the runtime folder, which a reboot empties: where it is missing, no agent has run since the host was started.

use std::fs;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The file.
#[derive(Debug)]
pub struct Marker(PathBuf);

impl Marker {
    /// Beside the local socket: `agent.up` beside `agent.sock`.
    pub fn beside(socket: &Path) -> Marker {
        Marker(socket.with_extension("up"))
    }

    /// Whether it is there. What cannot be found out counts as yes: a restart is the common case, and changes nothing.
    pub fn is_there(&self) -> bool {
        self.0.try_exists().unwrap_or(true)
    }

    /// Puts it there. Without it the next start asks the kernel alone.
    pub fn put(&self) {
        if let Err(why) = fs::write(&self.0, "") {
            warn!(file = %self.0.display(), %why, "the marker of a running agent cannot be written");
        }
    }
}
