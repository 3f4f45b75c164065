//! A host's program and the prefix table, to the agent protocol's messages and back. The ledger keeps the same messages.

use crate::DecodeError;
use crate::convert::{Format, octets};
use crate::extensions;
use crate::proto::agent::v1 as proto;
use plan::program::{
    Address, Class, ClassId, ClassRoute, Discard, Group, Member, Neighbour, Nexthop, Settings,
};
use plan::{PrefixTable, Program};
use std::num::NonZeroU32;

pub(crate) const PROGRAM: Format = Format("program");

pub(crate) fn write_table(table: &PrefixTable) -> proto::PrefixTable {
    let class = |class: &Class| proto::Class { id: class.id.0, name: class.name.clone() };
    let entry = |(prefix, class): &(ipnetwork::IpNetwork, ClassId)| proto::PrefixEntry {
        address: octets(prefix.ip()),
        length: u32::from(prefix.prefix()),
        class: class.0,
    };
    proto::PrefixTable {
        classes: table.classes.iter().map(class).collect(),
        entries: table.entries.iter().map(entry).collect(),
    }
}

pub(crate) fn read_table(table: proto::PrefixTable) -> Result<PrefixTable, DecodeError> {
    let classes = table.classes.into_iter().map(|class| Class { id: ClassId(class.id), name: class.name });
    let entries = table.entries.into_iter().map(|entry| {
        Ok((PROGRAM.prefix(&entry.address, entry.length, "a prefix of the table")?, ClassId(entry.class)))
    });
    let table =
        PrefixTable { classes: classes.collect(), entries: entries.collect::<Result<_, DecodeError>>()? };
    PROGRAM.rising(table.classes.iter().map(|class| class.id), "the table's classes")?;
    PROGRAM.rising(table.entries.iter().map(|(prefix, _)| prefix), "the table's prefixes")?;
    Ok(table)
}

pub(crate) fn write_program(program: &Program) -> proto::Program {
    let Settings { sysctls, mtus, addresses, neighbours, liveness } = &program.settings;
    let sysctl =
        |(name, value): (&String, &String)| proto::Sysctl { name: name.clone(), value: value.clone() };
    let mtu =
        |(interface, bytes): (&String, &u32)| proto::Mtu { interface: interface.clone(), bytes: *bytes };
    let address = |address: &Address| proto::Address {
        interface: address.interface.clone(),
        address: octets(address.address.ip()),
        length: u32::from(address.address.prefix()),
    };
    let neighbour = |neighbour: &Neighbour| proto::Neighbour {
        interface: neighbour.interface.clone(),
        address: octets(neighbour.address),
    };
    let nexthop = |nexthop: &Nexthop| proto::Nexthop {
        id: nexthop.id,
        interface: nexthop.interface.clone(),
        gateway: octets(nexthop.gateway),
        seg6: nexthop.encapsulation.as_ref().map(extensions::write_encapsulation),
    };
    let member =
        |member: &Member| proto::Member { nexthop: member.nexthop, weight: u32::from(member.weight) };
    let group = |group: &Group| proto::Group {
        id: group.id,
        members: group.members.iter().map(member).collect(),
        resilient: group.resilient.as_ref().map(extensions::write_resilient),
        route_mtu_bytes: group.route_mtu_bytes.map_or(0, NonZeroU32::get),
    };
    let route = |route: &ClassRoute| {
        let ClassRoute { class, metric, table, group } = *route;
        proto::ClassRoute { class: class.0, metric, table, group }
    };
    proto::Program {
        host: program.host.clone(),
        settings: Some(proto::Settings {
            sysctls: sysctls.iter().map(sysctl).collect(),
            mtus: mtus.iter().map(mtu).collect(),
            addresses: addresses.iter().map(address).collect(),
            neighbours: neighbours.iter().map(neighbour).collect(),
            liveness: liveness.iter().map(extensions::write_liveness).collect(),
        }),
        preferred_source_v4: program.preferred_source_v4.map(|v4| v4.octets().to_vec()).unwrap_or_default(),
        preferred_source_v6: program.preferred_source_v6.map(|v6| v6.octets().to_vec()).unwrap_or_default(),
        nexthops: program.nexthops.iter().map(nexthop).collect(),
        groups: program.groups.iter().map(group).collect(),
        classes: program.classes.iter().map(route).collect(),
        rules: program.rules.iter().map(extensions::write_rule).collect(),
        flows: Vec::new(),
        tunnels: program.vxlans.iter().map(extensions::write_vxlan).collect(),
        discards: program.discards.iter().map(extensions::write_discard).collect(),
        local_segments: program.local_segments.iter().map(extensions::write_local_segment).collect(),
    }
}

