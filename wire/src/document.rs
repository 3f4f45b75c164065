//! REST documents made from programs, plans and paths: one place, so that a controller and an offline command
//! write the same bytes for the same network.
//!
//! Pure; decides nothing.

use crate::Generation;
use crate::log::GuardRecord;
use crate::rest;
use plan::backup::{Coverage, Kind};
use plan::check::Violation;
use plan::constrained::{Pair, Route};
use plan::explain::Explanation;
use plan::failures::{Element, Failure};
use plan::impact::Impact;
use plan::load::Load;
use plan::order::{self, OrderedStep};
use plan::program::{Discard, DiscardKind, Encapsulation, Group, METRIC_BACKUP, Member, Nexthop, Vxlan};
use plan::proof::{self, State};
use plan::steps::{self, Step};
use plan::walk::{self, Fate};
use plan::what_if::Effect;
use plan::{Digest, Facts, Network, Objects, PrefixTable, Program, diff};
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Direction, LinkIndex, NodeIndex, Sources, Topology};

/// `ballast.program/v1`. `assigned`: generation and revision, `None` offline.
pub fn program(
    program: &Program,
    table: &PrefixTable,
    digest: Digest,
    assigned: Option<(Generation, u64)>,
) -> rest::ProgramDocument {
    let objects = Objects::of(program, table);
    rest::ProgramDocument {
        schema: "ballast.program/v1".to_string(),
        host: program.host.clone(),
        generation: assigned.map(|(generation, _)| generation.to_string()),
        revision: assigned.map(|(_, revision)| revision),
        digest: digest.to_string(),
        classes: classes(program, table),
        tunnels: program.vxlans.iter().map(tunnel).collect(),
        addresses: (objects.addresses.iter())
            .map(|(interface, address)| rest::AddressDocument {
                interface: interface.clone(),
                address: address.to_string(),
            })
            .collect(),
        neighbours: (objects.neighbours.iter())
            .map(|(interface, address)| rest::NeighbourDocument {
                interface: interface.clone(),
                address: address.to_string(),
            })
            .collect(),
        nexthops: program.nexthops.iter().map(nexthop).collect(),
        groups: program.groups.iter().map(group).collect(),
        routes: (objects.routes.iter())
            .filter_map(|(key, value)| {
                let (prefix, metric, table) = (key.prefix.to_string(), key.metric, key.table);
                Some(rest::RouteDocument { prefix, group: value.group()?, metric, table })
            })
            .collect(),
        sysctls: objects.sysctls,
        mtu: objects.mtus,
        rules: (program.rules.iter())
            .map(|rule| rest::RuleDocument {
                priority: rule.priority,
                incoming_interface: rule.incoming_interface.clone(),
                table: rule.table,
            })
            .collect(),
        discards: program.discards.iter().map(discard).collect(),
        local_segments: (program.local_segments.iter())
            .map(|local| rest::LocalSegmentDocument {
                segment: local.segment.to_string(),
                interface: local.interface.clone(),
                behaviour: diff::behaviour_text(&local.behaviour),
            })
            .collect(),
        liveness: (program.settings.liveness.iter())
            .map(|liveness| rest::LivenessDocument {
                interface: liveness.interface.clone(),
                interval_ms: liveness.interval_ms,
                multiplier: liveness.multiplier,
            })
            .collect(),
        flows: Vec::new(),
    }
}

fn nexthop(nexthop: &Nexthop) -> rest::NexthopDocument {
    let segments = match &nexthop.encapsulation {
        None => Vec::new(),
        Some(Encapsulation::Seg6 { segments }) => segments.iter().map(ToString::to_string).collect(),
    };
    let (interface, gateway) = (nexthop.interface.clone(), nexthop.gateway.to_string());
    rest::NexthopDocument { id: nexthop.id, interface, gateway, segments }
}

