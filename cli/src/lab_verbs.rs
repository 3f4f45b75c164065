//! `ballast lab ...`: see docs/lab.md.

use crate::apply::watch;
use crate::arguments::{CutEnd, Lab as LabArguments, LabCut, LabUp, LabVerb, Management};
use crate::client::{Client, Put, encoded};
use crate::exit::{self, Done, Failure};
use crate::files::{text_of, topology_of};
use crate::output::{json, print, say};
use anyhow::Context;
use lab::echo::Reached;
use lab::{Binaries, End, Lab, Options};
use plan::program::{GROUP_IDS, NEXTHOP_IDS};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use topology::Topology;
use wire::rest::Change;

/// How long the first apply may take.
const FIRST_APPLY_MAX: Duration = Duration::from_secs(60);
/// Controllers of a lab, unless somebody says how many.
const CONTROLLERS: u64 = 3;
/// Largest network that is drawn as a matrix.
const MATRIX_MAX: usize = 16;

/// `ballast lab ...`.
pub(crate) fn run(arguments: &LabArguments) -> Done {
    let find = || Lab::find(arguments.run.as_deref()).map_err(Failure::from);
    let binaries = || Binaries::beside_this_program().map_err(Failure::from);
    match &arguments.verb {
        LabVerb::Up(up) => return lab_up(up),
        LabVerb::Status(format) => {
            let document = status_document(&find()?);
            if format.json { json(&document) } else { print(&status_text(&document)) }
        }
        LabVerb::Cut(cut) => lab_cut(&mut find()?, cut)?,
        LabVerb::Mend { link, format } => {
            let at_ns = now_ns();
            let link = find()?.mend(link)?;
            told(
                &json!({"schema": "ballast.lab_mend/v1", "link": link, "at_ns": at_ns}),
                format.json,
                &format!("{link} is mended"),
            );
        }
        LabVerb::Exec { host, command } => return exec(&find()?, host, command),
        LabVerb::Kill { id } => find()?.kill(id)?,
        LabVerb::Start { id } => find()?.start(id, &binaries()?)?,
        LabVerb::Reboot { host } => find()?.reboot(host, &binaries()?)?,
        LabVerb::Sync { file } => find()?.sync(&topology_of(file)?, &binaries()?)?,
        LabVerb::Ping(format) => return lab_ping(&find()?, format.json),
        LabVerb::Logs { tail } => print(&find()?.logs(*tail)),
        LabVerb::Env => {
            let lab = find()?;
            let lines = [
                format!("export BALLAST_URL={}", lab.urls().join(",")),
                format!("export BALLAST_CA={}", lab.ca_file().display()),
                format!("export BALLAST_TOKEN_FILE={}", lab.token_file().display()),
            ];
            print(&lines.join("\n"));
        }
        LabVerb::Down => down(arguments.run.as_deref())?,
        LabVerb::Sweep => {
            let swept = Lab::sweep()?;
            if swept > 0 {
                say(&format!("{swept} labs without an owner were taken down"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lab_up(arguments: &LabUp) -> Done {
    let Wanted { topology, controllers, text, amended } = wanted(arguments)?;
    if controllers.is_multiple_of(2) {
        return Err(Failure::new(
            exit::USAGE,
            "an even number of controllers survives no more than one less: give 1, 3 or 5",
        ));
    }
    let (hosts, links) = (topology.nodes.len(), topology.links.len());
    say(&format!("making {hosts} hosts, {links} links, {controllers} controllers"));
    let options = Options { controllers, owner_pid: arguments.owner_pid };
    let lab = Lab::up(&topology, &options, &Binaries::beside_this_program()?)?;
    if amended {
        let file = lab.topology_file();
        std::fs::write(&file, &text).with_context(|| file.display().to_string())?;
        say(&format!(
            "controllers are in the network: {} is what is applied; change that one",
            file.display()
        ));
    }
    match bring_up(&lab, arguments, &text, amended) {
        Ok(code) => Ok(code),
        Err(failure) => {
            say(&lab.logs(12));
            lab.down()?;
            Err(failure)
        }
    }
}

/// What a lab is made of.
struct Wanted {
    topology: Topology,
    controllers: u64,
    text: Vec<u8>,
    /// Whether the text says more than the file.
    amended: bool,
}

/// The file, with in-band management where the command line wants it and the file does not say it.
fn wanted(arguments: &LabUp) -> Result<Wanted, Failure> {
    let topology = topology_of(&arguments.file)?;
    let text = text_of(&arguments.file)?;
    let named = topology.controllers.len() as u64;
    let in_band = topology.management == topology::Management::InBand;
    let usage = |message: &str| Err(Failure::new(exit::USAGE, message));
    match (arguments.management, in_band) {
        (Some(Management::Separate), true) => usage(
            "the file is managed in-band, and its programs lead to its controllers: give a file with `management: separate`",
        ),
        (_, true) if arguments.controllers.is_some_and(|wanted| wanted != named) => {
            usage(&format!("the file names {named} controllers: leave --controllers out"))
        }
        (_, true) => Ok(Wanted { topology, controllers: named, text, amended: false }),
        (Some(Management::InBand), false) => {
            let controllers = arguments.controllers.unwrap_or(CONTROLLERS);
            let text = with_controllers(&text, &topology, controllers);
            let reading = topology::read(&arguments.file.display().to_string(), &text);
            let told = reading.render(false);
            let failed = || {
                Failure::new(
                    exit::NO,
                    format!("with controllers in the network the file is not valid\n{told}"),
                )
            };
            Ok(Wanted { topology: reading.topology.ok_or_else(failed)?, controllers, text, amended: true })
        }
        (_, false) => {
            let controllers = arguments.controllers.unwrap_or(CONTROLLERS);
            Ok(Wanted { topology, controllers, text, amended: false })
        }
    }
}

/// The text, managed in-band, in one document more.
fn with_controllers(text: &[u8], topology: &Topology, controllers: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let kept = text.lines().filter(|line| !line.starts_with("management:"));
    let places = lab::in_band::chosen_places(topology, controllers);
    let lines = ["---", "management: in_band", "controllers:"].map(str::to_string).into_iter();
    let added = lines.chain(places.into_iter().map(|place| format!("  - {place}")));
    let all = kept.map(str::to_string).chain(added);
    (all.collect::<Vec<_>>().join("\n") + "\n").into_bytes()
}

/// Applies the file, waits for every host, asks every pair.
fn bring_up(lab: &Lab, arguments: &LabUp, body: &[u8], amended: bool) -> Done {
    say("applying the topology");
    let client = Client::new(&lab.urls(), &lab.ca_file(), &lab.token_file())?;
    let file = if amended { lab.topology_file() } else { arguments.file.clone() };
    let path =
        format!("/v1/topology?reason=lab%20up&author=lab&file={}", encoded(&file.display().to_string()));
    let began = Instant::now();
    let change: Change = client.put(&path, &Put { body, ..Put::default() })?.document()?;
    let change = watch(&client, change, FIRST_APPLY_MAX)?;
    let converge_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if change.state != "done" {
        return Err(Failure::new(
            exit::PARTIAL,
            format!("the first apply is {}: {}", change.state, change.detail),
        ));
    }
    say("asking every pair");
    let (ipv4, ipv6) = lab.reached()?;
    let whole = ipv4.values().chain(ipv6.values()).all(|answered| *answered);
    if arguments.format.json {
        json(&up_document(lab, &ipv4, &ipv6, converge_ms));
    } else {
        print(&pairs_text(lab, &ipv4, &ipv6));
        print(&format!("every host acknowledged after {converge_ms} ms"));
        print(&format!(
            "\nlab {} is up. Try:\n  eval \"$(scripts/lab env)\"\n  target/debug/ballast status\n  scripts/lab down",
            lab.record.run_id
        ));
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) })
}

fn up_document(lab: &Lab, ipv4: &Reached, ipv6: &Reached, converge_ms: u64) -> Value {
    let mut document = status_document(lab);
    document["schema"] = json!("ballast.lab/v1");
    document["pairs"] = pairs_document(ipv4, ipv6);
    document["converge_ms"] = json!(converge_ms);
    document
}

fn pairs_document(ipv4: &Reached, ipv6: &Reached) -> Value {
    let count =
        |reached: &Reached| json!({"ok": reached.values().filter(|ok| **ok).count(), "total": reached.len()});
    json!({"ipv4": count(ipv4), "ipv6": count(ipv6)})
}

fn status_document(lab: &Lab) -> Value {
    let record = &lab.record;
    let alive =
        |process: Option<lab::Process>| process.filter(|process| process.alive()).map(|process| process.pid);
    let hosts: Vec<Value> = record
        .hosts
        .iter()
        .map(|host| {
            json!({
                "name": host.name,
                "netns": host.netns,
                "loopbacks": host.loopbacks,
                "agent_pid": alive(host.agent),
                "agent_socket": lab.socket(&host.name),
            })
        })
        .collect();
    let controllers: Vec<Value> = record
        .controllers
        .iter()
        .zip(lab.urls())
        .map(|(controller, url)| json!({"id": controller.id, "netns": controller.netns, "pid": alive(controller.process), "url": url}))
        .collect();
    json!({
        "schema": "ballast.lab_status/v1",
        "name": record.name,
        "run_id": record.run_id,
        "hosts": hosts,
        "controllers": controllers,
        "management": if record.is_in_band() { "in_band" } else { "separate" },
        "topology_file": lab.topology_file().exists().then(|| lab.topology_file()),
        "cuts": record.cuts,
        "ca_file": lab.ca_file(),
        "token_file": lab.token_file(),
        "operator_key_file": lab.operator_key_file(),
        "route_protocol": 91,
        "nexthop_id_range": [NEXTHOP_IDS.start(), GROUP_IDS.end()],
        "memory_bytes": lab.resident_bytes(),
    })
}

fn status_text(document: &Value) -> String {
    let mut lines = vec![format!("lab {} of {}", document["run_id"], document["name"]).replace('"', "")];
    for (list, id, pid) in [("controllers", "id", "pid"), ("hosts", "name", "agent_pid")] {
        for member in document[list].as_array().into_iter().flatten() {
            let state = member[pid].as_u64().map_or("not running".to_string(), |pid| format!("pid {pid}"));
            let prefix = if list == "controllers" { "c" } else { "" };
            lines.push(format!("  {prefix}{} {state}", member[id].to_string().replace('"', "")));
        }
    }
    for cut in document["cuts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines.push(format!("  cut: {cut}"));
    }
    lines.join("\n")
}

/// Who reaches whom: a matrix of small networks, a line per host of larger ones.
fn pairs_text(lab: &Lab, ipv4: &Reached, ipv6: &Reached) -> String {
    let hosts = lab.host_names();
    let count = |reached: &Reached, from: &str| {
        let row = reached.iter().filter(|((source, _), _)| source == from);
        (row.clone().filter(|(_, ok)| **ok).count(), row.count())
    };
    let mut lines = Vec::new();
    if hosts.len() <= MATRIX_MAX {
        let width = hosts.iter().map(String::len).max().unwrap_or(0);
        let marks = |from: &str| -> String {
            let mark = |to: &String| match (
                ipv4.get(&(from.to_string(), to.clone())),
                ipv6.get(&(from.to_string(), to.clone())),
            ) {
                (None, None) => " .",
                (Some(true) | None, Some(true) | None) => " #",
                (Some(false), Some(false)) => " x",
                (Some(true), _) => " 4",
                _ => " 6",
            };
            hosts.iter().map(mark).collect()
        };
        lines.extend(hosts.iter().map(|host| format!("{host:>width$}{}", marks(host))));
        lines.push("# answers in both families, 4 or 6 in one alone, x in none".to_string());
    } else {
        for host in &hosts {
            let ((ok4, all4), (ok6, all6)) = (count(ipv4, host), count(ipv6, host));
            if ok4 < all4 || ok6 < all6 {
                lines.push(format!("{host}: {ok4} of {all4} answer over IPv4, {ok6} of {all6} over IPv6"));
            }
        }
    }
    let sum = |reached: &Reached| format!("{}/{}", reached.values().filter(|ok| **ok).count(), reached.len());
    lines.push(format!("pairs that answer: IPv4 {}, IPv6 {}", sum(ipv4), sum(ipv6)));
    lines.join("\n")
}

fn lab_ping(lab: &Lab, as_json: bool) -> Done {
    let (ipv4, ipv6) = lab.reached()?;
    let whole = ipv4.values().chain(ipv6.values()).all(|answered| *answered);
    if as_json {
        let missing = |reached: &Reached| -> Vec<Value> {
            reached.iter().filter(|(_, ok)| !**ok).map(|((from, to), _)| json!([from, to])).collect()
        };
        json(&json!({
            "schema": "ballast.lab_ping/v1",
            "pairs": pairs_document(&ipv4, &ipv6),
            "missing": {"ipv4": missing(&ipv4), "ipv6": missing(&ipv6)},
        }));
    } else {
        print(&pairs_text(lab, &ipv4, &ipv6));
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) })
}

fn lab_cut(lab: &mut Lab, arguments: &LabCut) -> Result<(), Failure> {
    let end = match arguments.end {
        CutEnd::A => End::A,
        CutEnd::B => End::B,
        CutEnd::Both => End::Both,
    };
    let at_ns = now_ns();
    let link = lab.cut(&arguments.link, end, arguments.silent)?;
    let words = format!(
        "{link} is cut{}",
        if arguments.silent { ": packets are dropped, the carrier stays" } else { "" }
    );
    told(
        &json!({"schema": "ballast.lab_cut/v1", "link": link, "at_ns": at_ns}),
        arguments.format.json,
        &words,
    );
    Ok(())
}

fn told(document: &Value, as_json: bool, words: &str) {
    if as_json { json(document) } else { print(words) }
}

/// Wall clock, right before the cut.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn exec(lab: &Lab, host: &str, command: &[String]) -> Done {
    let netns = &lab.record.host(host)?.netns;
    let status = std::process::Command::new("ip")
        .args(["netns", "exec", netns])
        .args(command)
        .status()
        .context("ip netns exec")?;
    // Ended by a signal: as a shell says it.
    let code = status
        .code()
        .or_else(|| std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)))
}

fn down(run: Option<&str>) -> Result<(), Failure> {
    let runs = match run {
        Some(run) => vec![run.to_string()],
        None => Lab::without_owner(),
    };
    if runs.is_empty() {
        say("no lab is up");
    }
    for run in runs {
        // One that is already gone is as down as it can be.
        if let Ok(lab) = Lab::find(Some(&run)) {
            lab.down()?;
            say(&format!("lab {run} is down"));
        }
    }
    Ok(())
}
