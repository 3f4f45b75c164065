//! Each kind of object beside plain routes in a real kernel: added, changed, removed, and another owner's left alone.

use super::tests::{install, key, names, program};
use super::*;
use crate::core::kernel::NexthopKind;
use crate::core::reconcile::reconcile;
use crate::io::namespace::{in_namespace, ip};
use plan::Objects;
use plan::objects::{Family, GroupValue, NexthopValue, RouteKey, RouteValue, VxlanLink};
use plan::program::{
    Behaviour, DiscardKind, Encapsulation, Member, Resilient, Rule, TABLE_MAIN, TABLE_SEGMENTS,
};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

const OWN_TABLE: u32 = 91_000;

fn entries(arguments: &str) -> Vec<Value> {
    ip(arguments).as_array().cloned().unwrap_or_default()
}

fn rule(interface: &str, table: u32) -> Rule {
    Rule { priority: 9_100, incoming_interface: interface.to_string(), table }
}

fn in_table(prefix: &str) -> RouteKey {
    RouteKey { table: OWN_TABLE, ..key(prefix, 100) }
}

#[test]
fn rules_and_their_tables_of_both_families_go_in_change_and_go() {
    in_namespace("rules_and_their_tables", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        for family in [Family::V4, Family::V6] {
            desired.rules.insert((family, rule("eth1", OWN_TABLE)));
        }
        for prefix in ["10.1.0.0/24", "2001:db8:1::/64"] {
            desired.routes.insert(in_table(prefix), RouteValue::via(0x5B80_0002, None));
        }
        // With an interface's last IPv4 address the kernel takes all IPv4 routes through it, whoever made them.
        ip("addr add 203.0.113.1/24 dev eth2");
        ip("rule add priority 9100 iif eth2 table 77 protocol static");
        ip("route add 10.77.0.0/24 dev eth2 table 91000 proto static");
        let install_order = reconcile(&desired, &kernel.read(&names(&desired)).unwrap()).ops;
        let at = |wanted: fn(&Op) -> bool| install_order.iter().position(wanted).unwrap();
        let route = at(|op| matches!(op, Op::PutRoute { key, .. } if key.table == OWN_TABLE));
        assert!(
            route < at(|op| matches!(op, Op::PutRule { .. })),
            "routes before the rule that leads to them"
        );
        install(&mut kernel, &desired);
        for family in ["-4", "-6"] {
            let found = entries(&format!("{family} rule show priority 9100 iif eth1"));
            assert_eq!(
                (&found[0]["table"], &found[0]["protocol"]),
                (&"91000".into(), &"91".into()),
                "{found:?}"
            );
            assert_eq!(entries(&format!("{family} route show table 91000 proto 91")).len(), 1);
        }
        assert_eq!(ip("route get 10.1.0.9 iif eth1 from 192.0.2.9")[0]["dev"], "eth2", "by the rule");
        // A foreign hand takes one away; another table is wanted.
        ip("rule del priority 9100 iif eth1 table 91000");
        assert_eq!(install(&mut kernel, &desired), 1);
        let mut moved = desired.clone();
        moved.rules = [(Family::V4, rule("eth1", 91_001))].into();
        assert_eq!(install(&mut kernel, &moved), 3, "one in, two out");
        install(&mut kernel, &Objects::default());
        assert_eq!(entries("-6 rule show priority 9100").len(), 0);
        assert_eq!(entries("route show table 91000").len(), 1, "another's route stays");
        assert_eq!(entries("rule show priority 9100").len(), 1, "another's rule stays");
    });
}

#[test]
fn discards_and_a_routes_mtu_are_set_changed_in_place_and_removed() {
    in_namespace("discards_and_mtu", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        for (prefix, kind) in [
            ("10.3.0.0/24", DiscardKind::Blackhole),
            ("10.4.0.0/24", DiscardKind::Unreachable),
            ("2001:db8:3::/64", DiscardKind::Blackhole),
            ("2001:db8:4::/64", DiscardKind::Unreachable),
        ] {
            desired.routes.insert(key(prefix, 200), RouteValue::Discard(kind));
        }
        let mtu_bytes = NonZeroU32::new(1_300);
        for prefix in ["10.5.0.0/24", "2001:db8:5::/64"] {
            let value = RouteValue::Via { group: 0x5B80_0001, preferred_source: None, mtu_bytes };
            desired.routes.insert(key(prefix, 100), value);
        }
        install(&mut kernel, &desired);
        assert_eq!(ip("route show 10.3.0.0/24")[0]["type"], "blackhole");
        assert_eq!(ip("route show 10.4.0.0/24")[0]["type"], "unreachable");
        assert_eq!(ip("-6 route show 2001:db8:3::/64")[0]["type"], "blackhole");
        assert_eq!(ip("-6 route show 2001:db8:4::/64")[0]["type"], "unreachable");
        assert_eq!(ip("route show 10.5.0.0/24")[0]["metrics"][0]["mtu"], 1_300);
        assert_eq!(ip("-6 route show 2001:db8:5::/64")[0]["metrics"][0]["mtu"], 1_300);
        // Every one becomes what another was; nothing is dark meanwhile, and a second look asks for nothing.
        for (prefix, metric) in [("10.3.0.0/24", 200), ("2001:db8:3::/64", 200)] {
            desired.routes.insert(key(prefix, metric), RouteValue::via(0x5B80_0003, None));
        }
        for prefix in ["10.5.0.0/24", "2001:db8:5::/64"] {
            desired.routes.insert(key(prefix, 100), RouteValue::Discard(DiscardKind::Blackhole));
        }
        assert_eq!(install(&mut kernel, &desired), 4);
        install(&mut kernel, &Objects::default());
        assert_eq!(entries("route show proto 91").len() + entries("-6 route show proto 91").len(), 0);
    });
}

