//! Desired and actual to operations, case by case; `tests/drills` holds the property over random kernels.

use super::{HOST, link, network};
use crate::core::kernel::{Actual, ActualNexthop, ActualRoute, NexthopKind, Op};
use crate::core::reconcile::{Reconciliation, object, reconcile, writes};
use plan::Objects;
use plan::objects::GroupValue;
use std::collections::BTreeMap;
use std::mem::discriminant;

fn wanted() -> Objects {
    let network = network(2);
    let (program, _) = network.host(HOST).expect("there");
    Objects::of(program, &network.table)
}

/// A kernel with the interfaces and sysctls of the host and nothing else.
fn blank() -> Actual {
    let links = ["lo", "eth1", "eth2"].map(|name| (name.to_string(), link(true)));
    let sysctls = wanted().sysctls.keys().map(|name| (name.clone(), "?".to_string())).collect();
    Actual { links: BTreeMap::from(links), sysctls, ..Actual::default() }
}

/// A kernel that holds all of it.
fn full() -> Actual {
    let mut actual = blank();
    for op in reconcile(&wanted(), &actual).ops {
        super::put(&mut actual, op);
    }
    actual
}

/// The kinds of operations in their order, each once.
fn kinds(found: &Reconciliation) -> Vec<String> {
    let mut kinds: Vec<(std::mem::Discriminant<Op>, String)> = Vec::new();
    for op in &found.ops {
        if kinds.last().is_none_or(|(last, _)| *last != discriminant(op)) {
            let text = format!("{op:?}");
            kinds.push((discriminant(op), text.split(' ').next().unwrap_or_default().to_string()));
        }
    }
    kinds.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn an_empty_kernel_gets_everything_in_the_order_in_which_it_can_stand() {
    let found = reconcile(&wanted(), &blank());
    assert_eq!(
        kinds(&found),
        ["SetSysctl", "PutAddress", "PutNeighbour", "PutNexthop", "PutGroup", "PutRoute"]
    );
    assert!(found.pending.is_empty() && found.refused.is_empty());
}

#[test]
fn a_right_kernel_gets_nothing() {
    let found = reconcile(&wanted(), &full());
    let objects = wanted();
    let count = objects.sysctls.len()
        + objects.mtus.len()
        + objects.addresses.len()
        + objects.neighbours.len()
        + objects.nexthops.len()
        + objects.groups.len()
        + objects.routes.len();
    assert_eq!((found.ops.len(), found.installed), (0, count as u64));
}

#[test]
fn nothing_wanted_removes_all_of_ours_against_the_order_of_their_making() {
    let found = reconcile(&Objects::default(), &full());
    assert_eq!(kinds(&found), ["DelRoute", "DelNexthop", "DelNeighbour", "DelAddress"]);
    let groups_first: Vec<bool> = (found.ops.iter())
        .filter_map(|op| match op {
            Op::DelNexthop { .. } => Some(object(op).starts_with("group")),
            _ => None,
        })
        .collect();
    assert!(groups_first.is_sorted_by(|a, b| a >= b), "{groups_first:?}");
}

#[test]
fn what_belongs_to_others_is_never_touched() {
    let mut actual = full();
    let mine = actual.clone();
    let foreign_nexthop = ActualNexthop { ours: false, kind: NexthopKind::Other };
    actual.nexthops.insert(0x5B00_0000, foreign_nexthop.clone());
    actual.nexthops.insert(7, ActualNexthop { ours: true, kind: NexthopKind::Other });
    actual.nexthops.insert(8, foreign_nexthop);
    actual.addresses.insert(("eth1".to_string(), "192.0.2.1/24".parse().expect("a prefix")), false);
    for desired in [wanted(), Objects::default()] {
        let (with, without) = (reconcile(&desired, &actual), reconcile(&desired, &mine));
        assert_eq!(with.ops, without.ops);
    }
}

#[test]
fn an_object_of_another_in_our_place_is_refused_with_its_reason_and_what_hangs_on_it_waits() {
    let objects = wanted();
    let mut actual = blank();
    let id = *objects.nexthops.keys().next().expect("there");
    actual.nexthops.insert(id, ActualNexthop { ours: false, kind: NexthopKind::Other });
    let key = *objects.routes.keys().next().expect("there");
    actual.foreign_routes.insert(key);
    let found = reconcile(&objects, &actual);
    let refused: Vec<&str> = found.refused.iter().map(|waiting| waiting.object.as_str()).collect();
    assert_eq!(refused, [format!("nexthop {id:#x}"), format!("route {} metric {}", key.prefix, key.metric)]);
    assert!(found.refused.iter().all(|waiting| waiting.reason.contains("another owner")));
    assert!(!found.ops.iter().any(|op| matches!(op, Op::PutNexthop { id: put, .. } if *put == id)));
    assert!(!found.ops.iter().any(|op| matches!(op, Op::PutRoute { key: put, .. } if *put == key)));
    assert!(found.pending.iter().any(|waiting| waiting.object.starts_with("group")), "{:?}", found.pending);
}

#[test]
fn what_cannot_stand_now_waits_and_says_for_what() {
    let down = crate::core::kernel::Link { up: false, carrier: false, ..link(true) };
    for (name, change, reason) in [
        ("no carrier", Some(link(false)), "interface eth2 has no carrier"),
        ("down", Some(down), "interface eth2 is down"),
        ("absent", None, "there is no interface eth2"),
    ] {
        let mut actual = blank();
        match change {
            Some(link) => actual.links.insert("eth2".to_string(), link),
            None => actual.links.remove("eth2"),
        };
        let found = reconcile(&wanted(), &actual);
        assert!(found.pending.iter().any(|waiting| waiting.reason == reason), "{name}: {:?}", found.pending);
        let on_eth2 = |op: &Op| match op {
            Op::PutNexthop { value, .. } => value.interface == "eth2",
            Op::PutNeighbour { interface, .. } => interface == "eth2",
            _ => false,
        };
        assert!(!found.ops.iter().any(on_eth2), "{name}");
        // A group without a leg is not put, and no route points at it.
        let groups: Vec<u32> = (found.ops.iter())
            .filter_map(|op| match op {
                Op::PutGroup { id, value, .. } => {
                    assert!(!value.members.is_empty(), "{name}");
                    Some(*id)
                }
                _ => None,
            })
            .collect();
        for op in &found.ops {
            if let Op::PutRoute { value, .. } = op {
                assert!(value.group().is_some_and(|group| groups.contains(&group)), "{name}");
            }
        }
        assert!(found.refused.is_empty(), "{name}");
    }
}

#[test]
fn a_wrong_object_is_replaced_and_only_it() {
    let objects = wanted();
    let key = *objects.routes.keys().next().expect("there");
    let group = *objects.groups.keys().next().expect("there");
    let nexthop = *objects.nexthops.keys().next().expect("there");
    type Damage = Box<dyn Fn(&mut Actual)>;
    let cases: [(&str, Damage); 5] = [
        (
            "route",
            Box::new(move |actual| {
                actual.routes.insert(key, ActualRoute { value: None });
            }),
        ),
        (
            "group",
            Box::new(move |actual| {
                let kind = NexthopKind::Group(GroupValue::new(Vec::new()));
                actual.nexthops.insert(group, ActualNexthop { ours: true, kind });
            }),
        ),
        (
            "nexthop",
            Box::new(move |actual| {
                actual.nexthops.insert(nexthop, ActualNexthop { ours: true, kind: NexthopKind::Other });
            }),
        ),
        (
            "sysctl",
            Box::new(|actual| {
                let name = actual.sysctls.keys().next().cloned().expect("there");
                actual.sysctls.insert(name, "9".to_string());
            }),
        ),
        (
            "neighbour",
            Box::new(|actual| {
                let first = actual.neighbours.first().cloned().expect("there");
                actual.neighbours.remove(&first);
            }),
        ),
    ];
    for (name, damage) in cases {
        let mut actual = full();
        damage(&mut actual);
        let found = reconcile(&objects, &actual);
        let [op] = &found.ops[..] else { panic!("{name}: {:?}", found.ops) };
        assert!(object(op).starts_with(name), "{name}: {}", object(op));
        let replaces = match op {
            Op::PutRoute { replace, .. } | Op::PutGroup { replace, .. } | Op::PutNexthop { replace, .. } => {
                *replace
            }
            _ => true,
        };
        assert!(replaces, "{name}");
        assert_eq!(writes(&found.ops), u64::from(name != "sysctl"), "{name}");
    }
}

#[test]
fn an_mtu_is_set_where_the_file_says_one() {
    let mut objects = wanted();
    objects.mtus.insert("eth1".to_string(), 9_000);
    let found = reconcile(&objects, &full());
    assert_eq!(found.ops, [Op::SetMtu { interface: "eth1".to_string(), mtu: 9_000 }]);
}

#[test]
fn what_this_kernel_cannot_do_is_refused_by_name_and_what_hangs_on_it_waits() {
    use crate::core::features::Feature;
    let mut actual = blank();
    for feature in [Feature::NexthopObjects, Feature::AddressProtocol, Feature::ManagedNeighbours] {
        actual.missing.insert(feature, "Operation not supported (errno 95)".to_string());
    }
    let found = reconcile(&wanted(), &actual);
    assert!(found.ops.iter().all(|op| matches!(op, Op::SetSysctl { .. })), "{:?}", found.ops);
    for (kind, need) in [("nexthop", "5.3"), ("address", "5.18"), ("neighbour", "5.16")] {
        let is_named = |reason: &str| reason.contains(need) && reason.contains("errno 95");
        assert!(
            found.refused.iter().any(|one| one.object.starts_with(kind) && is_named(&one.reason)),
            "{kind}"
        );
    }
    assert!(found.pending.iter().any(|one| one.object.starts_with("route")));
}
