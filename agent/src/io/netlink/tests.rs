//! Programs in real kernels: each test has a network namespace of its own, which goes with its thread.

use super::*;
use crate::core::kernel::NexthopKind;
use crate::core::reconcile::{self, reconcile};
use crate::io::namespace::{await_up, in_namespace, ip};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use plan::Objects;
use plan::objects::{GroupValue, NexthopValue, RouteKey, RouteValue};
use plan::program::Member;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(super) fn key(prefix: &str, metric: u32) -> RouteKey {
    RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric }
}

/// Two next hops, groups of one and of two, routes of both families with a backup.
pub(super) fn program() -> Objects {
    let mut objects = Objects::default();
    let member = |nexthop| Member { nexthop, weight: 1 };
    objects.sysctls.insert("net.ipv4.ip_forward".to_string(), "1".to_string());
    objects.sysctls.insert("net.ipv4.nexthop_compat_mode".to_string(), "0".to_string());
    for (number, id) in [(1, 0x5B00_0001), (2, 0x5B00_0002)] {
        let interface = format!("eth{number}");
        objects.mtus.insert(interface.clone(), 1_400);
        objects.addresses.insert((interface.clone(), "fe80::1/64".parse().unwrap()));
        objects.neighbours.insert((interface.clone(), "fe80::2".parse().unwrap()));
        objects.nexthops.insert(id, NexthopValue::new(interface, "fe80::2".parse().unwrap()));
    }
    for (interface, address) in [
        ("lo", "10.255.0.1/32"),
        ("lo", "fd00:ba11::1/128"),
        ("eth2", "192.0.2.0/31"),
        ("eth2", "2001:db8:2::/127"),
    ] {
        objects.addresses.insert((interface.to_string(), address.parse().unwrap()));
    }
    objects.groups.insert(0x5B80_0001, GroupValue::new(vec![member(0x5B00_0001)]));
    objects.groups.insert(0x5B80_0002, GroupValue::new(vec![member(0x5B00_0002)]));
    objects.groups.insert(0x5B80_0003, GroupValue::new(vec![member(0x5B00_0001), member(0x5B00_0002)]));
    let v4 = |group| RouteValue::via(group, Some("10.255.0.1".parse().unwrap()));
    let v6 = |group| RouteValue::via(group, Some("fd00:ba11::1".parse().unwrap()));
    objects.routes.insert(key("10.1.0.0/24", 100), v4(0x5B80_0001));
    objects.routes.insert(key("10.1.0.0/24", 200), v4(0x5B80_0002));
    objects.routes.insert(key("10.2.0.0/24", 100), v4(0x5B80_0003));
    objects.routes.insert(key("2001:db8:1::/64", 100), v6(0x5B80_0001));
    objects.routes.insert(key("2001:db8:1::/64", 200), v6(0x5B80_0002));
    objects
}

pub(super) fn names(objects: &Objects) -> Vec<String> {
    objects.sysctls.keys().cloned().collect()
}

/// Reconciles once and demands that everything is accepted and a second look asks for nothing.
pub(super) fn install(kernel: &mut Netlink, desired: &Objects) -> usize {
    install_but(kernel, desired, &[])
}

/// The same, with objects that have to be refused.
fn install_but(kernel: &mut Netlink, desired: &Objects, refused: &[&str]) -> usize {
    let found = reconcile(desired, &kernel.read(&names(desired)).unwrap());
    assert_eq!(found.refused.iter().map(|one| one.object.as_str()).collect::<Vec<_>>(), refused);
    let results = kernel.apply(&found.ops);
    for (op, result) in found.ops.iter().zip(&results) {
        assert_eq!(result, &Ok(()), "{}", reconcile::object(op));
    }
    let again = reconcile(desired, &kernel.read(&names(desired)).unwrap());
    assert_eq!(again.ops, vec![], "what was written is read back");
    found.ops.len()
}

