//! The one loop: events in, effects out. No decision is taken here.

use crate::core::mirror::Change;
use crate::core::{Agent, Config, Effect, Event, Millis};
use crate::io::conn;
use crate::io::links;
use crate::io::local::{self, Waiting};
use crate::io::lock::{self, WriterLock};
use crate::io::lookup;
use crate::io::marker::Marker;
use crate::io::netlink::Netlink;
use crate::io::notify::Manager;
use crate::io::store::Store;
use crate::io::thread::{self, Ask, Progress};
use anyhow::{Context, Result, anyhow};
use liveness::core::control::Wanted;
use rustls::ClientConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

/// Events on their way to the core; whoever brings more waits.
const EVENTS_MAX: usize = 1_024;
/// Changes that the kernel told of; they only ask for a look.
const CHANGES_MAX: usize = 64;
/// Questions to the kernel: the core asks for one thing at a time.
const ASKS_MAX: usize = 4;
/// Ledgers on their way to the disk: the core waits for one before it has another.
const SAVES_MAX: usize = 4;
/// Questions about ways that wait for the kernel; the core has fewer open.
const LOOKUPS_MAX: usize = 128;
/// Messages to the controller: more than a session takes up are lost, and the next beat says it all again.
const OUTGOING_MAX: usize = 64;
/// Repairs on their way: one for each change of what liveness says.
const REPAIRS_MAX: usize = 64;
/// Between two ticks: as long as there is nothing to do, within these bounds.
const TICK_MIN: Duration = Duration::from_millis(1);
const TICK_MAX: Duration = Duration::from_millis(100);

/// What the process was started with.
#[derive(Debug)]
pub struct Settings {
    /// For the core.
    pub config: Config,
    /// The host lock, held to the end.
    pub lock: WriterLock,
    /// The state folder.
    pub store: Store,
    /// Who started the agent and watches it.
    pub manager: Manager,
    /// Local socket.
    pub socket: PathBuf,
    /// The liveness process's socket; none: without liveness.
    pub liveness: Option<PathBuf>,
    /// `HOST:PORT` of each controller.
    pub controllers: Vec<String>,
    /// Credentials.
    pub tls: Arc<ClientConfig>,
}

/// Runs until a signal ends it. Nothing in the kernel is changed by the end.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { config, lock, store, manager, socket, liveness, controllers, tls } = settings;
    let lock = Arc::new(lock);
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let Writer { asks, mut lost, port: own_port, progress: kernel_progress } =
        writer("kernel", ASKS_MAX, &lock, events.clone())?;
    let Writer { asks: repairs, lost: mut repairs_lost, port: repairs_port, progress: repairs_progress } =
        writer("repairs", REPAIRS_MAX, &lock, events.clone())?;
    // One ask that waits stands for all that come before it is answered.
    let (links_asks, links_asked) = blocking::sync_channel(1);
    let kernel = Netlink::open().map_err(|why| anyhow!(why))?;
    let links_progress = Progress::new(kernel.steps());
    thread::start_links(Box::new(kernel), links_asked, events.clone(), links_progress.clone())
        .context("the links' thread")?;
    if let Some(listener) = lock.listener().context("the lock of this network namespace")? {
        tokio::spawn(lock::turn_away(listener));
    }
    let (changes, mut changed) = mpsc::channel(CHANGES_MAX);
    let began = Instant::now();
    let mut watch = tokio::spawn(links::watch(vec![own_port, repairs_port], began, changes));
    let (neighbours, wanted) = watch::channel(None);
    if let Some(path) = liveness {
        tokio::spawn(crate::io::liveness::run(path, wanted, events.clone()));
    }
    let ledger = store.load().map(Box::new);
    let mut shell = Shell {
        agent: Agent::new(config.clone()),
        began,
        asks,
        repairs,
        repairs_progress,
        links_asks,
        kernel_progress,
        links_progress,
        manager,
        saves: saver(store, events.clone())?,
        waiting: people(&socket, events.clone())?,
        outgoing: None,
        lookups: lookups(events.clone())?,
        neighbours,
        marker: Marker::beside(&socket),
        connect: Some((config.host.clone(), controllers, tls, events.clone())),
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    shell.begin(ledger)?;
    loop {
        let wait = shell.wait();
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(noticed) = changed.recv() => {
                let links = |change: &Change| matches!(change, Change::Link { .. } | Change::Lost);
                if noticed.iter().any(|noticed| links(&noticed.change)) {
                    shell.read_links()?;
                }
                Event::KernelSaid(noticed)
            }
            Some(event) = inbox.recv() => event,
            () = tokio::time::sleep(wait) => Event::Tick,
            why = &mut repairs_lost => return Err(anyhow!(why.unwrap_or_else(|_| "the repairs' thread is gone".to_string()))),
            why = &mut lost => return Err(anyhow!(why.unwrap_or_else(|_| "the kernel's thread is gone".to_string()))),
            ended = &mut watch => return Err(anyhow!(ended?.err().unwrap_or_else(|| "kernel events ended".to_string()))),
        };
        shell.tell(event)?;
        // Events that never end must not keep what is due from being done.
        if shell.is_due() {
            shell.tell(Event::Tick)?;
        }
        shell.tend();
    }
    shell.manager.stopping();
    info!("the agent ends; the kernel keeps what it holds");
    Ok(())
}

