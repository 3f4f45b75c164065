//! The format's keys in one table: the reader, the JSON Schema and the reference of all keys come from it.
//!
//! Says which keys each mapping has, of which type, and what they mean. Never reads a file.

use std::ops::RangeInclusive;

/// Cost of a link where neither the link, nor its ends' kinds, nor the defaults say one.
pub(crate) const COST_DEFAULT: u32 = 10;

/// Costs of sending over a link.
pub(crate) const COST: RangeInclusive<u64> = 1..=4_294_967_295;

/// Smallest and largest MTU in bytes: IPv6 needs 1280 (RFC 8200, section 5), IP packets end at 65535.
pub(crate) const MTU_BYTES: RangeInclusive<u64> = 1280..=65_535;

/// Longest path that an invariant can allow, in links: the largest hop limit (RFC 8200, section 3).
pub(crate) const HOPS: RangeInclusive<u64> = 1..=255;

/// How agents can reach controllers.
pub(crate) const MANAGEMENT: [&str; 2] = ["separate", "in_band"];

/// Numbers of controllers.
pub(crate) const CONTROLLER_ID: RangeInclusive<u64> = 1..=65_535;

/// Links that a bundle can ask for.
pub(crate) const MIN_LINKS: RangeInclusive<u64> = 1..=65_535;

/// Hosts of a change's first step.
pub(crate) const CANARY_HOSTS: RangeInclusive<u64> = 1..=4_294_967_295;

/// Hundredths of a link's capacity. More than all of it is a network that is oversubscribed on purpose.
pub(crate) const LINK_LOAD_PERCENT: RangeInclusive<u64> = 1..=1_000;

/// Longest latency in microseconds: a minute is beyond any link, so it is a slip of the unit.
pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;

/// Longest pause in milliseconds: a change that waits for more than a day is one that was forgotten.
pub(crate) const DURATION_MS_MAX: u64 = 86_400_000;

/// Interval of liveness packets in milliseconds where nothing says one.
pub(crate) const LIVENESS_INTERVAL_MS_DEFAULT: u32 = 300;

/// Missed liveness packets that make a neighbour dead where nothing says how many.
pub(crate) const LIVENESS_MULTIPLIER_DEFAULT: u8 = 3;

/// Intervals of liveness packets in milliseconds: a shorter one would take false alarms for failures on a busy host, with a longer
/// one nobody would wait for it.
pub(crate) const LIVENESS_INTERVAL_MS: RangeInclusive<u64> = 10..=10_000;

/// Missed liveness packets that make a neighbour dead.
pub(crate) const LIVENESS_MULTIPLIER: RangeInclusive<u64> = 1..=50;

/// Shortest time to reach a controller in milliseconds: less is shorter than one reconnection.
pub(crate) const CONFIRM_MS_MIN: u64 = 1_000;

/// Largest capacity or rate in bits per second: a thousand terabits.
pub(crate) const CAPACITY_BPS_MAX: u64 = 1_000_000_000_000_000;

/// Where loopbacks come from when the file does not say.
pub(crate) const LOOPBACKS_DEFAULT: [&str; 2] = ["10.255.0.0/16", "fd00:ba11::/64"];

