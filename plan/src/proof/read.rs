//! What hosts run and where that sends, read from programs alone.

use super::{Destination, State, Wrong};
use crate::program::{ClassRoute, TABLE_MAIN};
use crate::{ClassId, Facts, Program};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Next hop of a destination's own nodes, and over an uplink: out of the network.
pub(super) const HERE: usize = usize::MAX;

/// What a host runs at some time.
pub(super) struct Run<'a> {
    pub(super) kind: Kind<'a>,
    /// Where each group leads, sorted by id; read when first asked for, since thousands of classes share few groups.
    groups: OnceCell<Vec<(u32, Vec<usize>)>>,
}

/// Where a host has its program from.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// It has had no program yet.
    Nothing,
    /// Its program of the old state.
    Old(&'a Program),
    /// A program over the new prefix table; `true`: it may use links that only the old state has.
    New(&'a Program, bool),
}

/// A destination with its classes in both states and the nodes where their prefixes are.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: Destination,
    /// Homes are sorted.
    old: (ClassId, Vec<usize>),
    new: (ClassId, Vec<usize>),
}

/// All programs of a change.
pub(super) struct Story<'a> {
    pub(super) names: Vec<&'a str>,
    /// By node: interfaces and the nodes that they lead to over links that are not down, sorted.
    old_wires: Vec<Vec<(&'a str, usize)>>,
    new_wires: Vec<Vec<(&'a str, usize)>>,
    /// By node: what it runs from which step on; the first entry is from before all steps (0), step number n
    /// makes an entry n.
    pub(super) runs: Vec<Vec<(usize, Run<'a>)>>,
    pub(super) targets: Vec<Target>,
    /// Classes that only the new state has, with their names and some prefix that only it has.
    pub(super) arrivals: Vec<(ClassId, &'a str)>,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        old: Option<State<'a>>,
        steps: &[&'a [(String, Arc<Program>)]],
        new: State<'a>,
        facts: &Facts,
    ) -> Result<Story<'a>, Wrong> {
        let nodes_of = |state: State<'a>| state.topology.nodes.iter().map(|node| node.name.as_str());
        let names: BTreeSet<&str> = old.into_iter().flat_map(nodes_of).chain(nodes_of(new)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let mut story = Story {
            old_wires: old.map(|state| wires(state, &names, facts)).unwrap_or_default(),
            new_wires: wires(new, &names, facts),
            runs: names.iter().map(|_| vec![(0, Run::new(Kind::Nothing))]).collect(),
            targets: Vec::new(),
            arrivals: Vec::new(),
            names,
        };
        for program in old.into_iter().flat_map(|state| &state.network.programs) {
            if let Some(node) = story.node(&program.host) {
                story.runs[node] = vec![(0, Run::new(Kind::Old(program)))];
            }
        }
        story.take(steps, old, new)?;
        if let Some(old) = old {
            story.find_targets(old, new);
        }
        Ok(story)
    }

    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.names.binary_search(&name).ok()
    }

    /// Writes the steps into `runs`; they must end in the new state.
    fn take(
        &mut self,
        steps: &[&'a [(String, Arc<Program>)]],
        old: Option<State<'a>>,
        new: State<'a>,
    ) -> Result<(), Wrong> {
        let wanted: BTreeMap<&str, &Arc<Program>> =
            new.network.programs.iter().map(|program| (program.host.as_str(), program)).collect();
        for (step, programs) in (1..).zip(steps) {
            for (host, program) in *programs {
                let wrong = || Wrong::Host { step, host: host.clone() };
                let wanted = wanted.get(host.as_str()).ok_or_else(wrong)?;
                let node = self.node(host).ok_or_else(wrong)?;
                let last = self.runs[node].last().map_or(0, |(last, _)| *last);
                if last == step || program.host != *host {
                    return Err(wrong());
                }
                let is_last = Arc::ptr_eq(program, wanted) || program == *wanted;
                self.runs[node].push((step, Run::new(Kind::New(program, !is_last))));
            }
        }
        // The same program over another prefix table is another: digests tell.
        let stays = |host: &str| {
            let digest = |state: State<'_>| state.network.host(host).map(|(_, digest)| digest);
            old.and_then(digest) == digest(new)
        };
        for host in wanted.into_keys() {
            let kind = self.node(host).and_then(|node| self.runs[node].last()).map(|(_, run)| run.kind);
            let ends_there = match kind {
                Some(Kind::New(_, intermediate)) => !intermediate,
                Some(Kind::Old(_)) => stays(host),
                _ => false,
            };
            if !ends_there {
                return Err(Wrong::Unfinished { host: host.to_string() });
            }
        }
        Ok(())
    }

    /// Destinations of prefixes that both tables have, and classes that only the new one has.
    fn find_targets(&mut self, old: State<'a>, new: State<'a>) {
        let named = |state: State<'a>| -> BTreeMap<ClassId, &'a str> {
            state.network.table.classes.iter().map(|class| (class.id, class.name.as_str())).collect()
        };
        let (before, after) = (named(old), named(new));
        let by_name: BTreeMap<&str, ClassId> = before.iter().map(|(id, name)| (*name, *id)).collect();
        let mut pairs: BTreeSet<(ClassId, ClassId)> =
            after.iter().filter_map(|(id, name)| Some((*by_name.get(name)?, *id))).collect();
        let mut arrivals: BTreeSet<ClassId> = BTreeSet::new();
        if old.network.table.entries != new.network.table.entries {
            let entries: BTreeMap<_, _> = old.network.table.entries.iter().copied().collect();
            for (prefix, is) in &new.network.table.entries {
                match entries.get(prefix) {
                    Some(was) => _ = pairs.insert((*was, *is)),
                    None => _ = arrivals.insert(*is),
                }
            }
        }
        let (old_homes, new_homes) = (self.homes(old, &before), self.homes(new, &after));
        let target = |(was, is): (ClassId, ClassId)| {
            let name = Destination { old: before.get(&was)?.to_string(), new: after.get(&is)?.to_string() };
            let homes = |homes: &BTreeMap<ClassId, BTreeSet<usize>>, id| {
                homes.get(&id).map(|homes| homes.iter().copied().collect::<Vec<usize>>())
            };
            let (old, new) = (homes(&old_homes, was), homes(&new_homes, is));
            Some(Target { name, old: (was, old.unwrap_or_default()), new: (is, new.unwrap_or_default()) })
        };
        self.targets = pairs.into_iter().filter_map(target).collect();
        let arrivals = arrivals.into_iter().filter_map(|id| Some((id, *after.get(&id)?)));
        self.arrivals = arrivals.filter(|(_, name)| !by_name.contains_key(name)).collect();
    }

    /// The nodes that have a class's prefixes: the one that it is called after, else those whose own they are.
    fn homes(
        &self,
        state: State<'a>,
        names: &BTreeMap<ClassId, &'a str>,
    ) -> BTreeMap<ClassId, BTreeSet<usize>> {
        let of_node = |(id, name): (&ClassId, &&'a str)| Some((*id, BTreeSet::from([self.node(name)?])));
        let mut homes: BTreeMap<ClassId, BTreeSet<usize>> = names.iter().filter_map(of_node).collect();
        let shared: BTreeSet<ClassId> = names.keys().filter(|id| !homes.contains_key(id)).copied().collect();
        let entries = &state.network.table.entries;
        for node in state.topology.nodes.iter().filter(|_| !shared.is_empty()) {
            let loopbacks = node.loopbacks.iter().map(|address| ipnetwork::IpNetwork::from(*address));
            for prefix in loopbacks.chain(node.prefixes.iter().copied()) {
                let found = entries.binary_search_by_key(&prefix, |(prefix, _)| *prefix).ok();
                let class = found.map(|at| entries[at].1).filter(|class| shared.contains(class));
                if let (Some(class), Some(node)) = (class, self.node(&node.name)) {
                    homes.entry(class).or_default().insert(node);
                }
            }
        }
        homes
    }

    /// Where `node` sends for `target` while it runs `run`: next nodes of the route in force, sorted; none without a route.
    pub(super) fn primary<'s>(&'s self, node: usize, run: &'s Run<'a>, target: &Target) -> &'s [usize] {
        let (class, homes) = match run.kind {
            Kind::Nothing => return &[],
            Kind::Old(_) => &target.old,
            Kind::New(..) => &target.new,
        };
        if homes.contains(&node) {
            return &[HERE];
        }
        self.in_force(node, run, *class)
    }

    /// Next nodes of the routes behind the one in force, sorted; none when there is no repair.
    pub(super) fn repair(&self, node: usize, run: &Run<'a>, target: &Target) -> Vec<usize> {
        let (class, homes) = match run.kind {
            Kind::Nothing => return Vec::new(),
            Kind::Old(_) => &target.old,
            Kind::New(..) => &target.new,
        };
        if homes.contains(&node) {
            return Vec::new();
        }
        let behind: BTreeSet<usize> = self.ways(node, run, *class).skip(1).flatten().copied().collect();
        behind.into_iter().collect()
    }

    /// Where the route in force of a class leads; nowhere without one.
    pub(super) fn in_force<'s>(&'s self, node: usize, run: &'s Run<'a>, class: ClassId) -> &'s [usize] {
        self.ways(node, run, class).next().unwrap_or_default()
    }

    /// Where the routes of a class lead, best metric first: those whose next hops are all down do not count.
    fn ways<'s>(
        &'s self,
        node: usize,
        run: &'s Run<'a>,
        class: ClassId,
    ) -> impl Iterator<Item = &'s [usize]> {
        let classes = run.program().map_or(&[][..], |program| &program.classes);
        let of_class =
            classes[first_of(classes, class)..].iter().take_while(move |route| route.class == class);
        of_class
            .filter(|route| route.table == TABLE_MAIN)
            .map(move |route| self.legs(node, run, route.group))
            .filter(|legs| !legs.is_empty())
    }

    /// Nodes to which a group's living next hops lead, sorted.
    fn legs<'s>(&'s self, node: usize, run: &'s Run<'a>, group: u32) -> &'s [usize] {
        let groups = self.groups(node, run);
        let at = groups.binary_search_by_key(&group, |(id, _)| *id);
        at.map_or(&[], |at| &groups[at].1)
    }

    fn groups<'s>(&'s self, node: usize, run: &'s Run<'a>) -> &'s [(u32, Vec<usize>)] {
        run.groups.get_or_init(|| self.read_groups(node, run))
    }

    fn read_groups(&self, node: usize, run: &Run<'a>) -> Vec<(u32, Vec<usize>)> {
        let Some(program) = run.program() else { return Vec::new() };
        let by = |wires: &[Vec<(&'a str, usize)>], interface: &str| {
            let wires = wires.get(node).map_or(&[][..], |wires| wires);
            let at = wires.binary_search_by_key(&interface, |(name, _)| name).ok()?;
            Some(wires[at].1)
        };
        let mut nodes_of: Vec<(u32, Option<usize>)> = Vec::new();
        for nexthop in &program.nexthops {
            let interface = nexthop.interface.as_str();
            let (old, new) = match run.kind {
                Kind::Nothing => (false, false),
                Kind::Old(_) => (true, false),
                // An interface whose cable moves may lead to either.
                Kind::New(_, intermediate) => (intermediate, true),
            };
            nodes_of.extend(old.then(|| (nexthop.id, by(&self.old_wires, interface))));
            nodes_of.extend(new.then(|| (nexthop.id, by(&self.new_wires, interface))));
        }
        nodes_of.sort_unstable();
        let mut groups = Vec::with_capacity(program.groups.len());
        for group in &program.groups {
            let mut legs: Vec<usize> = Vec::new();
            for member in &group.members {
                let first = nodes_of.partition_point(|(id, _)| *id < member.nexthop);
                let own = nodes_of[first..].iter().take_while(|(id, _)| *id == member.nexthop);
                legs.extend(own.filter_map(|(_, node)| *node));
            }
            legs.sort_unstable();
            legs.dedup();
            groups.push((group.id, legs));
        }
        groups.sort_by_key(|(id, _)| *id);
        groups.dedup_by_key(|(id, _)| *id);
        groups
    }

    /// Whether every group that both runs have leads to the same nodes in both.
    fn same_groups(&self, node: usize, before: &Run<'a>, after: &Run<'a>) -> bool {
        let mut rest = self.groups(node, after).iter().peekable();
        self.groups(node, before).iter().all(|(id, legs)| {
            while rest.next_if(|(other, _)| other < id).is_some() {}
            rest.next_if(|(other, _)| other == id).is_none_or(|(_, others)| others == legs)
        })
    }

    /// Classes for which the routes in force of two runs of `node` may differ.
    pub(super) fn differing(&self, node: usize, before: &Run<'a>, after: &Run<'a>) -> Vec<ClassId> {
        let (mut old, mut new) = (before.routes(), after.routes());
        let same_groups = self.same_groups(node, before, after);
        let mut differing = Vec::new();
        while let Some(class) = old.first().into_iter().chain(new.first()).map(|route| route.class).min() {
            // Where both programs' groups lead to the same nodes, the same routes do.
            if same_groups {
                let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
                // A class's routes stay together: its last one may be followed by another.
                let whole = if same < old.len().min(new.len()) || old.len() != new.len() {
                    let end = old[..same].last().map(|route| route.class);
                    old[..same].partition_point(|route| Some(route.class) != end)
                } else {
                    same
                };
                if whole > 0 {
                    (old, new) = (&old[whole..], &new[whole..]);
                    continue;
                }
            }
            let ends =
                [old, new].map(|routes| routes.iter().take_while(|route| route.class == class).count());
            (old, new) = (&old[ends[0]..], &new[ends[1]..]);
            if self.in_force(node, before, class) != self.in_force(node, after, class) {
                differing.push(class);
            }
        }
        differing
    }
}

