//! Every published network that is at hand: imported, read as a topology file, compiled.

use it::data;
use std::collections::BTreeMap;
use std::path::Path;
use topology::import::{Import, Options, import};

/// The file beside `path` that belongs to it.
fn companion(path: &Path) -> Option<Vec<u8>> {
    let text = path.to_string_lossy();
    let beside = match () {
        () if text.ends_with(".weights.intra") => text.replace(".weights.", ".latencies."),
        () if text.ends_with(".graph") => text.replace(".graph", ".0000.demands"),
        () => return None,
    };
    let alone = text.replace(".graph", ".demands");
    std::fs::read(beside)
        .or_else(|_| std::fs::read(alone))
        .ok()
        .filter(|bytes| bytes.starts_with(b"DEMANDS") || text.ends_with(".intra"))
}

/// What is checked of every import: the file is valid, has what was announced, and compiles.
fn judge(import: &Import) -> Result<(), String> {
    let reading = topology::read("imported", import.text.as_bytes());
    let first = reading.diagnostics.first().map(ToString::to_string).unwrap_or_default();
    let topology = reading.topology.ok_or(first)?;
    let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
    let ids: Vec<&str> = topology.links.iter().map(|link| link.id.as_str()).collect();
    let missing = import.nodes.iter().find(|(_, name)| names.binary_search(&name.as_str()).is_err());
    let lost = import.links.iter().find(|(_, id)| ids.binary_search(&id.as_str()).is_err());
    if (missing, lost) != (None, None) || names.len() != import.nodes.len() || ids.len() != import.links.len()
    {
        return Err(format!("announced and written differ: {missing:?} {lost:?}"));
    }
    if topology.demands.len() != import.demands {
        return Err(format!("{} demands announced, {} there", import.demands, topology.demands.len()));
    }
    let network = plan::compile(&topology, &plan::Facts::default());
    match network.digests_by_host().len() == names.len() {
        true => Ok(()),
        false => Err("not every node has a program".to_owned()),
    }
}

/// Imports each file of a folder: how many became a network, and what is said of the others.
fn all(folder: &str, endings: &[&str]) -> Option<(usize, BTreeMap<String, String>)> {
    let folder = data::folder(folder)?;
    let files = data::files(&folder, endings);
    let (mut good, mut refused) = (0, BTreeMap::new());
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match import(&name, &bytes, companion(path).as_deref(), Options::default()) {
            Ok(import) => {
                if let Err(problem) = judge(&import) {
                    panic!(
                        "{name}: {problem}\n{}",
                        import.text.lines().take(40).collect::<Vec<_>>().join("\n")
                    );
                }
                good += 1;
            }
            Err(error) => {
                refused.insert(name, error.to_string());
            }
        }
    }
    println!("{}: {good} of {} imported, {refused:#?}", folder.display(), files.len());
    Some((good, refused))
}

/// Every file of these folders must be a network.
fn every(folders: &[(&str, &str)]) {
    for (folder, ending) in folders {
        let Some((good, refused)) = all(folder, &[ending]) else { continue };
        assert!(good > 0 && refused.is_empty(), "{refused:#?}");
    }
}

#[test]
fn every_network_of_the_topology_zoo_net2plan_and_rocketfuel_is_imported_checked_and_compiled() {
    every(&[("topology-zoo", ".graphml"), ("net2plan", ".n2p"), ("rocketfuel", ".intra")]);
}

#[test]
fn every_network_of_topohub_and_repetita_is_imported_checked_and_compiled() {
    every(&[("topohub", ".json"), ("repetita", ".graph")]);
}

#[test]
fn every_lab_of_containerlab_is_imported_or_refused_with_the_line() {
    let Some((good, refused)) = all("containerlab", &[".yml", ".yaml"]) else { return };
    assert!(good > 0);
    for (name, why) in refused {
        assert!(why.starts_with("line ") && why.contains("Go template"), "{name}: {why}");
    }
}
