//! Proofs and steps with one thing wrong, or one thing else that happens to be right, against every mixture
//! of programs, one by one.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::order::OrderedStep;
use crate::tests::fixture::safety;
use crate::tests::mixtures::{Change, Programs, change, programs, try_all, try_proof};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use topology::{Safety, Share};

/// How many mutants are tried.
const MUTANTS: usize = 1_000;

/// A seeded sequence of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Steps and the proof that they are right, or not.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    steps: Vec<Programs>,
    proof: Proof,
}

/// Changes the steps in one place.
fn mutate_steps(steps: &mut Vec<Programs>, change: &Change, numbers: &mut Numbers) {
    let (one, other) = (numbers.below(steps.len()), numbers.below(steps.len()));
    match numbers.below(7) {
        0 => steps.swap(one, other),
        1 => {
            let at = numbers.below(steps[one].len());
            let moved = steps[one].remove(at);
            steps[other].push(moved);
        }
        2 => {
            let mut merged = steps.remove(one);
            match steps.get_mut(one) {
                Some(next) => next.append(&mut merged),
                None => steps.push(merged),
            }
        }
        3 => {
            let at = numbers.below(steps[one].len());
            steps[one].remove(at);
        }
        4 => {
            let at = numbers.below(steps[one].len());
            let again = steps[one][at].clone();
            steps[other].push(again);
        }
        _ => {
            // An intermediate program that sends some class through another of its groups.
            let programs = &change.new.1.programs;
            let mut program = Program::clone(&programs[numbers.below(programs.len())]);
            let (routes, groups) = (program.classes.len(), program.groups.len());
            if routes == 0 {
                return;
            }
            let (route, group) = (numbers.below(routes), numbers.below(groups));
            program.classes[route].group = program.groups[group].id;
            let first = steps.iter().position(|step| step.iter().any(|(host, _)| *host == program.host));
            let at = first.unwrap_or(steps.len());
            let last = programs.iter().find(|last| last.host == program.host).unwrap();
            if first.is_none() {
                steps.push(vec![(program.host.clone(), last.clone())]);
            }
            steps.insert(at, vec![(program.host.clone(), Arc::new(program))]);
        }
    }
}

/// Changes the proof in one place.
fn mutate_proof(proof: &mut Proof, numbers: &mut Numbers) {
    let at = numbers.below(proof.witnesses.len());
    let names = proof.hosts.len();
    let kind = numbers.below(12);
    let Some(witness) = proof.witnesses.get_mut(at) else { return };
    let of_order = numbers.below(witness.orders.len());
    let hosts = &mut witness.orders[of_order].hosts;
    let (one, other) = (numbers.below(hosts.len()), numbers.below(hosts.len()));
    match kind {
        0 | 1 => hosts.swap(one, other),
        2 => _ = hosts.remove(one),
        3 => hosts.reverse(),
        4 => hosts[one] = hosts[other],
        5 => hosts[one] = names as u32,
        6 => witness.orders[of_order].from_step += 1,
        7 => _ = witness.orders.remove(of_order),
        8 => {
            let at = numbers.below(witness.destinations.len());
            witness.destinations.remove(at);
        }
        9 => {
            let (one, other) = (numbers.below(names), numbers.below(names));
            proof.hosts.swap(one, other);
        }
        10 => {
            let again = witness.clone();
            proof.witnesses.push(again);
        }
        _ => {
            let added = hosts[one] as usize;
            let name = proof.hosts[added].clone();
            proof.hosts[added] = format!("{name}{}", if numbers.below(2) == 0 { "" } else { "z" });
        }
    }
}

/// Whether the steps are steps at all and end in the new state.
fn well_formed_steps(change: &Change, steps: &[Programs]) -> bool {
    let known = steps.iter().flatten().all(|(host, _)| change.new.1.host(host).is_some());
    let once = steps
        .iter()
        .all(|step| step.iter().map(|(host, _)| host).collect::<BTreeSet<_>>().len() == step.len());
    let ends = change.new.1.programs.iter().all(|program| {
        let mut of_host = steps.iter().flatten().filter(|(host, _)| *host == program.host);
        match of_host.next_back() {
            Some((_, last)) => last == program,
            None => {
                let digest = |network: &Network| network.host(&program.host).map(|(_, digest)| digest);
                digest(&change.old.1) == digest(&change.new.1)
            }
        }
    });
    known && once && ends
}

fn well_formed_proof(change: &Change, proof: &Proof) -> bool {
    let all_distinct = |names: Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let networks = [&change.old.1, &change.new.1];
    proof.hosts.iter().all(|host| networks.iter().any(|network| network.host(host).is_some()))
        && all_distinct(proof.hosts.clone())
        && all_distinct(
            (proof.witnesses.iter())
                .flat_map(|witness| &witness.destinations)
                .map(|name| format!("{}>{}", name.old, name.new))
                .collect(),
        )
        && proof.witnesses.iter().all(|witness| {
            witness.orders.windows(2).all(|pair| pair[0].from_step < pair[1].from_step)
                && witness.orders.iter().all(|order| {
                    order.hosts.iter().all(|host| (*host as usize) < proof.hosts.len())
                        && all_distinct(order.hosts.iter().map(u32::to_string).collect())
                })
        })
}

/// What is wrong with a case, found by trying everything.
fn fault(change: &Change, case: &Case) -> Result<(), String> {
    if !well_formed_steps(change, &case.steps) || !well_formed_proof(change, &case.proof) {
        return Err("malformed".to_string());
    }
    try_all(change, &case.steps, &[])?;
    try_proof(change, &case.steps, &case.proof)
}

