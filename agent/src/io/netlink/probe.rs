//! What this kernel can do, found out by asking for what it must refuse: each request is wrong in a way that a kernel with the
//! feature complains of in other words than one without it, so nothing is ever made.

use super::attribute::append;
use super::message::Request;
use super::socket::{self, RequestSocket};
use super::{nexthop, seg6, vxlan};
use crate::core::features::Feature;
use crate::core::kernel::OpError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc::{EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM};
use std::collections::BTreeMap;
use std::io;

/// No interface has it: the kernel counts up from 1.
const NO_INTERFACE: u32 = 0x7fff_ffff;
const AF_INET: u8 = 2;
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// What is missing of what a reading needs, found out by reading alone.
pub(super) fn missing_for_reading(socket: &mut RequestSocket) -> BTreeMap<Feature, String> {
    nexthop_objects(socket).err().map(|why| (Feature::NexthopObjects, why)).into_iter().collect()
}

/// What is missing, and how that was seen. Asks for new objects.
pub(super) fn missing(socket: &mut RequestSocket) -> Result<BTreeMap<Feature, String>, String> {
    let mut missing = missing_for_reading(socket);
    let cannot = |error: io::Error| format!("the kernel's features cannot be found out: {error}");
    type Judge = fn(&OpError) -> bool;
    let is_supported: Judge = |said| said.errno != EOPNOTSUPP;
    // A value of no length: a kernel that knows the attribute says so before it looks for the interface.
    let knows_attribute: Judge = |said| said.errno != ENODEV;
    let probes: [(Feature, Request, Judge); 6] = [
        (Feature::ResilientGroups, resilient_group(), |said| {
            said.errno == EINVAL && said.text == "Invalid nexthop id"
        }),
        (Feature::AddressProtocol, address_with_empty_protocol(), knows_attribute),
        (Feature::ManagedNeighbours, neighbour_with_empty_flags(), knows_attribute),
        (Feature::Seg6, encapsulation_nowhere(), is_supported),
        (Feature::Seg6Local, local_segment_nowhere(), is_supported),
        (Feature::Vxlan, vxlan_without_options(), is_supported),
    ];
    for (feature, request, is_there) in probes {
        let said = socket.batch(&[request]).map_err(cannot)?.remove(&0);
        // Without the right to ask nothing is known, and the writes will say so themselves.
        if let Some(said) = said.filter(|said| said.errno != EPERM && !is_there(said)) {
            missing.insert(feature, words(&said));
        }
    }
    if let Err(why) = nftables_owner().map_err(cannot)? {
        missing.insert(Feature::NftablesOwner, why);
    }
    Ok(missing)
}

fn words(said: &OpError) -> String {
    format!("{} (errno {})", said.text, said.errno)
}

fn nexthop_objects(socket: &mut RequestSocket) -> Result<(), String> {
    let request = Request::by_hand(nexthop::RTM_GETNEXTHOP, nexthop::header(0, 0), 0);
    socket.dump(&request, |_, _| {}, || {}).map_err(|error| error.to_string())
}

/// A group of a member that never exists.
fn resilient_group() -> Request {
    use plan::objects::GroupValue;
    use plan::program::{GROUP_IDS, Member, Resilient};
    let resilient = Some(Resilient { buckets: 1, idle_timer_ms: 0, unbalanced_timer_ms: 0 });
    let value = GroupValue { members: vec![Member { nexthop: 0, weight: 1 }], resilient };
    Request::by_hand(nexthop::RTM_NEWNEXTHOP, nexthop::group(*GROUP_IDS.end(), &value), NEW)
}

fn address_with_empty_protocol() -> Request {
    const RTM_NEWADDR: u16 = 20;
    const IFA_LOCAL: u16 = 2;
    const IFA_PROTO: u16 = 11;
    let mut body = vec![AF_INET, 32, 0, 0];
    body.extend(NO_INTERFACE.to_ne_bytes());
    append(&mut body, IFA_LOCAL, &[192, 0, 2, 1]);
    append(&mut body, IFA_PROTO, &[]);
    Request::by_hand(RTM_NEWADDR, body, NEW)
}

fn neighbour_with_empty_flags() -> Request {
    const NDA_DST: u16 = 1;
    const NDA_FLAGS_EXT: u16 = 15;
    let mut body = vec![AF_INET, 0, 0, 0];
    body.extend(NO_INTERFACE.to_ne_bytes());
    body.extend([0; 4]);
    append(&mut body, NDA_DST, &[192, 0, 2, 1]);
    append(&mut body, NDA_FLAGS_EXT, &[]);
    Request::by_hand(vxlan::RTM_NEWNEIGH, body, NEW)
}

fn encapsulation_nowhere() -> Request {
    use plan::objects::NexthopValue;
    use plan::program::{Encapsulation, NEXTHOP_IDS};
    use std::net::Ipv6Addr;
    let gateway = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let encapsulation = Some(Encapsulation::Seg6 { segments: vec![Ipv6Addr::LOCALHOST] });
    let value = NexthopValue { encapsulation, ..NexthopValue::new("", gateway.into()) };
    let body = nexthop::single(*NEXTHOP_IDS.end(), NO_INTERFACE, &value);
    Request::by_hand(nexthop::RTM_NEWNEXTHOP, body, NEW)
}

fn local_segment_nowhere() -> Request {
    const RTM_NEWROUTE: u16 = 24;
    let segment = std::net::Ipv6Addr::LOCALHOST;
    let body = seg6::local(segment, NO_INTERFACE, &plan::program::Behaviour::End, None);
    Request::by_hand(RTM_NEWROUTE, body, NEW)
}

