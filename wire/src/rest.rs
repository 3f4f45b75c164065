//! The documents of the REST interface and of `ballast ... --json`: a contract, see docs/rest.md.
//!
//! Keys are snake_case, units are in the key, every document of its own has a `schema`. Additions are free,
//! changes need a new schema version.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An error, as RFC 9457 `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code: `bad_override`, `bad_request`, `ending`, `guard_refused`, `internal`, `invalid_topology`,
    /// `method_not_allowed`, `no_leader`, `not_found`, `outcome_unknown`, `outvoted`, `stale_revision`, `timeout`,
    /// `too_large`, `unauthorized`, `unsupported_media_type`.
    pub code: String,
    /// One line.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
    /// With `guard_refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// With `stale_revision`: the head revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// With `invalid_topology`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// Stable codes of problems with their HTTP status (RFC 9110) and title; docs/rest.md says what to do about each.
pub const PROBLEMS: [(&str, u16, &str); 16] = [
    ("bad_override", 403, "the override is not valid for this change"),
    ("bad_request", 400, "the request cannot be understood"),
    ("ending", 503, "this controller is ending"),
    ("guard_refused", 409, "a guard refused the change"),
    ("internal", 500, "the controller failed"),
    ("invalid_topology", 422, "the topology has errors"),
    ("method_not_allowed", 405, "this method is not offered here"),
    ("no_leader", 503, "there is no leader right now"),
    ("not_found", 404, "there is no such thing"),
    ("outcome_unknown", 504, "nobody knows yet whether the change was accepted"),
    ("outvoted", 503, "this controller computed something else than the majority"),
    ("stale_revision", 412, "the topology was changed since you read it"),
    ("timeout", 408, "the request took too long"),
    ("too_large", 413, "the topology is too large"),
    ("unauthorized", 401, "a valid token is missing"),
    ("unsupported_media_type", 415, "this content type is not read here"),
];

impl Problem {
    /// The problem with one of the stable codes; `detail` says what happened and what to do. A code that is not known
    /// (from a newer controller) is a 500.
    pub fn new(code: &str, detail: impl Into<String>) -> Problem {
        let known = PROBLEMS.iter().find(|(known, _, _)| *known == code);
        let (_, status, title) = known.copied().unwrap_or((code, 500, "something went wrong"));
        Problem {
            kind: "about:blank".to_string(),
            status,
            code: code.to_string(),
            title: title.to_string(),
            detail: detail.into(),
            guard: None,
            revision: None,
            diagnostics: Vec::new(),
        }
    }
}

/// A guard's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guard {
    /// Its name.
    pub name: String,
    /// What the change would do.
    pub value: u64,
    /// What it may do.
    pub limit: u64,
    /// Whether it passes.
    pub ok: bool,
}

/// A problem in a topology file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// Stable code.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// File name as sent.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// `ballast.check/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `ballast.check/v1`
    pub schema: String,
    /// No errors.
    pub valid: bool,
    /// Number of diagnostics.
    pub total: usize,
    /// All of them.
    pub diagnostics: Vec<Diagnostic>,
    /// What the compiled programs of the files do against the files' own words; each is among `diagnostics`, too.
    #[serde(default)]
    pub violations: Vec<ViolationDocument>,
    /// Of each single failure after which something does not hold; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Vec<FailureDocument>>,
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViolationDocument {
    /// `loop`, `black-hole`, `reach`, `isolate`, `waypoint`, `max-hops`, `max-latency`, `min-mtu`, `link-load`.
    pub rule: String,
    /// File.
    pub file: String,
    /// Line of what asks for it, from 1.
    pub line: u32,
    /// A source that it concerns; of a link, the end that sends.
    pub from: String,
    /// The destination; of a link, the end that receives.
    pub to: String,
    /// How many sources it concerns.
    pub sources: usize,
    /// In words.
    pub message: String,
    /// A packet's way that shows it: the hosts that send it on.
    pub walk: Vec<WalkHop>,
    /// Where the packet ends.
    pub last: String,
    /// How: `delivered`, or in words.
    pub fate: String,
}

/// A host that sends a packet on, and the route by which it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WalkHop {
    /// The host.
    pub host: String,
    /// The prefix that matched.
    pub prefix: Option<String>,
    /// Metric of the route.
    pub metric: u32,
    /// The route's group.
    pub group: u32,
    /// The next hop out of the group.
    pub nexthop: u32,
    /// Interface.
    pub interface: String,
    /// Gateway.
    pub gateway: String,
    /// The link's id.
    pub link: String,
}

