//! Whether a proof holds: each destination by itself, each step by itself.

use super::read::{HERE, Run, Sets, Story, Target};
use super::{Proof, State, Witness, Wrong};
use crate::{ClassId, Facts, Program};
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
    for (target, hosts) in changing(&story) {
        Check::new(&story, &story.targets[target], hosts).all_steps(&ranks)?;
    }
    Ok(())
}

/// Refuses ways to a new destination that are not those of the new state: those in any mixture with none at
/// all are a part of the new state and need no order.
fn strays(story: &Story<'_>) -> Result<(), Wrong> {
    for (node, runs) in story.runs.iter().enumerate() {
        let Some((_, last)) = runs.last() else { continue };
        for (step, run) in runs.iter().filter(|(_, run)| matches!(run, Run::New(_, true))) {
            for (class, name) in &story.arrivals {
                let ways = story.routes(node, *run, *class);
                if !ways.primary.is_empty() && ways.primary != story.routes(node, *last, *class).primary {
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
            let classes = story.differing(node, *before, *after);
            let found = classes.iter().filter_map(|class| of_class.get(class));
            for at in found.chain(&others) {
                let target = &story.targets[*at];
                if story.sets(node, *before, target).primary != story.sets(node, *after, target).primary {
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

/// The check of one destination.
struct Check<'a, 's> {
    story: &'s Story<'a>,
    target: &'s Target,
    /// Hosts whose way changes at some time.
    hosts: BTreeSet<usize>,
    /// Ways of nodes that do not change.
    constant: BTreeMap<usize, Vec<usize>>,
}

impl<'a, 's> Check<'a, 's> {
    fn new(story: &'s Story<'a>, target: &'s Target, hosts: BTreeSet<usize>) -> Check<'a, 's> {
        Check { story, target, hosts, constant: BTreeMap::new() }
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
        let rank: BTreeMap<usize, usize> = order.iter().copied().zip(0..).collect();
        if let Some(host) = self.hosts.iter().find(|host| !rank.contains_key(host)) {
            return Err(self.uncovered(step, *host));
        }
        let mut ends: BTreeMap<usize, End> = BTreeMap::new();
        for host in order {
            let own = rank[host];
            let mut safe = true;
            for set in self.possible(*host, step) {
                safe &= !set.is_empty();
                for leg in set {
                    let end = self.follow(leg, &rank, &mut ends);
                    safe &= end.safe;
                    let Some((_, next)) = end.highest.filter(|(highest, _)| *highest >= own) else {
                        continue;
                    };
                    return Err(self.disorder(step, *host, next));
                }
            }
            ends.insert(*host, End { highest: Some((own, *host)), safe });
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
    fn possible(&self, node: usize, step: usize) -> Vec<Vec<usize>> {
        let runs = &self.story.runs[node];
        let before = runs.iter().rev().find(|(from, _)| *from < step);
        let under_way = runs.iter().find(|(from, _)| *from == step);
        let sets = |(_, run): &(usize, Run<'a>)| self.story.sets(node, *run, self.target);
        let before: Sets = before.map(sets).unwrap_or_default();
        match under_way.map(sets) {
            Some(after) if after.primary != before.primary => {
                let repair = (!before.repair.is_empty()).then_some(before.repair);
                [before.primary].into_iter().chain(repair).chain([after.primary]).collect()
            }
            _ => vec![before.primary],
        }
    }

    /// Follows `first` through nodes without a rank to those that have one. `ends` keeps what is known.
    fn follow(
        &mut self,
        first: usize,
        rank: &BTreeMap<usize, usize>,
        ends: &mut BTreeMap<usize, End>,
    ) -> End {
        let mut open: BTreeSet<usize> = BTreeSet::new();
        let mut stack = vec![first];
        while let Some(node) = stack.last().copied() {
            if let Some(end) = known(node, rank, ends) {
                stack.pop();
                if stack.is_empty() {
                    return end;
                }
                continue;
            }
            let legs = self.constant_way(node);
            let unknown = |leg: &&usize| known(**leg, rank, ends).is_none();
            match legs.iter().find(unknown) {
                // Back at a node on the way here: packets turn in a circle of nodes that do not change.
                Some(leg) if open.contains(leg) => {
                    ends.insert(node, End { highest: Some((usize::MAX, node)), safe: false });
                }
                Some(leg) => {
                    open.insert(node);
                    stack.push(*leg);
                }
                None => {
                    let reached = legs.iter().filter_map(|leg| known(*leg, rank, ends));
                    let end = reached.fold(End { highest: None, safe: !legs.is_empty() }, |all, end| End {
                        highest: all.highest.max(end.highest),
                        safe: all.safe && end.safe,
                    });
                    ends.insert(node, end);
                }
            }
        }
        End { highest: None, safe: false }
    }

    /// The way of a node that never changes it.
    fn constant_way(&mut self, node: usize) -> Vec<usize> {
        let (story, target) = (self.story, self.target);
        let read = || story.runs[node].last().map(|(_, run)| story.sets(node, *run, target).primary);
        self.constant.entry(node).or_insert_with(|| read().unwrap_or_default()).clone()
    }

    /// The hosts that reach the destination before the first step and after the last.
    fn required(&mut self) -> BTreeSet<usize> {
        let hosts = self.hosts.clone();
        let before = self.arriving(&hosts, |runs| runs.first());
        let after = self.arriving(&hosts, |runs| runs.last());
        before.intersection(&after).copied().collect()
    }

    /// Which of `hosts` arrive when every node runs what `pick` says.
    fn arriving(
        &self,
        hosts: &BTreeSet<usize>,
        pick: impl for<'r> Fn(&'r [(usize, Run<'a>)]) -> Option<&'r (usize, Run<'a>)>,
    ) -> BTreeSet<usize> {
        // `None`: being followed. A way back there is a loop and does not arrive.
        let mut arrives: BTreeMap<usize, Option<bool>> = BTreeMap::from([(HERE, Some(true))]);
        for host in hosts {
            let mut stack = vec![(*host, false)];
            while let Some((node, done)) = stack.pop() {
                if !done && arrives.contains_key(&node) {
                    continue;
                }
                let run = pick(&self.story.runs[node]);
                let way = run.map(|(_, run)| self.story.sets(node, *run, self.target).primary);
                let way = way.unwrap_or_default();
                if done {
                    let all = way.iter().all(|next| arrives.get(next) == Some(&Some(true)));
                    arrives.insert(node, Some(all && !way.is_empty()));
                } else {
                    arrives.insert(node, None);
                    stack.push((node, true));
                    stack.extend(way.into_iter().map(|next| (next, false)));
                }
            }
        }
        hosts.iter().filter(|host| arrives.get(host) == Some(&Some(true))).copied().collect()
    }
}

/// What is known about where `node` ends. A host with a rank that has not been judged yet counts as lost: who
/// meets it from a lower rank is refused for that.
fn known(node: usize, rank: &BTreeMap<usize, usize>, ends: &BTreeMap<usize, End>) -> Option<End> {
    if node == HERE {
        return Some(End { highest: None, safe: true });
    }
    let unjudged = rank.get(&node).map(|rank| End { highest: Some((*rank, node)), safe: false });
    ends.get(&node).copied().or(unjudged)
}
