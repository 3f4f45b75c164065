//! The order in which hosts get the programs that follow from a link's failure or return.
//!
//! Nothing is in a hurry where every packet has a way: a link that comes back is not needed, and after a failure that
//! repairs cover completely, packets go by the repairs. Hosts then move in the order that [`order`](crate::order::order)
//! finds, as RFC 6976 (ordered FIB) has it, so that no packet meets two hosts that disagree. Where a failure leaves a
//! destination without a way, waiting costs more than packets that turn for some milliseconds: all hosts move at once.

use crate::program::TABLE_MAIN;
use crate::proof::State;
use crate::steps::Step;
use crate::{Facts, Program, order};
use std::collections::{BTreeMap, BTreeSet};
use topology::{Safety, Share, Topology};

/// Nodes up to which an order is sought: it takes about 11 ms for a link of a network of 1,000 nodes.
const NODES_MAX: usize = 2_000;
/// Steps at most; each takes a commit and the slowest host's answer. What comes after them moves at once.
const STEPS_MAX: usize = 16;

/// Puts the hosts whose program differs between `old` and `new` into steps without pauses; each host is in one. `facts` are
/// those of `new`, and `link` is down there or back.
///
/// A host that [`order`](crate::order::order) would give an intermediate program moves as a whole, where its last part would:
/// destinations that it holds back this way are not covered by an order.
pub fn steps(old: State<'_>, new: State<'_>, facts: &Facts, link: &str) -> Vec<Step> {
    let at_once = || {
        let digests = new.network.digests_by_host();
        let before = old.network.digests_by_host();
        let differs = |(host, digest): &(String, _)| before.get(host) != Some(digest);
        step(digests.into_iter().filter(differs).map(|(host, _)| host).collect())
    };
    let hurries = facts.links_down.contains(link) && leaves_without_a_way(old, link);
    if hurries || new.topology.nodes.len() > NODES_MAX {
        return at_once();
    }
    let unbounded = Safety {
        max_hosts_per_step: Share::Percent(100),
        bake_ms: 0,
        canary_hosts: None,
        ..new.topology.safety
    };
    let ordered = order::order(Some(old), new, facts, &unbounded);
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (number, step) in ordered.steps.iter().enumerate() {
        last.extend(step.programs.iter().map(|(host, _)| (host.clone(), number)));
    }
    let mut hosts: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (host, number) in last {
        hosts.entry(number).or_default().insert(host);
    }
    let mut steps: Vec<BTreeSet<String>> = hosts.into_values().collect();
    if steps.len() > STEPS_MAX {
        let rest = steps.split_off(STEPS_MAX - 1).into_iter().flatten().collect();
        steps.push(rest);
    }
    steps.into_iter().flat_map(|hosts| step(hosts.into_iter().collect())).collect()
}

fn step(hosts: Vec<String>) -> Vec<Step> {
    if hosts.is_empty() { Vec::new() } else { vec![Step { hosts, bake_ms: 0 }] }
}

/// Whether the failure of `link` takes the last way of some destination at one of its ends.
fn leaves_without_a_way(state: State<'_>, link: &str) -> bool {
    interfaces(state.topology, link).iter().any(|(host, interface)| {
        state.network.host(host).is_some_and(|(program, _)| depends_on(program, interface))
    })
}

/// The ends of a link, or of an uplink: (host, interface).
fn interfaces(topology: &Topology, link: &str) -> Vec<(String, String)> {
    let name = |node| topology.node(node).name.clone();
    let of_link = topology.links.iter().filter(|one| one.id == link).flat_map(|one| &one.ends);
    let ends = of_link.map(|end| (name(end.node), end.interface.clone()));
    let uplinks = topology.external.iter().map(|one| (name(one.node), one.interface.clone()));
    ends.chain(uplinks.filter(|(host, interface)| format!("{host}:{interface}") == link)).collect()
}

