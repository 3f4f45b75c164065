//! What else on this host meddles with routes, or would drop the packets that Ballast's routes carry: found before the
//! agent starts to write, said by name with the setting to change. Reads files and `/proc`; changes nothing, runs
//! nothing, and never keeps the agent from starting.
//!
//! All paths are below a root folder that is given, `/` on a host.

use crate::core::config::Warning;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The kernel's default; hosts with many neighbours want more, none wants less.
const NEIGHBOURS_MIN: u64 = 1_024;
/// `net.ipv6.route.max_size` before it lost its meaning.
const IPV6_ROUTES_MIN: u64 = 1 << 20;
/// Linux 6.3: `max_size` no longer bounds IPv6 routes.
const IPV6_ROUTES_UNBOUNDED_SINCE: (u64, u64) = (6, 3);
/// Processes that are looked at.
const PROCESSES_MAX: usize = 100_000;
/// A configuration file that is longer is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is to be said of the host whose root folder this is, in a fixed order.
pub fn check(root: &Path) -> Vec<Warning> {
    let host = Host { root, running: running(root) };
    let checks: [fn(&Host<'_>) -> Vec<Warning>; 11] = [
        networkd,
        network_manager,
        frr,
        bird,
        docker,
        firewalld,
        ufw,
        bridges,
        reverse_path,
        neighbour_tables,
        ipv6,
    ];
    checks.iter().flat_map(|check| check(&host)).collect()
}

struct Host<'a> {
    root: &'a Path,
    /// Names of processes in the agent's network namespace.
    running: BTreeSet<String>,
}

impl Host<'_> {
    fn runs(&self, name: &str) -> bool {
        self.running.contains(name)
    }

    fn text(&self, path: &str) -> Option<String> {
        read(&self.root.join(path))
    }

    /// A sysctl's value; the name as a path below `/proc/sys`.
    fn sysctl(&self, name: &str) -> Option<u64> {
        self.text(&format!("proc/sys/{name}"))?.trim().parse().ok()
    }

    /// Configuration files as systemd and others read them: the file with this name in each of the folders, the first one
    /// hides the later ones, all in the order of their names.
    fn drop_ins(&self, folders: &[&str], extension: &str) -> Vec<(PathBuf, String)> {
        let mut files = BTreeMap::new();
        for folder in folders {
            let Ok(entries) = fs::read_dir(self.root.join(folder)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(extension) {
                    files.entry(name).or_insert_with(|| entry.path());
                }
            }
        }
        files.into_values().filter_map(|path| Some((path.clone(), read(&path)?))).collect()
    }
}

fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() <= FILE_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten()
}

/// Names of all processes, without those that are known to be in another network namespace.
fn running(root: &Path) -> BTreeSet<String> {
    let proc = root.join("proc");
    let namespace = |process: &str| fs::read_link(proc.join(process).join("ns/net")).ok();
    let own = namespace("self");
    let Ok(entries) = fs::read_dir(&proc) else { return BTreeSet::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .take(PROCESSES_MAX)
        .filter(|process| match (&own, namespace(process)) {
            (Some(own), Some(other)) => *own == other,
            _ => true,
        })
        .filter_map(|process| {
            Some(fs::read_to_string(proc.join(process).join("comm")).ok()?.trim().to_string())
        })
        .collect()
}

fn warning(name: &str, text: impl Into<String>, setting: impl Into<String>) -> Warning {
    Warning { name: name.to_string(), text: text.into(), setting: setting.into() }
}

/// Lines `key = value` of an INI file's section.
fn values<'a>(text: &'a str, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        }
        let (key, value) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';']))?;
        Some((key.trim(), value.trim()))
    })
}

fn is_no(value: &str) -> bool {
    ["no", "false", "off", "0", "n", "f"].contains(&value.to_ascii_lowercase().as_str())
}

/// systemd-networkd removes routes, rules and next hops that it did not make, unless it is told not to.
fn networkd(host: &Host<'_>) -> Vec<Warning> {
    if !host.runs("systemd-network") {
        return Vec::new();
    }
    let folders = ["etc", "run", "usr/local/lib", "usr/lib"];
    let main = folders.iter().find_map(|folder| host.text(&format!("{folder}/systemd/networkd.conf")));
    let drop_in_folders = folders.map(|folder| format!("{folder}/systemd/networkd.conf.d"));
    let drop_ins = host.drop_ins(&drop_in_folders.each_ref().map(String::as_str), ".conf");
    let texts: Vec<String> = main.into_iter().chain(drop_ins.into_iter().map(|(_, text)| text)).collect();
    let wanted = ["ManageForeignRoutes", "ManageForeignRoutingPolicyRules", "ManageForeignNextHops"];
    let on: Vec<&str> = wanted
        .into_iter()
        .filter(|key| {
            let all = texts.iter().flat_map(|text| values(text, "Network"));
            !all.filter(|(name, _)| name == key).last().is_some_and(|(_, value)| is_no(value))
        })
        .collect();
    if on.is_empty() {
        return Vec::new();
    }
    vec![warning(
        "systemd-networkd",
        "it removes routes, rules and next hops of others from the interfaces that it manages, whenever it starts or \
         reconfigures one",
        format!(
            "[Network] {} in /etc/systemd/networkd.conf.d/ballast.conf, then systemctl restart systemd-networkd",
            on.iter().map(|key| format!("{key}=no")).collect::<Vec<_>>().join(" ")
        ),
    )]
}

