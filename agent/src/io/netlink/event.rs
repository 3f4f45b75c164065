//! Kernel events to changes, message by message. What is not understood means "read everything", never "nothing happened".

use super::attribute::{Attributes, number};
use super::nexthop;
use super::read;
use super::socket::messages;
use crate::core::mirror::Change;
use crate::core::ownership::id_is_ours;
use plan::program::TABLE_SEGMENTS;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
/// Buckets of resilient groups move all day, by themselves.
const RTM_NEWNEXTHOPBUCKET: u16 = 116;
const RTM_DELNEXTHOPBUCKET: u16 = 117;
const NLM_F_REPLACE: u16 = 0x100;

/// A change and where it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// What.
    pub(crate) change: Change,
    /// The netlink socket that asked for it; 0: the kernel acted by itself.
    pub(crate) port: u32,
    /// The protocol number of a route.
    pub(crate) protocol: Option<u8>,
}

/// What one receive says; echoes of requests from `own` ports are passed over, but for those of links.
pub(crate) fn said(buffer: &[u8], own: &[u32]) -> Vec<Said> {
    let mut all = Vec::new();
    for message in messages(buffer) {
        let (kind, port, body) = (message.kind, message.port, message.body);
        let is_link = matches!(kind, RTM_NEWLINK | RTM_DELLINK);
        if own.contains(&port) && !is_link {
            continue;
        }
        let protocol = matches!(kind, RTM_NEWROUTE | RTM_DELROUTE).then(|| body.get(5).copied()).flatten();
        let change = match kind {
            RTM_NEWLINK | RTM_DELLINK => link(body, kind == RTM_NEWLINK),
            RTM_NEWROUTE | RTM_DELROUTE => route(body, kind == RTM_NEWROUTE, message.flags),
            RTM_DELADDR => Some(address(body).map_or(Change::Lost, Change::AddressGone)),
            RTM_NEWADDR | RTM_NEWRULE | RTM_DELRULE | RTM_NEWNETCONF | RTM_DELNETCONF => {
                Some(Change::Objects)
            }
            // Of the kernel's own doing only what it does to entries of ours matters, and it renews others all day.
            RTM_NEWNEIGH => (port != 0).then_some(Change::Objects),
            RTM_DELNEIGH => (port != 0 || read::is_our_neighbour(body)).then_some(Change::Objects),
            nexthop::RTM_NEWNEXTHOP | nexthop::RTM_DELNEXTHOP => match nexthop::id(body) {
                Some(id) if !id_is_ours(id) => None,
                Some(id) if kind == nexthop::RTM_DELNEXTHOP => Some(Change::NexthopGone(id)),
                Some(_) => Some(Change::Objects),
                None => Some(Change::Lost),
            },
            RTM_NEWNEXTHOPBUCKET | RTM_DELNEXTHOPBUCKET => None,
            _ => Some(Change::Lost),
        };
        all.extend(change.map(|change| Said { change, port, protocol }));
    }
    all
}

fn link(body: &[u8], there: bool) -> Option<Change> {
    Some(match read::link(body) {
        Ok(Some((interface, link))) => Change::Link { interface, carrier: there && link.carrier },
        Ok(None) => Change::Objects,
        Err(_) => Change::Lost,
    })
}

fn route(body: &[u8], there: bool, flags: u16) -> Option<Change> {
    match read::route(body) {
        // Local segments are read with everything else that is not a plain route.
        Ok(Some(((key, true), _))) if key.table == TABLE_SEGMENTS => Some(Change::Objects),
        Ok(Some(((key, ours), value))) => Some(Change::Route {
            key,
            ours,
            value: there.then_some(value),
            replaces: flags & NLM_F_REPLACE != 0,
        }),
        Ok(None) => None,
        Err(_) => Some(Change::Lost),
    }
}

