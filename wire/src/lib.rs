//! Every byte that is exchanged or stored, versioned.
//!
//! Pure: values to bytes and back. Each format has one file here and fixtures of every released version in
//! `fixtures/`, which must stay readable for ever. Decoding is total: any bytes give a value or a
//! [`DecodeError`], never a panic, and never more memory than a stated factor of the input.

pub mod agent;
mod convert;
pub mod document;
mod extensions;
pub mod generation;
pub mod ledger;
pub mod log;
pub mod overrides;
pub mod package;
pub mod peer;
mod program;
pub mod rest;
pub mod snapshot;
pub mod time;

pub use generation::Generation;

/// Code generated from `proto/`. Only this crate's conversions and the two RPC shells use it.
#[allow(missing_docs, clippy::all)]
pub mod proto {
    /// `agent.proto`
    pub mod agent {
        pub mod v1 {
            tonic::include_proto!("ballast.agent.v1");
        }
    }
    /// `replica.proto`
    pub mod replica {
        pub mod v1 {
            tonic::include_proto!("ballast.replica.v1");
        }
    }
    /// `ledger.proto`
    pub mod ledger {
        pub mod v1 {
            tonic::include_proto!("ballast.ledger.v1");
        }
    }
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not this format at all, or cut short.
    #[error("{what} cannot be read: {why}")]
    Malformed {
        /// The format.
        what: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// Written by a newer Ballast.
    #[error("{what} has format version {version}, this Ballast reads up to {newest}: upgrade it first")]
    TooNew {
        /// The format.
        what: &'static str,
        /// The version found.
        version: u32,
        /// The newest version that is understood.
        newest: u32,
    },
    /// A part that this version cannot act on.
    #[error("{what} has a part that this Ballast cannot install: {part}")]
    Unsupported {
        /// The format.
        what: &'static str,
        /// The part.
        part: &'static str,
    },
}
