//! The rights that the process keeps. Started as root it gives up all others before any thread starts, for good: nothing
//! that it executes or that takes it over can have them back. Never asks for rights that it was not started with.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// All that the agent needs: rtnetlink, the sizes of its sockets' buffers, files below `/proc/sys/net`. It opens no raw
/// socket (`CAP_NET_RAW`) and sets no priority (`CAP_SYS_NICE`).
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN;

/// The process cannot run with few rights.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It was not given what it needs.
    #[error(
        "the right CAP_NET_ADMIN is missing: start the agent as root, or with AmbientCapabilities=CAP_NET_ADMIN in its unit"
    )]
    Missing,
    /// The kernel does not take rights away.
    #[error("rights cannot be given up ({call}: {source}): the agent does not run with more than it needs")]
    Kept {
        /// Which system call.
        call: &'static str,
        /// Why.
        source: Errno,
    },
}

/// Keeps `CAP_NET_ADMIN` alone. Rights belong to a thread: to be called before any other one starts.
///
/// # Errors
/// `CAP_NET_ADMIN` is missing, or the kernel refuses.
pub fn keep_network_administration_only() -> Result<(), DropError> {
    let failed = |call| move |source| DropError::Kept { call, source };
    let has = capabilities(None).map_err(failed("capget"))?;
    if !has.permitted.contains(KEPT) {
        return Err(DropError::Missing);
    }
    set_no_new_privs(true).map_err(failed("PR_SET_NO_NEW_PRIVS"))?;
    clear_ambient_capability_set().map_err(failed("PR_CAP_AMBIENT"))?;
    // Without this right the set stays as it is; no_new_privs already keeps what is in it out of reach.
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            match capability_is_in_bounding_set(capability) {
                Ok(true) if capability != KEPT => {
                    remove_capability_from_bounding_set(capability).map_err(failed("PR_CAPBSET_DROP"))?;
                }
                Ok(_) => {}
                // The first number that this kernel does not know; the ones after it are unknown, too.
                Err(_) => break,
            }
        }
    }
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed("capset"))
}
