//! One destination that a change touches: who changes its next hops, and what may happen at once.
//!
//! Nodes that do not change are contracted away: a way leads straight to the changing hosts that it meets
//! first. Knows nothing of whole hosts or programs.

use super::view::{ARRIVED, Key, View};

/// Where a set of next hops leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// Changing hosts that are met first, positions in [`Work::movers`], sorted.
    pub(super) to: Vec<u32>,
    /// Whether a packet can end before it meets one and has not arrived: no route, or none further on.
    pub(super) dead: bool,
}

/// A host whose next hops for the destination change.
#[derive(Debug)]
pub(super) struct Mover {
    pub(super) node: u32,
    old: Ways,
    repair: Option<Ways>,
    new: Ways,
    /// Whether it reaches the destination in both states: then it must all the time.
    required: bool,
    /// Whether it reaches the destination in the new state.
    reaches: bool,
    /// Whether it has its new next hops.
    pub(super) moved: bool,
}

/// One destination.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) key: Key,
    /// Sorted by node.
    pub(super) movers: Vec<Mover>,
    /// From which step on, the order of the movers from the destination outwards.
    pub(super) orders: Vec<(u32, Vec<u32>)>,
    pub(super) state: Progress,
}

/// What is left to heed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Who moves when matters.
    Bound,
    /// Whoever moves with whomever, nothing happens.
    Free,
    /// No order could be found.
    Unproven,
}

/// Where a mover stands in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It may move at any time.
    Apart,
    /// It may move, and others wait for it.
    Next,
    /// It must not move yet.
    Waits,
}

/// What may happen when hosts move at once.
#[derive(Debug)]
pub(super) struct Verdict {
    /// For each mover the number of its strongly connected component; components are numbered from the
    /// destination outwards.
    component: Vec<u32>,
    /// For each mover whether it is on a loop.
    on_loop: Vec<bool>,
    /// For each mover whether it surely reaches the destination, whichever sets are followed, loops aside.
    safe: Vec<bool>,
}

impl Verdict {
    /// The movers from the destination outwards. Only of use when there is no loop.
    pub(super) fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.component.len() as u32).collect();
        order.sort_unstable_by_key(|mover| self.component[*mover as usize]);
        order
    }
}

