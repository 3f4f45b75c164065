//! In-band management with real processes and packets: hosts begin with programs that were delivered to them, and are reached
//! over what they forward by.

use anyhow::{Context, Result, ensure};
use it::bed::{Bed, PATIENCE, pairs_in, sample, wait};
use it::may_make_namespaces;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Every host has a session and runs what it is assigned.
fn current(bed: &Bed) -> Result<bool> {
    let hosts = bed.json(&["hosts"])?;
    let all = hosts["hosts"].as_array().cloned().unwrap_or_default();
    Ok(all.len() == 6
        && all.iter().all(|host| {
            host["connected"] == true
                && host["generation"] == host["assigned_generation"]
                && host["digest"] == host["assigned_digest"]
        }))
}

fn whole(bed: &Bed, when: &str) -> Result<()> {
    assert_eq!(bed.pairs()?, ((30, 30), (30, 30)), "{when}");
    Ok(())
}

/// The link by which a host sends to the controller that has its session.
fn session_link(bed: &Bed, host: &str) -> Result<String> {
    let number = bed.agent_status(host)?["controller"].as_u64().context("a session")?;
    let way = bed.ip(host, &format!("route get 10.250.0.{}", 2 * number - 1))?;
    let interface = way[0]["dev"].as_str().context("an interface")?;
    let links = bed.json(&["links"])?;
    let ids = links["links"].as_array().into_iter().flatten().filter_map(|link| link["id"].as_str());
    let end = format!("{host}:{interface}");
    let link = ids.into_iter().find(|id| id.split("--").any(|one| one == end));
    Ok(link.with_context(|| format!("no link at {end}"))?.to_string())
}

#[test]
fn lab_in_band_hosts_are_reached_over_what_they_forward_by() -> Result<()> {
    if !may_make_namespaces("in-band") {
        return Ok(());
    }
    let text = sample("metro.yaml")?;
    let bed = Bed::up(&text)?;
    assert_eq!(pairs_in(bed.document()), ((30, 30), (30, 30)));
    assert_eq!(bed.document()["management"], "in_band");
    // There is no other way to a controller: hosts have their links, and three of them a port.
    for host in bed.hosts() {
        let links = bed.ip(&host, "link show")?;
        let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
        let strange: Vec<&str> =
            names.filter(|name| !name.starts_with("eth") && !["lo", "ctl0"].contains(name)).collect();
        ensure!(strange.is_empty(), "{host} has {strange:?}");
    }
    // A change goes out over the network that it changes.
    let dearer = bed.file("dearer.yaml", &text.replacen("cost: 15", "cost: 25", 1))?;
    bed.json(&["apply", &dearer, "--reason", "a dearer link", "--wait"])?;
    wait("every host current", PATIENCE, || current(&bed))?;

    // The link of harbour's session goes: the kernel falls to the other way, and if the session is lost, it comes back by it.
    let link = session_link(&bed, "harbour")?;
    let probes = bed.probes(&[("harbour", "campus"), ("airport", "harbour")], Duration::from_millis(1))?;
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    bed.lab(&["cut", &link])?;
    wait("the fact", PATIENCE, || Ok(bed.json(&["status"])?["links_down"][0] == link.as_str()))?;
    wait("every host current without the link", PATIENCE, || current(&bed))?;
    println!("{link} cut: all hosts current after {} ms", began.elapsed().as_millis());
    let report = probes.stop()?;
    println!("{} of {} packets lost\n{}", report.lost(), report.sent(), report.losses());
    ensure!(session_link(&bed, "harbour")? != link, "the session avoids the cut link");
    whole(&bed, "with the link cut")?;
    let status = bed.json(&["status"])?;
    ensure!(status["leader"].as_u64().is_some(), "controllers keep their quorum: {status}");
    bed.lab(&["mend", &link])?;
    wait("every host current with the link", PATIENCE, || {
        Ok(bed.json(&["status"])?["links_down"].as_array().is_some_and(Vec::is_empty) && current(&bed)?)
    })?;
    cut_off(&bed)?;

    // Two of three controllers are enough.
    let leader = bed.leader()?;
    bed.lab(&["kill", &leader])?;
    let back = bed.file("back.yaml", &text)?;
    wait("a change without the old leader", PATIENCE, || {
        Ok(bed.json(&["apply", &back, "--reason", "as it was", "--wait"]).is_ok())
    })?;
    wait("every host current at the other controllers", PATIENCE, || current(&bed))?;
    bed.lab(&["start", &leader])?;
    whole(&bed, "at the end")
}

