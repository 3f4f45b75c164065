//! The order of a change: which host gets which program when, so that no packet loops and no pair of nodes
//! that is joined before and after is cut in between.
//!
//! While a step is under way each of its hosts may send as its program before says, as that program's repair
//! says, or as its program after says: any host in any of the three. A step is right when that, all ways of
//! all hosts taken together, has no loop for any destination, and every node that reaches a destination before
//! and after the change does so by each of its possible ways. docs/plan.md names the sources.
//!
//! Decides the order and writes down why it is right; `proof` checks that with code of its own.

mod blend;
mod view;
mod work;

use crate::program::TABLE_MAIN;
use crate::proof::{Destination, Order, Proof, State, Witness};
use crate::{Facts, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Safety;
use view::{Key, View};
use work::{Contraction, Progress, Stand, Work};

/// How many hosts are looked at, over all destinations and steps, before the search for an order gives up: a
/// second or two. Destinations that are left then are named as unproven.
const EFFORT_MAX: u64 = 20_000_000;

/// Programs that are released together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedStep {
    /// (host, what it gets), sorted by host.
    pub programs: Vec<(String, Arc<Program>)>,
    /// Pause after the last acknowledgement before the next step, in milliseconds; 0 where every host of the
    /// step had no program before.
    pub bake_ms: u64,
    /// (host, destinations) of the hosts that get an intermediate program: for these destinations they keep
    /// their old routes until a later step.
    pub held: Vec<(String, Vec<String>)>,
}

/// A change in steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order. A host whose program stays is in none; one that gets an intermediate program is in several.
    pub steps: Vec<OrderedStep>,
    /// Why the steps are right.
    pub proof: Proof,
    /// Destinations for which no right order was found; none for programs that come from `compile`, unless
    /// the search gave up. The proof does not cover them.
    pub unproven: Vec<Destination>,
}

/// Orders the change from `old` to `new`. Hosts without a program come first, all at once and exempt from the
/// bounds; of the others at most `max(1, safety.max_hosts_per_step)` are in a step, and in the first of these
/// at most `safety.canary_hosts`.
pub fn order(old: Option<State<'_>>, new: State<'_>, facts: &Facts, safety: &Safety) -> Plan {
    let view = View::new(old, new, facts);
    let changed: Vec<u32> = (0..view.names.len() as u32)
        .filter(|node| view.new.program(*node).is_some())
        .filter(|node| view.old.as_ref().and_then(|old| old.digest(*node)) != view.new.digest(*node))
        .collect();
    let works = works(&view, &changed);
    let mut works_of: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (work, found) in works.iter().enumerate() {
        for (position, mover) in found.movers.iter().enumerate() {
            works_of.entry(mover.node).or_default().push((work, position));
        }
    }
    let hosts_per_step = safety.max_hosts_per_step.of(new.network.programs.len()).max(1);
    let mut planner =
        Planner { view, works, works_of, remaining: BTreeSet::new(), steps: Vec::new(), effort: 0 };
    let is_fresh = |node: &u32| planner.view.old.as_ref().is_none_or(|old| old.program(*node).is_none());
    let (fresh, known): (Vec<u32>, Vec<u32>) = changed.into_iter().partition(is_fresh);
    planner.remaining = known.into_iter().collect();
    planner.first(fresh);
    let canary =
        safety.canary_hosts.map_or(hosts_per_step, |hosts| (hosts as usize).clamp(1, hosts_per_step));
    let mut bound = canary;
    while !planner.remaining.is_empty() {
        planner.step(bound, safety.bake_ms);
        bound = hosts_per_step;
    }
    planner.finish()
}

/// The destinations for which some of the hosts `changed` change their next hops.
fn works(view: &View<'_>, changed: &[u32]) -> Vec<Work> {
    let Some(old) = &view.old else { return Vec::new() };
    let keys = view.keys();
    // Positions in `keys` by class of the new state; more than one where prefixes move to it.
    let mut by_class: Vec<(u32, usize)> =
        keys.iter().enumerate().map(|(at, key)| (key.new.class.0, at)).collect();
    by_class.sort_unstable();
    let moving: Vec<usize> = (0..keys.len()).filter(|at| !same_destination(keys[*at])).collect();
    let mut found: Vec<(usize, u32)> = Vec::new();
    for node in changed {
        let mut touched = |at: usize| {
            let key = keys[at];
            if old.primary(*node, key.old) != view.new.primary(*node, key.new) {
                found.push((at, *node));
            }
        };
        match (old.program(*node), view.new.program(*node)) {
            (Some(was), Some(is)) if old.same_groups(&view.new, *node) => {
                let lives = |group| old.lives(*node, group);
                for class in differing(was, is, lives) {
                    let start = by_class.partition_point(|(known, _)| *known < class);
                    let of_class = by_class[start..].iter().take_while(|(known, _)| *known == class);
                    of_class.filter(|(_, at)| same_destination(keys[*at])).for_each(|(_, at)| touched(*at));
                }
                moving.iter().for_each(|at| touched(*at));
            }
            _ => (0..keys.len()).for_each(touched),
        }
    }
    found.sort_unstable();
    let mut contraction = Contraction::new(view.names.len());
    let of_key = found.chunk_by(|a, b| a.0 == b.0);
    of_key
        .map(|movers| {
            let nodes: Vec<u32> = movers.iter().map(|(_, node)| *node).collect();
            Work::new(view, keys[movers[0].0], &nodes, &mut contraction)
        })
        .collect()
}

