//! Names and numbers of a lab: run ids, namespaces, management addresses, interface indexes.

use anyhow::{Context, Result};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

/// What every namespace of every lab begins with.
pub const PREFIX: &str = "bl-";
/// The interface of hosts and controllers on the management network; no topology may use it.
pub const MANAGEMENT_INTERFACE: &str = "mgmt0";
/// The interface of a controller on the network itself, under in-band management.
pub const FABRIC_INTERFACE: &str = "fab0";
/// First interface index of a link's ends; each link takes the next two, so that the two ends always differ: equal
/// ones delay carrier events by half a second.
const FIRST_INDEX: u32 = 100;

/// Six random letters and digits.
pub fn fresh_run_id() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 6];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// Namespace of a host, of a controller (`c1`) or of the management network (`mgmt`). Controllers and hosts cannot meet:
/// a host's name is behind `h-`.
pub fn netns(run_id: &str, member: Member<'_>) -> String {
    match member {
        Member::Host(name) => format!("{PREFIX}{run_id}-h-{name}"),
        Member::Controller(id) => format!("{PREFIX}{run_id}-c{id}"),
        Member::Management => format!("{PREFIX}{run_id}-mgmt"),
    }
}

/// What has a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Member<'a> {
    /// A node of the topology.
    Host(&'a str),
    /// A controller.
    Controller(u64),
    /// The management network's bridge.
    Management,
}

/// Interface indexes of the two ends of the `number`-th link.
pub fn indexes(number: u32) -> [u32; 2] {
    [FIRST_INDEX + 2 * number, FIRST_INDEX + 2 * number + 1]
}

/// Address of a controller on the management network (198.18.0.0/15 is for tests: RFC 2544).
pub fn controller_address(id: u64) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, u8::try_from(id).unwrap_or(u8::MAX))
}

/// Port of a node to a controller that the file names no port for.
pub fn port(id: u64) -> String {
    format!("ctl{id}")
}

/// Address of a controller under in-band management that the file does not ask for. Its node has the one before.
pub fn in_band_address(id: u64) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, u8::try_from(2 * id + 1).unwrap_or(u8::MAX))
}

/// Address of the `number`-th host on the management network.
pub fn host_address(number: u32) -> Ipv4Addr {
    let [.., high, low] = (256 + number + 1).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// Ports of REST listeners lie below the range from which the system takes ports of outgoing connections: a controller
/// that is started again must find its own port free.
const REST_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A listener on loopback: at `port`, or at a free one where it is 0. Labs begin to look at different places.
pub fn rest_listener(port: u16, run_id: &str) -> Result<TcpListener> {
    if port != 0 {
        return TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("port {port} on loopback"));
    }
    let [a, b, ..] = *blake3::hash(run_id.as_bytes()).as_bytes();
    let count = REST_PORTS.end - REST_PORTS.start;
    let begin = u16::from_be_bytes([a, b]) % count;
    let mut ports = (0..count).map(|at| REST_PORTS.start + (begin + at) % count);
    let free = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    free.context("no port from 20000 to 31999 is free on loopback")
}

/// Folder of all labs: `BALLAST_LAB_DIR`, else `/run/ballast-lab`.
pub fn base_folder() -> PathBuf {
    std::env::var_os("BALLAST_LAB_DIR").map_or_else(|| PathBuf::from("/run/ballast-lab"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_members_share_a_name_and_no_two_ends_an_index() {
        let names = [
            netns("ab", Member::Host("c1")),
            netns("ab", Member::Controller(1)),
            netns("ab", Member::Host("mgmt")),
            netns("ab", Member::Management),
        ];
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4, "{names:?}");
        let all: BTreeSet<u32> = (0..500).flat_map(indexes).collect();
        assert_eq!(all.len(), 1_000);
    }

    #[test]
    fn management_addresses_are_apart() {
        assert_eq!(controller_address(3), Ipv4Addr::new(198, 18, 0, 3));
        assert_eq!(host_address(0), Ipv4Addr::new(198, 18, 1, 1));
        assert_eq!(host_address(255), Ipv4Addr::new(198, 18, 2, 0));
    }

    #[test]
    fn two_controllers_find_two_ports_and_find_them_again() {
        let (first, second) = (rest_listener(0, "ab").unwrap(), rest_listener(0, "ab").unwrap());
        let port = first.local_addr().unwrap().port();
        assert_ne!(port, second.local_addr().unwrap().port());
        assert!(rest_listener(port, "ab").is_err());
        drop(first);
        assert_eq!(rest_listener(port, "ab").unwrap().local_addr().unwrap().port(), port);
    }

    #[test]
    fn run_ids_differ() {
        assert_ne!(fresh_run_id().unwrap(), fresh_run_id().unwrap());
    }
}
