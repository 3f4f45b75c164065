//! Whether a proof holds: each destination by itself, each step by itself.

use super::read::{HERE, Kind, Run, Story, Target};
use super::{Proof, State, Witness, Wrong};
use crate::{ClassId, Facts, Program};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn verify(
    old: Option<State<'_>>,
    steps: &[&[(String, Arc<Program>)]],
    new: State<'_>,
    facts: &Facts,
    proof: &Proof,
) -> Result<(), Wrong> {
    let story = Story::new(old, steps, new, facts)?;
    let ranks = Ranks::new(&story, proof)?;
    strays(&story)?;
    let mut marks = Marks::new(story.names.len());
    for (target, hosts) in changing(&story) {
        Check::new(&story, &story.targets[target], hosts, &mut marks).all_steps(&ranks)?;
    }
    Ok(())
}

/// Refuses ways to a new destination that are not those of the new state: those in any mixture with none at
/// all are a part of the new state and need no order.
fn strays(story: &Story<'_>) -> Result<(), Wrong> {
    for (node, runs) in story.runs.iter().enumerate() {
        let Some((_, last)) = runs.last() else { continue };
        for (step, run) in runs.iter().filter(|(_, run)| matches!(run.kind, Kind::New(_, true))) {
            for (class, name) in &story.arrivals {
                let way = story.in_force(node, run, *class);
                if !way.is_empty() && way != story.in_force(node, last, *class) {
                    let (host, destination) = (story.names[node].to_string(), name.to_string());
                    return Err(Wrong::Stray { step: *step, host, destination });
                }
            }
        }
    }
    Ok(())
}

/// Position of a target -> hosts whose way to it is not the same all the time.
fn changing(story: &Story<'_>) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut of_class: BTreeMap<ClassId, usize> = BTreeMap::new();
    let mut others = Vec::new();
    for (at, target) in story.targets.iter().enumerate() {
        match target.only_class() {
            Some(class) => _ = of_class.insert(class, at),
            None => others.push(at),
        }
    }
    let mut changing: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (node, runs) in story.runs.iter().enumerate() {
        for change in runs.windows(2) {
            let [(_, before), (_, after)] = change else { continue };
            let classes = story.differing(node, before, after);
            let found = classes.iter().filter_map(|class| of_class.get(class));
            for at in found.chain(&others) {
                let target = &story.targets[*at];
                if story.primary(node, before, target) != story.primary(node, after, target) {
                    changing.entry(*at).or_default().insert(node);
                }
            }
        }
    }
    changing
}

/// The proof's orders by destination, in nodes.
struct Ranks<'a> {
    of: BTreeMap<(&'a str, &'a str), &'a Witness>,
    /// By position in the proof's hosts.
    nodes: Vec<usize>,
}

impl<'a> Ranks<'a> {
    fn new(story: &Story<'_>, proof: &'a Proof) -> Result<Ranks<'a>, Wrong> {
        let malformed = |reason: String| Wrong::Malformed { reason };
        let mut nodes = Vec::new();
        for host in &proof.hosts {
            let unknown = || malformed(format!("{host} is no node of either state"));
            nodes.push(story.node(host).ok_or_else(unknown)?);
        }
        if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
            return Err(malformed("a host has two numbers".to_string()));
        }
        let mut of = BTreeMap::new();
        for witness in &proof.witnesses {
            for name in &witness.destinations {
                if of.insert((&*name.old, &*name.new), witness).is_some() {
                    return Err(malformed(format!("{} is there twice", name.new)));
                }
            }
            if !witness.orders.is_sorted_by(|a, b| a.from_step < b.from_step) {
                return Err(malformed("the orders of a destination are not sorted by step".to_string()));
            }
            for order in &witness.orders {
                let distinct: BTreeSet<&u32> = order.hosts.iter().collect();
                let known = distinct.last().is_none_or(|last| (**last as usize) < nodes.len());
                if distinct.len() < order.hosts.len() || !known {
                    return Err(malformed("an order names a host twice or one without a name".to_string()));
                }
            }
        }
        Ok(Ranks { of, nodes })
    }

    /// The order for `target` in step number `step`, as nodes.
    fn order(&self, target: &Target, step: usize) -> Option<Vec<usize>> {
        let witness = self.of.get(&(target.name.old.as_str(), target.name.new.as_str()))?;
        let in_force = |from: u32| (from as usize) < step;
        let order = witness.orders.iter().rev().find(|order| in_force(order.from_step))?;
        Some(order.hosts.iter().map(|host| self.nodes[*host as usize]).collect())
    }
}