/// Whether the same class has the same number in both states.
fn same_destination(key: Key) -> bool {
    key.stays && key.old.class == key.new.class
}

/// Classes whose routes in force may differ; `lives` tells whether a group that both have leads anywhere.
fn differing(old: &Program, new: &Program, lives: impl Fn(u32) -> bool) -> Vec<u32> {
    let (mut was, mut is) = (old.classes.iter().peekable(), new.classes.iter().peekable());
    let (mut classes, mut settled) = (Vec::new(), None);
    loop {
        let class = match (was.peek(), is.peek()) {
            (Some(a), Some(b)) if a == b => {
                // The best route of both: what is behind it does not matter.
                if settled != Some(a.class) && a.table == TABLE_MAIN && lives(a.group) {
                    settled = Some(a.class);
                }
                was.next();
                is.next();
                continue;
            }
            (Some(a), Some(b)) => a.class.min(b.class),
            (Some(rest), None) | (None, Some(rest)) => rest.class,
            (None, None) => return classes,
        };
        while was.next_if(|route| route.class == class).is_some() {}
        while is.next_if(|route| route.class == class).is_some() {}
        if settled != Some(class) {
            classes.push(class.0);
        }
    }
}

/// By position in `works`: where the movers stand in those that still need an order.
type Stands = BTreeMap<usize, Vec<Stand>>;

/// What a host does in a step: `None` goes to its new program, `Some` only for these works.
type Moves = BTreeMap<u32, Option<BTreeSet<usize>>>;

struct Planner<'a> {
    view: View<'a>,
    works: Vec<Work>,
    /// By node: (position in `works`, position among its movers).
    works_of: BTreeMap<u32, Vec<(usize, usize)>>,
    /// Hosts that do not have their new program.
    remaining: BTreeSet<u32>,
    steps: Vec<OrderedStep>,
    effort: u64,
}