/// What does not hold after one failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureDocument {
    /// The link's id or the node's name.
    pub element: String,
    /// `link` or `node`.
    pub kind: String,
    /// The file.
    pub file: String,
    /// What does not hold then.
    pub violations: Vec<ViolationDocument>,
}

/// `ballast.change/v1`: one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `ballast.change/v1`
    pub schema: String,
    /// Its number.
    pub change: u64,
    /// `intent` or `failure`.
    pub kind: String,
    /// Revision that it made, or under which the failure happened.
    pub revision: u64,
    /// Generation of its newest release; `None` before the first.
    pub generation: Option<String>,
    /// See `interface`: proposed, planned, approved, releasing, acknowledging, probing, baking, done, halted,
    /// rolling_back, rolled_back.
    pub state: String,
    /// Step in work, from 1; 0 before the first.
    pub step: u32,
    /// All steps.
    pub steps: Vec<ChangeStep>,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Why it is in this state.
    pub detail: String,
    /// When it entered the log, for people (RFC 3339, UTC).
    pub at: String,
    /// How the guards judged.
    pub guards: Vec<Guard>,
    /// Guards that the operator overrode.
    pub overridden: Vec<String>,
    /// With `failure`: the link and who said so.
    pub evidence: Vec<String>,
    /// Hosts of all steps and where each stands.
    pub hosts: Vec<ChangeHost>,
    /// Kernel writes that agents reported for it so far.
    pub writes: u64,
}

/// A step of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeStep {
    /// Hosts.
    pub hosts: Vec<String>,
    /// What must be seen before the next: `ack`, `bake 10s`.
    pub gate: Vec<String>,
}

/// A host in a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeHost {
    /// Host.
    pub name: String,
    /// `waiting`, `released`, `acknowledged`, `refused`, `failed`.
    pub state: String,
    /// The agent's words when it is not well.
    pub detail: String,
    /// Kernel writes for it.
    pub writes: u64,
}

/// `ballast.changes/v1`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// `ballast.changes/v1`
    pub schema: String,
    /// Newest first.
    pub changes: Vec<Change>,
}

/// `ballast.status/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// `ballast.status/v1`
    pub schema: String,
    /// Answering controller's id.
    pub controller: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Leader's id, when one is known.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Raft index applied here.
    pub applied: u64,
    /// Raft index committed here.
    pub committed: u64,
    /// Incarnation of generations.
    pub incarnation: u64,
    /// Newest revision; 0: none yet.
    pub revision: u64,
    /// Digest of the replicated state here, at `applied`.
    pub state_digest: String,
    /// All members.
    pub members: Vec<MemberStatus>,
    /// Whether this replica serves agents, and if not why.
    pub serving: bool,
    /// Alarms, in words, worst first.
    pub alarms: Vec<String>,
    /// Hosts by state.
    pub hosts: HostCounts,
    /// Links that are believed to be down.
    pub links_down: Vec<String>,
    /// Links about which reports disagree.
    pub disagreements: Vec<String>,
    /// Number of the change in work.
    pub change: Option<u64>,
    /// Resident memory of the answering controller.
    pub memory_bytes: u64,
}

/// A controller in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// `leader`, `follower`, `candidate`, or `unknown` for a member seen from a follower.
    pub role: String,
    /// Index that the leader knows to be on its disk; `None` where that is not known.
    pub matched: Option<u64>,
    /// Whether it was heard from within two election timeouts; `None` where this replica does not hear from it
    /// in any case: followers hear the leader alone.
    pub reachable: Option<bool>,
}

/// Hosts by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostCounts {
    /// Nodes of the topology.
    pub total: usize,
    /// With a living session.
    pub connected: usize,
    /// Running what they are assigned, kernel read back.
    pub current: usize,
}

/// `ballast.hosts/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hosts {
    /// `ballast.hosts/v1`
    pub schema: String,
    /// Sorted by name.
    pub hosts: Vec<Host>,
}

