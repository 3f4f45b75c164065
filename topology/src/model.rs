//! The checked network: what `read` gives and every later stage trusts.
//!
//! Fields are sorted (nodes by name, links by id, zones by name), every reference resolves, prefixes
//! have no host bits set. Two files that say the same in another order give equal values: lines in the
//! file are kept for explanations but take no part in equality.

use crate::suggest::Suggester;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Position of a node in [`Topology::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u32);

/// Position of a link in [`Topology::links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// Position of a zone in [`Topology::zones`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneIndex(pub u32);

/// Controllers that each host shall reach under in-band management.
pub const CONTROLLERS_IN_REACH: usize = 2;

/// Name of a Linux interface: 1 to 15 bytes, no `/`, no white space, no colon.
pub type InterfaceName = String;

/// One checked topology file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The network's name, as in the file.
    pub name: String,
    /// How agents reach controllers.
    pub management: Management,
    /// Where controllers are, sorted by id: at least one under [`Management::InBand`], else none.
    pub controllers: Vec<Controller>,
    /// Where loopback addresses come from.
    pub addressing: Addressing,
    /// Failure domains, sorted by name.
    pub zones: Vec<Zone>,
    /// Nodes, sorted by name.
    pub nodes: Vec<Node>,
    /// Links, sorted by [`Link::id`].
    pub links: Vec<Link>,
    /// Bundles of parallel links, sorted by name.
    pub link_groups: Vec<LinkGroup>,
    /// Ways out of the network, sorted by node, interface and family (IPv4 first).
    pub external: Vec<External>,
    /// Expected traffic, sorted by (from, to, rate); a pair may occur more than once.
    pub demands: Vec<Demand>,
    /// What must hold in every state, sorted by rule and selectors.
    pub invariants: Vec<Invariant>,
    /// Whether equal-cost next hops share the flows by their links' capacities.
    pub weigh_by_capacity: bool,
    /// Budgets for changes.
    pub safety: Safety,
    /// Which files the lines in here are of.
    pub sources: Sources,
}

/// The files of a network. Lines in the model count on from file to file, as in the one text that
/// [`crate::join`] makes of them. Takes no part in equality, as lines do not.
#[derive(Clone, Debug, Default, Eq)]
pub struct Sources {
    /// Names, with the number of lines before each file; sorted by that.
    pub(crate) files: Vec<(String, u32)>,
}

impl PartialEq for Sources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Sources {
    /// All files, with the number of lines before each; sorted by that.
    pub fn files(&self) -> &[(String, u32)] {
        &self.files
    }

    /// The file that holds this line of the model, and the line's number in it, from 1; nothing in a network
    /// that was not read.
    pub fn place(&self, line: u32) -> Option<(&str, u32)> {
        let (name, before) = self.files.iter().rev().find(|(_, before)| *before < line)?;
        Some((name, line - before))
    }
}

/// How agents reach controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// A network of its own that no program touches.
    Separate,
    /// The network itself: every program has routes to all controllers.
    InBand,
}

/// Where a controller is. Equality leaves [`Controller::line`] out.
#[derive(Clone, Debug, Eq)]
pub struct Controller {
    /// Its number in the cluster.
    pub id: u64,
    /// The node that it is behind, or runs on.
    pub node: NodeIndex,
    /// Where it is reached.
    pub address: IpAddr,
    /// The node's port to it, where Ballast makes the last hop.
    pub interface: Option<InterfaceName>,
    /// Line of the entry, from 1, as [`Topology::sources`] counts.
    pub line: u32,
}

impl PartialEq for Controller {
    fn eq(&self, other: &Self) -> bool {
        let Controller { id, node, address, interface, line: _ } = self;
        (id, node, address, interface) == (&other.id, &other.node, &other.address, &other.interface)
    }
}

impl Controller {
    /// What other hosts have a route to: the address alone or, with a port, the two addresses of the link between node and
    /// controller (RFC 3021, RFC 6164).
    pub fn prefix(&self) -> IpNetwork {
        let all = IpNetwork::from(self.address);
        match self.interface {
            None => all,
            Some(_) => crate::address::canonical(&with_length(self.address, all.prefix() - 1)),
        }
    }

    /// The node's own address on its port to the controller, with the link's length.
    pub fn port_address(&self) -> Option<IpNetwork> {
        self.interface.as_ref()?;
        let other = match self.address {
            IpAddr::V4(address) => IpAddr::from((u32::from(address) ^ 1).to_be_bytes()),
            IpAddr::V6(address) => IpAddr::from((u128::from(address) ^ 1).to_be_bytes()),
        };
        Some(with_length(other, IpNetwork::from(other).prefix() - 1))
    }
}

