//! Local repair: what the agent changes by itself in force of the program while liveness says that a neighbour is dead
//! though its link has carrier. The kernel repairs lost carriers alone; of a silent loss it knows nothing.
//!
//! A group loses its dead legs by one message. A group that is left without a leg becomes the backup group of its classes by
//! one message, where they have the same one; where they have different ones it is taken away by one message, and the kernel
//! falls to each class's own backup route. A class without a living backup keeps its way: half a way may be better than none.
//!
//! The overlay is a function of the program and of the dead interfaces alone, so it cannot drift from them.

use crate::core::kernel::Op;
use plan::Program;
use plan::objects::GroupValue;
use plan::program::{ClassId, ClassRoute, Member};
use std::collections::{BTreeMap, BTreeSet};

/// What a group is while a neighbour is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It goes on with the legs that are left.
    Without(Vec<Member>),
    /// It goes through the legs of this group, its classes' backup.
    Through(u32, Vec<Member>),
    /// It is taken away, so that each class falls to its own backup route; it stays for the classes that have none.
    Withdrawn {
        /// Classes that keep their route through it.
        kept: BTreeSet<ClassId>,
    },
}

impl Repair {
    /// The group's members, where they are not the program's.
    pub fn members(&self) -> Option<&[Member]> {
        match self {
            Repair::Without(members) | Repair::Through(_, members) => Some(members),
            Repair::Withdrawn { .. } => None,
        }
    }

    /// Whether the group is not in the kernel at all.
    pub fn is_gone(&self) -> bool {
        matches!(self, Repair::Withdrawn { kept } if kept.is_empty())
    }

    /// Whether a class has no route through the group.
    pub fn suspends(&self, class: impl FnOnce() -> Option<ClassId>) -> bool {
        match self {
            Repair::Withdrawn { kept } => class().is_none_or(|class| !kept.contains(&class)),
            _ => false,
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Repair::Without(members) => format!("goes on with {} of its legs", members.len()),
            Repair::Through(backup, _) => format!("goes through its classes' backup group {backup:#x}"),
            Repair::Withdrawn { kept } if kept.is_empty() => {
                "is taken away: each class goes by its backup route".to_string()
            }
            Repair::Withdrawn { kept } => {
                format!("is left to {} classes without a living backup; the others go by theirs", kept.len())
            }
        }
    }
}

/// Groups that are not as the program says, by id.
pub type Overlay = BTreeMap<u32, Repair>;

/// The overlay for these dead interfaces.
pub fn overlay(program: &Program, dead: &BTreeSet<String>) -> Overlay {
    if dead.is_empty() {
        return Overlay::new();
    }
    let living = |group: u32| -> Vec<Member> {
        let members = program.group(group).map_or(&[][..], |group| &group.members);
        let lives = |leg: &&Member| {
            program.nexthop(leg.nexthop).is_some_and(|nexthop| !dead.contains(&nexthop.interface))
        };
        members.iter().filter(lives).copied().collect()
    };
    let mut overlay = Overlay::new();
    let mut bare = BTreeSet::new();
    for group in &program.groups {
        let legs = living(group.id);
        if legs.is_empty() {
            bare.insert(group.id);
        } else if legs.len() < group.members.len() {
            overlay.insert(group.id, Repair::Without(legs));
        }
    }
    for (group, classes) in backups(program, &bare) {
        let legs = |backup: &Option<u32>| backup.map(&living).filter(|legs| !legs.is_empty());
        let kept: BTreeSet<ClassId> =
            classes.iter().filter(|(_, backup)| legs(backup).is_none()).map(|(class, _)| *class).collect();
        let mut ways =
            classes.iter().filter(|(class, _)| !kept.contains(class)).filter_map(|(_, backup)| *backup);
        let Some(backup) = ways.next() else { continue };
        let repair = if kept.is_empty() && ways.all(|other| other == backup) {
            Repair::Through(backup, living(backup))
        } else {
            Repair::Withdrawn { kept }
        };
        overlay.insert(group, repair);
    }
    overlay
}

