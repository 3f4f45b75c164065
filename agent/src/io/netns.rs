//! Another network namespace to run in, entered before any thread starts: sockets and `/proc/sys/net` are those of the
//! thread that opens them.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where ip-netns(8) keeps names.
const NAMES: &str = "/run/netns";

/// `NAME` as ip-netns(8) knows it, or the path of a namespace file (`/proc/PID/ns/net`).
pub fn path(name: &str) -> PathBuf {
    if name.contains('/') { PathBuf::from(name) } else { Path::new(NAMES).join(name) }
}

/// Enters it with the calling thread. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// It does not exist, is no network namespace, or the right is missing.
pub fn enter(name: &str) -> io::Result<()> {
    Ok(setns(File::open(path(name))?, CloneFlags::CLONE_NEWNET)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_ip_netns_and_a_path_is_itself() {
        assert_eq!(path("blue"), Path::new("/run/netns/blue"));
        assert_eq!(path("/proc/1/ns/net"), Path::new("/proc/1/ns/net"));
        assert_eq!(path("./here"), Path::new("./here"));
    }
}
