//! Parts of the status that speak of objects: what waits for what, what was repaired, who fights.

use crate::core::event::Millis;
use crate::core::session::Agent;
use crate::core::states::Waitings;
use crate::core::work::mac_words;
use serde_json::{Value, json};

/// Objects of one state: the first of them, with what they wait for and when they are tried again.
pub(crate) fn waiting(agent: &Agent, all: &Waitings, now: Millis) -> Vec<Value> {
    let one = |waiting: &crate::core::states::Waiting| {
        let (kind, name) = waiting.on.words();
        let mut value =
            json!({"object": waiting.object, "reason": waiting.reason, "on": {"kind": kind, "name": name}});
        if let Some(refusal) = agent.refusals.of(&waiting.object) {
            value["attempts"] = json!(refusal.attempts);
            value["since_ms"] = json!(now.0.saturating_sub(refusal.since.0));
            value["again_in_ms"] = json!(refusal.again.0.saturating_sub(now.0));
        }
        value
    };
    all.iter().map(one).collect()
}

/// How many objects wait for what, in full.
pub(crate) fn waits(agent: &Agent) -> Vec<Value> {
    let all = agent.found.pending.by().iter().chain(agent.found.refused.by());
    let one = |(on, count): (&crate::core::states::On, &u64)| {
        let (kind, name) = on.words();
        json!({"kind": kind, "name": name, "objects": count})
    };
    all.map(one).collect()
}

/// What the agent changed by itself in force of the program.
pub(crate) fn repairs(agent: &Agent, now: Millis) -> Vec<Value> {
    let one = |(group, repair): (&u32, &crate::core::repair::Repair)| {
        let (since, reason) = agent.repaired_since.get(group).cloned().unwrap_or((now, String::new()));
        json!({
            "object": format!("group {group:#x}"),
            "repair": repair.words(),
            "reason": reason,
            "since_ms": now.0.saturating_sub(since.0),
        })
    };
    agent.overlay.iter().map(one).collect()
}

/// Foreign hands that do not let go, and interfaces that are not what they were.
pub(crate) fn alarms(agent: &Agent, now: Millis) -> Vec<Value> {
    let fight = |(object, fight): (&String, &crate::core::fights::Fight)| {
        json!({
            "kind": "fight",
            "object": object,
            "text": format!(
                "removed or changed {} times by {}: find the owner and stop it; next repair in {} ms",
                fight.times,
                fight.who.words(),
                fight.until.0.saturating_sub(now.0),
            ),
            "by": {"port": fight.who.port, "process": fight.who.process, "protocol": fight.who.protocol},
            "since_ms": now.0.saturating_sub(fight.since.0),
        })
    };
    let stranger = |(name, (first, last, since)): (&String, &([u8; 6], [u8; 6], Millis))| {
        let (first, last) = (mac_words(*first), mac_words(*last));
        json!({
            "kind": "interface_replaced",
            "object": format!("interface {name}"),
            "text": format!("had hardware address {first} and has {last} now: was the right interface replaced?"),
            "since_ms": now.0.saturating_sub(since.0),
        })
    };
    agent.fights.alarms(now).map(fight).chain(agent.strangers.iter().map(stranger)).collect()
}
