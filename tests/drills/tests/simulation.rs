//! Whole clusters of real cores in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints why it was skipped"
)]

use drills::random::Random;
use drills::world::{Noise, Setting, World};
use plan::{Facts, Network};
use std::path::Path;
use std::sync::Arc;
use topology::Topology;

/// Seeds of the short form; the long form (`scripts/test --long simulation`) runs [`LONG_SEEDS`].
const SEEDS: u64 = 30;
const LONG_SEEDS: u64 = 2_000;

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology/files").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    // The samples' budgets are for people; here everything may move at once.
    let kept: Vec<&str> = text.split("\nsafety:").collect();
    format!("{}\nsafety: {{ max_hosts_per_step: 100%, bake: 0s, link_up_hold: 1s }}\n", kept[0])
}

fn topology(text: &str) -> Arc<Topology> {
    let reading = topology::read("sample.yaml", text.as_bytes());
    Arc::new(reading.topology.unwrap_or_else(|| panic!("{:?}", reading.diagnostics)))
}

/// The programs of a text with all links up.
fn programs(text: &str) -> Network {
    plan::compile(&topology(text), &Facts::default())
}

fn world(seed: u64, replicas: u64, text: &str) -> World {
    let topology = topology(text);
    World::new(Setting { seed, replicas, topology, operator_key: [7; 32] })
}

/// Elects, applies the topology and waits until every kernel holds it.
fn settled(seed: u64, replicas: u64, text: &str) -> World {
    let mut world = world(seed, replicas, text);
    world.run_until("a leader", 5_000, |world| world.leader().is_some()).unwrap();
    let leader = world.leader().unwrap();
    let request = world.put_topology(leader, text, None);
    world.run_until("the answer to an apply", 5_000, |world| world.answer(request).is_some()).unwrap();
    assert_eq!(world.answer(request).unwrap().code, "accepted", "{:?}", world.answer(request));
    let wanted = programs(text);
    world.run_until("all kernels hold revision 1", 10_000, |world| world.settled(&wanted)).unwrap();
    assert_eq!(world.unreachable_pairs(), Vec::<String>::new());
    world
}

fn fails(result: Result<(), String>, name: &str) {
    if let Err(story) = result {
        panic!("{name}: {story}");
    }
}

#[test]
fn a_topology_reaches_every_kernel_with_one_and_with_three_replicas() {
    for replicas in [1, 3] {
        settled(1, replicas, &sample("abilene.yaml"));
    }
}