#[test]
fn ipv4_goes_over_an_ipv6_next_hop() {
    in_namespace("ipv4_over_ipv6", || {
        let mut kernel = Netlink::open().unwrap();
        install(&mut kernel, &program());
        let found = ip("-d route show 10.1.0.0/24 metric 100");
        assert_eq!(found[0]["nhid"], 0x5B80_0001);
        let via = ip("route get 10.1.0.9");
        let expected = serde_json::json!({"family": "inet6", "host": "fe80::2"});
        assert_eq!((&via[0]["via"], &via[0]["dev"]), (&expected, &"eth1".into()), "{via}");
    });
}

fn resilient(members: &[u32]) -> GroupValue {
    let members = members.iter().map(|nexthop| Member { nexthop: *nexthop, weight: 1 }).collect();
    let options = Resilient { buckets: 32, idle_timer_ms: 60_000, unbalanced_timer_ms: 0 };
    GroupValue { members, resilient: Some(options) }
}

/// Next hop of each bucket of the group 0x5b800003.
fn buckets() -> Vec<Value> {
    entries("nexthop bucket show id 1535115267")
        .iter()
        .map(|bucket| bucket["bucket"]["nhid"].clone())
        .collect()
}

#[test]
fn a_replaced_resilient_group_leaves_live_flows_in_their_buckets() {
    in_namespace("a_resilient_group", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        let (one, two, three, group) = (0x5B00_0001, 0x5B00_0002, 0x5B00_0003, 0x5B80_0003);
        desired.sysctls.insert("net.ipv4.fib_multipath_hash_policy".to_string(), "1".to_string());
        desired.nexthops.insert(three, NexthopValue::new("eth2", "fe80::3".parse().unwrap()));
        desired.groups.insert(group, resilient(&[one, two]));
        install(&mut kernel, &desired);
        // A bucket whose last packet came in the tick of the kernel's clock in which it was made counts as never used.
        std::thread::sleep(std::time::Duration::from_millis(20));
        // A flow for every bucket, by real packets: none of them is idle for a minute then.
        send_flows();
        let before = buckets();
        assert_eq!(before.iter().filter(|nexthop| **nexthop == one).count(), 16, "{before:?}");
        desired.groups.insert(group, resilient(&[one, two, three]));
        assert_eq!(install(&mut kernel, &desired), 1);
        assert_eq!(buckets(), before, "a member that comes takes no bucket of a live flow");
        // A member that goes gives up its buckets at once, and only those.
        desired.groups.insert(group, resilient(&[two, three]));
        install(&mut kernel, &desired);
        for (was, is) in before.iter().zip(buckets()) {
            assert!(is == *was || *was == one && is != one, "{was} {is}");
        }
        let other = Resilient { buckets: 64, idle_timer_ms: 500, unbalanced_timer_ms: 1_000 };
        desired.groups.insert(group, GroupValue { resilient: Some(other), ..resilient(&[two, three]) });
        let found = reconcile(&desired, &kernel.read(&names(&desired)).unwrap());
        assert!(kernel.apply(&found.ops).iter().all(Result::is_ok), "another number of buckets: made anew");
        install(&mut kernel, &desired);
        assert_eq!(buckets().len(), 64);
        install(&mut kernel, &Objects::default());
        assert_eq!(ip("nexthop show"), Value::Array(vec![]));
    });
}

