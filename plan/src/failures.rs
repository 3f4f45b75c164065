//! What does not hold after the failure of any one link or any one node.
//!
//! Judged is the state after the reaction: the programs compiled from the facts of the failure, not what
//! the kernels do by themselves until then (see `backup`). Of a dead node's own traffic nothing is asked.

use crate::check::{Checked, State, VIOLATIONS_MAX, Violation};
use crate::incremental::Incremental;
use crate::spf::Cores;
use crate::{Facts, Network};
use topology::{LinkIndex, NodeIndex, Topology};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A link, in both directions.
    Link(LinkIndex),
    /// A node with all its links and ways out.
    Node(NodeIndex),
}

/// A failure after which something does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What fails.
    pub element: Element,
    /// What does not hold then, at most [`VIOLATIONS_MAX`]; what does not hold without the failure either is
    /// among it.
    pub violations: Vec<Violation>,
}

impl Element {
    /// All of a topology's links, then all its nodes.
    pub fn all(topology: &Topology) -> impl Iterator<Item = Element> {
        let links = (0..topology.links.len() as u32).map(|at| Element::Link(LinkIndex(at)));
        links.chain((0..topology.nodes.len() as u32).map(|at| Element::Node(NodeIndex(at))))
    }

    /// The link's id or the node's name.
    pub fn name(self, topology: &Topology) -> &str {
        match self {
            Element::Link(link) => &topology.link(link).id,
            Element::Node(node) => &topology.node(node).name,
        }
    }

    /// The facts with this failure among them.
    pub fn failed(self, topology: &Topology, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        match self {
            Element::Link(link) => {
                facts.links_down.insert(topology.link(link).id.clone());
            }
            Element::Node(node) => {
                let links = topology.links.iter().filter(|link| link.ends.iter().any(|end| end.node == node));
                facts.links_down.extend(links.map(|link| link.id.clone()));
                let uplinks = topology.external.iter().filter(|external| external.node == node);
                let name = &topology.node(node).name;
                facts.links_down.extend(uplinks.map(|uplink| format!("{name}:{}", uplink.interface)));
            }
        }
        facts
    }

    /// The node that is dead then.
    pub fn dead(self) -> Option<NodeIndex> {
        match self {
            Element::Link(_) => None,
            Element::Node(node) => Some(node),
        }
    }
}

/// Judges the failure of each link and of each node, one at a time. `checked` is the judged state without
/// them; failures after which all holds are left out.
pub fn single_failures(
    topology: &Topology,
    facts: &Facts,
    network: &Network,
    checked: &Checked,
) -> Vec<Failure> {
    let old = State { topology, facts, network, dead: None };
    let mut compiled = Incremental::new(topology.clone(), facts.clone(), Cores::All);
    let judge = |element: Element| {
        let facts = element.failed(topology, facts);
        compiled.take_facts(facts.clone());
        let new = State { topology, facts: &facts, network: compiled.network(), dead: element.dead() };
        let violations = checked.follow(old, new).violations().take(VIOLATIONS_MAX).cloned().collect();
        Failure { element, violations }
    };
    Element::all(topology).map(judge).filter(|failure| !failure.violations.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::compile;
    use crate::tests::fixture::topology;
    use topology::{Invariant, InvariantRule, Selector};

    #[test]
    fn a_failure_that_cuts_a_wanted_pair_is_told_and_a_dead_node_is_missed_by_nobody() {
        // c hangs on b alone; a, b and d are a triangle.
        let mut topology = topology("a-b 1, b-d 1, a-d 1, b-c 1");
        let all = |text: &str, nodes: &[u32]| Selector {
            text: text.into(),
            nodes: nodes.iter().copied().map(NodeIndex).collect(),
        };
        let any = all("any", &[0, 1, 2, 3]);
        topology.invariants =
            vec![Invariant { from: any.clone(), to: any, rule: InvariantRule::Reach, line: 7 }];
        let facts = Facts::default();
        let network = compile(&topology, &facts);
        let checked =
            Checked::new(State { topology: &topology, facts: &facts, network: &network, dead: None });
        let found: Vec<String> = single_failures(&topology, &facts, &network, &checked)
            .iter()
            .flat_map(|failure| {
                let told = failure.violations.iter();
                told.map(|violation| format!("{}: {violation}", failure.element.name(&topology)))
            })
            .collect();
        assert_eq!(
            found,
            [
                "b:eth3--c:eth1: c does not reach a",
                "b:eth3--c:eth1: c does not reach b",
                "b:eth3--c:eth1: a does not reach c; the same for 2 sources more",
                "b:eth3--c:eth1: c does not reach d",
                "b: c does not reach a",
                "b: a does not reach c; the same for 1 source more",
                "b: c does not reach d",
            ]
        );
    }
}
