//! Answers to reads, as `wire::rest` documents: this replica's state and what it heard of the fleet.
//!
//! Only looks; the one thing it may start is a computation whose result an answer needs.

use crate::core::Controller;
use crate::core::event::{Effect, Millis, ReadAnswer, ReadRequest};
use crate::core::evidence::{Verdict, Why};
use crate::core::fleet::{HostView, Standing};
use crate::core::state::{Assignment, ChangeKind, ChangeRecord, ReleaseRecord};
use std::collections::BTreeSet;
use std::sync::Arc;
use topology::{Node, Topology};
use wire::log::ChangeState;
use wire::{Generation, document, rest};

/// Time without a leader, or of a host behind its assignment, before it is an alarm.
const ALARM_AFTER_MS: u64 = 3_000;
/// Age of an agent's last look into its kernel before it is an alarm.
const APPLIED_AGE_ALARM_MS: u64 = 150_000;
/// Alarms that a status lists.
const ALARMS_MAX: usize = 100;

impl Controller {
    /// Answers from what this replica knows.
    pub(crate) fn read(&mut self, read: &ReadRequest, now: Millis, out: &mut Vec<Effect>) -> ReadAnswer {
        match read {
            ReadRequest::Topology => match self.state.head() {
                None => no_topology(),
                Some(intent) => ReadAnswer::Topology {
                    bytes: intent.bytes.clone(),
                    file: intent.file.clone(),
                    revision: intent.revision,
                },
            },
            ReadRequest::Changes => ReadAnswer::Changes(rest::Changes {
                schema: "ballast.changes/v1".to_string(),
                changes: self.state.changes.values().rev().map(|change| self.change(change)).collect(),
            }),
            ReadRequest::Change(number) => match self.state.changes.get(number) {
                Some(change) => ReadAnswer::Change(self.change(change)),
                None => ReadAnswer::NotFound(format!("there is no change {number}, or it is forgotten")),
            },
            ReadRequest::Status => ReadAnswer::Status(self.status(now)),
            ReadRequest::Hosts => {
                let hosts = self.host_names().into_iter().map(|host| self.host(&host, now)).collect();
                ReadAnswer::Hosts(rest::Hosts { schema: "ballast.hosts/v1".to_string(), hosts })
            }
            ReadRequest::Host(host) if self.host_names().contains(host) => {
                ReadAnswer::Host(self.host(host, now))
            }
            ReadRequest::Host(host) => ReadAnswer::NotFound(format!("there is no host {host}")),
            ReadRequest::Program(host) => self.program(host),
            ReadRequest::Links => match self.state.head().map(|intent| intent.topology.clone()) {
                None => no_topology(),
                Some(topology) => ReadAnswer::Links(rest::Links {
                    schema: "ballast.links/v1".to_string(),
                    links: topology.links.iter().map(|link| self.link(link, now)).collect(),
                }),
            },
            ReadRequest::Paths { from, to } => self.paths(from, to, out),
        }
    }

    /// Hosts of the newest topology, and others that are assigned something or were heard, sorted.
    fn host_names(&self) -> BTreeSet<String> {
        let nodes = self.state.head().into_iter().flat_map(|intent| intent.topology.nodes.iter());
        nodes
            .map(|node| &node.name)
            .chain(self.state.assignments.keys())
            .chain(self.fleet.hosts().map(|(host, _)| host))
            .cloned()
            .collect()
    }

    fn node(&self, host: &str) -> Option<(&Arc<Topology>, &Node)> {
        let topology = &self.state.head()?.topology;
        Some((topology, topology.node(topology.node_index(host)?)))
    }

