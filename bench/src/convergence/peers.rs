//! Routing daemons on the network, tuned as fast as their documentation lets them be.

use super::cycle::{Act, Network};
use super::ground::Ground;
use super::{FROM, LINK, TO};
use crate::space::{Running, feed};
use anyhow::{Context, Result};
use it::bed::wait;
use lab::probe::Pair;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FRR: &str = "/usr/lib/frr";
const BIRD: &str = "/usr/sbin/bird";
/// From the start of all daemons to routes everywhere.
const START_MAX: Duration = Duration::from_secs(90);
/// First exchanges go on after the first routes are there.
const CALM: Duration = Duration::from_secs(8);
/// From a link's return to the first paths.
const RETURN_MAX: Duration = Duration::from_secs(40);

/// What is compared with.
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: &'static str,
    pub(super) start: fn(&Ground, &Peer) -> Result<Vec<Running>>,
    /// BFD, three times 50 ms.
    bfd: bool,
    pub(super) act: Act,
    /// How long a cut lasts.
    hold: Duration,
}

impl Peer {
    pub(super) fn is_there(&self) -> bool {
        Path::new(self.program).exists()
    }
}

/// The first one is what figures are compared with.
pub(super) const ALL: [Peer; 6] = [
    peer("FRR OSPF, spf 0/50/200", "/usr/lib/frr/ospfd", frr, false, Act::CutFar, 2_000),
    peer("FRR OSPF + BFD 3 x 50 ms", "/usr/lib/frr/ospfd", frr, true, Act::CutFar, 2_000),
    peer("FRR OSPF + BFD, silent", "/usr/lib/frr/ospfd", frr, true, Act::CutSilently, 2_000),
    peer("FRR IS-IS, spf-delay 0/50/200", "/usr/lib/frr/isisd", frr, false, Act::CutFar, 2_000),
    peer("BIRD OSPF, tick 1", BIRD, bird, false, Act::CutFar, 6_000),
    peer("BIRD OSPF + BFD, silent", BIRD, bird, true, Act::CutSilently, 6_000),
];

const fn peer(
    name: &'static str,
    program: &'static str,
    start: fn(&Ground, &Peer) -> Result<Vec<Running>>,
    bfd: bool,
    act: Act,
    hold_ms: u64,
) -> Peer {
    Peer { name, program, start, bfd, act, hold: Duration::from_millis(hold_ms) }
}

fn frr(ground: &Ground, peer: &Peer) -> Result<Vec<Running>> {
    let isis = peer.program.ends_with("isisd");
    let mut running = Vec::new();
    for (number, node) in (1..).zip(&ground.topology.nodes) {
        let folder = ground.folder(&node.name)?;
        let protocol = if isis {
            isis_conf(ground, &node.name, number)?
        } else {
            ospf_conf(ground, &node.name, peer.bfd)?
        };
        let bfd =
            "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 50\n  transmit-interval 50\n";
        let mut daemons = vec![("zebra", String::new())];
        if peer.bfd {
            daemons.push(("bfdd", bfd.to_string()));
        }
        daemons.push((if isis { "isisd" } else { "ospfd" }, protocol));
        for (daemon, conf) in &daemons {
            std::fs::write(folder.join(format!("{daemon}.conf")), format!("hostname {}\n{conf}", node.name))?;
        }
        feed(Command::new("chown").args(["-R", "frr:frr"]).arg(&folder), "")?;
        for (daemon, _) in &daemons {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &ground.netns(&node.name), &format!("{FRR}/{daemon}")]);
            command.arg("-z").arg(folder.join("zserv")).arg("--vty_socket").arg(&folder);
            command.arg("-i").arg(folder.join(format!("{daemon}.pid")));
            command.arg("-f").arg(folder.join(format!("{daemon}.conf")));
            command.args(["-u", "frr", "-g", "frr", "-A", "127.0.0.1", "-P", "0"]);
            if *daemon == "bfdd" {
                command.arg("--bfdctl").arg(folder.join("bfdd.sock"));
            }
            running.push(Running::start(&mut command)?);
            if *daemon == "zebra" {
                wait("zebra", START_MAX, || Ok(folder.join("zserv").exists()))?;
            }
        }
    }
    Ok(running)
}

fn ospf_conf(ground: &Ground, node: &str, bfd: bool) -> Result<String> {
    let mut text = String::new();
    for port in ground.ports(node) {
        writeln!(text, "interface {}\n ip ospf area 0\n ip ospf network point-to-point", port.interface)?;
        writeln!(text, " ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf cost {}", port.cost)?;
        if bfd {
            writeln!(text, " ip ospf bfd\n ip ospf bfd profile fast")?;
        }
    }
    writeln!(text, "interface lo\n ip ospf area 0\n ip ospf passive")?;
    writeln!(text, "router ospf\n ospf router-id {}\n timers throttle spf 0 50 200", ground.loopback(node)?)?;
    writeln!(text, " timers throttle lsa all 0\n timers lsa min-arrival 0")?;
    Ok(text)
}

