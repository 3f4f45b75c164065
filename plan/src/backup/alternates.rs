//! Loop-free alternates (RFC 5286), chosen for all hosts together so that no fault makes two of them loop.
//!
//! Links are point to point, so the RFC's conditions for broadcast links do not apply. A drained neighbour
//! is no alternate (its section 3.5: overloaded routers), nor is one behind a drained link.

use super::faults::{Risks, Towards, Way};
use crate::graph::Edge;
use crate::paths::{Field, Paths, UNREACHABLE};
use std::cmp::Reverse;

/// How good an alternate is; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Whether the way shares a risk group with the primary link.
    pub(crate) shares_risk: bool,
    /// Whether it avoids the primary's node as well.
    pub(crate) protects_node: Reverse<bool>,
    /// Whether its distance is below the host's own (a downstream neighbour): such ways never loop.
    pub(crate) downstream: Reverse<bool>,
    /// Cost to the destination this way.
    pub(crate) cost: u64,
    /// The first link.
    pub(crate) link: u32,
}

impl Rank {
    /// Whether packets arrive under every fault that takes the primary away, whatever other hosts choose.
    /// Where the primary's node is the destination, its death is nobody's loss.
    pub(crate) fn avoids_faults(self, primary: &Edge, to: u32) -> bool {
        !self.shares_risk && (self.protects_node.0 || primary.to == to)
    }
}

/// The alternate of every host towards `to`, as the link that it leaves by. None for a host with several next
/// hops, or whose next hop lies over a link that facts call down.
pub(crate) fn alternates(paths: &Paths, risks: &Risks, to: u32) -> Vec<Option<u32>> {
    let mut links = vec![None; risks.nodes()];
    let mut hosts: Vec<(u32, &Field)> = (0..risks.nodes() as u32)
        .filter(|from| *from != to)
        .filter_map(|from| paths.field(from, to).map(|field| (from, field)))
        .collect();
    // Hosts that use one graph; a living link never joins them to the others.
    while let Some((_, field)) = hosts.first().copied() {
        let (side, rest) = hosts.into_iter().partition(|(_, other)| std::ptr::eq(*other, field));
        hosts = rest;
        let mut towards = Towards::new(field, risks, to);
        choose(&mut towards, side.into_iter().map(|(from, _)| from), |edge| paths.is_down(edge));
        for (link, way) in links.iter_mut().zip(towards.ways) {
            *link = link.or(way.map(|way| way.link));
        }
    }
    links
}

/// Chooses among the neighbours of each host; `is_down` says for which primaries there is no choice.
///
/// First everybody takes its best alternate if that avoids all faults or is downstream: along downstream
/// alternates and next hops distances fall, so these make no loop. The others follow in the order of nodes:
/// each takes its best alternate that no fault leads back, given what was chosen before, or none.
pub(crate) fn choose(
    towards: &mut Towards<'_>,
    hosts: impl Iterator<Item = u32>,
    is_down: impl Fn(&Edge) -> bool,
) {
    let mut risky = Vec::new();
    for from in hosts {
        let Some(primary) = towards.only_next_hop(from).filter(|primary| !is_down(primary)) else { continue };
        let best = candidates(towards, from, primary).min_by_key(|(rank, _)| *rank);
        match best {
            Some((rank, edge)) if rank.downstream.0 || rank.avoids_faults(primary, towards.to) => {
                towards.ways[from as usize] = Some(Way::over(edge));
            }
            Some(_) => risky.push((from, primary)),
            None => {}
        }
    }
    for (from, primary) in risky {
        let mut ranked: Vec<(Rank, &Edge)> = candidates(towards, from, primary).collect();
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        let found = ranked.into_iter().find(|(rank, edge)| {
            rank.avoids_faults(primary, towards.to) || !towards.comes_back(from, primary, &Way::over(edge))
        });
        towards.ways[from as usize] = found.map(|(_, edge)| Way::over(edge));
    }
}

/// The loop-free alternates of `from`: neighbours N over other links with
/// `distance(N, to) < distance(N, from) + distance(from, to)` (RFC 5286, inequality 1). They protect the
/// primary's node E when `distance(N, to) < distance(N, E) + distance(E, to)` (inequality 3) and are
/// downstream when `distance(N, to) < distance(from, to)` (inequality 2).
fn candidates<'a>(
    towards: &Towards<'a>,
    from: u32,
    primary: &Edge,
) -> impl Iterator<Item = (Rank, &'a Edge)> {
    let (field, risks, to) = (towards.field, towards.risks, towards.to);
    let own = field.distance(from, to);
    let (primary_link, avoided) = (primary.link, primary.to);
    let loop_free = towards.edges(from).iter().filter(move |edge| {
        let rest = field.distance(edge.to, to);
        edge.link != primary_link
            && rest != UNREACHABLE
            && rest < field.distance(edge.to, from).saturating_add(own)
            && !risks.avoids(edge, to)
    });
    loop_free.map(move |edge| {
        let rest = field.distance(edge.to, to);
        let through_avoided = field.distance(edge.to, avoided).saturating_add(field.distance(avoided, to));
        let rank = Rank {
            shares_risk: risks.share(primary_link, edge.link)
                || towards.meets_groups_of(primary_link, edge.to),
            protects_node: Reverse(rest < through_avoided),
            downstream: Reverse(rest < own),
            cost: field.distance_through(edge, to),
            link: edge.link,
        };
        (rank, edge)
    })
}
