//! Tunnels around one link to the node behind it, for what neither alternates nor detours can take.
//!
//! The host puts the packet into an IPv6 packet with a list of segments (SRv6, RFC 8986) that leads to the node
//! behind the dead link over other links; that node takes the packet out and forwards it as ever. In symmetric
//! networks two segments always do where any way is left: a node P that the host reaches without the link, over
//! one link to R, which reaches the far node without the link (RFC 7490, section 5; with a forced link, RFC
//! 8333's topology-independent repair). Addresses of segments have no backups: when the far node is dead, the
//! tunnel's packets die at its neighbours and loop nowhere. The price is room for the header.

use super::faults::{Towards, Way};
use crate::graph::Edge;
use crate::paths::{Field, UNREACHABLE};
use std::collections::BTreeMap;
use topology::NodeIndex;

/// Bytes of an IPv6 header and a segment routing header without segments (RFC 8754).
const HEADERS_BYTES: u32 = 40 + 8;
/// Bytes of each segment.
const SEGMENT_BYTES: u32 = 16;

/// By how much a packet grows in a tunnel of so many segments; 0 for none.
pub(crate) fn overhead_bytes(segments: u32) -> u32 {
    if segments == 0 { 0 } else { HEADERS_BYTES + segments * SEGMENT_BYTES }
}

/// Tunnels of all hosts around their links, each computed when first asked for.
#[derive(Default)]
pub(crate) struct Bypasses {
    /// (host, link) -> the way to the link's other end.
    known: BTreeMap<(u32, u32), Option<Way>>,
}

impl Bypasses {
    /// Gives ways to the hosts with one next hop that have none yet.
    pub(crate) fn choose(&mut self, towards: &mut Towards<'_>) {
        for host in 0..towards.ways.len() as u32 {
            if host == towards.to || towards.ways[host as usize].is_some() {
                continue;
            }
            let Some(primary) = towards.only_next_hop(host) else { continue };
            let known = self.known.entry((host, primary.link));
            let Some(way) = known.or_insert_with(|| around(towards.field, host, primary)).clone() else {
                continue;
            };
            if !towards.comes_back(host, primary, &way) {
                towards.ways[host as usize] = Some(way);
            }
        }
    }
}

/// What decides between tunnels: the number of segments, the cost, the first link, the forced link.
type Rank = (u32, u64, u32, Option<u32>);

/// A tunnel's rank, its first link, and the node with the forced link where there is one.
type Offer<'a> = (Rank, &'a Edge, Option<(u32, &'a Edge)>);

/// The best tunnel from `host` to the node behind `primary` that does not use its link.
fn around(field: &Field, host: u32, primary: &Edge) -> Option<Way> {
    let far = primary.to;
    let edges =
        |node: u32| field.graph.edges(NodeIndex(node)).iter().filter(|edge| edge.link != primary.link);
    let mut best: Option<Offer<'_>> = None;
    let mut offer = |rank: Rank, first, forced| {
        if best.as_ref().is_none_or(|(known, _, _)| rank < *known) {
            best = Some((rank, first, forced));
        }
    };
    for first in edges(host) {
        if let Some(rest) = without(field, host, primary, first.to, far) {
            offer((1, first.cost.saturating_add(rest), first.link, None), first, None);
        }
        for node in 0..field.graph.nodes() as u32 {
            let Some(there) = without(field, host, primary, first.to, node) else { continue };
            for forced in edges(node) {
                let Some(rest) = without(field, host, primary, forced.to, far) else { continue };
                let cost =
                    [there, forced.cost, rest].iter().fold(first.cost, |sum, part| sum.saturating_add(*part));
                offer((2, cost, first.link, Some(forced.link)), first, Some((node, forced)));
            }
        }
    }
    let ((segments, ..), first, forced) = best?;
    let mut hops = vec![(first.link, first.to)];
    if let Some((node, forced)) = forced {
        walk(field, &mut hops, node);
        hops.push((forced.link, forced.to));
    }
    walk(field, &mut hops, far);
    Some(Way { link: first.link, next: first.to, rest: hops.split_off(1), guarded: false, segments })
}

/// The distance between two nodes, when no shortest path between them uses the link.
fn without(field: &Field, host: u32, link: &Edge, from: u32, to: u32) -> Option<u64> {
    let own = field.distance(from, to);
    let sum = |parts: [u64; 3]| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
    let forward = sum([field.distance(from, host), link.cost, field.distance(link.to, to)]);
    let backward = sum([field.distance(from, link.to), link.cost_back, field.distance(host, to)]);
    (own != UNREACHABLE && own < forward && own < backward).then_some(own)
}

/// Goes on to `to` by the first of the shortest paths.
fn walk(field: &Field, hops: &mut Vec<(u32, u32)>, to: u32) {
    while let Some((_, at)) = hops.last().copied().filter(|(_, at)| *at != to) {
        let Some(edge) = field.next_hops(at, to).next() else { return };
        hops.push((edge.link, edge.to));
    }
}
