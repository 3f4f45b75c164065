//! What must hold, judged on the compiled programs of all hosts and not on the paths that produced them.
//!
//! One pass per destination, all sources at once: packets neither loop nor meet a dead end while a way is
//! left, and the file's invariants hold; then the links' loads under the file's demands. A violation comes
//! with the walk of a packet that shows it. [`Checked::follow`] judges again only what a change touches.
//! Never repairs anything and never looks at costs.

use crate::forwarding::{Forwarding, Leg, Order, Touched};
use crate::load::{self, Demands};
use crate::trace::{Trace, trace};
use crate::{Facts, Network};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use topology::{Demand, Direction, InvariantRule, LinkIndex, NodeIndex, Topology};

/// Violations that [`check`] lists at most.
pub const VIOLATIONS_MAX: usize = 1_000;

/// IP packets of this size pass a link that states no MTU, in bytes: the payload of an Ethernet frame (RFC 894).
pub const MTU_BYTES_DEFAULT: u32 = 1_500;

/// Classes that a thread looks at in one go.
const CLASSES_AT_ONCE: usize = 64;

/// A topology, what is believed down, and the programs compiled from both.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The topology.
    pub topology: &'a Topology,
    /// What is down.
    pub facts: &'a Facts,
    /// All programs.
    pub network: &'a Network,
    /// A node that is dead: nothing is asked of pairs and demands that it is an end of.
    pub dead: Option<NodeIndex>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Packets come back to a node that they have passed.
    Loop,
    /// Packets meet a node without a living next hop, though a way to the destination is left.
    BlackHole,
    /// A pair that the file wants joined is not.
    Reach,
    /// A pair that the file wants apart is joined.
    Isolate,
    /// A path that passes none of the nodes that it must pass.
    Waypoint {
        /// Those nodes, as the file says.
        through: String,
    },
    /// A path with more links than allowed.
    MaxHops {
        /// Links of the longest path.
        found: u32,
        /// Links allowed.
        limit: u32,
    },
    /// A path with a higher latency than allowed.
    MaxLatency {
        /// Of the slowest path, in microseconds.
        found_us: u64,
        /// Allowed, in microseconds.
        limit_us: u64,
    },
    /// A path over a link with a smaller MTU than wanted.
    MinMtu {
        /// Of the narrowest link, in bytes.
        found_bytes: u32,
        /// Wanted, in bytes.
        limit_bytes: u32,
    },
    /// Under in-band management, a node with fewer controllers in reach than it must have.
    Controllers {
        /// Numbers of those in reach.
        reached: Vec<u64>,
        /// How many there must be.
        wanted: usize,
    },
    /// A link that carries more than its share under the demands.
    LinkLoad {
        /// The link's id.
        link: String,
        /// What it carries, in bits per second.
        load_bps: f64,
        /// Its capacity, in bits per second.
        capacity_bps: u64,
        /// `safety.max_link_load`, in hundredths.
        limit_percent: u32,
    },
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// What is wrong.
    pub rule: Rule,
    /// Line of the file that asks for it: the invariant's, else the destination's or the link's.
    pub line: u32,
    /// A source that it concerns: the first by name; of a link, the end that sends.
    pub from: String,
    /// The destination; of a link, the end that receives.
    pub to: String,
    /// How many sources it concerns with this destination, `from` included.
    pub sources: usize,
    /// A packet that shows it.
    pub trace: Trace,
}

