//! The person on a host, and the host itself, against the controllers: pin, rollback, freeze, why, a program that cuts its own
//! host off, a full disk. Real processes and packets.

use anyhow::{Context, Result, ensure};
use it::bed::{Bed, PATIENCE, binary, sample, wait};
use it::may_make_namespaces;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// `ballast-agent VERB ... --json` on a host: exit code and document.
fn agent(bed: &Bed, host: &str, words: &[&str]) -> Result<(i32, Value)> {
    let socket = socket(bed, host)?;
    let output =
        Command::new(binary("ballast-agent")?).args(words).args(["--json", "--socket", &socket]).output()?;
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Ok((output.status.code().context("killed")?, document))
}

fn socket(bed: &Bed, host: &str) -> Result<String> {
    let hosts = bed.document()["hosts"].as_array().context("hosts")?;
    let found = hosts.iter().find(|one| one["name"] == host).context("the host")?;
    Ok(found["agent_socket"].as_str().context("a socket")?.to_string())
}

/// What the controllers show of a host.
fn shown(bed: &Bed, host: &str) -> Result<Value> {
    let document = bed.json(&["hosts"])?;
    let hosts = document["hosts"].as_array().context("hosts")?;
    hosts.iter().find(|one| one["name"] == host).cloned().context("the host")
}