/// A thread that writes to the kernel, as the loop knows it.
struct Writer {
    asks: blocking::SyncSender<Ask>,
    /// Says why the thread writes no more.
    lost: oneshot::Receiver<String>,
    /// The number of its socket.
    port: u32,
    progress: Progress,
}

/// Starts one: it writes for as long as the host lock is this agent's.
fn writer(
    name: &str,
    asks_max: usize,
    lock: &Arc<WriterLock>,
    events: mpsc::Sender<Event>,
) -> Result<Writer> {
    let (asks, asked) = blocking::sync_channel(asks_max);
    let may_write = |lock: Arc<WriterLock>| move || lock.check().map_err(|lost| lost.to_string());
    let kernel = Netlink::open().map_err(|why| anyhow!(why))?.asking(Box::new(may_write(lock.clone())));
    let (port, progress) = (kernel.port(), Progress::new(kernel.steps()));
    let lost =
        thread::start(name, Box::new(kernel), may_write(lock.clone()), asked, events, progress.clone())
            .with_context(|| format!("the thread {name}"))?;
    Ok(Writer { asks, lost, port, progress })
}

/// What the connection is started with: host, controllers, credentials, where its events go.
type Connection = (String, Vec<String>, Arc<ClientConfig>, mpsc::Sender<Event>);

struct Shell {
    agent: Agent,
    began: Instant,
    asks: blocking::SyncSender<Ask>,
    repairs: blocking::SyncSender<Ask>,
    repairs_progress: Progress,
    links_asks: blocking::SyncSender<()>,
    kernel_progress: Progress,
    links_progress: Progress,
    manager: Manager,
    saves: blocking::SyncSender<(u64, Box<wire::ledger::Ledger>)>,
    waiting: Waiting,
    outgoing: Option<mpsc::Sender<wire::agent::ToController>>,
    lookups: blocking::SyncSender<lookup::Question>,
    neighbours: watch::Sender<Option<Wanted>>,
    marker: Marker,
    connect: Option<Connection>,
}

impl Shell {
    fn begin(&mut self, ledger: Option<Box<wire::ledger::Ledger>>) -> Result<()> {
        if !self.marker.is_there() {
            self.tell(Event::Unmarked)?;
        }
        self.tell(Event::LedgerRead(ledger))
    }

    fn ask(&self, ask: Ask) -> Result<()> {
        self.kernel_progress.ask();
        self.asks.send(ask).map_err(|_| anyhow!("the kernel's thread is gone"))
    }

    fn read_links(&self) -> Result<()> {
        match self.links_asks.try_send(()) {
            Ok(()) => {
                self.links_progress.ask();
                Ok(())
            }
            Err(blocking::TrySendError::Full(())) => Ok(()),
            Err(blocking::TrySendError::Disconnected(())) => Err(anyhow!("the links' thread is gone")),
        }
    }

    /// Tells the service manager what there is to tell.
    fn tend(&mut self) {
        let threads = [&self.kernel_progress, &self.links_progress, &self.repairs_progress];
        self.manager.tend(self.began.elapsed(), &threads, || self.agent.status_line());
    }