/// One host as seen by the controllers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Zone.
    pub zone: Option<String>,
    /// Loopback addresses.
    pub loopbacks: Vec<String>,
    /// Session alive.
    pub connected: bool,
    /// Generation in force there.
    pub generation: Option<String>,
    /// Revision in force there.
    pub revision: Option<u64>,
    /// Program digest in force there.
    pub digest: Option<String>,
    /// Digest of program and overlay as read back from its kernel.
    pub effective_digest: Option<String>,
    /// Generation assigned to it.
    pub assigned_generation: Option<String>,
    /// Digest assigned to it.
    pub assigned_digest: Option<String>,
    /// Age of the last look into its kernel, with the time since we heard it.
    pub applied_age_ms: Option<u64>,
    /// Objects by state.
    pub installed: u64,
    /// Objects waiting for a link.
    pub pending: u64,
    /// Objects that the kernel refused.
    pub refused: u64,
    /// Kernel writes since the agent started.
    pub writes_total: u64,
    /// Pinned from the host.
    pub pinned: bool,
    /// Frozen from the host.
    pub frozen: bool,
    /// Who pinned or froze it, why and since when; empty when nobody did.
    #[serde(default)]
    pub hold: String,
    /// Its agent's version.
    pub agent_version: Option<String>,
    /// What is wrong, in words.
    pub alarms: Vec<String>,
    /// Its interfaces.
    pub links: Vec<HostLink>,
}

/// An interface of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostLink {
    /// Interface.
    pub interface: String,
    /// Link id.
    pub link: String,
    /// Up with carrier, as its agent says; `None`: not heard.
    pub carrier: Option<bool>,
    /// Whether the other end is alive, as liveness (BFD) says there; `None`: not known.
    #[serde(default)]
    pub neighbour: Option<bool>,
}

/// `ballast.links/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// `ballast.links/v1`
    pub schema: String,
    /// Sorted by id.
    pub links: Vec<LinkStatus>,
}

/// A link as seen by the controllers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkStatus {
    /// Its id.
    pub id: String,
    /// `up`, `down`, `returning` (up again, in its hold time), `disagreement`.
    pub state: String,
    /// Cost from the first end and from the second.
    pub costs: [u32; 2],
    /// Capacity.
    pub capacity_bps: Option<u64>,
    /// Latency.
    pub latency_us: Option<u64>,
    /// What each end reports.
    pub ends: [Option<bool>; 2],
    /// Why it is in this state, in words.
    pub detail: String,
}

/// `ballast.program/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgramDocument {
    /// `ballast.program/v1`
    pub schema: String,
    /// Host.
    pub host: String,
    /// Null offline.
    pub generation: Option<String>,
    /// Null offline.
    pub revision: Option<u64>,
    /// Program digest.
    pub digest: String,
    /// Sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Interface -> MTU in bytes.
    pub mtu: BTreeMap<String, u32>,
    /// Classes of the network and the group that each takes here.
    pub classes: Vec<ClassDocument>,
    /// VXLAN links.
    pub tunnels: Vec<TunnelDocument>,
    /// Addresses.
    pub addresses: Vec<AddressDocument>,
    /// Neighbours.
    pub neighbours: Vec<NeighbourDocument>,
    /// Single next hops.
    pub nexthops: Vec<NexthopDocument>,
    /// Groups.
    pub groups: Vec<GroupDocument>,
    /// Routes.
    pub routes: Vec<RouteDocument>,
    /// Rules, each made for both families.
    pub rules: Vec<RuleDocument>,
    /// Routes that drop what they match.
    #[serde(default)]
    pub discards: Vec<DiscardDocument>,
    /// SRv6 segments that end here.
    #[serde(default)]
    pub local_segments: Vec<LocalSegmentDocument>,
    /// Links that are watched by BFD.
    #[serde(default)]
    pub liveness: Vec<LivenessDocument>,
    /// None in this version.
    pub flows: Vec<serde_json::Value>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassDocument {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Best group; null on the destination itself.
    pub group: Option<u32>,
    /// Group that the kernel falls to.
    pub backup_group: Option<u32>,
    /// Number of prefixes.
    pub prefixes: usize,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressDocument {
    /// Interface.
    pub interface: String,
    /// `10.255.0.7/32`.
    pub address: String,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighbourDocument {
    /// Interface.
    pub interface: String,
    /// Address.
    pub address: String,
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NexthopDocument {
    /// Object id.
    pub id: u32,
    /// Interface.
    pub interface: String,
    /// Gateway.
    pub gateway: String,
    /// SRv6 segments that packets are wrapped in; absent without an encapsulation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupDocument {
    /// Object id.
    pub id: u32,
    /// Members.
    pub members: Vec<MemberDocument>,
    /// Absent: flows are spread by hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilient: Option<ResilientDocument>,
    /// Path MTU of routes through the group; absent: the link's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_mtu_bytes: Option<u32>,
}

/// Options of a resilient group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResilientDocument {
    /// Hash buckets.
    pub buckets: u16,
    /// Milliseconds without traffic after which a bucket may move.
    pub idle_timer_ms: u32,
    /// Milliseconds of imbalance after which buckets move anyway; 0: never.
    pub unbalanced_timer_ms: u32,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleDocument {
    /// Lower is looked at first.
    pub priority: u32,
    /// Of packets that came in here.
    pub incoming_interface: String,
    /// Table.
    pub table: u32,
}

/// A route that drops what it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiscardDocument {
    /// Table.
    pub table: u32,
    /// Destination.
    pub prefix: String,
    /// Metric.
    pub metric: u32,
    /// `blackhole` or `unreachable`.
    pub kind: String,
}

/// An SRv6 segment that is executed on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LocalSegmentDocument {
    /// Its address.
    pub segment: String,
    /// Interface that its route hangs on.
    pub interface: String,
    /// `End`, `End.X nh6 fe80::2 oif eth1`, `End.DX4 nh4 0.0.0.0`, `End.DX6 nh6 ::`, `End.DT6 table 254`.
    pub behaviour: String,
}

/// A link that is watched by BFD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LivenessDocument {
    /// Interface.
    pub interface: String,
    /// Milliseconds.
    pub interval_ms: u32,
    /// Intervals without a packet after which the link is dead.
    pub multiplier: u8,
}