#[test]
fn a_program_is_installed_read_back_seen_by_ip_and_removed() {
    in_namespace("a_program_is_installed", || {
        let mut kernel = Netlink::open().unwrap();
        let desired = program();
        assert_eq!(install(&mut kernel, &desired), 2 + 2 + 6 + 2 + 2 + 3 + 5);
        let routes = ip("route show proto 91");
        assert_eq!(routes.as_array().unwrap().len(), 3);
        assert_eq!(routes[0]["prefsrc"], "10.255.0.1");
        assert_eq!(ip("-6 route show proto 91").as_array().unwrap().len(), 2);
        assert_eq!(ip("nexthop show proto 91").as_array().unwrap().len(), 5);
        assert_eq!(ip("link show eth1")[0]["mtu"], 1_400);
        let neighbours = ip("neigh show dev eth1");
        assert!(neighbours.as_array().unwrap().iter().any(|one| one["dst"] == "fe80::2"), "{neighbours}");
        // The far end of a numbered link is reached directly, in both families.
        assert_eq!(ip("route get 192.0.2.1")[0]["dev"], "eth2");
        assert_eq!(ip("route get 2001:db8:2::1")[0]["dev"], "eth2");
        // Everything but settings goes again, in one pass and in an order that the kernel accepts.
        install(&mut kernel, &Objects::default());
        assert_eq!(ip("nexthop show"), Value::Array(vec![]));
        assert_eq!(ip("route show proto 91"), Value::Array(vec![]));
        assert!(!ip("addr show").to_string().contains("ba11"), "the loopback's address is gone");
    });
}

#[test]
fn each_refused_object_is_reported_with_the_kernels_words_and_the_others_are_installed() {
    in_namespace("each_refused_object", || {
        let mut kernel = Netlink::open().unwrap();
        install(&mut kernel, &program());
        let absent = "eth9".to_string();
        let ops = [
            Op::PutGroup {
                replace: false,
                id: 0x5B80_0009,
                value: GroupValue::new(vec![Member { nexthop: 0x5B00_0077, weight: 1 }]),
            },
            Op::PutRoute {
                replace: false,
                key: key("10.9.0.0/24", 100),
                value: RouteValue::via(0x5B80_0077, None),
            },
            Op::PutNexthop {
                replace: false,
                id: 0x5B00_0009,
                value: NexthopValue::new(absent, "fe80::2".parse().unwrap()),
            },
            Op::PutRoute {
                replace: false,
                key: key("10.8.0.0/24", 100),
                value: RouteValue::via(0x5B80_0001, None),
            },
        ];
        let results = kernel.apply(&ops);
        let errors: Vec<_> = results.iter().map(|result| result.clone().err()).collect();
        assert_eq!(errors[0].as_ref().unwrap().text, "Invalid nexthop id");
        assert_eq!(errors[1].as_ref().unwrap().text, "Nexthop id does not exist");
        assert_eq!(errors[2].as_ref().unwrap().text, "there is no interface eth9");
        assert_eq!(errors[3], None);
        ip("link set far2 down");
        let down = Op::PutNexthop {
            replace: false,
            id: 0x5B00_0008,
            value: NexthopValue::new("eth2", "fe80::2".parse().unwrap()),
        };
        assert_eq!(kernel.apply(&[down])[0].as_ref().unwrap_err().text, "Carrier for nexthop device is down");
    });
}

#[test]
fn carrier_loss_is_repaired_by_the_kernel_and_its_return_by_reconciling() {
    in_namespace("carrier_loss", || {
        let mut kernel = Netlink::open().unwrap();
        let desired = program();
        install(&mut kernel, &desired);
        ip("link set far1 down");
        wait(|| !ip("link show eth1")[0]["flags"].to_string().contains("LOWER_UP"));
        let actual = kernel.read(&[]).unwrap();
        assert!(!actual.nexthops.contains_key(&0x5B00_0001), "the nexthop went with the carrier");
        let group = NexthopKind::Group(GroupValue::new(vec![Member { nexthop: 0x5B00_0002, weight: 1 }]));
        assert_eq!(actual.nexthops[&0x5B80_0003].kind, group, "the group shed the leg");
        assert!(
            !actual.routes.contains_key(&key("10.1.0.0/24", 100))
                && actual.routes.contains_key(&key("10.1.0.0/24", 200))
        );
        let found = reconcile(&desired, &kernel.read(&names(&desired)).unwrap());
        assert_eq!(found.ops, vec![], "nothing can be done before the carrier is back");
        assert!(found.pending.iter().any(|one| one.object == "route 10.1.0.0/24 metric 100"));
        ip("link set far1 up");
        wait(|| ip("link show eth1")[0]["flags"].to_string().contains("LOWER_UP"));
        assert!(install(&mut kernel, &desired) > 0);
        // A local `link down` also takes the link-local address and the neighbour along.
        ip("link set eth1 down");
        ip("link set eth1 up");
        wait(|| ip("link show eth1")[0]["flags"].to_string().contains("LOWER_UP"));
        assert!(install(&mut kernel, &desired) >= 3);
    });
}

