//! `ballast-agent why PREFIX`: all that the agent knows of one destination, from the file's line to the kernel's route.
//! Only looks.

use crate::core::event::{LocalAnswer, Millis};
use crate::core::report;
use crate::core::session::Agent;
use crate::core::way::Way;
use ipnetwork::IpNetwork;
use plan::objects::RouteKey;
use plan::program::ClassId;
use serde_json::{Value, json};
use wire::ledger::Kept;

/// A destination as a person writes it: an address or a prefix.
///
/// # Errors
/// It is neither, in words.
pub fn destination(text: &str) -> Result<IpNetwork, String> {
    text.parse::<IpNetwork>().map_err(|_| {
        format!("`{text}` is neither an address nor a prefix: write it as in 10.1.0.0/24 or 2001:db8::1")
    })
}

/// The whole answer. `way` is how the kernel sends a packet to `asked` now.
pub(crate) fn answer(agent: &Agent, now: Millis, asked: IpNetwork, way: &Way) -> LocalAnswer {
    let running = agent.ledger.running.as_ref();
    let entry = running.and_then(|kept| entry(kept, asked));
    let part = match (running, entry) {
        (None, _) => json!({"detail": "this host runs no program yet"}),
        (Some(_), None) => json!({"detail": "the program in force says nothing of it"}),
        (Some(kept), Some((prefix, class))) => part(agent, kept, prefix, class),
    };
    let mut document = json!({
        "schema": "ballast.agent_why/v1",
        "host": agent.config.host,
        "asked": asked.to_string(),
        "generation": running.map(|kept| kept.generation.to_string()),
        "revision": running.map(|kept| kept.revision),
        "prefix": null, "class": null, "origin": null, "routes": [], "detail": "",
        "overlay": report::repairs(agent, now),
        "kernel": way.json(asked.ip()),
        "pinned": agent.ledger.pin.is_some(),
        "frozen": agent.ledger.freeze.is_some(),
    });
    if let (Some(all), Some(part)) = (document.as_object_mut(), part.as_object()) {
        all.extend(part.clone());
    }
    LocalAnswer(document.to_string())
}

/// The table's entry for exactly this prefix, else the longest one around it.
fn entry(kept: &Kept, asked: IpNetwork) -> Option<(IpNetwork, ClassId)> {
    let address = asked.ip();
    let longest = if address.is_ipv4() { 32 } else { 128 };
    // Without a length of its own an address stands for whatever holds it.
    let from = asked.prefix().min(longest);
    (0..=from).rev().find_map(|length| {
        let network = IpNetwork::new(address, length).ok()?;
        let prefix = IpNetwork::new(network.network(), length).ok()?;
        kept.table.class_of(&prefix).map(|class| (prefix, class))
    })
}

/// What the program says of one prefix.
fn part(agent: &Agent, kept: &Kept, prefix: IpNetwork, class: ClassId) -> Value {
    let place = kept.table.classes.iter().position(|known| known.id == class);
    let origin = place.and_then(|at| kept.origin.place(at));
    let routes: Vec<Value> = (kept.program.class_routes(class).iter())
        .map(|route| {
            let key = RouteKey { table: route.table, prefix, metric: route.metric };
            let (state, reason) = agent.state_of(&key);
            json!({
                "metric": route.metric,
                "table": route.table,
                "group": route.group,
                "kind": if route.metric == plan::program::METRIC_PRIMARY { "primary" } else { "backup" },
                "state": state,
                "reason": reason,
                "next_hops": next_hops(agent, kept, route.group),
            })
        })
        .collect();
    let detail = if routes.is_empty() { "it ends at this host, or cannot be reached from here" } else { "" };
    json!({
        "prefix": prefix.to_string(),
        "class": kept.table.class_name(class),
        "origin": {
            "file": origin.map(|(file, _)| file),
            "line": origin.map(|(_, line)| line),
            "change": (kept.origin.change > 0).then_some(kept.origin.change),
        },
        "routes": routes,
        "detail": detail,
    })
}

fn next_hops(agent: &Agent, kept: &Kept, group: u32) -> Vec<Value> {
    let members = kept.program.group(group).map_or(&[][..], |group| &group.members);
    (members.iter())
        .filter_map(|member| {
            let nexthop = kept.program.nexthop(member.nexthop)?;
            let link = agent.links.get(&nexthop.interface);
            Some(json!({
                "nexthop": nexthop.id,
                "weight": member.weight,
                "interface": nexthop.interface,
                "gateway": nexthop.gateway.to_string(),
                "link": match link {
                    None => "there is no such interface",
                    Some(link) if !link.up => "set down",
                    Some(link) if !link.carrier => "no carrier",
                    Some(_) => "up",
                },
            }))
        })
        .collect()
}
