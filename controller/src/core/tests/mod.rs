//! The whole core on virtual time: what must hold for a cluster, its agents and its clients.

#![allow(clippy::unwrap_used)]

mod harness;

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

#[test]
fn a_topology_is_released_to_all_hosts_by_one_and_by_three() {
    for size in [1, 3] {
        let mut cluster = Cluster::new(size);
        cluster.elect();
        cluster.add_agents(TRIANGLE);
        for node in cluster.ids() {
            let id = cluster.put(node, TRIANGLE);
            let answer = cluster.answer(id);
            assert_eq!(answer.code, "accepted", "{answer:?}");
            cluster.until(2_000, "done", |cluster| cluster.state_of(answer.change) == "done");
            assert!(cluster.converged());
        }
    }
}
