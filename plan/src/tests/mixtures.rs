//! Every mixture of programs that the steps of a change can make, one by one, and random changes to try it on.

use crate::order::{Plan, order};
use crate::program::TABLE_MAIN;
use crate::proof::{self, Destination, Proof, State};
use crate::tests::fixture::topology;
use crate::{Facts, Network, PrefixTable, Program, compile};
use ipnetwork::IpNetwork;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::{External, Node, NodeIndex, Safety, Topology};

pub(crate) type Programs = Vec<(String, Arc<Program>)>;

/// Both states of a change, compiled.
pub(crate) struct Change {
    pub(crate) old: (Topology, Network),
    pub(crate) new: (Topology, Network),
    pub(crate) facts: Facts,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for topology in [&self.old.0, &self.new.0] {
            let name = |end: &topology::End| topology.node(end.node).name.clone();
            let link = |link: &topology::Link| {
                let [a, b] = &link.ends;
                format!("{}-{} {}/{}", name(a), name(b), a.cost, b.cost)
            };
            let nodes = topology.nodes.iter().map(|node| node.name.clone());
            let entries: Vec<String> = nodes.chain(topology.links.iter().map(link)).collect();
            let places = topology.nodes.iter().filter(|node| node.prefixes.len() > 1);
            let anycast: String = places.map(|node| node.name.as_str()).collect();
            let uplinks = topology.external.iter().map(|external| topology.node(external.node));
            let uplinks: String = uplinks.map(|node| node.name.as_str()).collect();
            writeln!(out, "{:?}, anycast {anycast}, uplinks {uplinks}", entries.join(", "))?;
        }
        writeln!(out, "{:?}", self.facts)
    }
}

/// A network in which each interface is called by the node at its other end and each node's prefixes follow
/// from its name, so that a link or a node more or less changes no other.
pub(crate) fn stable(text: &str) -> Topology {
    let mut topology = topology(text);
    let names: Vec<String> = topology.nodes.iter().map(|node| node.name.clone()).collect();
    for link in &mut topology.links {
        let [a, b] = [0, 1].map(|end: usize| names[link.ends[end].node.0 as usize].clone());
        link.id = format!("{a}:{b}--{b}:{a}");
        (link.ends[0].interface, link.ends[1].interface) = (b, a);
    }
    topology.links.sort_by(|a, b| a.id.cmp(&b.id));
    for node in &mut topology.nodes {
        let number = node.name.as_bytes()[0];
        node.loopbacks = vec![std::net::IpAddr::from([10, 255, 0, number])];
        node.prefixes = vec![format!("10.{number}.0.0/24").parse().unwrap()];
    }
    topology
}

impl Change {
    pub(crate) fn new(old: &str, new: &str, facts: Facts) -> Change {
        Change::of(stable(old), stable(new), facts)
    }

    pub(crate) fn of(old: Topology, new: Topology, facts: Facts) -> Change {
        let (before, after) = (compile(&old, &facts), compile(&new, &facts));
        Change { old: (old, before), new: (new, after), facts }
    }

    pub(crate) fn old(&self) -> State<'_> {
        State { topology: &self.old.0, network: &self.old.1 }
    }

    pub(crate) fn new_state(&self) -> State<'_> {
        State { topology: &self.new.0, network: &self.new.1 }
    }

    pub(crate) fn plan(&self, safety: &Safety) -> Plan {
        order(Some(self.old()), self.new_state(), &self.facts, safety)
    }

    pub(crate) fn verify(&self, steps: &[Programs], proof: &Proof) -> Result<(), proof::Wrong> {
        let steps: Vec<&[(String, Arc<Program>)]> = steps.iter().map(Vec::as_slice).collect();
        proof::verify(Some(self.old()), &steps, self.new_state(), &self.facts, proof)
    }
}

pub(crate) fn programs(plan: &Plan) -> Vec<Programs> {
    plan.steps.iter().map(|step| step.programs.clone()).collect()
}

/// A host's ways for one prefix: each a set of next nodes; `"!"` is the prefix itself.
type Way = BTreeSet<String>;

