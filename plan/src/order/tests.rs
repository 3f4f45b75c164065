//! Every mixture of programs that a step can make, one by one.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::program::TABLE_MAIN;
use crate::tests::fixture::{safety, topology};
use crate::{Network, PrefixTable, compile, proof};
use ipnetwork::IpNetwork;
use proptest::prelude::*;
use std::collections::HashSet;
use topology::{Share, Topology};

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
            writeln!(out, "{:?}", entries.join(", "))?;
        }
        writeln!(out, "{:?}", self.facts)
    }
}

/// A network in which each interface is called by the node at its other end and each node's prefixes follow
/// from its name, so that a link or a node more or less changes no other.
fn stable(text: &str) -> Topology {
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
    if table.class_name(class) == Some(&program.host) {
        return vec![["!".to_string()].into()];
    }
    let far = |interface: &str| {
        let of = move |topology: &&Topology| {
            let living = topology.links.iter().filter(|link| !facts.links_down.contains(&link.id));
            let ends =
                living.flat_map(|link| [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])]);
            let own =
                ends.filter(|(own, _)| topology.endpoint(own) == format!("{}:{interface}", program.host));
            own.map(|(_, far)| topology.node(far.node).name.clone()).collect::<Vec<_>>()
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

/// Tries every mixture of every step; says what goes wrong.
pub(crate) fn try_all(change: &Change, steps: &[Programs]) -> Result<(), String> {
    let (before, after) = (&change.old.1, &change.new.1);
    let mut known = HashSet::new();
    for (prefix, class) in &after.table.entries {
        // Prefixes of the same classes fare alike.
        if known.insert((before.table.class_of(prefix), *class)) {
            try_prefix(change, steps, prefix)?;
        }
    }
    Ok(())
}

fn try_prefix(change: &Change, steps: &[Programs], prefix: &IpNetwork) -> Result<(), String> {
    let (before, after) = (&change.old.1, &change.new.1);
    let state = |network: &Network, topology: &Topology| -> Ways {
        let of = |program: &Arc<Program>| {
            (program.host.clone(), ways(program, &network.table, prefix, &[topology], &change.facts))
        };
        network.programs.iter().map(of).collect()
    };
    let mut now = state(before, &change.old.0);
    let (first, last) = (first_ways(&now), first_ways(&state(after, &change.new.0)));
    let reaches = |host: &String, graph| arrives(host, graph, &mut Vec::new()) == Some(true);
    let kept: Vec<&String> =
        first.keys().filter(|host| reaches(host, &first) && reaches(host, &last)).collect();
    for (number, step) in steps.iter().enumerate() {
        let mut next = now.clone();
        let mut choices: Vec<(String, Vec<Way>)> = Vec::new();
        for (host, program) in step {
            let is_last = **program == **after.host(host).unwrap().0;
            let topologies = [&change.new.0, &change.old.0];
            let topologies = if is_last { &topologies[..1] } else { &topologies[..] };
            let gets = ways(program, &after.table, prefix, topologies, &change.facts);
            let has = now.get(host).cloned().unwrap_or_default();
            if has.first() != gets.first() {
                let mut choice = vec![has.first().cloned().unwrap_or_default()];
                let repair: Way = has.iter().skip(1).flatten().cloned().collect();
                choice.extend((!repair.is_empty()).then_some(repair));
                choice.push(gets.first().cloned().unwrap_or_default());
                choices.push((host.clone(), choice));
            }
            next.insert(host.clone(), gets);
        }
        try_step(&first_ways(&now), &choices, &kept)
            .map_err(|what| format!("step {}, {prefix}: {what}", number + 1))?;
        now = next;
    }
    if first_ways(&now).iter().any(|(host, way)| last.get(host).is_some_and(|last| last != way)) {
        return Err(format!("{prefix} does not end as it shall"));
    }
    Ok(())
}

fn try_step(
    now: &BTreeMap<String, Way>,
    choices: &[(String, Vec<Way>)],
    kept: &[&String],
) -> Result<(), String> {
    let mut picks = vec![0; choices.len()];
    loop {
        let mut graph = now.clone();
        for ((host, choice), pick) in choices.iter().zip(&picks) {
            graph.insert(host.clone(), choice[*pick].clone());
        }
        for host in graph.keys() {
            match arrives(host, &graph, &mut Vec::new()) {
                None => return Err(format!("loop from {host} in {graph:?}")),
                Some(false) if kept.contains(&host) => return Err(format!("{host} is cut off in {graph:?}")),
                _ => {}
            }
        }
        let Some(at) = (0..picks.len()).find(|at| picks[*at] + 1 < choices[*at].1.len()) else {
            return Ok(());
        };
        picks[at] += 1;
        picks[..at].fill(0);
    }
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

prop_compose! {
    pub(crate) fn change()(
        links in all_links(),
        changes in changes(),
        absent in 0_usize..14,
        down in proptest::option::weighted(0.2, 0_usize..21),
    ) -> Change {
        let nodes: BTreeSet<usize> = (0..7).filter(|at| *at != absent).collect();
        let (new_nodes, new_links) = changed(&nodes, &links, &changes);
        let (old, new) = (stable(&text(&nodes, &links)), stable(&text(&new_nodes, &new_links)));
        let down = down.and_then(|at| Some(old.links.get(at)?.id.clone()));
        Change::of(old, new, Facts { links_down: down.into_iter().collect() })
    }
}

fn bounds() -> impl Strategy<Value = Safety> {
    (
        proptest::option::of(1_u32..3),
        prop_oneof![Just(Share::Percent(100)), (1_u32..4).prop_map(Share::Count)],
    )
        .prop_map(|(canary_hosts, max_hosts_per_step)| Safety {
            canary_hosts,
            max_hosts_per_step,
            ..safety()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_mixture_of_any_step_loops_or_cuts_a_pair(change in change(), safety in bounds()) {
        let plan = change.plan(&safety);
        let steps = programs(&plan);
        prop_assert_eq!(&plan.unproven, &[]);
        prop_assert_eq!(try_all(&change, &steps), Ok(()));
        prop_assert_eq!(change.verify(&steps, &plan.proof), Ok(()));
        prop_assert_eq!(&change.plan(&safety), &plan);
        let fresh = |step: &OrderedStep| {
            step.programs.iter().filter(|(host, _)| change.old.1.host(host).is_none()).count()
        };
        prop_assert!(plan.steps.iter().skip(1).all(|step| fresh(step) == 0), "{:?}", plan.steps);
        let bound = safety.max_hosts_per_step.of(change.new.1.programs.len()).max(1);
        let mut known = plan.steps.iter().filter(|step| fresh(step) == 0).map(|step| step.programs.len());
        let first = known.next().unwrap_or(0);
        prop_assert!(first <= safety.canary_hosts.map_or(bound, |hosts| bound.min(hosts as usize)));
        prop_assert!(known.all(|hosts| hosts <= bound));
    }
}

/// The hosts of each step; `b*` gets an intermediate program.
#[track_caller]
fn check(change: &Change, safety: &Safety, expected: &[&str]) {
    let plan = change.plan(safety);
    let steps = programs(&plan);
    assert_eq!(try_all(change, &steps), Ok(()));
    assert_eq!(change.verify(&steps, &plan.proof), Ok(()));
    let hosts = |step: &OrderedStep| -> String {
        let part = |host: &String| step.held.iter().any(|(held, _)| held == host);
        step.programs
            .iter()
            .map(|(host, _)| if part(host) { format!("{host}*") } else { host.clone() })
            .collect()
    };
    assert_eq!(plan.steps.iter().map(hosts).collect::<Vec<_>>(), expected);
}

fn all_at_once() -> Safety {
    Safety { max_hosts_per_step: Share::Percent(100), ..safety() }
}

fn compare(old: &str, new: &str, safety: &Safety, expected: &[&str]) {
    check(&Change::new(old, new, Facts::default()), safety, expected);
}

#[test]
fn a_common_change_is_one_step() {
    let square = "a-b 1, b-d 1, a-c 2, c-d 2";
    compare(square, "a-b 1, b-d 1, a-c 1, c-d 2", &all_at_once(), &["bcd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 3", &all_at_once(), &["bcd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 2, a-d 1", &all_at_once(), &["abd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 2, a-e 1", &all_at_once(), &["e", "abcd"]);
}

#[test]
fn a_node_more_is_its_own_step_and_one_of_all_others() {
    compare("a-b 1, b-c 1, a-c 1", "a-b 1, b-c 1, a-c 1, a-d 1, c-d 1", &all_at_once(), &["d", "abc"]);
    check(&Change::new("", "a-b 1, b-c 1", Facts::default()), &safety(), &["abc"]);
}

#[test]
fn who_sent_through_the_host_moves_before_it_does() {
    // d will reach c through b, which may still reach it through d.
    compare("a-b 1, b-d 1, a-c 2, c-d 2", "a-b 1, b-d 1, a-c 2, c-d 9", &all_at_once(), &["abc", "d"]);
    compare("a-b 1, b-d 1, a-c 2, c-d 2", "a-b 1, b-d 1, c-d 2", &all_at_once(), &["bcd", "a"]);
    let ring = "a-b 1, b-c 1, c-d 1, d-e 1, a-e";
    compare(&format!("{ring} 9"), &format!("{ring} 1"), &all_at_once(), &["ace", "bd"]);
}

#[test]
fn a_host_splits_by_destination_where_no_order_of_whole_hosts_works() {
    // x and y swap: towards p packets went y > x and shall go x > y, towards q the other way round.
    let old = "p-x 1, p-y 10, q-x 10, q-y 1, x-y 1";
    let new = "p-x 10, p-y 1, q-x 1, q-y 10, x-y 1";
    let change = Change::new(old, new, Facts::default());
    check(&change, &all_at_once(), &["pqx*y*", "xy"]);
    let held = &change.plan(&all_at_once()).steps[0].held;
    let held: Vec<String> = held.iter().map(|(host, held)| format!("{host}: {}", held.join(" "))).collect();
    assert_eq!(held, ["x: p", "y: q"]);
}

#[test]
fn the_first_step_is_the_canary() {
    let safety = Safety { canary_hosts: Some(1), max_hosts_per_step: Share::Count(2), ..safety() };
    let (old, new) = ("a-b 1, b-c 1, a-c 1, c-d 1, d-e 1", "a-b 5, b-c 1, a-c 1, c-d 1, d-e 1, e-f 1");
    compare(old, new, &safety, &["f", "a", "bc", "de"]);
}
