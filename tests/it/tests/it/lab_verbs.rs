//! The verbs of a lab and of a running network, from the command line, with real processes.

use anyhow::{Context, Result, ensure};
use it::bed::{Bed, PATIENCE, binary, sample, wait};
use it::may_make_namespaces;
use serde_json::Value;
use std::process::{Command, Output};

fn lab(bed: &Bed, arguments: &[&str]) -> Result<Output> {
    let words = bed.lab_command(arguments)?;
    Ok(Command::new(&words[0]).args(&words[1..]).output()?)
}

fn all_pairs(bed: &Bed) -> Result<bool> {
    let ((v4, v4_total), (v6, v6_total)) = bed.pairs()?;
    Ok(v4 == v4_total && v6 == v6_total && v4_total > 0)
}

fn whole(bed: &Bed, when: &str) -> Result<()> {
    wait(&format!("all pairs {when}"), PATIENCE, || all_pairs(bed))
}

#[test]
fn lab_exec_cuts_reboots_and_follows_a_changed_file() -> Result<()> {
    if !may_make_namespaces("verbs") {
        return Ok(());
    }
    // Without liveness on one link: there a silent failure stays unseen.
    let text =
        sample("triangle.yaml")?.replace("\"b:eth1\"], cost: 10", "\"b:eth1\"], cost: 10, liveness: off");
    let bed = Bed::up(&text)?;
    let run = bed.run_id();

    // exec: the command's own output and exit code.
    let words = ["exec", "a", "--run", run, "--", "sh", "-c", "echo out; echo err >&2; exit 7"];
    let output = Command::new(binary("ballast")?).arg("lab").args(words).output()?;
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));

    // A silent cut keeps the carrier: the kernel sees nothing, packets do not arrive.
    lab(&bed, &["cut", "a--b", "--silent"])?;
    let carrier = bed.ip("a", "link show eth1")?;
    ensure!(carrier.to_string().contains("LOWER_UP"), "{carrier}");
    ensure!(!all_pairs(&bed)?, "a silent cut loses packets");
    let status: Value = serde_json::from_slice(&lab(&bed, &["status", "--json"])?.stdout)?;
    ensure!(status.to_string().contains("a:eth1--b:eth1"), "{status}");
    bed.lab(&["mend", "a--b"])?;
    whole(&bed, "after the silent cut was mended")?;

    // One end: the other one loses its carrier as well on a cable, and both come back.
    let cut: Value =
        serde_json::from_slice(&bed.lab(&["cut", "b:eth2--c:eth1", "--end", "B", "--json"])?.stdout)?;
    ensure!(cut["at_ns"].as_u64() > Some(0), "{cut}");
    whole(&bed, "around the cut link")?;
    bed.lab(&["mend", "b--c"])?;
    whole(&bed, "after the mend")?;

    // A link that does not exist is an answer with a cure, not a crash.
    let output = lab(&bed, &["cut", "a--z"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("a--z"), "{output:?}");

    // A reboot forgets the kernel's state and nothing else: the ledger brings it back.
    bed.lab(&["reboot", "b"])?;
    whole(&bed, "after the reboot")?;

    // The lab follows the file: a fourth node comes and goes.
    let more = text
        .replace("  c: {", "  d: { prefixes: [10.4.0.0/24] }\n  c: {")
        .replace("\nsafety:", "  - { endpoints: [\"c:eth3\", \"d:eth1\"], cost: 10 }\n\nsafety:");
    let more = bed.file("more.yaml", &more)?;
    bed.lab(&["sync", &more])?;
    bed.json(&["apply", &more, "--reason", "a fourth node", "--wait"])?;
    let pairs = || -> Result<u64> { Ok(bed.pairs()?.0.0) };
    wait("twelve pairs", PATIENCE, || Ok(pairs()? == 12))?;
    let back = bed.file("back.yaml", &text.replace("safety: {", "safety: { max_prefixes_lost: 1,"))?;
    bed.json(&[
        "apply",
        &back,
        "--reason",
        "without it",
        "--wait",
        "--override",
        "max_prefixes_lost",
        "--key",
        bed.document()["operator_key_file"].as_str().context("a key")?,
    ])?;
    bed.lab(&["sync", &back])?;
    wait("six pairs", PATIENCE, || Ok(pairs()? == 6))?;
    Ok(())
}

