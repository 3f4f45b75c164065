//! Hosts made of files: what is on them, and what is said of it.

#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::symlink;

/// A host made of files: `(path, text)`; a path `proc/N` makes a process of that name.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    // Every host has IPv6, unless it is told otherwise.
    let base = [("proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n"), ("proc/self/comm", "ballast-agent\n")];
    for (path, text) in base.iter().chain(files) {
        let process =
            path.strip_prefix("proc/").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let path = root.path().join(if process { format!("{path}/comm") } else { path.to_string() });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn names(files: &[(&str, &str)]) -> Vec<String> {
    check(host(files).path()).into_iter().map(|warning| warning.name).collect()
}

#[test]
fn a_quiet_host_is_warned_of_nothing() {
    assert_eq!(names(&[("proc/1", "systemd\n"), ("proc/77", "sshd\n")]), [""; 0]);
    assert_eq!(check(Path::new("/nonexistent")), []);
}

const NETWORKD: (&str, &str) = ("proc/10", "systemd-network\n");
const ZEBRA: (&str, &str) = ("proc/12", "zebra\n");
const DOCKER: (&str, &str) = ("proc/13", "dockerd\n");
const BRIDGE: (&str, &str) = ("sys/class/net/br0/bridge/bridge_id", "8000\n");
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

/// What is on the host, and the warnings that it gets.
const CASES: &[Case] = &[
    (&[NETWORKD], &["systemd-networkd"]),
    (
        &[NETWORKD, ("etc/systemd/networkd.conf", "[Network]\nManageForeignRoutes=no\n")],
        &["systemd-networkd"],
    ),
    (
        &[
            NETWORKD,
            (
                "etc/systemd/networkd.conf.d/b.conf",
                "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules = false\nManageForeignNextHops=0\n",
            ),
        ],
        &[],
    ),
    // A later file wins, whatever its folder.
    (
        &[
            NETWORKD,
            (
                "etc/systemd/networkd.conf.d/b.conf",
                "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\nManageForeignNextHops=no\n",
            ),
            ("usr/lib/systemd/networkd.conf.d/z.conf", "[Network]\nManageForeignRoutes=yes\n"),
        ],
        &["systemd-networkd"],
    ),
    // One of the same name in /etc hides the other; another section means nothing.
    (
        &[
            NETWORKD,
            (
                "usr/lib/systemd/networkd.conf.d/b.conf",
                "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\nManageForeignNextHops=no\n",
            ),
            ("etc/systemd/networkd.conf.d/b.conf", "[DHCPv4]\nManageForeignRoutes=no\n"),
        ],
        &["systemd-networkd"],
    ),
    (&[("proc/11", "NetworkManager\n")], &["NetworkManager"]),
    (
        &[
            ("proc/11", "NetworkManager\n"),
            ("etc/NetworkManager/conf.d/x.conf", "[keyfile]\nunmanaged-devices=interface-name:eth1\n"),
        ],
        &[],
    ),
    (&[ZEBRA], &["frr", "frr-sweep"]),
    (
        &[
            ZEBRA,
            ("etc/frr/daemons", "#zebra_options=\"-r\"\nzebra_options=\"  -A 127.0.0.1 -s 90000000\"\n"),
        ],
        &["frr", "frr-sweep"],
    ),
    (&[ZEBRA, ("etc/frr/daemons", "zebra_options=\"  -A 127.0.0.1 -r\"\n")], &["frr"]),
    (&[("proc/14", "bird\n")], &["bird"]),
    (&[DOCKER], &["docker"]),
    (&[DOCKER, ("etc/docker/daemon.json", "{\"iptables\": true}")], &["docker"]),
    (&[DOCKER, ("etc/docker/daemon.json", "{\"iptables\": false}")], &[]),
    (&[DOCKER, ("etc/docker/daemon.json", "{\"ip-forward-no-drop\": true}")], &[]),
    (&[("proc/15", "firewalld\n")], &["firewalld"]),
    (&[("etc/ufw/ufw.conf", "ENABLED=no\n"), ("etc/default/ufw", "DEFAULT_FORWARD_POLICY=\"DROP\"\n")], &[]),
    (
        &[("etc/ufw/ufw.conf", "ENABLED=yes\n"), ("etc/default/ufw", "DEFAULT_FORWARD_POLICY=\"DROP\"\n")],
        &["ufw"],
    ),
    (
        &[("etc/ufw/ufw.conf", "ENABLED=yes\n"), ("etc/default/ufw", "DEFAULT_FORWARD_POLICY=\"ACCEPT\"\n")],
        &[],
    ),
    (&[BRIDGE, ("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")], &["bridge-nf"]),
    (&[("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")], &[]),
    (&[BRIDGE, ("proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")], &[]),
    (&[("usr/lib/sysctl.d/50-default.conf", "net.ipv4.conf.*.rp_filter = 2\n")], &[]),
    (
        &[("etc/sysctl.d/a.conf", "# net.ipv4.conf.all.rp_filter=1\n-net/ipv4/conf/eth1/rp_filter = 1\n")],
        &["rp_filter"],
    ),
    (&[("etc/sysctl.conf", "net.ipv4.conf.all.rp_filter=1\n")], &["rp_filter"]),
    (&[("proc/sys/net/ipv4/neigh/default/gc_thresh3", "512\n")], &["gc_thresh3"]),
    (&[("proc/sys/net/ipv6/neigh/default/gc_thresh3", "1024\n")], &[]),
    (&[("proc/sys/net/ipv6/conf/all/disable_ipv6", "1\n")], &["ipv6"]),
    (
        &[
            ("proc/sys/kernel/osrelease", "5.15.0-91-generic\n"),
            ("proc/sys/net/ipv6/route/max_size", "4096\n"),
        ],
        &["route.max_size"],
    ),
    (&[("proc/sys/kernel/osrelease", "6.3.0\n"), ("proc/sys/net/ipv6/route/max_size", "4096\n")], &[]),
    (&[("proc/sys/kernel/osrelease", "weird\n"), ("proc/sys/net/ipv6/route/max_size", "4096\n")], &[]),
];

#[test]
fn each_neighbour_is_named_unless_its_setting_is_right() {
    for (files, expected) in CASES {
        assert_eq!(names(files), *expected, "{files:?}");
    }
}

#[test]
fn a_kernel_without_ipv6_is_told_apart_from_files_that_are_not_there() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("proc/sys/net/ipv4")).unwrap();
    assert_eq!(check(root.path()).first().map(|warning| warning.name.as_str()), Some("ipv6"));
}

