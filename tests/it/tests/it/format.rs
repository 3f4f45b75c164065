//! `ballast fmt` and `ballast check --watch`, as a person uses them: the real program on real files.

use anyhow::{Context, Result, ensure};
use it::bed::{PATIENCE, binary, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const MESSY: &str = "# A pair.\n\nnodes: # two\n  b: {}   # the second\n  a: {prefixes: [10.1.0.0/24]}\nname: pair\nversion: 1\nlinks:\n- {cost: 5, endpoints: [\"b:eth1\", \"a:eth1\"]}\n";

const NEAT: &str = "# A pair.\n\nversion: 1\nname: pair\n\nnodes:  # two\n  a: { prefixes: [10.1.0.0/24] }\n  b: {}  # the second\n\nlinks:\n  - { endpoints: [\"a:eth1\", \"b:eth1\"], cost: 5 }\n";

fn ballast(folder: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary("ballast")?).args(arguments).current_dir(folder).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn fmt_names_what_would_change_then_writes_it_with_comments_mode_and_links_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::write(at("messy.yaml"), MESSY)?;
    fs::set_permissions(at("messy.yaml"), fs::Permissions::from_mode(0o640))?;
    fs::write(at("neat.yaml"), NEAT)?;
    fs::write(at("bad.yaml"), MESSY.replace("b:eth1", "c:eth1"))?;
    symlink("messy.yaml", at("link.yaml"))?;

    let checked = ballast(folder.path(), &["fmt", "--check", "neat.yaml", "link.yaml"])?;
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(1), "link.yaml\n".to_owned()));
    assert_eq!(fs::read_to_string(at("messy.yaml"))?, MESSY);

    // A file with an error is told and left alone; the others are written all the same.
    let written = ballast(folder.path(), &["fmt", "bad.yaml", "link.yaml", "neat.yaml"])?;
    let told = text(&written.stderr);
    assert_eq!(written.status.code(), Some(1));
    assert!(told.contains("dangling-endpoint") && told.contains("link.yaml: rewritten"), "{told}");
    assert!(!told.contains("neat.yaml"), "{told}");
    assert_eq!(fs::read_to_string(at("bad.yaml"))?, MESSY.replace("b:eth1", "c:eth1"));
    assert_eq!(fs::read_to_string(at("messy.yaml"))?, NEAT);
    assert_eq!(fs::metadata(at("messy.yaml"))?.permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(at("link.yaml"))?.is_symlink());

    let checked = ballast(folder.path(), &["fmt", "--check", "neat.yaml", "link.yaml"])?;
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(0), String::new()));
    let names =
        fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    assert_eq!(names.len(), 4, "{names:?}");
    Ok(())
}

#[test]
fn fmt_reads_standard_input_and_pins_the_loopbacks_that_programs_have() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut child = Command::new(binary("ballast")?)
        .args(["fmt", "--pin", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("standard input")?.write_all(MESSY.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success());
    let pinned = text(&output.stdout);
    fs::write(folder.path().join("pinned.yaml"), &pinned)?;
    fs::write(folder.path().join("messy.yaml"), MESSY)?;
    let program = |file: &str| {
        Ok::<_, anyhow::Error>(ballast(folder.path(), &["program", "a", file, "--json"])?.stdout)
    };
    assert_eq!(program("pinned.yaml")?, program("messy.yaml")?);
    let found = topology::read("pinned.yaml", pinned.as_bytes()).topology.context("valid")?;
    for address in found.nodes.iter().flat_map(|node| &node.loopbacks) {
        assert!(pinned.contains(&address.to_string()), "{address} is not in\n{pinned}");
    }
    Ok(())
}

#[test]
fn fmt_lays_out_a_folder_whose_files_are_valid_only_together() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (links, nodes) =
        ("# cables\nlinks: [{endpoints: [b:e, a:e]}]\n", "nodes: {b: {}, a: {}}\nname: x\nversion: 1\n");
    fs::create_dir(folder.path().join("net"))?;
    fs::write(folder.path().join("net/links.yaml"), links)?;
    fs::write(folder.path().join("net/nodes.yaml"), nodes)?;
    ensure!(
        ballast(folder.path(), &["fmt", "net/links.yaml"])?.status.code() == Some(1),
        "no network by itself"
    );
    ensure!(ballast(folder.path(), &["fmt", "--pin", "net"])?.status.success());
    let read = |name: &str| fs::read_to_string(folder.path().join("net").join(name));
    assert_eq!(read("links.yaml")?, "# cables\nlinks:\n  - { endpoints: [a:e, b:e] }\n");
    let pinned = read("nodes.yaml")?;
    ensure!(pinned.matches("{ loopbacks: [10.255.").count() == 2, "{pinned}");
    ensure!(ballast(folder.path(), &["fmt", "--check", "--pin", "net"])?.status.success());
    Ok(())
}

/// A watching program that ends with the test.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn check_watch_sees_changes_waits_for_files_and_ends_on_ctrl_c() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, away, log) =
        (folder.path().join("net.yaml"), folder.path().join("away"), folder.path().join("log"));
    fs::write(&file, NEAT)?;
    let output = fs::File::create(&log)?;
    let child = Command::new(binary("ballast")?)
        .args(["check", "--watch", "net.yaml"])
        .current_dir(folder.path())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let mut child = Watching(child);
    let results = || fs::read_to_string(&log).unwrap_or_default();
    let count = |what: &str| results().lines().filter(|line| line.ends_with(what)).count();
    wait("the first result", PATIENCE, || Ok(count("Z valid") == 1))?;

    fs::write(&file, NEAT.replace("cost: 5", "cost: 0"))?;
    wait("a file with an error", PATIENCE, || Ok(count("Z not valid") == 1))?;
    ensure!(results().contains("bad-cost"), "{}", results());

    // As an editor saves: the old file is moved away, another one comes.
    fs::rename(&file, &away)?;
    fs::write(&file, NEAT)?;
    wait("the corrected file", PATIENCE, || Ok(count("Z valid") == 2))?;
    fs::remove_file(&file)?;
    wait("a file that is gone", PATIENCE, || Ok(count("net.yaml is gone: waiting for it") == 1))?;
    fs::write(&file, NEAT)?;
    wait("the file that is back", PATIENCE, || Ok(count("Z valid") == 3))?;

    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGINT)?;
    wait("the end", PATIENCE, || {
        Ok(matches!(child.0.try_wait(), Ok(Some(status)) if status.code() == Some(0)))
    })?;
    Ok(())
}
