//! Simple loop-free alternates (RFC 5286): where a packet can go when its only next hop is gone.
//!
//! The kernel deletes the next hops of a device that loses its carrier. A group over several devices sheds
//! the leg and lives; a group on one device goes, with all its routes, and the kernel falls to a second
//! route at a worse metric if there is one. So an alternate is only looked for where there is exactly one
//! next hop. No remote or topology-independent alternates: where no neighbour qualifies, there is none.

use crate::graph::Edge;
use crate::paths::{Field, UNREACHABLE};
use std::cmp::Reverse;
use topology::NodeIndex;

/// The best alternate of `from` towards `to` when the edge `primary` fails.
///
/// A neighbour N over another link qualifies when its own shortest paths do not come back:
/// `distance(N, to) < distance(N, from) + distance(from, to)` (RFC 5286, inequality 1). Preferred are those
/// that avoid the primary's neighbour E as well: `distance(N, to) < distance(N, E) + distance(E, to)`
/// (inequality 3); then the lowest cost through the neighbour; then the link's id.
pub(crate) fn alternate<'a>(field: &'a Field, from: u32, to: u32, primary: &Edge) -> Option<&'a Edge> {
    let own = field.distance(from, to);
    let avoided = primary.to;
    let edges = field.graph.edges(NodeIndex(from)).iter();
    let loop_free = edges.filter(|edge| edge.link != primary.link).filter(|edge| {
        let rest = field.distance(edge.to, to);
        rest != UNREACHABLE && rest < field.distance(edge.to, from).saturating_add(own)
    });
    loop_free.min_by_key(|edge| {
        let rest = field.distance(edge.to, to);
        let through_avoided = field.distance(edge.to, avoided).saturating_add(field.distance(avoided, to));
        (Reverse(rest < through_avoided), field.distance_through(edge, to), edge.link)
    })
}