/// What is left of the program's objects on `eth1`, and of the routes through it alone.
fn left_on_eth1(kernel: &mut Netlink) -> BTreeSet<&'static str> {
    let actual = kernel.read(&[]).unwrap();
    let eth1 = "eth1".to_string();
    let there = [
        ("link-local address", actual.addresses.contains_key(&(eth1.clone(), "fe80::1/64".parse().unwrap()))),
        ("global address", actual.addresses.contains_key(&(eth1.clone(), "2001:db8::1/64".parse().unwrap()))),
        ("neighbour", actual.neighbours.contains(&(eth1, "fe80::2".parse().unwrap()))),
        ("nexthop", actual.nexthops.contains_key(&0x5B00_0001)),
        ("group", actual.nexthops.contains_key(&0x5B80_0001)),
        (
            "leg",
            actual.nexthops.get(&0x5B80_0003).is_some_and(
                |group| matches!(&group.kind, NexthopKind::Group(value) if value.members.len() == 2),
            ),
        ),
        ("route", actual.routes.contains_key(&key("10.1.0.0/24", 100))),
        ("backup route", actual.routes.contains_key(&key("10.1.0.0/24", 200))),
        ("shared route", actual.routes.contains_key(&key("10.2.0.0/24", 100))),
    ];
    there.into_iter().filter_map(|(what, there)| there.then_some(what)).collect()
}

#[test]
fn what_the_kernel_keeps_when_a_link_goes_down_and_comes_up_again() {
    in_namespace("what_the_kernel_keeps", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        desired.sysctls.insert("net.ipv6.conf.all.keep_addr_on_down".to_string(), "1".to_string());
        desired.addresses.insert(("eth1".to_string(), "2001:db8::1/64".parse().unwrap()));
        let all =
            ["backup route", "global address", "group", "leg", "link-local address", "neighbour", "nexthop"]
                .into_iter()
                .chain(["route", "shared route"])
                .collect::<BTreeSet<_>>();
        let untouched = ["backup route", "shared route"];
        // (end that goes down, what is left then and when it is up again)
        let far_end = ["global address", "link-local address"];
        let near_end = ["global address"];
        for (end, left) in [("far1", &far_end[..]), ("eth1", &near_end[..])] {
            install(&mut kernel, &desired);
            assert_eq!(left_on_eth1(&mut kernel), all);
            let expected: BTreeSet<_> = left.iter().chain(&untouched).copied().collect();
            ip(&format!("link set {end} down"));
            wait(|| !ip("link show eth1")[0]["flags"].to_string().contains("LOWER_UP"));
            assert_eq!(left_on_eth1(&mut kernel), expected, "{end} is down");
            ip(&format!("link set {end} up"));
            wait(|| ip("link show eth1")[0]["flags"].to_string().contains("LOWER_UP"));
            assert_eq!(
                left_on_eth1(&mut kernel),
                expected,
                "{end} is up again, and nothing came back by itself"
            );
        }
    });
}

#[test]
fn packets_of_both_families_go_through_a_link_local_next_hop() {
    in_namespace("packets_of_both_families", || {
        let (far_says, from_far) = std::sync::mpsc::channel::<nix::unistd::Pid>();
        let (near_says, from_near) = std::sync::mpsc::channel::<()>();
        let far = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            far_says.send(nix::unistd::gettid()).unwrap();
            from_near.recv().unwrap();
            ip("link set cable up");
            await_up("cable");
            install(&mut Netlink::open().unwrap(), &end_of_cable(2, 1));
            let sockets = ["10.255.0.2:7", "[fd00:ba11::2]:7"].map(socket);
            far_says.send(nix::unistd::gettid()).unwrap();
            // Echoes one packet of each family, and says where it came from.
            let sources = sockets.map(|socket| {
                let mut packet = [0; 16];
                let (length, from) = socket.recv_from(&mut packet).unwrap();
                socket.send_to(&packet[..length], from).unwrap();
                from.ip().to_string()
            });
            // The namespace, and with it the cable, lives as long as this thread.
            let _ = from_near.recv();
            sources
        });
        let thread = from_far.recv().unwrap();
        ip(&format!("link add cable index 301 type veth peer name cable index 401 netns {thread}"));
        ip("link set cable up");
        near_says.send(()).unwrap();
        await_up("cable");
        from_far.recv().unwrap();
        install(&mut Netlink::open().unwrap(), &end_of_cable(1, 2));
        assert_eq!(ip("route get 10.255.0.2")[0]["via"]["host"], "fe80::2");
        for (own, target) in [("0.0.0.0:0", "10.255.0.2:7"), ("[::]:0", "[fd00:ba11::2]:7")] {
            let socket = socket(own);
            socket.send_to(b"there and back", target).unwrap();
            let mut packet = [0; 16];
            let (length, from) = socket.recv_from(&mut packet).unwrap();
            assert_eq!((&packet[..length], from.to_string().as_str()), (&b"there and back"[..], target));
        }
        // Resolved and kept so by the kernel itself.
        wait(|| ip("neigh show to fe80::2 dev cable")[0]["state"][0] == "REACHABLE");
        drop(near_says);
        // Packets that a host sends itself come from its loopbacks.
        assert_eq!(far.join().unwrap(), ["10.255.0.1", "fd00:ba11::1"]);
    });
}