pub(crate) fn read_program(program: proto::Program) -> Result<Program, DecodeError> {
    if !program.flows.is_empty() {
        return Err(DecodeError::Unsupported { what: PROGRAM.0, part: "flows" });
    }
    let source = |bytes: &[u8], name: &str| -> Result<Option<std::net::IpAddr>, DecodeError> {
        if bytes.is_empty() { Ok(None) } else { PROGRAM.address(bytes, name).map(Some) }
    };
    let preferred_source_v4 = match source(&program.preferred_source_v4, "preferred_source_v4")? {
        None => None,
        Some(std::net::IpAddr::V4(v4)) => Some(v4),
        Some(_) => return Err(PROGRAM.bad("preferred_source_v4 is an IPv6 address")),
    };
    let preferred_source_v6 = match source(&program.preferred_source_v6, "preferred_source_v6")? {
        None => None,
        Some(std::net::IpAddr::V6(v6)) => Some(v6),
        Some(_) => return Err(PROGRAM.bad("preferred_source_v6 is an IPv4 address")),
    };
    let read = Program {
        host: program.host,
        settings: read_settings(PROGRAM.need(program.settings, "settings")?)?,
        preferred_source_v4,
        preferred_source_v6,
        nexthops: program.nexthops.into_iter().map(read_nexthop).collect::<Result<_, _>>()?,
        groups: program.groups.into_iter().map(read_group).collect::<Result<_, _>>()?,
        classes: program.classes.into_iter().map(read_class_route).collect::<Result<_, _>>()?,
        rules: program.rules.into_iter().map(extensions::read_rule).collect::<Result<_, _>>()?,
        discards: program.discards.into_iter().map(extensions::read_discard).collect::<Result<_, _>>()?,
        local_segments: (program.local_segments.into_iter())
            .map(extensions::read_local_segment)
            .collect::<Result<_, _>>()?,
        vxlans: program.tunnels.into_iter().map(extensions::read_vxlan).collect::<Result<_, _>>()?,
    };
    PROGRAM.rising(read.nexthops.iter().map(|nexthop| nexthop.id), "nexthops")?;
    PROGRAM.rising(read.groups.iter().map(|group| group.id), "groups")?;
    PROGRAM.rising(read.classes.iter().map(|route| (route.class, route.metric, route.table)), "classes")?;
    PROGRAM.rising(&read.rules, "rules")?;
    let key = |discard: &Discard| (discard.table, discard.prefix, discard.metric);
    PROGRAM.rising(read.discards.iter().map(key), "discards")?;
    PROGRAM.rising(read.local_segments.iter().map(|local| local.segment), "local segments")?;
    PROGRAM.rising(read.vxlans.iter().map(|vxlan| &vxlan.name), "tunnels")?;
    Ok(read)
}

fn read_class_route(route: proto::ClassRoute) -> Result<ClassRoute, DecodeError> {
    let proto::ClassRoute { class, metric, table, group } = route;
    extensions::check_table(table)?;
    Ok(ClassRoute { class: ClassId(class), metric, table, group })
}

fn read_settings(settings: proto::Settings) -> Result<Settings, DecodeError> {
    PROGRAM.rising(settings.sysctls.iter().map(|sysctl| &sysctl.name), "sysctls")?;
    PROGRAM.rising(settings.mtus.iter().map(|mtu| &mtu.interface), "MTUs")?;
    let address = |address: proto::Address| -> Result<Address, DecodeError> {
        let network = PROGRAM.network(&address.address, address.length, "an address")?;
        Ok(Address { interface: address.interface, address: network })
    };
    let neighbour = |neighbour: proto::Neighbour| -> Result<Neighbour, DecodeError> {
        let address = PROGRAM.address(&neighbour.address, "a neighbour")?;
        Ok(Neighbour { interface: neighbour.interface, address })
    };
    let read = Settings {
        sysctls: settings.sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        mtus: settings.mtus.into_iter().map(|mtu| (mtu.interface, mtu.bytes)).collect(),
        addresses: settings.addresses.into_iter().map(address).collect::<Result<_, _>>()?,
        neighbours: settings.neighbours.into_iter().map(neighbour).collect::<Result<_, _>>()?,
        liveness: settings.liveness.into_iter().map(extensions::read_liveness).collect::<Result<_, _>>()?,
    };
    PROGRAM.rising(&read.addresses, "addresses")?;
    PROGRAM.rising(&read.neighbours, "neighbours")?;
    PROGRAM.rising(read.liveness.iter().map(|liveness| &liveness.interface), "liveness")?;
    Ok(read)
}

fn read_nexthop(nexthop: proto::Nexthop) -> Result<Nexthop, DecodeError> {
    let gateway = PROGRAM.address(&nexthop.gateway, "a gateway")?;
    if !plan::program::NEXTHOP_IDS.contains(&nexthop.id) {
        return Err(PROGRAM.bad(format!("nexthop id {:#x} is outside of Ballast's range", nexthop.id)));
    }
    let encapsulation = nexthop.seg6.map(extensions::read_encapsulation).transpose()?;
    Ok(Nexthop { id: nexthop.id, interface: nexthop.interface, gateway, encapsulation })
}

fn read_group(group: proto::Group) -> Result<Group, DecodeError> {
    if !plan::program::GROUP_IDS.contains(&group.id) {
        return Err(PROGRAM.bad(format!("group id {:#x} is outside of Ballast's range", group.id)));
    }
    let member = |member: proto::Member| -> Result<Member, DecodeError> {
        let weight = u16::try_from(member.weight).ok().filter(|weight| (1..=256).contains(weight));
        let weight = weight.ok_or_else(|| {
            PROGRAM.bad(format!(
                "a member of group {:#x} has weight {}, must be 1 to 256",
                group.id, member.weight
            ))
        })?;
        Ok(Member { nexthop: member.nexthop, weight })
    };
    let members: Vec<Member> = group.members.into_iter().map(member).collect::<Result<_, _>>()?;
    PROGRAM.rising(members.iter().map(|member| member.nexthop), "a group's members")?;
    if members.is_empty() {
        return Err(PROGRAM.bad(format!("group {:#x} is empty", group.id)));
    }
    let resilient = group.resilient.map(extensions::read_resilient).transpose()?;
    Ok(Group { id: group.id, members, resilient, route_mtu_bytes: NonZeroU32::new(group.route_mtu_bytes) })
}
