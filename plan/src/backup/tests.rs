//! Backups judged by walking packets: through compiled programs, and through turns by incoming interface.

#![allow(clippy::unwrap_used)]

use super::bypasses::Bypasses;
use super::detours::{self, Turns};
use super::faults::{Risks, Towards, Way};
use super::{Kind, coverage};
use crate::forwarding::Forwarding;
use crate::paths::Paths;
use crate::spf::Cores;
use crate::tests::fixture::topology;
use crate::{Facts, compile};
use proptest::prelude::*;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use topology::Topology;

/// What dies, as the positions of its links.
type Loss = BTreeSet<u32>;

fn links_of(topology: &Topology, node: u32) -> Loss {
    let links = (0_u32..).zip(&topology.links);
    links.filter(|(_, link)| link.ends.iter().any(|end| end.node.0 == node)).map(|(at, _)| at).collect()
}

fn links_of_group(topology: &Topology, group: &str) -> Loss {
    let links = (0_u32..).zip(&topology.links);
    links.filter(|(_, link)| link.srlgs.iter().any(|name| name == group)).map(|(at, _)| at).collect()
}

/// The links with their costs and groups.
fn brief(topology: &Topology) -> String {
    let link = |link: &topology::Link| {
        format!("{} {}/{} {}", link.id, link.ends[0].cost, link.ends[1].cost, link.srlgs.join("+"))
    };
    topology.links.iter().map(link).collect::<Vec<_>>().join(", ")
}

/// Whether following `next` from any state comes back to a state.
fn has_loop(states: usize, next: impl Fn(usize) -> Vec<usize>) -> bool {
    // 0 new, 1 on the way, 2 done.
    let mut marks = vec![0_u8; states];
    for first in 0..states {
        let mut stack = vec![(first, false)];
        while let Some((state, done)) = stack.pop() {
            match (done, marks[state]) {
                (true, _) => marks[state] = 2,
                (false, 1) => return true,
                (false, 2) => {}
                (false, _) => {
                    marks[state] = 1;
                    stack.push((state, true));
                    stack.extend(
                        next(state).into_iter().filter(|next| marks[*next] != 2).map(|next| (next, false)),
                    );
                }
            }
        }
    }
    false
}

/// Up to `nodes` nodes in a random order of links with costs of both directions; dense enough to have rings.
fn any_topology(nodes: usize) -> impl Strategy<Value = Topology> {
    let link = (0..nodes, 0..nodes, 1..6_u32, 1..6_u32, prop::bool::weighted(0.7), 0..12_usize);
    prop::collection::vec(link, nodes..2 * nodes + 2).prop_map(move |links| {
        let links: Vec<_> = links.into_iter().filter(|(a, b, ..)| a != b).collect();
        let entries = links.iter().map(|(a, b, there, back, symmetric, _)| {
            let back = if *symmetric { there } else { back };
            format!("n{a:02}-n{b:02} {there}/{back}")
        });
        let entries: Vec<String> = entries.chain(["n00".to_string()]).collect();
        let mut topology = topology(&entries.join(", "));
        for (link, (.., group)) in topology.links.iter_mut().zip(&links) {
            // Some links share a duct with a few others.
            link.srlgs.extend((*group < 4).then(|| format!("duct{group}")));
        }
        topology
    })
}