fn socket(address: &str) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// Node `own` at one end of `cable`, with routes to the loopbacks of node `other`.
fn end_of_cable(own: u8, other: u8) -> Objects {
    let mut objects = Objects::default();
    let cable = "cable".to_string();
    objects.addresses.insert((cable.clone(), format!("fe80::{own}/64").parse().unwrap()));
    objects.addresses.insert(("lo".to_string(), format!("10.255.0.{own}/32").parse().unwrap()));
    objects.addresses.insert(("lo".to_string(), format!("fd00:ba11::{own}/128").parse().unwrap()));
    let gateway: std::net::IpAddr = format!("fe80::{other}").parse().unwrap();
    objects.neighbours.insert((cable.clone(), gateway));
    objects.nexthops.insert(0x5B00_0001, NexthopValue::new(cable, gateway));
    objects.groups.insert(0x5B80_0001, GroupValue::new(vec![Member { nexthop: 0x5B00_0001, weight: 1 }]));
    for (to, source) in [
        (format!("10.255.0.{other}/32"), format!("10.255.0.{own}")),
        (format!("fd00:ba11::{other}/128"), format!("fd00:ba11::{own}")),
    ] {
        let value = RouteValue::via(0x5B80_0001, Some(source.parse().unwrap()));
        objects.routes.insert(key(&to, 100), value);
    }
    objects
}

#[test]
fn what_belongs_to_others_is_neither_hit_nor_taken_for_ours() {
    in_namespace("what_belongs_to_others", || {
        let mut kernel = Netlink::open().unwrap();
        ip("addr add 192.0.2.1/24 dev eth1");
        ip("nexthop add id 77 via 192.0.2.2 dev eth1");
        ip("nexthop add id 1526726657 via 192.0.2.3 dev eth1 proto static");
        ip("route add 10.1.0.0/24 nhid 77 metric 100 proto static");
        ip("route add 198.51.100.0/24 nhid 77");
        ip("rule add pref 5000 table 7");
        let everything = || (ip("route show"), ip("rule show"), ip("nexthop show"), ip("addr show dev eth1"));
        let before = everything();
        let refused = kernel.apply(&[
            Op::DelRoute { key: key("10.1.0.0/24", 100) },
            Op::DelRoute { key: key("198.51.100.0/24", 0) },
        ]);
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        let actual = kernel.read(&[]).unwrap();
        assert!(actual.routes.is_empty() && actual.foreign_routes.contains(&key("10.1.0.0/24", 100)));
        assert!(!actual.nexthops[&0x5B00_0001].ours);
        let found = reconcile(&program(), &actual);
        let refused: Vec<&str> = found.refused.iter().map(|one| one.object.as_str()).collect();
        assert_eq!(refused, ["nexthop 0x5b000001", "route 10.1.0.0/24 metric 100"]);
        assert_eq!(reconcile(&Objects::default(), &actual).ops, vec![], "nothing of ours is there");
        assert_eq!(everything(), before);
    });
}