impl Rule {
    /// Stable name of the kind of violation.
    pub fn code(&self) -> &'static str {
        match self {
            Rule::Loop => "loop",
            Rule::BlackHole => "black-hole",
            Rule::Reach => "reach",
            Rule::Isolate => "isolate",
            Rule::Waypoint { .. } => "waypoint",
            Rule::MaxHops { .. } => "max-hops",
            Rule::MaxLatency { .. } => "max-latency",
            Rule::MinMtu { .. } => "min-mtu",
            Rule::Controllers { .. } => "controllers",
            Rule::LinkLoad { .. } => "link-load",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from, &self.to);
        match &self.rule {
            Rule::Loop => write!(out, "packets from {from} to {to} loop")?,
            Rule::BlackHole => {
                write!(out, "packets from {from} to {to} meet a dead end though a way is left")?
            }
            Rule::Reach => write!(out, "{from} does not reach {to}")?,
            Rule::Isolate => write!(out, "{from} reaches {to}, which it must not")?,
            Rule::Waypoint { through } => write!(out, "a path from {from} to {to} does not pass {through}")?,
            Rule::MaxHops { found, limit } => {
                write!(out, "a path from {from} to {to} has {found} links, more than {limit}")?;
            }
            Rule::MaxLatency { found_us, limit_us } => {
                write!(out, "a path from {from} to {to} takes {found_us} us, more than {limit_us} us")?;
            }
            Rule::MinMtu { found_bytes, limit_bytes } => write!(
                out,
                "a path from {from} to {to} carries packets of {found_bytes} bytes at most, less than {limit_bytes}"
            )?,
            Rule::Controllers { reached, wanted } => {
                let ids: Vec<String> = reached.iter().map(u64::to_string).collect();
                match ids[..] {
                    [] => write!(out, "{from} reaches no controller, not the one at {to} either")?,
                    _ => write!(
                        out,
                        "{from} reaches controller {} alone, fewer than {wanted}: it does not reach the one at {to}",
                        ids.join(", ")
                    )?,
                }
            }
            Rule::LinkLoad { link, load_bps, capacity_bps, limit_percent } => {
                let percent = load_bps / *capacity_bps as f64 * 100.0;
                write!(
                    out,
                    "{link} carries {} from {from} to {to}, {percent:.1}% of its capacity and more than {limit_percent}%",
                    load::rate_text(*load_bps)
                )?;
            }
        }
        match self.sources {
            0 | 1 => Ok(()),
            2 => write!(out, "; the same for 1 source more"),
            many => write!(out, "; the same for {} sources more", many - 1),
        }
    }
}

/// All that does not hold, at most [`VIOLATIONS_MAX`]: by destination, then links over load.
pub fn check(topology: &Topology, facts: &Facts, network: &Network) -> Vec<Violation> {
    let checked = Checked::new(State { topology, facts, network, dead: None });
    checked.violations().take(VIOLATIONS_MAX).cloned().collect()
}

/// A judged state, kept so that the next one costs only what changed.
#[derive(Clone, Debug)]
pub struct Checked {
    forwarding: Forwarding,
    /// For every node the lowest node that living links join it with.
    parts: Vec<u32>,
    /// By position of the class.
    by_class: BTreeMap<u32, Vec<Violation>>,
    /// Too few controllers, then links over load.
    others: Vec<Violation>,
}

impl Checked {
    /// Judges everything.
    pub fn new(state: State<'_>) -> Checked {
        let forwarding = Forwarding::new(state.topology, state.facts, state.network);
        let parts = parts(state.topology, state.facts);
        let mut judge = Judge::new(state, &forwarding, &parts);
        let by_class = (0..forwarding.classes()).filter_map(|class| judge.class(class)).collect();
        let others = judge.others();
        Checked { forwarding, parts, by_class, others }
    }

