//! The one loop: events in, effects out. No decision is taken here, and nothing here waits: not for the disk, not for a
//! computation, not for a peer, not for a client.

use crate::core::{Controller, Effect, Event, Millis, Reply, Request, RequestBody};
use crate::io::agents::Agents;
use crate::io::compute::Compute;
use crate::io::disk::{Job, Report, Writer};
use crate::io::peers::Peers;
use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use wire::log::RequestId;

/// Events on their way to the core; whoever brings more waits.
pub const EVENTS_MAX: usize = 4_096;
const TICK: Duration = Duration::from_millis(10);

/// The way of requests to the core, for the REST interface.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    requests: mpsc::Sender<(Request, oneshot::Sender<Reply>)>,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The core is ending.
    #[error("this controller is ending")]
    Ending,
    /// No answer within the time that the caller gave.
    #[error("no answer in time: whether the write took effect is not known")]
    Unknown,
}

impl CoreHandle {
    /// Asks the core.
    ///
    /// # Errors
    /// It ends, or does not answer within `limit`, the wait in its queue included.
    pub async fn ask(&self, body: RequestBody, limit: Duration) -> Result<Reply, AskError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| AskError::Ending)?;
        let (sender, receiver) = oneshot::channel();
        let request = Request { id: RequestId(id), body };
        let asked = async {
            self.requests.send((request, sender)).await.map_err(|_| AskError::Ending)?;
            receiver.await.map_err(|_| AskError::Ending)
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(AskError::Unknown))
    }
}

/// Where effects go.
#[derive(Debug)]
pub struct Outlets {
    /// The disk's thread.
    pub disk: Writer,
    /// What it reports.
    pub reports: mpsc::Receiver<Report>,
    /// The compute thread.
    pub compute: Compute,
    /// Other controllers.
    pub peers: Peers,
    /// Agents' streams.
    pub agents: Agents,
}

/// The loop's own ends of its channels.
#[derive(Debug)]
pub struct Inlets {
    events: mpsc::Receiver<Event>,
    requests: mpsc::Receiver<(Request, oneshot::Sender<Reply>)>,
}

/// Makes the channels: where events come from, where requests come from, and the loop's ends of both.
pub fn channels() -> (mpsc::Sender<Event>, CoreHandle, Inlets) {
    let (events, events_end) = mpsc::channel(EVENTS_MAX);
    let (requests, requests_end) = mpsc::channel(EVENTS_MAX);
    (events, CoreHandle { requests }, Inlets { events: events_end, requests: requests_end })
}

/// Runs until `stop` turns true; then everything that was handed to the disk is on it.
///
/// # Errors
/// The disk failed, or a thread died: the process must end, and answers nobody any more.
pub async fn run(
    core: Controller,
    first: Vec<Effect>,
    began: Instant,
    inlets: Inlets,
    outlets: Outlets,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let Inlets { mut events, mut requests } = inlets;
    let mut shell = Shell { core, began, outlets, waiting: BTreeMap::new() };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    shell.run(first)?;
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => shell.tell(Event::Tick { unix_ms: unix_ms() })?,
            report = shell.outlets.reports.recv() => match report {
                Some(Report::Persisted { number }) => shell.tell(Event::Persisted { number })?,
                Some(Report::Failed(error)) => {
                    return Err(anyhow!(error).context("the disk failed: this controller ends at once"));
                }
                None => return Err(anyhow!("the disk's thread ended: this controller ends at once")),
            },
            _ = &mut shell.outlets.compute.ended => {
                return Err(anyhow!("the compute thread ended: this controller ends at once"));
            }
            Some(event) = events.recv() => shell.tell(event)?,
            Some((request, sender)) = requests.recv() => {
                shell.waiting.retain(|_, sender| !sender.is_closed());
                shell.waiting.insert(request.id, sender);
                shell.tell(Event::Request(request))?;
            }
        }
    }
    let Writer { jobs, thread } = shell.outlets.disk;
    drop(jobs);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow!("the disk's thread panicked"))
}

struct Shell {
    core: Controller,
    began: Instant,
    outlets: Outlets,
    waiting: BTreeMap<RequestId, oneshot::Sender<Reply>>,
}

impl Shell {
    fn tell(&mut self, event: Event) -> Result<()> {
        let now = Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut effects = Vec::new();
        self.core.handle(now, event, &mut effects);
        self.run(effects)
    }

    fn run(&mut self, effects: Vec<Effect>) -> Result<()> {
        effects.into_iter().try_for_each(|effect| self.effect(effect))
    }

    fn effect(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::SendPeer { to, message } => self.outlets.peers.send(to, message),
            Effect::Persist(persist) => return self.disk(Job::Persist(persist)),
            Effect::Compact { index } => return self.disk(Job::Compact { index }),
            Effect::Compute(job) => {
                self.outlets.compute.jobs.send(job).map_err(|_| anyhow!("the compute thread is gone"))?;
            }
            Effect::SendAgent { session, message } => self.outlets.agents.send(session, message),
            Effect::CloseAgent { session, reason } => self.outlets.agents.close(session, reason),
            Effect::Reply { id, reply } => {
                if let Some(sender) = self.waiting.remove(&id) {
                    // The client may have gone.
                    let _ = sender.send(reply);
                }
            }
        }
        Ok(())
    }

    /// A disk that is so far behind is as good as failed: the core has a bounded number of writes out.
    fn disk(&self, job: Job) -> Result<()> {
        self.outlets
            .disk
            .jobs
            .try_send(job)
            .map_err(|_| anyhow!("the disk takes no more: it failed or is far too slow"))
    }
}

/// For people only.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