#[test]
fn what_others_put_there_after_the_reading_is_not_replaced() {
    in_namespace("what_others_put_there", || {
        let mut kernel = Netlink::open().unwrap();
        let desired = program();
        let late = reconcile(&desired, &kernel.read(&names(&desired)).unwrap());
        ip("nexthop add id 1526726657 via fe80::9 dev eth1 proto static");
        ip("route add 10.1.0.0/24 dev eth2 metric 100 proto static");
        ip("-6 route add 2001:db8:1::/64 dev eth2 metric 100 proto static");
        let everything = || {
            (
                ip("nexthop show id 1526726657"),
                ip("route show proto static"),
                ip("-6 route show proto static"),
            )
        };
        let before = everything();
        let results = kernel.apply(&late.ops);
        let refused: Vec<String> = late
            .ops
            .iter()
            .zip(&results)
            .filter_map(|(op, result)| {
                Some(format!("{}: {}", reconcile::object(op), result.as_ref().err()?.text))
            })
            .collect();
        let expected = [
            "nexthop 0x5b000001: File exists",
            "route 10.1.0.0/24 metric 100: File exists",
            "route 2001:db8:1::/64 metric 100: File exists",
        ];
        assert_eq!(refused, expected);
        assert_eq!(everything(), before);
    });
}

#[test]
fn a_foreign_route_beside_ours_is_seen_in_either_order_and_outlives_ours() {
    in_namespace("a_foreign_route_beside_ours", || {
        let mut kernel = Netlink::open().unwrap();
        let desired = program();
        // With an interface's last IPv4 address the kernel takes all IPv4 routes through it, whoever made them.
        ip("addr add 203.0.113.1/24 dev eth2");
        ip("route add 10.1.0.0/24 dev eth2 metric 200 proto static");
        install_but(&mut kernel, &desired, &["route 10.1.0.0/24 metric 200"]);
        // The kernel lets the same (prefix, metric) be appended; the reading must show both owners.
        ip("route append 10.1.0.0/24 dev eth2 metric 100 proto static");
        ip("-6 route append 2001:db8:1::/64 dev eth2 metric 200 proto static");
        let value = desired.routes[&key("10.1.0.0/24", 200)];
        let after = kernel.apply(&[Op::PutRoute { replace: false, key: key("10.1.0.0/24", 200), value }]);
        assert_eq!(after[0].as_ref().unwrap_err().text, "File exists");
        let actual = kernel.read(&names(&desired)).unwrap();
        for both in [key("10.1.0.0/24", 100), key("2001:db8:1::/64", 200)] {
            assert!(actual.foreign_routes.contains(&both) && actual.routes.contains_key(&both), "{both:?}");
        }
        let found = reconcile(&desired, &actual);
        assert_eq!((found.ops.len(), found.refused.count()), (0, 3), "{:?}", found.ops);
        install(&mut kernel, &Objects::default());
        assert_eq!(ip("route show proto static").as_array().unwrap().len(), 2);
        assert_eq!(ip("-6 route show proto static").as_array().unwrap().len(), 1);
    });
}

#[test]
fn thousands_of_routes_go_in_at_once() {
    in_namespace("thousands_of_routes", || {
        let mut kernel = Netlink::open().unwrap();
        let mut desired = program();
        for number in 0..10_000u32 {
            let prefix = format!("11.{}.{}.0/24", number / 256, number % 256);
            desired.routes.insert(key(&prefix, 100), RouteValue::via(0x5B80_0003, None));
        }
        // With so many in the main table, the others are looked into one by one.
        let in_own_table = RouteKey { table: 91_254, ..key("10.1.0.0/24", 100) };
        desired.routes.insert(in_own_table, RouteValue::via(0x5B80_0003, None));
        install(&mut kernel, &desired);
        assert_eq!(ip("route show proto 91").as_array().unwrap().len(), 10_003);
        assert_eq!(install(&mut kernel, &desired), 0);
    });
}

#[test]
fn events_carry_the_number_of_the_socket_that_caused_them() {
    in_namespace("events_carry_the_number", || {
        let mut kernel = Netlink::open().unwrap();
        let mut events = Socket::new(NETLINK_ROUTE).unwrap();
        events.bind(&SocketAddr::new(0, 0)).unwrap();
        // RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP.
        for group in [7, 11, 32] {
            events.add_membership(group).unwrap();
        }
        let seen = || {
            let mut ports = Vec::new();
            loop {
                let mut buffer = Vec::with_capacity(1 << 16);
                match events.recv(&mut buffer, nix::libc::MSG_DONTWAIT) {
                    Ok(_) => {
                        ports.extend(socket::messages(&buffer).map(|message| (message.kind, message.port)))
                    }
                    Err(_) => return ports,
                }
            }
        };
        install(&mut kernel, &Objects { addresses: program().addresses, ..Objects::default() });
        seen();
        install(&mut kernel, &program());
        let own = seen();
        // Five nexthop objects and five routes, each announced once.
        assert_eq!(own.len(), 10, "{own:?}");
        assert!(own.iter().all(|(_, port)| *port == kernel.port()), "{own:?}");
        ip("nexthop del id 1526726657");
        let other = seen();
        assert!(!other.is_empty() && other.iter().all(|(_, port)| *port != kernel.port()), "{other:?}");
    });
}