impl Work {
    /// The movers' nodes are `nodes`, sorted.
    pub(super) fn new(view: &View<'_>, key: Key, nodes: &[u32], contraction: &mut Contraction) -> Work {
        contraction.begin(nodes);
        let mut ways = |legs: &[u32]| contraction.ways(view, key, legs);
        let mut movers: Vec<Mover> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let side = view.old.as_ref();
            let repair = side.map(|side| side.repair(*node, key.old)).unwrap_or_default();
            movers.push(Mover {
                node: *node,
                old: ways(side.map_or(&[], |side| side.primary(*node, key.old))),
                repair: (!repair.is_empty()).then(|| ways(&repair)),
                new: ways(view.new.primary(*node, key.new)),
                required: false,
                reaches: false,
                moved: false,
            });
        }
        let mut work = Work { key, movers, orders: Vec::new(), state: Progress::Bound };
        let before = work.verdict(|mover, _, each| each(&mover.old));
        let after = work.verdict(|mover, _, each| each(&mover.new));
        for (at, mover) in work.movers.iter_mut().enumerate() {
            let arrives = |verdict: &Verdict| verdict.safe[at] && !verdict.on_loop[at];
            (mover.required, mover.reaches) = (arrives(&before) && arrives(&after), arrives(&after));
        }
        work
    }

    /// What may happen while those of the movers that `moves` names, by position, are under way.
    pub(super) fn judge(&self, moves: impl Fn(usize) -> bool) -> Verdict {
        self.verdict(|mover, at, each| match (mover.moved, moves(at)) {
            (true, _) => each(&mover.new),
            (false, false) => each(&mover.old),
            (false, true) => {
                each(&mover.old);
                mover.repair.iter().for_each(&mut *each);
                each(&mover.new);
            }
        })
    }

    /// What may happen while each mover follows one of the sets that `sets` gives to its last argument.
    fn verdict(&self, sets: impl Fn(&Mover, usize, &mut dyn FnMut(&Ways))) -> Verdict {
        let count = self.movers.len();
        let (mut legs, mut dead) = (vec![Vec::new(); count], vec![false; count]);
        for (at, mover) in self.movers.iter().enumerate() {
            sets(mover, at, &mut |ways| {
                legs[at].extend_from_slice(&ways.to);
                dead[at] |= ways.dead;
            });
        }
        let component = components(&legs);
        let mut members = vec![0_u32; count];
        component.iter().for_each(|of| members[*of as usize] += 1);
        let alone = |at: usize| members[component[at] as usize] == 1 && !legs[at].contains(&(at as u32));
        let on_loop = (0..count).map(|at| !alone(at)).collect();
        // Outwards, so that what a way leads to is judged before; a component's members share their fate.
        let mut outwards: Vec<usize> = (0..count).collect();
        outwards.sort_unstable_by_key(|at| component[*at]);
        let mut lost = vec![false; count];
        for at in outwards {
            let further = legs[at].iter().any(|next| lost[component[*next as usize] as usize]);
            lost[component[at] as usize] |= dead[at] || further;
        }
        let safe = component.iter().map(|of| !lost[*of as usize]).collect();
        Verdict { component, on_loop, safe }
    }

    /// Whether a mover that must reach the destination may fail to.
    fn loses(&self, verdict: &Verdict) -> bool {
        self.movers.iter().zip(&verdict.safe).any(|(mover, safe)| mover.required && !safe)
    }

    /// Whether nothing happens: no loop, and nobody loses what it must reach.
    pub(super) fn ok(&self, verdict: &Verdict) -> bool {
        !verdict.on_loop.contains(&true) && !self.loses(verdict)
    }

    /// Whether the mover may have part in what is wrong with a verdict.
    pub(super) fn is_suspect(&self, verdict: &Verdict, position: usize) -> bool {
        verdict.on_loop[position] || self.loses(verdict)
    }

    /// Where the movers stand before the coming step, given what may happen were all remaining under way.
    ///
    /// A host on a loop waits until all that its new way meets on that loop has moved: from the destination
    /// outwards, as RFC 6976 orders. Where somebody would lose the destination, all movers do so, and a host
    /// that loses its way waits until nobody who needs it is left in front of it.
    pub(super) fn stands(&self, all: &Verdict) -> Vec<Stand> {
        let (count, loses) = (self.movers.len(), self.loses(all));
        let concerned = |at: usize| loses || all.on_loop[at];
        let together = |a: usize, b: usize| loses || all.component[a] == all.component[b];
        let needed = if loses { self.needed() } else { vec![false; count] };
        let mut stands = vec![Stand::Apart; count];
        let (mut seen, mut stack) = (vec![usize::MAX; count], Vec::new());
        for at in (0..count).filter(|at| !self.movers[*at].moved && concerned(*at)) {
            stack.clear();
            stack.push(at);
            seen[at] = at;
            let mut waits = !self.movers[at].reaches && needed[at];
            while let Some(from) = stack.pop()
                && !waits
            {
                for next in self.movers[from].new.to.iter().map(|next| *next as usize) {
                    if std::mem::replace(&mut seen[next], at) != at && together(at, next) {
                        waits |= !self.movers[next].moved;
                        stack.push(next);
                    }
                }
            }
            stands[at] = if waits { Stand::Waits } else { Stand::Next };
        }
        stands
    }

    /// Movers on a way, as it is now or as repaired, of one that has not moved and must reach the destination.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.movers.len()];
        let required = |mover: &&Mover| mover.required && !mover.moved;
        let mut stack: Vec<u32> = Vec::new();
        for mover in self.movers.iter().filter(required) {
            stack.extend(mover.old.to.iter().chain(mover.repair.iter().flat_map(|repair| &repair.to)));
        }
        while let Some(at) = stack.pop() {
            let mover = &self.movers[at as usize];
            if !std::mem::replace(&mut needed[at as usize], true) {
                stack.extend(if mover.moved { &mover.new.to } else { &mover.old.to });
            }
        }
        needed
    }
}

