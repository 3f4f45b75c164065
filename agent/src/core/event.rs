//! All inputs and all outputs of the core.

use crate::core::hold::Act;
use crate::core::kernel::{Actual, Link, Op, OpResults};
use crate::core::mirror::Noticed;
use crate::core::neighbours::Process;
use crate::core::wanted::Wanted;
use crate::core::way::Way;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::agent::{ToAgent, ToController};
use wire::ledger::Ledger;

/// Monotonic milliseconds since the process started. Never a wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// What the agent is told.
#[derive(Debug)]
pub enum Event {
    /// The ledger was read from disk: `None` when there is none. The first event of every life.
    LedgerRead(Option<Box<Ledger>>),
    /// Nothing in the runtime folder says that an agent has run since the host was started. Comes before the ledger.
    Unmarked,
    /// Time passed.
    Tick,
    /// The kernel was read, or could not be read.
    KernelRead(Result<Box<Actual>, String>),
    /// Operations were carried out.
    Applied {
        /// Number of the batch.
        batch: u64,
        /// One result per operation.
        results: OpResults,
    },
    /// The ledger is on disk (file and folder synced), or could not be written.
    LedgerSaved {
        /// Number of the save.
        save: u64,
        /// What went wrong.
        result: Result<(), String>,
    },
    /// The kernel said that links changed, or they were asked for: all links now.
    LinksChanged(BTreeMap<String, Link>),
    /// Interfaces whose liveness session was up at some time, and whether their neighbour is alive now. Dead means that the
    /// session timed out, or that the neighbour signalled it down: an interface that is not named here is unknown, never dead.
    Liveness(BTreeMap<String, bool>),
    /// The liveness process said something, or does not answer.
    LivenessSays(Process),
    /// The kernel said that other objects changed, or that notifications were lost: look again.
    KernelChanged,
    /// The kernel was asked for its ways.
    LookedUp {
        /// Number of the question.
        ask: u64,
        /// Address -> the way that a packet to it takes.
        ways: BTreeMap<IpAddr, Way>,
    },
    /// What the kernel said of single objects.
    KernelSaid(Vec<Noticed>),
    /// A session with a controller is open.
    Connected,
    /// It ended.
    Disconnected,
    /// A controller's message.
    Controller(ToAgent),
    /// A local command.
    Local {
        /// To answer it by.
        id: u64,
        /// What is asked.
        request: LocalRequest,
    },
}

/// A command on the local socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalRequest {
    /// What is in force and how it stands.
    Status,
    /// Everything that is held: the program and the kernel's objects.
    Dump,
    /// All about one destination.
    Why(IpNetwork),
    /// A command that changes something.
    Act(Act),
}

/// Its answer: a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAnswer(pub String);

/// What a reading says of routes.
#[derive(Clone, Debug)]
pub enum RouteReading {
    /// Nothing: they are not read, and what it says of them does not count.
    None,
    /// All of ours.
    All,
    /// All of ours; those that stand as wanted may be told by their places alone.
    Compared(Arc<Wanted>),
}

/// What the agent does.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few at a time, carried out at once")]
pub enum Effect {
    /// Read the kernel; these sysctls too. Answered by [`Event::KernelRead`].
    ReadKernel {
        /// sysctl(8) names.
        sysctls: Vec<String>,
        /// What is to be said of routes.
        routes: RouteReading,
    },
    /// Read all links with their counters; answered by [`Event::LinksChanged`].
    ReadLinks,
    /// Carry out operations in order; a failed one does not stop the others. Answered by [`Event::Applied`].
    Apply {
        /// Number of the batch.
        batch: u64,
        /// Operations.
        ops: Vec<Op>,
    },
    /// The same, besides all other work and before it: a repair does not wait until a large table is read or written.
    Repair {
        /// Number of the batch.
        batch: u64,
        /// Operations.
        ops: Vec<Op>,
    },
    /// Write the ledger atomically. Answered by [`Event::LedgerSaved`].
    SaveLedger {
        /// Number of the save.
        save: u64,
        /// What to write.
        ledger: Box<Ledger>,
    },
    /// Ask the kernel which way packets to these addresses take; answered by [`Event::LookedUp`].
    LookUp {
        /// Number of the question.
        ask: u64,
        /// Addresses.
        addresses: Vec<IpAddr>,
    },
    /// Tell the liveness process what is wanted of it, now and whenever it is there again. Answered by
    /// [`Event::LivenessSays`].
    Watch(Box<liveness::core::control::Wanted>),
    /// Look for a controller from now on. Never before the kernel was reconciled with the ledger.
    Connect,
    /// Send to the controller; lost when there is no session.
    Send(ToController),
    /// Answer a local command.
    AnswerLocal {
        /// Which.
        id: u64,
        /// The answer.
        answer: LocalAnswer,
    },
}