fn wait(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

/// Another program: a gateway, the members of a group, an MTU are others, an address, a route and its backup are gone, routes are
/// new. `10.4.0.0/24` stays.
fn next_program() -> Objects {
    let mut objects = staying(program());
    let member = |nexthop| Member { nexthop, weight: 1 };
    objects.mtus.insert("eth2".to_string(), 1_300);
    objects.addresses.remove(&("lo".to_string(), "fd00:ba11::1/128".parse().unwrap()));
    objects.neighbours.insert(("eth2".to_string(), "fe80::3".parse().unwrap()));
    objects.neighbours.remove(&("eth2".to_string(), "fe80::2".parse().unwrap()));
    objects.nexthops.insert(0x5B00_0002, NexthopValue::new("eth2".to_string(), "fe80::3".parse().unwrap()));
    objects.groups.insert(0x5B80_0001, GroupValue::new(vec![member(0x5B00_0002)]));
    objects.groups.remove(&0x5B80_0003);
    objects.routes.retain(|key, _| key.prefix.is_ipv4() && key.metric == 100);
    objects.routes.remove(&key("10.2.0.0/24", 100));
    objects.routes.insert(key("10.3.0.0/24", 100), RouteValue::via(0x5B80_0002, None));
    objects.routes.insert(key("2001:db8:3::/64", 100), RouteValue::via(0x5B80_0001, None));
    objects
}

/// With a destination of its own group.
fn staying(mut objects: Objects) -> Objects {
    let alone = GroupValue::new(vec![Member { nexthop: 0x5B00_0001, weight: 1 }]);
    objects.groups.insert(0x5B80_0004, alone);
    objects.routes.insert(key("10.4.0.0/24", 100), RouteValue::via(0x5B80_0004, None));
    objects
}

/// All routes, next hops and rules of the namespace, whoever made them.
fn everything() -> [Value; 5] {
    [
        ip("route show table all type unicast"),
        ip("-6 route show table all type unicast"),
        ip("nexthop show"),
        ip("rule show"),
        ip("-6 rule show"),
    ]
}

#[test]
fn an_agent_that_ends_between_any_two_messages_of_a_program_is_followed_by_one_that_finishes_it() {
    in_namespace("an_agent_that_ends_between", || {
        ip("addr add 192.0.2.8/31 dev eth1");
        ip("nexthop add id 77 via 192.0.2.9 dev eth1");
        ip("route add 198.51.100.0/24 nhid 77");
        ip("route add 203.0.113.0/24 via 192.0.2.9 metric 5 proto static");
        ip("rule add pref 5000 table 7");
        let (first, next, nothing) = (staying(program()), next_program(), Objects::default());
        for (name, from, to) in [
            ("a first program", &nothing, &first),
            ("another program", &first, &next),
            ("and back", &next, &first),
            ("no program", &first, &nothing),
        ] {
            let mut kernel = Netlink::open().unwrap();
            install(&mut kernel, from);
            install(&mut kernel, to);
            let expected = everything();
            assert!(
                expected[0].to_string().contains("198.51.100.0/24"),
                "what others have is looked at, too"
            );
            let mut messages = usize::MAX;
            let mut sent = 0;
            while sent <= messages {
                install(&mut kernel, from);
                let ops = reconcile(to, &kernel.read(&names(to)).unwrap()).ops;
                messages = ops.len();
                assert!(messages > 10, "{name}: {messages}");
                let results = kernel.apply(&ops[..sent]);
                assert!(results.iter().all(Result::is_ok), "{name}, {sent} of {messages}: {results:?}");
                if from.routes.contains_key(&key("10.4.0.0/24", 100)) && !to.routes.is_empty() {
                    let way = ip("route get 10.4.0.1");
                    assert_eq!(
                        way[0]["dev"], "eth1",
                        "{name}, {sent} of {messages}: what stays was never away"
                    );
                }
                // The agent ends here; the next one knows what its ledger says and what it reads.
                let mut successor = Netlink::open().unwrap();
                install(&mut successor, to);
                assert_eq!(everything(), expected, "{name}, {sent} of {messages}");
                sent += 1;
            }
        }
    });
}
