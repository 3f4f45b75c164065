//! What the agent answers on its own host: `ballast.agent_status/v1` and `ballast.agent_dump/v1`.

use crate::core::event::{LocalAnswer, Millis};
use crate::core::reconcile::Waiting;
use crate::core::session::Agent;
use plan::Objects;
use serde_json::{Value, json};
use wire::agent::ObjectCounts;

/// `ballast-agent status`.
pub(crate) fn status(agent: &Agent, now: Millis) -> LocalAnswer {
    let held = agent.held();
    let confirmed = agent.ledger.confirmed.as_ref();
    let counts = agent.found.counts;
    let links: Vec<Value> = agent
        .links
        .iter()
        .map(|(name, link)| json!({"interface": name, "up": link.up, "carrier": link.carrier, "mtu": link.mtu}))
        .collect();
    LocalAnswer(
        json!({
            "schema": "ballast.agent_status/v1",
            "host": agent.config.host,
            "version": agent.config.version,
            "generation": held.as_ref().map(|held| held.generation.to_string()),
            "revision": held.as_ref().map(|held| held.revision),
            "digest": held.as_ref().map(|held| held.digest.to_string()),
            "effective_digest": held.as_ref().map(|held| held.effective_digest.to_string()),
            "confirmed": confirmed.map(|kept| kept.generation.to_string()),
            "highest_generation": agent.ledger.highest.to_string(),
            "connected": agent.connected,
            "controller": agent.controller,
            "applied_age_ms": agent.applied_age_ms(now),
            "writes_total": agent.writes_total,
            "objects": {"installed": counts.installed, "pending": counts.pending, "refused": counts.refused},
            "pending": waiting(&agent.found.pending),
            "refused": waiting(&agent.found.refused),
            "repairs": [],
            "warnings": agent.config.warnings,
            "links": links,
        })
        .to_string(),
    )
}

/// How the host stands, in one line, for the service manager.
pub(crate) fn line(agent: &Agent) -> String {
    let controller = match agent.controller.filter(|_| agent.connected) {
        Some(id) => format!("controller {id}"),
        None => "no controller".to_string(),
    };
    let Some(running) = &agent.ledger.running else { return format!("no program yet; {controller}") };
    let ObjectCounts { installed, pending, refused } = agent.found.counts;
    format!(
        "generation {}, revision {}: {installed} installed, {pending} pending, {refused} refused; {controller}",
        running.generation, running.revision
    )
}

/// `ballast-agent dump`: the program in force as the objects that it stands for.
pub(crate) fn dump(agent: &Agent, now: Millis) -> LocalAnswer {
    let program = agent.ledger.running.as_ref().map(|kept| {
        let objects = Objects::of(&kept.program, &kept.table);
        let nexthop = |(id, value): (&u32, &plan::objects::NexthopValue)| {
            json!({"id": id, "interface": value.interface, "gateway": value.gateway.to_string()})
        };
        let member = |member: &plan::program::Member| json!({"nexthop": member.nexthop, "weight": member.weight});
        let group = |(id, value): (&u32, &plan::objects::GroupValue)| {
            json!({"id": id, "members": value.members.iter().map(member).collect::<Vec<_>>()})
        };
        let route = |(key, value): (&plan::objects::RouteKey, &plan::objects::RouteValue)| {
            json!({"prefix": key.prefix.to_string(), "metric": key.metric, "table": key.table, "group": value.group()})
        };
        json!({
            "sysctls": objects.sysctls,
            "mtu": objects.mtus,
            "addresses": objects.addresses.iter().map(|(at, address)| format!("{address} on {at}")).collect::<Vec<_>>(),
            "neighbours": objects.neighbours.iter().map(|(at, address)| format!("{address} on {at}")).collect::<Vec<_>>(),
            "nexthops": objects.nexthops.iter().map(nexthop).collect::<Vec<_>>(),
            "groups": objects.groups.iter().map(group).collect::<Vec<_>>(),
            "routes": objects.routes.iter().map(route).collect::<Vec<_>>(),
        })
    });
    let LocalAnswer(status) = status(agent, now);
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    LocalAnswer(json!({"schema": "ballast.agent_dump/v1", "status": status, "program": program}).to_string())
}

fn waiting(all: &[Waiting]) -> Vec<Value> {
    all.iter().map(|one| json!({"object": one.object, "reason": one.reason})).collect()
}