fn group(group: &Group) -> rest::GroupDocument {
    let member = |member: &Member| rest::MemberDocument { nexthop: member.nexthop, weight: member.weight };
    rest::GroupDocument {
        id: group.id,
        members: group.members.iter().map(member).collect(),
        resilient: group.resilient.map(|resilient| rest::ResilientDocument {
            buckets: resilient.buckets,
            idle_timer_ms: resilient.idle_timer_ms,
            unbalanced_timer_ms: resilient.unbalanced_timer_ms,
        }),
        route_mtu_bytes: group.route_mtu_bytes.map(std::num::NonZeroU32::get),
    }
}

fn discard(discard: &Discard) -> rest::DiscardDocument {
    let kind = match discard.kind {
        DiscardKind::Blackhole => "blackhole",
        DiscardKind::Unreachable => "unreachable",
    };
    rest::DiscardDocument {
        table: discard.table,
        prefix: discard.prefix.to_string(),
        metric: discard.metric,
        kind: kind.to_string(),
    }
}

fn tunnel(vxlan: &Vxlan) -> rest::TunnelDocument {
    rest::TunnelDocument {
        name: vxlan.name.clone(),
        vni: vxlan.vni,
        local: vxlan.local.to_string(),
        port: vxlan.port,
        mac: diff::mac_text(&vxlan.mac),
        mtu_bytes: vxlan.mtu_bytes,
        forwarding: (vxlan.forwarding.iter())
            .map(|entry| rest::TunnelForwardingDocument {
                mac: diff::mac_text(&entry.mac),
                remote: entry.remote.to_string(),
            })
            .collect(),
        neighbours: (vxlan.neighbours.iter())
            .map(|entry| rest::TunnelNeighbourDocument {
                address: entry.address.to_string(),
                mac: diff::mac_text(&entry.mac),
            })
            .collect(),
    }
}

fn classes(program: &Program, table: &PrefixTable) -> Vec<rest::ClassDocument> {
    let mut prefixes: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, class) in &table.entries {
        *prefixes.entry(class.0).or_default() += 1;
    }
    let document = |class: &plan::program::Class| {
        let routes = program.class_routes(class.id);
        rest::ClassDocument {
            id: class.id.0,
            name: class.name.clone(),
            group: routes.iter().find(|route| route.metric != METRIC_BACKUP).map(|route| route.group),
            backup_group: routes.iter().find(|route| route.metric == METRIC_BACKUP).map(|route| route.group),
            prefixes: prefixes.get(&class.id.0).copied().unwrap_or(0),
        }
    };
    table.classes.iter().map(document).collect()
}

/// `ballast.paths/v1`: the ways from one node to another, followed through the programs.
pub fn paths(topology: &Topology, facts: &Facts, network: &Network, from: &str, to: &str) -> rest::Paths {
    let unknown = [from, to].into_iter().find(|node| topology.node_index(node).is_none());
    let found = walk::paths(topology, facts, network, from, to);
    let (verdict, reason) = match unknown {
        Some(node) => {
            let hint = topology.nearest_node(node).map(|near| format!("; did you mean {near}?"));
            ("unknown_node", format!("the topology has no node {node}{}", hint.unwrap_or_default()))
        }
        None => verdict(&found),
    };
    rest::Paths {
        schema: "ballast.paths/v1".to_string(),
        from: from.to_string(),
        to: to.to_string(),
        paths: (found.into_iter())
            .map(|path| (narrowest(topology, &path.links), path))
            .map(|(narrowest, path)| rest::PathDocument {
                hops: path.hops,
                links: path.links,
                cost: path.cost,
                latency_us: path.latency_us,
                share: path.share,
                bottleneck: narrowest.map(|(_, link)| link.to_string()),
                bottleneck_bps: narrowest.map(|(capacity, _)| capacity),
            })
            .collect(),
        verdict: verdict.to_string(),
        deciding_rule: None,
        reason,
    }
}