/// The ways of the routes of `program`, best first, read from its kernel objects.
fn ways(
    program: &Program,
    table: &PrefixTable,
    prefix: &IpNetwork,
    topologies: &[&Topology],
    facts: &Facts,
) -> Vec<Way> {
    let Some(class) = table.class_of(prefix) else { return Vec::new() };
    let node = topologies[0].node_index(&program.host).map(|at| topologies[0].node(at));
    let own = |node: &topology::Node| {
        node.prefixes.contains(prefix) || node.loopbacks.iter().any(|own| IpNetwork::from(*own) == *prefix)
    };
    if node.is_some_and(own) {
        return vec![["!".to_string()].into()];
    }
    let far = |interface: &str| {
        let of = move |topology: &&Topology| {
            let living = topology.links.iter().filter(|link| !facts.links_down.contains(&link.id));
            let ends =
                living.flat_map(|link| [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])]);
            let own =
                ends.filter(|(own, _)| topology.endpoint(own) == format!("{}:{interface}", program.host));
            let uplink = |external: &&topology::External| {
                let (node, name) = (&topology.node(external.node).name, &external.interface);
                let lives = !facts.links_down.contains(&format!("{node}:{name}"));
                *node == program.host && name == interface && lives
            };
            let out = topology.external.iter().filter(uplink).map(|_| "!".to_string());
            own.map(|(_, far)| topology.node(far.node).name.clone()).chain(out).collect::<Vec<_>>()
        };
        topologies.iter().flat_map(of).collect::<Vec<_>>()
    };
    let routes = program.classes.iter().filter(|route| route.class == class && route.table == TABLE_MAIN);
    let way = |route: &crate::program::ClassRoute| -> Way {
        let members = &program.groups.iter().find(|group| group.id == route.group).unwrap().members;
        let hop = |id: u32| program.nexthops.iter().find(|hop| hop.id == id).unwrap();
        members.iter().flat_map(|member| far(&hop(member.nexthop).interface)).collect()
    };
    routes.map(way).filter(|way| !way.is_empty()).collect()
}

/// What every host runs: its ways for one prefix.
type Ways = BTreeMap<String, Vec<Way>>;

/// Follows packets: `None` when they loop, else whether they arrive by whichever way.
fn arrives(node: &str, graph: &BTreeMap<String, Way>, path: &mut Vec<String>) -> Option<bool> {
    if path.iter().any(|passed| passed == node) {
        return None;
    }
    path.push(node.to_string());
    let way = graph.get(node).cloned().unwrap_or_default();
    let mut all = !way.is_empty();
    for next in way.iter().filter(|next| *next != "!") {
        all &= arrives(next, graph, path)?;
    }
    path.pop();
    Some(all)
}

fn first_ways(ways: &Ways) -> BTreeMap<String, Way> {
    ways.iter().map(|(host, ways)| (host.clone(), ways.first().cloned().unwrap_or_default())).collect()
}

/// A step as one prefix sees it.
struct Moment {
    /// The way of every host before it.
    now: BTreeMap<String, Way>,
    /// The ways of the hosts whose way it changes.
    choices: Vec<(String, Vec<Way>)>,
}

