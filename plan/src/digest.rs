//! BLAKE3 over a tree: a small change of a program rehashes a small part.
//!
//! ```text
//! program  = H(program, table, host)
//! host     = H(host, name, settings, sources, nexthops, groups, classes)   each section a digest of its own
//! table    = H(table, class names, block 0, ..., block 255)
//! block    = H(block, entries of the prefixes whose own hash begins with the block's number)
//! ```
//!
//! `H(domain, ...)` is BLAKE3 in its key derivation mode with `"ballast <domain> v1"` as context, so a
//! digest of one kind is never one of another kind. What is hashed is written canonically: integers are
//! big endian and of fixed width; texts and lists carry their length as `u32` in front; an optional value
//! is one byte (0 or 1) and then the value; an address is its family (4 or 6) and its bytes; a prefix is
//! its address and its length in one byte; a map is the list of its pairs, sorted by key. Lists are in the
//! order of the program, which is sorted. Two values give the same bytes only when they are equal.

use crate::program::{Group, Member, Nexthop, Settings};
use crate::{PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// 32 bytes of BLAKE3; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct NotADigest;

impl Digest {
    /// The first 12 digits: enough for a person to tell two digests apart.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        blake3::Hash::from_hex(text).map(|hash| Digest(*hash.as_bytes())).map_err(|_| NotADigest)
    }
}

/// Number of blocks of the prefix table. With 10,000 prefixes one changed prefix rehashes about 40.
const TABLE_BLOCKS: usize = 256;

/// Canonical bytes, see the module's header.
struct Encoder {
    domain: &'static str,
    bytes: Vec<u8>,
}

impl Encoder {
    /// `domain` is the whole context of the hash.
    fn new(domain: &'static str) -> Encoder {
        Encoder { domain, bytes: Vec::new() }
    }

    fn number(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        // Files are limited to 16 MB and hosts to what they name: no list comes near 2^32 entries.
        self.number(u32::try_from(length).expect("a list has fewer than 2^32 entries"));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.bytes.push(4);
                self.bytes.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.bytes.push(6);
                self.bytes.extend_from_slice(&address.octets());
            }
        }
    }

    fn network(&mut self, network: &IpNetwork) {
        self.address(network.ip());
        self.bytes.push(network.prefix());
    }

    fn optional_address(&mut self, address: Option<IpAddr>) {
        self.bytes.push(u8::from(address.is_some()));
        if let Some(address) = address {
            self.address(address);
        }
    }

    fn digest(&mut self, digest: Digest) {
        self.bytes.extend_from_slice(&digest.0);
    }

    fn finish(self) -> Digest {
        Digest(blake3::derive_key(self.domain, &self.bytes))
    }
}

/// What a nexthop's id is made from.
pub(crate) fn of_next_hop(interface: &str, gateway: IpAddr) -> Digest {
    let mut encoder = Encoder::new("ballast nexthop id v1");
    encoder.text(interface);
    encoder.address(gateway);
    encoder.finish()
}

/// What a group's id is made from.
pub(crate) fn of_members(members: &[Member]) -> Digest {
    let mut encoder = Encoder::new("ballast group id v1");
    encode_members(&mut encoder, members);
    encoder.finish()
}

fn encode_members(encoder: &mut Encoder, members: &[Member]) {
    encoder.length(members.len());
    for member in members {
        encoder.number(member.nexthop);
        encoder.number(u32::from(member.weight));
    }
}

/// Digest of a prefix table.
pub(crate) fn of_table(table: &PrefixTable) -> Digest {
    let mut blocks: Vec<Encoder> = (0..TABLE_BLOCKS).map(|_| Encoder::new("ballast block v1")).collect();
    for (prefix, class) in &table.entries {
        let mut entry = Encoder::new("ballast prefix v1");
        entry.network(prefix);
        // Plain BLAKE3 is enough to spread prefixes: the block's number is in no digest's domain.
        let block = &mut blocks[usize::from(blake3::hash(&entry.bytes).as_bytes()[0])];
        block.bytes.extend_from_slice(&entry.bytes);
        block.number(class.0);
    }
    let mut classes = Encoder::new("ballast class names v1");
    classes.length(table.classes.len());
    for class in &table.classes {
        classes.number(class.id.0);
        classes.text(&class.name);
    }
    let mut whole = Encoder::new("ballast table v1");
    whole.digest(classes.finish());
    for block in blocks {
        whole.digest(block.finish());
    }
    whole.finish()
}

/// Digest of a program over the table with the digest `table`.
pub(crate) fn of_program(program: &Program, table: Digest) -> Digest {
    let mut whole = Encoder::new("ballast program v1");
    whole.digest(table);
    whole.digest(of_host(program));
    whole.finish()
}

fn of_host(program: &Program) -> Digest {
    let mut sources = Encoder::new("ballast preferred sources v1");
    sources.optional_address(program.preferred_source_v4.map(IpAddr::V4));
    sources.optional_address(program.preferred_source_v6.map(IpAddr::V6));
    let mut classes = Encoder::new("ballast class routes v1");
    classes.length(program.classes.len());
    for route in &program.classes {
        for number in [route.class.0, route.metric, route.table, route.group] {
            classes.number(number);
        }
    }
    let mut host = Encoder::new("ballast host v1");
    host.text(&program.host);
    for section in [
        of_settings(&program.settings),
        sources.finish(),
        of_nexthops(&program.nexthops),
        of_groups(&program.groups),
        classes.finish(),
    ] {
        host.digest(section);
    }
    host.finish()
}