    fn host(&self, host: &str, now: Millis) -> rest::Host {
        let node = self.node(host);
        let none = HostView::default();
        let view = self.fleet.host(host).unwrap_or(&none);
        let held = view.held.as_ref();
        let assignment = self.state.assignments.get(host);
        let since_heard = view.heard.map_or(0, |heard| now.0.saturating_sub(heard.0));
        rest::Host {
            name: host.to_string(),
            zone: node.and_then(|(topology, node)| {
                node.zone.and_then(|zone| topology.zones.get(zone.0 as usize)).map(|zone| zone.name.clone())
            }),
            loopbacks: node
                .map(|(_, node)| node.loopbacks.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            connected: self.fleet.live(host, now),
            generation: held.map(|held| held.generation.to_string()),
            revision: held.map(|held| held.revision),
            digest: held.map(|held| held.digest.to_string()),
            effective_digest: held.map(|held| held.effective_digest.to_string()),
            assigned_generation: assignment.map(|one| one.generation.to_string()),
            assigned_digest: assignment.map(|one| one.digest.to_string()),
            applied_age_ms: view.applied_age_ms.map(|age| age.saturating_add(since_heard)),
            installed: view.objects.installed,
            pending: view.objects.pending,
            refused: view.objects.refused,
            writes_total: view.writes_total,
            pinned: view.pinned,
            frozen: view.frozen,
            hold: view.hold.clone(),
            agent_version: view.version.clone(),
            alarms: self.host_alarms(host, now),
            links: self.host_links(host, view),
        }
    }

    fn host_links(&self, host: &str, view: &HostView) -> Vec<rest::HostLink> {
        let Some(head) = self.state.head() else { return Vec::new() };
        let ends = head.topology.links.iter().flat_map(|link| link.ends.iter().map(move |end| (link, end)));
        let mut links: Vec<rest::HostLink> = ends
            .filter(|(_, end)| head.topology.node(end.node).name == host)
            .map(|(link, end)| rest::HostLink {
                interface: end.interface.clone(),
                link: link.id.clone(),
                carrier: view.links.get(&end.interface).map(|state| state.carrier),
                neighbour: view.links.get(&end.interface).and_then(|state| state.neighbour),
            })
            .collect();
        links.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
        links
    }

    /// What is wrong with a host, in words, worst first.
    fn host_alarms(&self, host: &str, now: Millis) -> Vec<String> {
        let mut alarms = Vec::new();
        let assignment = self.state.assignments.get(host);
        let Some(view) = self.fleet.host(host) else {
            if assignment.is_some() || self.node(host).is_some() {
                alarms.push(
                    "its agent was never heard: is it running, and can it reach a controller?".to_string(),
                );
            }
            return alarms;
        };
        if let Some(assignment) = assignment {
            alarms.extend(self.fence_alarm(view, assignment));
            match view.standing(assignment) {
                Standing::Refused(words) | Standing::Failed(words) => alarms.push(words),
                Standing::Waiting => {
                    let behind = view.behind_since.map_or(0, |since| now.0.saturating_sub(since.0));
                    if behind >= ALARM_AFTER_MS {
                        let generation = assignment.generation;
                        let seconds = behind / 1_000;
                        alarms.push(format!("has not acknowledged generation {generation} for {seconds} s"));
                    }
                }
                Standing::Acknowledged => {}
            }
        } else if view.highest > Generation::default() {
            alarms.push(format!(
                "holds generation {}, this cluster assigns nothing to it: it keeps what it runs",
                view.highest
            ));
        }
        if !self.fleet.live(host, now) {
            let seconds = view.heard.map(|heard| now.0.saturating_sub(heard.0) / 1_000);
            alarms.push(match seconds {
                Some(seconds) => {
                    format!("its agent was last heard {seconds} s ago; the host goes on forwarding")
                }
                None => "its agent was never heard".to_string(),
            });
        } else if view.applied_age_ms.is_some_and(|age| age >= APPLIED_AGE_ALARM_MS) {
            let seconds = view.applied_age_ms.unwrap_or(0) / 1_000;
            alarms.push(format!("its agent has not looked into the kernel for {seconds} s"));
        }
        if view.objects.refused > 0 {
            alarms.push(format!("its kernel refuses {} objects of its program", view.objects.refused));
        }
        if view.pinned {
            alarms.push(format!("takes no new program, {}", held_words("pinned", &view.hold)));
        }
        if view.frozen {
            alarms.push(format!("its agent writes nothing, {}", held_words("frozen", &view.hold)));
        }
        alarms
    }

    /// What a host holds that is not ours to replace.
    fn fence_alarm(&self, view: &HostView, assignment: &Assignment) -> Option<String> {
        let held = view.held.as_ref()?;
        if held.generation == assignment.generation && held.digest != assignment.digest {
            return Some(format!(
                "holds another program of generation {} than the one assigned: it is offered nothing older; \
                 apply the topology again",
                held.generation
            ));
        }
        // A replica that is behind does not know what others have released meanwhile.
        let foreign = view.highest > assignment.generation
            && (view.highest.incarnation > self.state.incarnation
                || view.highest.index > self.replica.committed());
        foreign.then(|| {
            format!(
                "has accepted generation {}, which this cluster did not release: it is offered nothing older \
                 than that",
                view.highest
            )
        })
    }

    fn program(&self, host: &str) -> ReadAnswer {
        let Some(assignment) = self.state.assignments.get(host) else {
            return ReadAnswer::NotFound(format!("nothing is assigned to {host}"));
        };
        let facts = self.state.facts(assignment.fact_index);
        let network = self.state.key(assignment.revision, &facts).and_then(|key| self.programs.peek(&key));
        match network.and_then(|network| Some((network, network.host(host)?))) {
            Some((network, (program, digest))) if digest == assignment.digest => {
                let assigned = Some((assignment.generation, assignment.revision));
                ReadAnswer::Program(document::program(program, &network.table, digest, assigned))
            }
            Some(_) => ReadAnswer::NotFound(format!(
                "this controller computes another program for {host} than the one that was released: ask another one"
            )),
            None => ReadAnswer::NotFound(format!("the program of {host} is being computed: ask again")),
        }
    }

    fn paths(&mut self, from: &str, to: &str, out: &mut Vec<Effect>) -> ReadAnswer {
        let facts = self.state.facts_now();
        let revision = self.state.head_revision;
        let Some(topology) = self.state.topology(revision).cloned() else { return no_topology() };
        let Some(key) = self.state.key(revision, &facts) else { return no_topology() };
        match self.programs.get(key, &topology, out) {
            Some(network) => ReadAnswer::Paths(document::paths(&topology, &facts, &network, from, to)),
            None => ReadAnswer::NotFound("the paths are being computed: ask again".to_string()),
        }
    }

    fn link(&self, link: &topology::Link, now: Millis) -> rest::LinkStatus {
        let held_down = self.state.facts_now().links_down.contains(&link.id);
        let verdict = self.fleet.verdict(&link.id, now);
        let words = |why| self.fleet.words(&link.id, why);
        let (state, detail) = match (held_down, verdict) {
            (true, Verdict::Carrier(since)) => {
                let hold_ms = self.link_up_hold_ms();
                let passed_ms = now.0.saturating_sub(since.0);
                let detail = if passed_ms < hold_ms {
                    format!("both ends have carrier, believed in {} ms", hold_ms - passed_ms)
                } else {
                    "both ends have carrier, waiting until both run what they are assigned".to_string()
                };
                ("returning", detail)
            }
            (true, Verdict::Down(why) | Verdict::Held(why)) => ("down", words(why)),
            (true, Verdict::Up) => {
                ("down", "held to be down; not both of its ends are heard with carrier".to_string())
            }
            (false, Verdict::Held(why @ (Why::Hears(_) | Why::Receiving(_) | Why::SilentButSeen(_)))) => {
                ("disagreement", format!("{}: nothing is changed", words(why)))
            }
            (false, Verdict::Held(why) | Verdict::Down(why)) => ("up", words(why)),
            (false, Verdict::Up | Verdict::Carrier(_)) => ("up", String::new()),
        };
        rest::LinkStatus {
            id: link.id.clone(),
            state: state.to_string(),
            costs: [link.ends[0].cost, link.ends[1].cost],
            capacity_bps: link.capacity_bps,
            latency_us: link.latency_us,
            ends: self.fleet.carriers(&link.id),
            detail,
        }
    }

    fn status(&mut self, now: Millis) -> rest::Status {
        let applied = self.replica.applied();
        let digest = match self.digest {
            Some((index, digest)) if index == applied => digest,
            _ => self.state.digest(),
        };
        self.digest = Some((applied, digest));
        let hosts = self.host_names();
        let nodes = self.state.head().map_or(0, |intent| intent.topology.nodes.len());
        let current = (self.state.assignments.iter())
            .filter(|(host, one)| self.standing(host, one) == Standing::Acknowledged)
            .count();
        rest::Status {
            schema: "ballast.status/v1".to_string(),
            controller: self.config.id,
            cluster: self.config.cluster.clone(),
            leader: self.replica.leader(),
            term: self.replica.term(),
            applied: self.replica.applied(),
            committed: self.replica.committed(),
            incarnation: self.state.incarnation,
            revision: self.state.head_revision,
            state_digest: digest.to_string(),
            members: self.members(now),
            serving: self.outvoted.is_none(),
            alarms: self.alarms(now),
            hosts: rest::HostCounts {
                total: nodes,
                connected: hosts.iter().filter(|host| self.fleet.live(host, now)).count(),
                current,
            },
            links_down: self.state.facts_now().links_down.iter().cloned().collect(),
            disagreements: self.disagreements(now),
            change: (self.state.changes.values().rev().find(|change| change.runs()))
                .map(|change| change.number),
            memory_bytes: 0,
        }
    }

    fn standing(&self, host: &str, assignment: &Assignment) -> Standing {
        self.fleet.host(host).map_or(Standing::Waiting, |view| view.standing(assignment))
    }

    fn members(&self, now: Millis) -> Vec<rest::MemberStatus> {
        let role = |id: u64| {
            if id == self.config.id {
                self.replica.role()
            } else if self.replica.leader() == Some(id) {
                "leader"
            } else if self.replica.leads() {
                "follower"
            } else {
                "unknown"
            }
        };
        let mut peers = self.config.peers.clone();
        peers.sort_unstable();
        (peers.into_iter())
            .map(|id| rest::MemberStatus {
                id,
                role: role(id).to_string(),
                matched: self.replica.matched(id),
                // Followers hear the leader alone.
                reachable: (self.replica.leads() || id == self.config.id || role(id) == "leader")
                    .then(|| self.replica.reachable(id, now)),
            })
            .collect()
    }

    /// Links about which the ends disagree, whatever the log holds.
    fn disagreements(&self, now: Millis) -> Vec<String> {
        let facts = self.state.facts_now();
        (self.fleet.suspects())
            .filter(|link| !facts.links_down.contains(*link))
            .filter(|link| {
                matches!(
                    self.fleet.verdict(link, now),
                    Verdict::Held(Why::Receiving(_) | Why::SilentButSeen(_))
                )
            })
            .cloned()
            .collect()
    }

    /// What a person on call must know, worst first.
    fn alarms(&self, now: Millis) -> Vec<String> {
        let mut alarms: Vec<String> = self.outvoted.iter().cloned().collect();
        if let Some(since) = self.leaderless_since {
            let leaderless_ms = now.0.saturating_sub(since.0);
            if leaderless_ms >= ALARM_AFTER_MS {
                let seconds = leaderless_ms / 1_000;
                alarms.push(format!(
                    "no leader for {seconds} s: no change and no failure reaction is possible, hosts go on \
                     forwarding; start the controllers that are down"
                ));
            }
        }
        for peer in self.config.peers.iter().filter(|peer| !self.replica.reachable(**peer, now)) {
            // A follower hears the leader alone.
            if self.replica.leads() {
                alarms.push(format!("controller {peer} does not answer"));
            }
        }
        alarms.extend(self.vote_alarms());
        for link in self.disagreements(now) {
            if let Verdict::Held(why) = self.fleet.verdict(&link, now) {
                alarms.push(format!("link {link}: {}: nothing is changed", self.fleet.words(&link, why)));
            }
        }
        for host in self.host_names() {
            alarms.extend(
                self.host_alarms(&host, now).into_iter().map(|alarm| format!("host {host}: {alarm}")),
            );
        }
        for record in self.state.quarantine.iter().rev() {
            let author = if record.author.is_empty() { "unknown" } else { &record.author };
            alarms.push(format!("log entry {} of {author} was set aside: {}", record.index, record.reason));
        }
        alarms.truncate(ALARMS_MAX);
        alarms
    }

    /// Releases that are not served because controllers do not agree about them.
    fn vote_alarms(&self) -> Vec<String> {
        let alarm = |release: &ReleaseRecord| {
            let own = self.votes.of(self.config.id, release.index)?;
            let index = release.index;
            if own == release.digest || self.outvoted.is_some() {
                return None;
            }
            Some(if self.state.settled(release) {
                format!(
                    "this controller computes other programs than release {index}, as after an upgrade: apply the \
                     topology again to move the hosts step by step"
                )
            } else {
                format!("this controller computes other programs than release {index}: it is not served here")
            })
        };
        self.state.live_releases().into_iter().filter_map(alarm).collect()
    }

    fn change(&self, change: &ChangeRecord) -> rest::Change {
        let hosts = self.change_hosts(change);
        let generation = Generation { incarnation: self.state.incarnation, index: change.release };
        rest::Change {
            schema: "ballast.change/v1".to_string(),
            change: change.number,
            kind: match change.kind {
                ChangeKind::Intent => "intent".to_string(),
                ChangeKind::Failure => "failure".to_string(),
            },
            revision: change.revision,
            generation: (change.release != 0).then(|| generation.to_string()),
            state: self.shown_state(change).name().to_string(),
            step: change.step,
            steps: (change.steps.iter())
                .map(|step| rest::ChangeStep { hosts: step.hosts.clone(), gate: document::gate(step) })
                .collect(),
            author: change.author.clone(),
            reason: change.reason.clone(),
            detail: change.detail.clone(),
            at: wire::time::rfc3339(change.at_unix_ms),
            guards: change.guards.iter().map(document::guard).collect(),
            overridden: change.overridden.clone(),
            evidence: change.evidence.clone(),
            writes: hosts.iter().map(|host| host.writes).sum(),
            hosts,
        }
    }

    /// The log knows `releasing`; whether agents have it already, and whether it only bakes, is seen by each replica.
    fn shown_state(&self, change: &ChangeRecord) -> ChangeState {
        if change.state != ChangeState::Releasing || !self.decided(change.release) {
            return change.state;
        }
        let bake_ms = (change.step.checked_sub(1))
            .and_then(|at| change.steps.get(at as usize))
            .map_or(0, |step| step.bake_ms);
        let hosts = self.state.releases.get(&change.release).map_or(&[][..], |release| &release.hosts);
        let through = hosts.iter().all(|host| {
            (self.state.assignments.get(host))
                .is_none_or(|one| self.standing(host, one) == Standing::Acknowledged)
        });
        if through && bake_ms > 0 { ChangeState::Baking } else { ChangeState::Acknowledging }
    }

    fn change_hosts(&self, change: &ChangeRecord) -> Vec<rest::ChangeHost> {
        let mut hosts = Vec::new();
        for (at, step) in (0..).zip(&change.steps) {
            for host in &step.hosts {
                let (state, detail) = self.change_host(change, at, host);
                let state = state.to_string();
                let writes = self.writes_for(change, host);
                hosts.push(rest::ChangeHost { name: host.clone(), state, detail, writes });
            }
        }
        hosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        hosts
    }

    fn change_host(&self, change: &ChangeRecord, step: u32, host: &str) -> (&'static str, String) {
        if step >= change.step {
            return ("waiting", String::new());
        }
        let reaction = change.kind == ChangeKind::Failure;
        // A later step of what people want is proof that all hosts of the earlier ones answered.
        if change.state == ChangeState::Done || !reaction && step.saturating_add(1) < change.step {
            return ("acknowledged", String::new());
        }
        let Some(assignment) = self.state.assignments.get(host) else {
            return ("released", "nothing is assigned to it any more".to_string());
        };
        let release = self.state.releases.get(&assignment.generation.index);
        if reaction && release.is_none_or(|release| release.change != change.number) {
            let detail = format!("has generation {} by now", assignment.generation);
            return ("released", detail);
        }
        match self.standing(host, assignment) {
            Standing::Acknowledged => ("acknowledged", String::new()),
            Standing::Waiting if self.fleet.host(host).is_some_and(|view| view.on_trial(assignment)) => {
                ("released", "runs it, and goes back by itself without an answer under it".to_string())
            }
            Standing::Waiting => ("released", String::new()),
            Standing::Refused(words) => ("refused", words),
            Standing::Failed(words) => ("failed", words),
        }
    }

    /// Kernel writes that a host reported for any release of this change.
    fn writes_for(&self, change: &ChangeRecord, host: &str) -> u64 {
        let ack = self.fleet.host(host).and_then(|view| view.ack.as_ref());
        let of_change =
            |index| self.state.releases.get(&index).is_some_and(|release| release.change == change.number);
        ack.filter(|ack| of_change(ack.generation.index)).map_or(0, |ack| ack.writes)
    }
}

/// Who holds a host, as its agent says; old agents say only that somebody does.
fn held_words(how: &str, hold: &str) -> String {
    if hold.is_empty() { format!("{how} from the host") } else { hold.to_string() }
}

fn no_topology() -> ReadAnswer {
    ReadAnswer::NotFound("no topology was applied yet: apply one".to_string())
}
