//! What fails together, and whether packets come back to a host that gave way.
//!
//! A fault is the death of a node or of a shared-risk group; that of a single link needs no look: no
//! shortest path from a loop-free alternate passes the host that it serves. Knows nothing of programs.

use crate::graph::Edge;
use crate::paths::Field;
use crate::renumber::Renumbering;
use std::collections::BTreeSet;
use topology::{NodeIndex, Topology};

/// What of a topology decides which backups are good ones.
pub(crate) struct Risks {
    /// By link: numbers of its shared-risk groups, sorted.
    groups: Vec<Vec<u32>>,
    /// Words of 64 bits that a set of groups takes.
    words: usize,
    drained_nodes: Vec<bool>,
    drained_links: Vec<bool>,
}

/// What dies at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node with all its links.
    Node(u32),
    /// All links of a shared-risk group.
    Group(u32),
}

/// How a host goes on towards a destination without its only next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The first link.
    pub(crate) link: u32,
    /// The node behind it.
    pub(crate) next: u32,
    /// Links after the first, each with the node behind it, up to the node that forwards as ever.
    pub(crate) rest: Vec<(u32, u32)>,
    /// Whether the last node may use nothing but its own next hops for these packets: no second backup.
    pub(crate) guarded: bool,
    /// Segments of the tunnel to the last node; 0 without a tunnel. What the rest says of a tunnel is one of the
    /// ways that it may take.
    pub(crate) segments: u32,
}

/// One destination: the distances to it and what was chosen so far.
pub(crate) struct Towards<'a> {
    pub(crate) field: &'a Field,
    pub(crate) risks: &'a Risks,
    pub(crate) to: u32,
    /// By node: the way of its packets when its only next hop is gone.
    pub(crate) ways: Vec<Option<Way>>,
    /// `touched[node * words..]`: groups of the links on any shortest path of the node, as bits.
    touched: Vec<u64>,
    /// Marks of the last search: nodes that it has seen have `search` here.
    seen: Vec<u32>,
    search: u32,
}

impl Risks {
    pub(crate) fn new(topology: &Topology) -> Risks {
        let names: BTreeSet<&str> =
            topology.links.iter().flat_map(|link| link.srlgs.iter().map(String::as_str)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let number = |name: &String| names.binary_search(&name.as_str()).map_or(0, |at| at as u32);
        let groups = topology.links.iter().map(|link| {
            let mut groups: Vec<u32> = link.srlgs.iter().map(number).collect();
            groups.sort_unstable();
            groups
        });
        Risks {
            groups: groups.collect(),
            words: names.len().div_ceil(64),
            drained_nodes: topology.nodes.iter().map(|node| node.drained).collect(),
            drained_links: topology.links.iter().map(|link| link.drained).collect(),
        }
    }

    /// Whether what has a place in `later` means the same there.
    pub(crate) fn carry_over(&self, later: &Risks, places: &Renumbering) -> bool {
        let links = (places.links.iter().enumerate()).filter_map(|(at, now)| Some((at, (*now)? as usize)));
        let nodes = (places.nodes.iter().enumerate()).filter_map(|(at, now)| Some((at, (*now)? as usize)));
        let of_link = |risks: &Risks, at: usize| (risks.groups[at].clone(), risks.drained_links[at]);
        let (mut links, mut nodes) = (links, nodes);
        self.words == later.words
            && links.all(|(at, now)| of_link(self, at) == of_link(later, now))
            && nodes.all(|(at, now)| self.drained_nodes[at] == later.drained_nodes[now])
    }

    /// Whether any links share a risk.
    pub(crate) fn has_groups(&self) -> bool {
        self.words > 0
    }

    /// Number of nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.drained_nodes.len()
    }

    /// Whether packets for `to` shall not be led over this edge while another way is left.
    pub(crate) fn avoids(&self, edge: &Edge, to: u32) -> bool {
        self.drained_links[edge.link as usize] || edge.to != to && self.drained_nodes[edge.to as usize]
    }

    /// Whether both links are in one shared-risk group.
    pub(crate) fn share(&self, one: u32, other: u32) -> bool {
        let other = &self.groups[other as usize];
        self.groups[one as usize].iter().any(|group| other.binary_search(group).is_ok())
    }

    /// The faults that take `primary` away and leave the destination alive, that of the link alone left out.
    pub(crate) fn faults(&self, primary: &Edge, to: u32) -> impl Iterator<Item = Fault> {
        let node = (primary.to != to).then_some(Fault::Node(primary.to));
        node.into_iter().chain(self.groups[primary.link as usize].iter().map(|group| Fault::Group(*group)))
    }

    /// Whether packets that go `way` certainly die on it under the fault.
    fn is_cut(&self, fault: Fault, way: &Way) -> bool {
        let is_hit = |(link, far)| self.is_hit(fault, link, far);
        if way.segments > 0 {
            is_hit((way.link, way.next)) || fault == Fault::Node(way.exit())
        } else {
            way.hops().any(is_hit)
        }
    }

    /// Whether the link to `far` is gone under the fault.
    fn is_hit(&self, fault: Fault, link: u32, far: u32) -> bool {
        match fault {
            Fault::Node(node) => far == node,
            Fault::Group(group) => self.groups[link as usize].binary_search(&group).is_ok(),
        }
    }
}

impl Way {
    /// A way over one edge.
    pub(crate) fn over(edge: &Edge) -> Way {
        Way { link: edge.link, next: edge.to, rest: Vec::new(), guarded: false, segments: 0 }
    }

