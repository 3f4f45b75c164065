//! The host's own veto, written apart from the controller's guards: what a controller says does not take most of the routes
//! away, does not fill the kernel, and does not move the way to the controllers or the host's own default route,
//! unless the operator's signed word names the guard.

use crate::core::kernel::{Actual, PROTOCOL};
use crate::core::way::Way;
use ipnetwork::IpNetwork;
use plan::Objects;
use plan::objects::RouteKey;
use plan::program::TABLE_MAIN;
use ring::signature::{ED25519, UnparsedPublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::agent::{Offer, Outcome};
use wire::ledger::Ledger;

/// Name of the guard over the share of routes that go, for refusals and overrides.
pub const MAX_ROUTES_REMOVED: &str = "agent_max_routes_removed";
/// Name of the guard over the number of routes.
pub const MAX_ROUTES: &str = "agent_max_routes";
/// Name of the guard over the way to the controllers.
pub const MANAGEMENT_ROUTE: &str = "agent_management_route";
/// Name of the guard over a default route that is not ours.
pub const DEFAULT_ROUTE: &str = "agent_default_route";
/// So many routes may always go.
const ROUTES_ALWAYS_FREE: usize = 10;
/// Routes of a host where nothing else is said.
pub const MAX_ROUTES_DEFAULT: u64 = 2_000_000;

/// What a host is protected by.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The operator's public key; without one no override is accepted.
    pub operator_key: Option<&'a [u8; 32]>,
    /// Routes that a program may have.
    pub routes_max: u64,
    /// How the kernel reaches the controllers now.
    pub ways: &'a BTreeMap<IpAddr, Way>,
    /// Default routes of others in the main table.
    pub foreign_defaults: &'a BTreeSet<RouteKey>,
}

/// What the guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Pass,
    /// Passes by the operator's word for this revision, which is used up by it.
    PassByOverride,
    /// Refused.
    Refuse(Outcome),
}

/// One objection: the guard's name, what the program would do and what it may do.
type Objection = (&'static str, u64, u64);

/// Judges the way from the objects in force to those of an offer. The first guard that says no, and that no word of the
/// operator names, refuses.
pub fn judge(
    running: &Objects,
    offered: &Objects,
    offer: &Offer,
    ledger: &Ledger,
    limits: Limits<'_>,
) -> Verdict {
    let known = ledger.known_digests.contains(&offer.digest);
    let objections = [
        // A return to a program that was in force before takes nothing that was not taken before.
        (!known).then(|| removed(running, offered)).flatten(),
        too_many(offered, limits.routes_max),
        management(running, offered, limits.ways),
        default_route(offered, limits.foreign_defaults),
    ];
    let mut verdict = Verdict::Pass;
    for (guard, value, limit) in objections.into_iter().flatten() {
        if !overridden(guard, offer, ledger, limits.operator_key) {
            return Verdict::Refuse(Outcome::RefusedByGuard { guard: guard.to_string(), value, limit });
        }
        verdict = Verdict::PassByOverride;
    }
    verdict
}

/// More than half *and* more than ten of the routes going, or all of them.
fn removed(running: &Objects, offered: &Objects) -> Option<Objection> {
    let before = running.routes.len();
    let going = running.routes.keys().filter(|key| !offered.routes.contains_key(key)).count();
    let limit = ROUTES_ALWAYS_FREE.max(before / 2);
    let blank = before > 0 && offered.routes.is_empty();
    if going <= limit && !blank {
        return None;
    }
    let limit = if blank { going.saturating_sub(1).min(limit) } else { limit };
    Some((MAX_ROUTES_REMOVED, going as u64, limit as u64))
}

fn too_many(offered: &Objects, routes_max: u64) -> Option<Objection> {
    let routes = offered.routes.len() as u64;
    (routes > routes_max).then_some((MAX_ROUTES, routes, routes_max))
}

/// Controllers that are reached by a way that is not ours, and that a route or an address of the program would take over.
fn management(running: &Objects, offered: &Objects, ways: &BTreeMap<IpAddr, Way>) -> Option<Objection> {
    let taken = ways.iter().filter(|(address, way)| takes(running, offered, **address, way)).count() as u64;
    (taken > 0).then_some((MANAGEMENT_ROUTE, taken, 0))
}

/// Whether the program would put an address or a better route over what the kernel uses for `address` now.
fn takes(running: &Objects, offered: &Objects, address: IpAddr, way: &Way) -> bool {
    // What is in force takes nothing any more: a controller on this host, or at a port of it, is reached by that address.
    let mut fresh = offered.addresses.difference(&running.addresses);
    let own = fresh.clone().any(|(_, network)| network.ip() == address);
    let (length, metric) = match way {
        // Nothing to lose, or ours already: in-band management.
        Way::None => return false,
        Way::Route(route) if route.protocol == PROTOCOL => return false,
        Way::Route(route) => (route.prefix.prefix(), route.metric),
        // Whatever it is, everything that is more precise than nothing would take it over.
        Way::Unknown(_) => (0, 0),
    };
    let better = |network: &IpNetwork, by: u32| {
        network.contains(address)
            && (network.prefix(), std::cmp::Reverse(by)) > (length, std::cmp::Reverse(metric))
    };
    let by_route = || {
        let routes = offered.routes.keys().filter(|key| key.table == TABLE_MAIN);
        // The kernel's order: the longest prefix, then the lowest metric.
        routes.into_iter().any(|key| better(&key.prefix, key.metric))
    };
    // An address brings the route to its own network along, with the best metric there is.
    let mut by_network = || fresh.any(|(_, network)| better(network, 0));
    own || by_network() || by_route()
}

/// A default route of ours with a better metric than one that is there already and is not ours.
fn default_route(offered: &Objects, foreign: &BTreeSet<RouteKey>) -> Option<Objection> {
    let defaults = offered.routes.keys().filter(|key| key.table == TABLE_MAIN && key.prefix.prefix() == 0);
    let over = defaults.flat_map(|ours| {
        let theirs =
            foreign.iter().filter(|theirs| theirs.table == ours.table && theirs.prefix == ours.prefix);
        theirs.filter(|theirs| ours.metric < theirs.metric).map(|theirs| (ours.metric, theirs.metric))
    });
    over.min().map(|(best, metric)| (DEFAULT_ROUTE, u64::from(best), u64::from(metric)))
}

/// Default routes of others in the main table, of a reading that keeps them at every metric.
pub(crate) fn foreign_defaults(actual: &Actual) -> BTreeSet<RouteKey> {
    let defaults =
        actual.foreign_routes.iter().filter(|key| key.table == TABLE_MAIN && key.prefix.prefix() == 0);
    defaults.copied().collect()
}

fn overridden(guard: &str, offer: &Offer, ledger: &Ledger, operator_key: Option<&[u8; 32]>) -> bool {
    let (Some(word), Some(key)) = (&offer.overrides, operator_key) else { return false };
    word.guards.iter().any(|named| named == guard)
        && word.revision == offer.revision
        && word.revision > ledger.override_revision_used
        && UnparsedPublicKey::new(&ED25519, key).verify(&word.signed_bytes(), &word.signature).is_ok()
}