fn with_length(address: IpAddr, bits: u8) -> IpNetwork {
    IpNetwork::new(address, bits).expect("one bit less than all of an address is a prefix length")
}

/// Prefixes from which loopbacks are taken by the hash of the node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressing {
    /// At most one IPv4 and one IPv6 prefix, IPv4 first.
    pub loopbacks: Vec<IpNetwork>,
}

/// A failure domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Unique name.
    pub name: String,
}

/// A host that runs an agent. Equality leaves [`Node::line`] out.
#[derive(Clone, Debug, Eq)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// Failure domain, when the file names one.
    pub zone: Option<ZoneIndex>,
    /// Loopback addresses: at most one per family, IPv4 first.
    pub loopbacks: Vec<IpAddr>,
    /// Prefixes behind this node, sorted. Another node may have the same prefix (anycast), never an
    /// overlapping one.
    pub prefixes: Vec<IpNetwork>,
    /// Who answers for a prefix, where the file names somebody.
    pub prefix_owners: BTreeMap<IpNetwork, String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Whether transit traffic shall avoid the node while any other way is left.
    pub drained: bool,
    /// Where it stands, for pictures.
    pub location: Option<Location>,
    /// Line of the node, from 1, as [`Topology::sources`] counts: shown where an explanation points back.
    pub line: u32,
}

/// A point-to-point link. Equality leaves [`Link::line`] out.
#[derive(Clone, Debug, Eq)]
pub struct Link {
    /// `"a:eth1--b:eth2"`: the two endpoints, sorted as text.
    pub id: String,
    /// The two ends, sorted as their `node:interface` text.
    pub ends: [End; 2],
    /// Capacity in bits per second, when the file states one.
    pub capacity_bps: Option<u64>,
    /// One-way latency in microseconds, when the file states one.
    pub latency_us: Option<u64>,
    /// MTU in bytes, when the file states one.
    pub mtu_bytes: Option<u32>,
    /// How each end finds out that the other one is dead; `None`: by carrier alone.
    pub liveness: Option<Liveness>,
    /// Shared-risk link groups (RFC 4202, section 2.3): names of what fails together, sorted.
    pub srlgs: Vec<String>,
    /// Affinity labels (administrative groups, RFC 7308), sorted.
    pub affinity: Vec<String>,
    /// Name of the bundle that the link belongs to.
    pub group: Option<String>,
    /// Whether traffic shall avoid the link while any other way is left.
    pub drained: bool,
    /// Line of the link, from 1, as [`Topology::sources`] counts.
    pub line: u32,
}

/// Packets between the two ends of a link that prove each alive to the other (BFD, RFC 5880).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Between two packets, in both directions, in milliseconds.
    pub interval_ms: u32,
    /// So many packets in a row may be missed.
    pub multiplier: u8,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The node that owns the interface.
    pub node: NodeIndex,
    /// The interface's name on that node.
    pub interface: InterfaceName,
    /// Cost of sending out of this end, from 1.
    pub cost: u32,
    /// Link-local address that Ballast gives this end: `fe80::1` on the first, `fe80::2` on the second.
    pub link_local: Ipv6Addr,
    /// Numbered addresses with their prefix length, sorted; empty on an unnumbered link.
    pub addresses: Vec<IpNetwork>,
}

/// A place on the earth (WGS 84), in millionths of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Positive to the north; -90,000,000 to 90,000,000.
    pub latitude_microdegrees: i32,
    /// Positive to the east; -180,000,000 to 180,000,000.
    pub longitude_microdegrees: i32,
}

/// Parallel links between the same two nodes that stand or fall as one (a link aggregation group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkGroup {
    /// Unique name.
    pub name: String,
    /// With fewer living links than this, traffic avoids the rest as if they were drained; from 1.
    pub min_links: u32,
}

/// A way out of the network: a gateway behind an interface that is no link. An interface has at most one for
/// each family. Equality leaves
/// [`External::line`] out.
#[derive(Clone, Debug, Eq)]
pub struct External {
    /// The node with the uplink. It attracts the prefixes while the uplink is up.
    pub node: NodeIndex,
    /// The uplink. In facts it is called `node:interface`.
    pub interface: InterfaceName,
    /// Where packets go; of the family of the prefixes.
    pub next_hop: IpAddr,
    /// What is reached through it, sorted; all of one family.
    pub prefixes: Vec<IpNetwork>,
    /// Line of the entry, from 1, as [`Topology::sources`] counts.
    pub line: u32,
}