    /// Judges the state `new` after this one of `old`, with the same result as [`Checked::new`].
    ///
    /// Only destinations of which a host's living next hops changed are looked at, and of those only the hosts
    /// downstream of the change, unless something is wrong there or an invariant asks about the paths' length.
    pub fn follow(&self, old: State<'_>, new: State<'_>) -> Checked {
        let parts = parts(new.topology, new.facts);
        if !same_parts(&self.parts, &parts, new.dead) || !comparable(old, new) {
            return Checked::new(new);
        }
        let before = (old.topology, old.facts, old.network);
        let (forwarding, touched) = self.forwarding.follow(before, (new.topology, new.facts, new.network));
        let mut judge = Judge::new(new, &forwarding, &parts);
        // A violation quotes lines and programs, which may differ where its class does not.
        let mut again: Vec<u32> = self.by_class.keys().copied().collect();
        if judge.has_rules_about_links() && old.topology.links != new.topology.links {
            again.extend(0..forwarding.classes());
        }
        let ends_moved = |class: &u32| self.forwarding.ends(*class) != forwarding.ends(*class);
        again.extend((0..forwarding.classes()).filter(ends_moved));
        let by_class: Vec<&[Touched]> = touched.chunk_by(|a, b| a.class == b.class).collect();
        let unclear = |classes: &[&[Touched]]| {
            let mut clean = Clean::new(forwarding.nodes());
            let unclear = classes.iter().filter(|touched| {
                judge.asks_about_paths(touched[0].class) || !clean.stays(&forwarding, &parts, touched)
            });
            unclear.map(|touched| touched[0].class).collect::<Vec<u32>>()
        };
        again.extend(by_class.par_chunks(CLASSES_AT_ONCE).map(unclear).collect::<Vec<_>>().concat());
        again.sort_unstable();
        again.dedup();
        let by_class = again.into_iter().filter_map(|class| judge.class(class)).collect();
        let others = judge.others();
        Checked { forwarding, parts, by_class, others }
    }

    /// All that does not hold: by destination (nodes, then prefixes of several places), then nodes with too few
    /// controllers, then links over load.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        let of = |class: u32| self.by_class.get(&class).into_iter().flatten();
        let own = (0..self.forwarding.nodes()).filter_map(|node| self.forwarding.class_of(node)).flat_map(of);
        let shared = self.by_class.keys().copied().filter(|class| !self.forwarding.is_nodes_own(*class));
        own.chain(shared.flat_map(of)).chain(&self.others)
    }
}

/// Whether the same nodes are joined, the dead one left out.
fn same_parts(before: &[u32], after: &[u32], dead: Option<NodeIndex>) -> bool {
    if before.len() != after.len() {
        return false;
    }
    // The lowest node of a part may be the dead one: parts are the same when their names map one to one.
    let (mut renamed, mut taken) = (vec![None; after.len()], vec![None; after.len()]);
    let pairs = (0..).map(NodeIndex).zip(before.iter().zip(after));
    let mut living = pairs.filter(|(node, _)| Some(*node) != dead).map(|(_, pair)| pair);
    living.all(|(old, new)| {
        *renamed[*old as usize].get_or_insert(*new) == *new
            && *taken[*new as usize].get_or_insert(*old) == *old
    })
}

/// Whether nodes, classes and invariants of the two states are the same.
fn comparable(old: State<'_>, new: State<'_>) -> bool {
    let (before, after) = (&old.topology.nodes, &new.topology.nodes);
    let same_nodes =
        || before.len() == after.len() && before.iter().zip(after).all(|(a, b)| a.name == b.name);
    // Of a node that was dead nothing had been asked.
    (old.dead == new.dead || old.dead.is_none())
        && (std::ptr::eq(old.topology, new.topology)
            || (same_nodes() && old.topology.invariants == new.topology.invariants))
        && old.network.table.classes == new.network.table.classes
}

/// For every node the lowest node that living links join it with.
fn parts(topology: &Topology, facts: &Facts) -> Vec<u32> {
    let mut leader: Vec<u32> = (0..topology.nodes.len() as u32).collect();
    let find = |leader: &mut Vec<u32>, mut node: u32| {
        while leader[node as usize] != node {
            leader[node as usize] = leader[leader[node as usize] as usize];
            node = leader[node as usize];
        }
        node
    };
    for link in topology.links.iter().filter(|link| !facts.links_down.contains(&link.id)) {
        let [a, b] = [0, 1].map(|end| find(&mut leader, link.ends[end].node.0));
        leader[a.max(b) as usize] = a.min(b);
    }
    (0..topology.nodes.len() as u32).map(|node| find(&mut leader, node)).collect()
}

/// What judging one state needs.
struct Judge<'a> {
    state: State<'a>,
    forwarding: &'a Forwarding,
    parts: &'a [u32],
    /// By position of the class: positions of the invariants about it.
    invariants: Vec<Vec<u32>>,
    order: Order,
}