fn network_manager(host: &Host<'_>) -> Vec<Warning> {
    if !host.runs("NetworkManager") {
        return Vec::new();
    }
    let folders = ["etc/NetworkManager/conf.d", "run/NetworkManager/conf.d", "usr/lib/NetworkManager/conf.d"];
    let drop_ins = host.drop_ins(&folders, ".conf").into_iter().map(|(_, text)| text);
    let texts: Vec<String> =
        host.text("etc/NetworkManager/NetworkManager.conf").into_iter().chain(drop_ins).collect();
    let unmanaged = texts
        .iter()
        .flat_map(|text| values(text, "keyfile"))
        .any(|(key, value)| key == "unmanaged-devices" && !value.is_empty());
    if unmanaged {
        return Vec::new();
    }
    vec![warning(
        "NetworkManager",
        "it flushes addresses and routes of an interface that it manages whenever it activates or leaves it",
        "[keyfile] unmanaged-devices=interface-name:eth1;... with the interfaces of Ballast's links, in \
         /etc/NetworkManager/conf.d/ballast.conf, then nmcli general reload",
    )]
}

const NEXTHOPS_HIDDEN: &str = "Ballast's routes go by nexthop objects, and net.ipv4.nexthop_compat_mode=0 leaves the next hops out of \
     what the kernel tells others of them";

fn frr(host: &Host<'_>) -> Vec<Warning> {
    if !host.runs("zebra") {
        return Vec::new();
    }
    let daemons = host.text("etc/frr/daemons").unwrap_or_default();
    let options = daemons
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().strip_prefix("zebra_options="))
        .next_back();
    let words: Vec<&str> =
        options.unwrap_or_default().split(|c: char| c.is_whitespace() || c == '"' || c == '\'').collect();
    let retains = words.iter().any(|word| *word == "-r" || *word == "--retain" || word.starts_with("-r="));
    let mut all = vec![warning(
        "frr",
        format!(
            "zebra runs on this host. {NEXTHOPS_HIDDEN}: zebra passes these routes over, also for `redistribute kernel` and for \
             next hops that it tracks (`ip nht resolve-via-default`)"
        ),
        "redistribute Ballast's prefixes from a static route or a network statement instead of `redistribute kernel`; give \
         FRR's own routes another metric than 100 and 200",
    )];
    if !retains {
        all.push(warning(
            "frr-sweep",
            "zebra removes the routes of its earlier life from the kernel when it starts and when it ends: what FRR routes is \
             dark in between, also where Ballast forwards towards it",
            "zebra_options=\"... -r\" (--retain) in /etc/frr/daemons, then systemctl restart frr in a quiet hour",
        ));
    }
    all
}

fn bird(host: &Host<'_>) -> Vec<Warning> {
    let runs = ["bird", "bird6"].iter().any(|name| host.runs(name));
    let text = format!(
        "BIRD runs on this host. {NEXTHOPS_HIDDEN}: a kernel protocol with `learn` passes these routes over"
    );
    let setting = "no `learn` in BIRD's kernel protocols, or a filter that refuses krt_source 91; `metric` there neither 100 nor 200";
    runs.then(|| warning("bird", text, setting)).into_iter().collect()
}

fn docker(host: &Host<'_>) -> Vec<Warning> {
    if !host.runs("dockerd") {
        return Vec::new();
    }
    let text = host.text("etc/docker/daemon.json").unwrap_or_default();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if settings["iptables"] == false || settings["ip-forward-no-drop"] == true {
        return Vec::new();
    }
    vec![warning(
        "docker",
        "it sets the policy of the FORWARD chain to DROP: packets that this host only passes on are lost",
        "\"ip-forward-no-drop\": true in /etc/docker/daemon.json (Docker 28 and later), or accept the interfaces of Ballast's \
         links in the chain DOCKER-USER, for example iptables -I DOCKER-USER -i eth1 -j ACCEPT",
    )]
}

fn firewalld(host: &Host<'_>) -> Vec<Warning> {
    let text = "its zones refuse forwarded packets between interfaces of different zones";
    let setting = "firewall-cmd --permanent --zone=trusted --add-interface=eth1 for each interface of Ballast's links, then \
                   firewall-cmd --reload";
    host.runs("firewalld").then(|| warning("firewalld", text, setting)).into_iter().collect()
}