/// Position of the class's first route, or where it would be. Numbers of classes are hashes, so the place is about where
/// an even spread would have it.
fn first_of(routes: &[ClassRoute], class: ClassId) -> usize {
    let guess = ((routes.len() as u64 * u64::from(class.0)) >> u32::BITS) as usize;
    let mut reach = ROUTES_NEAR_GUESS;
    loop {
        let (low, high) = (guess.saturating_sub(reach), (guess + reach).min(routes.len()));
        let is_above = low == 0 || routes[low - 1].class < class;
        let is_below = high == routes.len() || routes[high].class >= class;
        if is_above && is_below {
            return low + routes[low..high].partition_point(|route| route.class < class);
        }
        reach *= 4;
    }
}

/// How far a class's routes are looked for at first on both sides of the place of an even spread.
const ROUTES_NEAR_GUESS: usize = 16;

impl<'a> Run<'a> {
    fn new(kind: Kind<'a>) -> Run<'a> {
        Run { kind, groups: OnceCell::new() }
    }

    fn program(&self) -> Option<&'a Program> {
        match self.kind {
            Kind::Nothing => None,
            Kind::Old(program) | Kind::New(program, _) => Some(program),
        }
    }

    fn routes(&self) -> &'a [ClassRoute] {
        self.program().map_or(&[], |program| &program.classes)
    }
}