impl Planner<'_> {
    /// The step of the hosts without a program. No other host sends to them before they have one.
    fn first(&mut self, fresh: Vec<u32>) {
        if fresh.is_empty() {
            return;
        }
        let moves: Moves = fresh.into_iter().map(|node| (node, None)).collect();
        for work in &mut self.works {
            let comes = |at: usize| moves.contains_key(&work.movers[at].node);
            if !work.ok(&work.judge(comes)) {
                work.state = Progress::Unproven;
            }
        }
        self.apply(moves, 0);
        for work in self.works.iter_mut().filter(|work| work.state == Progress::Bound) {
            // An order of all ways from here on holds for this step as well: nobody sends to the new hosts.
            let all = work.judge(|_| true);
            let free = work.ok(&all);
            let holds = if free { all } else { work.judge(|_| false) };
            work.orders.push((0, holds.order()));
            work.state = if free { Progress::Free } else { Progress::Bound };
        }
    }

    /// Adds the next step, of at most `bound` hosts, or leaves some destinations without an order.
    fn step(&mut self, bound: usize, bake_ms: u64) {
        let stands = self.stands();
        let mut moves = self.whole(&stands, bound);
        if !stands.is_empty() && !moves.keys().any(|node| self.has(*node, &stands, Stand::Next)) {
            let parts = self.parts(&stands, bound - moves.len());
            moves.extend(parts);
        }
        self.drop_conflicts(&mut moves);
        let is_bound = |work: &Work| work.state == Progress::Bound;
        if moves.is_empty() || self.effort > EFFORT_MAX && self.works.iter().any(is_bound) {
            self.give_up();
            return;
        }
        let step = self.steps.len() as u32;
        for (at, work) in self.works.iter_mut().enumerate().filter(|(_, work)| work.state == Progress::Bound)
        {
            let concerned = |position: usize| goes(&moves, work.movers[position].node, at);
            if (0..work.movers.len()).any(|position| !work.movers[position].moved && concerned(position)) {
                let verdict = work.judge(concerned);
                // Before its first mover moves, the old ways alone are a part of what this order covers.
                let from = if work.orders.is_empty() { 0 } else { step };
                work.orders.push((from, verdict.order()));
            }
        }
        self.apply(moves, bake_ms);
    }

    /// Leaves destinations without an order: those of prefixes that move, which no intermediate program can
    /// hold back, or all that are left.
    fn give_up(&mut self) {
        let bound = |work: &&mut Work| work.state == Progress::Bound;
        let moving = self.works.iter_mut().filter(bound).any(|work| !work.key.stays);
        let all = !moving || self.effort > EFFORT_MAX;
        for work in self.works.iter_mut().filter(bound).filter(|work| all || !work.key.stays) {
            work.state = Progress::Unproven;
        }
    }

    /// Frees the works that need no order any more; gives where the movers of the others stand.
    fn stands(&mut self) -> Stands {
        let step = self.steps.len() as u32;
        let mut stands = Stands::new();
        for (at, work) in self.works.iter_mut().enumerate().filter(|(_, work)| work.state == Progress::Bound)
        {
            self.effort += work.movers.len() as u64;
            let all = work.judge(|_| true);
            if work.ok(&all) {
                work.state = Progress::Free;
                let from = if work.orders.is_empty() { 0 } else { step };
                work.orders.push((from, all.order()));
            } else {
                stands.insert(at, work.stands(&all));
            }
        }
        stands
    }

    /// Whether `node` stands so for some destination for which it has not moved.
    fn has(&self, node: u32, stands: &Stands, wanted: Stand) -> bool {
        let stand = |(work, position): (usize, usize)| Some(stands.get(&work)?[position]);
        self.open(node).any(|at| stand(at) == Some(wanted))
    }

    /// Remaining hosts that can get their new program, those first on which others wait.
    fn whole(&self, stands: &Stands, bound: usize) -> Moves {
        let ready = self.remaining.iter().copied().filter(|node| !self.has(*node, stands, Stand::Waits));
        let (first, then): (Vec<u32>, Vec<u32>) =
            ready.partition(|node| self.has(*node, stands, Stand::Next));
        first.into_iter().chain(then).take(bound).map(|node| (node, None)).collect()
    }

    /// Remaining hosts that can go on for some of the destinations while others hold them back.
    fn parts(&self, stands: &Stands, bound: usize) -> Moves {
        let mut moves = Moves::new();
        let both = |node: &u32| self.has(*node, stands, Stand::Next) && self.has(*node, stands, Stand::Waits);
        for node in self.remaining.iter().copied().filter(both) {
            let waits = |(work, position): &(usize, usize)| {
                stands.get(work).is_some_and(|stands| stands[*position] == Stand::Waits)
            };
            let ready = self.open(node).filter(|at| !waits(at));
            let part: BTreeSet<usize> = ready.map(|(work, _)| work).collect();
            if moves.len() < bound && self.is_expressible(node, &part) {
                moves.insert(node, Some(part));
            }
        }
        moves
    }

    /// (position in `works`, position among the movers) where `node` has its old next hops.
    fn open(&self, node: u32) -> impl Iterator<Item = (usize, usize)> {
        let works = self.works_of.get(&node).into_iter().flatten().copied();
        works.filter(|(work, position)| !self.works[*work].movers[*position].moved)
    }

    /// Whether an intermediate program can move `node` for the works `part` and no other. The new prefix table
    /// sends prefixes that move with their new class, whatever else the program says.
    fn is_expressible(&self, node: u32, part: &BTreeSet<usize>) -> bool {
        let key = |work: &usize| self.works[*work].key;
        let held: Vec<Key> = self
            .open(node)
            .map(|(work, _)| work)
            .filter(|work| !part.contains(work))
            .map(|work| key(&work))
            .collect();
        let moves_prefixes = |work: &usize| self.works[*work].state != Progress::Unproven && !key(work).stays;
        let pulled = |work: &usize| moves_prefixes(work) && held.iter().any(|held| held.new == key(work).new);
        held.iter().all(|key| key.stays) && !part.iter().any(pulled)
    }

    /// Takes out of `moves` what must not happen at the same time: of two, the host that is later by name.
    fn drop_conflicts(&mut self, moves: &mut Moves) {
        for (at, work) in self.works.iter().enumerate().filter(|(_, work)| work.state == Progress::Bound) {
            let node = |position: usize| work.movers[position].node;
            self.effort += work.movers.len() as u64;
            let together = work.judge(|position| goes(moves, node(position), at));
            if work.ok(&together) {
                continue;
            }
            let going = (0..work.movers.len())
                .filter(|position| !work.movers[*position].moved && goes(moves, node(*position), at));
            let (suspects, others): (Vec<usize>, Vec<usize>) =
                going.partition(|position| work.is_suspect(&together, *position));
            let mut kept: BTreeSet<usize> = others.into_iter().collect();
            for suspect in suspects {
                self.effort += work.movers.len() as u64;
                kept.insert(suspect);
                if !work.ok(&work.judge(|position| kept.contains(&position))) {
                    kept.remove(&suspect);
                    let mut part = moves.remove(&node(suspect)).flatten().unwrap_or_default();
                    if part.remove(&at) && !part.is_empty() && self.is_expressible(node(suspect), &part) {
                        moves.insert(node(suspect), Some(part));
                    }
                }
            }
        }
    }

    /// Carries `moves` out.
    fn apply(&mut self, moves: Moves, bake_ms: u64) {
        let mut step = OrderedStep { programs: Vec::new(), bake_ms, held: Vec::new() };
        for (node, part) in moves {
            for (work, position) in self.works_of.get(&node).into_iter().flatten() {
                if part.as_ref().is_none_or(|part| part.contains(work)) {
                    self.works[*work].movers[*position].moved = true;
                }
            }
            let host = self.view.names[node as usize].to_string();
            let Some(new) = self.view.new.program(node) else { continue };
            let held: Vec<Key> = self.open(node).map(|(work, _)| self.works[work].key).collect();
            let old = self.view.old.as_ref().and_then(|old| old.program(node));
            match (part, old) {
                (Some(_), Some(old)) if !held.is_empty() => {
                    let classes: Vec<_> = held.iter().map(|key| (key.old.class, key.new.class)).collect();
                    step.programs.push((host.clone(), Arc::new(blend::blend(old, new, &classes))));
                    step.held.push((host, held.iter().map(|key| self.destination(*key).new).collect()));
                }
                _ => {
                    self.remaining.remove(&node);
                    step.programs.push((host, new.clone()));
                }
            }
        }
        self.steps.push(step);
    }

    fn destination(&self, key: Key) -> Destination {
        let name =
            |state: &State<'_>, class| state.network.table.class_name(class).unwrap_or_default().to_string();
        let old = self.view.old.as_ref().map(|old| name(&old.state, key.old.class));
        Destination { old: old.unwrap_or_default(), new: name(&self.view.new.state, key.new.class) }
    }

    fn finish(self) -> Plan {
        let unproven = self.works.iter().filter(|work| work.state == Progress::Unproven);
        let unproven = unproven.map(|work| self.destination(work.key)).collect();
        // Many destinations change at the same hosts in the same order: they share a witness.
        let mut shared: BTreeMap<Vec<(u32, Vec<u32>)>, Vec<Destination>> = BTreeMap::new();
        for work in self.works.iter().filter(|work| work.state != Progress::Unproven) {
            let nodes = |order: &Vec<u32>| order.iter().map(|at| work.movers[*at as usize].node).collect();
            let orders = work.orders.iter().map(|(from, order)| (*from, nodes(order))).collect();
            shared.entry(orders).or_default().push(self.destination(work.key));
        }
        let listed: BTreeSet<u32> =
            shared.keys().flatten().flat_map(|(_, nodes)| nodes.iter().copied()).collect();
        let number: BTreeMap<u32, u32> = listed.iter().copied().zip(0..).collect();
        let witness = |(orders, mut destinations): (Vec<(u32, Vec<u32>)>, Vec<Destination>)| {
            destinations.sort_unstable();
            let order = |(from_step, nodes): (u32, Vec<u32>)| Order {
                from_step,
                hosts: nodes.iter().map(|node| number[node]).collect(),
            };
            Witness { destinations, orders: orders.into_iter().map(order).collect() }
        };
        let mut witnesses: Vec<Witness> = shared.into_iter().map(witness).collect();
        witnesses.sort_unstable_by(|a, b| a.destinations.cmp(&b.destinations));
        let hosts = listed.iter().map(|node| self.view.names[*node as usize].to_string()).collect();
        Plan { steps: self.steps, proof: Proof { hosts, witnesses }, unproven }
    }
}

/// Whether `node` goes to its new next hops of the work at position `work`.
fn goes(moves: &Moves, node: u32, work: usize) -> bool {
    moves.get(&node).is_some_and(|part| part.as_ref().is_none_or(|part| part.contains(&work)))
}

#[cfg(test)]
pub(crate) mod tests;
