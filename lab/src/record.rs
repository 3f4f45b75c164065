//! What is known of a running lab, in `lab.json` of its folder: enough for every later command.

use crate::process::Process;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this file.
    pub version: u32,
    /// Its id.
    pub run_id: String,
    /// The topology's name.
    pub name: String,
    /// When it was made, for choosing the newest.
    pub made_unix_ms: u64,
    /// A process that must live for the lab to be wanted; none: wanted until `lab down`.
    pub owner: Option<Process>,
    /// Hosts by name.
    pub hosts: Vec<HostRecord>,
    /// Controllers by id.
    pub controllers: Vec<ControllerRecord>,
    /// Links that were cut: id and how.
    pub cuts: BTreeSet<String>,
    /// Numbers of links in use, by link id, for interface indexes.
    pub links: Vec<LinkRecord>,
    /// The next number of a host on the management network.
    pub next_host: u32,
    /// The next number of a link.
    pub next_link: u32,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The node's name.
    pub name: String,
    /// Its namespace.
    pub netns: String,
    /// Its loopbacks.
    pub loopbacks: Vec<IpAddr>,
    /// Addresses of its own inside its prefixes.
    pub own: Vec<IpAddr>,
    /// Number on the management network.
    pub number: u32,
    /// Its agent, when it was started.
    pub agent: Option<Process>,
    /// Its liveness process, when it was started.
    #[serde(default)]
    pub liveness: Option<Process>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerRecord {
    /// Its id.
    pub id: u64,
    /// Its namespace.
    pub netns: String,
    /// Port of its REST interface on loopback of the root namespace.
    pub port: u16,
    /// The process, when it was started.
    pub process: Option<Process>,
    /// Where agents and the other controllers reach it.
    pub address: IpAddr,
    /// Its place in the network; none: it is on the management network.
    pub place: Option<Place>,
}

/// Where a controller is under in-band management.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The host that it is behind, or on.
    pub host: String,
    /// The host's port to it; none: it is on the host.
    pub port: Option<String>,
    /// Its address, where the host's program has no last hop to it.
    pub last_hop: Option<IpAddr>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// `a:eth1--b:eth2`.
    pub id: String,
    /// Host and interface of each end.
    pub ends: [(String, String); 2],
}

const FILE: &str = "lab.json";

impl Record {
    /// Whether agents reach controllers over the network itself.
    pub fn is_in_band(&self) -> bool {
        self.controllers.iter().any(|controller| controller.place.is_some())
    }

    /// Reads a lab's record.
    pub fn read(folder: &Path) -> Result<Record> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes it, atomically.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (path, temporary) = (folder.join(FILE), folder.join("lab.json.new"));
        std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&temporary, &path).with_context(|| path.display().to_string())
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Result<&HostRecord> {
        let known = || self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .with_context(|| format!("no host {name}; there are {}", known()))
    }

    /// A link by id, or by its two hosts where that is unique.
    pub fn link(&self, id: &str) -> Result<&LinkRecord> {
        if let Some(link) = self.links.iter().find(|link| link.id == id) {
            return Ok(link);
        }
        let (a, b) = id
            .split_once("--")
            .with_context(|| format!("{id} is no link: write host--host or host:eth1--host:eth2"))?;
        let hosts = |link: &LinkRecord| {
            let [(x, _), (y, _)] = &link.ends;
            (x == a && y == b) || (x == b && y == a)
        };
        let found: Vec<&LinkRecord> = self.links.iter().filter(|link| hosts(link)).collect();
        match found.as_slice() {
            [link] => Ok(link),
            [] => bail!("no link {id}"),
            several => {
                let ids: Vec<&str> = several.iter().map(|link| link.id.as_str()).collect();
                bail!("{id} is not unique: {}", ids.join(", "))
            }
        }
    }
}

/// Folders of all labs that have a record.
pub fn folders(base: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(base) else { return Vec::new() };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter(|folder| folder.join(FILE).exists()).collect()
}