#[test]
fn lab_apply_answers_with_the_codes_of_the_contract() -> Result<()> {
    if !may_make_namespaces("codes") {
        return Ok(());
    }
    let many: Vec<String> = (0..30).map(|n| format!("10.9.{n}.0/24")).collect();
    let text = sample("triangle.yaml")?.replace("10.2.0.0/24", &many.join(", "));
    let bed = Bed::up(&text)?;
    let few = bed.file("few.yaml", &text.replace(&many.join(", "), &many[..3].join(", ")))?;
    let key = bed.document()["operator_key_file"].as_str().context("a key")?.to_string();
    let apply = |file: &str, more: &[&str]| -> Result<(i32, Value)> {
        let words: Vec<&str> =
            ["apply", file, "--reason", "a test", "--json"].iter().chain(more).copied().collect();
        let output = bed.ballast(&words)?;
        let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Ok((output.status.code().context("killed")?, document))
    };
    let routes = bed.routes("a")?;

    // The controller's guard, with its name, value and limit.
    let (code, refused) = apply(&few, &["--wait"])?;
    assert_eq!(code, 3, "{refused}");
    assert_eq!(refused["guard"]["name"], "max_prefixes_lost", "{refused}");
    assert_eq!(
        (&refused["guard"]["value"], &refused["guard"]["limit"]),
        (&27.into(), &0.into()),
        "{refused}"
    );

    // A stale writer loses and changes nothing.
    let (code, stale) = apply(&few, &["--if-revision", "7"])?;
    assert_eq!(code, 4, "{stale}");

    // Overridden at the controller alone: the agents have a word of their own.
    let (code, halted) =
        apply(&few, &["--override", "max_prefixes_lost", "--key", &key, "--wait", "--timeout", "20"])?;
    assert_eq!(code, 7, "{halted}");
    assert_eq!(bed.routes("a")?, routes, "the agent's guard kept everything");

    // A key that is not the operator's is no word at all.
    let foreign =
        bed.file("foreign.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")?;
    let (code, refused) = apply(&few, &["--override", "max_prefixes_lost", "--key", &foreign])?;
    ensure!(code != 0, "{refused}");

    // Both named: done, and the routes are gone.
    let both = [
        "--override",
        "max_prefixes_lost",
        "--override",
        "agent_max_routes_removed",
        "--key",
        &key,
        "--wait",
        "--timeout",
        "20",
    ];
    let back = bed.file("again.yaml", &text)?;
    let (code, done) = apply(&back, &["--wait", "--timeout", "20"])?;
    assert_eq!(code, 0, "{done}");
    let (code, done) = apply(&few, &both)?;
    assert_eq!((code, done["state"].as_str()), (0, Some("done")), "{done}");
    ensure!(bed.routes("a")?.len() + 27 <= routes.len(), "{} of {}", bed.routes("a")?.len(), routes.len());
    let number = done["change"].as_u64().context("change")?.to_string();
    let shown = bed.ballast(&["show", &number])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("guard max_prefixes_lost overridden: 27 of at most 0"), "{shown}");

    // A dead agent: the others are changed, the command says that it is partial.
    bed.lab(&["kill", "c"])?;
    let (code, partial) = apply(&back, &["--wait", "--timeout", "2"])?;
    assert_eq!(code, 6, "{partial}");
    bed.lab(&["start", "c"])?;
    let revision = partial["revision"].as_u64().context("revision")?;
    bed.wait_current(revision, PATIENCE)?;
    Ok(())
}

/// Namespaces, network devices of the root namespace and folders that carry a run id.
fn traces(run_id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for arguments in [&["netns", "list"][..], &["-o", "link", "show"]] {
        let output = Command::new("ip").args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        found.extend(text.lines().filter(|line| line.contains(run_id)).map(str::to_string));
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(run_id) {
            found.push(words);
        }
    }
    let folder = lab::names::base_folder().join(run_id);
    found.extend(folder.exists().then(|| folder.display().to_string()));
    Ok(found)
}

#[test]
fn lab_two_live_side_by_side_and_down_leaves_nothing() -> Result<()> {
    if !may_make_namespaces("two") {
        return Ok(());
    }
    let text = sample("triangle.yaml")?;
    let (first, second) = (Bed::up(&text)?, Bed::up(&text)?);
    assert_ne!(first.run_id(), second.run_id());
    ensure!(all_pairs(&first)? && all_pairs(&second)?);
    // Positive control of the search for traces.
    ensure!(traces(first.run_id())?.len() > 8, "{:?}", traces(first.run_id())?);
    let down = |run: &str| -> Result<Output> {
        Ok(Command::new(binary("ballast")?).args(["lab", "down", "--run", run]).output()?)
    };
    let run = first.run_id().to_string();
    ensure!(down(&run)?.status.success());
    assert_eq!(traces(&run)?, Vec::<String>::new());
    ensure!(all_pairs(&second)?, "the other lab is not touched");
    let again = down(&run)?;
    ensure!(again.status.success(), "nothing to take down is no failure: {again:?}");

    // A lab whose maker is killed half-way, and whose processes are killed behind its back, goes all the same.
    let file = second.file("half.yaml", &text)?;
    let owner = std::process::id().to_string();
    let mut half = Command::new(binary("ballast")?)
        .args(["lab", "up", "--owner-pid", &owner, &file])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut run = None;
    wait("half a lab", PATIENCE, || {
        run = newest_run(&[second.run_id()])?;
        let begun = run.as_deref().map(traces).transpose()?.unwrap_or_default();
        Ok(begun.iter().filter(|line| !line.contains('/')).count() >= 3)
    })?;
    half.kill()?;
    half.wait()?;
    let run = run.context("a run")?;
    ensure!(down(&run)?.status.success());
    assert_eq!(traces(&run)?, Vec::<String>::new());
    Ok(())
}

/// The id of a lab of this process that is not among `known`.
fn newest_run(known: &[&str]) -> Result<Option<String>> {
    let Ok(folders) = std::fs::read_dir(lab::names::base_folder()) else { return Ok(None) };
    let own = std::process::id();
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let record = std::fs::read(folder.path().join("lab.json")).unwrap_or_default();
        let record: Value = serde_json::from_slice(&record).unwrap_or(Value::Null);
        if record["owner"]["pid"].as_u64() == Some(u64::from(own)) && !known.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
