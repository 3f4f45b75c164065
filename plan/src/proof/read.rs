//! What hosts run and where that sends, read from programs alone.

use super::{Destination, State, Wrong};
use crate::program::{ClassRoute, TABLE_MAIN};
use crate::{ClassId, Facts, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Next hop of a destination's own nodes, and over an uplink: out of the network.
pub(super) const HERE: usize = usize::MAX;

/// What a host runs at some time.
#[derive(Clone, Copy)]
pub(super) enum Run<'a> {
    /// Nothing: it has had no program yet.
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
    old: (ClassId, BTreeSet<usize>),
    new: (ClassId, BTreeSet<usize>),
}

/// Where a host sends for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    /// Next nodes of the route in force, sorted.
    pub(super) primary: Vec<usize>,
    /// Next nodes of the routes behind it, sorted; empty when there is no repair.
    pub(super) repair: Vec<usize>,
}

/// All programs of a change.
pub(super) struct Story<'a> {
    pub(super) names: Vec<&'a str>,
    /// (node, interface) -> node, of links that are not down.
    old_wires: BTreeMap<(usize, &'a str), usize>,
    new_wires: BTreeMap<(usize, &'a str), usize>,
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
            runs: vec![vec![(0, Run::Nothing)]; names.len()],
            targets: Vec::new(),
            arrivals: Vec::new(),
            names,
        };
        for program in old.into_iter().flat_map(|state| &state.network.programs) {
            if let Some(node) = story.node(&program.host) {
                story.runs[node] = vec![(0, Run::Old(program))];
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
                self.runs[node].push((step, Run::New(program, !is_last)));
            }
        }
        // The same program over another prefix table is another: digests tell.
        let stays = |host: &str| {
            let digest = |state: State<'_>| state.network.host(host).map(|(_, digest)| digest);
            old.and_then(digest) == digest(new)
        };
        for host in wanted.into_keys() {
            let ends_there = self.node(host).is_some_and(|node| match self.runs[node].last() {
                Some((_, Run::New(_, intermediate))) => !intermediate,
                Some((_, Run::Old(_))) => stays(host),
                _ => false,
            });
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
            let homes = |homes: &BTreeMap<ClassId, BTreeSet<usize>>, id| homes.get(&id).cloned();
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

    /// Where `node` sends for `target` while it runs `run`.
    pub(super) fn sets(&self, node: usize, run: Run<'a>, target: &Target) -> Sets {
        let (class, homes) = match run {
            Run::Nothing => return Sets::default(),
            Run::Old(_) => &target.old,
            Run::New(..) => &target.new,
        };
        if homes.contains(&node) {
            return Sets { primary: vec![HERE], repair: Vec::new() };
        }
        self.routes(node, run, *class)
    }

    /// Where the routes of a class lead: those whose next hops are all down do not count.
    pub(super) fn routes(&self, node: usize, run: Run<'a>, class: ClassId) -> Sets {
        let Some(program) = run.program() else { return Sets::default() };
        let start = program.classes.partition_point(|route| route.class < class);
        let of_class = program.classes[start..].iter().take_while(|route| route.class == class);
        let mut ways = of_class
            .filter(|route| route.table == TABLE_MAIN)
            .map(|route| self.legs(node, run, route))
            .filter(|legs| !legs.is_empty());
        let primary = ways.next().unwrap_or_default();
        let repair: BTreeSet<usize> = ways.flatten().collect();
        Sets { primary, repair: repair.into_iter().collect() }
    }

    /// Nodes to which a route's living next hops lead, sorted.
    fn legs(&self, node: usize, run: Run<'a>, route: &ClassRoute) -> Vec<usize> {
        let Some(program) = run.program() else { return Vec::new() };
        let group = program.groups.iter().find(|group| group.id == route.group);
        let mut legs: Vec<usize> = Vec::new();
        for member in group.map_or(&[][..], |group| &group.members) {
            let nexthop = program.nexthops.iter().find(|nexthop| nexthop.id == member.nexthop);
            let Some(nexthop) = nexthop else { continue };
            let by = |wires: &BTreeMap<(usize, &'a str), usize>| {
                wires.get(&(node, nexthop.interface.as_str())).copied()
            };
            match run {
                Run::Nothing => {}
                Run::Old(_) => legs.extend(by(&self.old_wires)),
                Run::New(_, false) => legs.extend(by(&self.new_wires)),
                // An interface whose cable moves may lead to either.
                Run::New(_, true) => legs.extend(by(&self.old_wires).into_iter().chain(by(&self.new_wires))),
            }
        }
        legs.sort_unstable();
        legs.dedup();
        legs
    }

    /// Classes for which the routes in force of two runs of `node` may differ.
    pub(super) fn differing(&self, node: usize, before: Run<'a>, after: Run<'a>) -> BTreeSet<ClassId> {
        let (before, after) = (self.in_force(node, before), self.in_force(node, after));
        let mut rest = after.iter().peekable();
        let mut differing = BTreeSet::new();
        for (class, legs) in &before {
            while let Some((other, _)) = rest.next_if(|(other, _)| other < class) {
                differing.insert(*other);
            }
            if rest.next_if(|(other, _)| other == class).is_none_or(|(_, others)| legs != others) {
                differing.insert(*class);
            }
        }
        differing.extend(rest.map(|(class, _)| *class));
        differing
    }

    /// For each class with a living route the nodes to which it leads, sorted by class.
    fn in_force(&self, node: usize, run: Run<'a>) -> Vec<(ClassId, Arc<[usize]>)> {
        let mut known: BTreeMap<u32, Arc<[usize]>> = BTreeMap::new();
        let mut found: Vec<(ClassId, Arc<[usize]>)> = Vec::new();
        for route in run.program().map_or(&[][..], |program| &program.classes) {
            let has_better = found.last().is_some_and(|(class, _)| *class == route.class);
            if has_better || route.table != TABLE_MAIN {
                continue;
            }
            let legs = known.entry(route.group).or_insert_with(|| self.legs(node, run, route).into());
            if !legs.is_empty() {
                found.push((route.class, legs.clone()));
            }
        }
        found
    }
}

impl<'a> Run<'a> {
    fn program(self) -> Option<&'a Program> {
        match self {
            Run::Nothing => None,
            Run::Old(program) | Run::New(program, _) => Some(program),
        }
    }
}

impl Target {
    /// The class that is the target's in both states.
    pub(super) fn only_class(&self) -> Option<ClassId> {
        (self.old == self.new).then_some(self.old.0)
    }
}

/// Where each interface leads.
fn wires<'a>(state: State<'a>, names: &[&str], facts: &Facts) -> BTreeMap<(usize, &'a str), usize> {
    let topology = state.topology;
    let number = |node: topology::NodeIndex| names.binary_search(&topology.node(node).name.as_str()).ok();
    let mut wires = BTreeMap::new();
    for link in topology.links.iter().filter(|link| !facts.links_down.contains(&link.id)) {
        let [a, b] = &link.ends;
        if let (Some(at), Some(to)) = (number(a.node), number(b.node)) {
            wires.insert((at, a.interface.as_str()), to);
            wires.insert((to, b.interface.as_str()), at);
        }
    }
    for external in &topology.external {
        let name = &topology.node(external.node).name;
        let lives = !facts.links_down.contains(&format!("{name}:{}", external.interface));
        if let Some(at) = number(external.node).filter(|_| lives) {
            wires.insert((at, external.interface.as_str()), HERE);
        }
    }
    wires
}
