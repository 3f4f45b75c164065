//! A lab's life: up, cut, mend, kill, start, reboot, sync, down. Every command finds the lab again by its record.

use crate::certificates::{Authority, Files};
use crate::echo::{self, Endpoint, Reached};
use crate::names::{self, MANAGEMENT_INTERFACE, Member, PREFIX};
use crate::process::{self, Process};
use crate::record::{self, ControllerRecord, HostRecord, LinkRecord, Record};
use crate::{ip, names::netns};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use topology::{Management, Node, Topology};

const PORT_PEERS: u16 = 7_001;
const PORT_AGENTS: u16 = 7_002;
/// What stands behind a host's name where its liveness process is meant, and not its agent.
const LIVENESS_SUFFIX: &str = "@liveness";

/// The programs that a lab runs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `ballast-controller`.
    pub controller: PathBuf,
    /// `ballast-agent`.
    pub agent: PathBuf,
    /// `ballast-liveness`.
    pub liveness: PathBuf,
}

impl Binaries {
    /// Those beside the running program.
    pub fn beside_this_program() -> Result<Binaries> {
        let own = std::env::current_exe()?;
        let folder = own.parent().context("a program lives in a folder")?;
        let find = |name: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            ensure!(path.exists(), "{} is not there: scripts/lab builds it", path.display());
            Ok(path)
        };
        Ok(Binaries {
            controller: find("ballast-controller")?,
            agent: find("ballast-agent")?,
            liveness: find("ballast-liveness")?,
        })
    }
}

/// How to make a lab.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1, 3 or 5; of a topology that is managed in-band its own controllers are made.
    pub controllers: u64,
    /// End the lab when this process is gone (`Lab::sweep`); none: it stays until `down`.
    pub owner_pid: Option<u32>,
}

/// Which end of a link, in the order of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first.
    A,
    /// The second.
    B,
    /// Both.
    Both,
}

/// A lab.
#[derive(Debug)]
pub struct Lab {
    /// What is known of it.
    pub record: Record,
    folder: PathBuf,
}

impl Lab {
    /// Makes namespaces, cables, certificates and processes. Nothing is applied yet. A failure leaves nothing behind.
    pub fn up(topology: &Topology, options: &Options, binaries: &Binaries) -> Result<Lab> {
        ensure!(nix::unistd::geteuid().is_root(), "a lab is made of network namespaces: run this as root");
        refuse_management_interface(topology)?;
        let run_id = names::fresh_run_id()?;
        let folder = names::base_folder().join(&run_id);
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let record = Record {
            version: 1,
            run_id,
            name: topology.name.clone(),
            made_unix_ms: u64::try_from(made).unwrap_or(u64::MAX),
            owner: options.owner_pid.and_then(process::of_pid),
            hosts: Vec::new(),
            controllers: Vec::new(),
            cuts: BTreeSet::new(),
            links: Vec::new(),
            next_host: 0,
            next_link: 0,
        };
        let mut lab = Lab { record, folder };
        match lab.folders().and_then(|()| lab.save()).and_then(|()| lab.build(topology, options, binaries)) {
            Ok(()) => Ok(lab),
            Err(error) => {
                let cleaned = lab.down();
                Err(cleaned.err().map_or(error, |second| second.context("cleaning up after a failure")))
            }
        }
    }

