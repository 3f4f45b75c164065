//! The replicated state on disk and on its way to a peer.
//!
//! 8 bytes `BALSNAPS`, format version (u32, big endian), length of the body (u64, big endian), BLAKE3 over magic, version and
//! body, the body: a `proto::replica::v1::Snapshot`. The state's own type lives with the controller; here is its
//! protobuf form.

use crate::DecodeError;
use crate::convert::{Format, frame};
use crate::proto::replica::v1 as proto;
use plan::Digest;
use prost::Message;

/// Version of this format.
pub const SNAPSHOT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BALSNAPS";
const SNAPSHOT: Format = Format("snapshot");

/// The state at an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Raft index up to which the log is in it.
    pub applied: u64,
    /// The state.
    pub state: proto::State,
}

impl Snapshot {
    /// Bytes of format version 1.
    pub fn encode(&self) -> Vec<u8> {
        let state = self.state.encode_to_vec();
        let digest = state_digest(&state).0.to_vec();
        let body = proto::Snapshot { version: SNAPSHOT_VERSION, applied: self.applied, state, digest };
        frame(MAGIC, SNAPSHOT_VERSION, &body.encode_to_vec())
    }

    /// Reads what [`Snapshot::encode`] writes. Damage is always noticed.
    ///
    /// # Errors
    /// The bytes are not a whole snapshot, or one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
        let body = SNAPSHOT.unframe(MAGIC, SNAPSHOT_VERSION, bytes)?;
        let snapshot: proto::Snapshot = SNAPSHOT.message(body)?;
        SNAPSHOT.version(snapshot.version, SNAPSHOT_VERSION)?;
        if SNAPSHOT.digest(&snapshot.digest, "digest")? != state_digest(&snapshot.state) {
            return Err(SNAPSHOT.bad("its state does not have its digest"));
        }
        Ok(Snapshot { applied: snapshot.applied, state: SNAPSHOT.message(&snapshot.state)? })
    }
}

/// Digest of an encoded state: what replicas compare at equal indexes.
pub fn state_digest(encoded: &[u8]) -> Digest {
    Digest(*blake3::hash(encoded).as_bytes())
}
