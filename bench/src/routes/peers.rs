//! What a user would take instead, each fed in the fastest way that it has: `ip -batch`, zebra over its own protocol,
//! BIRD with static routes. From the first act of the user to the kernel's last notification.

use super::Samples;
use super::bare::Verb;
use super::ground::{self, Size};
use super::watcher::{Count, Watcher, What};
use crate::space::{Running, feed, in_fresh_namespace, ip};
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(180);
/// Lines of one file for `ip -batch`, which holds about 4 KB for each until it ends.
const IP_LINES: usize = 100_000;
const ZEBRA: &str = "/usr/lib/frr/zebra";
const BIRD: &str = "/usr/sbin/bird";
/// How long a daemon may take until it listens.
const START_MAX: Duration = Duration::from_secs(15);

/// All peers that are installed.
pub(super) fn measure(size: Size, rounds: usize, samples: &mut Samples) -> Result<()> {
    type Peer = fn(Size, &mut Samples) -> Result<()>;
    let zebra_fits = zebra_version().is_some_and(|version| version.starts_with("8."));
    let peers: [(&str, bool, Peer); 3] = [
        ("ip -batch", true, ip_batch),
        ("zebra", zebra_fits, zebra),
        ("BIRD 2", Path::new(BIRD).exists(), bird),
    ];
    for (name, there, peer) in peers {
        if !there {
            eprintln!("skipped: {name} is not installed in a version whose protocol is known here");
            continue;
        }
        for _ in 0..rounds {
            eprintln!("{size}: {name}");
            in_fresh_namespace(|| {
                ground::links()?;
                ip(&[
                    "addr add 192.168.7.1/24 dev eth1".into(),
                    "addr add fd07::1/64 dev eth1 nodad".into(),
                ])?;
                peer(size, samples)
            })
            .with_context(|| name.to_string())?;
        }
    }
    Ok(())
}

fn count(size: Size, verb: Verb) -> Result<Count> {
    let what = if verb == Verb::Delete { What::Gone } else { What::New };
    Ok(Watcher::open()?.count(what, size.routes, LIMIT))
}

fn note(
    samples: &mut Samples,
    size: Size,
    verb: Verb,
    peer: &'static str,
    began: Instant,
    count: Count,
) -> Result<()> {
    let heard = count.finish()?;
    samples.push(&verb.case(size), peer, (heard - began).as_secs_f64() * 1e3);
    Ok(())
}

/// Gateway of a verb.
fn gateway(size: Size, verb: Verb) -> &'static str {
    size.peer_gateways()[usize::from(verb == Verb::Replace)]
}

fn ip_batch(size: Size, samples: &mut Samples) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let family = if size.ipv6 { "-6" } else { "-4" };
    for verb in Verb::ALL {
        let word = ["add", "replace", "del"][verb as usize];
        let rest = if verb == Verb::Delete {
            String::new()
        } else {
            format!(" via {} dev eth1", gateway(size, verb))
        };
        let prefixes: Vec<_> = size.prefixes().collect();
        let mut files = Vec::new();
        for (number, part) in prefixes.chunks(IP_LINES).enumerate() {
            let mut text = String::new();
            part.iter().try_for_each(|prefix| writeln!(text, "route {word} {}{rest}", prefix.ip()))?;
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, text)?;
            files.push(path);
        }
        let count = count(size, verb)?;
        let began = Instant::now();
        for file in &files {
            Running::start(Command::new("ip").args([family, "-batch"]).arg(file))?.wait(LIMIT)?;
        }
        note(samples, size, verb, "ip -batch", began, count)?;
    }
    Ok(())
}

fn zebra_version() -> Option<String> {
    let output = Command::new(ZEBRA).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(2).map(str::to_string)
}