/// A VXLAN link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelDocument {
    /// Interface name.
    pub name: String,
    /// Network identifier.
    pub vni: u32,
    /// Source of the outer packets.
    pub local: String,
    /// UDP destination port.
    pub port: u16,
    /// Hardware address.
    pub mac: String,
    /// Bytes.
    pub mtu_bytes: u32,
    /// Where hardware addresses are.
    pub forwarding: Vec<TunnelForwardingDocument>,
    /// Which hardware address answers for an address.
    pub neighbours: Vec<TunnelNeighbourDocument>,
}

/// A forwarding entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelForwardingDocument {
    /// Hardware address.
    pub mac: String,
    /// Tunnel end.
    pub remote: String,
}

/// A neighbour behind a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelNeighbourDocument {
    /// Address.
    pub address: String,
    /// Hardware address.
    pub mac: String,
}

/// A group's member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberDocument {
    /// Next hop id.
    pub nexthop: u32,
    /// Weight.
    pub weight: u16,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteDocument {
    /// Destination.
    pub prefix: String,
    /// Group id.
    pub group: u32,
    /// Metric.
    pub metric: u32,
    /// Table.
    pub table: u32,
}

/// `ballast.paths/v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Paths {
    /// `ballast.paths/v1`
    pub schema: String,
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// All equal-cost paths, bounded.
    pub paths: Vec<PathDocument>,
    /// `reachable`, `unreachable`, `loop`, `unknown_node`.
    pub verdict: String,
    /// None in this version.
    pub deciding_rule: Option<String>,
    /// In words.
    pub reason: String,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PathDocument {
    /// Node names from first to last.
    pub hops: Vec<String>,
    /// Link ids.
    pub links: Vec<String>,
    /// Sum of costs.
    pub cost: u64,
    /// Sum of latencies where all are known.
    pub latency_us: Option<u64>,
    /// Share of the traffic, 0 to 1.
    pub share: f64,
    /// Id of the link of the least capacity; null where no link states one.
    #[serde(default)]
    pub bottleneck: Option<String>,
    /// That link's capacity.
    #[serde(default)]
    pub bottleneck_bps: Option<u64>,
}

/// `ballast.ways/v1`: which ways there could be, whichever the programs take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaysDocument {
    /// `ballast.ways/v1`
    pub schema: String,
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// The ways, the cheapest first.
    pub ways: Vec<Way>,
    /// What two ways that were to be disjoint have in common; null where none were asked for, or there is no way.
    pub common: Option<InCommon>,
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Way {
    /// Node names from first to last.
    pub hops: Vec<String>,
    /// Link ids.
    pub links: Vec<String>,
    /// Sum of costs.
    pub cost: u64,
    /// Sum of latencies; links without one count 0.
    pub latency_us: u64,
    /// Links on it that traffic shall avoid.
    pub drained_links: u64,
}