/// `ballast.ways/v1` of single ways.
pub fn ways(topology: &Topology, [from, to]: [NodeIndex; 2], routes: &[Route]) -> rest::WaysDocument {
    let name = |node: &NodeIndex| topology.node(*node).name.clone();
    let link = |link: &LinkIndex| topology.link(*link).id.clone();
    let way = |route: &Route| rest::Way {
        hops: route.nodes.iter().map(name).collect(),
        links: route.links.iter().map(link).collect(),
        cost: route.cost,
        latency_us: route.latency_us,
        drained_links: route.drained_links,
    };
    rest::WaysDocument {
        schema: "ballast.ways/v1".to_string(),
        from: name(&from),
        to: name(&to),
        ways: routes.iter().map(way).collect(),
        common: None,
    }
}

/// `ballast.ways/v1` of two ways that were to be disjoint; `None`: there is no way at all.
pub fn disjoint_ways(topology: &Topology, ends: [NodeIndex; 2], pair: Option<&Pair>) -> rest::WaysDocument {
    let mut document = ways(topology, ends, pair.map_or(&[], |pair| &pair.paths));
    document.common = pair.map(|pair| rest::InCommon {
        nodes: pair.shared_nodes.iter().map(|node| topology.node(*node).name.clone()).collect(),
        links: pair.shared_links.iter().map(|link| topology.link(*link).id.clone()).collect(),
        risks: pair.shared_risks.clone(),
        is_proven: pair.is_proven,
    });
    document
}

/// Least capacity on a path, and the first link that has it.
fn narrowest<'t>(topology: &'t Topology, links: &[String]) -> Option<(u64, &'t str)> {
    let capacities = links.iter().filter_map(|id| {
        let link = topology.link(topology.link_index(id)?);
        Some((link.capacity_bps?, link.id.as_str()))
    });
    capacities.min_by_key(|(capacity, _)| *capacity)
}

/// The worst fate decides: a share of the packets that is lost is a loss.
fn verdict(found: &[walk::Path]) -> (&'static str, String) {
    let bad = |wanted: fn(&Fate) -> bool| found.iter().find(|path| wanted(&path.fate));
    if let Some(path) = bad(|fate| matches!(fate, Fate::Loop { .. })) {
        return ("loop", path.fate.to_string());
    }
    if let Some(path) = bad(|fate| matches!(fate, Fate::BlackHole { .. })) {
        return ("unreachable", path.fate.to_string());
    }
    match found {
        [] => ("unreachable", "no path".to_string()),
        [path] => ("reachable", format!("one path of cost {}", path.cost)),
        [path, ..] => ("reachable", format!("{} paths of cost {}", found.len(), path.cost)),
    }
}

/// `ballast.explain/v1`. `sources` and `change`: what the topology was read from.
pub fn explain(
    host: &str,
    asked: &str,
    found: &Explanation,
    sources: &Sources,
    change: Option<u64>,
) -> rest::ExplainDocument {
    let next_hop = |hop: &plan::explain::NextHop| rest::NextHop {
        interface: hop.interface.clone(),
        gateway: hop.gateway.to_string(),
        link: hop.link.clone(),
        via: hop.via.clone(),
        weight: hop.weight,
    };
    let candidate = |of: &plan::explain::Candidate| rest::CandidateDocument {
        via: of.via.clone(),
        interface: of.interface.clone(),
        link: of.link.clone(),
        cost: of.cost,
        lost_because: of.lost_because.clone(),
        backup: of.backup,
    };
    let (file, line) = sources.place(found.line).unwrap_or(("", found.line));
    rest::ExplainDocument {
        schema: "ballast.explain/v1".to_string(),
        host: host.to_string(),
        asked: asked.to_string(),
        prefix: found.prefix.to_string(),
        class: found.class_name.clone(),
        class_id: found.class.0,
        metric: found.metric,
        group: found.group,
        next_hops: found.next_hops.iter().map(next_hop).collect(),
        candidates: found.candidates.iter().map(candidate).collect(),
        origin: rest::OriginDocument { file: file.to_string(), line, change, fact: found.fact.clone() },
    }
}