/// Follows compiled programs: nobody recomputes, kernels shed what is dead.
fn assert_programs_never_loop(topology: &Topology) {
    let network = compile(topology, &Facts::default());
    let nodes = topology.nodes.len() as u32;
    let deaths = (0..nodes).map(|node| (Some(node), links_of(topology, node)));
    let cuts = (0..topology.links.len() as u32).map(|link| (None, Loss::from([link])));
    let groups: BTreeSet<&String> = topology.links.iter().flat_map(|link| &link.srlgs).collect();
    let ducts = groups.into_iter().map(|group| (None, links_of_group(topology, group)));
    for (dead, lost) in deaths.chain(cuts).chain(ducts) {
        let links_down = lost.iter().map(|at| topology.links[*at as usize].id.clone()).collect();
        let forwarding = Forwarding::new(topology, &Facts { links_down }, &network);
        for to in (0..nodes).filter(|to| Some(*to) != dead) {
            let legs = forwarding.towards(to);
            let next = |node: usize| match node as u32 == to {
                true => Vec::new(),
                false => legs[node].iter().map(|leg| leg.to as usize).collect(),
            };
            assert!(
                !has_loop(legs.len(), next),
                "to {to}, dead {dead:?}, lost {lost:?}: {}",
                brief(topology)
            );
        }
    }
}

/// One destination with all backups, as kernels with tables per interface would forward.
struct Interfaces<'a> {
    topology: &'a Topology,
    towards: Towards<'a>,
    turns: Turns,
}

/// A packet: in a node, by way of a link, or started there.
type Packet = (u32, Option<u32>);

