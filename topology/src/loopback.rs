//! Loopback addresses from node names.
//!
//! A node's address depends on its own name and the range alone, so adding or removing a node changes no
//! other node's address. Never falls back to another address by itself: that would depend on who else is there.

use crate::address;
use crate::diagnostic::{Code, Problems, quote};
use crate::raw::RawNode;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The address of the node called `name` in `range`: the first 16 bytes of the name's BLAKE3 hash, as one
/// big-endian number, modulo the number of usable addresses.
pub(crate) fn hashed(name: &str, range: &IpNetwork) -> IpAddr {
    let (first, usable) = usable(range);
    let hash = blake3::hash(name.as_bytes());
    let number = hash.as_bytes()[..16].iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    address::from_number(range, first + number % usable)
}

/// The first usable address of a range and how many there are: without the range's own address, and in
/// IPv4 without the broadcast address.
fn usable(range: &IpNetwork) -> (u128, u128) {
    let (first, last) = address::bounds(range);
    let kept = if range.is_ipv4() { 2 } else { 1 };
    (first + 1, (last - first).saturating_add(1).saturating_sub(kept).max(1))
}

/// One family's addresses of all nodes; nodes whose pin or hash is already taken are reported.
/// `nodes` are sorted by name. Without a range, only pinned nodes get an address.
pub(crate) fn assign(
    nodes: &[RawNode],
    range: Option<&IpNetwork>,
    ipv4: bool,
    problems: &mut Problems,
) -> Vec<Option<IpAddr>> {
    let pins: Vec<_> =
        nodes.iter().map(|node| node.loopbacks.iter().find(|pin| pin.value.is_ipv4() == ipv4)).collect();
    let mut owners: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut clashes = Vec::new();
    let mut assigned = vec![None; nodes.len()];
    // Pins first: a pin is meant, a hash is chance.
    for pinned in [true, false] {
        for (at, node) in nodes.iter().enumerate().filter(|(at, _)| pins[*at].is_some() == pinned) {
            let wanted =
                pins[at].map(|pin| pin.value).or_else(|| range.map(|range| hashed(&node.name.value, range)));
            let Some(wanted) = wanted else { continue };
            assigned[at] = Some(wanted);
            match owners.get(&wanted) {
                Some(owner) => clashes.push((at, *owner, wanted)),
                None => {
                    owners.insert(wanted, at);
                }
            }
        }
    }
    let mut free = Free { owners: &owners, range, passed: 0 };
    for (at, owner, address) in clashes {
        let (one, other) = (&nodes[at].name, &nodes[owner].name);
        let place = pins[at].map_or(one.place, |pin| pin.place);
        let (quoted_one, quoted_other) = (quote(&one.value), quote(&other.value));
        let message = format!(
            "the nodes {quoted_other} ({}) and {quoted_one} both have the loopback {address}: packets to one would reach the other",
            problems.line(other.place, place)
        );
        let help = match free.next() {
            Some(free) if pins[at].is_some() => format!("replace it by a free address, for example {free}"),
            Some(free) => {
                let others = nodes[at].loopbacks.iter().map(|pin| format!(", {}", pin.value));
                format!(
                    "pin a free address at {quoted_one}: `loopbacks: [{free}{}]`",
                    others.collect::<String>()
                )
            }
            None => "widen the range in `addressing.loopbacks`: it has no free address".to_owned(),
        };
        problems.error(Code::LOOPBACK_CLASH, place, message, help);
    }
    assigned
}

/// Free addresses of a range from below, each once.
struct Free<'a> {
    owners: &'a BTreeMap<IpAddr, usize>,
    range: Option<&'a IpNetwork>,
    /// Addresses from the range's start that are taken or were given out.
    passed: u128,
}

impl Free<'_> {
    fn next(&mut self) -> Option<IpAddr> {
        let range = self.range?;
        let (first, usable) = usable(range);
        while self.passed < usable {
            let address = address::from_number(range, first + self.passed);
            self.passed += 1;
            if !self.owners.contains_key(&address) {
                return Some(address);
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopbacks_never_change_between_versions() {
        // The empty name's hash is the first published test vector of BLAKE3: 0xaf1349b9f5f9a1a6a0404dea36dcc949...
        for (name, range, wanted) in [
            ("", "10.255.0.0/16", "10.255.67.30"),
            ("", "fd00:ba11::/64", "fd00:ba11::4f53:97a4:2cd6:6af1"),
            ("seattle", "10.255.0.0/16", "10.255.234.179"),
        ] {
            assert_eq!(hashed(name, &address::cidr(range).unwrap()).to_string(), wanted, "{name} {range}");
        }
    }

    #[test]
    fn loopbacks_are_never_the_first_or_last_address_of_a_small_range() {
        let range = address::cidr("10.0.0.4/30").unwrap();
        let found: std::collections::BTreeSet<String> =
            (0..100).map(|number| hashed(&format!("n{number}"), &range).to_string()).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["10.0.0.5", "10.0.0.6"]);
    }
}