impl<'a> Judge<'a> {
    fn new(state: State<'a>, forwarding: &'a Forwarding, parts: &'a [u32]) -> Judge<'a> {
        let mut invariants = vec![Vec::new(); forwarding.classes() as usize];
        for (at, invariant) in (0..).zip(&state.topology.invariants) {
            for class in invariant.to.nodes.iter().filter_map(|to| forwarding.class_of(to.0)) {
                invariants[class as usize].push(at);
            }
        }
        Judge { state, forwarding, parts, invariants, order: Order::default() }
    }

    /// Whether an invariant reads anything of a link but where it leads.
    fn has_rules_about_links(&self) -> bool {
        let about_links = |rule: &InvariantRule| {
            matches!(rule, InvariantRule::MaxLatencyUs(_) | InvariantRule::MinMtuBytes(_))
        };
        self.state.topology.invariants.iter().any(|invariant| about_links(&invariant.rule))
    }

    /// Whether an invariant about the class asks for more than that packets arrive.
    fn asks_about_paths(&self, class: u32) -> bool {
        let mut own = self.invariants[class as usize].iter();
        own.any(|at| self.state.topology.invariants[*at as usize].rule != InvariantRule::Reach)
    }

    /// Everything about packets of one class.
    fn class(&mut self, at: u32) -> Option<(u32, Vec<Violation>)> {
        let ends = self.forwarding.ends(at);
        if let ([end], Some(dead)) = (ends, self.state.dead)
            && *end == dead.0
        {
            return None;
        }
        let legs = self.forwarding.class_legs(at);
        self.order.sort(&legs);
        let class = Class { state: self.state, legs, at, ends, order: &self.order };
        let mut violations: Vec<Violation> = class.looping().into_iter().collect();
        violations.extend(class.dead_end(self.parts));
        let own = &self.invariants[at as usize];
        if !own.is_empty() {
            let arrival = Arrival::new(&class);
            for invariant in own {
                violations
                    .extend(class.invariant(&self.state.topology.invariants[*invariant as usize], &arrival));
            }
        }
        (!violations.is_empty()).then_some((at, violations))
    }

    /// What is about the network as a whole.
    fn others(&self) -> Vec<Violation> {
        let mut found = self.controllers();
        found.extend(self.overloads());
        found
    }

    /// Nodes with too few controllers, those together that reach the same ones. Whether controllers' answers arrive
    /// is seen where packets to the nodes are judged.
    fn controllers(&self) -> Vec<Violation> {
        let topology = self.state.topology;
        let living = |controller: &&topology::Controller| self.state.dead != Some(controller.node);
        let arrives: BTreeMap<NodeIndex, Vec<bool>> = (topology.controllers.iter().filter(living))
            .map(|controller| (controller.node, self.forwarding.arrives(controller.node.0)))
            .collect();
        let reaches = |node: u32, controller: &topology::Controller| {
            arrives.get(&controller.node).is_some_and(|arrives| arrives[node as usize])
        };
        let wanted = topology.controllers_wanted();
        let mut short: BTreeMap<Vec<u64>, Vec<u32>> = BTreeMap::new();
        for node in (0..self.forwarding.nodes()).filter(|node| self.state.dead != Some(NodeIndex(*node))) {
            let reached = topology.controllers.iter().filter(|controller| reaches(node, controller));
            let reached: Vec<u64> = reached.map(|controller| controller.id).collect();
            if reached.len() < wanted {
                short.entry(reached).or_default().push(node);
            }
        }
        let violation = |(reached, nodes): (Vec<u64>, Vec<u32>)| {
            let from = *nodes.first()?;
            let missed = |controller: &&topology::Controller| !reaches(from, controller);
            // One whose node is dead tells less about the network than one that lives.
            let missing = topology.controllers.iter().filter(missed).min_by_key(|found| !living(found))?;
            let to = missing.node.0;
            let class = self.forwarding.class_of(to)?;
            let legs = self.forwarding.towards(to);
            let arrived = |node: u32| arrives.get(&missing.node).is_some_and(|known| known[node as usize]);
            let choose = |node: u32| legs[node as usize].iter().find(|leg| !arrived(leg.to)).copied();
            let State { topology, facts, network, .. } = self.state;
            Some(Violation {
                rule: Rule::Controllers { reached, wanted },
                line: missing.line,
                from: topology.nodes[from as usize].name.clone(),
                to: topology.nodes[to as usize].name.clone(),
                sources: nodes.len(),
                trace: trace(topology, facts, network, (from, class, &[to]), choose),
            })
        };
        short.into_iter().filter_map(violation).collect()
    }

    /// Links that carry more than `safety.max_link_load` of their capacity.
    fn overloads(&self) -> Vec<Violation> {
        let topology = self.state.topology;
        let Some(limit_percent) = topology.safety.max_link_load_percent else { return Vec::new() };
        let alive = |demand: &&Demand| ![demand.from, demand.to].map(Some).contains(&self.state.dead);
        let mut demands: Vec<Demand> = topology.demands.iter().filter(alive).copied().collect();
        demands.sort_by_key(|demand| demand.to);
        if demands.is_empty() {
            return Vec::new();
        }
        let load = load::of_forwarding(topology, self.forwarding, Demands::Listed(&demands));
        let mut found = Vec::new();
        for (at, link) in (0..).map(LinkIndex).zip(&topology.links) {
            for (direction, own) in [(Direction::Forward, 0), (Direction::Backward, 1)] {
                let Some(share) = load.utilisation(topology, at, direction) else { continue };
                if share * 100.0 <= f64::from(limit_percent) * (1.0 + load::ROUNDING) {
                    continue;
                }
                let Some(trace) = self.heaviest(&demands, at.0, own) else { continue };
                let name = |end: usize| topology.node(link.ends[end].node).name.clone();
                found.push(Violation {
                    rule: Rule::LinkLoad {
                        link: link.id.clone(),
                        load_bps: load.carried(at, direction),
                        capacity_bps: link.capacity_bps.unwrap_or_default(),
                        limit_percent,
                    },
                    line: link.line,
                    from: name(own),
                    to: name(1 - own),
                    sources: 1,
                    trace,
                });
            }
        }
        found
    }

    /// A packet of the greatest demand that uses the link in that direction; `demands` are sorted by
    /// destination.
    fn heaviest(&self, demands: &[Demand], link: u32, own: usize) -> Option<Trace> {
        let State { topology, facts, network, .. } = self.state;
        let sender = topology.links[link as usize].ends[own].node.0;
        let (mut order, mut greatest) = (Order::default(), None);
        for own in demands.chunk_by(|a, b| a.to == b.to) {
            let to = own[0].to.0;
            let Some(class) = self.forwarding.class_of(to) else { continue };
            let legs = self.forwarding.legs(sender, class);
            if to == sender || !legs.iter().any(|leg| leg.link == link) {
                continue;
            }
            let legs = self.forwarding.towards(to);
            order.sort(&legs);
            let class = Class { state: self.state, legs, at: class, ends: &[], order: &order };
            let upstream = class.reaching(&[sender], |_| true);
            let used =
                own.iter().filter(|demand| demand.from != demand.to && upstream[demand.from.0 as usize]);
            let best = used.min_by_key(|demand| (Reverse(demand.rate_bps), demand.from));
            greatest =
                best.into_iter().chain(greatest).min_by_key(|demand| (Reverse(demand.rate_bps), demand.to));
        }
        let (from, to) = greatest.map(|demand| (demand.from.0, demand.to.0))?;
        let legs = self.forwarding.towards(to);
        let mut way = search(&legs, from, &[sender], |_| true)?;
        way.extend(legs[sender as usize].iter().find(|leg| leg.link == link).map(|leg| (sender, *leg)));
        let choose = |node: u32| way.get(&node).copied().or_else(|| legs[node as usize].first().copied());
        let class = self.forwarding.class_of(to)?;
        Some(trace(topology, facts, network, (from, class, &[to]), choose))
    }
}

/// The legs that lead from `from` to the nearest of `goals` over nodes of which `may` says yes, by node; empty where `from` is
/// one, `None` where none do.
fn search(
    legs: &[&[Leg]],
    from: u32,
    goals: &[u32],
    may: impl Fn(u32) -> bool,
) -> Option<BTreeMap<u32, Leg>> {
    let mut came: Vec<Option<(u32, Leg)>> = vec![None; legs.len()];
    let mut queue = vec![from];
    let mut done = 0;
    while let Some(node) = queue.get(done).copied() {
        done += 1;
        for leg in legs[node as usize] {
            if leg.to != from && may(leg.to) && came[leg.to as usize].is_none() {
                came[leg.to as usize] = Some((node, *leg));
                queue.push(leg.to);
            }
        }
    }
    let mut node = queue.into_iter().find(|node| goals.contains(node))?;
    let mut way = BTreeMap::new();
    while node != from {
        let (before, leg) = came[node as usize]?;
        way.insert(before, leg);
        node = before;
    }
    Some(way)
}

/// All nodes' living next hops to one class.
struct Class<'a> {
    state: State<'a>,
    legs: Vec<&'a [Leg]>,
    /// Position of the class.
    at: u32,
    /// The nodes that its packets are for.
    ends: &'a [u32],
    order: &'a Order,
}

