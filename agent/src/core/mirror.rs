//! What the kernel holds, kept up to date between readings: the last complete one, what the agent wrote since, and what
//! events say of objects that they name. Events are hints, and the audit is the truth behind them; a mirror that was wrong
//! is found out by a refused write or by the next audit, and costs a reading, never a wrong conclusion about others' objects.
//!
//! What the kernel does in silence is modelled: a group that goes takes its routes along, a next hop that goes its legs.

use crate::core::fights::Who;
use crate::core::kernel::{Actual, ActualNexthop, ActualRoute, Link, NexthopKind, Op};
use crate::core::ownership::nexthop_is_ours;
use crate::core::wanted::{Desired, Places, Wanted};
use plan::objects::{GroupValue, RouteKey};
use std::collections::{BTreeMap, BTreeSet};

/// Routes mended one by one; more are found by a walk over all of them, which costs a few milliseconds per 100,000.
const TOUCHED_MAX: usize = 1_024;

/// What an event of the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A route of ours, or one in a place of ours.
    Route {
        /// Which.
        key: RouteKey,
        /// It carries our protocol number.
        ours: bool,
        /// What stands there now; `None`: it is gone.
        value: Option<ActualRoute>,
        /// It took the place of the one that stood there.
        replaces: bool,
    },
    /// A nexthop object of our range is gone, and whatever hangs on it.
    NexthopGone(u32),
    /// An interface, as it was at that moment: a flap may be over when it is read.
    Link {
        /// Its name.
        interface: String,
        /// It had carrier.
        carrier: bool,
    },
    /// A local address is gone, and with it routes that prefer it as a source.
    AddressGone(std::net::IpAddr),
    /// Any object but a route: read them again.
    Objects,
    /// Events were lost, or not understood: read everything.
    Lost,
}

/// A change, whose it was and when it was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// What.
    pub change: Change,
    /// By whom.
    pub who: Who,
    /// When the shell heard of it, in microseconds of the agent's clock.
    pub heard_us: u64,
}

/// The mirror.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Routes that stand as wanted are places in `right`; others are in `routes`.
    actual: Actual,
}

/// What changes have touched since they were last looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// Routes to be looked at one by one, and who touched them.
    pub(crate) routes: BTreeMap<RouteKey, Who>,
    /// All routes are to be looked at (in the mirror).
    pub(crate) walk: bool,
    /// Everything but routes is to be read.
    pub(crate) objects: bool,
    /// Everything is to be read.
    pub(crate) lost: bool,
    /// The last foreign hand.
    pub(crate) who: Who,
    /// The first of the changes.
    pub(crate) heard_us: Option<u64>,
}

impl Mirror {
    /// From a complete reading. Routes that it names one by one find their places.
    pub(crate) fn of(mut actual: Actual, wanted: &Wanted) -> Mirror {
        if actual.right == Places::default() {
            actual.right = Places::none_of(wanted.places());
        }
        let Actual { right, routes, .. } = &mut actual;
        routes.retain(|key, found| match wanted.place(key) {
            Some((place, value)) if found.value == Some(value) => {
                right.set(place, true);
                false
            }
            _ => true,
        });
        Mirror { actual }
    }

    /// All that is held.
    pub(crate) fn actual(&self) -> &Actual {
        &self.actual
    }

    /// Takes over a reading of everything but routes. Says whether anything is different from what was known.
    pub(crate) fn take(&mut self, read: Actual, wanted: &Wanted) -> bool {
        let mut before = std::mem::replace(&mut self.actual, read);
        self.actual.routes = std::mem::take(&mut before.routes);
        self.actual.foreign_routes = std::mem::take(&mut before.foreign_routes);
        self.actual.right = std::mem::take(&mut before.right);
        let ours = before.nexthops.iter().filter(|(id, found)| nexthop_is_ours(**id, found));
        let gone = ours.map(|(id, _)| *id).filter(|id| !self.actual.nexthops.contains_key(id)).collect();
        self.routes_gone(&gone, wanted);
        !gone.is_empty() || !same_objects(&before, &self.actual)
    }

    /// The routes through these groups went with them.
    fn routes_gone(&mut self, groups: &BTreeSet<u32>, wanted: &Wanted) {
        if groups.is_empty() {
            return;
        }
        let Actual { right, routes, .. } = &mut self.actual;
        routes.retain(|_, found| {
            found.value.and_then(|value| value.group()).is_none_or(|group| !groups.contains(&group))
        });
        wanted.each_route(&mut |place, _, value| {
            if let Some(place) = place.filter(|_| value.group().is_some_and(|group| groups.contains(&group)))
            {
                right.set(place, false);
            }
        });
    }