/// Packets of so many flows that there is one for every bucket.
fn send_flows() {
    let socket = || std::net::UdpSocket::bind("10.255.0.1:0").unwrap();
    let (sockets, destination) = ([socket(), socket(), socket(), socket()], "10.2.0.9");
    for port in 1_000..1_250u16 {
        for socket in &sockets {
            // The far end is silent: what counts is which way was chosen.
            let _ = socket.send_to(b"x", (destination, port));
        }
    }
}

fn wrapped(segments: &[&str]) -> NexthopValue {
    let segments = segments.iter().map(|segment| segment.parse().unwrap()).collect();
    let encapsulation = Some(Encapsulation::Seg6 { segments });
    NexthopValue { encapsulation, ..NexthopValue::new("eth1", "fe80::2".parse().unwrap()) }
}

#[test]
fn an_encapsulating_next_hop_serves_both_families_and_changes_in_place() {
    in_namespace("an_encapsulating_next_hop", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        desired.nexthops.insert(0x5B00_0001, wrapped(&["fd00:5e9::1", "fd00:5e9::2"]));
        install(&mut kernel, &desired);
        let found = ip("-d nexthop show id 1526726657").to_string();
        assert!(found.contains("fd00:5e9::1") && found.contains("fd00:5e9::2"), "{found}");
        for address in ["10.1.0.9", "2001:db8:1::9"] {
            let found = ip(&format!("route get {address}")).to_string();
            assert!(found.contains("seg6") && found.contains("eth1"), "{found}");
        }
        desired.nexthops.insert(0x5B00_0001, wrapped(&["fd00:5e9::3"]));
        assert_eq!(install(&mut kernel, &desired), 1);
        desired.nexthops.insert(0x5B00_0001, NexthopValue::new("eth1", "fe80::2".parse().unwrap()));
        assert_eq!(install(&mut kernel, &desired), 1);
        let kind = NexthopKind::Single(desired.nexthops[&0x5B00_0001].clone());
        assert_eq!(kernel.read(&[]).unwrap().nexthops[&0x5B00_0001].kind, kind);
    });
}

#[test]
fn local_segments_are_set_changed_restored_and_removed() {
    in_namespace("local_segments", || {
        let mut kernel = Netlink::open().unwrap();
        let next_hop = "fe80::2".parse().unwrap();
        let at_eth1 = |behaviour| ("eth1".to_string(), behaviour);
        let mut desired = Objects::default();
        for (segment, behaviour) in [
            ("fd00:5e9::1", Behaviour::End),
            ("fd00:5e9::2", Behaviour::EndX { interface: "eth2".to_string(), next_hop }),
            ("fd00:5e9::3", Behaviour::EndDx4 { next_hop: Ipv4Addr::UNSPECIFIED }),
            ("fd00:5e9::4", Behaviour::EndDx6 { next_hop }),
            ("fd00:5e9::5", Behaviour::EndDt6 { table: TABLE_MAIN }),
        ] {
            desired.local_segments.insert(segment.parse().unwrap(), at_eth1(behaviour));
        }
        let rule = Rule { priority: 9_199, incoming_interface: String::new(), table: TABLE_SEGMENTS };
        desired.rules.insert((Family::V6, rule));
        ip("-6 route add 2001:db8:9::/64 dev eth2 table 91255 proto static");
        install(&mut kernel, &desired);
        let shown = || ip("-6 route show table 91255 proto 91").to_string();
        for action in ["\"End\"", "End.X", "End.DX4", "End.DX6", "End.DT6"] {
            assert!(shown().contains(action), "{action}: {}", shown());
        }
        // Changed by another, taken by another, lost with its interface: each is mended.
        ip(
            "-6 route replace fd00:5e9::1 encap seg6local action End.DT6 table main dev eth1 table 91255 metric 100 proto 91",
        );
        ip("-6 route del fd00:5e9::2 table 91255");
        assert_eq!(install(&mut kernel, &desired), 2);
        ip("link set eth1 down");
        assert_eq!(entries("-6 route show table 91255 proto 91").len(), 0, "they went with the interface");
        let found = reconcile(&desired, &kernel.read(&[]).unwrap());
        assert_eq!((found.ops.len(), found.pending.count()), (0, 5), "they wait for it");
        ip("link set eth1 up");
        assert_eq!(install(&mut kernel, &desired), 5);
        desired.local_segments.remove(&"fd00:5e9::1".parse().unwrap());
        assert_eq!(install(&mut kernel, &desired), 1);
        install(&mut kernel, &Objects::default());
        assert_eq!(entries("-6 route show table 91255").len(), 1, "another's route stays");
    });
}

fn vxlan(vni: u32, mac: u8) -> VxlanLink {
    let local: IpAddr = "10.255.0.1".parse().unwrap();
    VxlanLink { vni, local, port: 4_789, mac: [2, 0, 0, 0, 0, mac], mtu_bytes: 1_450 }
}

