//! Programs from topology and facts, each computation following the one before. No I/O.
//!
//! The result is that of compiling from nothing, whatever came before: replicas that were asked other questions in between
//! still compute the same digests.

use plan::incremental::Incremental;
use plan::spf::Cores;
use plan::{Facts, Network};
use std::sync::Arc;
use topology::Topology;

/// Nodes up to which paths and backups are kept between computations: 8 bytes per pair of nodes, 12 while facts cut a node off, so
/// 200 to 300 MB at most. Larger networks are compiled from nothing each time.
const KEPT_NODES_MAX: usize = 5_000;

/// What the last computation left behind.
#[derive(Default)]
pub struct Compiler {
    last: Option<(Arc<Topology>, Incremental)>,
}

impl Compiler {
    /// The programs of all hosts.
    pub fn compile(&mut self, topology: &Arc<Topology>, facts: Facts) -> Network {
        if topology.nodes.len() > KEPT_NODES_MAX {
            self.last = None;
            return plan::compile(topology, &facts);
        }
        let state = match self.last.take() {
            Some((last, mut state)) => {
                if Arc::ptr_eq(&last, topology) {
                    state.take_facts(facts);
                } else {
                    state.take_topology(Topology::clone(topology), facts);
                }
                state
            }
            None => Incremental::new(Topology::clone(topology), facts, Cores::All),
        };
        let network = state.network().clone();
        self.last = Some((topology.clone(), state));
        network
    }
}