/// No controller answers harbour any more: it keeps forwarding, also over its agent's restart and its own.
fn cut_off(bed: &Bed) -> Result<()> {
    let netns = bed.netns("harbour")?;
    let nft = |script: &str| -> Result<()> {
        let status =
            std::process::Command::new("ip").args(["netns", "exec", &netns, "nft", script]).status()?;
        ensure!(status.success(), "nft {script}");
        Ok(())
    };
    let chain = "{ type filter hook output priority 0; }";
    nft(&format!(
        "add table inet test_cut_off; add chain inet test_cut_off out {chain}; add rule inet test_cut_off out tcp dport 7002 drop"
    ))?;
    let connected = |wanted: bool| {
        wait(&format!("harbour connected: {wanted}"), PATIENCE, || {
            let hosts = bed.json(&["hosts"])?;
            let all = hosts["hosts"].as_array().cloned().unwrap_or_default();
            Ok(all.iter().any(|host| host["name"] == "harbour" && host["connected"] == wanted))
        })
    };
    connected(false)?;
    whole(bed, "while harbour reaches no controller")?;
    bed.lab(&["kill", "harbour"])?;
    bed.lab(&["start", "harbour"])?;
    whole(bed, "after its agent's restart")?;
    bed.lab(&["reboot", "harbour"])?;
    wait("all pairs after the reboot, from its own disk", PATIENCE, || {
        Ok(bed.pairs()? == ((30, 30), (30, 30)))
    })?;
    // Positive control: the session was cut indeed, and nothing but that.
    assert_eq!(bed.agent_status("harbour")?["connected"], false);
    nft("delete table inet test_cut_off")?;
    connected(true)
}

#[test]
fn lab_in_band_a_change_that_cuts_a_host_off_is_refused_and_a_forced_one_comes_back() -> Result<()> {
    if !may_make_namespaces("in-band guard") {
        return Ok(());
    }
    let text = sample("metro.yaml")?
        .replace("max_hosts_per_step: 100%", "max_hosts_per_step: 1, confirm_within: 2s");
    let bed = Bed::up(&text)?;
    let alone: String = text
        .lines()
        .filter(|line| !(line.contains("endpoints") && line.contains("\"harbour:")))
        .map(|line| format!("{line}\n"))
        .collect();
    let alone = bed.file("alone.yaml", &alone)?;
    let judge = |words: &[&str]| -> Result<(Option<i32>, Value)> {
        let output = bed.ballast(words)?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)))
    };
    let (code, plan) = judge(&["plan", &alone, "--json"])?;
    assert_eq!((code, &plan["short_of_controllers"][0]), (Some(3), &"harbour".into()), "{plan}");
    let (code, refused) = judge(&["apply", &alone, "--reason", "a slip", "--json", "--wait"])?;
    assert_eq!((code, &refused["guard"]["name"]), (Some(3), &"too_few_controllers".into()), "{refused}");
    whole(&bed, "after the refusal")?;

    // Forced, it cuts harbour off, and harbour goes back by itself to what it reached a controller by.
    let key = bed.document()["operator_key_file"].as_str().context("a key")?.to_string();
    let forced = [
        "apply",
        &alone,
        "--reason",
        "on purpose",
        "--override",
        "too_few_controllers",
        "--override",
        "agent_max_routes_removed",
        "--key",
        &key,
        "--json",
    ];
    let (code, accepted) = judge(&forced)?;
    ensure!(code == Some(0), "{accepted}");
    // Positive control: for a while it has no route of ours.
    wait("harbour without routes", PATIENCE, || Ok(bed.routes("harbour")?.is_empty()))?;
    wait("harbour's routes again", PATIENCE, || Ok(bed.routes("harbour")?.len() > 20))?;
    wait("harbour's session again", PATIENCE, || Ok(bed.agent_status("harbour")?["connected"] == true))?;
    let status = bed.agent_status("harbour")?;
    let reason = status["reverted"]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("no controller answered"), "{status}");
    Ok(())
}
