//! Which prefixes share addresses. Each prefix is compared with its nearest enclosing one alone, so the
//! work stays near-linear and one mistake gives one problem.

use crate::address;
use crate::diagnostic::{Code, Place, Problems, quote};
use ipnetwork::IpNetwork;
use std::cmp::Reverse;

/// What a prefix is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    LoopbackRange,
    /// A prefix behind the node of this name.
    Node(String),
    /// A loopback pinned outside of the loopback range, at the node of this name.
    Loopback(String),
    /// The subnet of the link with this id.
    Link(String),
    /// What is reached through the uplink `node:interface`.
    External(String),
    /// The address of a controller, or its link to the node where it has a port there.
    Controller {
        id: u64,
        port: bool,
    },
}

impl Owner {
    fn describe(&self) -> String {
        match self {
            Owner::LoopbackRange => "the loopback range".into(),
            Owner::Node(name) => format!("a prefix of node {}", quote(name)),
            Owner::Loopback(name) => format!("a loopback of node {}", quote(name)),
            Owner::Link(id) => format!("a subnet of link {}", quote(id)),
            Owner::External(uplink) => format!("an external prefix of {}", quote(uplink)),
            Owner::Controller { id, port: false } => format!("the address of controller {id}"),
            Owner::Controller { id, port: true } => format!("the link to controller {id}"),
        }
    }
}

/// A prefix, what it is for, and where it stands; without a place it is a default.
pub(crate) struct Claim {
    pub(crate) network: IpNetwork,
    pub(crate) owner: Owner,
    pub(crate) place: Option<Place>,
}

/// Reports each claim that lies within another one where it must not.
pub(crate) fn check(mut claims: Vec<Claim>, problems: &mut Problems) {
    // Equal prefixes by owner, so that an owner's repetition stands beside the first.
    claims.sort_by_cached_key(|claim| {
        let (first, last) = address::bounds(&claim.network);
        (claim.network.is_ipv6(), first, Reverse(last), claim.owner.clone(), claim.place)
    });
    // At most one claim of each length, and one more for a way out of each length.
    let mut enclosing: Vec<&Claim> = Vec::new();
    for claim in &claims {
        while enclosing.last().is_some_and(|outer| !address::overlap(&outer.network, &claim.network)) {
            enclosing.pop();
        }
        if let Some(outer) = enclosing.iter().rev().find(|outer| excludes(outer, claim)) {
            report(outer, claim, problems);
        }
        let replaced = |last: &&Claim| {
            last.network == claim.network && is_external(&last.owner) == is_external(&claim.owner)
        };
        if enclosing.last().is_some_and(replaced) {
            enclosing.pop();
        }
        enclosing.push(claim);
    }
}

fn is_external(owner: &Owner) -> bool {
    matches!(owner, Owner::External(_))
}

/// Whether `outer`, which holds the addresses of `inner`, stands in its way.
fn excludes(outer: &Claim, inner: &Claim) -> bool {
    match (&outer.owner, &inner.owner) {
        // Anycast.
        (Owner::Node(a), Owner::Node(b)) if a != b => outer.network != inner.network,
        // Several ways out, with the longest prefix first.
        (Owner::External(a), Owner::External(b)) => a == b && outer.network == inner.network,
        // The network's own prefixes are pieces of the world; equal ones come before those from outside.
        (Owner::External(_), _) => false,
        _ => true,
    }
}

fn report(outer: &Claim, inner: &Claim, problems: &mut Problems) {
    // The one further down in the file is the one that was added last.
    let (earlier, later) = if outer.place <= inner.place { (outer, inner) } else { (inner, outer) };
    let Some(place) = later.place else { return };
    let there = match earlier.place {
        Some(there) => problems.line(there, place),
        None => "a default".into(),
    };
    let (message, help) = if earlier.owner == later.owner {
        let message = format!(
            "{} ({}) lies within {} ({there}) of the same owner: one of the two says nothing",
            inner.network,
            inner.owner.describe(),
            outer.network,
        );
        (message, "remove the one that is not meant")
    } else {
        let message = format!(
            "{} ({}) overlaps {} ({}, {there}): the shared addresses would be in two places",
            later.network,
            later.owner.describe(),
            earlier.network,
            earlier.owner.describe(),
        );
        let help = match (&earlier.owner, earlier.place) {
            (Owner::LoopbackRange, None) => {
                "use other addresses, or set `addressing.loopbacks` to a range that nothing else uses"
            }
            _ => "give one of the two other addresses",
        };
        (message, help)
    };
    problems.error(Code::OVERLAPPING_PREFIXES, place, message, help);
}