impl Class<'_> {
    fn name(&self, node: u32) -> String {
        self.state.topology.nodes[node as usize].name.clone()
    }

    fn legs(&self, node: u32) -> &[Leg] {
        self.legs[node as usize]
    }

    fn trace(&self, from: u32, choose: impl Fn(u32) -> Option<Leg>) -> Trace {
        let State { topology, facts, network, .. } = self.state;
        trace(topology, facts, network, (from, self.at, self.ends), choose)
    }

    fn violation(&self, rule: Rule, line: u32, sources: &[u32], trace: Trace) -> Violation {
        let from = sources.first().map(|from| self.name(*from)).unwrap_or_default();
        let to = self.state.network.table.classes[self.at as usize].name.clone();
        Violation { rule, line, from, to, sources: sources.len(), trace }
    }

    fn is_end(&self, node: u32) -> bool {
        self.ends.binary_search(&node).is_ok()
    }

    fn nodes(&self) -> std::ops::Range<u32> {
        0..self.legs.len() as u32
    }

    fn line(&self) -> u32 {
        self.ends.first().map_or(1, |end| self.state.topology.nodes[*end as usize].line)
    }

    fn looping(&self) -> Option<Violation> {
        if self.order.sinks_first().len() == self.legs.len() {
            return None;
        }
        let caught: Vec<u32> = self.nodes().filter(|node| self.order.meets_loop(*node)).collect();
        let choose = |node: u32| self.legs(node).iter().find(|leg| self.order.meets_loop(leg.to)).copied();
        let trace = self.trace(*caught.first()?, choose);
        Some(self.violation(Rule::Loop, self.line(), &caught, trace))
    }

    /// Nodes that packets get stuck at, or start at, while living links lead to the destination.
    fn dead_end(&self, parts: &[u32]) -> Option<Violation> {
        let stuck = |node: &u32| {
            let joined = |end: &u32| parts[*end as usize] == parts[*node as usize];
            self.legs(*node).is_empty() && !self.is_end(*node) && self.ends.iter().any(joined)
        };
        // Sinks are in front of all who send to them.
        let mut meets = vec![false; self.legs.len()];
        let mut any = false;
        for node in self.order.sinks_first() {
            let met = stuck(node) || self.legs(*node).iter().any(|leg| meets[leg.to as usize]);
            meets[*node as usize] = met;
            any |= met;
        }
        if !any {
            return None;
        }
        let sources: Vec<u32> = self.nodes().filter(|node| meets[*node as usize]).collect();
        let choose = |node: u32| self.legs(node).iter().find(|leg| meets[leg.to as usize]).copied();
        let trace = self.trace(*sources.first()?, choose);
        Some(self.violation(Rule::BlackHole, self.line(), &sources, trace))
    }

    fn invariant(&self, invariant: &topology::Invariant, arrival: &Arrival) -> Option<Violation> {
        let asked = |node: &u32| !self.is_end(*node) && self.state.dead != Some(NodeIndex(*node));
        let sources = || invariant.from.nodes.iter().map(|node| node.0).filter(asked);
        let line = invariant.line;
        match &invariant.rule {
            InvariantRule::Reach => {
                let bad: Vec<u32> = sources().filter(|node| !arrival.always[*node as usize]).collect();
                let choose =
                    |node: u32| self.legs(node).iter().find(|leg| !arrival.always[leg.to as usize]).copied();
                let trace = self.trace(*bad.first()?, choose);
                Some(self.violation(Rule::Reach, line, &bad, trace))
            }
            InvariantRule::Isolate => {
                let bad: Vec<u32> = sources().filter(|node| arrival.ever[*node as usize]).collect();
                self.shown(Rule::Isolate, line, &bad, &arrival.ever)
            }
            InvariantRule::Waypoint(through) => {
                let passes = |node: u32| through.nodes.binary_search(&NodeIndex(node)).is_ok();
                let avoids = self.reaching(self.ends, |node| !passes(node));
                let bad: Vec<u32> = sources().filter(|node| avoids[*node as usize]).collect();
                self.shown(Rule::Waypoint { through: through.text.clone() }, line, &bad, &avoids)
            }
            InvariantRule::MaxHops(limit) => {
                let longest = self.worst(|sum: u64, _| sum + 1, 0, |a, b| a > b);
                let limit_found = |found: u64| Rule::MaxHops {
                    found: u32::try_from(found).unwrap_or(u32::MAX),
                    limit: *limit,
                };
                let over = |found: u64| found > u64::from(*limit);
                self.worst_of(line, sources(), &longest, over, limit_found)
            }
            InvariantRule::MaxLatencyUs(limit) => {
                let links = &self.state.topology.links;
                let add = |sum: u64, leg: &Leg| {
                    sum.saturating_add(links[leg.link as usize].latency_us.unwrap_or_default())
                };
                let longest = self.worst(add, 0, |a, b| a > b);
                let rule = |found_us: u64| Rule::MaxLatency { found_us, limit_us: *limit };
                self.worst_of(line, sources(), &longest, |found| found > *limit, rule)
            }
            InvariantRule::MinMtuBytes(limit) => {
                let links = &self.state.topology.links;
                let narrow = |least: u64, leg: &Leg| {
                    let own = links[leg.link as usize].mtu_bytes.unwrap_or(MTU_BYTES_DEFAULT);
                    least.min(u64::from(own))
                };
                let narrowest = self.worst(narrow, u64::MAX, |a, b| a < b);
                let rule = |found: u64| Rule::MinMtu {
                    found_bytes: u32::try_from(found).unwrap_or(u32::MAX),
                    limit_bytes: *limit,
                };
                self.worst_of(line, sources(), &narrowest, |found| found < u64::from(*limit), rule)
            }
        }
    }

    /// A violation whose packet stays on the nodes of `on`.
    fn shown(&self, rule: Rule, line: u32, sources: &[u32], on: &[bool]) -> Option<Violation> {
        let first = *sources.first()?;
        // Around a loop, the first leg that stays on them need not lead on: the search does.
        let way = search(&self.legs, first, self.ends, |node| on[node as usize])?;
        let trace = self.trace(first, |node| way.get(&node).copied());
        Some(self.violation(rule, line, sources, trace))
    }

    /// Nodes from which some packet gets to one of `goals` over nodes of which `may` says yes, both ends included.
    fn reaching(&self, goals: &[u32], may: impl Fn(u32) -> bool) -> Vec<bool> {
        let mut reached = vec![false; self.legs.len()];
        let mut stack: Vec<u32> = goals.iter().copied().filter(|goal| may(*goal)).collect();
        for goal in &stack {
            reached[*goal as usize] = true;
        }
        while let Some(node) = stack.pop() {
            for sender in self.order.senders(node) {
                if !reached[sender as usize] && may(sender) {
                    reached[sender as usize] = true;
                    stack.push(sender);
                }
            }
        }
        reached
    }

    /// For each node the worst value over its paths that arrive, and the leg that it begins with. Nodes from
    /// which a loop can be reached have none: the loop is a violation of its own.
    fn worst(
        &self,
        add: impl Fn(u64, &Leg) -> u64,
        at_destination: u64,
        worse: impl Fn(u64, u64) -> bool,
    ) -> Vec<Option<(u64, Option<Leg>)>> {
        let mut worst: Vec<Option<(u64, Option<Leg>)>> = vec![None; self.legs.len()];
        for end in self.ends {
            worst[*end as usize] = Some((at_destination, None));
        }
        for node in self.order.sinks_first() {
            for leg in self.legs(*node) {
                let Some((rest, _)) = worst[leg.to as usize] else { continue };
                let value = add(rest, leg);
                if worst[*node as usize].is_none_or(|(known, _)| worse(value, known)) {
                    worst[*node as usize] = Some((value, Some(*leg)));
                }
            }
        }
        worst
    }

    /// The violation of the sources whose worst value is `over` the limit; shown is the first's worst path.
    fn worst_of(
        &self,
        line: u32,
        sources: impl Iterator<Item = u32>,
        worst: &[Option<(u64, Option<Leg>)>],
        over: impl Fn(u64) -> bool,
        rule: impl Fn(u64) -> Rule,
    ) -> Option<Violation> {
        let bad: Vec<u32> =
            sources.filter(|node| worst[*node as usize].is_some_and(|(value, _)| over(value))).collect();
        let first = *bad.first()?;
        let (value, _) = worst[first as usize]?;
        let trace = self.trace(first, |node| worst[node as usize].and_then(|(_, leg)| leg));
        Some(self.violation(rule(value), line, &bad, trace))
    }
}