/// For each of these groups the classes that use it first, and the group that each goes through next.
fn backups(program: &Program, groups: &BTreeSet<u32>) -> BTreeMap<u32, BTreeMap<ClassId, Option<u32>>> {
    let mut backups: BTreeMap<u32, BTreeMap<ClassId, Option<u32>>> = BTreeMap::new();
    for route in
        program.classes.iter().filter(|route| groups.contains(&route.group) && is_first(program, route))
    {
        let next = |other: &&ClassRoute| other.table == route.table && other.metric > route.metric;
        let next = program.class_routes(route.class).iter().find(next).map(|next| next.group);
        backups.entry(route.group).or_default().insert(route.class, next);
    }
    backups
}

/// Whether no route of the class in the same table is better: a backup route is not in use while its primary stands.
fn is_first(program: &Program, route: &ClassRoute) -> bool {
    let first = program.class_routes(route.class).iter().find(|other| other.table == route.table);
    first.is_some_and(|first| first.metric == route.metric)
}

/// One message for each group that differs between two overlays and stays in the kernel or leaves it; `present` are the ids
/// that the kernel holds. Groups that come back with their routes are the reconciler's work.
pub fn messages(
    program: &Program,
    before: &Overlay,
    after: &Overlay,
    present: impl Fn(u32) -> bool,
) -> Vec<Op> {
    let mut ops = Vec::new();
    for id in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (before.get(id), after.get(id));
        if old == new || !present(*id) {
            continue;
        }
        let members = match new.map(|repair| (repair, repair.members())) {
            Some((_, Some(members))) => Some(members),
            Some((repair, None)) => {
                ops.push(Op::DelNexthop { id: *id });
                program.group(*id).filter(|_| !repair.is_gone()).map(|group| group.members.as_slice())
            }
            None => program.group(*id).map(|group| group.members.as_slice()),
        };
        let legs: Vec<Member> =
            members.into_iter().flatten().filter(|leg| present(leg.nexthop)).copied().collect();
        if !legs.is_empty() {
            let replace = !matches!(ops.last(), Some(Op::DelNexthop { id: gone }) if gone == id);
            let resilient = program.group(*id).and_then(|group| group.resilient);
            ops.push(Op::PutGroup { replace, id: *id, value: GroupValue { members: legs, resilient } });
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::program::{Group, Nexthop, Settings};

    /// Groups by their legs' numbers; classes by (group, backup group).
    fn program(groups: &[&[u32]], classes: &[(u32, Option<u32>)]) -> Program {
        let route = |class: usize, metric, group| ClassRoute {
            class: ClassId(class as u32),
            metric,
            table: 254,
            group,
        };
        Program {
            host: "a".to_string(),
            settings: Settings::default(),
            preferred_source_v4: None,
            preferred_source_v6: None,
            nexthops: (1..=4)
                .map(|id| Nexthop {
                    id,
                    interface: format!("eth{id}"),
                    gateway: "fe80::1".parse().unwrap(),
                    encapsulation: None,
                })
                .collect(),
            groups: (groups.iter().enumerate())
                .map(|(at, legs)| Group {
                    id: 100 + at as u32,
                    members: legs.iter().map(|leg| Member { nexthop: *leg, weight: 1 }).collect(),
                    resilient: None,
                    route_mtu_bytes: None,
                })
                .collect(),
            classes: (classes.iter().enumerate())
                .flat_map(|(class, (first, backup))| {
                    [Some(route(class, 100, *first)), backup.map(|backup| route(class, 200, backup))]
                })
                .flatten()
                .collect(),
            rules: Vec::new(),
            discards: Vec::new(),
            local_segments: Vec::new(),
            vxlans: Vec::new(),
        }
    }

    fn legs(of: &[u32]) -> Vec<Member> {
        of.iter().map(|leg| Member { nexthop: *leg, weight: 1 }).collect()
    }

    #[test]
    fn each_group_gets_the_smallest_change_that_leaves_nothing_on_the_dead_link() {
        let withdrawn =
            |kept: &[u32]| Repair::Withdrawn { kept: kept.iter().map(|class| ClassId(*class)).collect() };
        type Case<'a> =
            (&'a str, &'a [&'a [u32]], &'a [(u32, Option<u32>)], &'a [&'a str], Vec<(u32, Repair)>);
        let cases: [Case<'_>; 8] = [
            ("nobody is dead", &[&[1, 2]], &[(100, None)], &[], vec![]),
            (
                "one of two legs",
                &[&[1, 2]],
                &[(100, None)],
                &["eth1"],
                vec![(100, Repair::Without(legs(&[2])))],
            ),
            ("both legs, no backup", &[&[1, 2]], &[(100, None)], &["eth1", "eth2"], vec![]),
            (
                "one leg, one backup for all",
                &[&[1], &[2]],
                &[(100, Some(101)), (100, Some(101))],
                &["eth1"],
                vec![(100, Repair::Through(101, legs(&[2])))],
            ),
            (
                "one leg, different backups",
                &[&[1], &[2], &[3]],
                &[(100, Some(101)), (100, Some(102))],
                &["eth1"],
                vec![(100, withdrawn(&[]))],
            ),
            (
                "one leg, a class has no backup",
                &[&[1], &[2]],
                &[(100, Some(101)), (100, None)],
                &["eth1"],
                vec![(100, withdrawn(&[1]))],
            ),
            ("the backup is dead, too", &[&[1], &[2]], &[(100, Some(101))], &["eth1", "eth2"], vec![]),
            ("only a backup is dead", &[&[1], &[2]], &[(100, Some(101))], &["eth2"], vec![]),
        ];
        for (name, groups, classes, dead, expected) in cases {
            let program = program(groups, classes);
            let dead = dead.iter().map(|name| (*name).to_string()).collect();
            assert_eq!(overlay(&program, &dead), expected.into_iter().collect(), "{name}");
        }
    }

    #[test]
    fn a_repair_and_its_end_are_one_message_for_each_group_that_the_kernel_holds() {
        let program = program(&[&[1], &[2], &[1, 2]], &[(100, Some(101)), (102, None)]);
        let dead = BTreeSet::from(["eth1".to_string()]);
        let (none, repaired) = (Overlay::new(), overlay(&program, &dead));
        let put = |id, of: &[u32]| Op::PutGroup { replace: true, id, value: GroupValue::new(legs(of)) };
        assert_eq!(messages(&program, &none, &repaired, |_| true), [put(100, &[2]), put(102, &[2])]);
        assert_eq!(messages(&program, &repaired, &none, |_| true), [put(100, &[1]), put(102, &[1, 2])]);
        assert_eq!(messages(&program, &none, &repaired, |id| id != 100), [put(102, &[2])]);
        assert!(messages(&program, &none, &repaired, |id| id >= 100).is_empty(), "no leg is in the kernel");
        assert!(messages(&program, &repaired, &repaired, |_| true).is_empty());
    }

    #[test]
    fn a_group_whose_classes_part_is_deleted_and_left_to_those_without_a_backup() {
        let program = program(&[&[1], &[2]], &[(100, Some(101)), (100, None)]);
        let repaired = overlay(&program, &BTreeSet::from(["eth1".to_string()]));
        let expected = [
            Op::DelNexthop { id: 100 },
            Op::PutGroup { replace: false, id: 100, value: GroupValue::new(legs(&[1])) },
        ];
        assert_eq!(messages(&program, &Overlay::new(), &repaired, |_| true), expected);
        let repair = &repaired[&100];
        assert!(repair.suspends(|| Some(ClassId(0))) && !repair.suspends(|| Some(ClassId(1))));
    }
}