/// `ballast.what-if/v1`.
pub fn what_if(topology: &Topology, effect: &Effect) -> rest::WhatIfDocument {
    let hop = |hop: &plan::what_if::Hop| rest::ForwardingHop {
        interface: hop.interface.clone(),
        link: hop.link.clone(),
        via: hop.via.clone(),
    };
    let changed = |change: &plan::what_if::Change| rest::ChangedForwarding {
        host: change.host.clone(),
        destination: change.destination.clone(),
        before: change.before.iter().map(hop).collect(),
        after: change.after.iter().map(hop).collect(),
    };
    let overloaded = |over: &plan::what_if::Overload| {
        let link = topology.link(over.link);
        let name = |end: usize| topology.node(link.ends[end].node).name.clone();
        let (from, to) = match over.direction {
            Direction::Forward => (name(0), name(1)),
            Direction::Backward => (name(1), name(0)),
        };
        rest::OverloadedLink {
            id: link.id.clone(),
            from,
            to,
            load_bps: over.load_bps,
            capacity_bps: link.capacity_bps,
            utilisation: over.utilisation,
            utilisation_before: over.utilisation_before,
        }
    };
    let [before, after] = effect.max_utilisation;
    rest::WhatIfDocument {
        schema: "ballast.what-if/v1".to_string(),
        changed: effect.changed.iter().map(changed).collect(),
        changed_total: effect.changed_total,
        pairs_lost: effect.pairs_lost.iter().map(|(from, to)| [from.clone(), to.clone()]).collect(),
        overloaded: effect.overloaded.iter().map(overloaded).collect(),
        max_utilisation_before: before,
        max_utilisation: after,
    }
}

/// A violation as shown. `sources`: those of the network that it is about.
pub fn violation(found: &Violation, sources: &Sources) -> rest::ViolationDocument {
    let (file, line) = sources.place(found.line).unwrap_or(("", found.line));
    let prefix = found.trace.prefix.map(|prefix| prefix.to_string());
    let hop = |hop: &plan::trace::Hop| rest::WalkHop {
        host: hop.node.clone(),
        prefix: prefix.clone(),
        metric: hop.metric,
        group: hop.group,
        nexthop: hop.nexthop,
        interface: hop.interface.clone(),
        gateway: hop.gateway.to_string(),
        link: hop.link.clone(),
    };
    rest::ViolationDocument {
        rule: found.rule.code().to_string(),
        file: file.to_string(),
        line,
        from: found.from.clone(),
        to: found.to.clone(),
        sources: found.sources,
        message: found.to_string(),
        walk: found.trace.hops.iter().map(hop).collect(),
        last: found.trace.last.clone(),
        fate: found.trace.fate.to_string(),
    }
}

/// A violation as a problem of the file.
pub fn violation_diagnostic(found: &rest::ViolationDocument) -> rest::Diagnostic {
    rest::Diagnostic {
        code: found.rule.clone(),
        severity: "error".to_string(),
        file: found.file.clone(),
        line: found.line,
        column: 1,
        message: found.message.clone(),
        help: format!("follow a packet that shows it: {}", walk_text(found)),
    }
}

/// A violation's walk in a line: `a > b > c: delivered`.
pub fn walk_text(found: &rest::ViolationDocument) -> String {
    let mut way: Vec<&str> = found.walk.iter().map(|hop| hop.host.as_str()).collect();
    way.push(&found.last);
    format!("{}: {}", way.join(" > "), found.fate)
}

/// A failure as shown.
pub fn failure(topology: &Topology, found: &Failure, file: &str) -> rest::FailureDocument {
    let kind = match found.element {
        Element::Link(_) => "link",
        Element::Node(_) => "node",
    };
    rest::FailureDocument {
        element: found.element.name(topology).to_string(),
        kind: kind.to_string(),
        file: file.to_string(),
        violations: found.violations.iter().map(|found| violation(found, &topology.sources)).collect(),
    }
}