    /// A nexthop object went: its legs go, and groups that are left empty with their routes.
    fn nexthop_gone(&mut self, id: u32, wanted: &Wanted) {
        let nexthops = &mut self.actual.nexthops;
        nexthops.remove(&id);
        let mut gone = BTreeSet::from([id]);
        for (group, found) in nexthops.iter_mut() {
            if let NexthopKind::Group(GroupValue { members, .. }) = &mut found.kind {
                members.retain(|leg| leg.nexthop != id);
                if members.is_empty() {
                    gone.insert(*group);
                }
            }
        }
        nexthops.retain(|id, _| !gone.contains(id));
        self.routes_gone(&gone, wanted);
    }

    /// What the mirror knows of a route of ours.
    fn set_route(&mut self, key: RouteKey, found: Option<ActualRoute>, wanted: &Wanted) {
        let place = wanted.place(&key);
        let right =
            matches!((&place, &found), (Some((_, value)), Some(found)) if found.value == Some(*value));
        if let Some((place, _)) = place {
            self.actual.right.set(place, right);
        }
        match found {
            Some(found) if !right => drop(self.actual.routes.insert(key, found)),
            _ => drop(self.actual.routes.remove(&key)),
        }
    }

    /// Takes over what an event says.
    pub(crate) fn note(&mut self, noticed: Noticed, wanted: &Wanted, touched: &mut Touched) {
        let Noticed { change, who, heard_us } = noticed;
        touched.heard_us.get_or_insert(heard_us);
        match change {
            Change::Route { key, ours, value, replaces } => {
                if ours {
                    self.set_route(key, value, wanted);
                } else if wanted.route(&key).is_none() && key.prefix.prefix() > 0 {
                    // Another routing daemon's business.
                    return;
                } else if value.is_some() {
                    self.actual.foreign_routes.insert(key);
                    if replaces {
                        self.set_route(key, None, wanted);
                    }
                } else {
                    self.actual.foreign_routes.remove(&key);
                }
                touched.routes.insert(key, who.clone());
                // A foreign route changes what is refused, and not only what is to be written.
                touched.walk |= !ours || touched.routes.len() > TOUCHED_MAX;
            }
            Change::NexthopGone(id) => {
                self.nexthop_gone(id, wanted);
                touched.objects = true;
                touched.walk = true;
            }
            Change::AddressGone(address) => {
                let source = |of: Option<std::net::IpAddr>| of == Some(address);
                let program = wanted.program();
                let ours = source(program.preferred_source_v4.map(Into::into))
                    || source(program.preferred_source_v6.map(Into::into));
                touched.objects = true;
                touched.lost |= ours;
            }
            Change::Link { .. } | Change::Objects => touched.objects = true,
            Change::Lost => touched.lost = true,
        }
        if who != Who::default() {
            touched.who = who;
        }
    }

    /// Whether a route stands as it should.
    pub(crate) fn stands(&self, key: &RouteKey, wanted: &Wanted) -> bool {
        match wanted.place(key) {
            Some((place, _)) => self.actual.right.has(place),
            None => wanted.route(key).is_some_and(|value| {
                self.actual.routes.get(key).is_some_and(|found| found.value == Some(value))
            }),
        }
    }

    /// What an acknowledged write made of it. Kinds that are read back after a write need no word here.
    pub(crate) fn wrote(&mut self, op: &Op, wanted: &Wanted) {
        match op {
            Op::PutRoute { key, value, .. } => {
                self.set_route(*key, Some(ActualRoute { value: Some(*value) }), wanted);
            }
            Op::DelRoute { key } => self.set_route(*key, None, wanted),
            Op::PutGroup { id, value, .. } => {
                let kind = NexthopKind::Group(value.clone());
                self.actual.nexthops.insert(*id, ActualNexthop { ours: true, kind });
            }
            Op::DelNexthop { id } => self.nexthop_gone(*id, wanted),
            _ => {}
        }
    }
}

/// Whether two readings hold the same, but for routes and counters.
fn same_objects(a: &Actual, b: &Actual) -> bool {
    let link = |link: &Link| Link { rx_packets: 0, tx_packets: 0, ..link.clone() };
    let links = |actual: &Actual| -> BTreeMap<String, Link> {
        actual.links.iter().map(|(name, found)| (name.clone(), link(found))).collect()
    };
    let Actual { addresses, neighbours, nexthops, sysctls, missing, .. } = a;
    let Actual { vxlans, forwarding, vxlan_neighbours, local_segments, rules, .. } = a;
    links(a) == links(b)
        && *addresses == b.addresses
        && *neighbours == b.neighbours
        && *nexthops == b.nexthops
        && *sysctls == b.sysctls
        && *missing == b.missing
        && *vxlans == b.vxlans
        && *forwarding == b.forwarding
        && *vxlan_neighbours == b.vxlan_neighbours
        && *local_segments == b.local_segments
        && *rules == b.rules
}
