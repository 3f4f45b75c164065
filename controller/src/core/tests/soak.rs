//! Seeded walks of faults: crashes, cuts, losses, failing links and writers at once; then healing.

use super::harness::{Cluster, Temper};
use super::*;
use crate::core::draw::Draw;
use std::collections::BTreeMap;

const HOSTS: [&str; 3] = ["a", "b", "c"];
const LINKS: [[(&str, &str); 2]; 3] =
    [[("a", "eth1"), ("b", "eth1")], [("b", "eth2"), ("c", "eth1")], [("a", "eth2"), ("c", "eth2")]];

/// What must hold at any moment.
fn check(cluster: &Cluster, leaders: &mut BTreeMap<u64, u64>, digests: &mut BTreeMap<u64, plan::Digest>) {
    for id in cluster.running() {
        let core = cluster.core(id);
        if core.replica.leads() {
            let leader = *leaders.entry(core.replica.term()).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {}", core.replica.term());
        }
        let digest = core.state.digest();
        let known = *digests.entry(core.replica.applied()).or_insert(digest);
        assert_eq!(known, digest, "controller {id} has another state at {}", core.replica.applied());
    }
}

fn disturb(cluster: &mut Cluster, draw: &mut Draw) {
    let ids = cluster.ids();
    let id = ids[draw.between(0, ids.len())];
    let other = ids[draw.between(0, ids.len())];
    let host = HOSTS[draw.between(0, 3)];
    match draw.between(0, 12) {
        0 if cluster.running().contains(&id) => cluster.kill(id),
        1 | 2 if !cluster.running().contains(&id) => cluster.start(id),
        3 => {
            cluster.cut.insert((id, other));
        }
        4 | 5 => cluster.cut.clear(),
        6 | 7 => {
            let cost = draw.between(11, 40);
            let bake = draw.between(0, 2);
            let topology = TRIANGLE.replace("cost: 15", &format!("cost: {cost}"));
            let safety = format!("bake: {bake}s, max_hosts_per_step: 1");
            cluster.put(id, &topology.replace("bake: 0s, max_hosts_per_step: 100%", &safety));
        }
        8 => {
            let link = LINKS[draw.between(0, 3)];
            let ends = draw.between(1, 3);
            for (host, interface) in link.iter().take(ends) {
                cluster.carrier(host, interface, false);
            }
        }
        9 => {
            for (host, interface) in LINKS[draw.between(0, 3)] {
                cluster.carrier(host, interface, true);
            }
        }
        10 => {
            cluster.disconnect(host);
            if cluster.running().contains(&id) {
                cluster.connect(host, id);
            }
        }
        _ => {
            let tempers = [Temper::Willing, Temper::Silent, Temper::Refuses, Temper::Fails, Temper::Willing];
            cluster.agents.get_mut(host).unwrap().temper = tempers[draw.between(0, tempers.len())];
        }
    }
}

fn walk(seed: u64) {
    let mut draw = Draw::new(seed, 0);
    let mut cluster = Cluster::with(3, |config| {
        config.limits.snapshot_entries = 12;
        config.limits.kept_entries = 4;
        config.seed += seed;
    });
    cluster.loss_percent = draw.between(0, 12) as u64;
    cluster.add_agents(TRIANGLE);
    cluster.run(2_000);
    if seed.is_multiple_of(3) {
        cluster.wrong.insert(1 + seed % 9 / 3);
    }
    let (mut leaders, mut digests) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..60 {
        disturb(&mut cluster, &mut draw);
        for _ in 0..draw.between(1, 12) {
            cluster.run(30);
            check(&cluster, &mut leaders, &mut digests);
        }
    }
    heal(&mut cluster);
    cluster.run(40_000);
    check(&cluster, &mut leaders, &mut digests);
    let leader = cluster.elect();
    // A link may come back just then.
    let id = cluster.put(leader, TRIANGLE);
    let answer = cluster.answer(id);
    assert_eq!(answer.code, "accepted", "{answer:?}");
    cluster.until(3_000, "done", |cluster| cluster.state_of(answer.change) == "done");
    cluster.until(3_000, "converged", Cluster::converged);
    cluster.run(3_000);
    let states: Vec<plan::Digest> =
        cluster.ids().into_iter().map(|id| cluster.core(id).state.digest()).collect();
    assert!(states.iter().all(|state| *state == states[0]), "one state on all replicas");
    let core = cluster.core(leader);
    assert_eq!(core.state.facts_now().links_down.len(), 0, "all links are back");
    assert!(core.state.quarantine.is_empty(), "{:?}", core.state.quarantine);
    assert!(cluster.sent.iter().all(|(_, _, digest)| *digest != plan::Digest([9; 32])), "wrong programs");
    let wanted = plan::compile(&core.state.head().unwrap().topology, &core.state.facts_now());
    for (host, assignment) in &core.state.assignments {
        assert_eq!(assignment.digest, wanted.host(host).unwrap().1, "{host}");
    }
}

fn heal(cluster: &mut Cluster) {
    cluster.loss_percent = 0;
    cluster.cut.clear();
    // Who computed something else is restarted, as the status says.
    for id in std::mem::take(&mut cluster.wrong) {
        if cluster.running().contains(&id) {
            cluster.kill(id);
        }
    }
    for id in cluster.ids() {
        if !cluster.running().contains(&id) {
            cluster.start(id);
        }
    }
    for (at, host) in HOSTS.into_iter().enumerate() {
        cluster.agents.get_mut(host).unwrap().temper = Temper::Willing;
        cluster.disconnect(host);
        cluster.connect(host, at as u64 + 1);
    }
    for (host, interface) in LINKS.into_iter().flatten() {
        cluster.carrier(host, interface, true);
    }
}

#[test]
fn faults_never_split_the_state_and_a_healed_cluster_converges() {
    let seeds = std::env::var("BALLAST_SOAK_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(9);
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        walk(seed);
    }
}
