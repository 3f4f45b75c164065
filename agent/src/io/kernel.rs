//! The kernel as the shell sees it.

use crate::core::event::RouteReading;
use crate::core::kernel::{Actual, Link, Op, OpResults};
use std::collections::BTreeMap;

/// A host's kernel. Calls block; one thread owns it.
pub trait Kernel: Send {
    /// One reading, with these sysctls and what is asked for of routes.
    ///
    /// # Errors
    /// In words; a part that cannot be read fails the whole.
    fn read_with(&mut self, sysctls: &[String], routes: &RouteReading) -> Result<Actual, String>;

    /// One complete reading, with these sysctls.
    ///
    /// # Errors
    /// As for `read_with`.
    fn read(&mut self, sysctls: &[String]) -> Result<Actual, String> {
        self.read_with(sysctls, &RouteReading::All)
    }

    /// All links with their counters.
    ///
    /// # Errors
    /// In words.
    fn links(&mut self) -> Result<BTreeMap<String, Link>, String>;

    /// Carries out operations in order; one result each.
    fn apply(&mut self, ops: &[Op]) -> OpResults;
}
