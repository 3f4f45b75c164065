//! `ballast-controller`: one replica. All wiring is here, and so is the only reading of flags and environment.

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use controller::core::{Config, Controller, Millis};
use controller::io::{agents::Agents, compute, disk, metrics, peers, rest, runtime, secrets};
use logging::LogFormat;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// At the end: for the last writes to reach the disk, for answers of the REST interface, for streams.
const FLUSH_MAX: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(1);
const STREAMS_MAX: Duration = Duration::from_secs(2);

/// A replica of the Ballast controller.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Id of this controller, from 1.
    #[arg(long, env = "BALLAST_ID")]
    id: u64,
    /// Name of the cluster; the same on all members.
    #[arg(long, env = "BALLAST_CLUSTER")]
    cluster: String,
    /// Folder of the replicated log.
    #[arg(long)]
    data: PathBuf,
    /// All members, this one included.
    #[arg(
        long,
        env = "BALLAST_PEERS",
        value_delimiter = ',',
        required = true,
        value_name = "ID=HOST:PORT,..."
    )]
    peers: Vec<String>,
    /// Where the other controllers connect to.
    #[arg(long, env = "BALLAST_LISTEN_PEERS", value_name = "ADDRESS:PORT")]
    listen_peers: SocketAddr,
    /// Where agents connect to.
    #[arg(long, env = "BALLAST_LISTEN_AGENTS", value_name = "ADDRESS:PORT")]
    listen_agents: SocketAddr,
    /// Where REST clients connect to; absent: a socket passed by the service manager (`LISTEN_FDS`).
    #[arg(long, env = "BALLAST_LISTEN_REST", value_name = "ADDRESS:PORT")]
    listen_rest: Option<SocketAddr>,
    /// The authority's certificate (PEM).
    #[arg(long)]
    ca: PathBuf,
    /// This controller's certificate (PEM), with the names `controller.ballast` and `ballast://controller/ID`.
    #[arg(long)]
    cert: PathBuf,
    /// Its private key (PEM).
    #[arg(long)]
    key: PathBuf,
    /// Bearer token of the REST interface; made at the first start.
    #[arg(long)]
    token_file: PathBuf,
    /// The operator's key, whose overrides are believed; made at the first start, with its public half in FILE.pub.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::to_standard_error(arguments.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ballast-controller: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(arguments));
    // Dropping it would wait for a disk that hangs.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ballast-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn members(peers: &[String]) -> Result<BTreeMap<u64, String>> {
    let mut members = BTreeMap::new();
    for peer in peers {
        let parts = peer.split_once('=').and_then(|(id, address)| Some((id.parse().ok()?, address)));
        let Some((id, address)) = parts else { bail!("--peers: `{peer}` is not ID=HOST:PORT") };
        if members.insert(id, address.to_string()).is_some() {
            bail!("--peers: controller {id} is named twice");
        }
    }
    Ok(members)
}

fn rest_listener(address: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = address {
        return TcpListener::bind(address).with_context(|| format!("--listen-rest {address}"));
    }
    let passed =
        listenfd::ListenFd::from_env().take_tcp_listener(0).context("the socket that was passed in")?;
    passed.ok_or_else(|| {
        anyhow!("no --listen-rest, and no socket was passed in by a service manager (LISTEN_FDS)")
    })
}

