//! Network namespaces for tests: each belongs to a thread and goes with it, also after a failure.

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs `act` in a fresh network namespace with `eth1`-`far1` and `eth2`-`far2`, all up, indexes unequal.
pub(crate) fn in_namespace(test: &str, act: fn()) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{test} needs root, and continuous integration has it"
        );
        println!("SKIPPED: {test} needs root to make network namespaces");
        return;
    }
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        for (number, near, far) in [(1, 101, 201), (2, 102, 202)] {
            ip(&format!("link add eth{number} index {near} type veth peer name far{number} index {far}"));
            ip(&format!("link set eth{number} up"));
            ip(&format!("link set far{number} up"));
        }
        ["eth1", "far1", "eth2", "far2"].iter().for_each(|interface| await_up(interface));
        act();
    };
    if let Err(panic) = std::thread::spawn(inside).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Until the kernel has noticed the carrier and given the interface its queue (linkwatch, up to a second after both ends are up);
/// before that packets are dropped without a word.
pub(crate) fn await_up(interface: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while ip(&format!("link show dev {interface}"))[0]["operstate"] != "UP" {
        assert!(Instant::now() < deadline, "{interface} did not come up");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs ip(8) with these words and gives its JSON.
pub(crate) fn ip(arguments: &str) -> Value {
    let output = Command::new("ip").arg("-j").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}
