//! Against all simple paths of small networks.

use super::*;
use crate::tests::fixture::topology;
use crate::tests::laws::{any_topology, node_pairs, simple_paths};
use proptest::prelude::*;

/// A network with latencies, risk groups, labels and a drained link here and there.
fn networks() -> impl Strategy<Value = Topology> {
    (any_topology(), any::<u64>()).prop_map(|(mut topology, bits)| {
        for (at, link) in topology.links.iter_mut().enumerate() {
            let own = bits.rotate_right(5 * at as u32);
            link.latency_us = (own & 3 != 0).then_some(own & 7);
            link.srlgs = if own >> 3 & 3 == 3 { vec![format!("duct-{}", own >> 5 & 3)] } else { Vec::new() };
            link.affinity = if own >> 7 & 1 == 1 { vec!["gold".to_string()] } else { Vec::new() };
            link.drained = own >> 8 & 7 == 7;
        }
        topology
    })
}

/// All simple paths over allowed links, the best first, as (drained links, cost, latency, links).
fn all_routes(topology: &Topology, allowed: &Allowed, from: u32, to: u32) -> Vec<Route> {
    let facts = Facts::default();
    let graph = allowed.graph(topology, &facts, [NodeIndex(from), NodeIndex(to)]);
    let position = |id: &String| topology.link_index(id).unwrap();
    let routes = simple_paths(topology, &facts, from, to).into_iter().map(|(_, ids)| {
        let links: Vec<u32> = ids.iter().map(|id| position(id).0).collect();
        Route::new(topology, &graph, from, &links)
    });
    let off = |route: &Route| {
        let inner = &route.nodes[1..route.nodes.len() - 1];
        inner.iter().any(|node| allowed.avoid_nodes.contains(node))
            || route.links.iter().any(|link| {
                let of = topology.link(*link);
                allowed.avoid_links.contains(link)
                    || of.srlgs.iter().any(|risk| allowed.avoid_risks.contains(risk))
                    || of.affinity.iter().any(|label| allowed.exclude_any.contains(label))
                    || !allowed.include_any.is_empty()
                        && !of.affinity.iter().any(|label| allowed.include_any.contains(label))
                    || !allowed.include_all.iter().all(|label| of.affinity.contains(label))
            })
    };
    let mut routes: Vec<Route> = routes.filter(|route| !off(route)).collect();
    routes.sort_by_key(|route| (route.drained_links, route.cost, route.latency_us));
    routes
}

fn allowed(topology: &Topology, kind: usize) -> Allowed {
    let gold = || BTreeSet::from(["gold".to_string()]);
    match kind {
        0 => Allowed { avoid_nodes: [NodeIndex(1)].into(), ..Allowed::default() },
        1 => Allowed { exclude_any: gold(), ..Allowed::default() },
        2 => Allowed { include_any: gold(), ..Allowed::default() },
        3 => {
            Allowed { include_all: gold(), avoid_risks: ["duct-1".to_string()].into(), ..Allowed::default() }
        }
        4 if !topology.links.is_empty() => {
            Allowed { avoid_links: [LinkIndex(0)].into(), ..Allowed::default() }
        }
        _ => Allowed::default(),
    }
}

