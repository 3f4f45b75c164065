//! BLAKE3 over a tree: a small change of a program rehashes a small part.
//!
//! ```text
//! program  = H(program, table, host)
//! host     = H(host, name, settings, sources, nexthops, groups, classes)   each section a digest of its own
//!            and, where a program has any of it, H(extensions, encapsulations, group options, rules, discards,
//!            local segments, VXLAN links, liveness): a program without them has the digest that it always had
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

use crate::program::{
    Behaviour, Discard, DiscardKind, Encapsulation, Group, LocalSegment, Member, Nexthop, Resilient,
    Settings, Vxlan,
};
use crate::{PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
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

    fn encapsulation(&mut self, encapsulation: &Encapsulation) {
        let Encapsulation::Seg6 { segments } = encapsulation;
        self.bytes.push(1);
        self.length(segments.len());
        segments.iter().for_each(|segment| self.address(IpAddr::V6(*segment)));
    }

    fn group_options(&mut self, resilient: Option<Resilient>, route_mtu_bytes: u32) {
        self.bytes.push(u8::from(resilient.is_some()));
        if let Some(Resilient { buckets, idle_timer_ms, unbalanced_timer_ms }) = resilient {
            self.number(u32::from(buckets));
            self.number(idle_timer_ms);
            self.number(unbalanced_timer_ms);
        }
        self.number(route_mtu_bytes);
    }

    fn discard(&mut self, discard: &Discard) {
        self.number(discard.table);
        self.network(&discard.prefix);
        self.number(discard.metric);
        self.bytes.push(match discard.kind {
            DiscardKind::Blackhole => 1,
            DiscardKind::Unreachable => 2,
        });
    }

    fn local_segment(&mut self, segment: &LocalSegment) {
        self.address(IpAddr::V6(segment.segment));
        self.text(&segment.interface);
        match &segment.behaviour {
            Behaviour::End => self.bytes.push(1),
            Behaviour::EndX { interface, next_hop } => {
                self.bytes.push(2);
                self.text(interface);
                self.address(IpAddr::V6(*next_hop));
            }
            Behaviour::EndDx4 { next_hop } => {
                self.bytes.push(3);
                self.address(IpAddr::V4(*next_hop));
            }
            Behaviour::EndDx6 { next_hop } => {
                self.bytes.push(4);
                self.address(IpAddr::V6(*next_hop));
            }
            Behaviour::EndDt6 { table } => {
                self.bytes.push(5);
                self.number(*table);
            }
        }
    }

    fn vxlan(&mut self, vxlan: &Vxlan) {
        let Vxlan { name, vni, local, port, mac, mtu_bytes, forwarding, neighbours } = vxlan;
        self.text(name);
        self.number(*vni);
        self.address(*local);
        self.number(u32::from(*port));
        self.bytes.extend_from_slice(mac);
        self.number(*mtu_bytes);
        self.length(forwarding.len());
        for entry in forwarding {
            self.bytes.extend_from_slice(&entry.mac);
            self.address(entry.remote);
        }
        self.length(neighbours.len());
        for entry in neighbours {
            self.address(entry.address);
            self.bytes.extend_from_slice(&entry.mac);
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
pub(crate) fn of_next_hop(interface: &str, gateway: IpAddr, encapsulation: Option<&Encapsulation>) -> Digest {
    let mut encoder = Encoder::new("ballast nexthop id v1");
    encoder.text(interface);
    encoder.address(gateway);
    if let Some(encapsulation) = encapsulation {
        encoder.encapsulation(encapsulation);
    }
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
    if let Some(extensions) = of_extensions(program) {
        host.digest(extensions);
    }
    host.finish()
}

/// What programs have had since version 0.2; `None` when a program has none of it.
fn of_extensions(program: &Program) -> Option<Digest> {
    let Program { nexthops, groups, rules, discards, local_segments, vxlans, .. } = program;
    let liveness = &program.settings.liveness;
    let wrapped: Vec<(u32, &Encapsulation)> =
        nexthops.iter().filter_map(|nexthop| Some((nexthop.id, nexthop.encapsulation.as_ref()?))).collect();
    let special: Vec<&Group> = groups.iter().filter(|group| !has_no_options(group)).collect();
    let is_empty = wrapped.is_empty() && special.is_empty() && rules.is_empty() && discards.is_empty();
    if is_empty && local_segments.is_empty() && vxlans.is_empty() && liveness.is_empty() {
        return None;
    }
    let mut encoder = Encoder::new("ballast extensions v1");
    encoder.length(wrapped.len());
    for (id, encapsulation) in wrapped {
        encoder.number(id);
        encoder.encapsulation(encapsulation);
    }
    encoder.length(special.len());
    for group in special {
        encoder.number(group.id);
        encoder.group_options(group.resilient, group.route_mtu_bytes.map_or(0, NonZeroU32::get));
    }
    encoder.length(rules.len());
    for rule in rules {
        encoder.number(rule.priority);
        encoder.text(&rule.incoming_interface);
        encoder.number(rule.table);
    }
    encoder.length(discards.len());
    discards.iter().for_each(|discard| encoder.discard(discard));
    encoder.length(local_segments.len());
    local_segments.iter().for_each(|segment| encoder.local_segment(segment));
    encoder.length(vxlans.len());
    vxlans.iter().for_each(|vxlan| encoder.vxlan(vxlan));
    encoder.length(liveness.len());
    for liveness in liveness {
        encoder.text(&liveness.interface);
        encoder.number(liveness.interval_ms);
        encoder.number(u32::from(liveness.multiplier));
    }
    Some(encoder.finish())
}

fn has_no_options(group: &Group) -> bool {
    group.resilient.is_none() && group.route_mtu_bytes.is_none()
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
    use crate::program::{Liveness, Rule, VxlanForwarding, VxlanNeighbour};
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

    fn seg6(segment: &str) -> Encapsulation {
        Encapsulation::Seg6 { segments: vec![segment.parse().unwrap()] }
    }

    fn rule(interface: &str, table: u32) -> Rule {
        Rule { priority: 9_100, incoming_interface: interface.to_string(), table }
    }

    fn discard(kind: DiscardKind) -> Discard {
        Discard { table: 254, prefix: "10.0.0.0/8".parse().unwrap(), metric: 1000, kind }
    }

    fn segment(behaviour: Behaviour) -> LocalSegment {
        LocalSegment { segment: "fd00::1".parse().unwrap(), interface: "eth1".to_string(), behaviour }
    }

    fn vxlan() -> Vxlan {
        let address = "10.255.0.2".parse().unwrap();
        Vxlan {
            name: "blx7".to_string(),
            vni: 7,
            local: "10.255.0.1".parse().unwrap(),
            port: 4789,
            mac: [2; 6],
            mtu_bytes: 1450,
            forwarding: vec![VxlanForwarding { mac: [4; 6], remote: address }],
            neighbours: vec![VxlanNeighbour { address, mac: [4; 6] }],
        }
    }

    fn liveness(multiplier: u8) -> Liveness {
        Liveness { interface: "eth1".to_string(), interval_ms: 300, multiplier }
    }

    /// Each field on its own must show; each edit changes one.
    #[test]
    fn tells_every_field() {
        let network = compile(&topology("a-b 1, b-c 1, a-c 5"), &Facts::default());
        let edits = [FIELDS, FIELDS_OF_LATER_KINDS].concat();
        let mut digests: BTreeSet<Digest> = [network.digests[0]].into();
        digests.insert(network.programs[0].digest(Digest([0; 32])));
        for edit in &edits {
            let mut program = (*network.programs[0]).clone();
            edit(&mut program);
            digests.insert(program.digest(network.table_digest));
        }
        assert_eq!(digests.len(), edits.len() + 2);
    }

    const FIELDS: &[fn(&mut Program)] = &[
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

    const FIELDS_OF_LATER_KINDS: &[fn(&mut Program)] = &[
        |program| program.nexthops[0].encapsulation = Some(seg6("fd00::1")),
        |program| program.nexthops[0].encapsulation = Some(seg6("fd00::2")),
        |program| {
            program.groups[0].resilient =
                Some(Resilient { buckets: 32, idle_timer_ms: 0, unbalanced_timer_ms: 0 });
        },
        |program| {
            program.groups[0].resilient =
                Some(Resilient { buckets: 32, idle_timer_ms: 0, unbalanced_timer_ms: 1 });
        },
        |program| program.groups[0].route_mtu_bytes = NonZeroU32::new(1400),
        |program| program.rules.push(rule("eth1", 91_000)),
        |program| program.rules.push(rule("eth2", 91_000)),
        |program| program.rules.push(rule("eth1", 91_001)),
        |program| program.discards.push(discard(DiscardKind::Blackhole)),
        |program| program.discards.push(discard(DiscardKind::Unreachable)),
        |program| program.local_segments.push(segment(Behaviour::End)),
        |program| {
            program.local_segments.push(segment(Behaviour::EndDx4 { next_hop: [0; 4].into() }));
        },
        |program| {
            program.local_segments.push(segment(Behaviour::EndDx6 { next_hop: [0; 16].into() }));
        },
        |program| program.local_segments.push(segment(Behaviour::EndDt6 { table: 254 })),
        |program| {
            let interface = "eth1".to_string();
            let next_hop = "fe80::2".parse().unwrap();
            program.local_segments.push(segment(Behaviour::EndX { interface, next_hop }));
        },
        |program| program.vxlans.push(vxlan()),
        |program| program.vxlans.push(Vxlan { vni: 8, ..vxlan() }),
        |program| program.vxlans.push(Vxlan { forwarding: Vec::new(), ..vxlan() }),
        |program| program.vxlans.push(Vxlan { neighbours: Vec::new(), ..vxlan() }),
        |program| program.settings.liveness.push(liveness(3)),
        |program| program.settings.liveness.push(liveness(4)),
    ];

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