#[test]
fn a_vxlan_link_and_its_entries_are_made_changed_mended_and_removed() {
    in_namespace("a_vxlan_link", || {
        let mut kernel = Netlink::open().unwrap();
        let name = || "blx7".to_string();
        let (address, far): (IpAddr, IpAddr) = ("fe80::7".parse().unwrap(), "10.255.0.7".parse().unwrap());
        let (far_mac, other_mac) = ([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 8]);
        let mut desired = program();
        desired.vxlans.insert(name(), vxlan(7, 1));
        desired.forwarding.insert((name(), far_mac), far);
        desired.vxlan_neighbours.insert((name(), address), far_mac);
        desired.nexthops.insert(0x5B00_0003, NexthopValue::new("blx7", address));
        desired.groups.insert(0x5B80_0004, GroupValue::new(vec![Member { nexthop: 0x5B00_0003, weight: 1 }]));
        desired.routes.insert(key("10.7.0.0/24", 100), RouteValue::via(0x5B80_0004, None));
        // Others' links, of each nearly right look.
        ip("link add blx8 type vxlan id 8 dstport 4789 local 10.255.0.1");
        ip("link add vx9 type vxlan id 9 dstport 4789 local 10.255.0.1");
        ip("link set vx9 group 91");
        install(&mut kernel, &desired);
        let shown = ip("-d link show blx7");
        let data = &shown[0]["linkinfo"]["info_data"];
        assert_eq!(
            (&data["id"], &data["local"], &data["port"]),
            (&7.into(), &"10.255.0.1".into(), &4_789.into())
        );
        assert_eq!((&data["learning"], &shown[0]["mtu"]), (&false.into(), &1_450.into()), "{shown}");
        assert_eq!(shown[0]["address"], "02:00:00:00:00:01");
        assert_eq!(ip("route get 10.7.0.9")[0]["dev"], "blx7");
        let lladdr = |dev: &str| entries(&format!("neigh show dev {dev} nud permanent"));
        assert_eq!(lladdr("blx7")[0]["lladdr"], "02:00:00:00:00:07");
        // What can be changed is changed in place; the tunnel end is replaced.
        desired.vxlans.insert(name(), VxlanLink { mtu_bytes: 1_400, ..vxlan(7, 2) });
        desired.forwarding.insert((name(), far_mac), "10.255.0.9".parse().unwrap());
        desired.vxlan_neighbours.insert((name(), address), other_mac);
        assert_eq!(install(&mut kernel, &desired), 3);
        assert_eq!(ip("link show blx7")[0]["mtu"], 1_400);
        // Entries that another adds, down and removal: all mended.
        ip("neigh add fe80::99 lladdr 02:00:00:00:00:99 dev blx7 nud permanent protocol 91");
        ip("neigh add fe80::98 lladdr 02:00:00:00:00:98 dev blx7 nud permanent");
        assert_eq!(install(&mut kernel, &desired), 1, "the one with our mark goes");
        assert!(lladdr("blx7").iter().any(|one| one["dst"] == "fe80::98"), "the other stays");
        ip("link set blx7 down");
        mend(&mut kernel, &desired);
        ip("link del blx7");
        mend(&mut kernel, &desired);
        // Another identifier: the link is made anew, with all that is on it.
        desired.vxlans.insert(name(), vxlan(77, 1));
        mend(&mut kernel, &desired);
        assert_eq!(ip("-d link show blx7")[0]["linkinfo"]["info_data"]["id"], 77);
        assert_eq!(ip("route get 10.7.0.9")[0]["dev"], "blx7");
        // Another's link in the place of ours is refused and left alone.
        desired.vxlans.insert("blx8".to_string(), vxlan(8, 3));
        let found = reconcile(&desired, &kernel.read(&names(&desired)).unwrap());
        assert_eq!(
            found.refused.iter().map(|one| one.object.as_str()).collect::<Vec<_>>(),
            ["VXLAN link blx8"]
        );
        assert!(found.ops.is_empty(), "{:?}", found.ops);
        mend(&mut kernel, &Objects::default());
        let left: Vec<Value> =
            entries("link show type vxlan").iter().map(|link| link["ifname"].clone()).collect();
        assert_eq!(left, ["blx8", "vx9"]);
    });
}

/// Reconciles until a look asks for nothing: what goes with a link is seen by the next look.
fn mend(kernel: &mut Netlink, desired: &Objects) {
    for _ in 0..4 {
        let found = reconcile(desired, &kernel.read(&names(desired)).unwrap());
        if found.ops.is_empty() {
            return assert!(found.pending.is_empty(), "{:?}", found.pending);
        }
        kernel.apply(&found.ops);
    }
    panic!("it does not come to rest");
}