/// `KEY=value` of a shell-like file.
fn assigned(text: &str, key: &str) -> Option<String> {
    let mut found =
        text.lines().filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
    found.next_back().map(|value| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
}

fn ufw(host: &Host<'_>) -> Vec<Warning> {
    let enabled = host.text("etc/ufw/ufw.conf").and_then(|text| assigned(&text, "ENABLED"));
    let policy = host.text("etc/default/ufw").and_then(|text| assigned(&text, "DEFAULT_FORWARD_POLICY"));
    if enabled.as_deref() != Some("yes") || policy.as_deref() == Some("accept") {
        return Vec::new();
    }
    vec![warning(
        "ufw",
        "it drops forwarded packets: what this host only passes on is lost",
        "DEFAULT_FORWARD_POLICY=\"ACCEPT\" in /etc/default/ufw, or ufw route allow in on eth1 for each interface of Ballast's \
         links, then ufw reload",
    )]
}

fn bridges(host: &Host<'_>) -> Vec<Warning> {
    let on = |family| host.sysctl(&format!("net/bridge/bridge-nf-call-{family}tables")) == Some(1);
    let entries = fs::read_dir(host.root.join("sys/class/net")).into_iter().flatten().flatten();
    let is_there = entries.map(|entry| entry.path().join("bridge")).any(|bridge| bridge.exists());
    if !is_there || !on("ip") && !on("ip6") {
        return Vec::new();
    }
    vec![warning(
        "bridge-nf",
        "frames inside a bridge go through the IP firewall, too: links of Ballast over a bridge may be filtered",
        "net.bridge.bridge-nf-call-iptables=0 and net.bridge.bridge-nf-call-ip6tables=0 in /etc/sysctl.d/ballast.conf, where \
         nothing (Kubernetes, libvirt) needs them",
    )]
}

/// Files of sysctl.d that set strict reverse-path filtering: they are applied again to every interface that appears, after
/// the agent turned it off.
fn reverse_path(host: &Host<'_>) -> Vec<Warning> {
    let folders = ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"];
    let main = host.text("etc/sysctl.conf").map(|text| (host.root.join("etc/sysctl.conf"), text));
    let files = host.drop_ins(&folders, ".conf").into_iter().chain(main);
    let strict = |text: &str| {
        text.lines().any(|line| {
            let line = line.trim().trim_start_matches('-');
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else {
                return false;
            };
            let name = name.trim().replace('/', ".");
            name.starts_with("net.ipv4.conf.") && name.ends_with(".rp_filter") && value.trim() == "1"
        })
    };
    files
        .filter(|(_, text)| strict(text))
        .map(|(path, _)| {
            let shown = Path::new("/").join(path.strip_prefix(host.root).unwrap_or(&path));
            warning(
                "rp_filter",
                format!(
                    "{} sets strict reverse-path filtering (rp_filter = 1): packets whose way back is another link are dropped; \
                     it is applied again to each interface that appears",
                    shown.display()
                ),
                "rp_filter = 2 (loose) or 0 there, then sysctl --system",
            )
        })
        .collect()
}

fn neighbour_tables(host: &Host<'_>) -> Vec<Warning> {
    let low = |family: &&str| {
        host.sysctl(&format!("net/{family}/neigh/default/gc_thresh3"))
            .is_some_and(|found| found < NEIGHBOURS_MIN)
    };
    let families = ["ipv4", "ipv6"].into_iter().filter(low);
    families
        .map(|family| {
            warning(
                "gc_thresh3",
                format!("the {family} neighbour table holds fewer than {NEIGHBOURS_MIN} entries: when it is full, links go dark"),
                format!("net.{family}.neigh.default.gc_thresh3={} in /etc/sysctl.d/ballast.conf", 8 * NEIGHBOURS_MIN),
            )
        })
        .collect()
}

fn ipv6(host: &Host<'_>) -> Vec<Warning> {
    let disabled = host.sysctl("net/ipv6/conf/all/disable_ipv6");
    if disabled == Some(1)
        || host.root.join("proc/sys/net").exists() && !host.root.join("proc/sys/net/ipv6").exists()
    {
        return vec![warning(
            "ipv6",
            "IPv6 is disabled: next hops of both families are IPv6 link-local addresses, so no route can be installed",
            "no ipv6.disable=1 on the kernel's command line and net.ipv6.conf.all.disable_ipv6=0 in /etc/sysctl.d",
        )];
    }
    let release = host.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u64>().ok());
    let version = numbers.next().zip(numbers.next());
    let bounded = version.is_some_and(|version| version < IPV6_ROUTES_UNBOUNDED_SINCE);
    let low = host.sysctl("net/ipv6/route/max_size").is_some_and(|found| found < IPV6_ROUTES_MIN);
    let text =
        format!("this kernel ({}) stops taking IPv6 routes at net.ipv6.route.max_size", release.trim());
    let setting = "net.ipv6.route.max_size=2147483647 in /etc/sysctl.d/ballast.conf";
    (bounded && low).then(|| warning("route.max_size", text, setting)).into_iter().collect()
}

#[cfg(test)]
mod tests;