#[test]
fn a_daemon_in_another_network_namespace_is_none_of_our_business() {
    let root = host(&[("proc/20", "zebra\n"), ("proc/21", "bird\n"), ("proc/22", "dockerd\n")]);
    for (process, namespace) in [("self", "net:[1]"), ("20", "net:[2]"), ("21", "net:[1]")] {
        fs::create_dir_all(root.path().join(format!("proc/{process}/ns"))).unwrap();
        symlink(namespace, root.path().join(format!("proc/{process}/ns/net"))).unwrap();
    }
    let found: Vec<String> = check(root.path()).into_iter().map(|warning| warning.name).collect();
    // Of the third one nothing is known: it counts.
    assert_eq!(found, ["bird", "docker"]);
}

#[test]
fn a_warning_says_what_to_change() {
    let root = host(&[
        ("proc/10", "systemd-network\n"),
        ("etc/systemd/networkd.conf", "[Network]\nManageForeignRoutes=no\n"),
    ]);
    let found = check(root.path());
    let setting = &found.first().unwrap().setting;
    assert!(!setting.contains("ManageForeignRoutes=no"), "that one is right already: {setting}");
    assert!(
        setting.contains("ManageForeignRoutingPolicyRules=no") && setting.contains("networkd.conf.d"),
        "{setting}"
    );
}
