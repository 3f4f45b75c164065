//! Every file of the public collections as a topology file, against what the collections say about themselves.

use it::data::{files, folder};
use std::collections::BTreeMap;
use std::path::Path;
use topology::import::{Format, Import, Options, import};

/// Imports a file and checks that its format is guessed.
fn imported(path: &Path, companion: Option<&Path>, format: Format) -> Import {
    let name = path.file_name().unwrap().to_string_lossy();
    let companion = companion.map(|path| std::fs::read(path).unwrap());
    let import = import(&name, &std::fs::read(path).unwrap(), companion.as_deref(), Options::default())
        .unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
    assert_eq!(import.format, format, "{}", path.display());
    import
}

/// How often the written file sets a key.
fn set(import: &Import, key: &str) -> usize {
    let body = import.text.lines().filter(|line| !line.trim_start().starts_with('#'));
    body.map(|line| line.matches(&format!("{key}: ")).count()).sum()
}

#[test]
fn the_topology_zoo_has_the_nodes_links_and_places_of_its_index() {
    let Some(folder) = folder("topology-zoo") else { return };
    let index = std::fs::read_to_string(folder.join("INDEX-computed.tsv")).unwrap();
    let mut rows = index.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let heads = rows.next().unwrap();
    let expected: BTreeMap<String, BTreeMap<&str, usize>> = rows
        .map(|row| {
            let numbers = heads.iter().zip(&row).filter_map(|(head, text)| Some((*head, text.parse().ok()?)));
            (row[0].to_owned(), numbers.collect())
        })
        .collect();
    let paths = files(&folder, &[".graphml"]);
    let mut odd = Vec::new();
    for path in &paths {
        let import = imported(path, None, Format::Graphml);
        let expected = &expected[path.file_stem().unwrap().to_str().unwrap()];
        let links = expected["edges"] - expected["self_loops"];
        let found = (import.nodes.len(), import.links.len(), set(&import, " location"));
        if found != (expected["nodes"], links, expected["nodes_with_coordinates"]) {
            odd.push(format!("{}: {found:?}, the index has {expected:?}", path.display()));
        }
        let told = import.dropped.iter().any(|line| line.starts_with("links from a node to itself"));
        assert_eq!(told, expected["self_loops"] > 0, "{}", path.display());
    }
    println!("topology-zoo: {} files read, of {} in the index", paths.len(), expected.len());
    assert!(odd.is_empty(), "{odd:#?}");
    assert_eq!(paths.len(), expected.len());
}

#[test]
fn topohub_has_the_nodes_links_and_demands_that_each_file_counts() {
    let Some(folder) = folder("topohub") else { return };
    let paths = files(&folder, &[".json"]);
    for path in &paths {
        let import = imported(path, None, Format::Topohub);
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let stats = &file["graph"]["stats"];
        let counted = (stats["nodes"].as_u64().unwrap(), stats["links"].as_u64().unwrap());
        assert_eq!((import.nodes.len() as u64, import.links.len() as u64), counted, "{}", path.display());
        let rows = file["graph"]["demands"].as_object().unwrap();
        let rates = rows.values().flat_map(|row| row.as_object().unwrap().values());
        let demands = rates.filter(|rate| rate.as_f64().unwrap() > 0.0).count();
        assert_eq!(import.demands, demands, "{}", path.display());
    }
    println!("topohub: {} files read", paths.len());
}

/// The number behind a word at the start of a line.
fn stated(text: &str, word: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn repetita_pairs_all_edges_and_keeps_all_demands_above_zero() {
    let Some(folder) = folder("repetita") else { return };
    let graphs = files(&folder, &[".graph"]);
    for path in &graphs {
        let import = imported(path, None, Format::Repetita);
        let text = std::fs::read_to_string(path).unwrap();
        let counted = (stated(&text, "NODES"), stated(&text, "EDGES") / 2);
        assert_eq!((import.nodes.len(), import.links.len()), counted, "{}", path.display());
        assert!(!import.invented.iter().any(|line| line.contains("way back")), "{}", path.display());
    }
    let matrices = files(&folder, &[".demands"]);
    for path in &matrices {
        // NAME.demands or NAME.NUMBER.demands beside NAME.graph.
        let graph = [path.with_extension("graph"), path.with_extension("").with_extension("graph")];
        let graph = graph.iter().find(|graph| graph.exists()).unwrap();
        let import = imported(graph, Some(path), Format::Repetita);
        let text = std::fs::read_to_string(path).unwrap();
        let zero = text.lines().skip(2).filter(|line| line.ends_with(" 0")).count();
        assert_eq!(import.demands, stated(&text, "DEMANDS") - zero, "{}", path.display());
    }
    println!("repetita: {} graphs and {} matrices of demands read", graphs.len(), matrices.len());
}

#[test]
fn rocketfuel_maps_pair_all_directions_with_their_delays() {
    let Some(folder) = folder("rocketfuel") else { return };
    let paths = files(&folder, &[".weights.intra"]);
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy().replace("weights", "latencies");
        let latencies = path.with_file_name(name);
        let edges = std::fs::read_to_string(path).unwrap().lines().count();
        for import in [
            imported(path, None, Format::Rocketfuel),
            imported(&latencies, None, Format::Rocketfuel),
            imported(path, Some(&latencies), Format::Rocketfuel),
        ] {
            assert_eq!(import.links.len() * 2, edges, "{}", path.display());
            assert!(!import.invented.iter().any(|line| line.contains("way back")), "{}", path.display());
        }
        assert_eq!(set(&imported(path, Some(&latencies), Format::Rocketfuel), "latency") * 2, edges);
    }
    println!("rocketfuel: {} pairs of files read", paths.len());
}

#[test]
fn net2plan_designs_have_the_nodes_and_links_of_their_names() {
    let Some(folder) = folder("net2plan") else { return };
    let paths = files(&folder, &[".n2p"]);
    let mut counted = 0;
    for path in &paths {
        let import = imported(path, None, Format::Net2plan);
        let name = path.file_stem().unwrap().to_string_lossy();
        // `abilene_N12_E30_withTraffic`: 12 nodes, 30 directions.
        let number =
            |letter: char| name.split('_').find_map(|part| part.strip_prefix(letter)?.parse::<usize>().ok());
        if let (Some(nodes), Some(directions)) = (number('N'), number('E')) {
            assert_eq!((import.nodes.len(), import.links.len() * 2), (nodes, directions), "{name}");
            counted += 1;
        }
        let has_demands = name.contains("withTraffic") || name.starts_with("trafficMatrices");
        assert_eq!(import.demands > 0, has_demands, "{name}");
    }
    println!("net2plan: {} files read, {counted} against the counts in their names", paths.len());
}