/// Strongly connected components (Tarjan), numbered in the order in which they are complete: a way leads
/// to its own component or to one with a lower number.
fn components(legs: &[Vec<u32>]) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let count = legs.len();
    let (mut component, mut index, mut low) = (vec![NONE; count], vec![NONE; count], vec![0; count]);
    let (mut open, mut frames, mut seen, mut complete) = (Vec::new(), Vec::new(), 0_u32, 0_u32);
    for first in 0..count {
        if index[first] == NONE {
            frames.push((first, 0));
        }
        while let Some((at, leg)) = frames.last_mut() {
            let (at, leg) = (*at, std::mem::replace(leg, *leg + 1));
            if leg == 0 {
                (index[at], low[at]) = (seen, seen);
                seen += 1;
                open.push(at);
            }
            match legs[at].get(leg).map(|next| *next as usize) {
                Some(next) if index[next] == NONE => frames.push((next, 0)),
                Some(next) if component[next] == NONE => low[at] = low[at].min(index[next]),
                Some(_) => {}
                None => {
                    frames.pop();
                    if let Some((parent, _)) = frames.last() {
                        low[*parent] = low[*parent].min(low[at]);
                    }
                    if low[at] == index[at] {
                        while let Some(member) = open.pop() {
                            component[member] = complete;
                            if member == at {
                                break;
                            }
                        }
                        complete += 1;
                    }
                }
            }
        }
    }
    component
}

/// Follows ways through nodes that do not change. One for all destinations: it keeps its memory.
pub(super) struct Contraction {
    /// The number of the destination in work: entries of others are stale.
    round: u32,
    /// By node: the round in which it was a mover, and its position.
    mover: Vec<(u32, u32)>,
    /// By node: the round in which it was followed, and to where; `None` while it is being followed.
    followed: Vec<(u32, Option<Ways>)>,
}

impl Contraction {
    pub(super) fn new(nodes: usize) -> Contraction {
        Contraction { round: 0, mover: vec![(0, 0); nodes], followed: vec![(0, None); nodes] }
    }

    fn begin(&mut self, movers: &[u32]) {
        self.round += 1;
        for (position, node) in (0_u32..).zip(movers) {
            self.mover[*node as usize] = (self.round, position);
        }
    }

    /// Where `legs` lead. A set without legs leads nowhere.
    fn ways(&mut self, view: &View<'_>, key: Key, legs: &[u32]) -> Ways {
        for leg in legs {
            self.follow(view, key, *leg);
        }
        self.joined(legs)
    }

    /// Follows `first` unless that has been done; depth first, without recursion: a way may be long.
    fn follow(&mut self, view: &View<'_>, key: Key, first: u32) {
        let mut frames: Vec<(u32, &[u32], usize)> = Vec::new();
        let mut next = Some(first);
        loop {
            if let Some(node) = next.filter(|node| !self.is_known(*node)) {
                self.followed[node as usize] = (self.round, None);
                frames.push((node, view.settled(node, key), 0));
            }
            let Some((node, legs, done)) = frames.last_mut() else { return };
            next = legs.get(*done).copied();
            *done += 1;
            if next.is_none() {
                self.followed[*node as usize].1 = Some(self.joined(legs));
                frames.pop();
            }
        }
    }

    fn is_known(&self, node: u32) -> bool {
        node == ARRIVED
            || self.mover[node as usize].0 == self.round
            || self.followed[node as usize].0 == self.round
    }

    /// The ways of `legs`, all of which have been followed.
    fn joined(&self, legs: &[u32]) -> Ways {
        let mut joined = Ways { to: Vec::new(), dead: legs.is_empty() };
        for leg in legs.iter().filter(|leg| **leg != ARRIVED) {
            match (self.mover[*leg as usize], &self.followed[*leg as usize].1) {
                ((round, position), _) if round == self.round => joined.to.push(position),
                (_, Some(ways)) => {
                    joined.to.extend_from_slice(&ways.to);
                    joined.dead |= ways.dead;
                }
                // Back at a node that is being followed: such a loop of unchanging nodes never arrives.
                (_, None) => joined.dead = true,
            }
        }
        joined.to.sort_unstable();
        joined.to.dedup();
        joined
    }
}