/// What two ways share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InCommon {
    /// Nodes between the ends.
    pub nodes: Vec<String>,
    /// Link ids.
    pub links: Vec<String>,
    /// Risk groups.
    pub risks: Vec<String>,
    /// Whether it is proven that no two ways share less, or as little at a lower cost.
    pub is_proven: bool,
}

/// `ballast.plan/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanDocument {
    /// `ballast.plan/v1`
    pub schema: String,
    /// Names exactly this plan.
    pub plan_hash: String,
    /// Hosts whose program differs.
    pub hosts: Vec<PlanHost>,
    /// Ordered pairs that cannot reach each other any more.
    pub pairs_lost: Vec<[String; 2]>,
    /// Hosts that would have fewer than two controllers in reach, afterwards or between two steps, under in-band management.
    #[serde(default)]
    pub short_of_controllers: Vec<String>,
    /// Verdicts.
    pub guards: Vec<Guard>,
    /// Steps.
    pub steps: Vec<PlanStep>,
    /// Offline, one of kind `steps`: `holds` when the independent checker accepts the steps, else `reason`;
    /// `hosts` and `witnesses` (orders of hosts per destination), `held` (hosts that get an intermediate
    /// program) and `unproven`. A controller proves nothing and says so by an empty list.
    pub proofs: Vec<serde_json::Value>,
}

/// A host in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanHost {
    /// Host.
    pub name: String,
    /// Digest afterwards; null for a host that goes.
    pub digest: Option<String>,
    /// Objects added.
    pub add: usize,
    /// Objects changed.
    pub change: usize,
    /// Objects removed.
    pub remove: usize,
    /// Kernel writes.
    pub writes: usize,
}

/// A step in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// Hosts.
    pub hosts: Vec<String>,
    /// `ack`, `bake 10s`.
    pub gate: Vec<String>,
}

/// `ballast.backups/v1`: what hosts do on their own when a link fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupsDocument {
    /// `ballast.backups/v1`
    pub schema: String,
    /// How much is covered.
    pub coverage: BackupCoverage,
    /// Every repair, sorted by host, destination and link.
    pub entries: Vec<BackupEntry>,
    /// Every case without one, in the same order.
    pub unprotected: Vec<UnprotectedCase>,
}

/// Shares, 0 to 1, of all connected (host, destination) pairs, each weighed by its primary links, for the failure of one
/// link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupCoverage {
    /// By equal-cost next hops and loop-free alternates: what programs install.
    pub lfa: f64,
    /// By detours and bypasses as well, which are not installed yet.
    pub all: f64,
    /// Where the destination is still connected without the link.
    pub possible: f64,
    /// Interfaces that the detours need a table for.
    pub turn_interfaces: usize,
    /// Destinations in all these tables together.
    pub turn_entries: usize,
    /// Tunnels for the bypasses.
    pub tunnels: usize,
}

/// One repair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupEntry {
    /// Who repairs.
    pub host: String,
    /// The node that packets go to.
    pub destination: String,
    /// The link that fails.
    pub link: String,
    /// `ecmp`, `lfa`, `detour` (forwarding by incoming interface) or `bypass` (a tunnel to the node behind the link).
    pub kind: String,
    /// The next node.
    pub via: String,
    /// The link to it.
    pub via_link: String,
    /// Nodes from the next one to the one that forwards as ever; only one for `ecmp` and `lfa`.
    pub hops: Vec<String>,
    /// Whether programs carry it: false for detours and bypasses.
    pub installed: bool,
    /// Whether packets also avoid the node behind the failed link.
    pub protects_node: bool,
    /// Whether packets meet no link of the failed one's shared-risk groups.
    pub protects_srlgs: bool,
    /// By how many bytes packets grow on the way.
    pub overhead_bytes: u32,
}

/// A failure that nobody repairs on his own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnprotectedCase {
    /// Who loses its next hop.
    pub host: String,
    /// The node that packets go to.
    pub destination: String,
    /// The link that fails.
    pub link: String,
    /// Whether the destination is still connected without the link.
    pub possible: bool,
}