fn isis_conf(ground: &Ground, node: &str, number: usize) -> Result<String> {
    let mut text = String::new();
    for port in ground.ports(node) {
        writeln!(text, "interface {}\n ip router isis 1\n isis network point-to-point", port.interface)?;
        writeln!(text, " isis hello-interval 1\n isis hello-multiplier 4\n isis metric {}", port.cost)?;
    }
    writeln!(text, "interface lo\n ip router isis 1\n isis passive")?;
    writeln!(
        text,
        "router isis 1\n net 49.0001.0000.0000.{number:04}.00\n is-type level-2-only\n metric-style wide"
    )?;
    writeln!(text, " lsp-gen-interval 1")?;
    writeln!(
        text,
        " spf-delay-ietf init-delay 0 short-delay 50 long-delay 200 holddown 1000 time-to-learn 500"
    )?;
    Ok(text)
}

fn bird(ground: &Ground, peer: &Peer) -> Result<Vec<Running>> {
    let mut running = Vec::new();
    for node in &ground.topology.nodes {
        let folder = ground.folder(&node.name)?;
        let mut text =
            format!("router id {};\nprotocol device {{ scan time 10; }}\n", ground.loopback(&node.name)?);
        text.push_str("protocol direct { ipv4; }\nprotocol kernel { ipv4 { import none; ");
        text.push_str("export where source ~ [RTS_OSPF, RTS_OSPF_IA]; }; scan time 60; }\n");
        if peer.bfd {
            text.push_str("protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }\n");
        }
        text.push_str("protocol ospf v2 o { tick 1; ipv4 { import all; }; area 0 {\n");
        for port in ground.ports(&node.name) {
            let bfd = if peer.bfd { "bfd yes; " } else { "" };
            writeln!(
                text,
                "interface \"{}\" {{ type ptp; hello 1; dead count 4; cost {}; {bfd}}};",
                port.interface, port.cost
            )?;
        }
        text.push_str("interface \"lo\" { stub; };\n}; }\n");
        std::fs::write(folder.join("bird.conf"), text)?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &ground.netns(&node.name), BIRD, "-f", "-c"])
            .arg(folder.join("bird.conf"));
        command.arg("-s").arg(folder.join("bird.ctl")).arg("-P").arg(folder.join("bird.pid"));
        running.push(Running::start(&mut command)?);
    }
    Ok(running)
}

/// The network once the daemons have found their ways.
pub(super) struct Routed<'a> {
    ground: &'a Ground,
    hold: Duration,
    from: IpAddr,
    to: IpAddr,
    /// Node -> its first way to either end.
    first: BTreeMap<String, [Option<String>; 2]>,
}

impl<'a> Routed<'a> {
    /// Waits until every node has a route to both ends and the exchanges have come to rest.
    pub(super) fn new(ground: &'a Ground, peer: &Peer) -> Result<Routed<'a>> {
        let (from, to) = (ground.loopback(FROM)?, ground.loopback(TO)?);
        let mut routed = Routed { ground, hold: peer.hold, from, to, first: BTreeMap::new() };
        wait("routes everywhere", START_MAX, || {
            std::thread::sleep(Duration::from_millis(300));
            Ok(routed.ways().values().all(|ways| ways.iter().all(Option::is_some)))
        })?;
        std::thread::sleep(CALM);
        routed.first = routed.ways();
        let way = ground.way(LINK[1], to);
        anyhow::ensure!(
            way == Some(ground.port(LINK[1], LINK[0])?),
            "{} does not send to {TO} by the link that is cut but by {way:?}",
            LINK[1]
        );
        Ok(routed)
    }

    fn ways(&self) -> BTreeMap<String, [Option<String>; 2]> {
        let nodes = self.ground.topology.nodes.iter().map(|node| node.name.clone());
        nodes.map(|node| (node.clone(), [self.from, self.to].map(|to| self.ground.way(&node, to)))).collect()
    }
}

impl Network for Routed<'_> {
    fn pairs(&self) -> Result<Vec<Pair>> {
        let [from_netns, to_netns] = [FROM, TO].map(|node| self.ground.netns(node));
        Ok(vec![Pair { from_netns, from: self.from, to_netns, to: self.to }])
    }

    fn act(&self, act: Act) -> Result<()> {
        let [far, near] = LINK;
        let ends = [(far, near), (near, far)].map(|(node, to)| (node, self.ground.port(node, to)));
        for (node, interface) in ends {
            let interface = interface?;
            match act {
                Act::CutFar if node == far => self.ground.ip(node, &format!("link set {interface} down\n"))?,
                Act::CutNear if node == near => self.ground.ip(node, &format!("link set {interface} down\n"))?,
                Act::CutFar | Act::CutNear => {}
                Act::CutSilently => self.nft(
                    node,
                    &format!(
                        "table netdev cut {{ chain c {{ type filter hook ingress device \"{interface}\" priority 0; policy drop; }}; }}\n"
                    ),
                )?,
                Act::Mend => {
                    self.ground.ip(node, &format!("link set {interface} up\n"))?;
                    // Added first, so that it is there to be deleted.
                    self.nft(node, "add table netdev cut\ndelete table netdev cut\n")?;
                }
            }
        }
        Ok(())
    }

    fn settle(&self, cut: bool) -> Result<()> {
        if cut {
            std::thread::sleep(self.hold);
            return Ok(());
        }
        wait("the first paths", RETURN_MAX, || {
            std::thread::sleep(Duration::from_millis(200));
            Ok(self.ways() == self.first)
        })
    }
}

impl Routed<'_> {
    fn nft(&self, node: &str, script: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ground.netns(node), "nft", "-f", "-"]);
        feed(&mut command, script).context("nftables")
    }
}