/// Expected traffic between two nodes. Equality leaves [`Demand::line`] out.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Demand {
    /// Where it enters.
    pub from: NodeIndex,
    /// Where it leaves.
    pub to: NodeIndex,
    /// Bits per second.
    pub rate_bps: u64,
    /// Line of the entry, from 1, as [`Topology::sources`] counts.
    pub line: u32,
}

/// What must hold in every state of the network. Equality leaves [`Invariant::line`] out.
#[derive(Clone, Debug, Eq)]
pub struct Invariant {
    /// Sources.
    pub from: Selector,
    /// Destinations; a node that is in both is no pair with itself.
    pub to: Selector,
    /// What must hold for each pair.
    pub rule: InvariantRule,
    /// Line of the entry, from 1, as [`Topology::sources`] counts.
    pub line: u32,
}

/// A set of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// As written: `any`, a node's name, `zone:NAME` or `label:KEY=VALUE`.
    pub text: String,
    /// The nodes that it stands for, sorted; never empty.
    pub nodes: Vec<NodeIndex>,
}

/// What must hold for a pair of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvariantRule {
    /// Packets arrive, on every equal path.
    Reach,
    /// No packet arrives.
    Isolate,
    /// Every path passes one of these nodes.
    Waypoint(Selector),
    /// No path is longer than this number of links.
    MaxHops(u32),
    /// No path takes longer, one way, in microseconds; links without a latency count 0.
    MaxLatencyUs(u64),
    /// Every link of every path carries IP packets of this size, in bytes.
    MinMtuBytes(u32),
}

/// Which way over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From `ends[0]` to `ends[1]`.
    Forward,
    /// From `ends[1]` to `ends[0]`.
    Backward,
}

/// A budget as a share of a whole, or as a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Hundredths: `Percent(25)` is `25%`; 0 to 100.
    Percent(u32),
    /// An absolute number.
    Count(u32),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart, so that a new field cannot be forgotten here.
        let Node { name, zone, loopbacks, prefixes, prefix_owners, labels, drained, location, line: _ } =
            self;
        (name, zone, loopbacks, prefixes) == (&other.name, &other.zone, &other.loopbacks, &other.prefixes)
            && (prefix_owners, labels) == (&other.prefix_owners, &other.labels)
            && (*drained, *location) == (other.drained, other.location)
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        let Link {
            id,
            ends,
            capacity_bps,
            latency_us,
            mtu_bytes,
            liveness,
            srlgs,
            affinity,
            group,
            drained,
            line: _,
        } = self;
        (id, ends, capacity_bps, latency_us, mtu_bytes)
            == (&other.id, &other.ends, &other.capacity_bps, &other.latency_us, &other.mtu_bytes)
            && *liveness == other.liveness
            && (srlgs, affinity, group, *drained)
                == (&other.srlgs, &other.affinity, &other.group, other.drained)
    }
}

impl PartialEq for External {
    fn eq(&self, other: &Self) -> bool {
        let External { node, interface, next_hop, prefixes, line: _ } = self;
        (node, interface, next_hop, prefixes)
            == (&other.node, &other.interface, &other.next_hop, &other.prefixes)
    }
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        let Demand { from, to, rate_bps, line: _ } = self;
        (from, to, rate_bps) == (&other.from, &other.to, &other.rate_bps)
    }
}

impl PartialEq for Invariant {
    fn eq(&self, other: &Self) -> bool {
        let Invariant { from, to, rule, line: _ } = self;
        (from, to, rule) == (&other.from, &other.to, &other.rule)
    }
}

impl Share {
    /// The largest number of `total` things that the share allows, rounded down.
    pub fn of(self, total: usize) -> usize {
        match self {
            Share::Percent(percent) => total.saturating_mul(percent as usize) / 100,
            Share::Count(count) => count as usize,
        }
    }
}