/// Whether all routes of some class leave by `interface`.
fn depends_on(program: &Program, interface: &str) -> bool {
    let leaves_elsewhere = |group: u32| {
        let members = program.group(group).map_or(&[][..], |group| &group.members);
        let mut hops = members.iter().filter_map(|member| program.nexthop(member.nexthop));
        hops.any(|hop| hop.interface != interface)
    };
    let elsewhere: BTreeSet<u32> =
        program.groups.iter().map(|group| group.id).filter(|id| leaves_elsewhere(*id)).collect();
    let routes: Vec<_> = program.classes.iter().filter(|route| route.table == TABLE_MAIN).collect();
    routes
        .chunk_by(|a, b| a.class == b.class)
        .any(|routes| routes.iter().all(|route| !elsewhere.contains(&route.group)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::tests::mixtures::{Change, Programs, stable, try_all};
    use proptest::prelude::*;

    /// The failure of a link, or its return.
    fn of_link(topology: &Topology, link: usize, down: bool) -> (Change, String) {
        let id = topology.links[link].id.clone();
        let healthy = compile(topology, &Facts::default());
        let facts = Facts { links_down: [id.clone()].into() };
        let failed = compile(topology, &facts);
        let side = |network| (topology.clone(), network);
        let change = if down {
            Change { old: side(healthy), new: side(failed), facts }
        } else {
            Change { old: side(failed), new: side(healthy), facts: Facts::default() }
        };
        (change, id)
    }

    fn steps_of(change: &Change, link: &str) -> Vec<Step> {
        steps(change.old(), change.new_state(), &change.facts, link)
    }

    #[track_caller]
    fn check(text: &str, link: usize, down: bool, expected: &str) {
        let (change, id) = of_link(&stable(text), link, down);
        let steps: Vec<String> = steps_of(&change, &id).iter().map(|step| step.hosts.join("")).collect();
        assert_eq!(steps.join(" "), expected, "{id}");
    }

    #[test]
    fn a_link_that_comes_back_is_used_from_its_ends_outward() {
        // A ring of five: without a-b, packets between a and b go all the way round. Of d the repairs change alone.
        check("a-b 1, b-c 1, c-d 1, d-e 1, a-e 1", 0, false, "abd ce");
    }

    #[test]
    fn a_failure_without_a_repair_is_in_a_hurry() {
        check("a-b 1, b-c 1, c-d 1, d-e 1, a-e 1", 0, true, "abcde");
    }

    #[test]
    fn a_failure_that_repairs_cover_is_answered_from_the_far_hosts_inward() {
        let topology = stable("a-b 1, a-c 1, b-c 1, a-d 2, b-d 2");
        for link in 0..topology.links.len() {
            let (change, id) = of_link(&topology, link, true);
            let steps = steps_of(&change, &id);
            assert!(!leaves_without_a_way(change.old(), &id), "{id}");
            let programs = programs(&change, &steps);
            assert_eq!(try_all(&change, &programs, &[]), Ok(()), "{id}");
        }
    }

    fn programs(change: &Change, steps: &[Step]) -> Vec<Programs> {
        let program = |host: &String| (host.clone(), change.new.1.host(host).unwrap().0.clone());
        steps.iter().map(|step| step.hosts.iter().map(program).collect()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn no_mixture_of_the_steps_loops_or_cuts_a_pair(
            change in crate::tests::mixtures::change(), at in 0_usize..64, down in any::<bool>()
        ) {
            let topology = change.old.0;
            prop_assume!(!topology.links.is_empty());
            let (change, id) = of_link(&topology, at % topology.links.len(), down);
            let steps = steps_of(&change, &id);
            let mut hosts: Vec<&String> = steps.iter().flat_map(|step| &step.hosts).collect();
            hosts.sort();
            let differs = |program: &&std::sync::Arc<Program>| {
                change.old.1.host(&program.host).unwrap().1 != change.new.1.host(&program.host).unwrap().1
            };
            let changed: Vec<&String> =
                change.new.1.programs.iter().filter(differs).map(|program| &program.host).collect();
            prop_assert_eq!(hosts, changed, "each in one step");
            if down && leaves_without_a_way(change.old(), &id) {
                prop_assert!(steps.len() <= 1);
            } else {
                let bounds = Safety {
                    max_hosts_per_step: Share::Percent(100), canary_hosts: None, bake_ms: 0, ..topology.safety
                };
                let whole = change.plan(&bounds).steps.iter().all(|step| step.held.is_empty());
                if whole {
                    prop_assert_eq!(try_all(&change, &programs(&change, &steps), &[]), Ok(()));
                }
            }
        }
    }
}