/// Where following a node ends.
#[derive(Clone, Copy)]
struct End {
    /// Highest rank that is met first, and the host that has it.
    highest: Option<(usize, usize)>,
    /// Whether packets arrive, whatever the hosts that are met do.
    safe: bool,
}

/// Something known of some nodes, empty again at no cost.
struct Marked<T> {
    turn: u32,
    of_node: Vec<(u32, T)>,
}

impl<T: Copy> Marked<T> {
    fn new(nodes: usize, nothing: T) -> Marked<T> {
        Marked { turn: 1, of_node: vec![(0, nothing); nodes] }
    }

    fn clear(&mut self) {
        self.turn += 1;
    }

    fn get(&self, node: usize) -> Option<T> {
        let (turn, known) = self.of_node.get(node)?;
        (*turn == self.turn).then_some(*known)
    }

    fn set(&mut self, node: usize, known: T) {
        if let Some(place) = self.of_node.get_mut(node) {
            *place = (self.turn, known);
        }
    }
}

/// What is known of nodes, kept from destination to destination for its memory alone.
struct Marks {
    rank: Marked<usize>,
    ends: Marked<End>,
    open: Marked<()>,
    /// `None`: being followed. A way back there is a loop and does not arrive.
    arrives: Marked<Option<bool>>,
}

impl Marks {
    fn new(nodes: usize) -> Marks {
        Marks {
            rank: Marked::new(nodes, 0),
            ends: Marked::new(nodes, End { highest: None, safe: false }),
            open: Marked::new(nodes, ()),
            arrives: Marked::new(nodes, None),
        }
    }

    /// What is known about where `node` ends. A host with a rank that has not been judged yet counts as lost: who
    /// meets it from a lower rank is refused for that.
    fn known(&self, node: usize) -> Option<End> {
        if node == HERE {
            return Some(End { highest: None, safe: true });
        }
        let unjudged = || self.rank.get(node).map(|rank| End { highest: Some((rank, node)), safe: false });
        self.ends.get(node).or_else(unjudged)
    }
}

/// The check of one destination.
struct Check<'a, 's> {
    story: &'s Story<'a>,
    target: &'s Target,
    /// Hosts whose way changes at some time.
    hosts: BTreeSet<usize>,
    marks: &'s mut Marks,
}

impl<'a, 's> Check<'a, 's> {
    fn new(
        story: &'s Story<'a>,
        target: &'s Target,
        hosts: BTreeSet<usize>,
        marks: &'s mut Marks,
    ) -> Check<'a, 's> {
        Check { story, target, hosts, marks }
    }

    fn all_steps(&mut self, ranks: &Ranks<'_>) -> Result<(), Wrong> {
        let required = self.required();
        let mut steps: BTreeMap<usize, usize> = BTreeMap::new();
        for node in self.hosts.iter().rev() {
            for (step, _) in self.story.runs[*node].iter().skip(1) {
                if self.possible(*node, *step).len() > 1 {
                    steps.insert(*step, *node);
                }
            }
        }
        for (step, host) in steps {
            let order = ranks.order(self.target, step);
            self.step(step, &order.ok_or_else(|| self.uncovered(step, host))?, &required)?;
        }
        Ok(())
    }

    fn uncovered(&self, step: usize, host: usize) -> Wrong {
        let destination = self.target.name.new.clone();
        Wrong::Uncovered { step, host: self.story.names[host].to_string(), destination }
    }

    /// One step under one order.
    fn step(&mut self, step: usize, order: &[usize], required: &BTreeSet<usize>) -> Result<(), Wrong> {
        self.marks.rank.clear();
        self.marks.ends.clear();
        for (rank, host) in order.iter().enumerate() {
            self.marks.rank.set(*host, rank);
        }
        if let Some(host) = self.hosts.iter().find(|host| self.marks.rank.get(**host).is_none()) {
            return Err(self.uncovered(step, *host));
        }
        for (own, host) in order.iter().enumerate() {
            let mut safe = true;
            for set in self.possible(*host, step) {
                safe &= !set.is_empty();
                for leg in set.iter() {
                    let end = self.follow(*leg);
                    safe &= end.safe;
                    let Some((_, next)) = end.highest.filter(|(highest, _)| *highest >= own) else {
                        continue;
                    };
                    return Err(self.disorder(step, *host, next));
                }
            }
            self.marks.ends.set(*host, End { highest: Some((own, *host)), safe });
            if required.contains(host) && !safe {
                let destination = self.target.name.new.clone();
                return Err(Wrong::Lost { step, host: self.story.names[*host].to_string(), destination });
            }
        }
        Ok(())
    }