#[test]
fn every_wrong_mutant_is_refused_and_no_right_one() {
    let mut runner = TestRunner::deterministic();
    let mut numbers = Numbers(1);
    let (mut refused, mut accepted) = ([0, 0], [0, 0]);
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    while refused.iter().chain(&accepted).sum::<usize>() < MUTANTS {
        let change = change().new_tree(&mut runner).unwrap().current();
        let share = [Share::Percent(100), Share::Count(2)][numbers.below(2)];
        let plan = change.plan(&Safety { max_hosts_per_step: share, ..safety() });
        let right = Case { steps: programs(&plan), proof: plan.proof };
        if right.steps.iter().all(Vec::is_empty) || right.proof.witnesses.is_empty() {
            continue;
        }
        for _ in 0..5 {
            let mut mutant = right.clone();
            let of_proof = numbers.below(2);
            match of_proof {
                0 => mutate_steps(&mut mutant.steps, &change, &mut numbers),
                _ => mutate_proof(&mut mutant.proof, &mut numbers),
            }
            if mutant == right {
                continue;
            }
            let (found, verdict) = (fault(&change, &mutant), change.verify(&mutant.steps, &mutant.proof));
            assert_eq!(
                found.is_err(),
                verdict.is_err(),
                "{change:?}\n{:?}\nfound {found:?}\nverdict {verdict:?}",
                mutant.proof
            );
            match verdict {
                Ok(()) => accepted[of_proof] += 1,
                Err(wrong) => {
                    refused[of_proof] += 1;
                    kinds.insert(format!("{wrong:?}").split(' ').next().unwrap().to_string());
                }
            }
        }
    }
    // Both sides of the judgement have been tried, by mutants of steps and of proofs, for most reasons.
    assert!(refused.iter().all(|count| *count >= 100), "{refused:?}");
    assert!(accepted.iter().all(|count| *count >= 20), "{accepted:?}");
    for reason in ["Host", "Malformed", "Order", "Uncovered", "Unfinished"] {
        assert!(kinds.contains(reason), "{kinds:?}");
    }
}

#[test]
fn who_would_send_to_a_host_that_may_run_nothing_yet_is_refused() {
    let change = Change::new("a-b 1, b-c 1", "a-b 9/1, b-c 1, a-d 1, c-d 9/1", Facts::default());
    let plan = change.plan(&Safety { max_hosts_per_step: Share::Percent(100), ..safety() });
    let at_once = vec![programs(&plan).concat()];
    assert_eq!(
        change.verify(&at_once, &plan.proof).unwrap_err().to_string(),
        "in step 1 packets from a to b may be lost, which arrive before and after the change"
    );
}

#[test]
fn a_way_of_its_own_to_a_new_destination_is_refused() {
    let change = Change::new("a-b 1, b-c 1, a-c 1", "a-b 1, b-c 1, a-c 1, c-d 1", Facts::default());
    let plan = change.plan(&safety());
    let new = change.new.1.host("a").unwrap().0;
    let class = change.new.1.table.classes.iter().find(|class| class.name == "d").unwrap().id;
    let mut program = Program::clone(new);
    let to_b = program.class_routes(change.new.1.table.class_of(&"10.98.0.0/24".parse().unwrap()).unwrap());
    let group = to_b[0].group;
    program.classes.iter_mut().filter(|route| route.class == class).for_each(|route| route.group = group);
    let mut steps = programs(&plan);
    steps.insert(1, vec![("a".to_string(), Arc::new(program))]);
    assert_eq!(
        change.verify(&steps, &plan.proof).unwrap_err().to_string(),
        "in step 2 a has a way to d, which is new, that the new state does not have"
    );
}

#[test]
fn the_checker_shares_no_code_with_what_it_checks() {
    let sources = [include_str!("../proof.rs"), include_str!("check.rs"), include_str!("read.rs")];
    for source in sources {
        let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for module in ["order::", "steps::", "walk::", "forwarding::", "check::check", "impact::", "trace::"]
        {
            assert!(!code.contains(module), "{module}");
        }
        for accessor in [".class_routes(", ".nexthop(", ".group("] {
            assert!(!code.contains(accessor), "{accessor}");
        }
        let imports = code.split("use crate::").skip(1).filter_map(|rest| rest.split(';').next());
        for import in imports {
            assert!(
                !["order", "steps", "walk", "forwarding", "impact", "trace"]
                    .iter()
                    .any(|module| import.contains(module)),
                "{import}"
            );
        }
    }
}

#[test]
fn a_proof_is_written_and_read_and_a_refusal_says_where_and_why() {
    let change = Change::new("a-b 1, b-d 1, a-c 2, c-d 2", "a-b 1, b-d 1, a-c 2, c-d 9", Facts::default());
    let plan = change.plan(&Safety { max_hosts_per_step: Share::Percent(100), ..safety() });
    let text = serde_json::to_string(&plan.proof).unwrap();
    assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), plan.proof);
    let hosts: Vec<usize> = plan.steps.iter().map(|step: &OrderedStep| step.programs.len()).collect();
    assert_eq!(hosts, [3, 1]);
    let at_once = vec![programs(&plan).concat()];
    assert_eq!(
        change.verify(&at_once, &plan.proof).unwrap_err().to_string(),
        "in step 1 d may send what goes to c to b, which does not come before it: packets may loop"
    );
}