/// `ballast.load/v1`. `demands`: what to call them.
pub fn load(topology: &Topology, load: &Load, demands: &str) -> rest::LoadDocument {
    let link = |at: LinkIndex| {
        [(Direction::Forward, 0, 1), (Direction::Backward, 1, 0)].map(|(direction, from, to)| {
            let link = topology.link(at);
            let name = |end: usize| topology.node(link.ends[end].node).name.clone();
            rest::LinkLoad {
                id: link.id.clone(),
                from: name(from),
                to: name(to),
                load_bps: load.carried(at, direction),
                capacity_bps: link.capacity_bps,
                utilisation: load.utilisation(topology, at, direction),
            }
        })
    };
    rest::LoadDocument {
        schema: "ballast.load/v1".to_string(),
        demands: demands.to_string(),
        links: (0..topology.links.len() as u32).map(LinkIndex).flat_map(link).collect(),
        max_utilisation: load.max_utilisation(topology),
        sent_bps: load.sent,
        lost_bps: load.lost,
    }
}

/// `ballast.backups/v1`.
pub fn backups(topology: &Topology, coverage: &Coverage) -> rest::BackupsDocument {
    let node = |at: NodeIndex| topology.node(at).name.clone();
    let link = |at: LinkIndex| topology.link(at).id.clone();
    let entry = |entry: &plan::backup::Entry| rest::BackupEntry {
        host: node(entry.host),
        destination: node(entry.destination),
        link: link(entry.link),
        kind: match entry.kind {
            Kind::Ecmp => "ecmp",
            Kind::Lfa => "lfa",
            Kind::Detour => "detour",
            Kind::Bypass => "bypass",
        }
        .to_string(),
        via: entry.hops.first().map_or_else(String::new, |first| node(*first)),
        via_link: link(entry.via),
        hops: entry.hops.iter().map(|hop| node(*hop)).collect(),
        installed: matches!(entry.kind, Kind::Ecmp | Kind::Lfa),
        protects_node: entry.protects_node,
        protects_srlgs: entry.protects_groups,
        overhead_bytes: entry.overhead_bytes,
    };
    let case = |case: &plan::backup::Unprotected| rest::UnprotectedCase {
        host: node(case.host),
        destination: node(case.destination),
        link: link(case.link),
        possible: case.possible,
    };
    rest::BackupsDocument {
        schema: "ballast.backups/v1".to_string(),
        coverage: rest::BackupCoverage {
            lfa: coverage.lfa,
            all: coverage.all,
            possible: coverage.possible,
            turn_interfaces: coverage.turn_interfaces,
            turn_entries: coverage.turn_entries,
            tunnels: coverage.tunnels,
        },
        entries: coverage.entries.iter().map(entry).collect(),
        unprotected: coverage.unprotected.iter().map(case).collect(),
    }
}

/// What hosts run before a plan.
#[derive(Clone, Debug, Default)]
pub struct Running<'a> {
    /// Host -> digest of its program.
    pub digests: BTreeMap<String, Digest>,
    /// Host -> a network that holds that program.
    pub networks: BTreeMap<&'a str, Arc<Network>>,
}

/// `ballast.plan/v1`: the way from what runs to `network`, which was compiled from `topology`.
pub fn plan(
    running: &Running<'_>,
    topology: &Topology,
    network: &Network,
    impact: &Impact,
    guards: &[GuardRecord],
) -> rest::PlanDocument {
    let wanted = network.digests_by_host();
    let steps = steps::steps(&running.digests, &wanted, &topology.safety, topology.management.into());
    let mut hosts: Vec<rest::PlanHost> = wanted
        .iter()
        .filter(|(host, digest)| running.digests.get(*host) != Some(digest))
        .map(|(host, digest)| plan_host(host, *digest, running, network))
        .collect();
    // A host that goes is told nothing: its agent keeps what it runs.
    let gone = running.digests.keys().filter(|host| !wanted.contains_key(*host));
    hosts.extend(gone.map(|host| rest::PlanHost {
        name: host.clone(),
        digest: None,
        add: 0,
        change: 0,
        remove: 0,
        writes: 0,
    }));
    hosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let step = |step: &Step| rest::PlanStep { hosts: step.hosts.clone(), gate: gate(step) };
    rest::PlanDocument {
        schema: "ballast.plan/v1".to_string(),
        plan_hash: steps::plan_hash(&running.digests, &wanted, &steps).to_string(),
        hosts,
        pairs_lost: impact.pairs_lost.iter().map(|(a, b)| [a.clone(), b.clone()]).collect(),
        short_of_controllers: impact.short_of_controllers.clone().unwrap_or_default(),
        guards: guards.iter().map(guard).collect(),
        steps: steps.iter().map(step).collect(),
        proofs: Vec::new(),
    }
}