fn address(body: &[u8]) -> Option<std::net::IpAddr> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    number(body, 4)?;
    let attributes = Attributes(body.get(8..)?);
    attributes.find(IFA_LOCAL).or_else(|| attributes.find(IFA_ADDRESS)).and_then(read::ip)
}

#[cfg(test)]
mod tests {
    use super::super::message::Request;
    use super::*;
    use crate::core::kernel::Op;
    use crate::core::ownership::route_is_ours;
    use plan::objects::{RouteKey, RouteValue};
    use proptest::prelude::*;

    const OWN: u32 = 4_711;
    const OTHER: u32 = 77;

    fn message(kind: u16, flags: u16, port: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Request { kind, flags, body: body.to_vec() }.append(&mut bytes, 1, 0);
        bytes[12..16].copy_from_slice(&port.to_ne_bytes());
        bytes
    }

    fn key() -> RouteKey {
        RouteKey { table: 254, prefix: "10.1.0.0/24".parse().unwrap(), metric: 100 }
    }

    /// The body that the agent itself would send for our route, with another protocol number.
    fn route_body(protocol: u8) -> Vec<u8> {
        let value = RouteValue::via(0x5B80_0001, None);
        let op = Op::PutRoute { replace: false, key: key(), value };
        let Ok(super::super::message::Act::Send(request)) = super::super::message::act(&op, |_| None) else {
            panic!("a message")
        };
        let mut body = request.body;
        body[5] = protocol;
        body
    }

    fn changes(bytes: &[u8]) -> Vec<Change> {
        said(bytes, &[OWN]).into_iter().map(|said| said.change).collect()
    }

    #[test]
    fn a_route_is_told_with_what_stands_there_now_and_whose_it_is() {
        let expect = |ours: bool, there: bool, replaces: bool| {
            let value = RouteValue::via(0x5B80_0001, None);
            let value = there.then_some(crate::core::kernel::ActualRoute { value: Some(value) });
            vec![Change::Route { key: key(), ours, value, replaces }]
        };
        for protocol in [91, 4] {
            let (ours, body) = (route_is_ours(protocol), route_body(protocol));
            assert_eq!(changes(&message(RTM_DELROUTE, 0, OTHER, &body)), expect(ours, false, false));
            assert_eq!(
                changes(&message(RTM_NEWROUTE, NLM_F_REPLACE, OTHER, &body)),
                expect(ours, true, true)
            );
            assert_eq!(said(&message(RTM_DELROUTE, 0, OTHER, &body), &[OWN])[0].protocol, Some(protocol));
            assert!(changes(&message(RTM_DELROUTE, 0, OWN, &body)).is_empty(), "our own doing");
        }
    }

    #[test]
    fn what_goes_is_named_and_what_is_not_understood_means_everything() {
        let id = |id: u32| nexthop::removal(id);
        let nexthop = |id_of: u32, kind: u16, port: u32| changes(&message(kind, 0, port, &id(id_of)));
        let ours = 0x5B00_0001;
        assert_eq!(nexthop(ours, nexthop::RTM_DELNEXTHOP, OTHER), [Change::NexthopGone(ours)]);
        assert_eq!(nexthop(ours, nexthop::RTM_NEWNEXTHOP, OTHER), [Change::Objects]);
        assert!(nexthop(ours, nexthop::RTM_DELNEXTHOP, OWN).is_empty());
        assert!(nexthop(7, nexthop::RTM_DELNEXTHOP, OTHER).is_empty(), "another owner's");
        assert_eq!(changes(&message(RTM_DELADDR, 0, OTHER, &[1, 2])), [Change::Lost], "cut off");
        assert_eq!(changes(&message(RTM_NEWRULE, 0, OTHER, &[])), [Change::Objects]);
        assert!(
            changes(&message(RTM_NEWNEIGH, 0, 0, &[])).is_empty(),
            "the kernel renews neighbours all day"
        );
        assert_eq!(changes(&message(4_000, 0, OTHER, &[])), [Change::Lost]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = said(&bytes, &[]);
        }
    }
}