/// Budgets of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Bound of each step's size, never below one host; default 25 %.
    pub max_hosts_per_step: Share,
    /// Prefixes that a change may remove from the network; default 0.
    pub max_prefixes_lost: Share,
    /// Pause between a step's last acknowledgement and the next step, in milliseconds; default 10 s.
    pub bake_ms: u64,
    /// How long a returned link must stay up before it is believed, in milliseconds; default 2 s.
    pub link_up_hold_ms: u64,
    /// Highest load of a link under the demands, in hundredths of its capacity; nothing: not checked.
    pub max_link_load_percent: Option<u32>,
    /// Hosts of the first step of a change; nothing: no step of its own.
    pub canary_hosts: Option<u32>,
    /// A host that cannot reach a controller for this long after a new program goes back to the one before, in
    /// milliseconds.
    pub confirm_within_ms: u64,
}

impl Topology {
    /// The node at `index`.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0 as usize]
    }

    /// The link at `index`.
    pub fn link(&self, index: LinkIndex) -> &Link {
        &self.links[index.0 as usize]
    }

    /// The node called `name`.
    pub fn node_index(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok().map(|at| NodeIndex(at as u32))
    }

    /// The node that somebody who wrote `name` probably meant.
    pub fn nearest_node(&self, name: &str) -> Option<&str> {
        Suggester::new().nearest(name, self.nodes.iter().map(|node| node.name.as_str()))
    }

    /// The link called `id`, its two endpoints in either order, or the only link between two nodes when
    /// `id` is `a--b`.
    pub fn link_index(&self, id: &str) -> Option<LinkIndex> {
        let exact = |id: &str| self.links.binary_search_by(|link| link.id.as_str().cmp(id)).ok();
        let (a, b) = id.split_once("--")?;
        if let Some(at) = exact(id).or_else(|| exact(&format!("{b}--{a}"))) {
            return Some(LinkIndex(at as u32));
        }
        let mut found = self.links.iter().enumerate().filter(|(_, link)| {
            let [x, y] = [0, 1].map(|end| self.node(link.ends[end].node).name.as_str());
            (x, y) == (a, b) || (x, y) == (b, a)
        });
        let (at, _) = found.next()?;
        found.next().is_none().then_some(LinkIndex(at as u32))
    }

    /// `node:interface` of an uplink: its name in facts.
    pub fn uplink(&self, external: &External) -> String {
        format!("{}:{}", self.node(external.node).name, external.interface)
    }

    /// How many controllers each host shall reach under in-band management: two, so that one may fail, or as many as there
    /// are.
    pub fn controllers_wanted(&self) -> usize {
        self.controllers.len().min(CONTROLLERS_IN_REACH)
    }

    /// `node:interface` of one end.
    pub fn endpoint(&self, end: &End) -> String {
        format!("{}:{}", self.node(end.node).name, end.interface)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Percent(percent) => write!(out, "{percent}%"),
            Share::Count(count) => write!(out, "{count}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_down_and_counts_stand() {
        for (share, total, wanted) in [
            (Share::Percent(25), 11, 2),
            (Share::Percent(25), 3, 0),
            (Share::Percent(100), 7, 7),
            (Share::Percent(100), usize::MAX, usize::MAX / 100),
            (Share::Count(5), 2, 5),
        ] {
            assert_eq!(share.of(total), wanted, "{share} of {total}");
        }
    }

    #[test]
    fn a_misspelt_node_has_a_nearest_one_and_a_strange_name_has_none() {
        let text = "version: 1\nname: x\nnodes: {spine1: {}, spine2: {}, leaf: {}}\n";
        let topology = crate::read("x.yaml", text.as_bytes()).topology.unwrap();
        for (name, wanted) in [("spin1", Some("spine1")), ("Leaf", Some("leaf")), ("router", None)] {
            assert_eq!(topology.nearest_node(name), wanted, "{name}");
        }
    }

    #[test]
    fn links_are_found_by_id_and_by_a_unique_pair_of_nodes() {
        let text = "version: 1\nname: x\nnodes: {a: {}, b: {}, c: {}}\nlinks:\n\
                    - {endpoints: [\"b:e1\", \"a:e1\"]}\n- {endpoints: [\"a:e2\", \"b:e2\"]}\n- {endpoints: [\"b:e3\", \"c:e1\"]}\n";
        let topology = crate::read("x.yaml", text.as_bytes()).topology.unwrap();
        for (name, wanted) in [
            ("a:e1--b:e1", Some(0)),
            ("b:e1--a:e1", Some(0)),
            ("a--b", None),
            ("b--c", Some(2)),
            ("c--b", Some(2)),
            ("a--c", None),
            ("", None),
        ] {
            assert_eq!(topology.link_index(name), wanted.map(LinkIndex), "{name}");
        }
    }
}
