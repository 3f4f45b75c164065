//! Against a table of all pairs computed the slow way.

use super::*;
use proptest::prelude::*;

/// Floyd (1962) and Warshall (1962).
fn slow(nodes: usize, lines: &[Line]) -> Vec<Vec<u64>> {
    let mut distances = vec![vec![UNREACHABLE; nodes]; nodes];
    for (node, row) in distances.iter_mut().enumerate() {
        row[node] = 0;
    }
    for line in lines.iter().filter(|line| line.a != line.b) {
        for (from, to, cost) in [(line.a, line.b, line.cost), (line.b, line.a, line.cost_back)] {
            let known = &mut distances[from as usize][to as usize];
            *known = cost.min(*known);
        }
    }
    for over in 0..nodes {
        for from in 0..nodes {
            for to in 0..nodes {
                let through = distances[from][over].saturating_add(distances[over][to]);
                distances[from][to] = distances[from][to].min(through);
            }
        }
    }
    distances
}

fn assert_right(nodes: usize, lines: &[Line]) {
    let expected = slow(nodes, lines);
    let pairs = AllPairs::new(nodes, lines, Cores::One);
    let on_all = AllPairs::new(nodes, lines, Cores::All);
    let mut next_hops_of_all = 0;
    for from in 0..nodes {
        let own: Vec<(u32, u64)> = lines
            .iter()
            .flat_map(|line| [(line.a, line.b, line.cost), (line.b, line.a, line.cost_back)])
            .filter(|(a, _, _)| *a as usize == from)
            .map(|(_, to, cost)| (to, cost))
            .collect();
        for (to, distance) in expected[from].iter().copied().enumerate() {
            assert_eq!(pairs.distance(from as u32, to as u32), distance, "{from} to {to}");
            let on_shortest = |(far, cost): &(u32, u64)| {
                distance != UNREACHABLE && cost.saturating_add(expected[*far as usize][to]) == distance
            };
            let next_hops: Vec<usize> = (0..own.len()).filter(|at| on_shortest(&own[*at])).collect();
            next_hops_of_all += next_hops.len() as u64;
            for pairs in [&pairs, &on_all] {
                assert!(
                    pairs.next_hops(from as u32, to as u32).eq(next_hops.iter().copied()),
                    "{from} to {to}"
                );
            }
        }
    }
    assert_eq!(pairs.next_hops_of_all_pairs(), next_hops_of_all);
}

fn lines(nodes: u32, costs: impl Strategy<Value = u64> + Clone) -> impl Strategy<Value = Vec<Line>> {
    let line = (0..nodes, 0..nodes, costs.clone(), costs);
    let line = line.prop_filter("a link joins two nodes", |(a, b, _, _)| a != b);
    let line = line.prop_map(|(a, b, cost, cost_back)| Line { a, b, cost, cost_back });
    prop::collection::vec(line, 0..3 * nodes as usize)
}