fn of_settings(settings: &Settings) -> Digest {
    let mut encoder = Encoder::new("ballast settings v1");
    encoder.length(settings.sysctls.len());
    for (name, value) in &settings.sysctls {
        encoder.text(name);
        encoder.text(value);
    }
    encoder.length(settings.mtus.len());
    for (interface, mtu_bytes) in &settings.mtus {
        encoder.text(interface);
        encoder.number(*mtu_bytes);
    }
    encoder.length(settings.addresses.len());
    for address in &settings.addresses {
        encoder.text(&address.interface);
        encoder.network(&address.address);
    }
    encoder.length(settings.neighbours.len());
    for neighbour in &settings.neighbours {
        encoder.text(&neighbour.interface);
        encoder.address(neighbour.address);
    }
    encoder.finish()
}

fn of_nexthops(nexthops: &[Nexthop]) -> Digest {
    let mut encoder = Encoder::new("ballast nexthops v1");
    encoder.length(nexthops.len());
    for nexthop in nexthops {
        encoder.number(nexthop.id);
        encoder.text(&nexthop.interface);
        encoder.address(nexthop.gateway);
    }
    encoder.finish()
}

fn of_groups(groups: &[Group]) -> Digest {
    let mut encoder = Encoder::new("ballast groups v1");
    encoder.length(groups.len());
    for group in groups {
        encoder.number(group.id);
        encode_members(&mut encoder, &group.members);
    }
    encoder.finish()
}

/// Digest of a plan: what the hosts run, what they shall run, and in which steps.
pub(crate) fn of_plan<'a>(
    running: impl ExactSizeIterator<Item = (&'a String, &'a Digest)>,
    wanted: impl ExactSizeIterator<Item = (&'a String, &'a Digest)>,
    steps: &[crate::steps::Step],
) -> Digest {
    let mut encoder = Encoder::new("ballast plan v1");
    let digests = |encoder: &mut Encoder, (host, digest): (&String, &Digest)| {
        encoder.text(host);
        encoder.digest(*digest);
    };
    encoder.length(running.len());
    running.for_each(|pair| digests(&mut encoder, pair));
    encoder.length(wanted.len());
    wanted.for_each(|pair| digests(&mut encoder, pair));
    encoder.length(steps.len());
    for step in steps {
        encoder.bytes.extend_from_slice(&step.bake_ms.to_be_bytes());
        encoder.length(step.hosts.len());
        step.hosts.iter().for_each(|host| encoder.text(host));
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::topology;
    use crate::{Facts, compile};
    use std::collections::BTreeSet;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let digest = Digest(*blake3::hash(b"x").as_bytes());
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().starts_with(&digest.short()));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest));
        }
    }

    /// Digests outlive a version: agents and logs keep them, so the canonical bytes are final.
    #[test]
    fn never_changes_for_a_program_that_stays() {
        let network = compile(&topology("a-b 1, b-c 1, a-c 5"), &Facts::default());
        insta::assert_snapshot!(format!("table {}\na {}", network.table_digest, network.digests[0]));
    }

    /// Each field on its own must show; `change` makes one edit.
    #[test]
    fn tells_every_field() {
        let network = compile(&topology("a-b 1, b-c 1, a-c 5"), &Facts::default());
        let edits: Vec<fn(&mut Program)> = vec![
            |program| program.host.push('x'),
            |program| {
                program.settings.sysctls.insert("net.x".into(), "1".into());
            },
            |program| {
                program.settings.sysctls.insert("net.x".into(), "2".into());
            },
            |program| {
                program.settings.mtus.insert("eth1".into(), 9000);
            },
            |program| {
                program.settings.mtus.insert("eth1".into(), 9001);
            },
            |program| {
                program.settings.addresses.pop();
            },
            |program| program.settings.addresses[0].interface.push('x'),
            |program| {
                program.settings.neighbours.pop();
            },
            |program| program.settings.neighbours[0].interface.push('x'),
            |program| program.preferred_source_v4 = None,
            |program| program.preferred_source_v6 = None,
            |program| {
                program.nexthops.pop();
            },
            |program| program.nexthops[0].id += 1,
            |program| program.nexthops[0].interface.push('x'),
            |program| program.nexthops[0].gateway = "fe80::3".parse().unwrap(),
            |program| {
                program.groups.pop();
            },
            |program| program.groups[0].id += 1,
            |program| program.groups[0].members[0].nexthop += 1,
            |program| program.groups[0].members[0].weight = 2,
            |program| {
                program.classes.pop();
            },
            |program| program.classes[0].class.0 ^= 1,
            |program| program.classes[0].metric += 1,
            |program| program.classes[0].table += 1,
            |program| program.classes[0].group += 1,
        ];
        let mut digests: BTreeSet<Digest> = [network.digests[0]].into();
        digests.insert(network.programs[0].digest(Digest([0; 32])));
        for edit in &edits {
            let mut program = (*network.programs[0]).clone();
            edit(&mut program);
            digests.insert(program.digest(network.table_digest));
        }
        assert_eq!(digests.len(), edits.len() + 2);
    }

    #[test]
    fn tells_every_entry_of_the_table() {
        let table = (*compile(&topology("a-b 1, b-c 1"), &Facts::default()).table).clone();
        let edits: Vec<fn(&mut PrefixTable)> = vec![
            |_| (),
            |table| {
                table.entries.pop();
            },
            |table| {
                table.entries.remove(0);
            },
            |table| table.entries[0].1 = table.entries[1].1,
            |table| table.entries[0].0 = "10.99.0.0/24".parse().unwrap(),
            |table| table.classes[0].name.push('x'),
            |table| {
                table.classes.pop();
            },
        ];
        let digest = |edit: &fn(&mut PrefixTable)| {
            let mut table = table.clone();
            edit(&mut table);
            table.digest()
        };
        assert_eq!(edits.iter().map(digest).collect::<BTreeSet<_>>().len(), edits.len());
    }
}
