//! What a kernel may or may not be able to do, by name. An object that needs a feature which is absent is refused with
//! that name, instead of with the kernel's errno.

/// A feature of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Nexthop objects (Linux 5.3).
    NexthopObjects,
    /// Resilient nexthop groups (Linux 5.13).
    ResilientGroups,
    /// A protocol number on addresses, `IFA_PROTO` (Linux 5.18).
    AddressProtocol,
    /// Neighbours that the kernel keeps resolved, `NTF_EXT_MANAGED` (Linux 5.16).
    ManagedNeighbours,
    /// SRv6 encapsulation (`CONFIG_IPV6_SEG6_LWTUNNEL`).
    Seg6,
    /// SRv6 segments executed here (`CONFIG_IPV6_SEG6_LWTUNNEL`).
    Seg6Local,
    /// VXLAN links (`CONFIG_VXLAN`).
    Vxlan,
    /// nf_tables that belong to a socket, `NFT_TABLE_F_OWNER` (Linux 5.12).
    NftablesOwner,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 8] = [
        Feature::NexthopObjects,
        Feature::ResilientGroups,
        Feature::AddressProtocol,
        Feature::ManagedNeighbours,
        Feature::Seg6,
        Feature::Seg6Local,
        Feature::Vxlan,
        Feature::NftablesOwner,
    ];

    /// Its key in `ballast-agent status`.
    pub fn name(self) -> &'static str {
        match self {
            Feature::NexthopObjects => "nexthop_objects",
            Feature::ResilientGroups => "resilient_groups",
            Feature::AddressProtocol => "address_protocol",
            Feature::ManagedNeighbours => "managed_neighbours",
            Feature::Seg6 => "seg6",
            Feature::Seg6Local => "seg6_local",
            Feature::Vxlan => "vxlan",
            Feature::NftablesOwner => "nftables_owner",
        }
    }

    /// What a kernel without it should have, for people.
    pub fn remedy(self) -> &'static str {
        match self {
            Feature::NexthopObjects => "nexthop objects need Linux 5.3 or newer",
            Feature::ResilientGroups => "resilient groups need Linux 5.13 or newer",
            Feature::AddressProtocol => "a protocol number on addresses needs Linux 5.18 or newer",
            Feature::ManagedNeighbours => "managed neighbours need Linux 5.16 or newer",
            Feature::Seg6 => "SRv6 encapsulation needs a kernel with CONFIG_IPV6_SEG6_LWTUNNEL",
            Feature::Seg6Local => "SRv6 segments need a kernel with CONFIG_IPV6_SEG6_LWTUNNEL",
            Feature::Vxlan => "VXLAN links need a kernel with CONFIG_VXLAN, or its module",
            Feature::NftablesOwner => {
                "nf_tables with an owner need Linux 5.12 or newer, with CONFIG_NF_TABLES"
            }
        }
    }
}