fn wait_for(path: &Path) -> Result<()> {
    let deadline = Instant::now() + START_MAX;
    while !path.exists() {
        ensure!(Instant::now() < deadline, "{} did not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// ZAPI, version 6, as in FRR 8: what zebra's own protocol daemons speak to it.
mod zapi {
    pub(super) const ROUTE_ADD: u16 = 8;
    pub(super) const ROUTE_DELETE: u16 = 9;
    pub(super) const HELLO: u16 = 18;
    /// A route type for tests, so that no protocol is feigned.
    const TYPE_SHARP: u8 = 23;
    const MESSAGE_NEXTHOP: u32 = 1;
    const NEXTHOP_IPV4_INTERFACE: u8 = 3;
    const NEXTHOP_IPV6_INTERFACE: u8 = 5;
    const UNICAST: u8 = 1;

    /// Length, marker, version, VRF, command; then the body.
    pub(super) fn message(command: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((10 + body.len()) as u16).to_be_bytes().to_vec();
        bytes.extend([254, 6, 0, 0, 0, 0]);
        bytes.extend(command.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    pub(super) fn hello() -> Vec<u8> {
        message(HELLO, &[TYPE_SHARP, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// A host route; `gateway` and the interface's index where it is added.
    pub(super) fn route(to: &[u8], gateway: Option<(&[u8], u32)>) -> Vec<u8> {
        let (family, length) = if to.len() == 4 { (2, 32) } else { (10, 128) };
        let mut body = vec![TYPE_SHARP, 0, 0, 0, 0, 0, 0];
        body.extend(gateway.map_or(0, |_| MESSAGE_NEXTHOP).to_be_bytes());
        body.extend([UNICAST, family, length]);
        body.extend(to);
        let Some((gateway, index)) = gateway else { return message(ROUTE_DELETE, &body) };
        let kind = if to.len() == 4 { NEXTHOP_IPV4_INTERFACE } else { NEXTHOP_IPV6_INTERFACE };
        body.extend(1u16.to_be_bytes());
        body.extend([0, 0, 0, 0, kind, 0]);
        body.extend(gateway);
        body.extend(index.to_be_bytes());
        message(ROUTE_ADD, &body)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn zebra(size: Size, samples: &mut Samples) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("zebra.conf"), "hostname bench\n")?;
    // zebra gives up root for its own user.
    feed(Command::new("chown").args(["-R", "frr:frr"]).arg(folder.path()), "")?;
    let mut command = Command::new(ZEBRA);
    command.arg("-z").arg(at("zserv")).arg("--vty_socket").arg(folder.path()).arg("-i").arg(at("pid"));
    command.arg("-f").arg(at("zebra.conf")).args(["-u", "frr", "-g", "frr", "-A", "127.0.0.1", "-P", "0"]);
    let daemon = Running::start(command.args(["-s", "16777216"]))?;
    wait_for(&at("zserv"))?;
    let mut session = connect(&at("zserv"))?;
    let mut answers = session.try_clone()?;
    // What zebra says back is read, or it would stall.
    let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    session.write_all(&zapi::hello())?;
    std::thread::sleep(Duration::from_millis(300));
    let result = zebra_verbs(size, &mut session, samples);
    if result.is_ok() {
        let peak = daemon.peak_bytes()?;
        eprintln!("{size}: zebra's memory, bytes a route at its peak: {}", peak / size.routes as u64);
    }
    session.shutdown(std::net::Shutdown::Both)?;
    let _ = reader.join();
    result
}

/// The socket's file is there before somebody listens.
fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(Instant::now() < deadline, "{}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn zebra_verbs(size: Size, session: &mut UnixStream, samples: &mut Samples) -> Result<()> {
    let index = nix::net::if_::if_nametoindex("eth1")?;
    for verb in Verb::ALL {
        let gateway = octets(gateway(size, verb).parse()?);
        let mut bytes = Vec::new();
        for prefix in size.prefixes() {
            let way = (verb != Verb::Delete).then_some((gateway.as_slice(), index));
            bytes.extend(zapi::route(&octets(prefix.ip()), way));
        }
        let count = count(size, verb)?;
        let began = Instant::now();
        session.write_all(&bytes)?;
        note(samples, size, verb, "zebra", began, count)?;
    }
    Ok(())
}

fn bird(size: Size, samples: &mut Samples) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let family = if size.ipv6 { "ipv6" } else { "ipv4" };
    let write = |verb: Verb| -> Result<()> {
        let mut text = format!(
            "router id 1.1.1.1;\nprotocol device {{}}\nprotocol kernel {{ {family} {{ export all; }}; scan time 3600; }}\nprotocol static {{ {family};\n"
        );
        if verb != Verb::Delete {
            let gateway = gateway(size, verb);
            size.prefixes().try_for_each(|prefix| writeln!(text, "route {prefix} via {gateway};"))?;
        }
        text.push_str("}\n");
        Ok(std::fs::write(at("bird.conf"), text)?)
    };
    let mut daemon = None;
    for verb in Verb::ALL {
        write(verb)?;
        let count = count(size, verb)?;
        let began = Instant::now();
        if daemon.is_none() {
            let mut command = Command::new(BIRD);
            command
                .args(["-f", "-c"])
                .arg(at("bird.conf"))
                .arg("-s")
                .arg(at("control"))
                .arg("-P")
                .arg(at("pid"));
            daemon = Some(Running::start(&mut command)?);
        } else {
            feed(Command::new("birdc").arg("-s").arg(at("control")).arg("configure"), "")?;
        }
        note(samples, size, verb, "BIRD 2", began, count)?;
    }
    if let Some(daemon) = &daemon {
        let peak = daemon.peak_bytes()?;
        eprintln!("{size}: BIRD's memory, bytes a route at its peak: {}", peak / size.routes as u64);
    }
    Ok(())
}
