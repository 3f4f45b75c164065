//! Loop-free alternates (RFC 5286), chosen for all hosts together so that no fault makes two of them loop.
//!
//! Links are point to point, so the RFC's conditions for broadcast links do not apply. A drained neighbour
//! is no alternate (its section 3.5: overloaded routers), nor is one behind a drained link.

use super::faults::{Risks, Towards, Way};
use super::follow::Choice;
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

/// The alternate of every host towards `to`. None for a host with several next
/// hops, or whose next hop lies over a link that facts call down.
pub(crate) fn alternates(paths: &Paths, risks: &Risks, to: u32) -> Vec<Choice> {
    let mut choices = vec![Choice::NONE; risks.nodes()];
    let mut hosts: Vec<(u32, &Field)> = (0..risks.nodes() as u32)
        .filter(|from| *from != to)
        .filter_map(|from| paths.field(from, to).map(|field| (from, field)))
        .collect();
    // Hosts that use one graph; a living link never joins them to the others.
    while let Some((_, field)) = hosts.first().copied() {
        let (side, rest) = hosts.into_iter().partition(|(_, other)| std::ptr::eq(*other, field));
        hosts = rest;
        let mut towards = Towards::new(field, risks, to);
        let hosts: Vec<u32> = side.into_iter().map(|(from, _)| from).collect();
        let risky = choose(&mut towards, hosts.iter().copied(), |edge| paths.is_down(edge));
        for host in hosts {
            let link = towards.ways[host as usize].as_ref().map(|way| way.link);
            choices[host as usize] = Choice::new(link, risky.binary_search(&host).is_ok());
        }
    }
    choices
}

/// What a host's best alternate comes to, before other hosts' choices are looked at.
pub(crate) enum First<'a> {
    /// It makes no loop whatever others choose.
    Taken(&'a Edge),
    /// It has alternates, but the best could be part of a loop.
    Risky,
    /// It has none.
    Nothing,
}

/// The first choice of `from`.
pub(crate) fn first_choice<'a>(towards: &Towards<'a>, from: u32, primary: &Edge) -> First<'a> {
    match candidates(towards, from, primary).min_by_key(|(rank, _)| *rank) {
        Some((rank, edge)) if rank.downstream.0 || rank.avoids_faults(primary, towards.to) => {
            First::Taken(edge)
        }
        Some(_) => First::Risky,
        None => First::Nothing,
    }
}

/// All alternates of `from`, the best first, with whether they make no loop whatever others choose.
pub(crate) fn safe_alternates<'a>(towards: &Towards<'a>, from: u32, primary: &Edge) -> Vec<(bool, &'a Edge)> {
    let mut ranked: Vec<(Rank, &Edge)> = candidates(towards, from, primary).collect();
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(rank, edge)| (rank.avoids_faults(primary, towards.to), edge)).collect()
}

/// Chooses among the neighbours of each host; `is_down` says for which primaries there is no choice. Gives the risky
/// hosts, sorted when `hosts` are.
///
/// First everybody takes its best alternate if that avoids all faults or is downstream: along downstream
/// alternates and next hops distances fall, so these make no loop. The others are *risky* and follow in the order of
/// nodes: each takes its best alternate that no fault leads back, given what was chosen before, or none.
pub(crate) fn choose(
    towards: &mut Towards<'_>,
    hosts: impl Iterator<Item = u32>,
    is_down: impl Fn(&Edge) -> bool,
) -> Vec<u32> {
    let mut risky = Vec::new();
    for from in hosts {
        let Some(primary) = towards.only_next_hop(from).filter(|primary| !is_down(primary)) else { continue };
        match first_choice(towards, from, primary) {
            First::Taken(edge) => towards.ways[from as usize] = Some(Way::over(edge)),
            First::Risky => risky.push((from, primary)),
            First::Nothing => {}
        }
    }
    for (from, primary) in risky.iter().copied() {
        let ranked = safe_alternates(towards, from, primary);
        let is_kept = |(is_safe, edge): &(bool, &Edge)| {
            *is_safe || !towards.comes_back(from, primary, &Way::over(edge))
        };
        let found = ranked.into_iter().find(is_kept);
        towards.ways[from as usize] = found.map(|(_, edge)| Way::over(edge));
    }
    risky.into_iter().map(|(from, _)| from).collect()
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
