//! The law of reconciliation: from any kernel, at most one pass of operations leads to the program, a second pass has nothing
//! to do, what cannot stand waits for a named reason, and nothing of anybody else's changes.

use agent::core::reconcile::{Reconciliation, reconcile};
use drills::kernel::SimKernel;
use drills::random::Random;
use plan::{Facts, Objects};
use std::net::IpAddr;

/// Kernels tried. Each is a few hundred objects.
const CASES: u64 = 300;
const INTERFACES: [&str; 4] = ["eth1", "eth2", "eth3", "eth4"];

/// A random topology around the host `a`, and its objects.
fn program(random: &mut Random) -> Objects {
    let spokes = 1 + random.between(0, 3);
    let mut text = "version: 1\nname: t\nnodes:\n  a: {}\n".to_string();
    for n in 1..=spokes {
        let prefixes: Vec<String> = (0..random.between(0, 4)).map(|p| format!("10.{n}.{p}.0/24")).collect();
        text += &format!("  n{n}: {{ prefixes: [{}] }}\n", prefixes.join(", "));
    }
    text += "links:\n";
    for n in 1..=spokes {
        text += &format!(
            "- {{ endpoints: [\"a:eth{n}\", \"n{n}:eth1\"], cost: {} }}\n",
            1 + random.between(0, 2)
        );
    }
    for n in 1..spokes {
        if random.between(0, 2) > 0 {
            let next = n + 1;
            text += &format!(
                "- {{ endpoints: [\"n{n}:eth2\", \"n{next}:eth3\"], cost: {} }}\n",
                1 + random.between(0, 2)
            );
        }
    }
    let topology = topology::read("random.yaml", text.as_bytes()).topology.expect("a valid file");
    let network = plan::compile(&topology, &Facts::default());
    let (program, _) = network.host("a").expect("the host is there");
    Objects::of(program, &network.table)
}

fn look(desired: &Objects, kernel: &SimKernel) -> Reconciliation {
    let sysctls: Vec<String> = desired.sysctls.keys().cloned().collect();
    reconcile(desired, &kernel.read(&sysctls))
}

/// Anything that happens to a kernel behind an agent's back.
fn disturb(kernel: &mut SimKernel, random: &mut Random) {
    let interface = INTERFACES[random.between(0, 3) as usize];
    match random.between(0, 5) {
        0 => kernel.set_carrier(interface, false),
        1 => kernel.set_carrier(interface, true),
        2 => {
            kernel.set_up(interface, false);
            kernel.set_up(interface, random.between(0, 1) == 0);
        }
        3 => kernel.foreign_hand_wipes_our_routes(),
        4 => {
            let prefix = format!("203.0.113.{}/32", random.between(0, 249)).parse().expect("a prefix");
            kernel.foreign_hand_adds(prefix, 1_000 + random.between(0, 999) as u32);
        }
        _ => kernel.reboot(),
    }
}

#[test]
fn one_pass_leads_from_any_kernel_to_the_program_and_a_second_has_nothing_to_do() {
    let mut changed = 0;
    for seed in 0..CASES {
        let mut random = Random::new(seed);
        let mut kernel = SimKernel::new(&INTERFACES);
        for interface in INTERFACES {
            kernel.set_carrier(interface, random.between(0, 7) > 0);
        }
        // Programs that were in force before, with accidents in between.
        for _ in 0..random.between(0, 2) {
            let before = look(&program(&mut random), &kernel);
            kernel.apply(&before.ops);
            for _ in 0..random.between(0, 3) {
                disturb(&mut kernel, &mut random);
            }
        }
        let (desired, foreign) = (program(&mut random), kernel.foreign());
        let first = look(&desired, &kernel);
        changed += usize::from(!first.ops.is_empty());
        let results = kernel.apply(&first.ops);
        for (op, result) in first.ops.iter().zip(&results) {
            assert!(result.is_ok(), "seed {seed}: {op:?}: {result:?}");
        }
        let second = look(&desired, &kernel);
        assert!(second.ops.is_empty(), "seed {seed}: {:?}", second.ops);
        assert_eq!(second.pending, first.pending, "seed {seed}");
        assert!(second.pending.iter().all(|waiting| !waiting.reason.is_empty()), "seed {seed}");
        assert_eq!(kernel.foreign(), foreign, "seed {seed}");
        // Whoever is reached by a living interface is forwarded to.
        for (key, _) in desired.routes.iter().filter(|(key, _)| key.metric == 100) {
            let waits = format!("route {} metric 100", key.prefix);
            let lacks_route = second.pending.iter().any(|waiting| waiting.object == waits);
            let address: IpAddr = key.prefix.ip();
            let out = kernel.forward(address).unwrap_or_default();
            assert!(lacks_route || !out.is_empty(), "seed {seed}: {address} goes nowhere");
        }
        // And all of it goes when nothing is wanted.
        kernel.apply(&look(&Objects::default(), &kernel).ops);
        let left = look(&Objects::default(), &kernel);
        assert!(left.ops.is_empty() && kernel.foreign() == foreign, "seed {seed}: {:?}", left.ops);
    }
    assert!(changed as u64 > CASES / 2, "hardly any kernel needed work: {changed}");
}
