//! The whole core on virtual time: what must hold for a cluster, its agents and its clients.

#![allow(clippy::unwrap_used)]

mod changes;
mod facts;
mod harness;
mod replication;
mod soak;

use harness::Cluster;

const TRIANGLE: &str = "\
version: 1
name: triangle
addressing:
  loopbacks: [10.255.0.0/24, 'fd00::/64']
nodes:
  a: { prefixes: [10.1.0.0/24] }
  b: { prefixes: [10.2.0.0/24] }
  c: { prefixes: [10.3.0.0/24] }
links:
  - { endpoints: ['a:eth1', 'b:eth1'], cost: 10 }
  - { endpoints: ['b:eth2', 'c:eth1'], cost: 10 }
  - { endpoints: ['a:eth2', 'c:eth2'], cost: 15 }
safety: { bake: 0s, max_hosts_per_step: 100%, link_up_hold: 1s }
";

/// The triangle with another cost between a and c: programs of all three hosts change.
fn dearer() -> String {
    TRIANGLE.replace("cost: 15", "cost: 25")
}

/// The triangle without c's prefix.
fn gutted() -> String {
    TRIANGLE.replace("c: { prefixes: [10.3.0.0/24] }", "c: {}")
}

/// A cluster that runs the triangle on all hosts.
fn running(size: u64) -> Cluster {
    let mut cluster = Cluster::new(size);
    let leader = cluster.elect();
    cluster.add_agents(TRIANGLE);
    apply(&mut cluster, leader, TRIANGLE);
    cluster
}

/// Applies and waits until it is done; the change's number.
#[track_caller]
fn apply(cluster: &mut Cluster, node: u64, topology: &str) -> u64 {
    let id = cluster.put(node, topology);
    let answer = cluster.answer(id);
    assert_eq!(answer.code, "accepted", "{answer:?}");
    cluster.until(3_000, "done", |cluster| cluster.state_of(answer.change) == "done");
    assert!(cluster.converged());
    answer.change
}