    fn now(&self) -> (Millis, u64) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        (Millis(micros / 1_000), micros)
    }

    /// How long there may be nothing to do; events come in between.
    fn wait(&self) -> Duration {
        let (now, _) = self.now();
        let due = self.agent.due(now).0.saturating_sub(now.0);
        Duration::from_millis(due).clamp(TICK_MIN, TICK_MAX)
    }

    fn is_due(&self) -> bool {
        let (now, _) = self.now();
        self.agent.due(now) <= now
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        let (now, micros) = self.now();
        self.agent.clock(micros);
        let mut effects = Vec::new();
        self.agent.handle(now, event, &mut effects);
        effects.into_iter().try_for_each(|effect| self.run(effect))
    }

    fn run(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::ReadKernel { sysctls, routes } => self.ask(Ask::Read(sysctls, routes)),
            Effect::Repair { batch, ops } => {
                self.repairs_progress.ask();
                let ask = Ask::Apply(batch, ops);
                self.repairs
                    .try_send(ask)
                    .map_err(|_| anyhow!("the repairs' thread does not take repairs any more"))
            }
            Effect::ReadLinks => self.read_links(),
            Effect::Apply { batch, ops } => self.ask(Ask::Apply(batch, ops)),
            Effect::SaveLedger { save, ledger } => {
                self.saves.send((save, ledger)).map_err(|_| anyhow!("the ledger's thread is gone"))
            }
            Effect::LookUp { ask, addresses } => match self.lookups.try_send((ask, addresses)) {
                Ok(()) => Ok(()),
                // Who asked asks again: a controller offers anew, a person hears that there is no answer.
                Err(blocking::TrySendError::Full(_)) => {
                    warn!(ask, "too many questions to the kernel");
                    Ok(())
                }
                Err(blocking::TrySendError::Disconnected(_)) => {
                    Err(anyhow!("the thread of questions to the kernel is gone"))
                }
            },
            Effect::Connect => {
                self.marker.put();
                self.manager.ready();
                if let Some((host, controllers, tls, events)) = self.connect.take() {
                    let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
                    self.outgoing = Some(sender);
                    tokio::spawn(conn::run(host, controllers, tls, receiver, events));
                }
                Ok(())
            }
            Effect::Watch(wanted) => {
                self.neighbours.send_replace(Some(*wanted));
                Ok(())
            }
            Effect::Send(message) => {
                // Without a session, or with one that is stuck, what is sent is lost: the next beat says it all again.
                if let Some(outgoing) = &self.outgoing {
                    let _ = outgoing.try_send(message);
                }
                Ok(())
            }
            Effect::AnswerLocal { id, answer } => {
                self.waiting.answer(id, answer);
                Ok(())
            }
        }
    }
}

/// Who asks on this host.
fn people(socket: &Path, events: mpsc::Sender<Event>) -> Result<Waiting> {
    let listener = local::bind(socket).with_context(|| format!("the local socket {}", socket.display()))?;
    let waiting = Waiting::default();
    tokio::spawn(local::serve(listener, waiting.clone(), events));
    Ok(waiting)
}

/// A thread that asks the kernel for its ways: its answers must not wait behind a large batch.
fn lookups(events: mpsc::Sender<Event>) -> Result<blocking::SyncSender<lookup::Question>> {
    let (lookups, asked) = blocking::sync_channel(LOOKUPS_MAX);
    let kernel = Netlink::open().map_err(|why| anyhow!(why))?;
    lookup::start(kernel, asked, events).context("the thread of questions to the kernel")?;
    Ok(lookups)
}

/// A thread that writes ledgers in order: an fsync must not hold up link events.
fn saver(
    store: Store,
    events: mpsc::Sender<Event>,
) -> Result<blocking::SyncSender<(u64, Box<wire::ledger::Ledger>)>> {
    let (saves, wanted) = blocking::sync_channel::<(u64, Box<wire::ledger::Ledger>)>(SAVES_MAX);
    std::thread::Builder::new().name("ledger".to_string()).spawn(move || {
        while let Ok((save, ledger)) = wanted.recv() {
            let result = store.save(&ledger).map_err(|error| error.to_string());
            if events.blocking_send(Event::LedgerSaved { save, result }).is_err() {
                return;
            }
        }
    })?;
    Ok(saves)
}
