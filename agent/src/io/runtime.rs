//! The one loop: events in, effects out. No decision is taken here.

use crate::core::{Agent, Config, Effect, Event, Millis};
use crate::io::conn;
use crate::io::links::{self, Change};
use crate::io::local::{self, Waiting};
use crate::io::netlink::Netlink;
use crate::io::store::Store;
use crate::io::thread::{self, Ask};
use anyhow::{Context, Result, anyhow};
use rustls::ClientConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

/// Events on their way to the core; whoever brings more waits.
const EVENTS_MAX: usize = 1_024;
const TICK: Duration = Duration::from_millis(10);

/// What the process was started with.
#[derive(Debug)]
pub struct Settings {
    /// For the core.
    pub config: Config,
    /// The state folder, locked.
    pub store: Store,
    /// Local socket.
    pub socket: PathBuf,
    /// `HOST:PORT` of each controller.
    pub controllers: Vec<String>,
    /// Credentials.
    pub tls: Arc<ClientConfig>,
}

/// Runs until a signal ends it. Nothing in the kernel is changed by the end.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { config, store, socket, controllers, tls } = settings;
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let (asks, asked) = blocking::channel();
    // The core asks for one thing at a time: this queue does not grow.
    let kernel = Netlink::open().map_err(|why| anyhow!(why))?;
    let own_port = kernel.port();
    thread::start(Box::new(kernel), asked, events.clone()).context("the kernel's thread")?;
    // One ask that waits stands for all that come before it is answered.
    let (links_asks, links_asked) = blocking::sync_channel(1);
    let kernel = Netlink::open().map_err(|why| anyhow!(why))?;
    thread::start_links(Box::new(kernel), links_asked, events.clone()).context("the links' thread")?;
    let listener = local::bind(&socket).with_context(|| format!("the local socket {}", socket.display()))?;
    let waiting = Waiting::default();
    tokio::spawn(local::serve(listener, waiting.clone(), events.clone()));
    let (changes, mut changed) = mpsc::channel(64);
    let mut watch = tokio::spawn(links::watch(own_port, changes));
    let ledger = store.load().map(Box::new);
    let mut shell = Shell {
        agent: Agent::new(config.clone()),
        began: Instant::now(),
        asks,
        links_asks,
        saves: saver(store, events.clone())?,
        waiting,
        outgoing: None,
        connect: Some((config.host.clone(), controllers, tls, events.clone())),
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    shell.tell(Event::LedgerRead(ledger))?;
    loop {
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(change) = changed.recv() => match change {
                Change::Links => {
                    shell.read_links()?;
                    continue;
                }
                Change::Objects => Event::KernelChanged,
            },
            Some(event) = inbox.recv() => event,
            _ = ticks.tick() => Event::Tick,
            ended = &mut watch => return Err(anyhow!(ended?.err().unwrap_or_else(|| "kernel events ended".to_string()))),
        };
        shell.tell(event)?;
    }
    info!("the agent ends; the kernel keeps what it holds");
    Ok(())
}

/// What the connection is started with: host, controllers, credentials, where its events go.
type Connection = (String, Vec<String>, Arc<ClientConfig>, mpsc::Sender<Event>);

struct Shell {
    agent: Agent,
    began: Instant,
    asks: blocking::Sender<Ask>,
    links_asks: blocking::SyncSender<()>,
    saves: blocking::Sender<(u64, Box<wire::ledger::Ledger>)>,
    waiting: Waiting,
    outgoing: Option<mpsc::Sender<wire::agent::ToController>>,
    connect: Option<Connection>,
}

impl Shell {
    fn ask(&self, ask: Ask) -> Result<()> {
        self.asks.send(ask).map_err(|_| anyhow!("the kernel's thread is gone"))
    }

    fn read_links(&self) -> Result<()> {
        match self.links_asks.try_send(()) {
            Ok(()) | Err(blocking::TrySendError::Full(())) => Ok(()),
            Err(blocking::TrySendError::Disconnected(())) => Err(anyhow!("the links' thread is gone")),
        }
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        let now = Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut effects = Vec::new();
        self.agent.handle(now, event, &mut effects);
        effects.into_iter().try_for_each(|effect| self.run(effect))
    }

    fn run(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::ReadKernel { sysctls } => self.ask(Ask::Read(sysctls)),
            Effect::ReadLinks => self.read_links(),
            Effect::Apply { batch, ops } => self.ask(Ask::Apply(batch, ops)),
            Effect::SaveLedger { save, ledger } => {
                self.saves.send((save, ledger)).map_err(|_| anyhow!("the ledger's thread is gone"))
            }
            Effect::Connect => {
                if let Some((host, controllers, tls, events)) = self.connect.take() {
                    let (sender, receiver) = mpsc::channel(64);
                    self.outgoing = Some(sender);
                    tokio::spawn(conn::run(host, controllers, tls, receiver, events));
                }
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

/// A thread that writes ledgers in order: an fsync must not hold up link events.
fn saver(
    store: Store,
    events: mpsc::Sender<Event>,
) -> Result<blocking::Sender<(u64, Box<wire::ledger::Ledger>)>> {
    let (saves, wanted) = blocking::channel::<(u64, Box<wire::ledger::Ledger>)>();
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
