//! What a kernel holds and what can be asked of it, as values.

use crate::core::features::Feature;
use crate::core::wanted::Places;
use ipnetwork::IpNetwork;
use plan::objects::{Family, GroupValue, NexthopValue, RouteKey, RouteValue, VxlanLink};
use plan::program::{Behaviour, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// Route and nexthop protocol, address protocol and neighbour protocol of everything that Ballast owns.
pub const PROTOCOL: u8 = 91;

/// One complete, uninterrupted reading of a kernel. A part that could not be read makes the whole reading
/// fail: a missing part is never an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Interface name -> what is known of it.
    pub links: BTreeMap<String, Link>,
    /// Every address of the host -> whether it carries our mark.
    pub addresses: BTreeMap<(String, IpNetwork), bool>,
    /// Neighbours with our mark that the kernel manages.
    pub neighbours: BTreeSet<(String, IpAddr)>,
    /// Nexthop objects with an id of our range, and all foreign ones' ids with `ours == false`.
    pub nexthops: BTreeMap<u32, ActualNexthop>,
    /// Routes with our protocol number, without those in `right`.
    pub routes: BTreeMap<RouteKey, ActualRoute>,
    /// Places of the routes that stand exactly as wanted, where the reading was compared with what is wanted.
    pub right: Places,
    /// Foreign routes that stand in the place of one of ours (same table, prefix, metric), and all foreign default routes.
    pub foreign_routes: BTreeSet<RouteKey>,
    /// Values of the sysctls that were asked for; one that the kernel does not have is absent.
    pub sysctls: BTreeMap<String, String>,
    /// VXLAN links with our mark; `None`: with options that ours never have.
    pub vxlans: BTreeMap<String, Option<VxlanLink>>,
    /// Forwarding entries of those links: link, hardware address, tunnel end.
    pub forwarding: BTreeSet<(String, [u8; 6], IpAddr)>,
    /// Permanent neighbours with our mark on those links.
    pub vxlan_neighbours: BTreeMap<(String, IpAddr), [u8; 6]>,
    /// Routes of ours in the table of local segments: the interface and what is done; `None`: something else.
    pub local_segments: BTreeMap<RouteKey, Option<(String, Behaviour)>>,
    /// Rules of ours.
    pub rules: BTreeSet<(Family, Rule)>,
    /// What this kernel cannot do, and how that was seen.
    pub missing: BTreeMap<Feature, String>,
    /// Whether all features were asked for: that takes requests for new objects, so nothing but nexthop objects is asked for
    /// before the first write.
    pub asked_for_features: bool,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// ifindex; another one means that the interface was made anew.
    pub index: u32,
    /// Hardware address, 6 bytes or none.
    pub mac: Option<[u8; 6]>,
    /// Administratively up.
    pub up: bool,
    /// Has carrier (and is up).
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

/// A nexthop object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActualNexthop {
    /// Carries our protocol number.
    pub ours: bool,
    /// What it is.
    pub kind: NexthopKind,
}

/// What a nexthop object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NexthopKind {
    /// One next hop.
    Single(NexthopValue),
    /// A group; members sorted by id.
    Group(GroupValue),
    /// Anything else (blackhole, fdb, another encapsulation).
    Other,
}

/// A route with our protocol number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActualRoute {
    /// By nexthop object; `None`: it has next hops of its own, which ours never have.
    pub value: Option<RouteValue>,
}