/// Applies a text and gives the exit code and the change.
fn apply(bed: &Bed, text: &str, more: &[&str]) -> Result<(i32, Value)> {
    let file = bed.file("next.yaml", text)?;
    let words: Vec<&str> = ["apply", &file, "--reason", "a test", "--json", "--wait", "--timeout", "25"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    let output = bed.ballast(&words)?;
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Ok((output.status.code().context("killed")?, document))
}

/// Why a change is in the state it is in.
fn detail(bed: &Bed, change: &Value) -> Result<String> {
    let number = change["change"].as_u64().context("a change")?.to_string();
    let shown = bed.json(&["show", &number])?;
    Ok(shown["detail"].as_str().unwrap_or_default().to_string())
}

fn whole(bed: &Bed, when: &str) -> Result<()> {
    wait(&format!("all pairs {when}"), PATIENCE, || {
        let ((v4, v4_total), (v6, v6_total)) = bed.pairs()?;
        Ok(v4 == v4_total && v6 == v6_total && v4_total > 0)
    })
}

fn dearer(text: &str, cost: u32) -> String {
    text.replace("cost: 15", &format!("cost: {cost}"))
}

#[test]
fn lab_a_person_on_a_host_holds_it_and_the_controllers_show_it() -> Result<()> {
    if !may_make_namespaces("holds") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let bed = Bed::up(&text)?;
    let before = bed.routes("b")?;

    // why: from the file's line to the kernel's own answer.
    let (code, why) = agent(&bed, "b", &["why", "10.1.0.9"])?;
    ensure!(code == 0 && why["class"] == "a" && why["routes"][0]["state"] == "installed", "{why}");
    let line = text.lines().position(|line| line.trim().starts_with("a:")).context("a's line")? + 1;
    ensure!(why["origin"]["line"] == line && why["origin"]["change"] == 1, "{why}");
    ensure!(why["kernel"]["route"]["ours"] == true && why["kernel"]["route"]["interface"] == "eth1", "{why}");

    // A pin holds against a change, over a restart, with no controller in the way, and is shown.
    let (code, pin) = agent(&bed, "b", &["pin", "--reason", "measuring the spare path"])?;
    ensure!(code == 0 && pin["schema"] == "ballast.agent_pin/v1" && pin["pinned"] == true, "{pin}");
    bed.lab(&["kill", "b"])?;
    bed.lab(&["start", "b"])?;
    wait("the pin at the controllers", PATIENCE, || {
        let host = shown(&bed, "b")?;
        let told = host["alarms"].to_string().contains("measuring the spare path");
        Ok(host["pinned"] == true && host["connected"] == true && told)
    })?;
    let (code, halted) = apply(&bed, &dearer(&text, 40), &[])?;
    ensure!(code == 7, "{halted}");
    let words = detail(&bed, &halted)?;
    ensure!(words.contains("b: it is pinned") && words.contains("measuring"), "{words}");
    ensure!(bed.routes("b")? == before, "it stays on what it ran");

    // Let go, it takes what it is assigned.
    let (code, _) = agent(&bed, "b", &["unpin"])?;
    ensure!(code == 0, "unpin");
    bed.wait_current(2, PATIENCE)?;

    // A rollback goes back, pins, and says so; packets go on.
    let (code, back) = agent(&bed, "b", &["rollback", "--reason", "slower"])?;
    ensure!(code == 0 && back["pinned"] == true, "{back}");
    ensure!(back["detail"].as_str().is_some_and(|words| words.contains("pinned")), "{back}");
    ensure!(back["status"]["revision"] == 1 && bed.routes("b")? == before, "{back}");
    whole(&bed, "after the rollback")?;
    agent(&bed, "b", &["unpin"])?;
    bed.wait_current(2, PATIENCE)?;

    // Frozen, nothing is written, also where a foreign hand deletes; unfrozen, it is repaired.
    let routes = bed.routes("b")?;
    agent(&bed, "b", &["freeze", "--reason", "looking into it"])?;
    bed.ip("b", "route del 10.1.0.0/24 metric 100")?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(bed.routes("b")?.len() + 1 == routes.len(), "a frozen agent writes nothing");
    let status = bed.agent_status("b")?;
    ensure!(status["frozen"] == true && status["freeze"]["reason"] == "looking into it", "{status}");
    let (code, _) = agent(&bed, "b", &["rollback"])?;
    ensure!(code == 1, "a frozen host is not rolled back");
    agent(&bed, "b", &["unfreeze"])?;
    wait("the repair", PATIENCE, || Ok(bed.routes("b")? == routes))
}

#[test]
fn lab_a_program_that_cuts_its_hosts_off_goes_by_itself() -> Result<()> {
    if !may_make_namespaces("trial") {
        return Ok(());
    }
    let text =
        sample("triangle.yaml")?.replace("safety: {", "safety: { confirm_within: 2s, max_prefixes_lost: 1,");
    let bed = Bed::up(&text)?;
    let key = bed.document()["operator_key_file"].as_str().context("a key")?.to_string();
    let before = bed.routes("a")?;
    // c publishes the network that the controllers are in, and does not carry it: a and b lose what they send to them.
    let drops = "add table ip trap; add chain ip trap forward { type filter hook forward priority 0; }; \
                 add rule ip trap forward ip daddr 198.18.0.0/24 drop";
    bed.lab_exec("c", &["nft", drops])?;
    let cuts = text.replace("c: { prefixes: [", "c: { prefixes: [198.18.0.0/24, ");

    // The agents' own guard sees it coming.
    let (code, refused) = apply(&bed, &cuts, &[])?;
    let words = detail(&bed, &refused)?;
    ensure!(code == 7 && words.contains("agent_management_route"), "{code} {refused} {words}");
    ensure!(bed.routes("a")? == before, "nothing was written");
    let (code, back) = apply(&bed, &text, &[])?;
    ensure!(code == 0, "{back}");

    // With the operator's word for it: in force, cut off, back by itself, and told.
    let probes = bed.probes(&[("a", "b"), ("b", "a")], Duration::from_millis(2))?;
    let (code, halted) = apply(&bed, &cuts, &["--override", "agent_management_route", "--key", &key])?;
    let words = detail(&bed, &halted)?;
    ensure!(code == 7 && words.contains("went back to the program before by itself"), "{code} {words}");
    ensure!(words.starts_with("a: ") || words.starts_with("b: "), "{words}");
    for host in ["a", "b"] {
        wait(&format!("{host} is back"), PATIENCE, || {
            let (status, host) = (bed.agent_status(host)?, shown(&bed, host)?);
            Ok(status["reverted"].is_object() && host["connected"] == true && host["revision"] == 3)
        })?;
    }
    ensure!(bed.routes("a")? == before, "the program before is in force again");
    let report = probes.stop()?;
    ensure!(report.lost() == 0 && report.sent() > 1_000, "{} sent\n{}", report.sent(), report.losses());
    // The positive control: a host that takes no packets is seen by the same probes.
    let deaf = "add table ip deaf; add chain ip deaf input { type filter hook input priority 0; }; \
                add rule ip deaf input meta l4proto udp drop";
    bed.lab_exec("b", &["nft", deaf])?;
    let probes = bed.probes(&[("a", "b"), ("b", "a")], Duration::from_millis(2))?;
    bed.lab_exec("b", &["sleep", "0.3"])?;
    ensure!(probes.stop()?.lost() > 0, "probes to a deaf host are lost");
    bed.lab_exec("b", &["nft", "delete table ip deaf"])?;

    // It is not pushed again: the hosts stay connected and on what they run.
    std::thread::sleep(seconds(3));
    ensure!(bed.routes("a")? == before, "the same is not taken again");
    // The mended file reaches all hosts.
    let (code, done) = apply(&bed, &dearer(&text, 30), &[])?;
    ensure!(code == 0, "{done}");
    whole(&bed, "at the end")
}

/// An agent with its state on a file system of its own, which is small and can be full.
struct SmallDisk {
    agent: Child,
    state: PathBuf,
}

impl SmallDisk {
    /// Starts the killed agent of a host again, with what it had on its disk.
    fn start(bed: &Bed, host: &str) -> Result<SmallDisk> {
        let pid = bed.agent_pid(host)?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let at = words.iter().position(|word| word == "--state").context("--state")?;
        let state = words.get(at + 1).context("a folder")?.clone();
        bed.lab(&["kill", host])?;
        let script = "set -e; cp \"$0/ledger\" \"$0/../kept\"; mount -t tmpfs -o size=256k none \"$0\"; \
                      cp \"$0/../kept\" \"$0/ledger\"; exec \"$@\"";
        let agent = Command::new("ip")
            .args(["netns", "exec", &bed.netns(host)?, "unshare", "-m", "sh", "-c", script, &state])
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let disk = SmallDisk { state: PathBuf::from(format!("/proc/{}/root{state}", agent.id())), agent };
        wait("the agent", PATIENCE, || Ok(bed.agent_status(host)?["connected"] == true))?;
        Ok(disk)
    }

    fn filler(&self) -> PathBuf {
        self.state.join("filler")
    }

    /// Takes all the room.
    fn fill(&self) -> Result<()> {
        let full = std::fs::write(self.filler(), vec![0; 1 << 20]);
        ensure!(full.as_ref().is_err_and(|error| error.raw_os_error() == Some(28)), "ENOSPC: {full:?}");
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

#[test]
fn lab_a_full_disk_keeps_forwarding_says_so_and_recovers() -> Result<()> {
    if !may_make_namespaces("disk") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let bed = Bed::up(&text)?;
    let disk = SmallDisk::start(&bed, "c")?;
    ensure!(Path::new(&disk.state).join("ledger").exists(), "its ledger is on the small disk");
    let before = bed.routes("c")?;
    disk.fill()?;
    let (code, halted) = apply(&bed, &dearer(&text, 40), &[])?;
    let words = detail(&bed, &halted)?;
    ensure!(
        code == 7 && words.starts_with("c: ") && words.contains("No space left on device"),
        "{code} {words}"
    );
    ensure!(bed.routes("c")? == before, "what is not on disk is not in the kernel");
    let status = bed.agent_status("c")?;
    let why = status["ledger"]["error"].as_str().unwrap_or_default();
    ensure!(why.contains("No space left on device") && status["connected"] == true, "{status}");
    whole(&bed, "with a full disk")?;
    // A person is heeded all the same, and told that a restart forgets it.
    let (code, pin) = agent(&bed, "c", &["pin"])?;
    ensure!(code == 0 && pin["detail"].as_str().is_some_and(|words| words.contains("not on disk")), "{pin}");
    agent(&bed, "c", &["unpin"])?;
    disk.make_room()?;
    wait("the program when there is room", PATIENCE, || {
        let status = bed.agent_status("c")?;
        Ok(status["revision"] == 2
            && status["ledger"]["error"].is_null()
            && status["ledger"]["saved"] == true)
    })?;
    whole(&bed, "at the end")
}
