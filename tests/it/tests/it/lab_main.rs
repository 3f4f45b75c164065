//! Behaviours a to h of docs/tests.md: real processes, real kernels, judged by packets, `ip -j` and a tracer.
//!
//! Each test makes its own lab. Each zero has its positive control in the same run.

use anyhow::{Result, ensure};
use it::bed::{Bed, PATIENCE, pairs_in, sample, wait};
use it::may_make_namespaces;
use it::tracer::{Tracer, Writes};
use std::time::{Duration, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A topology text with one more prefix at a node: a change that moves no path.
fn with_prefix(text: &str, node: &str, prefix: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.trim_start().starts_with(&format!("{node}:")) {
            line.replacen("prefixes: [", &format!("prefixes: [{prefix}, "), 1)
        } else {
            line.to_string()
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Attaches a tracer to every agent.
fn trace_all(bed: &Bed) -> Result<Vec<(String, Tracer)>> {
    bed.hosts().into_iter().map(|host| Ok((host.clone(), Tracer::attach(bed.agent_pid(&host)?)?))).collect()
}

/// Detaches all tracers and adds up.
fn count_all(tracers: Vec<(String, Tracer)>) -> Result<Vec<(String, Writes)>> {
    tracers.into_iter().map(|(host, tracer)| Ok((host, tracer.stop()?))).collect()
}

fn total(counted: &[(String, Writes)]) -> usize {
    counted.iter().map(|(_, writes)| writes.total()).sum()
}

#[test]
fn lab_a_all_pairs_answer_in_both_families() -> Result<()> {
    if !may_make_namespaces("a") {
        return Ok(());
    }
    let bed = Bed::up(&sample("abilene.yaml")?)?;
    assert_eq!(pairs_in(bed.document()), ((110, 110), (110, 110)));
    // The two ends of a link have different interface indexes: equal ones delay carrier events.
    let index = |host: &str, interface: &str| -> Result<u64> {
        let links = bed.ip(host, &format!("link show dev {interface}"))?;
        Ok(links[0]["ifindex"].as_u64().unwrap_or(0))
    };
    let links = bed.json(&["links"])?;
    for link in links["links"].as_array().into_iter().flatten() {
        let id = link["id"].as_str().unwrap_or_default();
        let ends: Vec<(&str, &str)> = id.split("--").filter_map(|end| end.split_once(':')).collect();
        ensure!(ends.len() == 2, "link id {id}");
        assert_ne!(index(ends[0].0, ends[0].1)?, index(ends[1].0, ends[1].1)?, "{id}");
    }
    // What kernels hold is what `ballast program` says, offline and online alike.
    for host in bed.hosts() {
        let program = bed.json(&["program", &host])?;
        let routes = program["routes"].as_array().map_or(0, Vec::len);
        assert_eq!(bed.routes(&host)?.len(), routes, "{host}");
        assert_eq!(bed.agent_status(&host)?["digest"], program["digest"], "{host}");
    }
    // The ping sees a loss that was made on purpose: the question one way, the answer the other way.
    let hole = format!("route add blackhole {} metric 1", bed.loopback("newyork", false)?);
    bed.ip("seattle", &hole)?;
    assert_eq!(bed.pairs()?, ((108, 110), (110, 110)));
    Ok(())
}

/// Digests of the programs in force on all hosts.
fn digests(bed: &Bed) -> Result<Vec<String>> {
    bed.hosts().iter().map(|host| Ok(bed.agent_status(host)?["digest"].to_string())).collect()
}

/// Whether denver reaches kansas directly.
fn direct(bed: &Bed) -> Result<bool> {
    let paths = bed.json(&["path", "denver", "kansas"])?;
    Ok(paths["paths"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|path| path["hops"].as_array().map_or(0, Vec::len) == 2))
}

const CROSSING: [(&str, &str); 3] = [("denver", "kansas"), ("kansas", "denver"), ("seattle", "newyork")];

#[test]
fn lab_b_a_cut_link_is_routed_around_and_its_return_brings_every_program_back() -> Result<()> {
    if !may_make_namespaces("b") {
        return Ok(());
    }
    let bed = Bed::up(&sample("abilene.yaml")?)?;
    let links = bed.json(&["links"])?;
    let known = links["links"].as_array().into_iter().flatten().filter_map(|link| link["id"].as_str());
    let link = known.into_iter().find(|id| id.starts_with("denver:") && id.contains("--kansas:"));
    let link = link.ok_or_else(|| anyhow::anyhow!("abilene has a link denver--kansas"))?.to_string();
    let before = digests(&bed)?;
    ensure!(direct(&bed)?, "denver reaches kansas directly");
    cut_and_see(&bed, &link)?;
    mend_and_see(&bed, &link, &before)?;
    // Positive control: the probes see a hole that is made on purpose.
    let probes = bed.probes(&[("denver", "kansas")], MILLISECOND)?;
    std::thread::sleep(Duration::from_millis(100));
    bed.ip("denver", &format!("route add blackhole {} metric 1", bed.loopback("kansas", false)?))?;
    std::thread::sleep(Duration::from_millis(100));
    ensure!(probes.stop()?.lost() > 10, "the probes see a loss that was made on purpose");
    Ok(())
}

/// Loss on the cut is measured; fact, change, programs, kernels and packets are as they should be.
fn cut_and_see(bed: &Bed, link: &str) -> Result<()> {
    // Carrier events of veth pairs come late within two seconds after the link was set up.
    std::thread::sleep(seconds(2));
    let probes = bed.probes(&CROSSING, MILLISECOND)?;
    std::thread::sleep(Duration::from_millis(300));
    bed.lab(&["cut", link])?;
    wait("the fact", PATIENCE, || Ok(bed.json(&["status"])?["links_down"][0] == link))?;
    wait("every host current", PATIENCE, || {
        let hosts = bed.json(&["hosts"])?;
        let all = hosts["hosts"].as_array().cloned().unwrap_or_default();
        Ok(all
            .iter()
            .all(|h| h["generation"] == h["assigned_generation"] && h["digest"] == h["assigned_digest"]))
    })?;
    std::thread::sleep(Duration::from_millis(300));
    let report = probes.stop()?;
    println!("link cut: {} of {} packets lost\n{}", report.lost(), report.sent(), report.losses());
    ensure!(report.sent() > 3_000, "the probes ran");
    for pair in &report.pairs {
        let longest = pair.lost.iter().map(|run| run.packets).max().unwrap_or(0);
        ensure!(longest <= 500, "{longest} ms dark between {} and {}", pair.pair.from, pair.pair.to);
    }
    ensure!(!direct(bed)?, "the path avoids the cut link");
    assert_eq!(bed.pairs()?, ((110, 110), (110, 110)), "with the link cut");
    let newest = &bed.json(&["history"])?["changes"][0];
    assert_eq!((&newest["kind"], &newest["state"]), (&"failure".into(), &"done".into()));
    let interface = link.split("--").next().and_then(|end| end.split(':').nth(1)).unwrap_or_default();
    let nexthops = bed.ip("denver", "nexthop show")?;
    let on_link =
        nexthops.as_array().into_iter().flatten().filter(|nexthop| nexthop["dev"] == interface).count();
    assert_eq!(on_link, 0, "the kernel holds no nexthop on the cut link");
    Ok(())
}

/// The return brings every program back, in steps. What is lost is measured (`scripts/bench convergence` demands 0) and bounded: a
/// machine that keeps a host waiting for longer than a step waits may let packets turn round.
fn mend_and_see(bed: &Bed, link: &str, before: &[String]) -> Result<()> {
    let probes = bed.probes(&CROSSING, MILLISECOND)?;
    std::thread::sleep(Duration::from_millis(300));
    bed.lab(&["mend", link])?;
    let facts = || Ok(bed.json(&["status"])?["links_down"].as_array().is_some_and(Vec::is_empty));
    wait("no fact", PATIENCE, facts)?;
    wait("the programs of before", PATIENCE, || Ok(digests(bed)? == before))?;
    std::thread::sleep(Duration::from_millis(500));
    let report = probes.stop()?;
    println!("link mended: {} of {} packets lost\n{}", report.lost(), report.sent(), report.losses());
    for pair in &report.pairs {
        let longest = pair.lost.iter().map(|run| run.packets).max().unwrap_or(0);
        ensure!(longest <= 200, "{longest} ms dark between {} and {}", pair.pair.from, pair.pair.to);
    }
    ensure!(direct(bed)?, "denver reaches kansas directly again");
    let newest = &bed.json(&["history"])?["changes"][0];
    let change = bed.json(&["show", &newest["change"].to_string()])?;
    let steps = change["steps"].as_array().map_or(0, Vec::len);
    ensure!(steps > 1, "hosts take the link into use one after the other: {change}");
    Ok(())
}

#[test]
fn lab_c_a_killed_leader_loses_no_packet_and_a_change_right_after_is_in_all_kernels() -> Result<()> {
    if !may_make_namespaces("c") {
        return Ok(());
    }
    let text = sample("abilene.yaml")?;
    let bed = Bed::up(&text)?;
    let pairs =
        [("seattle", "newyork"), ("newyork", "losangeles"), ("atlanta", "denver"), ("houston", "chicago")];
    let leader = bed.leader()?;
    let file = bed.file("more.yaml", &with_prefix(&text, "seattle", "10.77.0.0/24"))?;
    let probes = bed.probes(&pairs, MILLISECOND)?;
    std::thread::sleep(Duration::from_millis(500));
    bed.lab(&["kill", &leader])?;
    let killed = Instant::now();
    let applied = bed.json(&["apply", &file, "--reason", "one more prefix", "--wait"])?;
    wait("the prefix in every kernel", PATIENCE, || {
        for host in bed.hosts().iter().filter(|host| *host != "seattle") {
            if !bed.routes(host)?.iter().any(|route| route.contains("10.77.0.0/24")) {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    println!(
        "leader {leader} killed; the change was in all kernels {} ms later",
        killed.elapsed().as_millis()
    );
    assert_eq!(applied["state"], "done");
    std::thread::sleep(Duration::from_millis(500));
    bed.ip("seattle", &format!("route add blackhole {} metric 1", bed.loopback("newyork", false)?))?;
    std::thread::sleep(Duration::from_millis(200));
    let hole_after = Instant::now();
    let report = probes.stop()?;
    let holed =
        |pair: &lab::probe::PairReport| pair.pair.from_netns.ends_with("seattle") && pair.pair.from.is_ipv4();
    for pair in &report.pairs {
        if holed(pair) {
            let first = pair.lost.first().map(|run| report.began + run.after);
            ensure!(
                first.is_some_and(|at| at + Duration::from_millis(400) > hole_after),
                "{}",
                report.losses()
            );
            ensure!(pair.lost_packets() > 50, "the probes see a loss that was made on purpose");
        } else {
            assert_eq!(pair.lost_packets(), 0, "{}", report.losses());
        }
    }
    Ok(())
}

#[test]
fn lab_d_with_all_controllers_gone_agents_restart_and_a_wiped_host_comes_back_from_its_ledger() -> Result<()>
{
    if !may_make_namespaces("d") {
        return Ok(());
    }
    let bed = Bed::up(&sample("abilene.yaml")?)?;
    let wiped = "losangeles";
    // No shortest path of these pairs crosses the wiped host.
    let pairs =
        [("seattle", "newyork"), ("newyork", "chicago"), ("atlanta", "houston"), ("denver", "indianapolis")];
    for (from, to) in pairs {
        let paths = bed.json(&["path", from, to])?;
        ensure!(!paths["paths"].to_string().contains(wiped), "{from} to {to} crosses {wiped}");
    }
    let routes = bed.routes(wiped)?;
    ensure!(routes.len() > 20, "{wiped} has routes");
    let probes = bed.probes(&pairs, MILLISECOND)?;
    let victim = bed.probes(&[(wiped, "seattle")], MILLISECOND)?;
    for controller in ["c1", "c2", "c3"] {
        bed.lab(&["kill", controller])?;
    }
    for host in bed.hosts().iter().filter(|host| *host != wiped) {
        bed.lab(&["kill", host])?;
        bed.lab(&["start", host])?;
    }
    bed.lab(&["kill", wiped])?;
    for family in ["-4", "-6"] {
        bed.ip(wiped, &format!("{family} route flush proto 91"))?;
    }
    assert_eq!(bed.routes(wiped)?.len(), 0, "wiped");
    std::thread::sleep(Duration::from_millis(50));
    bed.lab(&["start", wiped])?;
    if let Err(why) = wait("the routes of before", PATIENCE, || Ok(bed.routes(wiped)? == routes)) {
        anyhow::bail!(
            "{why}: {} of {} routes, {}",
            bed.routes(wiped)?.len(),
            routes.len(),
            bed.agent_status(wiped)?
        );
    }
    let status = bed.agent_status(wiped)?;
    assert_eq!(status["digest"], status["effective_digest"], "the ledger's program is in force");
    std::thread::sleep(Duration::from_millis(300));
    let report = probes.stop()?;
    assert_eq!(report.lost(), 0, "{}", report.losses());
    ensure!(victim.stop()?.lost() > 10, "the probes see the wiped host's own loss");
    Ok(())
}

#[test]
fn lab_e_an_empty_or_gutted_topology_is_refused_and_nothing_is_written() -> Result<()> {
    if !may_make_namespaces("e") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let bed = Bed::up(&text)?;
    let empty = bed.file("empty.yaml", "")?;
    let hollow = "version: 1\nname: triangle\nnodes:\n  x: {}\n";
    let gutted = bed.file("gutted.yaml", hollow)?;
    let some_gone: String = text.lines().map(|line| without_prefixes(line) + "\n").collect();
    let thinned = bed.file("thinned.yaml", &some_gone)?;
    let tracers = trace_all(&bed)?;

    let refused = bed.ballast(&["apply", &empty, "--reason", "a template went wrong", "--json"])?;
    assert_eq!(refused.status.code(), Some(1), "an empty file is invalid");
    for file in [&gutted, &thinned] {
        let refused = bed.ballast(&["apply", file, "--reason", "a template went wrong", "--json"])?;
        assert_eq!(refused.status.code(), Some(3), "{file}: {}", String::from_utf8_lossy(&refused.stderr));
        let document: serde_json::Value = serde_json::from_slice(&refused.stdout)?;
        let named = document["guard"]["name"].as_str().unwrap_or_default();
        let guards = ["max_prefixes_lost", "every_prefix_gone", "every_node_gone"];
        ensure!(guards.contains(&named), "{file} is refused by {document}");
        ensure!(document["guard"]["value"].as_u64() > document["guard"]["limit"].as_u64(), "{document}");
    }
    assert_eq!(bed.json(&["status"])?["revision"], 1);
    std::thread::sleep(seconds(1));
    let counted = count_all(tracers)?;
    assert_eq!(total(&counted), 0, "{counted:?}");

    let tracers = trace_all(&bed)?;
    let more = bed.file("more.yaml", &with_prefix(&text, "a", "10.77.0.0/24"))?;
    bed.json(&["apply", &more, "--reason", "positive control", "--wait"])?;
    ensure!(total(&count_all(tracers)?) >= 2, "the tracer sees the writes of a change");
    Ok(())
}

/// The line of a node without its prefixes.
fn without_prefixes(line: &str) -> String {
    match (line.find("prefixes: ["), line.find(']')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}prefixes: []{}", &line[..start], &line[end + 1..])
        }
        _ => line.to_string(),
    }
}

#[test]
fn lab_f_the_same_topology_twice_writes_nothing() -> Result<()> {
    if !may_make_namespaces("f") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let bed = Bed::up(&text)?;
    let tracers = trace_all(&bed)?;
    let same = bed.file("same.yaml", &text)?;
    let shuffled: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let comment =
        bed.file("comment.yaml", &format!("# another comment\n# and one more\n\n{}\n", shuffled.join("\n")))?;
    for file in [&same, &comment] {
        let applied = bed.json(&["apply", file, "--reason", "nothing new", "--wait"])?;
        assert_eq!((&applied["state"], &applied["writes"]), (&"done".into(), &0.into()), "{applied}");
    }
    std::thread::sleep(seconds(1));
    let counted = count_all(tracers)?;
    assert_eq!(total(&counted), 0, "{counted:?}");

    let tracers = trace_all(&bed)?;
    let more = bed.file("more.yaml", &with_prefix(&text, "a", "10.77.0.0/24"))?;
    let applied = bed.json(&["apply", &more, "--reason", "positive control", "--wait"])?;
    let counted = total(&count_all(tracers)?);
    ensure!(counted >= 2, "the tracer sees the writes of a change");
    assert_eq!(applied["writes"].as_u64(), Some(counted as u64), "agents report what the tracer counts");
    Ok(())
}

#[test]
fn lab_g_foreign_objects_survive_everything() -> Result<()> {
    if !may_make_namespaces("g") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let bed = Bed::up(&text)?;
    let (host, far) = ("a", bed.loopback("b", false)?);
    for object in [
        "route add 198.51.100.0/24 dev eth1 metric 50 proto static",
        "route add 2001:db8:ffff::/48 dev eth1 metric 50 proto static",
        "rule add pref 5000 from 203.0.113.0/24 lookup 100",
        "nexthop add id 77 dev eth1 proto static",
        "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth1 nud permanent",
    ] {
        bed.ip(host, object)?;
    }
    let foreign = |bed: &Bed| -> Result<Vec<serde_json::Value>> {
        let shown = [
            "-4 route show proto static",
            "-6 route show proto static",
            "rule show pref 5000",
            "nexthop show id 77",
            "neigh show 192.0.2.9",
        ];
        shown.iter().map(|what| bed.ip(host, what)).collect()
    };
    let before = foreign(&bed)?;
    ensure!(before.iter().all(|objects| objects.as_array().is_some_and(|all| !all.is_empty())), "{before:?}");
    let more = bed.file("more.yaml", &with_prefix(&text, "b", "10.77.0.0/24"))?;
    let back = bed
        .file("back.yaml", &text.replace("max_hosts_per_step", "max_prefixes_lost: 1, max_hosts_per_step"))?;
    bed.json(&["apply", &more, "--reason", "more", "--wait"])?;
    bed.json(&["apply", &back, "--reason", "back", "--wait"])?;
    bed.lab(&["kill", host])?;
    bed.ip(host, "-4 route flush proto 91")?;
    bed.lab(&["start", host])?;
    wait("our routes are back", PATIENCE, || {
        Ok(bed.routes(host)?.iter().any(|route| route.contains(&far.to_string())))
    })?;
    for controller in ["c1", "c2", "c3"] {
        bed.lab(&["kill", controller])?;
        bed.lab(&["start", controller])?;
    }
    bed.wait_current(3, PATIENCE)?;
    assert_eq!(foreign(&bed)?, before);
    // Positive control: what is compared does change when somebody takes an object away.
    bed.ip(host, "rule del pref 5000")?;
    assert_ne!(foreign(&bed)?, before);
    Ok(())
}

#[test]
fn lab_h_an_agent_restart_writes_nothing() -> Result<()> {
    if !may_make_namespaces("h") {
        return Ok(());
    }
    let bed = Bed::up(&sample("triangle.yaml")?)?;
    let host = "b";
    let (routes, digest) = (bed.routes(host)?, bed.agent_status(host)?["digest"].clone());
    let restart = |bed: &Bed| -> Result<Writes> {
        let words = bed.lab_command(&["start", host])?;
        let tracer = Tracer::launch(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        wait("the agent is back and connected", PATIENCE, || {
            let status = bed.agent_status(host)?;
            let view = bed.json(&["hosts"])?;
            let all = view["hosts"].as_array().cloned().unwrap_or_default();
            let seen = all
                .iter()
                .any(|h| h["name"] == host && h["connected"] == true && h["effective_digest"] == digest);
            Ok(status["digest"] == digest && status["effective_digest"] == digest && seen)
        })?;
        std::thread::sleep(Duration::from_millis(500));
        tracer.stop()
    };
    bed.lab(&["kill", host])?;
    let writes = restart(&bed)?;
    assert_eq!(writes.total(), 0, "{writes:?}");
    assert_eq!(bed.routes(host)?, routes);
    assert_eq!(bed.agent_status(host)?["writes_total"], 0);

    bed.lab(&["kill", host])?;
    bed.ip(host, "-4 route flush proto 91")?;
    let writes = restart(&bed)?;
    ensure!(writes.total() > 0, "the tracer sees the repair of wiped routes");
    assert_eq!(bed.routes(host)?, routes);
    Ok(())
}