/// A link cannot be made without an identifier.
fn vxlan_without_options() -> Request {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    let mut info = Vec::new();
    append(&mut info, IFLA_INFO_KIND, b"vxlan\0");
    let mut body = vec![0; 16];
    append(&mut body, IFLA_IFNAME, b"blxprobe\0");
    append(&mut body, IFLA_LINKINFO | 0x8000, &info);
    Request::by_hand(vxlan::RTM_NEWLINK, body, NEW)
}

/// One transaction that makes a table with an owner and removes a table that is not there: refused as a whole in any case
/// (`linux/netfilter/nf_tables.h`). The inner error: why there are no owners.
fn nftables_owner() -> io::Result<Result<(), String>> {
    const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
    const NFNL_MSG_BATCH_END: u16 = 0x11;
    const NFT_MSG_NEWTABLE: u16 = 10 << 8;
    const NFT_MSG_DELTABLE: u16 = 10 << 8 | 2;
    const NFTA_TABLE_NAME: u16 = 1;
    const NFTA_TABLE_FLAGS: u16 = 2;
    const NFT_TABLE_F_OWNER: u32 = 2;
    const NLMSG_ERROR: u16 = 2;
    const NFPROTO_INET: u8 = 1;
    const DONT_WAIT: i32 = 0x40;
    const NEW_TABLE: u32 = 2;
    let mut netfilter = match Socket::new(NETLINK_NETFILTER) {
        Ok(netfilter) => netfilter,
        Err(error) => return Ok(Err(error.to_string())),
    };
    netfilter.bind_auto()?;
    netfilter.connect(&SocketAddr::new(0, 0))?;
    let table = |name: &[u8], flags: Option<u32>| {
        let mut body = vec![NFPROTO_INET, 0, 0, 0];
        append(&mut body, NFTA_TABLE_NAME, name);
        if let Some(flags) = flags {
            append(&mut body, NFTA_TABLE_FLAGS, &flags.to_be_bytes());
        }
        body
    };
    let edge = || vec![0, 0, 0, 10];
    let owned = table(b"ballast_probe\0", Some(NFT_TABLE_F_OWNER));
    let absent = table(b"ballast_no_such_table\0", None);
    let batch = [
        Request::by_hand(NFNL_MSG_BATCH_BEGIN, edge(), 0),
        Request::by_hand(NFT_MSG_NEWTABLE, owned, NLM_F_CREATE),
        Request::by_hand(NFT_MSG_DELTABLE, absent, 0),
        Request::by_hand(NFNL_MSG_BATCH_END, edge(), 0),
    ];
    let mut bytes = Vec::new();
    for (sequence, request) in (1..).zip(&batch) {
        request.append(&mut bytes, sequence, 0);
    }
    netfilter.send(&bytes, 0)?;
    // The kernel has answered when the send returns: it works in the caller's time.
    let mut is_known = false;
    loop {
        let mut buffer = Vec::with_capacity(1 << 14);
        match netfilter.recv(&mut buffer, DONT_WAIT) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        for message in socket::messages(&buffer).filter(|message| message.kind == NLMSG_ERROR) {
            match socket::refusal(message.body) {
                Some(said) if message.sequence <= NEW_TABLE => return Ok(Err(words(&said))),
                Some(said) => is_known |= said.errno == ENOENT,
                None => {}
            }
        }
    }
    Ok(if is_known { Ok(()) } else { Err("nf_tables gave no answer".to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::namespace::{in_namespace, ip};

    #[test]
    fn this_kernel_has_all_of_it_and_nothing_is_left_behind() {
        in_namespace("this_kernel_has_all_of_it", || {
            let mut socket = RequestSocket::open().unwrap();
            assert_eq!(missing(&mut socket), Ok(BTreeMap::new()));
            let nothing = serde_json::Value::Array(Vec::new());
            for what in ["nexthop show", "-6 route show table 91255", "neigh show to 192.0.2.1"] {
                assert_eq!(ip(what), nothing, "{what}");
            }
            assert!(!ip("link show").to_string().contains("blxprobe"));
            assert!(!ip("addr show").to_string().contains("192.0.2.1"));
            let tables = std::process::Command::new("nft").args(["list", "tables"]).output();
            assert!(tables.is_ok_and(|output| output.stdout.is_empty()), "no table is left");
        });
    }

    /// What kernels without a feature say cannot be heard here; what this one says of an unknown attribute, link kind or
    /// encapsulation is the same.
    #[test]
    fn what_this_kernel_does_not_know_it_does_not_know_in_the_words_that_count_as_missing() {
        in_namespace("what_this_kernel_does_not_know", || {
            let mut socket = RequestSocket::open().unwrap();
            let mut said = |request: Request| socket.batch(&[request]).unwrap().remove(&0).unwrap().errno;
            let unknown = |mut request: Request, from: u16, to: u16| {
                let at = request.body.windows(2).rposition(|pair| pair == from.to_ne_bytes()).unwrap();
                request.body[at..at + 2].copy_from_slice(&to.to_ne_bytes());
                request
            };
            assert_eq!(said(unknown(address_with_empty_protocol(), 11, 99)), ENODEV);
            assert_eq!(said(unknown(neighbour_with_empty_flags(), 15, 99)), ENODEV);
            let mut other_kind = vxlan_without_options();
            let at = other_kind.body.windows(5).rposition(|word| word == b"vxlan").unwrap();
            other_kind.body[at..at + 5].copy_from_slice(b"vxlaX");
            assert_eq!(said(other_kind), EOPNOTSUPP);
        });
    }
}