async fn run(arguments: Arguments) -> Result<()> {
    let identity = transport::Identity::read(&arguments.ca, &arguments.cert, &arguments.key)?;
    let fits = || format!("{} does not fit {}", arguments.key.display(), arguments.cert.display());
    let members = members(&arguments.peers)?;
    let token = secrets::token(&arguments.token_file)?;
    let operator_key = secrets::operator_key(&arguments.operator_key)?;
    let rest_listener = rest_listener(arguments.listen_rest)?;
    let bind = async |flag: &str, address: SocketAddr| {
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
    };
    let peer_listener = bind("--listen-peers", arguments.listen_peers).await?;
    let agent_listener = bind("--listen-agents", arguments.listen_agents).await?;

    let log = disk::FjallLog::open(&arguments.data, arguments.id, &arguments.cluster)
        .with_context(|| format!("--data {}", arguments.data.display()))?;
    let stored = disk::Log::load(&log).with_context(|| format!("--data {}", arguments.data.display()))?;
    let seed = u64::from_be_bytes(random()?);
    let config =
        Config::new(arguments.id, members.keys().copied().collect(), &arguments.cluster, operator_key, seed);
    let (began, mut first) = (Instant::now(), Vec::new());
    let core = Controller::new(config, stored, Millis(0), &mut first)?;

    let (events, core_handle, inlets) = runtime::channels();
    let (stopping, stop) = watch::channel(false);
    let (reports, report_inlet) = mpsc::channel(runtime::EVENTS_MAX);
    let agents = Agents::default();
    let client_tls = transport::client_config(&identity).with_context(fits)?;
    let server_tls = transport::server_config(&identity).with_context(fits)?;
    let outlets = runtime::Outlets {
        disk: disk::spawn(log, move |report| {
            // Nobody listens when the process ends.
            let _ = reports.blocking_send(report);
        })?,
        reports: report_inlet,
        compute: compute::start(events.clone())?,
        peers: peers::Peers::start(arguments.id, &members, &client_tls, &events),
        agents: agents.clone(),
    };
    let mut tasks = tokio::task::JoinSet::new();
    let stopped = || {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await.map(|_| ())) }
    };
    let (ids, to_core) = (members.keys().copied().collect(), events.clone());
    let (peer_tls, peer_stop) = (server_tls.clone(), stopped());
    tasks.spawn(async move {
        peers::serve(arguments.id, ids, peer_listener, peer_tls, to_core, peer_stop)
            .await
            .context("peers' listener")
    });
    let (serving, agent_stop) = (agents.clone(), stopped());
    tasks.spawn(async move {
        serving.serve(agent_listener, server_tls, events, agent_stop).await.context("agents' listener")
    });
    let web = rest::Web { core: core_handle, token, agents, metrics: metrics::install()? };
    let web_tls = transport::web_server_config(&identity).with_context(fits)?;
    let handle = axum_server::Handle::new();
    tasks.spawn(serve_rest(rest_listener, web_tls, web, handle.clone()));
    let core = tokio::spawn(runtime::run(core, first, began, inlets, outlets, stop.clone()));
    tracing::info!(id = arguments.id, cluster = %arguments.cluster, "controller started");
    supervise(core, tasks, &stopping, &handle).await
}

async fn serve_rest(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    web: rest::Web,
    handle: axum_server::Handle<SocketAddr>,
) -> Result<()> {
    let config = axum_server::tls_rustls::RustlsConfig::from_config(tls);
    let server = axum_server::from_tcp_rustls(listener, config).context("the REST listener")?.handle(handle);
    server.serve(rest::router(web).into_make_service()).await.context("the REST listener")
}

/// Waits for a signal or for the first task that ends; a task that ends by itself takes the process with it, loudly.
async fn supervise(
    mut core: tokio::task::JoinHandle<Result<()>>,
    mut listeners: tokio::task::JoinSet<Result<()>>,
    stopping: &watch::Sender<bool>,
    rest: &axum_server::Handle<SocketAddr>,
) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut core => Some(ended),
        Some(ended) = listeners.join_next() => Some(ended),
    };
    if let Some(ended) = ended {
        ended??;
        bail!("a part of the controller ended by itself");
    }
    tracing::info!("the controller ends; agents and hosts carry on");
    let _ = stopping.send(true);
    rest.graceful_shutdown(Some(REST_MAX));
    let Ok(flushed) = tokio::time::timeout(FLUSH_MAX, core).await else {
        bail!(
            "the disk did not take the last writes within {FLUSH_MAX:?}: what a majority acknowledged is safe with the \
             others; look at this machine's disk"
        );
    };
    flushed??;
    let finish = async {
        while let Some(ended) = listeners.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    // Streams of agents that do not end by themselves are cut: everything that counts is on the disk.
    tokio::time::timeout(STREAMS_MAX, finish).await.unwrap_or(Ok(()))
}

fn random() -> Result<[u8; 8]> {
    let mut bytes = [0; 8];
    let source = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&source, &mut bytes)
        .map_err(|_| anyhow!("this system gives no randomness"))?;
    Ok(bytes)
}
