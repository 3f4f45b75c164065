//! The local command's answers for a person; the JSON documents hold the same and more.

use serde_json::Value;

/// Indented JSON.
pub(crate) fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default()
}

/// The answer to one verb.
pub(crate) fn human(verb: &str, document: &Value) -> String {
    match verb {
        "status" => status(document),
        "why" => why(document),
        "dump" => pretty(document),
        _ => act(document),
    }
}

fn word(document: &Value, key: &str) -> String {
    match &document[key] {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn short(document: &Value, key: &str) -> String {
    word(document, key).chars().take(12).collect()
}

/// What is in force, whether the kernel holds it, what is missing and why, and what holds the host.
fn status(status: &Value) -> String {
    let whole = status["digest"] == status["effective_digest"];
    let (program, digest) = (
        format!("generation {} revision {}", word(status, "generation"), word(status, "revision")),
        short(status, "digest"),
    );
    let mut lines = vec![
        format!("host         {}", word(status, "host")),
        format!("program      {program} digest {digest}"),
        format!("kernel       {}", if whole { "holds all of it" } else { "differs, see below" }),
        format!("confirmed    {}", word(status, "confirmed")),
    ];
    if status["unconfirmed"] == true {
        let left = status["reverts_in_ms"]
            .as_u64()
            .map_or_else(|| "when it is unfrozen".to_string(), |left| format!("in {left} ms"));
        lines.push(format!(
            "on trial     goes back to {} {left} unless a controller answers",
            word(status, "previous")
        ));
    }
    if let Some(reverted) = status["reverted"].as_object() {
        let text = |key: &str| reverted.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        lines.push(format!("went back    from generation {}: {}", text("generation"), text("reason")));
    }
    for (key, name) in [("pin", "pinned"), ("freeze", "frozen")] {
        if status[key].is_object() {
            let hold = &status[key];
            let reason = Some(word(hold, "reason")).filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| "no reason given".to_string());
            lines.push(format!("{name:<12} by {} since {}: {reason}", word(hold, "by"), word(hold, "since")));
        }
    }
    let connected = status["connected"] == true;
    lines.push(format!(
        "controller   {}",
        if connected { word(status, "controller") } else { "none connected".to_string() }
    ));
    let objects = &status["objects"];
    lines.push(format!(
        "objects      {} installed, {} pending, {} refused",
        objects["installed"], objects["pending"], objects["refused"]
    ));
    lines.push(format!("liveness     {}", neighbours(&status["liveness"])));
    let (age, writes) = (word(status, "applied_age_ms"), word(status, "writes_total"));
    lines.push(format!("last look    {age} ms ago, {writes} writes since the agent started"));
    if status["ledger"]["error"].is_string() {
        let behind =
            if status["ledger"]["saved"] == false { ", what is in force is not on disk" } else { "" };
        lines.push(format!("ledger       cannot be written: {}{behind}", word(&status["ledger"], "error")));
    }
    for kind in ["refused", "pending"] {
        for waiting in status[kind].as_array().into_iter().flatten() {
            lines.push(format!("{kind:<12} {}: {}", word(waiting, "object"), word(waiting, "reason")));
        }
    }
    let warned = status["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
    lines.extend(warned.then(|| warnings(status)));
    lines.join("\n")
}

/// Neighbours for a person: how many are alive, which are dead, which are not known.
fn neighbours(liveness: &Value) -> String {
    if liveness["process"] == "not used" {
        return "not used: the agent was started without --liveness-socket".to_string();
    }
    let known = liveness["neighbours"].as_object();
    let with = |alive: bool| known.into_iter().flatten().filter(move |(_, is)| **is == alive);
    let names = |names: Vec<String>| {
        if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
    };
    let dead: Vec<String> = with(false).map(|(interface, _)| interface.clone()).collect();
    if liveness["process"] == "silent" {
        let why = word(liveness, "why");
        return format!(
            "ballast-liveness does not answer ({why}); {} known to be dead{}",
            dead.len(),
            names(dead)
        );
    }
    let sessions = liveness["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unknown = sessions
        .iter()
        .filter(|session| session["alive"].is_null())
        .map(|session| word(session, "interface"));
    let unknown: Vec<String> = unknown.filter(|name| !dead.contains(name)).collect();
    let alive = with(true).count();
    format!("{alive} alive, {} dead{}, {} unknown{}", dead.len(), names(dead), unknown.len(), names(unknown))
}

/// Warnings for a person: what it is, what it does, what to change.
pub(crate) fn warnings(document: &Value) -> String {
    let warnings = document["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |warning: &Value| {
        let [name, words, setting] = ["name", "text", "setting"].map(|key| word(warning, key));
        format!("warning      {name}: {words}\n  to change  {setting}")
    };
    match warnings {
        [] => "nothing on this host gets into the way of Ballast's routes".to_string(),
        some => some.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// A destination from the file's line to the kernel's route.
fn why(why: &Value) -> String {
    let mut lines = vec![format!("asked        {} on {}", word(why, "asked"), word(why, "host"))];
    lines.push(format!(
        "program      generation {} revision {}",
        word(why, "generation"),
        word(why, "revision")
    ));
    if why["prefix"].is_string() {
        lines.push(format!("prefix       {} of {}", word(why, "prefix"), word(why, "class")));
    }
    let origin = &why["origin"];
    if origin.is_object() {
        let place = match origin["file"].as_str() {
            Some(file) => format!("{file}:{}", origin["line"]),
            None => "not told by the controllers".to_string(),
        };
        let change =
            origin["change"].as_u64().map_or_else(String::new, |change| format!(", change {change}"));
        lines.push(format!("origin       {place}{change}"));
    }
    for route in why["routes"].as_array().into_iter().flatten() {
        let reason = Some(word(route, "reason")).filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let group = route["group"].as_u64().unwrap_or(0);
        lines.push(format!(
            "{:<12} metric {} by group {group:#x}, {}{reason}",
            word(route, "kind"),
            route["metric"],
            word(route, "state")
        ));
        for hop in route["next_hops"].as_array().into_iter().flatten() {
            lines.push(format!(
                "             {} on {} (weight {}, link {})",
                word(hop, "gateway"),
                word(hop, "interface"),
                hop["weight"],
                word(hop, "link")
            ));
        }
    }
    for repair in why["overlay"].as_array().into_iter().flatten() {
        lines.push(format!(
            "repaired     {}",
            repair.as_str().map_or_else(|| repair.to_string(), str::to_string)
        ));
    }
    lines.push(format!("kernel now   {}", kernel(&why["kernel"])));
    for (key, words) in [("pinned", "the host is pinned"), ("frozen", "the host is frozen")] {
        if why[key] == true {
            lines.push(format!("{key:<12} {words}: see `ballast-agent status`"));
        }
    }
    let detail = word(why, "detail");
    if !detail.is_empty() && detail != "none" {
        lines.push(format!("note         {detail}"));
    }
    lines.join("\n")
}

fn kernel(kernel: &Value) -> String {
    let route = &kernel["route"];
    if !route.is_object() {
        return format!("a packet to {}: {}", word(kernel, "address"), word(kernel, "detail"));
    }
    let owner = if route["ours"] == true {
        "Ballast's".to_string()
    } else {
        format!("somebody else's (protocol {})", route["protocol"])
    };
    let to = match (route["gateway"].as_str(), route["interface"].as_str()) {
        (Some(gateway), Some(interface)) => format!("to {gateway} on {interface}"),
        (None, Some(interface)) => format!("on {interface}"),
        _ => "to a next hop that the kernel does not name".to_string(),
    };
    format!(
        "a packet to {} goes {to}, by {owner} route {} metric {} in table {}",
        word(kernel, "address"),
        word(route, "prefix"),
        route["metric"],
        route["table"]
    )
}

fn act(answer: &Value) -> String {
    let detail = word(answer, "detail");
    let detail = if answer["ok"] == false { format!("no: {detail}") } else { detail };
    format!("{detail}\n\n{}", status(&answer["status"]))
}
