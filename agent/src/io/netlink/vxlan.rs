//! VXLAN links, their forwarding entries and their permanent neighbours (`linux/if_link.h`, `linux/neighbour.h`).

use super::attribute::{Attributes, append, array, number};
use super::message::append_ip;
use super::read::ip;
use crate::core::kernel::PROTOCOL;
use crate::core::ownership::{vxlan_is_ours, vxlan_neighbour_is_ours};
use plan::objects::VxlanLink;
use std::net::IpAddr;

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
/// Big endian.
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
const NLA_F_NESTED: u16 = 0x8000;
const IFF_UP: u32 = 1;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_PROTOCOL: u16 = 12;
const AF_BRIDGE: u8 = 7;
/// The entry is the device's own, not its bridge's.
const NTF_SELF: u8 = 2;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
/// `struct ifinfomsg`: family, pad, u16 type, i32 index, u32 flags, u32 change.
const LINK_BYTES: usize = 16;
/// `struct ndmsg`: family, three pads, i32 index, u16 state, flags, type.
const NEIGHBOUR_BYTES: usize = 12;

fn link_header(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body
}

/// Body of a message that makes a link, with our mark from its first moment on.
pub(super) fn new(name: &str, link: &VxlanLink) -> Vec<u8> {
    let mut data = Vec::new();
    append(&mut data, IFLA_VXLAN_ID, &link.vni.to_ne_bytes());
    let local = if link.local.is_ipv4() { IFLA_VXLAN_LOCAL } else { IFLA_VXLAN_LOCAL6 };
    append_ip(&mut data, local, link.local);
    append(&mut data, IFLA_VXLAN_LEARNING, &[0]);
    append(&mut data, IFLA_VXLAN_PORT, &link.port.to_be_bytes());
    let mut info = Vec::new();
    append(&mut info, IFLA_INFO_KIND, b"vxlan\0");
    append(&mut info, IFLA_INFO_DATA | NLA_F_NESTED, &data);
    let mut body = changed(0, link);
    append(&mut body, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    append(&mut body, IFLA_GROUP, &u32::from(PROTOCOL).to_ne_bytes());
    append(&mut body, IFLA_LINKINFO | NLA_F_NESTED, &info);
    body
}

/// Body of a message that sets what can be changed on a link that is there, and brings it up.
pub(super) fn changed(index: u32, link: &VxlanLink) -> Vec<u8> {
    let mut body = link_header(index);
    append(&mut body, IFLA_ADDRESS, &link.mac);
    append(&mut body, IFLA_MTU, &link.mtu_bytes.to_ne_bytes());
    body
}

/// Body of a message that removes a link.
pub(super) fn removal(index: u32) -> Vec<u8> {
    let mut body = vec![0; LINK_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body
}

/// A link of ours with its name; the inner `None`: it has options that ours never have.
pub(super) fn parse(body: &[u8]) -> Option<(String, Option<VxlanLink>)> {
    let attributes = Attributes(body.get(LINK_BYTES..)?);
    let text = |value: &[u8]| {
        let text = value.split(|byte| *byte == 0).next().unwrap_or(value);
        String::from_utf8_lossy(text).into_owned()
    };
    let name = text(attributes.find(IFLA_IFNAME)?);
    let info = Attributes(attributes.find(IFLA_LINKINFO)?);
    let kind = text(info.find(IFLA_INFO_KIND)?);
    let group = attributes.find(IFLA_GROUP).and_then(|value| number(value, 0))?;
    vxlan_is_ours(&kind, &name, group).then(|| (name, content(&attributes, &info)))
}

fn content(attributes: &Attributes<'_>, info: &Attributes<'_>) -> Option<VxlanLink> {
    let data = Attributes(info.find(IFLA_INFO_DATA)?);
    let is_set = |kind| data.find(kind).is_some_and(|value: &[u8]| value.iter().any(|byte| *byte != 0));
    let strange = [IFLA_VXLAN_LEARNING, IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6, IFLA_VXLAN_COLLECT_METADATA];
    if strange.into_iter().any(is_set) {
        return None;
    }
    Some(VxlanLink {
        vni: number(data.find(IFLA_VXLAN_ID)?, 0)?,
        local: data.find(IFLA_VXLAN_LOCAL).or_else(|| data.find(IFLA_VXLAN_LOCAL6)).and_then(ip)?,
        port: u16::from_be_bytes(array(data.find(IFLA_VXLAN_PORT)?, 0)?),
        mac: attributes.find(IFLA_ADDRESS)?.try_into().ok()?,
        mtu_bytes: number(attributes.find(IFLA_MTU)?, 0)?,
    })
}

fn neighbour_header(family: u8, index: u32, state: u16, flags: u8) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(state.to_ne_bytes());
    body.extend([flags, 0]);
    body
}

/// Asks for the forwarding entries of a link.
pub(super) fn all_forwarding(index: u32) -> Vec<u8> {
    neighbour_header(AF_BRIDGE, index, 0, 0)
}

/// Body of a message that makes or removes a forwarding entry.
pub(super) fn forwarding(index: u32, mac: [u8; 6], remote: IpAddr) -> Vec<u8> {
    let mut body = neighbour_header(AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF);
    append(&mut body, NDA_LLADDR, &mac);
    append_ip(&mut body, NDA_DST, remote);
    body
}

/// A forwarding entry: interface number, hardware address, tunnel end.
pub(super) fn parse_forwarding(body: &[u8]) -> Option<(u32, [u8; 6], IpAddr)> {
    let index = number(body, 4)?;
    let attributes = Attributes(body.get(NEIGHBOUR_BYTES..)?);
    let mac = attributes.find(NDA_LLADDR)?.try_into().ok()?;
    Some((index, mac, attributes.find(NDA_DST).and_then(ip)?))
}

/// Body of a message that makes (with a hardware address) or removes a permanent neighbour.
pub(super) fn neighbour(index: u32, address: IpAddr, mac: Option<[u8; 6]>) -> Vec<u8> {
    let family = if address.is_ipv4() { 2 } else { 10 };
    let mut body = neighbour_header(family, index, NUD_PERMANENT, 0);
    append_ip(&mut body, NDA_DST, address);
    if let Some(mac) = mac {
        append(&mut body, NDA_LLADDR, &mac);
        append(&mut body, NDA_PROTOCOL, &[PROTOCOL]);
    }
    body
}

/// A permanent neighbour with our mark: interface number, address, hardware address.
pub(super) fn parse_neighbour(body: &[u8]) -> Option<(u32, IpAddr, [u8; 6])> {
    let index = number(body, 4)?;
    let state = u16::from_ne_bytes(array(body, 8)?);
    let attributes = Attributes(body.get(NEIGHBOUR_BYTES..)?);
    let protocol = attributes.find(NDA_PROTOCOL).and_then(|value| value.first().copied());
    if state & NUD_PERMANENT == 0 || !vxlan_neighbour_is_ours(protocol) {
        return None;
    }
    let mac = attributes.find(NDA_LLADDR)?.try_into().ok()?;
    Some((index, attributes.find(NDA_DST).and_then(ip)?, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        for local in ["10.255.0.1", "fd00::1"] {
            let local = local.parse().unwrap();
            let link = VxlanLink { vni: 7, local, port: 4_789, mac: [2, 0, 0, 0, 0, 1], mtu_bytes: 1_450 };
            assert_eq!(parse(&new("blx7", &link)), Some(("blx7".to_string(), Some(link.clone()))));
            assert_eq!(parse(&new("vx7", &link)), None, "another's");
            let entry = forwarding(5, [4; 6], local);
            assert_eq!(parse_forwarding(&entry), Some((5, [4; 6], local)));
            assert_eq!(parse_neighbour(&neighbour(5, local, Some([4; 6]))), Some((5, local, [4; 6])));
            assert_eq!(parse_neighbour(&neighbour(5, local, None)), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&bytes), parse_forwarding(&bytes), parse_neighbour(&bytes));
        }
    }
}
