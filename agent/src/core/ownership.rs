//! Only the question "is this ours?", once per kind of object. What is not ours is never written and never removed.

use crate::core::kernel::ActualNexthop;
use plan::program::{GROUP_IDS, NEXTHOP_IDS, RULE_PRIORITIES, VXLAN_NAME_PREFIX};

/// Whether an id lies in Ballast's range of nexthop objects: 0x5B000000 to 0x5BFFFFFF.
pub fn id_is_ours(id: u32) -> bool {
    NEXTHOP_IDS.contains(&id) || GROUP_IDS.contains(&id)
}

/// Whether a nexthop object is ours: our protocol number and an id of our range, both.
pub fn nexthop_is_ours(id: u32, nexthop: &ActualNexthop) -> bool {
    nexthop.ours && id_is_ours(id)
}

/// Whether a route is ours: our protocol number.
pub fn route_is_ours(protocol: u8) -> bool {
    protocol == crate::core::kernel::PROTOCOL
}

/// Whether an address is ours: `IFA_PROTO` is our number.
pub fn address_is_ours(protocol: Option<u8>) -> bool {
    protocol == Some(crate::core::kernel::PROTOCOL)
}

/// Whether a neighbour entry is ours: `NDA_PROTOCOL` is our number and the kernel manages it.
pub fn neighbour_is_ours(protocol: Option<u8>, managed: bool) -> bool {
    managed && protocol == Some(crate::core::kernel::PROTOCOL)
}

/// Whether a permanent neighbour on a VXLAN link of ours is ours: `NDA_PROTOCOL` is our number.
pub fn vxlan_neighbour_is_ours(protocol: Option<u8>) -> bool {
    protocol == Some(crate::core::kernel::PROTOCOL)
}

/// Whether a rule is ours: our protocol number and a priority of our range, both.
pub fn rule_is_ours(protocol: u8, priority: u32) -> bool {
    protocol == crate::core::kernel::PROTOCOL && RULE_PRIORITIES.contains(&priority)
}

/// Whether an interface is a VXLAN link that Ballast made: its kind, our name prefix and our link group, all three. The
/// group is set in the message that makes the link, so there is never one of ours without it.
pub fn vxlan_is_ours(kind: &str, name: &str, group: u32) -> bool {
    kind == "vxlan"
        && name.starts_with(VXLAN_NAME_PREFIX)
        && group == u32::from(crate::core::kernel::PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kernel::NexthopKind;

    #[test]
    fn a_nexthop_needs_both_marks() {
        let nexthop = |ours| ActualNexthop { ours, kind: NexthopKind::Other };
        assert!(nexthop_is_ours(0x5B00_0001, &nexthop(true)));
        assert!(!nexthop_is_ours(0x5B00_0001, &nexthop(false)), "another daemon's object in our range");
        assert!(!nexthop_is_ours(77, &nexthop(true)), "our protocol number on an id that is not ours");
        assert!(id_is_ours(0x5BFF_FFFF) && !id_is_ours(0x5C00_0000) && !id_is_ours(0x5AFF_FFFF));
    }

    #[test]
    fn marks_of_routes_addresses_and_neighbours() {
        assert!(route_is_ours(91) && !route_is_ours(186));
        assert!(address_is_ours(Some(91)) && !address_is_ours(None) && !address_is_ours(Some(2)));
        assert!(neighbour_is_ours(Some(91), true) && !neighbour_is_ours(Some(91), false));
    }

    #[test]
    fn marks_of_rules_and_links() {
        assert!(rule_is_ours(91, 9_100) && rule_is_ours(91, 9_199));
        assert!(!rule_is_ours(91, 9_200) && !rule_is_ours(3, 9_100));
        assert!(vxlan_is_ours("vxlan", "blx7", 91));
        assert!(!vxlan_is_ours("vxlan", "blx7", 0) && !vxlan_is_ours("vxlan", "vx7", 91));
        assert!(!vxlan_is_ours("bridge", "blx7", 91));
        assert!(vxlan_neighbour_is_ours(Some(91)) && !vxlan_neighbour_is_ours(None));
    }
}