impl<'a> Interfaces<'a> {
    fn new(topology: &'a Topology, paths: &'a Paths, risks: &'a Risks, to: u32) -> Interfaces<'a> {
        let field = paths.field(to, to).unwrap();
        let mut towards = Towards::new(field, risks, to);
        let hosts = (0..topology.nodes.len() as u32).filter(|from| *from != to);
        super::alternates::choose(&mut towards, hosts, |_| false);
        let turns = detours::choose(&mut towards);
        Bypasses::default().choose(&mut towards);
        Interfaces { topology, towards, turns }
    }

    fn next(&self, (node, by): Packet, lost: &Loss) -> Vec<Packet> {
        let alive = |(link, far): (u32, u32)| (!lost.contains(&link)).then_some((far, Some(link)));
        if node == self.towards.to {
            return Vec::new();
        }
        let arc = by.map(|link| (link, node));
        if let Some(onward) = arc.and_then(|arc| self.turns.onward.get(&arc)) {
            return alive(*onward).into_iter().collect();
        }
        let legs = self.towards.field.next_hops(node, self.towards.to);
        let legs: Vec<Packet> = legs.filter_map(|edge| alive((edge.link, edge.to))).collect();
        let guarded = arc.is_some_and(|arc| self.turns.guarded.contains(&arc));
        match &self.towards.ways[node as usize] {
            Some(way) if legs.is_empty() && !guarded && way.segments > 0 => self.tunnelled(way, lost),
            Some(way) if legs.is_empty() && !guarded => alive((way.link, way.next)).into_iter().collect(),
            _ => legs,
        }
    }

    /// Segments have no backups: what does not arrive at the far node is gone.
    fn tunnelled(&self, way: &Way, lost: &Loss) -> Vec<Packet> {
        let is_dead = links_of(self.topology, way.exit()).is_subset(lost);
        if lost.contains(&way.link) || is_dead { Vec::new() } else { vec![(way.exit(), None)] }
    }

    /// Whether any packet that somebody can send comes back to where and how it was.
    fn loops(&self, lost: &Loss) -> bool {
        let mut numbers: BTreeMap<Packet, usize> = BTreeMap::new();
        let mut nexts: Vec<Vec<Packet>> = Vec::new();
        let mut stack: Vec<Packet> = (0..self.topology.nodes.len() as u32).map(|node| (node, None)).collect();
        while let Some(packet) = stack.pop() {
            if let Entry::Vacant(entry) = numbers.entry(packet) {
                entry.insert(nexts.len());
                nexts.push(self.next(packet, lost));
                stack.extend(nexts.last().unwrap());
            }
        }
        has_loop(nexts.len(), |at| nexts[at].iter().map(|packet| numbers[packet]).collect())
    }

    /// Whether packets of `from` arrive, whatever equal next hop they take.
    fn delivers(&self, from: u32, lost: &Loss) -> bool {
        let mut seen = BTreeSet::new();
        let mut stack: Vec<Packet> = vec![(from, None)];
        while let Some(packet) = stack.pop() {
            if !seen.insert(packet) {
                continue;
            }
            let next = self.next(packet, lost);
            if next.is_empty() && packet.0 != self.towards.to {
                return false;
            }
            stack.extend(next);
        }
        true
    }
}

/// Every single link: what counts as covered arrives. Every single node and group: no loop.
fn assert_detours_hold(topology: &Topology) {
    let (paths, risks) = (Paths::new(topology, &Facts::default(), Cores::One), Risks::new(topology));
    let nodes = topology.nodes.len() as u32;
    for to in 0..nodes {
        let interfaces = Interfaces::new(topology, &paths, &risks, to);
        for link in 0..topology.links.len() as u32 {
            let lost = Loss::from([link]);
            assert!(!interfaces.loops(&lost), "to {to} without link {link}: {}", brief(topology));
            for from in (0..nodes).filter(|from| *from != to) {
                let towards = &interfaces.towards;
                let uses_it = towards.only_next_hop(from).is_some_and(|edge| edge.link == link);
                if uses_it && let Some(way) = &towards.ways[from as usize] {
                    assert!(way.hops().all(|(used, _)| used != link), "{from} to {to}: {way:?}");
                    assert!(
                        interfaces.delivers(from, &lost),
                        "{from} to {to} without {link}: {}",
                        brief(topology)
                    );
                }
            }
        }
        for dead in (0..nodes).filter(|dead| *dead != to) {
            assert!(
                !interfaces.loops(&links_of(topology, dead)),
                "to {to}, dead {dead}: {}",
                brief(topology)
            );
        }
        let groups: BTreeSet<&String> = topology.links.iter().flat_map(|link| &link.srlgs).collect();
        for group in groups {
            let lost = links_of_group(topology, group);
            assert!(!interfaces.loops(&lost), "to {to}, group {group}: {}", brief(topology));
        }
    }
}

/// `possible` by the definition: the graph without the link still joins the two.
fn assert_counts_are_right(topology: &Topology) {
    let coverage = coverage(topology);
    let without: Vec<Paths> = (0..topology.links.len())
        .map(|at| {
            let mut without = topology.clone();
            without.links.remove(at);
            Paths::new(&without, &Facts::default(), Cores::One)
        })
        .collect();
    let whole = Paths::new(topology, &Facts::default(), Cores::One);
    let (mut pairs, mut sums) = (0, [0.0; 3]);
    for from in 0..topology.nodes.len() as u32 {
        for to in (0..topology.nodes.len() as u32).filter(|to| *to != from) {
            let Some(field) = whole.field(from, to) else { continue };
            pairs += 1;
            let legs = field.next_hops(from, to).count() as f64;
            for edge in field.next_hops(from, to) {
                let joined = without[edge.link as usize].field(from, to).is_some();
                let is_case = |host: topology::NodeIndex,
                               destination: topology::NodeIndex,
                               link: topology::LinkIndex| {
                    (host.0, destination.0, link.0) == (from, to, edge.link)
                };
                let entry =
                    coverage.entries.iter().find(|entry| is_case(entry.host, entry.destination, entry.link));
                let open =
                    coverage.unprotected.iter().find(|open| is_case(open.host, open.destination, open.link));
                assert_eq!(entry.is_some(), open.is_none());
                assert!(open.is_none_or(|open| open.possible == joined), "{open:?}");
                let kind = entry.map(|entry| entry.kind);
                sums[0] += f64::from(u8::from(matches!(kind, Some(Kind::Ecmp | Kind::Lfa)))) / legs;
                sums[1] += f64::from(u8::from(kind.is_some())) / legs;
                sums[2] += f64::from(u8::from(joined)) / legs;
            }
        }
    }
    let wanted = sums.map(|sum| if pairs == 0 { 1.0 } else { sum / f64::from(pairs) });
    let found = [coverage.lfa, coverage.all, coverage.possible];
    assert!(
        wanted.iter().zip(found).all(|(wanted, found)| (wanted - found).abs() < 1e-9),
        "{wanted:?} {found:?}"
    );
}

/// What covers `host`'s packets for `to`: the kind, the nodes on the way, bytes more.
fn way(topology: &Topology, host: &str, to: &str) -> Option<(Kind, String, u32)> {
    let coverage = coverage(topology);
    let node = |name: &str| topology.node_index(name).unwrap();
    let found =
        coverage.entries.iter().find(|entry| (entry.host, entry.destination) == (node(host), node(to)))?;
    let hops: Vec<&str> = found.hops.iter().map(|hop| topology.node(*hop).name.as_str()).collect();
    Some((found.kind, hops.join(" "), found.overhead_bytes))
}

#[test]
fn each_kind_of_backup_where_it_is_needed() {
    let ring = "d-a 1, a-b 1, b-c 1, c-e 1, e-d 1";
    // p is the only way to d from a ring around it: what a and e may do must not circle when p dies.
    let ring_behind = "d-p 1, p-a 1, a-b 1, b-c 1, c-e 1, e-p 1";
    for (text, host, to, wanted) in [
        ("s-d 1, s-n 1, n-d 1", "s", "d", Some((Kind::Lfa, "n", 0))),
        ("s-a 1, s-b 1, a-d 1, b-d 1", "s", "d", Some((Kind::Ecmp, "b", 0))),
        (ring, "a", "d", Some((Kind::Detour, "b c", 0))),
        (ring, "b", "d", Some((Kind::Lfa, "c", 0))),
        (ring_behind, "a", "d", Some((Kind::Detour, "b c", 0))),
        (ring_behind, "e", "d", Some((Kind::Bypass, "c b a p", 80))),
        ("s-p 1, p-d 1", "s", "d", None),
    ] {
        let wanted = wanted.map(|(kind, hops, bytes)| (kind, hops.to_string(), bytes));
        assert_eq!(way(&topology(text), host, to), wanted, "{text}: {host} to {to}");
    }
}

#[test]
fn an_alternate_that_shares_a_duct_gives_way_to_one_that_does_not() {
    // n costs least but its link, or one behind it, lies in the duct of s-d; m is clean.
    let text = "s-d 1, s-n 1, n-d 1, s-m 3, m-d 3";
    assert_eq!(way(&topology(text), "s", "d"), Some((Kind::Lfa, "n".to_string(), 0)));
    for shared in ["n--s", "d--n"] {
        let mut topology = topology(text);
        for link in ["d--s", shared] {
            let at = topology.link_index(link).unwrap();
            topology.links[at.0 as usize].srlgs.push("duct".to_string());
        }
        assert_eq!(way(&topology, "s", "d"), Some((Kind::Lfa, "m".to_string(), 0)), "{shared}");
    }
}

#[test]
fn drained_neighbours_are_no_alternates_but_may_be_where_packets_go() {
    let mut topology = topology("s-d 1, s-n 1, n-d 1, s-m 3, m-d 3");
    let node = topology.node_index("n").unwrap();
    topology.nodes[node.0 as usize].drained = true;
    assert_eq!(way(&topology, "s", "d"), Some((Kind::Lfa, "m".to_string(), 0)));
    // To the drained node itself its links are as good as ever.
    assert_eq!(way(&topology, "s", "n"), Some((Kind::Lfa, "d".to_string(), 0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_never_loop_whatever_dies(topology in any_topology(12)) {
        assert_programs_never_loop(&topology);
    }

    #[test]
    fn detours_deliver_and_never_loop(topology in any_topology(9)) {
        assert_detours_hold(&topology);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn coverage_counts_every_case_once(topology in any_topology(8)) {
        assert_counts_are_right(&topology);
    }
}
