//! What belongs to others survives every write of an agent.

use crate::kernel::Foreign;

/// Compares foreign objects before and after a batch.
///
/// # Errors
/// They differ.
pub(super) fn check(host: &str, before: &Foreign, after: &Foreign) -> Result<(), String> {
    if before == after {
        Ok(())
    } else {
        Err(format!("{host}: foreign objects were {before:?} and are {after:?}"))
    }
}
