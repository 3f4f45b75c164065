//! A first program by hand: where it is in force, what comes after it, who is not given one.

use super::{HOST, network, offer};
use crate::core::ledger::{self, Fence};
use crate::core::provision::{ProvisionError, provision};
use wire::Generation;
use wire::package::Package;

fn package(prefixes: usize, host: &str) -> Package {
    let network = network(prefixes);
    let (program, digest) = network.host(host).unwrap();
    Package { table: network.table.clone(), program: program.clone(), digest }
}

#[test]
fn it_is_in_force_and_confirmed_and_any_offer_is_newer() {
    let package = package(3, HOST);
    let held = provision(None, &package).unwrap().unwrap();
    for kept in [&held.running, &held.confirmed] {
        let kept = kept.as_ref().unwrap();
        assert_eq!((kept.digest, kept.generation), (package.digest, Generation::default()));
    }
    assert_eq!(ledger::fence(&held, &offer(&network(4), 1, 1)), Fence::Newer);
    assert_eq!(ledger::fence(&held, &offer(&network(3), 1, 1)), Fence::Newer);
}

#[test]
fn the_same_again_changes_nothing_and_another_replaces_it_until_a_controller_spoke() {
    let first = package(3, HOST);
    let held = provision(None, &first).unwrap().unwrap();
    assert_eq!(provision(Some(&held), &first), Ok(None));
    let other = package(4, HOST);
    let next = provision(Some(&held), &other).unwrap().unwrap();
    assert_eq!(next.running.map(|kept| kept.digest), Some(other.digest));
    let mut led = held;
    led.highest = Generation { incarnation: 1, index: 7 };
    let refused = provision(Some(&led), &other).unwrap_err();
    assert_eq!(refused, ProvisionError::HasProgram { host: HOST.to_string(), generation: led.highest });
    assert!(refused.to_string().contains("generation 1.7 already"), "{refused}");
}

#[test]
fn a_host_takes_no_program_of_another() {
    let held = provision(None, &package(3, HOST)).unwrap().unwrap();
    let refused = provision(Some(&held), &package(3, "b")).unwrap_err();
    assert_eq!(refused, ProvisionError::OtherHost { owner: HOST.to_string(), host: "b".to_string() });
}