    /// The node that forwards these packets as any others.
    pub(crate) fn exit(&self) -> u32 {
        self.rest.last().map_or(self.next, |(_, node)| *node)
    }

    /// All links, each with the node behind it.
    pub(crate) fn hops(&self) -> impl Iterator<Item = (u32, u32)> {
        std::iter::once((self.link, self.next)).chain(self.rest.iter().copied())
    }
}

impl<'a> Towards<'a> {
    /// Nothing is chosen yet.
    pub(crate) fn new(field: &'a Field, risks: &'a Risks, to: u32) -> Towards<'a> {
        let nodes = field.graph.nodes();
        let mut towards = Towards {
            field,
            risks,
            to,
            ways: vec![None; nodes],
            touched: Vec::new(),
            seen: vec![0; nodes],
            search: 0,
        };
        if risks.words > 0 {
            towards.touch();
        }
        towards
    }

    /// For looking at one host at a time: no ways, and no risk groups.
    pub(crate) fn without_ways(field: &'a Field, risks: &'a Risks, to: u32) -> Towards<'a> {
        Towards { field, risks, to, ways: Vec::new(), touched: Vec::new(), seen: Vec::new(), search: 0 }
    }

    /// Whether a shortest path of `node` passes `other`.
    pub(crate) fn passes(&self, node: u32, other: u32) -> bool {
        self.meets(Fault::Node(other), node)
    }

    /// Fills `touched`, the nearest nodes first: each has its own links' groups and those of its next hops.
    fn touch(&mut self) {
        let (nodes, words) = (self.field.graph.nodes() as u32, self.risks.words);
        self.touched = vec![0; nodes as usize * words];
        let mut nearest: Vec<u32> = (0..nodes).collect();
        nearest.sort_unstable_by_key(|node| self.field.distance(*node, self.to));
        for node in nearest {
            for edge in self.field.next_hops(node, self.to) {
                for group in &self.risks.groups[edge.link as usize] {
                    self.touched[node as usize * words + *group as usize / 64] |= 1 << (group % 64);
                }
                for word in 0..words {
                    let far = self.touched[edge.to as usize * words + word];
                    self.touched[node as usize * words + word] |= far;
                }
            }
        }
    }

    /// The next hop of `from`, when it has exactly one.
    pub(crate) fn only_next_hop(&self, from: u32) -> Option<&'a Edge> {
        let mut next_hops = self.field.next_hops(from, self.to);
        let first = next_hops.next()?;
        next_hops.next().is_none().then_some(first)
    }

    /// Whether a shortest path of `node` meets the fault.
    fn meets(&self, fault: Fault, node: u32) -> bool {
        let (field, to) = (self.field, self.to);
        match fault {
            Fault::Node(dead) => {
                field.distance(node, dead).saturating_add(field.distance(dead, to))
                    == field.distance(node, to)
            }
            Fault::Group(group) => {
                let word = self.touched[node as usize * self.risks.words + group as usize / 64];
                word >> (group % 64) & 1 == 1
            }
        }
    }

    /// Whether a packet from `node` may meet a link that shares a group with `link`.
    pub(crate) fn meets_groups_of(&self, link: u32, node: u32) -> bool {
        self.risks.groups[link as usize].iter().any(|group| self.meets(Fault::Group(*group), node))
    }

    /// Whether packets that go `way` never pass `node`.
    pub(crate) fn avoids_node(&self, node: u32, way: &Way) -> bool {
        !way.hops().any(|(_, far)| far == node) && !self.meets(Fault::Node(node), way.exit())
    }

    /// Whether packets that go `way` certainly meet no group of `link`.
    pub(crate) fn avoids_groups_of(&self, link: u32, way: &Way) -> bool {
        let is_known = way.segments == 0 || self.risks.groups[link as usize].is_empty();
        let shares = way.hops().any(|(used, _)| self.risks.share(link, used));
        is_known && !shares && !self.meets_groups_of(link, way.exit())
    }

    /// Whether packets of `from` that go `way` instead of over `primary` could come back to `from`, under any
    /// fault that takes the primary away. Sees the ways that were chosen so far.
    pub(crate) fn comes_back(&mut self, from: u32, primary: &Edge, way: &Way) -> bool {
        let risks = self.risks;
        risks
            .faults(primary, self.to)
            .any(|fault| !risks.is_cut(fault, way) && self.reaches(fault, way, from))
    }

    /// Whether packets that have come `way` can get to `wanted` under the fault.
    fn reaches(&mut self, fault: Fault, way: &Way, wanted: u32) -> bool {
        self.search += 1;
        let mut stack = vec![way.exit()];
        let mut may_fall_back = !way.guarded;
        while let Some(node) = stack.pop() {
            if node == wanted {
                return true;
            }
            // Packets of a node whose shortest paths do not meet the fault arrive.
            let is_new = std::mem::replace(&mut self.seen[node as usize], self.search) != self.search;
            if node == self.to || !is_new || !self.meets(fault, node) {
                continue;
            }
            let before = stack.len();
            let legs = self.field.next_hops(node, self.to);
            stack.extend(legs.filter(|leg| !self.risks.is_hit(fault, leg.link, leg.to)).map(|leg| leg.to));
            if stack.len() == before
                && may_fall_back
                && let Some(way) = &self.ways[node as usize]
                && !self.risks.is_cut(fault, way)
            {
                stack.push(way.exit());
            }
            may_fall_back = true;
        }
        false
    }

    /// Edges out of `node`.
    pub(crate) fn edges(&self, node: u32) -> &'a [Edge] {
        self.field.graph.edges(NodeIndex(node))
    }
}