    fn disorder(&self, step: usize, host: usize, next: usize) -> Wrong {
        let name = |node: usize| self.story.names[node].to_string();
        Wrong::Order { step, host: name(host), destination: self.target.name.new.clone(), next: name(next) }
    }

    /// All sets by which a host may send while `step` is under way.
    fn possible(&self, node: usize, step: usize) -> Vec<Cow<'s, [usize]>> {
        let (story, target) = (self.story, self.target);
        let runs = &story.runs[node];
        let before = runs.iter().rev().find(|(from, _)| *from < step);
        let under_way = runs.iter().find(|(from, _)| *from == step);
        let primary = |(_, run): &'s (usize, Run<'a>)| story.primary(node, run, target);
        let now = before.map(primary).unwrap_or_default();
        match under_way.map(primary) {
            Some(after) if after != now => {
                let repair = before.map(|(_, run)| story.repair(node, run, target)).unwrap_or_default();
                let repair = (!repair.is_empty()).then_some(Cow::Owned(repair));
                [Cow::Borrowed(now)].into_iter().chain(repair).chain([Cow::Borrowed(after)]).collect()
            }
            _ => vec![Cow::Borrowed(now)],
        }
    }

    /// Follows `first` through nodes without a rank to those that have one.
    fn follow(&mut self, first: usize) -> End {
        if let Some(end) = self.marks.known(first) {
            return end;
        }
        self.marks.open.clear();
        let mut stack = vec![first];
        while let Some(node) = stack.last().copied() {
            if let Some(end) = self.marks.known(node) {
                stack.pop();
                if stack.is_empty() {
                    return end;
                }
                continue;
            }
            let legs = self.constant_way(node);
            match legs.iter().find(|leg| self.marks.known(**leg).is_none()) {
                // Back at a node on the way here: packets turn in a circle of nodes that do not change.
                Some(leg) if self.marks.open.get(*leg).is_some() => {
                    self.marks.ends.set(node, End { highest: Some((usize::MAX, node)), safe: false });
                }
                Some(leg) => {
                    self.marks.open.set(node, ());
                    stack.push(*leg);
                }
                None => {
                    let reached = legs.iter().filter_map(|leg| self.marks.known(*leg));
                    let end = reached.fold(End { highest: None, safe: !legs.is_empty() }, |all, end| End {
                        highest: all.highest.max(end.highest),
                        safe: all.safe && end.safe,
                    });
                    self.marks.ends.set(node, end);
                }
            }
        }
        End { highest: None, safe: false }
    }

    /// The way of a node that never changes it.
    fn constant_way(&self, node: usize) -> &'s [usize] {
        let last = self.story.runs[node].last();
        last.map(|(_, run)| self.story.primary(node, run, self.target)).unwrap_or_default()
    }

    /// The hosts that reach the destination before the first step and after the last.
    fn required(&mut self) -> BTreeSet<usize> {
        let before = self.arriving(|runs| runs.first());
        let after = self.arriving(|runs| runs.last());
        before.intersection(&after).copied().collect()
    }

    /// Which of the hosts arrive when every node runs what `pick` says.
    fn arriving(
        &mut self,
        pick: impl for<'r> Fn(&'r [(usize, Run<'a>)]) -> Option<&'r (usize, Run<'a>)>,
    ) -> BTreeSet<usize> {
        let story = self.story;
        let arrives = &mut self.marks.arrives;
        arrives.clear();
        let arrived =
            |arrives: &Marked<Option<bool>>, node| node == HERE || arrives.get(node) == Some(Some(true));
        let mut stack = Vec::new();
        for host in &self.hosts {
            stack.push((*host, false));
            while let Some((node, done)) = stack.pop() {
                if !done && (node == HERE || arrives.get(node).is_some()) {
                    continue;
                }
                let run = pick(&story.runs[node]);
                let way = run.map(|(_, run)| story.primary(node, run, self.target)).unwrap_or_default();
                if done {
                    let all = way.iter().all(|next| arrived(arrives, *next));
                    arrives.set(node, Some(all && !way.is_empty()));
                } else {
                    arrives.set(node, None);
                    stack.push((node, true));
                    stack.extend(way.iter().map(|next| (*next, false)));
                }
            }
        }
        self.hosts.iter().filter(|host| arrived(arrives, **host)).copied().collect()
    }
}