    fn folders(&self) -> Result<()> {
        for part in ["certificates", "logs", "state", "sockets"] {
            let part = self.folder.join(part);
            std::fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        }
        std::fs::set_permissions(&self.folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(())
    }

    fn build(&mut self, topology: &Topology, options: &Options, binaries: &Binaries) -> Result<()> {
        let in_band = topology.management == Management::InBand;
        let authority = Authority::new(&format!("ballast lab {}", self.record.run_id))?;
        authority.write(&self.folder)?;
        if !in_band {
            let management = netns(&self.record.run_id, Member::Management);
            ip::batch(None, &[format!("netns add {management}")])?;
            let bridge = ["link add br0 type bridge".to_string(), "link set br0 up".to_string()];
            ip::batch(Some(&management), &bridge)?;
            for id in 1..=options.controllers {
                self.add_controller(id, &authority)?;
            }
        }
        for node in &topology.nodes {
            self.add_host(node, &authority, !in_band)?;
        }
        if in_band {
            self.add_controllers_in_band(topology, &authority)?;
        }
        let controllers: Vec<u64> = self.record.controllers.iter().map(|controller| controller.id).collect();
        let ids: Vec<String> = topology.links.iter().map(|link| link.id.clone()).collect();
        self.add_links(topology, &ids)?;
        self.save()?;
        for id in controllers {
            self.start_controller(id, binaries)?;
        }
        self.wait_for_secrets()?;
        if in_band {
            self.provision(topology, &self.host_names(), binaries)?;
        }
        for host in self.host_names() {
            self.start_liveness(&host, binaries)?;
            self.start_agent(&host, binaries)?;
        }
        self.save()
    }

    /// A lab that exists: by id, or the newest.
    pub fn find(run_id: Option<&str>) -> Result<Lab> {
        let base = names::base_folder();
        let open = |folder: PathBuf| -> Result<Lab> { Ok(Lab { record: Record::read(&folder)?, folder }) };
        if let Some(run_id) = run_id {
            let folder = base.join(run_id);
            ensure!(folder.join("lab.json").exists(), "there is no lab {run_id}");
            return open(folder);
        }
        let all: Vec<Lab> =
            record::folders(&base).into_iter().filter_map(|folder| open(folder).ok()).collect();
        let newest = all.into_iter().max_by_key(|lab| (lab.record.owner.is_none(), lab.record.made_unix_ms));
        newest.context("no lab is up: scripts/lab up topology/files/abilene.yaml")
    }

    /// Ids of the labs that belong to nobody but the person who made them.
    pub fn without_owner() -> Vec<String> {
        let folders = record::folders(&names::base_folder());
        let records = folders.iter().filter_map(|folder| Record::read(folder).ok());
        records.filter(|record| record.owner.is_none()).map(|record| record.run_id).collect()
    }

    /// Takes down labs whose owner is gone.
    pub fn sweep() -> Result<usize> {
        let mut swept = 0;
        for folder in record::folders(&names::base_folder()) {
            let Ok(record) = Record::read(&folder) else { continue };
            if record.owner.is_some_and(|owner| !owner.alive()) {
                Lab { record, folder }.down()?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn save(&self) -> Result<()> {
        self.record.write(&self.folder)
    }

    // ---- files and addresses

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where `lab up` leaves the topology that was applied, when it is not the file that was given.
    pub fn topology_file(&self) -> PathBuf {
        self.folder.join("topology.yaml")
    }

    /// The authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The bearer token of the REST interface.
    pub fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// The operator's private key.
    pub fn operator_key_file(&self) -> PathBuf {
        self.folder.join("operator.key")
    }

    /// A host's agent's local socket.
    pub fn socket(&self, host: &str) -> PathBuf {
        self.folder.join("sockets").join(format!("{host}.sock"))
    }

    /// A host's liveness process's control socket.
    pub fn liveness_socket(&self, host: &str) -> PathBuf {
        self.folder.join("sockets").join(format!("{host}{LIVENESS_SUFFIX}.sock"))
    }

    /// The log of a controller (`c1`), of an agent or of a liveness process (`HOST@liveness`).
    pub fn log(&self, id: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{id}.log"))
    }

    /// REST addresses, by controller.
    pub fn urls(&self) -> Vec<String> {
        self.record
            .controllers
            .iter()
            .map(|controller| format!("https://127.0.0.1:{}", controller.port))
            .collect()
    }

    /// Names of all hosts.
    pub fn host_names(&self) -> Vec<String> {
        self.record.hosts.iter().map(|host| host.name.clone()).collect()
    }

    /// Resident memory of all its processes.
    pub fn resident_bytes(&self) -> u64 {
        self.processes().into_iter().map(Process::resident_bytes).sum()
    }

    fn processes(&self) -> Vec<Process> {
        let controllers = self.record.controllers.iter().filter_map(|controller| controller.process);
        let hosts = self.record.hosts.iter().flat_map(|host| [host.agent, host.liveness]);
        controllers.chain(hosts.flatten()).collect()
    }

    // ---- making

    fn attach_to_management(&self, netns_name: &str, port: &str, address: Ipv4Addr) -> Result<()> {
        let management = netns(&self.record.run_id, Member::Management);
        let cable = format!(
            "link add {MANAGEMENT_INTERFACE} netns {netns_name} type veth peer name {port} netns {management}"
        );
        ip::batch(None, &[cable])?;
        let plug = [format!("link set {port} master br0"), format!("link set {port} up")];
        ip::batch(Some(&management), &plug)?;
        let own = [
            "link set lo up".to_string(),
            format!("addr add {address}/16 dev {MANAGEMENT_INTERFACE}"),
            format!("link set {MANAGEMENT_INTERFACE} up"),
        ];
        ip::batch(Some(netns_name), &own)
    }

    fn add_controller(&mut self, id: u64, authority: &Authority) -> Result<()> {
        let name = netns(&self.record.run_id, Member::Controller(id));
        let address = names::controller_address(id);
        ip::batch(None, &[format!("netns add {name}")])?;
        self.attach_to_management(&name, &format!("c{id}"), address)?;
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), "::1".parse()?, IpAddr::V4(address)];
        authority.controller(id, &addresses, &self.folder.join("certificates"))?;
        self.record.controllers.push(ControllerRecord {
            id,
            netns: name,
            port: 0,
            process: None,
            address: address.into(),
            place: None,
        });
        Ok(())
    }

    fn add_host(&mut self, node: &Node, authority: &Authority, with_management: bool) -> Result<()> {
        let name = netns(&self.record.run_id, Member::Host(&node.name));
        let number = self.record.next_host;
        self.record.next_host += 1;
        ip::batch(None, &[format!("netns add {name}")])?;
        if with_management {
            self.attach_to_management(&name, &format!("h{number}"), names::host_address(number))?;
        } else {
            ip::batch(Some(&name), &["link set lo up".to_string()])?;
        }
        // The first address of each prefix is the host's own: something behind the node that answers.
        let own: Vec<IpAddr> =
            node.prefixes.iter().filter_map(|prefix| prefix.iter().nth(1).or(prefix.iter().next())).collect();
        ip::batch(Some(&name), &own_addresses(&own))?;
        authority.agent(&node.name, &self.folder.join("certificates"))?;
        self.record.hosts.push(HostRecord {
            name: node.name.clone(),
            netns: name,
            loopbacks: node.loopbacks.clone(),
            own,
            number,
            agent: None,
            liveness: None,
        });
        Ok(())
    }

    /// Lays the cables of some links, and looks whether the two ends have different interface indexes.
    fn add_links(&mut self, topology: &Topology, ids: &[String]) -> Result<()> {
        let mut cables = Vec::new();
        let mut ups: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
        for link in topology.links.iter().filter(|link| ids.contains(&link.id)) {
            let [near, far] = names::indexes(self.record.next_link);
            self.record.next_link += 1;
            let ends = [0, 1].map(|at| {
                let end = &link.ends[at];
                (topology.node(end.node).name.clone(), end.interface.clone())
            });
            for (host, interface) in &ends {
                ups.entry(host.clone()).or_default().push(format!("link set {interface} up"));
            }
            let [(a, a_interface), (b, b_interface)] = &ends;
            cables.push(format!(
                "link add {a_interface} index {near} netns {} type veth peer name {b_interface} index {far} netns {}",
                self.record.host(a)?.netns,
                self.record.host(b)?.netns
            ));
            self.record.links.push(LinkRecord { id: link.id.clone(), ends });
        }
        self.record.links.sort_by(|x, y| x.id.cmp(&y.id));
        ip::batch(None, &cables)?;
        for link in self.record.links.iter().filter(|link| ids.contains(&link.id)) {
            let [near, far] = [0, 1].map(|at| {
                let (host, interface) = &link.ends[at];
                ip::index(&self.record.host(host)?.netns, interface)
            });
            ensure!(
                near? != far?,
                "the ends of {} have equal interface indexes: carrier events would be late",
                link.id
            );
        }
        for (host, lines) in ups {
            ip::batch(Some(&self.record.host(&host)?.netns.clone()), &lines)?;
        }
        Ok(())
    }

    /// Starts a controller; its REST listener is a socket of the root namespace's loopback.
    pub fn start_controller(&mut self, id: u64, binaries: &Binaries) -> Result<()> {
        let certificates = self.files(&format!("c{id}"));
        let peers: Vec<String> = self
            .record
            .controllers
            .iter()
            .map(|controller| {
                format!("{}={}", controller.id, SocketAddr::new(controller.address, PORT_PEERS))
            })
            .collect();
        let known = self.record.controllers.iter().find(|controller| controller.id == id);
        let address = known.with_context(|| format!("no controller c{id}"))?.address;
        let arguments = words(&[
            ("--id", id.to_string()),
            ("--cluster", format!("lab-{}", self.record.run_id)),
            ("--data", self.folder.join(format!("c{id}")).display().to_string()),
            ("--peers", peers.join(",")),
            ("--listen-peers", SocketAddr::new(address, PORT_PEERS).to_string()),
            ("--listen-agents", SocketAddr::new(address, PORT_AGENTS).to_string()),
            ("--ca", self.ca_file().display().to_string()),
            ("--cert", certificates.certificate.display().to_string()),
            ("--key", certificates.key.display().to_string()),
            ("--token-file", self.token_file().display().to_string()),
            ("--operator-key", self.operator_key_file().display().to_string()),
        ]);
        let log = self.log(&format!("c{id}"));
        let controller = self
            .record
            .controllers
            .iter_mut()
            .find(|controller| controller.id == id)
            .with_context(|| format!("no controller c{id}"))?;
        ensure!(!controller.process.is_some_and(Process::alive), "c{id} runs already");
        let listener = names::rest_listener(controller.port, &self.record.run_id)?;
        controller.port = listener.local_addr()?.port();
        controller.process =
            Some(process::start(&controller.netns, &binaries.controller, &arguments, &log, Some(listener))?);
        self.save()
    }

    fn files(&self, name: &str) -> Files {
        let folder = self.folder.join("certificates");
        Files { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }

    /// Controllers make the token and the operator's key at their first start; agents need the public half.
    fn wait_for_secrets(&self) -> Result<()> {
        let wanted = [self.token_file(), self.operator_public_key_file()];
        for _ in 0..1_000 {
            if wanted.iter().all(|path| path.exists()) {
                return Ok(());
            }
            if let Some(dead) =
                self.record.controllers.iter().find(|c| !c.process.is_some_and(Process::alive))
            {
                bail!(
                    "controller c{} ended at once:\n{}",
                    dead.id,
                    tail(&self.log(&format!("c{}", dead.id)), 20)
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the controllers made no token within 10 s:\n{}", tail(&self.log("c1"), 20))
    }

    fn operator_public_key_file(&self) -> PathBuf {
        self.folder.join("operator.key.pub")
    }

    /// Starts a host's liveness process: beside the agent, and not with it.
    fn start_liveness(&mut self, host: &str, binaries: &Binaries) -> Result<()> {
        let mut arguments = vec!["run".to_string()];
        arguments.extend(words(&[("--socket", self.liveness_socket(host).display().to_string())]));
        let log = self.log(&format!("{host}{LIVENESS_SUFFIX}"));
        self.record.host(host)?;
        for slot in self.record.hosts.iter_mut().filter(|slot| slot.name == host) {
            ensure!(!slot.liveness.is_some_and(Process::alive), "ballast-liveness of {host} runs already");
            slot.liveness = Some(process::start(&slot.netns, &binaries.liveness, &arguments, &log, None)?);
        }
        Ok(())
    }

    /// Starts a host's agent.
    pub fn start_agent(&mut self, host: &str, binaries: &Binaries) -> Result<()> {
        let certificates = self.files(host);
        let controllers: Vec<String> = self
            .record
            .controllers
            .iter()
            .map(|controller| SocketAddr::new(controller.address, PORT_AGENTS).to_string())
            .collect();
        let mut arguments = vec!["run".to_string()];
        arguments.extend(words(&[
            ("--host", host.to_string()),
            ("--controllers", controllers.join(",")),
            ("--ca", self.ca_file().display().to_string()),
            ("--cert", certificates.certificate.display().to_string()),
            ("--key", certificates.key.display().to_string()),
            ("--operator-key-pub", self.operator_public_key_file().display().to_string()),
            ("--state", self.folder.join("state").join(host).display().to_string()),
            ("--socket", self.socket(host).display().to_string()),
            ("--liveness-socket", self.liveness_socket(host).display().to_string()),
        ]));
        let log = self.log(host);
        self.record.host(host)?;
        for slot in self.record.hosts.iter_mut().filter(|slot| slot.name == host) {
            ensure!(!slot.agent.is_some_and(Process::alive), "the agent of {host} runs already");
            slot.agent = Some(process::start(&slot.netns, &binaries.agent, &arguments, &log, None)?);
        }
        Ok(())
    }

    // ---- breaking and mending

    /// Cuts a link: sets one end (or both) down, or drops what arrives at both ends while the carrier stays.
    pub fn cut(&mut self, link: &str, end: End, silent: bool) -> Result<String> {
        let link = self.record.link(link)?.clone();
        for (at, (host, interface)) in link.ends.iter().enumerate() {
            let netns = self.record.host(host)?.netns.clone();
            if silent {
                ip::nft(
                    &netns,
                    &format!(
                        "add table netdev ballast_lab\nadd chain netdev ballast_lab cut_{interface} {{ type filter hook ingress device \"{interface}\" priority 0; policy drop; }}\n"
                    ),
                )?;
            } else if matches!((end, at), (End::A, 0) | (End::B, 1) | (End::Both, _)) {
                ip::batch(Some(&netns), &[format!("link set {interface} down")])?;
            }
        }
        self.record.cuts.insert(link.id.clone());
        self.save()?;
        Ok(link.id)
    }

    /// Undoes any cut of a link.
    pub fn mend(&mut self, link: &str) -> Result<String> {
        let link = self.record.link(link)?.clone();
        for (host, interface) in &link.ends {
            let netns = self.record.host(host)?.netns.clone();
            ip::batch(Some(&netns), &[format!("link set {interface} up")])?;
            if has_silent_cut(&netns) {
                // Added first: the table may be there for another interface's cut alone.
                let chain = format!("chain netdev ballast_lab cut_{interface}");
                ip::nft(&netns, &format!("add {chain}\ndelete {chain}\n"))?;
            }
        }
        self.record.cuts.remove(&link.id);
        self.save()?;
        Ok(link.id)
    }

    /// `kill -9` of a controller (`c1`), of a host's agent, or of its liveness process (`HOST@liveness`).
    pub fn kill(&mut self, id: &str) -> Result<()> {
        process::kill_now(&self.process(id)?.into_iter().collect::<Vec<_>>())
    }

    /// Starts what was killed.
    pub fn start(&mut self, id: &str, binaries: &Binaries) -> Result<()> {
        match self.controller_id(id) {
            Some(number) => self.start_controller(number, binaries)?,
            None => match id.strip_suffix(LIVENESS_SUFFIX) {
                Some(host) => self.start_liveness(host, binaries)?,
                None => self.start_agent(id, binaries)?,
            },
        }
        self.save()
    }

    fn controller_id(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix('c')?.parse().ok()?;
        let known = self.record.controllers.iter().any(|controller| controller.id == number);
        (known && !self.record.hosts.iter().any(|host| host.name == id)).then_some(number)
    }

    fn process(&self, id: &str) -> Result<Option<Process>> {
        match self.controller_id(id) {
            Some(number) => Ok(self
                .record
                .controllers
                .iter()
                .find(|controller| controller.id == number)
                .and_then(|c| c.process)),
            None => Ok(match id.strip_suffix(LIVENESS_SUFFIX) {
                Some(host) => self.record.host(host)?.liveness,
                None => self.record.host(id)?.agent,
            }),
        }
    }

    /// Reboots a host: everything in its kernel is gone, its disk stays, its agent starts again.
    pub fn reboot(&mut self, host: &str, binaries: &Binaries) -> Result<()> {
        let slot = self.record.host(host)?.clone();
        process::kill_now(&[slot.agent, slot.liveness].into_iter().flatten().collect::<Vec<_>>())?;
        // The runtime folder is empty after a reboot: nothing says that an agent ran before.
        let _ = std::fs::remove_file(self.socket(host).with_extension("up"));
        let mut interfaces = self.interfaces(host);
        let (ports, last_hops) = self.ports_of(host);
        interfaces.extend(ports);
        let with_management = !self.record.is_in_band();
        interfaces.extend(with_management.then(|| MANAGEMENT_INTERFACE.to_string()));
        for interface in interfaces.iter().map(String::as_str).chain(["lo"]) {
            ip::try_in(&slot.netns, &format!("link set {interface} down"));
            ip::try_in(&slot.netns, &format!("addr flush dev {interface}"));
        }
        for what in [
            "nexthop flush",
            "route flush table main",
            "-6 route flush table main",
            "rule flush",
            "neigh flush all",
        ] {
            ip::try_in(&slot.netns, what);
        }
        let rules = [
            "rule add pref 32766 table main",
            "rule add pref 32767 table default",
            "-6 rule add pref 32766 table main",
        ];
        for rule in rules {
            ip::try_in(&slot.netns, rule);
        }
        let management =
            format!("addr add {}/16 dev {MANAGEMENT_INTERFACE}", names::host_address(slot.number));
        let mut lines = vec!["link set lo up".to_string()];
        lines.extend(with_management.then_some(management));
        lines.extend(own_addresses(&slot.own));
        lines.extend(interfaces.iter().map(|interface| format!("link set {interface} up")));
        lines.extend(last_hops);
        ip::batch(Some(&slot.netns), &lines)?;
        self.start_liveness(host, binaries)?;
        self.start_agent(host, binaries)?;
        self.save()
    }

    fn interfaces(&self, host: &str) -> Vec<String> {
        let ends = self.record.links.iter().flat_map(|link| &link.ends);
        ends.filter(|(at, _)| at == host).map(|(_, interface)| interface.clone()).collect()
    }

    /// The lab's hosts and cables follow a changed file. What both have stays as it is.
    pub fn sync(&mut self, topology: &Topology, binaries: &Binaries) -> Result<()> {
        refuse_management_interface(topology)?;
        self.refuse_other_places(topology)?;
        let wanted: BTreeSet<String> = topology.links.iter().map(|link| link.id.clone()).collect();
        for link in self.record.links.clone().into_iter().filter(|link| !wanted.contains(&link.id)) {
            let (host, interface) = &link.ends[0];
            ip::try_in(&self.record.host(host)?.netns, &format!("link del {interface}"));
            self.record.links.retain(|known| known.id != link.id);
            self.record.cuts.remove(&link.id);
        }
        let gone: Vec<HostRecord> = self
            .record
            .hosts
            .iter()
            .filter(|host| topology.node_index(&host.name).is_none())
            .cloned()
            .collect();
        let ending = gone.iter().flat_map(|host| [host.agent, host.liveness]);
        process::end(&ending.flatten().collect::<Vec<_>>())?;
        ip::remove(&gone.iter().map(|host| host.netns.clone()).collect::<Vec<_>>())?;
        self.record.hosts.retain(|host| topology.node_index(&host.name).is_some());
        let fresh: Vec<&Node> = topology
            .nodes
            .iter()
            .filter(|node| self.record.hosts.iter().all(|host| host.name != node.name))
            .collect();
        let authority = Authority::read(&self.folder)?;
        let known: BTreeSet<String> = self.record.links.iter().map(|link| link.id.clone()).collect();
        for node in &fresh {
            self.add_host(node, &authority, !self.record.is_in_band())?;
        }
        let missing: Vec<String> = wanted.difference(&known).cloned().collect();
        self.add_links(topology, &missing)?;
        if topology.management == Management::InBand {
            let names: Vec<String> = fresh.iter().map(|node| node.name.clone()).collect();
            self.provision(topology, &names, binaries)?;
        }
        for node in fresh {
            self.start_liveness(&node.name, binaries)?;
            self.start_agent(&node.name, binaries)?;
        }
        self.record.name = topology.name.clone();
        self.save()
    }

    // ---- looking

    /// Which ordered pairs of hosts answer each other, by family: (IPv4, IPv6).
    pub fn reached(&self) -> Result<(Reached, Reached)> {
        let endpoints = |ipv6: bool| -> Vec<Endpoint> {
            let of = |host: &HostRecord| {
                let address = host.loopbacks.iter().copied().find(|address| address.is_ipv6() == ipv6)?;
                Some(Endpoint { host: host.name.clone(), netns: host.netns.clone(), address })
            };
            self.record.hosts.iter().filter_map(of).collect()
        };
        Ok((echo::every_pair(&endpoints(false))?, echo::every_pair(&endpoints(true))?))
    }

    /// Last lines of every log.
    pub fn logs(&self, lines: usize) -> String {
        let controllers = self.record.controllers.iter().map(|controller| format!("c{}", controller.id));
        let all = controllers.chain(self.host_names());
        all.map(|id| format!("==> {id}\n{}\n", tail(&self.log(&id), lines))).collect()
    }

    // ---- the end

    /// Ends all processes, removes all namespaces and files.
    pub fn down(&self) -> Result<()> {
        process::end(&self.processes())?;
        let names = ip::namespaces(&format!("{PREFIX}{}-", self.record.run_id))?;
        end_all_inside(&names)?;
        ip::remove(&names)?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| self.folder.display().to_string());
            }
            _ => {}
        }
        // The folder of all labs goes with the last one.
        if let Some(base) = self.folder.parent() {
            let _ = std::fs::remove_dir(base);
        }
        Ok(())
    }
}

/// Before anything is made.
fn refuse_management_interface(topology: &Topology) -> Result<()> {
    for end in topology.links.iter().flat_map(|link| &link.ends) {
        ensure!(
            end.interface != MANAGEMENT_INTERFACE,
            "{}: labs use {MANAGEMENT_INTERFACE} for the management network; name the interface otherwise",
            topology.endpoint(end)
        );
    }
    Ok(())
}

fn end_all_inside(namespaces: &[String]) -> Result<()> {
    let inside = namespaces.iter().flat_map(|name| ip::pids(name)).filter_map(process::of_pid);
    process::end(&inside.collect::<Vec<_>>())
}

fn own_addresses(own: &[IpAddr]) -> Vec<String> {
    own.iter()
        .map(|address| format!("addr add {address}/{} dev lo", if address.is_ipv4() { 32 } else { 128 }))
        .collect()
}

fn has_silent_cut(netns: &str) -> bool {
    let list = ["netns", "exec", netns, "nft", "list", "table", "netdev", "ballast_lab"];
    let quiet = std::process::Stdio::null;
    let status = std::process::Command::new("ip").args(list).stdout(quiet()).stderr(quiet()).status();
    status.is_ok_and(|status| status.success())
}

fn words(pairs: &[(&str, String)]) -> Vec<String> {
    pairs.iter().flat_map(|(flag, value)| [(*flag).to_string(), value.clone()]).collect()
}

fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
