//! sysctl(8) names to files of `/proc/sys`, read and written.

use crate::core::kernel::OpError;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// `net.ipv4.conf.eth0/1.rp_filter` -> `/proc/sys/net/ipv4/conf/eth0.1/rp_filter`: dots separate, and `/` stands for a
/// dot inside a name. A name that would leave `/proc/sys` gives nothing.
fn path(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from("/proc/sys");
    for part in name.split('.') {
        let part = part.replace('/', ".");
        if part.is_empty() || part == "." || part == ".." {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

/// Values of these names; one that the kernel does not have is absent.
pub(super) fn read(names: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    for name in names {
        let Some(path) = path(name) else { continue };
        match std::fs::read_to_string(&path) {
            Ok(value) => {
                values.insert(name.clone(), value.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Ok(values)
}

/// Writes a value.
pub(super) fn write(name: &str, value: &str) -> Result<(), OpError> {
    let refused = |errno, text: String| OpError { errno, text };
    let path = path(name).ok_or_else(|| refused(0, format!("{name} is no sysctl's name")))?;
    std::fs::write(&path, value)
        .map_err(|error| refused(error.raw_os_error().unwrap_or(0), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_below_proc_sys() {
        let shown = |name| path(name).map(|path| path.display().to_string());
        assert_eq!(shown("net.ipv4.ip_forward").unwrap(), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(shown("net.ipv6.conf.eth0/1.mtu").unwrap(), "/proc/sys/net/ipv6/conf/eth0.1/mtu");
        assert_eq!(shown("net.//.kernel"), None);
        assert_eq!(shown("net..x"), None);
    }
}