/// The plan with its steps in an order in which nothing loops or is cut off, and the proof of that, for a change
/// between two compiled states. `plan_hash` stays the one by which a controller knows the change.
pub fn in_order(
    plan: rest::PlanDocument,
    old: State<'_>,
    new: State<'_>,
    facts: &Facts,
) -> rest::PlanDocument {
    let ordered = order::order(Some(old), new, facts, &new.topology.safety);
    let programs: Vec<&[(String, Arc<Program>)]> =
        ordered.steps.iter().map(|step| step.programs.as_slice()).collect();
    let verdict = proof::verify(Some(old), &programs, new, facts, &ordered.proof);
    let step = |step: &OrderedStep| {
        let hosts = step.programs.iter().map(|(host, _)| host.clone()).collect();
        let step = Step { hosts, bake_ms: step.bake_ms };
        rest::PlanStep { gate: gate(&step), hosts: step.hosts }
    };
    let held = (1..).zip(&ordered.steps).flat_map(|(number, step)| {
        let host = move |(host, destinations): &(String, Vec<String>)| {
            serde_json::json!({ "step": number, "host": host, "destinations": destinations })
        };
        step.held.iter().map(host)
    });
    let proof = serde_json::json!({
        "kind": "steps",
        "holds": verdict.is_ok(),
        "reason": verdict.err().map(|wrong| wrong.to_string()),
        "hosts": ordered.proof.hosts,
        "witnesses": ordered.proof.witnesses,
        "held": held.collect::<Vec<_>>(),
        "unproven": ordered.unproven,
    });
    rest::PlanDocument { steps: ordered.steps.iter().map(step).collect(), proofs: vec![proof], ..plan }
}

fn plan_host(host: &str, digest: Digest, running: &Running<'_>, new: &Network) -> rest::PlanHost {
    let objects = |network: &Network| {
        network.host(host).map(|(program, _)| Objects::of(program, &network.table)).unwrap_or_default()
    };
    let before = running.networks.get(host).map(|network| objects(network)).unwrap_or_default();
    let diff = diff::diff(&before, &objects(new));
    rest::PlanHost {
        name: host.to_string(),
        digest: Some(digest.to_string()),
        add: diff.added(),
        change: diff.changed(),
        remove: diff.removed(),
        writes: diff.writes(),
    }
}

/// A guard's verdict as shown.
pub fn guard(guard: &GuardRecord) -> rest::Guard {
    rest::Guard { name: guard.guard.clone(), value: guard.value, limit: guard.limit, ok: guard.ok }
}

/// What must be seen before the step after this one: `ack`, `bake 10s`.
pub fn gate(step: &Step) -> Vec<String> {
    let bake = match step.bake_ms {
        0 => None,
        ms if ms % 1_000 == 0 => Some(format!("bake {}s", ms / 1_000)),
        ms => Some(format!("bake {ms}ms")),
    };
    std::iter::once("ack".to_string()).chain(bake).collect()
}

