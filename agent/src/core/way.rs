//! Which way a packet to an address takes now, as the kernel answers when it is asked.

use crate::core::kernel::PROTOCOL;
use ipnetwork::IpNetwork;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The answer for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The kernel could not be asked, in words. Nothing follows from that.
    Unknown(String),
    /// There is none.
    None,
    /// By this route.
    Route(WayRoute),
}

/// The route that a packet takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayRoute {
    /// What it is for.
    pub prefix: IpNetwork,
    /// Routing table.
    pub table: u32,
    /// Priority; lower wins.
    pub metric: u32,
    /// Who made it: a number of `rtnetlink.h` or of `rt_protos`.
    pub protocol: u8,
    /// The nexthop object (group) that it goes by.
    pub group: Option<u32>,
    /// Interface of the next hop that this packet takes.
    pub interface: Option<String>,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
}

impl Way {
    /// For `ballast-agent why`.
    pub(crate) fn json(&self, address: IpAddr) -> Value {
        match self {
            Way::Unknown(why) => json!({"address": address.to_string(), "route": null, "detail": why}),
            Way::None => {
                json!({"address": address.to_string(), "route": null, "detail": "there is no route"})
            }
            Way::Route(route) => json!({
                "address": address.to_string(),
                "route": {
                    "prefix": route.prefix.to_string(),
                    "table": route.table,
                    "metric": route.metric,
                    "protocol": route.protocol,
                    "ours": route.protocol == PROTOCOL,
                    "group": route.group,
                    "interface": route.interface,
                    "gateway": route.gateway.map(|gateway| gateway.to_string()),
                },
                "detail": "",
            }),
        }
    }
}
