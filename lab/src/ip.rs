//! ip(8) and nft(8), run in batches: a process per namespace, not per command.

use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs lines of `ip -batch`, in a namespace or without one.
pub(crate) fn batch(netns: Option<&str>, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    command.args(["-batch", "-"]);
    feed(command, &(lines.join("\n") + "\n"), "ip")
}

/// Runs one `ip` command in a namespace; what it says of objects that are not there is no error.
pub(crate) fn try_in(netns: &str, arguments: &str) {
    let mut command = Command::new("ip");
    command.args(["-n", netns]).args(arguments.split(' '));
    // Clean-up of what may be gone already.
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Sets a sysctl of a namespace's network.
pub(crate) fn sysctl(netns: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    crate::probe::in_netns(netns, || std::fs::write(&path, value).with_context(|| path.clone()))
}

/// Runs an nft script in a namespace.
pub(crate) fn nft(netns: &str, script: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, "nft", "-f", "-"]);
    feed(command, script, "nft").context("silent cuts need nft: apt-get install nftables")
}

fn feed(mut command: Command, input: &str, name: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be started: is it installed?"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends early says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// An interface's index, as the kernel has it.
pub(crate) fn index(netns: &str, interface: &str) -> Result<u32> {
    crate::probe::in_netns(netns, || {
        nix::net::if_::if_nametoindex(interface)
            .with_context(|| format!("{netns} has no interface {interface}"))
    })
}

/// Names of the network namespaces that begin with `prefix`.
pub(crate) fn namespaces(prefix: &str) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Pids of the processes inside a namespace.
pub(crate) fn pids(netns: &str) -> Vec<u32> {
    let output = Command::new("ip").args(["netns", "pids", netns]).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Removes namespaces.
pub(crate) fn remove(names: &[String]) -> Result<()> {
    for name in names {
        let status = Command::new("ip").args(["netns", "del", name]).stdin(Stdio::null()).status()?;
        if !status.success() {
            bail!("the network namespace {name} cannot be removed");
        }
    }
    Ok(())
}