impl Target {
    /// The class that is the target's in both states.
    pub(super) fn only_class(&self) -> Option<ClassId> {
        (self.old == self.new).then_some(self.old.0)
    }
}

/// Where each node's interfaces lead.
fn wires<'a>(state: State<'a>, names: &[&str], facts: &Facts) -> Vec<Vec<(&'a str, usize)>> {
    let topology = state.topology;
    let numbers: Vec<Option<usize>> =
        topology.nodes.iter().map(|node| names.binary_search(&node.name.as_str()).ok()).collect();
    let mut wires = vec![Vec::new(); names.len()];
    for link in topology.links.iter().filter(|link| !facts.links_down.contains(&link.id)) {
        let [a, b] = &link.ends;
        if let (Some(at), Some(to)) = (numbers[a.node.0 as usize], numbers[b.node.0 as usize]) {
            wires[at].push((a.interface.as_str(), to));
            wires[to].push((b.interface.as_str(), at));
        }
    }
    for external in &topology.external {
        let name = &topology.node(external.node).name;
        let lives = !facts.links_down.contains(&format!("{name}:{}", external.interface));
        if let Some(at) = numbers[external.node.0 as usize].filter(|_| lives) {
            wires[at].push((external.interface.as_str(), HERE));
        }
    }
    // Of one name the last counts.
    for wires in &mut wires {
        wires.reverse();
        wires.sort_by_key(|(name, _)| *name);
        wires.dedup_by_key(|(name, _)| *name);
    }
    wires
}
