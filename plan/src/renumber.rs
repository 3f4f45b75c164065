//! Nodes and links of one topology under the numbers of another.
//!
//! Both topologies are sorted by name, so what both have keeps its order: ties that the order decides stay as they are.

use topology::{NodeIndex, Topology};

/// Where nodes and links of an old topology are in a new one.
pub(crate) struct Renumbering {
    /// By old position of the node: the new one, or none for a node that is gone.
    pub(crate) nodes: Vec<Option<u32>>,
    /// The same for links. One whose ends are other nodes now is another link.
    pub(crate) links: Vec<Option<u32>>,
    /// By new position of the node: the old one, or none for a node that was added.
    pub(crate) old_nodes: Vec<Option<u32>>,
    /// Number of links in the new topology.
    pub(crate) new_links: usize,
}

impl Renumbering {
    /// By names of nodes and ids of links.
    pub(crate) fn new(old: &Topology, new: &Topology) -> Renumbering {
        let names =
            |topology: &Topology| topology.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        let ids = |topology: &Topology| topology.links.iter().map(|link| link.id.clone()).collect::<Vec<_>>();
        let nodes = merged(&names(old), &names(new));
        let mut links = merged(&ids(old), &ids(new));
        let moved = |node: NodeIndex| nodes[node.0 as usize].map(NodeIndex);
        for (link, place) in old.links.iter().zip(&mut links) {
            let joins_the_same = |at: &u32| {
                let now = &new.links[*at as usize].ends;
                link.ends.iter().zip(now).all(|(end, now)| moved(end.node) == Some(now.node))
            };
            *place = place.filter(joins_the_same);
        }
        let mut old_nodes = vec![None; new.nodes.len()];
        for (at, place) in (0_u32..).zip(&nodes) {
            if let Some(place) = place {
                old_nodes[*place as usize] = Some(at);
            }
        }
        Renumbering { nodes, links, old_nodes, new_links: new.links.len() }
    }

    /// Whether everything stays where it is, and nothing comes or goes.
    pub(crate) fn is_identity(&self) -> bool {
        let stays = |places: &[Option<u32>], size: usize| {
            places.len() == size && (0_u32..).zip(places).all(|(at, place)| *place == Some(at))
        };
        stays(&self.nodes, self.old_nodes.len()) && stays(&self.links, self.new_links)
    }

    /// By new position of the link: the old one, or none for a link that was added.
    pub(crate) fn old_links(&self) -> Vec<Option<u32>> {
        let mut old = vec![None; self.new_links];
        for (at, place) in (0_u32..).zip(&self.links) {
            if let Some(place) = place {
                old[*place as usize] = Some(at);
            }
        }
        old
    }
}

/// For each of the sorted `old` its position in the sorted `new`.
fn merged(old: &[String], new: &[String]) -> Vec<Option<u32>> {
    let mut rest = (0_u32..).zip(new).peekable();
    let place = |name: &String| {
        while rest.next_if(|(_, other)| *other < name).is_some() {}
        rest.next_if(|(_, other)| *other == name).map(|(at, _)| at)
    };
    old.iter().map(place).collect()
}