impl Moment {
    /// Calls `each` with every mixture that there can be while the step is under way.
    fn mixtures(
        &self,
        mut each: impl FnMut(&BTreeMap<String, Way>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut picks = vec![0; self.choices.len()];
        loop {
            let mut graph = self.now.clone();
            for ((host, choice), pick) in self.choices.iter().zip(&picks) {
                graph.insert(host.clone(), choice[*pick].clone());
            }
            each(&graph)?;
            let Some(at) = (0..picks.len()).find(|at| picks[*at] + 1 < self.choices[*at].1.len()) else {
                return Ok(());
            };
            picks[at] += 1;
            picks[..at].fill(0);
        }
    }
}

/// A change as one prefix sees it: what every host does before it, in each step, and after it.
struct Story {
    first: BTreeMap<String, Way>,
    moments: Vec<Moment>,
    end: BTreeMap<String, Way>,
    last: BTreeMap<String, Way>,
}

fn story(change: &Change, steps: &[Programs], prefix: &IpNetwork) -> Story {
    let after = &change.new.1;
    let state = |network: &Network, topology: &Topology| -> Ways {
        let of = |program: &Arc<Program>| {
            (program.host.clone(), ways(program, &network.table, prefix, &[topology], &change.facts))
        };
        network.programs.iter().map(of).collect()
    };
    let mut now = state(&change.old.1, &change.old.0);
    let (first, last) = (first_ways(&now), first_ways(&state(after, &change.new.0)));
    let mut moments = Vec::new();
    for step in steps {
        let before = first_ways(&now);
        let mut choices: Vec<(String, Vec<Way>)> = Vec::new();
        for (host, program) in step {
            let is_last = **program == **after.host(host).unwrap().0;
            let topologies = [&change.new.0, &change.old.0];
            let topologies = if is_last { &topologies[..1] } else { &topologies[..] };
            let gets = ways(program, &after.table, prefix, topologies, &change.facts);
            let has = now.insert(host.clone(), gets.clone()).unwrap_or_default();
            if has.first() != gets.first() {
                let mut choice = vec![has.first().cloned().unwrap_or_default()];
                let repair: Way = has.iter().skip(1).flatten().cloned().collect();
                choice.extend((!repair.is_empty()).then_some(repair));
                choice.push(gets.first().cloned().unwrap_or_default());
                choices.push((host.clone(), choice));
            }
        }
        moments.push(Moment { now: before, choices });
    }
    Story { first, moments, end: first_ways(&now), last }
}

/// One prefix of each pair of classes, before and after, with the names of their nodes.
fn prefixes(change: &Change) -> Vec<(IpNetwork, Option<String>, String)> {
    let (before, after) = (&change.old.1.table, &change.new.1.table);
    let mut known = BTreeSet::new();
    let mut prefixes = Vec::new();
    for (prefix, class) in &after.entries {
        // Prefixes of the same classes fare alike.
        let was = before.class_of(prefix);
        if known.insert((was, *class)) {
            let was = was.and_then(|class| before.class_name(class)).map(str::to_string);
            prefixes.push((*prefix, was, after.class_name(*class).unwrap().to_string()));
        }
    }
    prefixes
}

/// Tries every mixture of every step, but for the destinations `but`; says what goes wrong.
pub(crate) fn try_all(change: &Change, steps: &[Programs], but: &[Destination]) -> Result<(), String> {
    for (prefix, was, is) in prefixes(change) {
        if but.iter().any(|but| Some(&but.old) == was.as_ref() && but.new == is) {
            continue;
        }
        let story = story(change, steps, &prefix);
        let reaches = |host: &String, graph| arrives(host, graph, &mut Vec::new()) == Some(true);
        let kept = |host: &String| reaches(host, &story.first) && reaches(host, &story.last);
        let kept: BTreeSet<&String> = story.first.keys().filter(|host| kept(host)).collect();
        for (number, moment) in story.moments.iter().enumerate() {
            moment.mixtures(|graph| {
                for host in graph.keys() {
                    let what = match arrives(host, graph, &mut Vec::new()) {
                        None => "loops",
                        Some(false) if kept.contains(host) => "is lost",
                        _ => continue,
                    };
                    return Err(format!("step {}, {prefix} from {host} {what}: {graph:?}", number + 1));
                }
                Ok(())
            })?;
        }
        if story.end.iter().any(|(host, way)| story.last.get(host).is_some_and(|last| last != way)) {
            return Err(format!("{prefix} does not end as it shall"));
        }
    }
    Ok(())
}

/// Tries every order of a proof on every mixture; says where a host meets one that is not before it.
pub(crate) fn try_proof(change: &Change, steps: &[Programs], proof: &Proof) -> Result<(), String> {
    for (prefix, was, is) in prefixes(change) {
        let story = story(change, steps, &prefix);
        let Some(was) = was else {
            let is_new = change.old.1.table.classes.iter().all(|class| class.name != is);
            for (host, choice) in story.moments.iter().flat_map(|moment| &moment.choices).filter(|_| is_new) {
                if choice.iter().any(|way| !way.is_empty() && *way != story.last[host]) {
                    return Err(format!("{host} strays on its way to {prefix}, which is new"));
                }
            }
            continue;
        };
        let moving: BTreeSet<&String> =
            story.moments.iter().flat_map(|moment| &moment.choices).map(|(host, _)| host).collect();
        let named = |witness: &&proof::Witness| {
            witness.destinations.iter().any(|name| (&name.old, &name.new) == (&was, &is))
        };
        let orders = proof.witnesses.iter().find(named).map_or(&[][..], |witness| &witness.orders);
        for (step, moment) in
            story.moments.iter().enumerate().filter(|(_, moment)| !moment.choices.is_empty())
        {
            let in_force = orders.iter().rfind(|order| order.from_step as usize <= step);
            let order: Vec<&String> =
                in_force.iter().flat_map(|order| &order.hosts).map(|at| &proof.hosts[*at as usize]).collect();
            if moving.iter().any(|host| !order.contains(host)) {
                return Err(format!("{prefix} is not covered in step {}", step + 1));
            }
            moment.mixtures(|graph| falls(graph, &order))?;
        }
    }
    Ok(())
}

/// Whether every host of `order` meets only hosts before it first.
fn falls(graph: &BTreeMap<String, Way>, order: &[&String]) -> Result<(), String> {
    for (rank, host) in order.iter().enumerate() {
        let mut stack: Vec<&String> = graph.get(*host).into_iter().flatten().collect();
        let mut seen = BTreeSet::new();
        while let Some(node) = stack.pop() {
            match order.iter().position(|listed| *listed == node) {
                Some(met) if met >= rank => return Err(format!("{host} meets {node}")),
                None if node != "!" && seen.insert(node) => {
                    stack.extend(graph.get(node).into_iter().flatten())
                }
                _ => {}
            }
        }
    }
    Ok(())
}

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Links of a network by the pair of nodes, with a cost each way.
type Links = BTreeMap<(usize, usize), (u32, u32)>;

fn text(nodes: &BTreeSet<usize>, links: &Links) -> String {
    let lone = nodes.iter().map(|at| NAMES[*at].to_string());
    let link = |((a, b), (there, back)): (&(usize, usize), &(u32, u32))| {
        let joined = nodes.contains(a) && nodes.contains(b);
        joined.then(|| format!("{}-{} {there}/{back}", NAMES[*a], NAMES[*b]))
    };
    lone.chain(links.iter().filter_map(link)).collect::<Vec<_>>().join(", ")
}

fn all_links() -> impl Strategy<Value = Links> {
    let pairs: Vec<(usize, usize)> = (0..7).flat_map(|a| (a + 1..7).map(move |b| (a, b))).collect();
    proptest::collection::vec(
        proptest::option::weighted(0.5, (1_u32..5, 1_u32..5, any::<bool>())),
        pairs.len(),
    )
    .prop_map(move |costs| {
        let cost = |(there, back, one_way): (u32, u32, bool)| (there, if one_way { back } else { there });
        pairs.iter().zip(costs).filter_map(|(pair, costs)| Some((*pair, cost(costs?)))).collect()
    })
}

/// What happens to a network: (kind, which, cost).
fn changes() -> impl Strategy<Value = Vec<(u8, usize, u32)>> {
    proptest::collection::vec((0_u8..5, 0_usize..49, 1_u32..9), 1..4)
}

/// The network after `changes`.
fn changed(nodes: &BTreeSet<usize>, links: &Links, changes: &[(u8, usize, u32)]) -> (BTreeSet<usize>, Links) {
    let (mut nodes, mut links) = (nodes.clone(), links.clone());
    for (kind, which, cost) in changes {
        let pair = links.keys().nth(which % links.len().max(1)).copied();
        match (kind, pair) {
            (0, Some(pair)) => _ = links.insert(pair, (*cost, *cost)),
            (1, Some(pair)) => _ = links.remove(&pair),
            (2, _) => {
                let (a, b) = (which % 7, which / 7);
                if a != b {
                    links.insert((a.min(b), a.max(b)), (*cost, *cost));
                }
            }
            (3, _) => {
                // A drain: nobody sends through the node who has another way.
                let node = which % 7;
                for ((a, b), (there, back)) in &mut links {
                    if *a == node || *b == node {
                        (*there, *back) = (*there + 50, *back + 50);
                    }
                }
            }
            (_, _) => {
                let node = which % 7;
                if !nodes.remove(&node) {
                    nodes.insert(node);
                }
            }
        }
    }
    (nodes, links)
}

/// Gives some nodes a prefix in common and some an uplink each: a node is in a set when its bit is set.
fn share(topology: &mut Topology, (anycast, uplinks): (u8, u8)) {
    let in_set = |node: &Node, set: u8| set >> (node.name.as_bytes()[0] - b'a') & 1 == 1;
    for (at, node) in topology.nodes.iter_mut().enumerate() {
        if in_set(node, anycast) {
            node.prefixes.push("192.0.2.0/24".parse().unwrap());
        }
        if in_set(node, uplinks) {
            topology.external.push(External {
                node: NodeIndex(at as u32),
                interface: "wan0".to_string(),
                next_hop: "203.0.113.1".parse().unwrap(),
                prefixes: vec!["0.0.0.0/0".parse().unwrap()],
                line: 0,
            });
        }
    }
}

/// Which nodes share a prefix or have an uplink, before and after: most often none, or the same ones.
fn shares() -> impl Strategy<Value = ((u8, u8), (u8, u8))> {
    prop_oneof![
        4 => Just(((0, 0), (0, 0))),
        4 => any::<(u8, u8)>().prop_map(|same| (same, same)),
        1 => (any::<(u8, u8)>(), any::<(u8, u8)>()),
    ]
}

prop_compose! {
    pub(crate) fn change()(
        links in all_links(),
        changes in changes(),
        absent in 0_usize..14,
        down in proptest::option::weighted(0.2, 0_usize..22),
        shares in shares(),
    ) -> Change {
        let nodes: BTreeSet<usize> = (0..7).filter(|at| *at != absent).collect();
        let (new_nodes, new_links) = changed(&nodes, &links, &changes);
        let (mut old, mut new) = (stable(&text(&nodes, &links)), stable(&text(&new_nodes, &new_links)));
        share(&mut old, shares.0);
        share(&mut new, shares.1);
        let down = down.map(|at| old.links.get(at).map_or("a:wan0".to_string(), |link| link.id.clone()));
        Change::of(old, new, Facts { links_down: down.into_iter().collect() })
    }
}