/// What a value must be.
pub(crate) enum Type {
    /// This number and no other.
    Number(u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number.
    Integer(&'static RangeInclusive<u64>),
    /// `true` or `false`.
    Flag,
    /// The name of a node, zone, kind, group and so on.
    Name,
    /// The name of a Linux interface.
    Interface,
    /// `node:interface`.
    Endpoint,
    /// Any text of at most 255 bytes.
    Text,
    /// `ADDRESS/LENGTH`.
    Prefix,
    /// `ADDRESS/LENGTH`, host bits allowed.
    InterfaceAddress,
    /// An address without a length.
    Address,
    /// Bits per second with a unit.
    Capacity,
    /// Microseconds with a unit.
    Latency,
    /// Milliseconds with a unit, from this many.
    Duration(u64),
    /// The interval of liveness packets in milliseconds, with a unit.
    Interval,
    /// A count from this number, or a percentage from it to 100.
    Share(u64),
    /// A percentage.
    Percent(&'static RangeInclusive<u64>),
    /// Latitude and longitude.
    Location,
    /// A set of nodes.
    Selector,
    /// A list, at least and at most so long.
    List(&'static Type, usize, usize),
    /// A mapping from free keys, which are names of this thing.
    Map(&'static str, &'static Type),
    /// A mapping with one value for each end's node.
    ByEnd(&'static Type),
    /// A mapping with the keys of a shape.
    Object(&'static Shape),
    /// A mapping with exactly one of the keys of a shape.
    OneKey(&'static Shape),
    /// One or the other.
    Either(&'static Type, &'static Type),
}

/// One key of a mapping.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) takes: Type,
    /// What holds without the key, for the reference; `required` when there is no doing without.
    pub(crate) default: &'static str,
    /// What the key means, in Markdown, for the reference and the schema.
    pub(crate) meaning: &'static str,
}

/// The keys of one kind of mapping.
pub(crate) struct Shape {
    /// Its name in the schema.
    pub(crate) id: &'static str,
    /// What the mapping is, for messages.
    pub(crate) what: &'static str,
    /// Where it stands in a file, for the reference.
    pub(crate) stands: &'static str,
    pub(crate) known: &'static [Key],
    /// Keys of the format that this version does not implement.
    pub(crate) later: &'static [&'static str],
}

impl Shape {
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.known.iter().any(|known| known.name == key)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().map(|key| key.name)
    }
}

const REQUIRED: &str = "required";

impl Key {
    pub(crate) fn required(&self) -> bool {
        self.default == REQUIRED
    }
}

const fn key(name: &'static str, takes: Type, default: &'static str, meaning: &'static str) -> Key {
    Key { name, takes, default, meaning }
}

/// Every mapping of the format, in the order of the reference.
pub(crate) const SHAPES: [&Shape; 25] = [
    &TOP,
    &CONTROLLER,
    &ADDRESSING,
    &ZONE,
    &NODE,
    &OWNED_PREFIX,
    &LINK,
    &LIVENESS,
    &LINK_GROUP,
    &DEFAULTS,
    &DEFAULTS_NODE,
    &DEFAULTS_LINK,
    &KIND,
    &KIND_LINK,
    &EXTERNAL,
    &DEMAND,
    &INVARIANT,
    &REACH,
    &ISOLATE,
    &WAYPOINT,
    &MAX_HOPS,
    &MAX_LATENCY,
    &MIN_MTU,
    &ROUTING,
    &SAFETY,
];

pub(crate) const TOP: Shape = Shape {
    id: "file",
    what: "the file",
    stands: "the file",
    known: &[
        key("version", Type::Number(1), REQUIRED, "The format's version."),
        key("name", Type::Name, REQUIRED, "What the network is called."),
        key(
            "management",
            Type::Words(&MANAGEMENT),
            "`separate`",
            "How agents reach controllers. `separate`: over a network that no program touches. `in_band`: over the \
             network itself; every program then has routes to all `controllers`.",
        ),
        key(
            "controllers",
            Type::List(&Type::Object(&CONTROLLER), 0, usize::MAX),
            "none",
            "Where controllers are, for `management: in_band` alone, which needs them; see \
             [In-band management](#in-band-management).",
        ),
        key(
            "defaults",
            Type::Object(&DEFAULTS),
            "none",
            "What holds for nodes and links that do not say otherwise.",
        ),
        key("addressing", Type::Object(&ADDRESSING), "see there", "Where addresses come from."),
        key(
            "kinds",
            Type::Map("kind", &Type::Object(&KIND)),
            "none",
            "Templates of nodes, by name; see [Templates](#templates).",
        ),
        key("zones", Type::List(&Type::Object(&ZONE), 0, usize::MAX), "none", "Failure domains."),
        key("nodes", Type::Map("node", &Type::Object(&NODE)), REQUIRED, "The hosts, at least one, by name."),
        key("links", Type::List(&Type::Object(&LINK), 0, usize::MAX), "none", "Point-to-point links."),
        key(
            "link_groups",
            Type::List(&Type::Object(&LINK_GROUP), 0, usize::MAX),
            "none",
            "Bundles of parallel links (link aggregation groups).",
        ),
        key(
            "external",
            Type::List(&Type::Object(&EXTERNAL), 0, usize::MAX),
            "none",
            "Ways out of the network: gateways and static routes.",
        ),
        key(
            "demands",
            Type::List(&Type::Object(&DEMAND), 0, usize::MAX),
            "none",
            "Expected traffic; a pair may occur more than once.",
        ),
        key(
            "invariants",
            Type::List(&Type::OneKey(&INVARIANT), 0, usize::MAX),
            "none",
            "What must hold in every state of the network.",
        ),
        key("routing", Type::Object(&ROUTING), "see there", "How paths share traffic."),
        key("safety", Type::Object(&SAFETY), "see there", "Budgets of every change."),
    ],
    later: &["policies", "services", "segments"],
};

pub(crate) const CONTROLLER: Shape = Shape {
    id: "controller",
    what: "a controller",
    stands: "an item of `controllers`",
    known: &[
        key("id", Type::Integer(&CONTROLLER_ID), REQUIRED, "Its number in the cluster; no other has it."),
        key("node", Type::Name, REQUIRED, "The node that it is behind, or runs on."),
        key(
            "address",
            Type::Address,
            REQUIRED,
            "Where it is reached, without a length: a loopback of the node, an address in one of the node's own \
             prefixes that no other node has, or one that nothing else holds.",
        ),
        key(
            "interface",
            Type::Interface,
            "none",
            "The node's port to the controller. The node then has the other address of the /31 (IPv6: /127) that \
             `address` is in on it. Without the key, how the node reaches the address is its owner's business.",
        ),
    ],
    later: &[],
};

pub(crate) const ADDRESSING: Shape = Shape {
    id: "addressing",
    what: "`addressing`",
    stands: "`addressing`",
    known: &[key(
        "loopbacks",
        Type::List(&Type::Prefix, 1, 2),
        "`[10.255.0.0/16, fd00:ba11::/64]`",
        "Where loopbacks are taken from: at most one range per family, at least four addresses each. A family \
         without a range has loopbacks only where they are pinned.",
    )],
    later: &["links"],
};

pub(crate) const ZONE: Shape = Shape {
    id: "zone",
    what: "a zone",
    stands: "an item of `zones`",
    known: &[key("name", Type::Name, REQUIRED, "What nodes and selectors call the zone.")],
    later: &["labels", "drained"],
};

pub(crate) const NODE: Shape = Shape {
    id: "node",
    what: "a node",
    stands: "`nodes.NAME`",
    known: &[
        key("kind", Type::Name, "`defaults.node.kind`", "One of `kinds`: its template."),
        key("zone", Type::Name, "the kind's", "One of `zones`."),
        key(
            "prefixes",
            Type::List(&Type::Either(&Type::Prefix, &Type::Object(&OWNED_PREFIX)), 0, usize::MAX),
            "none",
            "What is behind the node, both families; added to the kind's. No host bits. The same prefix at \
             several nodes is anycast; apart from that, no overlap with any other prefix, loopback range or \
             link subnet.",
        ),
        key(
            "loopbacks",
            Type::List(&Type::Address, 0, 2),
            "by hash",
            "Pins the loopback: at most one address per family, without a length.",
        ),
        key(
            "labels",
            Type::Map("label", &Type::Text),
            "none",
            "Free; up to 255 bytes of printable text each. Over the kind's, label by label.",
        ),
        key(
            "drained",
            Type::Flag,
            "the kind's, else `false`",
            "Traffic through the node avoids it while any other way is left.",
        ),
        key("location", Type::Location, "none", "Where it stands, for pictures."),
    ],
    later: &["services", "segments"],
};

pub(crate) const OWNED_PREFIX: Shape = Shape {
    id: "owned_prefix",
    what: "a prefix with an owner",
    stands: "an item of `prefixes`",
    known: &[
        key("prefix", Type::Prefix, REQUIRED, "The prefix."),
        key("owner", Type::Text, REQUIRED, "Who answers for it: up to 255 bytes of printable text."),
    ],
    later: &[],
};

pub(crate) const LINK: Shape = Shape {
    id: "link",
    what: "a link",
    stands: "an item of `links`",
    known: &[
        key(
            "endpoints",
            Type::List(&Type::Endpoint, 2, 2),
            REQUIRED,
            "The two ends, in any order. Each interface has one link.",
        ),
        key(
            "cost",
            Type::Either(&Type::Integer(&COST), &Type::ByEnd(&Type::Integer(&COST))),
            "the sender's kind's, else `defaults.link.cost`, else 10",
            "Cost of sending over the link, both ways; or per direction, under the node that *sends*: `{seattle: 7, denver: 9}`.",
        ),
        key(
            "capacity",
            Type::Capacity,
            "the smaller of the ends' kinds', else `defaults.link.capacity`",
            "How much it carries each way.",
        ),
        key(
            "latency",
            Type::Latency,
            "the longer of the ends' kinds', else `defaults.link.latency`",
            "How long a packet takes, one way.",
        ),
        key(
            "mtu",
            Type::Integer(&MTU_BYTES),
            "the smaller of the ends' kinds', else `defaults.link.mtu`",
            "Largest IP packet in bytes.",
        ),
        key(
            "addresses",
            Type::ByEnd(&Type::List(&Type::InterfaceAddress, 0, usize::MAX)),
            "none",
            "Numbers the link: `{a: [192.0.2.0/31], b: [192.0.2.1/31]}`; each subnet has one address at each end.",
        ),
        key(
            "srlg",
            Type::List(&Type::Name, 0, usize::MAX),
            "none",
            "Shared-risk link groups: names of what fails together, as a conduit or a line card.",
        ),
        key(
            "affinity",
            Type::List(&Type::Name, 0, usize::MAX),
            "`defaults.link.affinity`",
            "Labels that constraints on paths ask for or avoid.",
        ),
        key("group", Type::Name, "none", "One of `link_groups`: the bundle that the link belongs to."),
        key("drained", Type::Flag, "`false`", "Traffic avoids the link while any other way is left."),
        key(
            "liveness",
            LIVENESS_VALUE,
            "`defaults.link.liveness`, else `{interval: 300ms, multiplier: 3}`",
            "How each end finds out that the other one is dead though the interface has carrier; see \
             [liveness](liveness.md).",
        ),
    ],
    later: &["kind", "labels"],
};

const LIVENESS_VALUE: Type = Type::Either(&Type::Words(&["off"]), &Type::Object(&LIVENESS));

pub(crate) const LIVENESS: Shape = Shape {
    id: "liveness",
    what: "`liveness`",
    stands: "`liveness` of a link and of `defaults.link`",
    known: &[
        key(
            "interval",
            Type::Interval,
            "that of `defaults.link.liveness`, else 300ms",
            "Between two packets, in both directions.",
        ),
        key(
            "multiplier",
            Type::Integer(&LIVENESS_MULTIPLIER),
            "that of `defaults.link.liveness`, else 3",
            "So many packets in a row may be missed before the other end is dead.",
        ),
    ],
    later: &[],
};

pub(crate) const LINK_GROUP: Shape = Shape {
    id: "link_group",
    what: "a link group",
    stands: "an item of `link_groups`",
    known: &[
        key(
            "name",
            Type::Name,
            REQUIRED,
            "What links call the group. Its links join the same two nodes with equal costs.",
        ),
        key(
            "min_links",
            Type::Integer(&MIN_LINKS),
            "1",
            "With fewer living links than this, traffic avoids the rest as if they were drained.",
        ),
    ],
    later: &[],
};

pub(crate) const DEFAULTS: Shape = Shape {
    id: "defaults",
    what: "`defaults`",
    stands: "`defaults`",
    known: &[
        key("node", Type::Object(&DEFAULTS_NODE), "none", "Of nodes that do not say otherwise."),
        key("link", Type::Object(&DEFAULTS_LINK), "none", "Of links that do not say otherwise."),
    ],
    later: &[],
};

pub(crate) const DEFAULTS_NODE: Shape = Shape {
    id: "defaults_node",
    what: "`defaults.node`",
    stands: "`defaults.node`",
    known: &[
        key("kind", Type::Name, "none", "One of `kinds`."),
        key("zone", Type::Name, "none", "One of `zones`."),
        key("labels", Type::Map("label", &Type::Text), "none", "Labels of all nodes."),
        key("drained", Type::Flag, "`false`", "As at a node."),
    ],
    later: &[],
};

pub(crate) const DEFAULTS_LINK: Shape = Shape {
    id: "defaults_link",
    what: "`defaults.link`",
    stands: "`defaults.link`",
    known: &[
        key("cost", Type::Integer(&COST), "10", "As at a link, both ways."),
        key("capacity", Type::Capacity, "none", "As at a link."),
        key("mtu", Type::Integer(&MTU_BYTES), "none", "As at a link."),
        key("latency", Type::Latency, "none", "As at a link."),
        key(
            "affinity",
            Type::List(&Type::Name, 0, usize::MAX),
            "none",
            "As at a link, of links without their own list.",
        ),
        key("liveness", LIVENESS_VALUE, "`{interval: 300ms, multiplier: 3}`", "As at a link."),
    ],
    later: &[],
};

pub(crate) const KIND: Shape = Shape {
    id: "kind",
    what: "a kind",
    stands: "`kinds.NAME`",
    known: &[
        key("zone", Type::Name, "`defaults.node.zone`", "One of `zones`."),
        key(
            "labels",
            Type::Map("label", &Type::Text),
            "none",
            "Over those of `defaults.node`, label by label.",
        ),
        key(
            "prefixes",
            Type::List(&Type::Either(&Type::Prefix, &Type::Object(&OWNED_PREFIX)), 0, usize::MAX),
            "none",
            "Prefixes that every node of the kind has: anycast, when there are several.",
        ),
        key("drained", Type::Flag, "`defaults.node.drained`", "As at a node."),
        key("link", Type::Object(&KIND_LINK), "none", "What holds for links at nodes of the kind."),
    ],
    later: &[],
};

pub(crate) const KIND_LINK: Shape = Shape {
    id: "kind_link",
    what: "`link` of a kind",
    stands: "`kinds.NAME.link`",
    known: &[
        key("cost", Type::Integer(&COST), "none", "Cost of sending out of a node of the kind."),
        key("capacity", Type::Capacity, "none", "Of two ends, the smaller counts."),
        key("mtu", Type::Integer(&MTU_BYTES), "none", "Of two ends, the smaller counts."),
        key("latency", Type::Latency, "none", "Of two ends, the longer counts."),
    ],
    later: &[],
};

pub(crate) const EXTERNAL: Shape = Shape {
    id: "external",
    what: "an external",
    stands: "an item of `external`",
    known: &[
        key(
            "node",
            Type::Name,
            REQUIRED,
            "The node with the uplink. It attracts the prefixes while the uplink is up.",
        ),
        key(
            "interface",
            Type::Interface,
            REQUIRED,
            "The uplink: no link's interface; at most one entry for each family.",
        ),
        key("next_hop", Type::Address, REQUIRED, "The gateway, of the family of the prefixes."),
        key(
            "prefixes",
            Type::List(&Type::Prefix, 1, usize::MAX),
            REQUIRED,
            "What is reached through it, all of one family; `0.0.0.0/0` and `::/0` are default routes. The same \
             prefix may have several ways out. None may lie within a prefix of the network itself.",
        ),
    ],
    later: &[],
};

pub(crate) const DEMAND: Shape = Shape {
    id: "demand",
    what: "a demand",
    stands: "an item of `demands`",
    known: &[
        key("from", Type::Name, REQUIRED, "The node where the traffic enters."),
        key("to", Type::Name, REQUIRED, "The node where it leaves: another one."),
        key("rate", Type::Capacity, REQUIRED, "How much, as `2.5G`."),
    ],
    later: &[],
};

pub(crate) const INVARIANT: Shape = Shape {
    id: "invariant",
    what: "an invariant",
    stands: "an item of `invariants`, with one of these keys",
    known: &[
        key("reach", Type::Object(&REACH), "none", "Packets arrive, on every equal path."),
        key("isolate", Type::Object(&ISOLATE), "none", "No packet arrives."),
        key("waypoint", Type::Object(&WAYPOINT), "none", "Every path passes one of the nodes of `via`."),
        key("max_hops", Type::Object(&MAX_HOPS), "none", "No path is longer than this."),
        key("max_latency", Type::Object(&MAX_LATENCY), "none", "No path takes longer than this."),
        key(
            "min_mtu",
            Type::Object(&MIN_MTU),
            "none",
            "Every link of every path carries packets of this size.",
        ),
    ],
    later: &[],
};

const FROM: Key = key("from", Type::Selector, REQUIRED, "The sources.");
const TO: Key =
    key("to", Type::Selector, REQUIRED, "The destinations; a node in both is no pair with itself.");

pub(crate) const REACH: Shape =
    Shape { id: "reach", what: "`reach`", stands: "`reach`", known: &[FROM, TO], later: &[] };

pub(crate) const ISOLATE: Shape =
    Shape { id: "isolate", what: "`isolate`", stands: "`isolate`", known: &[FROM, TO], later: &[] };

pub(crate) const WAYPOINT: Shape = Shape {
    id: "waypoint",
    what: "`waypoint`",
    stands: "`waypoint`",
    known: &[FROM, TO, key("via", Type::Selector, REQUIRED, "The nodes of which every path passes one.")],
    later: &[],
};

pub(crate) const MAX_HOPS: Shape = Shape {
    id: "max_hops",
    what: "`max_hops`",
    stands: "`max_hops`",
    known: &[FROM, TO, key("hops", Type::Integer(&HOPS), REQUIRED, "Most links of a path.")],
    later: &[],
};

pub(crate) const MAX_LATENCY: Shape = Shape {
    id: "max_latency",
    what: "`max_latency`",
    stands: "`max_latency`",
    known: &[
        FROM,
        TO,
        key("latency", Type::Latency, REQUIRED, "Longest time, one way; links without a latency count 0."),
    ],
    later: &[],
};

pub(crate) const MIN_MTU: Shape = Shape {
    id: "min_mtu",
    what: "`min_mtu`",
    stands: "`min_mtu`",
    known: &[FROM, TO, key("bytes", Type::Integer(&MTU_BYTES), REQUIRED, "Size of an IP packet.")],
    later: &[],
};

pub(crate) const ROUTING: Shape = Shape {
    id: "routing",
    what: "`routing`",
    stands: "`routing`",
    known: &[key(
        "weigh_by_capacity",
        Type::Flag,
        "`false`",
        "Whether equal-cost next hops share the flows by their links' capacities instead of evenly. Where one of them \
         states no capacity, evenly.",
    )],
    later: &[],
};

pub(crate) const SAFETY: Shape = Shape {
    id: "safety",
    what: "`safety`",
    stands: "`safety`",
    known: &[
        key(
            "max_hosts_per_step",
            Type::Share(1),
            "`25%`",
            "Largest step of a change; a share that is less than one host still lets one host through.",
        ),
        key(
            "max_prefixes_lost",
            Type::Share(0),
            "`0`",
            "Prefixes that a change may take out of the network.",
        ),
        key("bake", Type::Duration(0), "`10s`", "Pause after each step."),
        key(
            "link_up_hold",
            Type::Duration(0),
            "`2s`",
            "How long a returned link must stay up before it is used.",
        ),
        key(
            "max_link_load",
            Type::Percent(&LINK_LOAD_PERCENT),
            "not checked",
            "Highest load of a link under `demands`, as a share of its capacity.",
        ),
        key("canary", Type::Integer(&CANARY_HOSTS), "none", "Hosts of the first step of a change."),
        key(
            "confirm_within",
            Type::Duration(CONFIRM_MS_MIN),
            "`10s`",
            "A host that cannot reach a controller for this long after a new program goes back to its confirmed one.",
        ),
    ],
    later: &[],
};