/// A problem in a topology file as shown.
pub fn diagnostic(found: &topology::Diagnostic) -> rest::Diagnostic {
    rest::Diagnostic {
        code: found.code.to_string(),
        severity: match found.severity {
            topology::Severity::Error => "error".to_string(),
            topology::Severity::Warning => "warning".to_string(),
        },
        file: found.file.clone(),
        line: found.line,
        column: found.column,
        message: found.message.clone(),
        help: found.help.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "version: 1\nname: line\nnodes: { a: {prefixes: [10.1.0.0/24]}, b: {}, c: {} }\n\
        links:\n  - { endpoints: ['a:x', 'b:x'] }\n  - { endpoints: ['b:y', 'c:y'] }\n";

    fn line() -> (Topology, Network) {
        let reading = topology::read("line.yaml", LINE.as_bytes());
        let topology = reading.topology.unwrap_or_else(|| panic!("{:?}", reading.diagnostics));
        let network = plan::compile(&topology, &Facts::default());
        (topology, network)
    }

    #[test]
    fn a_path_says_how_it_ends() {
        let (topology, network) = line();
        let cut = Facts { links_down: ["b:y--c:y".to_string()].into() };
        let cases = [
            ("a", "c", Facts::default(), "reachable", "one path of cost 20"),
            ("a", "z", Facts::default(), "unknown_node", "the topology has no node z"),
            ("a", "c", cut, "unreachable", "b has no living next hop"),
        ];
        for (from, to, facts, verdict, reason) in cases {
            let document = paths(&topology, &facts, &network, from, to);
            assert_eq!((document.verdict.as_str(), document.reason.as_str()), (verdict, reason));
        }
    }

    #[test]
    fn a_plan_from_nothing_counts_what_it_adds_and_one_to_itself_nothing() {
        let (topology, network) = line();
        let first = plan(&Running::default(), &topology, &network, &Impact::default(), &[]);
        assert_eq!(first.steps.len(), 1);
        assert!(first.hosts.iter().all(|host| host.writes > 0 && host.remove == 0), "{first:?}");
        let network = Arc::new(network);
        let networks = ["a", "b", "c"].map(|host| (host, network.clone())).into();
        let running = Running { digests: network.digests_by_host(), networks };
        let again = plan(&running, &topology, &network, &Impact::default(), &[]);
        assert_eq!((again.hosts.len(), again.steps.len()), (0, 0));
    }

    #[test]
    fn a_plan_in_order_says_that_its_steps_are_checked() {
        let (topology, network) = line();
        let mut changed = topology.clone();
        changed.links[0].ends[0].cost = 20;
        changed.links.remove(1);
        let after = plan::compile(&changed, &Facts::default());
        let running = Running { digests: network.digests_by_host(), ..Running::default() };
        let document = plan(&running, &changed, &after, &Impact::default(), &[]);
        let state = |topology, network| State { topology, network };
        let (old, new) = (state(&topology, &network), state(&changed, &after));
        let ordered = in_order(document.clone(), old, new, &Facts::default());
        let mut hosts: Vec<&String> = ordered.steps.iter().flat_map(|step| &step.hosts).collect();
        hosts.sort();
        assert_eq!(hosts, document.hosts.iter().map(|host| &host.name).collect::<Vec<_>>());
        assert!(ordered.steps.iter().all(|step| step.gate == ["ack", "bake 10s"]), "{:?}", ordered.steps);
        assert_eq!(ordered.proofs[0]["holds"], true);
        assert_eq!(ordered.proofs[0]["reason"], serde_json::Value::Null);
        assert_eq!(ordered.plan_hash, document.plan_hash);
    }

    #[test]
    fn a_program_lists_every_object() {
        let (_, network) = line();
        let (own, digest) = network.host("a").unwrap_or_else(|| panic!("a has a program"));
        let document = program(own, &network.table, digest, None);
        let objects = Objects::of(own, &network.table);
        assert_eq!(document.routes.len(), objects.routes.len());
        assert_eq!(document.groups.len(), objects.groups.len());
        assert_eq!(document.classes.len(), 3);
        assert_eq!(document.generation, None);
    }
}
