//! `scripts/test --mutants`: breaks one behaviour at a time and demands that its test goes red.
//!
//! Works on a checkout of its own below `target/mutants`, so that nothing of the working tree is touched. What is not
//! committed is not seen.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// nextest's exit code for "tests were run and some failed".
const TESTS_FAILED: i32 = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    mutant: Vec<Mutant>,
}

/// A patch: `find` stands exactly once in `file` and becomes `replace`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    behaviour: String,
    breaks: String,
    file: PathBuf,
    find: String,
    replace: String,
    /// nextest filter expression of the test that must go red.
    test: String,
}

fn main() -> ExitCode {
    match run() {
        Ok((red, 0)) => {
            report(&format!("{red} passed, 0 failed"));
            ExitCode::SUCCESS
        }
        Ok((red, survived)) => {
            report(&format!("{red} passed, {survived} failed"));
            ExitCode::FAILURE
        }
        Err(error) => {
            report(&format!("mutants: {error:#}"));
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stdout, reason = "the verdicts are this program's output")]
fn report(line: &str) {
    println!("{line}");
}

fn run() -> Result<(usize, usize)> {
    let root = std::env::current_dir()?;
    let text = std::fs::read_to_string(root.join("tests/mutants.toml")).context("tests/mutants.toml")?;
    let mutants: Mutants = toml::from_str(&text).context("tests/mutants.toml")?;
    let only = std::env::args().nth(1);
    let tree = root.join("target/mutants");
    checkout(&root, &tree)?;
    let mut verdicts = (0, 0);
    for mutant in mutants.mutant.iter().filter(|m| only.as_ref().is_none_or(|only| *only == m.behaviour)) {
        let red = turns_red(&root, &tree, mutant).with_context(|| format!("mutant {}", mutant.behaviour))?;
        report(&format!("{} {}: {}", if red { "red " } else { "GREEN" }, mutant.behaviour, mutant.breaks));
        if red { verdicts.0 += 1 } else { verdicts.1 += 1 }
    }
    git(&root, &["worktree", "remove", "--force", &tree.display().to_string()])?;
    Ok(verdicts)
}

fn checkout(root: &Path, tree: &Path) -> Result<()> {
    // A checkout that an earlier run left behind; there may be none.
    let _ = git(root, &["worktree", "remove", "--force", &tree.display().to_string()]);
    git(root, &["worktree", "prune"])?;
    git(root, &["worktree", "add", "--detach", "--force", &tree.display().to_string(), "HEAD"])
}

fn git(root: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(arguments).stderr(Stdio::null()).stdout(Stdio::null());
    let status = command.status().context("git")?;
    if !status.success() {
        bail!("git {} failed", arguments.join(" "));
    }
    Ok(())
}

fn turns_red(root: &Path, tree: &Path, mutant: &Mutant) -> Result<bool> {
    let file = tree.join(&mutant.file);
    let good = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    match good.matches(&mutant.find).count() {
        1 => {}
        found => bail!("its text stands {found} times in {}, must be once", mutant.file.display()),
    }
    std::fs::write(&file, good.replace(&mutant.find, &mutant.replace))?;
    let verdict = test(root, tree, &mutant.test);
    std::fs::write(&file, good)?;
    verdict
}

fn test(root: &Path, tree: &Path, filter: &str) -> Result<bool> {
    let cargo = |arguments: &[&str]| -> Result<std::process::ExitStatus> {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(tree).env("CARGO_TARGET_DIR", root.join("target"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().context("cargo")
    };
    if !cargo(&["build", "--workspace", "--bins"])?.success() {
        bail!("the mutant does not compile");
    }
    let status = cargo(&["nextest", "run", "--package", "it", "--filterset", filter])?;
    match status.code() {
        Some(0) => Ok(false),
        Some(TESTS_FAILED) => Ok(true),
        other => bail!("nextest ended with {other:?}: the test did not run"),
    }
}