/// `ballast.load/v1`: what every link carries under demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadDocument {
    /// `ballast.load/v1`
    pub schema: String,
    /// `file` for the topology file's own demands, `uniform`, `degree`, or the name of the demands' file.
    pub demands: String,
    /// Both directions of every link, sorted by id, the first end's first.
    pub links: Vec<LinkLoad>,
    /// The greatest `utilisation`; null where no link states a capacity.
    pub max_utilisation: Option<f64>,
    /// All that is sent.
    pub sent_bps: f64,
    /// What does not arrive.
    pub lost_bps: f64,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkLoad {
    /// The link's id.
    pub id: String,
    /// The node that sends.
    pub from: String,
    /// The node that receives.
    pub to: String,
    /// What is carried in this direction; a unit of generated demands counts as one bit per second.
    pub load_bps: f64,
    /// The link's capacity.
    pub capacity_bps: Option<u64>,
    /// `load_bps` as a share of `capacity_bps`, 1 is full; null without a capacity.
    pub utilisation: Option<f64>,
}

/// `ballast.explain/v1`: what a host does with a prefix, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainDocument {
    /// `ballast.explain/v1`
    pub schema: String,
    /// The host.
    pub host: String,
    /// What was asked.
    pub asked: String,
    /// The longest prefix of the network that holds it.
    pub prefix: String,
    /// The prefix's class: the node that has it, or the places that share it.
    pub class: String,
    /// The class's number.
    pub class_id: u32,
    /// Metric of the route in force; null without one.
    pub metric: Option<u32>,
    /// The group of that route; null where the prefix is the host's own, or there is no way.
    pub group: Option<u32>,
    /// The group's living members.
    pub next_hops: Vec<NextHop>,
    /// Every link of the host as a way there, those in use first, then by cost.
    pub candidates: Vec<CandidateDocument>,
    /// What asked for it.
    pub origin: OriginDocument,
}

/// A next hop in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextHop {
    /// Interface.
    pub interface: String,
    /// Gateway.
    pub gateway: String,
    /// The link's id; null for an uplink.
    pub link: Option<String>,
    /// The neighbour; null for an uplink.
    pub via: Option<String>,
    /// Weight in the group.
    pub weight: u16,
}

/// A link as a way to a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateDocument {
    /// The neighbour.
    pub via: String,
    /// Interface of the host.
    pub interface: String,
    /// The link's id.
    pub link: String,
    /// Cost of the link and of the neighbour's own way together, also where that comes back through the host; null where it does not arrive.
    pub cost: Option<u64>,
    /// Why it is not used; null for one that is.
    pub lost_because: Option<String>,
    /// Whether the kernel falls to it when the used one goes.
    pub backup: bool,
}

/// What asked for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginDocument {
    /// The topology file.
    pub file: String,
    /// Line of the node or uplink that has the prefix, from 1.
    pub line: u32,
    /// The newest accepted change; null offline.
    pub change: Option<u64>,
    /// The links that are down, where with all links up the host would use other next hops.
    pub fact: Option<String>,
}

/// `ballast.what-if/v1`: what something supposed would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfDocument {
    /// `ballast.what-if/v1`
    pub schema: String,
    /// Hosts that would send a destination's packets elsewhere.
    pub changed: Vec<ChangedForwarding>,
    /// How many there are, with those beyond the list.
    pub changed_total: usize,
    /// Ordered pairs that reach each other and would not; not those with a node that fails.
    pub pairs_lost: Vec<[String; 2]>,
    /// Directions of links that would be over load under the file's demands.
    pub overloaded: Vec<OverloadedLink>,
    /// Greatest link use before; null where no link states a capacity.
    pub max_utilisation_before: Option<f64>,
    /// Greatest link use afterwards.
    pub max_utilisation: Option<f64>,
}

/// One host's change for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedForwarding {
    /// The host.
    pub host: String,
    /// The destination: a node, or the places that share a prefix.
    pub destination: String,
    /// Next hops before.
    pub before: Vec<ForwardingHop>,
    /// Next hops afterwards.
    pub after: Vec<ForwardingHop>,
}

/// A next hop over a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForwardingHop {
    /// Interface of the host.
    pub interface: String,
    /// The link's id.
    pub link: String,
    /// The neighbour.
    pub via: String,
}

/// A direction of a link over load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverloadedLink {
    /// The link's id.
    pub id: String,
    /// The node that sends.
    pub from: String,
    /// The node that receives.
    pub to: String,
    /// What it would carry.
    pub load_bps: f64,
    /// The link's capacity.
    pub capacity_bps: Option<u64>,
    /// Share of the capacity, 1 is full.
    pub utilisation: f64,
    /// The share before.
    pub utilisation_before: f64,
}