fn cases() -> impl Strategy<Value = (u32, Vec<Line>)> {
    let costs = prop_oneof![
        Just(1..=1_u64),
        Just(1..=10),
        Just(1..=40_000),
        Just(1..=u64::from(u32::MAX)),
        Just((1 << 40)..=(1 << 50)),
    ];
    (2..70_u32, costs).prop_flat_map(|(nodes, costs)| {
        let cost = prop_oneof![9 => costs, 1 => Just(UNREACHABLE)];
        (Just(nodes), lines(nodes, cost))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn distances_and_next_hops_are_those_of_the_slow_way((nodes, lines) in cases()) {
        assert_right(nodes as usize, &lines);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// A walk of events, each of which gives some links other costs or takes them away.
    #[test]
    fn updated_pairs_are_those_from_nothing(
        (nodes, mut lines) in cases(),
        events in prop::collection::vec(prop::collection::vec((any::<usize>(), 0..4_u64, 0..4_u64), 1..4), 1..6),
    ) {
        let mut pairs = AllPairs::new(nodes as usize, &lines, Cores::One);
        for event in events {
            for (at, there, back) in event {
                let at = at % lines.len().max(1);
                let Some(line) = lines.get_mut(at) else { continue };
                let scaled = |cost: u64, by| match by {
                    0 => UNREACHABLE,
                    1 if cost == UNREACHABLE => 7,
                    1 => cost.saturating_add(3),
                    2 => cost / 2 + 1,
                    _ => 1,
                };
                line.cost = scaled(line.cost, there);
                line.cost_back = scaled(line.cost_back, back);
            }
            let before = pairs.clone();
            let changed = pairs.update(&lines, Cores::One);
            let fresh = AllPairs::new(nodes as usize, &lines, Cores::One);
            let mut expected = Vec::new();
            for to in 0..nodes {
                for from in 0..nodes {
                    prop_assert_eq!(pairs.distance(from, to), fresh.distance(from, to), "{} to {}", from, to);
                    prop_assert!(pairs.set(from, to).eq(fresh.set(from, to)), "{} to {}", from, to);
                    let was = before.distance(from, to);
                    let next_hops = !before.set(from, to).eq(fresh.set(from, to));
                    if was != fresh.distance(from, to) || next_hops {
                        expected.push(Changed { to, from, before: was, next_hops });
                    }
                }
            }
            if let Some(changed) = changed {
                prop_assert_eq!(changed, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Some lines and nodes go, others come: what stays is carried over, several batches of it.
    #[test]
    fn renumbered_pairs_are_those_from_nothing(
        (nodes, mut lines) in cases(),
        gone in prop::collection::vec(any::<usize>(), 0..4),
        gone_lines in prop::collection::vec(any::<usize>(), 0..4),
        added in 0..40_u32,
        new_lines in prop::collection::vec((any::<usize>(), any::<usize>(), any::<usize>(), 1..9_u64), 0..9),
    ) {
        let gone: std::collections::BTreeSet<u32> = gone.iter().map(|node| *node as u32 % nodes).collect();
        let is_gone = |at: usize, line: &Line| {
            gone.contains(&line.a) || gone.contains(&line.b) || gone_lines.iter().any(|gone| gone % 8 == at % 8)
        };
        let mut pairs = AllPairs::new(nodes as usize, &lines, Cores::One);
        let goes: Vec<bool> = lines.iter().enumerate().map(|(at, line)| is_gone(at, line)).collect();
        for (line, _) in lines.iter_mut().zip(&goes).filter(|(_, goes)| **goes) {
            (line.cost, line.cost_back) = (UNREACHABLE, UNREACHABLE);
        }
        pairs.update(&lines, Cores::One);
        // Every third place is a new node's while there are some.
        let (mut places, mut next, mut left) = (Vec::new(), 0, added);
        for node in 0..nodes {
            if next % 3 == 2 && left > 0 {
                (next, left) = (next + 1, left - 1);
            }
            places.push((!gone.contains(&node)).then_some(next));
            next += u32::from(!gone.contains(&node));
        }
        let count = next + left;
        prop_assume!(count > 0);
        let kept = lines.iter().zip(&goes).filter(|(_, goes)| !**goes).map(|(line, _)| *line);
        let place = |node: u32| places[node as usize].unwrap();
        let mut now: Vec<(Line, Option<u64>)> =
            kept.map(|line| (Line { a: place(line.a), b: place(line.b), ..line }, None)).collect();
        for (at, a, b, cost) in new_lines {
            let (a, b) = (a as u32 % count, b as u32 % count);
            if a != b {
                let line = Line { a, b, cost: UNREACHABLE, cost_back: UNREACHABLE };
                now.insert(at % (now.len() + 1), (line, Some(cost)));
            }
        }
        let mut old = (0..now.len() as u32).filter(|at| now[*at as usize].1.is_none());
        let line_places: Vec<Option<u32>> =
            goes.iter().map(|goes| if *goes { None } else { old.next() }).collect();
        let dead: Vec<Line> = now.iter().map(|(line, _)| *line).collect();
        pairs.renumber(&places, &line_places, count as usize, &dead, Cores::One);
        let alive: Vec<Line> = now
            .iter()
            .map(|(line, cost)| cost.map_or(*line, |cost| Line { cost, cost_back: cost + 1, ..*line }))
            .collect();
        for (lines, is_updated) in [(dead, false), (alive, true)] {
            if is_updated {
                pairs.update(&lines, Cores::One);
            }
            let fresh = AllPairs::new(count as usize, &lines, Cores::One);
            for from in 0..count {
                for to in 0..count {
                    prop_assert_eq!(pairs.distance(from, to), fresh.distance(from, to), "{} to {}", from, to);
                    prop_assert!(pairs.set(from, to).eq(fresh.set(from, to)), "{} to {}", from, to);
                }
            }
            prop_assert_eq!(pairs.next_hops_of_all_pairs(), fresh.next_hops_of_all_pairs());
        }
    }
}

#[test]
fn an_update_that_outgrows_the_lanes_starts_from_nothing() {
    let line = |a: u32, b: u32, cost: u64| Line { a, b, cost, cost_back: cost };
    let mut pairs = AllPairs::new(3, &[line(0, 1, 1), line(1, 2, 1)], Cores::One);
    assert_eq!(
        pairs.update(&[line(0, 1, 2), line(1, 2, 1)], Cores::One).map(|changed| changed.len()),
        Some(4)
    );
    for cost in [40_000, 1 << 31] {
        assert_eq!(pairs.update(&[line(0, 1, cost), line(1, 2, 1)], Cores::One), None);
        assert_eq!(pairs.distance(0, 2), cost + 1);
    }
    assert_eq!(pairs.update(&[line(0, 1, 1), line(0, 2, 1)], Cores::One), None);
    assert_eq!((pairs.distance(0, 2), pairs.distance(1, 2)), (1, 2));
}

#[test]
fn graphs_without_nodes_or_links_have_no_paths() {
    assert_right(0, &[]);
    assert_right(1, &[]);
    assert_right(100, &[]);
}

#[test]
fn a_hub_of_many_links_has_next_hops_beyond_the_first_word() {
    let spoke = |a: u32| Line { a, b: 0, cost: 1, cost_back: 1 };
    let mut star: Vec<Line> = (1..50).map(spoke).collect();
    star.extend((1..50).map(|a| Line { a, b: 50, cost: 1, cost_back: 1 }));
    assert_right(51, &star);
    let pairs = AllPairs::new(51, &star, Cores::One);
    assert_eq!(pairs.next_hops(0, 50).count(), 49);
}

/// A chain whose costs make every sweep improve what the last one settled.
#[test]
fn a_graph_on_which_sweeps_settle_slowly_is_finished_by_dijkstra() {
    let mut lines = Vec::new();
    for ring in 0..200_u32 {
        // The short way from each node leads over the far end of the numbering and back.
        lines.push(Line { a: ring, b: 399 - ring, cost: 1, cost_back: 1 });
        if ring > 0 {
            lines.push(Line { a: ring, b: 400 - ring, cost: 1, cost_back: 1 });
        }
        if ring > 1 {
            lines.push(Line { a: 0, b: ring, cost: 1_000, cost_back: 1_000 });
            lines.push(Line { a: 0, b: 399 - ring, cost: 1_000, cost_back: 1_000 });
        }
    }
    assert_right(400, &lines);
}