fn key(route: &Route) -> (u64, u64, u64) {
    (route.drained_links, route.cost, route.latency_us)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cheapest_paths_are_those_of_all_simple_ones(topology in networks(), kind in 0..6_usize, budget in 0..16_u64) {
        let allowed = allowed(&topology, kind);
        let max_latency_us = (budget < 12).then_some(budget);
        let constraints = Constraints { allowed, max_latency_us, ..Constraints::default() };
        for (from, to) in node_pairs(&topology) {
            let mut expected = all_routes(&topology, &constraints.allowed, from, to);
            expected.retain(|route| max_latency_us.is_none_or(|most| route.latency_us <= most));
            let ends = [NodeIndex(from), NodeIndex(to)];
            let found = cheapest_paths(&topology, &Facts::default(), &constraints, ends[0], ends[1], 12).unwrap();
            let keys: Vec<_> = found.iter().map(key).collect();
            let wanted: Vec<_> = expected.iter().map(key).take(12).collect();
            // Latencies of paths of one cost may come in another order.
            let costs = |keys: &[(u64, u64, u64)]| keys.iter().map(|key| (key.0, key.1)).collect::<Vec<_>>();
            prop_assert_eq!(costs(&keys), costs(&wanted), "{} to {}", from, to);
            prop_assert_eq!(keys.first(), wanted.first());
            let distinct: BTreeSet<_> = found.iter().map(|route| route.links.clone()).collect();
            prop_assert_eq!(distinct.len(), found.len());
            for route in &found {
                prop_assert!(expected.contains(route), "{:?} is a simple path that is allowed", route);
            }
        }
    }

    #[test]
    fn pairs_share_as_little_as_any_two_paths(topology in networks(), kind in 0..6_usize) {
        let allowed = allowed(&topology, kind);
        for (from, to) in node_pairs(&topology) {
            let all = all_routes(&topology, &allowed, from, to);
            let shared = |a: &[NodeIndex], b: &[NodeIndex]| {
                a[1..a.len() - 1].iter().filter(|node| b[1..b.len() - 1].contains(node)).count()
            };
            let rank = |a: &Route, b: &Route| {
                let links = a.links.iter().filter(|link| b.links.contains(link)).count();
                (shared(&a.nodes, &b.nodes), links, a.drained_links + b.drained_links, a.cost + b.cost)
            };
            let pairs = all.iter().flat_map(|a| all.iter().map(move |b| (a, b)));
            let best = pairs.clone().map(|(a, b)| rank(a, b)).min();
            let (from, to) = (NodeIndex(from), NodeIndex(to));
            let found = disjoint_pair(&topology, &Facts::default(), &allowed, from, to);
            let of_found = found.as_ref().map(|pair| rank(&pair.paths[0], &pair.paths[1]));
            prop_assert_eq!(of_found, best, "{:?} to {:?}", from, to);
            let sums = found.as_ref().map(|pair| (pair.shared_nodes.len(), pair.shared_links.len()));
            prop_assert_eq!(sums, best.map(|best| (best.0, best.1)));

            let apart = |(a, b): &(&Route, &Route)| {
                let risks = |route: &Route| -> BTreeSet<String> {
                    route.links.iter().flat_map(|link| topology.link(*link).srlgs.clone()).collect()
                };
                let rank = rank(a, b);
                (rank.0, rank.1) == (0, 0) && risks(a).is_disjoint(&risks(b))
            };
            let cheapest = pairs.filter(apart).map(|(a, b)| (a.drained_links + b.drained_links, a.cost + b.cost)).min();
            let found = risk_disjoint_pair(&topology, &Facts::default(), &allowed, from, to).unwrap();
            let proven = found.filter(|pair| pair.is_proven).map(|pair| {
                let [a, b] = &pair.paths;
                (a.drained_links + b.drained_links, a.cost + b.cost)
            });
            prop_assert_eq!(proven, cheapest, "{:?} to {:?} apart in risks", from, to);
        }
    }
}

/// Nodes of the cheapest path as one word.
fn way(topology: &Topology, constraints: &Constraints, from: u32, to: u32) -> Option<String> {
    let found =
        cheapest_path(topology, &Facts::default(), constraints, NodeIndex(from), NodeIndex(to)).unwrap();
    found.map(|route| route.nodes.iter().map(|node| topology.node(*node).name.as_str()).collect())
}

#[test]
fn nodes_to_pass_are_passed_in_their_order() {
    let topology = topology("a-b 1, b-c 1, c-d 1, b-e 1, a-d 9");
    for (via, expected) in [
        (&[][..], "abcd"),
        (&[2], "abcd"),
        (&[4], "abebcd"),
        (&[4, 2], "abebcd"),
        (&[2, 4], "abcbebcd"),
        (&[0, 3], "abcd"),
        (&[3, 1], "abcdcbcd"),
    ] {
        let via = via.iter().map(|node| NodeIndex(*node)).collect();
        let constraints = Constraints { via, ..Constraints::default() };
        assert_eq!(way(&topology, &constraints, 0, 3).as_deref(), Some(expected));
    }
}

#[test]
fn a_bound_on_latency_buys_a_dearer_way() {
    let mut topology = topology("a-b 1, b-d 1, a-c 2, c-d 2, a-d 9");
    for (link, latency_us) in topology.links.iter_mut().zip([40, 20, 5, 40, 20]) {
        link.latency_us = Some(latency_us);
    }
    let latency = |way: &str| {
        let hops: Vec<_> = way
            .as_bytes()
            .windows(2)
            .map(|pair| format!("{}--{}", pair[0] as char, pair[1] as char))
            .collect();
        hops.iter()
            .map(|hop| topology.link(topology.link_index(hop).unwrap()).latency_us.unwrap())
            .sum::<u64>()
    };
    for (most, expected) in
        [(latency("abd"), Some("abd")), (latency("abd") - 1, Some("acd")), (5, Some("ad")), (4, None)]
    {
        let constraints = Constraints { max_latency_us: Some(most), ..Constraints::default() };
        assert_eq!(way(&topology, &constraints, 0, 3).as_deref(), expected, "{most} us");
    }
}

#[test]
fn a_greedy_first_path_would_leave_no_second() {
    // The cheapest path a-b-c-d blocks both others; the pair must do without it.
    let topology = topology("a-b 1, b-c 1, c-d 1, a-c 3, b-d 3");
    let pair =
        disjoint_pair(&topology, &Facts::default(), &Allowed::default(), NodeIndex(0), NodeIndex(3)).unwrap();
    let nodes = pair.paths.map(|path| path.nodes.iter().map(|node| node.0).collect::<Vec<_>>());
    assert_eq!(
        (nodes, pair.shared_nodes, pair.shared_links),
        ([vec![0, 1, 3], vec![0, 2, 3]], vec![], vec![])
    );
}
