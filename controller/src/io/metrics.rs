//! Prometheus metrics. Most are read off the status when somebody asks; names and units are in docs/controller.md.

use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use wire::rest::Status;

/// Installs the recorder; counters count from here on.
///
/// # Errors
/// Another recorder is installed.
pub fn install()
-> Result<PrometheusHandle, metrics::SetRecorderError<metrics_exporter_prometheus::PrometheusRecorder>> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Ok(handle)
}

/// Resident memory of this process in bytes; 0 where it cannot be read.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}

/// Sets the gauges from a status and renders everything.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float by its format")]
pub fn render(handle: &PrometheusHandle, status: &Status, sessions: usize) -> String {
    let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
    set("ballast_raft_term", status.term);
    set("ballast_raft_committed_index", status.committed);
    set("ballast_raft_applied_index", status.applied);
    set("ballast_raft_is_leader", u64::from(status.leader == Some(status.controller)));
    set("ballast_raft_has_leader", u64::from(status.leader.is_some()));
    set("ballast_serving", u64::from(status.serving));
    set("ballast_revision", status.revision);
    set("ballast_incarnation", status.incarnation);
    set("ballast_hosts", status.hosts.total as u64);
    set("ballast_hosts_connected", status.hosts.connected as u64);
    set("ballast_hosts_current", status.hosts.current as u64);
    set("ballast_agent_sessions", sessions as u64);
    set("ballast_links_down", status.links_down.len() as u64);
    set("ballast_link_disagreements", status.disagreements.len() as u64);
    set("ballast_alarms", status.alarms.len() as u64);
    set("ballast_process_resident_bytes", resident_bytes());
    handle.render()
}
