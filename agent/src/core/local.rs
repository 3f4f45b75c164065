//! What the agent answers on its own host: `ballast.agent_status/v1`, `ballast.agent_dump/v1`, and
//! `ballast.agent_VERB/v1` for each command that changes something.

use crate::core::event::{LocalAnswer, Millis};
use crate::core::hold::Act;
use crate::core::neighbours;
use crate::core::report;
use crate::core::session::Agent;
use plan::Objects;
use serde_json::{Value, json};
use wire::agent::ObjectCounts;
use wire::ledger::Hold;

/// `ballast-agent status`.
pub(crate) fn status(agent: &Agent, now: Millis) -> LocalAnswer {
    let held = agent.held();
    let confirmed = agent.ledger.confirmed.as_ref();
    let counts = agent.found.counts();
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
            "unconfirmed": agent.ledger.trial_ms > 0,
            "reverts_in_ms": agent.confirm.left_ms(now),
            "previous": agent.ledger.previous.as_ref().map(|kept| kept.generation.to_string()),
            "reverted": agent.ledger.reverted.as_ref().map(|reverted| json!({
                "generation": reverted.generation.to_string(),
                "digest": reverted.digest.to_string(),
                "reason": reverted.reason,
            })),
            "pinned": agent.ledger.pin.is_some(),
            "pin": hold(agent.ledger.pin.as_ref()),
            "frozen": agent.ledger.freeze.is_some(),
            "freeze": hold(agent.ledger.freeze.as_ref()),
            "ledger": {"saved": !agent.memory.unsaved, "error": agent.memory.disk_error},
            "objects": {"installed": counts.installed, "pending": counts.pending, "refused": counts.refused},
            "pending": report::waiting(agent, &agent.found.pending, now),
            "refused": report::waiting(agent, &agent.found.refused, now),
            "waits": report::waits(agent),
            "repairs": report::repairs(agent, now),
            "alarms": report::alarms(agent, now),
            "repair_time": agent.repair_us.json(),
            "drift_repair_time": agent.drift_us.json(),
            "features": agent.health.features(),
            "degraded": agent.health.degraded(now),
            "warnings": agent.config.warnings,
            "links": links,
            "liveness": neighbours::status(&agent.neighbours),
        })
        .to_string(),
    )
}

/// The answer to a command that changes something: whether what was asked for is the case now, whether this command
/// brought it about, and the state after it.
pub(crate) fn act(
    agent: &Agent,
    now: Millis,
    act: &Act,
    holds: bool,
    changed: bool,
    words: &str,
) -> LocalAnswer {
    let LocalAnswer(status) = status(agent, now);
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let verb = act.verb.name();
    LocalAnswer(
        json!({
            "schema": format!("ballast.agent_{verb}/v1"),
            "host": agent.config.host,
            "ok": holds,
            "changed": changed,
            "detail": words,
            "generation": status["generation"],
            "digest": status["digest"],
            "pinned": status["pinned"],
            "frozen": status["frozen"],
            "status": status,
        })
        .to_string(),
    )
}

fn hold(hold: Option<&Hold>) -> Value {
    hold.map_or(Value::Null, |hold| {
        json!({
            "by": hold.by,
            "reason": hold.reason,
            "since": wire::time::rfc3339(hold.since_unix_ms),
            "since_unix_ms": hold.since_unix_ms,
        })
    })
}

/// How the host stands, in one line, for the service manager.
pub(crate) fn line(agent: &Agent) -> String {
    let controller = match agent.controller.filter(|_| agent.connected) {
        Some(id) => format!("controller {id}"),
        None => "no controller".to_string(),
    };
    let Some(running) = &agent.ledger.running else { return format!("no program yet; {controller}") };
    let ObjectCounts { installed, pending, refused } = agent.found.counts();
    let held = [(&agent.ledger.pin, "pinned; "), (&agent.ledger.freeze, "frozen; ")];
    let held: String = held.iter().filter(|(hold, _)| hold.is_some()).map(|(_, word)| *word).collect();
    format!(
        "{held}generation {}, revision {}: {installed} installed, {pending} pending, {refused} refused; {controller}",
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