/// One message to the kernel (or one file of `/proc/sys`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write `/proc/sys`.
    SetSysctl {
        /// sysctl(8) name.
        name: String,
        /// Value.
        value: String,
    },
    /// `RTM_NEWLINK` on an existing interface.
    SetMtu {
        /// Interface.
        interface: String,
        /// Bytes.
        mtu: u32,
    },
    /// `RTM_NEWADDR`, replacing, without duplicate-address detection.
    PutAddress {
        /// Interface.
        interface: String,
        /// Address with prefix length.
        address: IpNetwork,
    },
    /// `RTM_DELADDR`.
    DelAddress {
        /// Interface.
        interface: String,
        /// Address with prefix length.
        address: IpNetwork,
    },
    /// `RTM_NEWNEIGH` with `NTF_EXT_MANAGED`.
    PutNeighbour {
        /// Interface.
        interface: String,
        /// Address.
        address: IpAddr,
    },
    /// `RTM_DELNEIGH`.
    DelNeighbour {
        /// Interface.
        interface: String,
        /// Address.
        address: IpAddr,
    },
    /// `RTM_NEWNEXTHOP`.
    PutNexthop {
        /// Whether ours is there already. A new one never replaces what somebody else put there meanwhile.
        replace: bool,
        /// Object id.
        id: u32,
        /// Content.
        value: NexthopValue,
    },
    /// `RTM_NEWNEXTHOP` of a group.
    PutGroup {
        /// As for a nexthop.
        replace: bool,
        /// Object id.
        id: u32,
        /// Content.
        value: GroupValue,
    },
    /// `RTM_DELNEXTHOP`, of either kind.
    DelNexthop {
        /// Object id.
        id: u32,
    },
    /// `RTM_NEWROUTE`, by `RTA_NH_ID`.
    PutRoute {
        /// As for a nexthop.
        replace: bool,
        /// Identity.
        key: RouteKey,
        /// Content.
        value: RouteValue,
    },
    /// `RTM_NEWLINK`; up, with our mark.
    PutVxlan {
        /// Whether ours is there already: what can be changed on it is.
        replace: bool,
        /// Interface name.
        name: String,
        /// Content.
        link: VxlanLink,
    },
    /// `RTM_DELLINK` of a VXLAN link with our mark.
    DelVxlan {
        /// Interface name.
        name: String,
    },
    /// `RTM_NEWNEIGH` in the bridge family, replacing.
    PutForwarding {
        /// VXLAN link.
        link: String,
        /// Hardware address.
        mac: [u8; 6],
        /// Tunnel end.
        remote: IpAddr,
    },
    /// `RTM_DELNEIGH` in the bridge family.
    DelForwarding {
        /// VXLAN link.
        link: String,
        /// Hardware address.
        mac: [u8; 6],
        /// Tunnel end.
        remote: IpAddr,
    },
    /// `RTM_NEWNEIGH`, permanent, replacing.
    PutVxlanNeighbour {
        /// VXLAN link.
        link: String,
        /// Address.
        address: IpAddr,
        /// Hardware address.
        mac: [u8; 6],
    },
    /// `RTM_DELNEIGH` of a permanent one.
    DelVxlanNeighbour {
        /// VXLAN link.
        link: String,
        /// Address.
        address: IpAddr,
    },
    /// `RTM_NEWROUTE` with a seg6local action, in the table of local segments. Removed as a route.
    PutLocalSegment {
        /// As for a nexthop.
        replace: bool,
        /// The segment.
        segment: Ipv6Addr,
        /// Interface that the route hangs on.
        interface: String,
        /// What is done.
        behaviour: Behaviour,
    },
    /// `RTM_NEWRULE`.
    PutRule {
        /// Family.
        family: Family,
        /// Content.
        rule: Rule,
    },
    /// `RTM_DELRULE` with all of its attributes and our protocol number.
    DelRule {
        /// Family.
        family: Family,
        /// Content.
        rule: Rule,
    },
    /// `RTM_DELROUTE`, with our protocol number in the request, so that it can never hit another's.
    DelRoute {
        /// Identity.
        key: RouteKey,
    },
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpError {
    /// errno, positive; 0 when the operation was never sent (its interface does not exist).
    pub errno: i32,
    /// The kernel's extended-ack text, or the errno's.
    pub text: String,
}

/// What became of each operation, in their order.
pub type OpResults = Vec<Result<(), OpError>>;
