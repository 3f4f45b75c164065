//! Parts of a program beyond plain routes: rules, discards, encapsulations, resilient groups, local segments, VXLAN links
//! and liveness. An older agent refuses a program with one of them, as unsupported or by its digest.

use crate::DecodeError;
use crate::convert::octets;
use crate::program::PROGRAM;
use crate::proto::agent::v1::{self as proto, local_segment};
use plan::program::{
    Behaviour, Discard, DiscardKind, Encapsulation, INTERFACE_NAME_BYTES_MAX, Liveness, LocalSegment,
    OWN_TABLES, RULE_PRIORITIES, Resilient, Rule, SEGMENTS_MAX, TABLE_MAIN, VXLAN_NAME_PREFIX, Vxlan,
    VxlanForwarding, VxlanNeighbour,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a tunnel of the only kind is called.
const KIND_VXLAN: &str = "vxlan";
/// Kernels count the timers of resilient groups in hundredths of a second: another value would never read back equal.
const TIMER_STEP_MS: u32 = 10;
const VNI_MAX: u32 = (1 << 24) - 1;

/// Routes live in the main table and in Ballast's own ones: nowhere else is read or cleaned.
pub(crate) fn check_table(table: u32) -> Result<(), DecodeError> {
    if table == TABLE_MAIN || OWN_TABLES.contains(&table) {
        return Ok(());
    }
    Err(PROGRAM.bad(format!("table {table} is neither the main table nor one of Ballast's")))
}

pub(crate) fn write_liveness(liveness: &Liveness) -> proto::Liveness {
    proto::Liveness {
        interface: liveness.interface.clone(),
        interval_ms: liveness.interval_ms,
        multiplier: u32::from(liveness.multiplier),
    }
}

pub(crate) fn read_liveness(liveness: proto::Liveness) -> Result<Liveness, DecodeError> {
    let proto::Liveness { interface, interval_ms, multiplier } = liveness;
    let short = u8::try_from(multiplier).ok().filter(|short| *short > 0 && interval_ms > 0);
    let multiplier = short.ok_or_else(|| {
        PROGRAM.bad(format!("liveness of {interface} is {multiplier} times {interval_ms} ms"))
    })?;
    Ok(Liveness { interface, interval_ms, multiplier })
}

pub(crate) fn write_encapsulation(encapsulation: &Encapsulation) -> proto::Seg6 {
    let Encapsulation::Seg6 { segments } = encapsulation;
    proto::Seg6 { segments: segments.iter().map(|segment| segment.octets().to_vec()).collect() }
}

pub(crate) fn read_encapsulation(seg6: proto::Seg6) -> Result<Encapsulation, DecodeError> {
    if seg6.segments.is_empty() || seg6.segments.len() > SEGMENTS_MAX {
        return Err(PROGRAM.bad(format!(
            "an encapsulation has {} segments, must have 1 to {SEGMENTS_MAX}",
            seg6.segments.len()
        )));
    }
    let segments = seg6.segments.iter().map(|segment| six(segment, "a segment"));
    Ok(Encapsulation::Seg6 { segments: segments.collect::<Result<_, _>>()? })
}

pub(crate) fn write_resilient(resilient: &Resilient) -> proto::Resilient {
    let Resilient { buckets, idle_timer_ms, unbalanced_timer_ms } = *resilient;
    proto::Resilient { buckets: u32::from(buckets), idle_timer_ms, unbalanced_timer_ms }
}

pub(crate) fn read_resilient(resilient: proto::Resilient) -> Result<Resilient, DecodeError> {
    let proto::Resilient { buckets, idle_timer_ms, unbalanced_timer_ms } = resilient;
    let short = u16::try_from(buckets).ok().filter(|short| *short > 0);
    let buckets = short.ok_or_else(|| {
        PROGRAM.bad(format!("a resilient group has {buckets} buckets, must have 1 to 65535"))
    })?;
    for ms in [idle_timer_ms, unbalanced_timer_ms] {
        if !ms.is_multiple_of(TIMER_STEP_MS) {
            return Err(PROGRAM.bad(format!(
                "a timer of a resilient group is {ms} ms, must be a multiple of {TIMER_STEP_MS}"
            )));
        }
    }
    Ok(Resilient { buckets, idle_timer_ms, unbalanced_timer_ms })
}

pub(crate) fn write_rule(rule: &Rule) -> proto::Rule {
    proto::Rule {
        priority: rule.priority,
        mark: 0,
        mask: 0,
        table: rule.table,
        input_interface: rule.incoming_interface.clone(),
    }
}

pub(crate) fn read_rule(rule: proto::Rule) -> Result<Rule, DecodeError> {
    let proto::Rule { priority, mark, mask, table, input_interface } = rule;
    if (mark, mask) != (0, 0) {
        return Err(DecodeError::Unsupported { what: PROGRAM.0, part: "rules by packet mark" });
    }
    if !RULE_PRIORITIES.contains(&priority) {
        return Err(PROGRAM.bad(format!("a rule has priority {priority}, outside of Ballast's range")));
    }
    if !OWN_TABLES.contains(&table) {
        return Err(PROGRAM.bad(format!("rule {priority} leads to table {table}, which is not Ballast's")));
    }
    if input_interface.is_empty() {
        return Err(PROGRAM.bad(format!("rule {priority} has no interface")));
    }
    Ok(Rule { priority, incoming_interface: input_interface, table })
}

pub(crate) fn write_discard(discard: &Discard) -> proto::Discard {
    let kind = match discard.kind {
        DiscardKind::Blackhole => proto::DiscardKind::Blackhole,
        DiscardKind::Unreachable => proto::DiscardKind::Unreachable,
    };
    proto::Discard {
        table: discard.table,
        address: octets(discard.prefix.ip()),
        length: u32::from(discard.prefix.prefix()),
        metric: discard.metric,
        kind: kind.into(),
    }
}

pub(crate) fn read_discard(discard: proto::Discard) -> Result<Discard, DecodeError> {
    let prefix = PROGRAM.prefix(&discard.address, discard.length, "a discard's prefix")?;
    check_table(discard.table)?;
    let kind = match discard.kind() {
        proto::DiscardKind::Blackhole => DiscardKind::Blackhole,
        proto::DiscardKind::Unreachable => DiscardKind::Unreachable,
        proto::DiscardKind::Unspecified => {
            return Err(PROGRAM.bad(format!("discard {prefix} has no known kind")));
        }
    };
    Ok(Discard { table: discard.table, prefix, metric: discard.metric, kind })
}

pub(crate) fn write_local_segment(local: &LocalSegment) -> proto::LocalSegment {
    let behaviour = match &local.behaviour {
        Behaviour::End => local_segment::Behaviour::End(proto::End {}),
        Behaviour::EndX { interface, next_hop } => local_segment::Behaviour::EndX(proto::EndX {
            interface: interface.clone(),
            next_hop: next_hop.octets().to_vec(),
        }),
        Behaviour::EndDx4 { next_hop } => local_segment::Behaviour::EndDx4(next_hop.octets().to_vec()),
        Behaviour::EndDx6 { next_hop } => local_segment::Behaviour::EndDx6(next_hop.octets().to_vec()),
        Behaviour::EndDt6 { table } => local_segment::Behaviour::EndDt6(*table),
    };
    proto::LocalSegment {
        segment: local.segment.octets().to_vec(),
        interface: local.interface.clone(),
        behaviour: Some(behaviour),
    }
}

pub(crate) fn read_local_segment(local: proto::LocalSegment) -> Result<LocalSegment, DecodeError> {
    let segment = six(&local.segment, "a local segment")?;
    let behaviour = match PROGRAM.need(local.behaviour, "a local segment's behaviour")? {
        local_segment::Behaviour::End(proto::End {}) => Behaviour::End,
        local_segment::Behaviour::EndX(proto::EndX { interface, next_hop }) => {
            Behaviour::EndX { interface, next_hop: six(&next_hop, "the next hop of End.X")? }
        }
        local_segment::Behaviour::EndDx4(next_hop) => {
            let next_hop: [u8; 4] = PROGRAM.array(&next_hop, "the next hop of End.DX4")?;
            Behaviour::EndDx4 { next_hop: Ipv4Addr::from(next_hop) }
        }
        local_segment::Behaviour::EndDx6(next_hop) => {
            Behaviour::EndDx6 { next_hop: six(&next_hop, "the next hop of End.DX6")? }
        }
        local_segment::Behaviour::EndDt6(table) => {
            check_table(table)?;
            Behaviour::EndDt6 { table }
        }
    };
    Ok(LocalSegment { segment, interface: local.interface, behaviour })
}

pub(crate) fn write_vxlan(vxlan: &Vxlan) -> proto::Tunnel {
    let forwarding = |entry: &VxlanForwarding| proto::TunnelForwarding {
        mac: entry.mac.to_vec(),
        remote: octets(entry.remote),
    };
    let neighbour = |entry: &VxlanNeighbour| proto::TunnelNeighbour {
        address: octets(entry.address),
        mac: entry.mac.to_vec(),
    };
    proto::Tunnel {
        name: vxlan.name.clone(),
        kind: KIND_VXLAN.to_string(),
        identifier: vxlan.vni,
        local: octets(vxlan.local),
        port: u32::from(vxlan.port),
        mac: vxlan.mac.to_vec(),
        mtu_bytes: vxlan.mtu_bytes,
        forwarding: vxlan.forwarding.iter().map(forwarding).collect(),
        neighbours: vxlan.neighbours.iter().map(neighbour).collect(),
    }
}

pub(crate) fn read_vxlan(tunnel: proto::Tunnel) -> Result<Vxlan, DecodeError> {
    let name = tunnel.name;
    if tunnel.kind != KIND_VXLAN {
        return Err(DecodeError::Unsupported { what: PROGRAM.0, part: "tunnels of an unknown kind" });
    }
    if !name.starts_with(VXLAN_NAME_PREFIX) || name.len() > INTERFACE_NAME_BYTES_MAX {
        return Err(
            PROGRAM.bad(format!("VXLAN link {name:?} must begin with {VXLAN_NAME_PREFIX} and be short"))
        );
    }
    if tunnel.identifier > VNI_MAX {
        return Err(PROGRAM.bad(format!("VXLAN link {name} has the identifier {}", tunnel.identifier)));
    }
    let port = u16::try_from(tunnel.port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| PROGRAM.bad(format!("VXLAN link {name} has port {}", tunnel.port)))?;
    let forwarding = |entry: proto::TunnelForwarding| -> Result<VxlanForwarding, DecodeError> {
        let remote = PROGRAM.address(&entry.remote, "a tunnel's end")?;
        Ok(VxlanForwarding { mac: mac(&entry.mac)?, remote })
    };
    let neighbour = |entry: proto::TunnelNeighbour| -> Result<VxlanNeighbour, DecodeError> {
        let address = PROGRAM.address(&entry.address, "a tunnel's neighbour")?;
        Ok(VxlanNeighbour { address, mac: mac(&entry.mac)? })
    };
    let read = Vxlan {
        vni: tunnel.identifier,
        local: PROGRAM.address(&tunnel.local, "a tunnel's own end")?,
        port,
        mac: mac(&tunnel.mac)?,
        mtu_bytes: tunnel.mtu_bytes,
        forwarding: tunnel.forwarding.into_iter().map(forwarding).collect::<Result<_, _>>()?,
        neighbours: tunnel.neighbours.into_iter().map(neighbour).collect::<Result<_, _>>()?,
        name,
    };
    PROGRAM.rising(read.forwarding.iter().map(|entry| entry.mac), "a tunnel's forwarding entries")?;
    PROGRAM.rising(read.neighbours.iter().map(|entry| entry.address), "a tunnel's neighbours")?;
    Ok(read)
}

/// A unicast hardware address that is not zero.
fn mac(bytes: &[u8]) -> Result<[u8; 6], DecodeError> {
    let mac: [u8; 6] = PROGRAM.array(bytes, "a hardware address")?;
    if mac[0] & 1 == 0 && mac != [0; 6] {
        return Ok(mac);
    }
    Err(PROGRAM.bad(format!("{} is not the hardware address of one interface", plan::diff::mac_text(&mac))))
}

fn six(bytes: &[u8], name: &str) -> Result<Ipv6Addr, DecodeError> {
    match PROGRAM.address(bytes, name)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(address) => Err(PROGRAM.bad(format!("{name} is the IPv4 address {address}"))),
    }
}
