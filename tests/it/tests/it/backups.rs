//! Backups on published networks: what they cover, and that the installed ones never loop when a node dies.

use it::data;
use plan::{Facts, Network};
use std::collections::BTreeMap;
use topology::Topology;
use topology::import::{CostRule, Options, import};

/// (link, node behind it), by positions.
type Leg = (usize, usize);

/// For each class of a host its routes, best first, as legs.
type Routes = BTreeMap<u32, Vec<Vec<Leg>>>;

fn routes(topology: &Topology, network: &Network) -> Vec<Routes> {
    let mut legs: BTreeMap<(usize, &str), Leg> = BTreeMap::new();
    for (at, link) in topology.links.iter().enumerate() {
        for (own, far) in [(0, 1), (1, 0)] {
            let [own, far] = [own, far].map(|end: usize| &link.ends[end]);
            legs.insert((own.node.0 as usize, &own.interface), (at, far.node.0 as usize));
        }
    }
    let of_host = |(host, node): (usize, &topology::Node)| {
        let (program, _) = network.host(&node.name).unwrap();
        let mut routes = Routes::new();
        for route in &program.classes {
            let members = &program.group(route.group).unwrap().members;
            let interfaces = members.iter().map(|member| &program.nexthop(member.nexthop).unwrap().interface);
            let legs = interfaces.map(|interface| legs[&(host, interface.as_str())]).collect();
            routes.entry(route.class.0).or_default().push(legs);
        }
        routes
    };
    topology.nodes.iter().enumerate().map(of_host).collect()
}

/// Whether packets of some host for the class come back to a node, with `dead` gone and nobody recomputing.
fn loops(routes: &[Routes], class: u32, dead: usize) -> bool {
    let next = |node: usize| -> Vec<usize> {
        let routes = routes[node].get(&class).map(Vec::as_slice).unwrap_or_default();
        let mut alive = routes.iter().map(|legs| legs.iter().map(|leg| leg.1).filter(|far| *far != dead));
        alive
            .find_map(|legs| Some(legs.collect::<Vec<_>>()).filter(|legs| !legs.is_empty()))
            .unwrap_or_default()
    };
    let mut marks = vec!['n'; routes.len()];
    for first in (0..routes.len()).filter(|first| *first != dead) {
        let mut stack = vec![(first, false)];
        while let Some((node, done)) = stack.pop() {
            match (done, marks[node]) {
                (true, _) => marks[node] = 'd',
                (false, 'o') => return true,
                (false, 'd') => {}
                (false, _) => {
                    marks[node] = 'o';
                    stack.push((node, true));
                    stack.extend(
                        next(node).into_iter().filter(|next| marks[*next] != 'd').map(|next| (next, false)),
                    );
                }
            }
        }
    }
    false
}

fn assert_no_death_makes_a_loop(name: &str, topology: &Topology) {
    let network = plan::compile(topology, &Facts::default());
    let routes = routes(topology, &network);
    for class in &network.table.classes {
        for (dead, node) in topology.nodes.iter().enumerate().filter(|(_, node)| node.name != class.name) {
            assert!(!loops(&routes, class.id.0, dead), "{name}: to {} without {}", class.name, node.name);
        }
    }
}

/// A value for each share of networks that has at most as much.
fn quantiles(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let shown: Vec<String> =
        [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0].iter().map(|q| format!("{:.3}", at(*q))).collect();
    println!("  {what:<22} {} mean {mean:.3}", shown.join(" "));
}

/// Nodes of the largest network that is looked at where nobody asked for all.
const NODES_MAX: usize = 20;

#[test]
fn long_backups_cover_what_the_graphs_allow_and_never_loop() {
    let nodes_max = if std::env::var_os("BALLAST_LONG").is_some() { usize::MAX } else { NODES_MAX };
    for (folder, ending, cost) in [
        ("topology-zoo", ".graphml", CostRule::Hops),
        ("topology-zoo", ".graphml", CostRule::Distance),
        ("topohub/sndlib", ".json", CostRule::Distance),
        ("rocketfuel", ".intra", CostRule::Source),
    ] {
        let (mut lfa, mut all, mut possible, mut short) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let Some(files) = data::folder(folder).map(|found| data::files(&found, &[ending])) else { continue };
        for path in files {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let options = Options { cost: Some(cost), ..Options::default() };
            let Ok(import) = import(&name, &std::fs::read(&path).unwrap(), None, options) else { continue };
            let topology = topology::read(&name, import.text.as_bytes()).topology.unwrap();
            if topology.nodes.len() > nodes_max {
                continue;
            }
            let coverage = plan::backup::coverage(&topology);
            if coverage.possible - coverage.all > 1e-9 {
                short.push(format!("{name}: {:.4} of {:.4}", coverage.all, coverage.possible));
            }
            lfa.push(coverage.lfa);
            all.push(coverage.all);
            possible.push(coverage.possible);
            assert_no_death_makes_a_loop(&name, &topology);
        }
        if lfa.is_empty() {
            println!("{folder}: no network of at most {nodes_max} nodes; the long form takes them all");
            continue;
        }
        println!(
            "{folder} by {cost:?}: {} networks, {} below what the graph allows {short:?}",
            lfa.len(),
            short.len()
        );
        let of_possible = |values: &[f64]| -> Vec<f64> {
            let both = values.iter().zip(&possible);
            both.map(|(value, most)| if *most > 0.0 { value / most } else { 1.0 }).collect()
        };
        quantiles("installed / possible", of_possible(&lfa));
        quantiles("all / possible", of_possible(&all));
        quantiles("installed", lfa);
        quantiles("all", all);
        quantiles("possible", possible.clone());
        assert!(folder == "rocketfuel" || short.is_empty(), "{short:?}");
    }
}
