//! What the end-to-end tests judge by: packets, a tracer of netlink sends, `ip -j`. None of it believes a word of
//! an agent or a controller.

pub mod bed;
pub mod data;
pub mod igp;
pub mod pair;
pub mod tracer;

/// Whether this process may make network namespaces. Without that right a test prints `SKIPPED: ...` and ends, except in
/// continuous integration, where it fails.
#[allow(clippy::print_stdout, reason = "skipped tests are counted by what they print")]
pub fn may_make_namespaces(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test} needs root, and continuous integration has it"
    );
    println!("SKIPPED: {test} needs root to make network namespaces");
    false
}