#[test]
fn a_seed_replays_to_the_same_trace_and_another_does_not() {
    let run = |seed| {
        let mut world = settled(seed, 3, &sample("triangle.yaml"));
        world.kill_replica(world.leader().unwrap());
        world.run(3_000).unwrap();
        (world.trace_hash(), world.events())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn a_cut_link_is_survived_at_once_by_the_backup_and_then_by_a_new_program() {
    let text = sample("triangle.yaml");
    let wanted = programs(&text);
    let mut world = settled(2, 3, &text);
    let link = world.links()[0].clone();
    world.set_link(&link, false);
    assert_eq!(
        world.unreachable_pairs(),
        Vec::<String>::new(),
        "the kernels fall to their backups by themselves"
    );
    fails(world.run_until("a fact", 5_000, |world| world.facts() == vec![link.clone()]), "cut");
    world.run(1_000).unwrap();
    assert_eq!(world.unreachable_pairs(), Vec::<String>::new());
    world.set_link(&link, true);
    fails(world.run_until("the link is believed again", 10_000, |world| world.facts().is_empty()), "mend");
    fails(
        world.run_until("all kernels hold revision 1 again", 5_000, |world| world.settled(&wanted)),
        "mend",
    );
    assert_eq!(world.unreachable_pairs(), Vec::<String>::new());
}

#[test]
fn hosts_come_back_from_their_own_disks_with_every_controller_gone_for_ever() {
    let mut world = settled(3, 3, &sample("abilene.yaml"));
    for id in world.living_replicas() {
        world.kill_replica(id);
    }
    let hosts = world.host_names();
    for host in &hosts {
        world.kill_agent(host);
        world.start_agent(host);
    }
    world.run(1_000).unwrap();
    assert_eq!(world.unreachable_pairs(), Vec::<String>::new());
    world.reboot(&hosts[4]);
    assert_ne!(world.unreachable_pairs(), Vec::<String>::new(), "a host without programs is out of reach");
    fails(
        world.run_until("the rebooted host is back", 2_000, |world| world.unreachable_pairs().is_empty()),
        "reboot",
    );
}

#[test]
fn an_agent_restart_writes_nothing_and_wiped_routes_come_back() {
    let text = sample("triangle.yaml");
    let mut world = settled(4, 1, &text);
    let host = world.host_names()[0].clone();
    let before = world.kernel(&host).unwrap().writes;
    world.kill_agent(&host);
    world.start_agent(&host);
    world.run(2_000).unwrap();
    assert_eq!(world.kernel(&host).unwrap().writes, before, "restart");
    world.wipe_routes(&host);
    world.run(2_000).unwrap();
    assert!(world.kernel(&host).unwrap().writes > before, "the counter sees the repair");
    assert!(world.settled(&programs(&text)));
}

#[test]
fn a_replica_that_computes_something_else_is_outvoted_also_when_it_leads() {
    for lead in [false, true] {
        let text = sample("triangle.yaml");
        let mut world = world(8, 3, &text);
        world.run_until("a leader", 5_000, |world| world.leader().is_some()).unwrap();
        let leader = world.leader().unwrap();
        let liar =
            if lead { leader } else { world.living_replicas().into_iter().find(|id| *id != leader).unwrap() };
        world.make_liar(liar);
        world.put_topology(leader, &text, None);
        let wanted = programs(&text);
        fails(world.run_until("all kernels hold revision 1", 20_000, |world| world.settled(&wanted)), "liar");
        assert_ne!(world.leader(), Some(liar), "a replica that was outvoted does not lead");
        assert!(!world.status(liar).unwrap().serving, "a replica that was outvoted serves nothing");
    }
}

/// One random life: the seed first decides which faults exist, then when they strike.
fn life(seed: u64) -> Result<(), String> {
    let text = sample(if seed.is_multiple_of(3) { "abilene.yaml" } else { "triangle.yaml" });
    let mut chance = Random::new(seed).fork("faults");
    let replicas = if chance.chance(200) { 1 } else { 3 };
    let mut world = settled(seed, replicas, &text);
    let kinds: Vec<u64> = (0..6).filter(|_| chance.chance(500)).collect();
    if kinds.contains(&0) {
        let noise = Noise {
            lost: chance.between(0, 200),
            doubled: chance.between(0, 200),
            late: chance.between(0, 100),
        };
        world.set_noise(noise);
    }
    let (hosts, links) = (world.host_names(), world.links());
    let foreign = hosts[0].clone();
    world.foreign_hand(&foreign, "198.51.100.0/24");
    for _ in 0..chance.between(3, 12) {
        let some = |chance: &mut Random, of: &[String]| chance.pick(of).cloned().unwrap_or_default();
        match kinds.is_empty().then_some(9).or_else(|| chance.pick(&kinds).copied()) {
            Some(1) => {
                let id = chance.between(1, replicas);
                world.kill_replica(id);
                world.run(chance.between(0, 1_500))?;
                world.start_replica(id);
            }
            Some(2) => {
                let host = some(&mut chance, &hosts);
                world.kill_agent(&host);
                world.run(chance.between(0, 300))?;
                world.start_agent(&host);
            }
            Some(3) => {
                let link = some(&mut chance, &links);
                world.set_link(&link, chance.chance(400));
            }
            Some(4) => world.cut(chance.between(1, replicas), chance.between(1, replicas)),
            Some(5) => {
                if let Some(leader) = world.leader() {
                    let cheaper = text.replacen("cost: ", "cost: 1", chance.between(0, 2) as usize);
                    world.put_topology(leader, &cheaper, None);
                }
            }
            _ => {}
        }
        world.run(chance.between(1, 800))?;
    }
    world.heal();
    let calm = |world: &World| world.leader().is_some() && world.facts().is_empty();
    world.run_until("one leader and no link believed to be down after all faults stopped", 30_000, calm)?;
    let leader = world.leader().ok_or("no leader")?;
    let last = text.replacen("cost: ", "cost: 2", 1);
    let request = world.put_topology(leader, &last, None);
    world.run_until("a new change is accepted", 10_000, |world| {
        world.answer(request).is_some_and(|answer| answer.code == "accepted")
    })?;
    let wanted = programs(&last);
    world.run_until("all kernels hold the new revision", 20_000, |world| world.settled(&wanted))?;
    match world.unreachable_pairs() {
        pairs if pairs.is_empty() => Ok(()),
        pairs => Err(format!("seed {seed}: pairs are lost after healing: {pairs:?}")),
    }
}

fn sweep(seeds: std::ops::Range<u64>) {
    let stories: Vec<String> = seeds.filter_map(|seed| life(seed).err()).collect();
    assert!(stories.is_empty(), "{} seeds failed\n{}", stories.len(), stories.join("\n"));
}

#[test]
fn random_lives_keep_every_invariant_and_end_well() {
    sweep(0..SEEDS);
}

#[test]
fn long_simulation() {
    if std::env::var("BALLAST_LONG").is_ok() {
        sweep(SEEDS..LONG_SEEDS);
    } else {
        println!("this form runs by `scripts/test --long simulation`");
    }
}