/// For each node whether its packets arrive.
struct Arrival {
    /// Whichever next hops they take.
    always: Vec<bool>,
    /// By some next hops.
    ever: Vec<bool>,
}

impl Arrival {
    fn new(class: &Class<'_>) -> Arrival {
        let mut always = vec![false; class.legs.len()];
        for node in class.order.sinks_first() {
            let legs = class.legs(*node);
            always[*node as usize] =
                class.is_end(*node) || (!legs.is_empty() && legs.iter().all(|leg| always[leg.to as usize]));
        }
        Arrival { always, ever: class.reaching(class.ends, |_| true) }
    }
}

/// Looks downstream of changed hosts of a class in which nothing was wrong.
struct Clean {
    /// By node: `2 * round` while it is on the way of the search, `2 * round + 1` once it is known good.
    seen: Vec<u32>,
    round: u32,
    /// (node, how many of its legs are done).
    stack: Vec<(u32, u32)>,
}

impl Clean {
    fn new(nodes: u32) -> Clean {
        Clean { seen: vec![0; nodes as usize], round: 0, stack: Vec::new() }
    }

    /// Whether still nothing is wrong. All that changed is at the touched hosts: a new loop or a new dead end
    /// is downstream of one of them, and hosts upstream are well when these are.
    fn stays(&mut self, forwarding: &Forwarding, parts: &[u32], touched: &[Touched]) -> bool {
        self.round += 1;
        let (open, good) = (2 * self.round, 2 * self.round + 1);
        let ends = touched.first().map_or(&[][..], |touched| forwarding.ends(touched.class));
        for end in ends {
            self.seen[*end as usize] = good;
        }
        for touched in touched {
            if self.seen[touched.node as usize] == good {
                continue;
            }
            self.stack.clear();
            self.seen[touched.node as usize] = open;
            self.stack.push((touched.node, 0));
            while let Some((node, done)) = self.stack.last_mut() {
                let legs = forwarding.legs(*node, touched.class);
                let Some(leg) = legs.get(*done as usize) else {
                    let joined = |end: &u32| parts[*end as usize] == parts[*node as usize];
                    if legs.is_empty() && ends.iter().any(joined) {
                        return false;
                    }
                    self.seen[*node as usize] = good;
                    self.stack.pop();
                    continue;
                };
                *done += 1;
                let seen = &mut self.seen[leg.to as usize];
                if *seen == open {
                    return false;
                }
                if *seen != good {
                    *seen = open;
                    self.stack.push((leg.to, 0));
                }
            }
        }
        true
    }
}
