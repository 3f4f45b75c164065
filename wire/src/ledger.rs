//! The agent's ledger: what is in force, what was confirmed, the fence.
//!
//! On disk: 8 bytes `BALLEDGR`, format version (u32, big endian), length of the body (u64, big endian), BLAKE3 over magic, version
//! and body, the body (protobuf).

use crate::agent::{generation, read_generation};
use crate::convert::Format;
use crate::program::{read_program, read_table, write_program, write_table};
use crate::proto::ledger::v1 as proto;
use crate::{DecodeError, Generation};
use plan::{Digest, PrefixTable, Program};
use prost::Message;
use std::sync::Arc;

/// Version of this format.
pub const LEDGER_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BALLEDGR";

/// How many former digests are remembered: a return to one of them does not count for the agent's guard.
pub const KNOWN_DIGESTS_MAX: usize = 32;

/// All that an agent must know after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Whose it is.
    pub host: String,
    /// Highest generation ever accepted.
    pub highest: Generation,
    /// The program in force.
    pub running: Option<Kept>,
    /// The newest program under which a round trip to a controller was completed.
    pub confirmed: Option<Kept>,
    /// Digests that were in force, newest first, at most [`KNOWN_DIGESTS_MAX`].
    pub known_digests: Vec<Digest>,
    /// Highest revision for which an override was used: none is used twice.
    pub override_revision_used: u64,
}

/// A program as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its generation.
    pub generation: Generation,
    /// Its revision.
    pub revision: u64,
    /// Its digest.
    pub digest: Digest,
    /// The prefix table.
    pub table: Arc<PrefixTable>,
    /// The host's part.
    pub program: Arc<Program>,
}

const LEDGER: Format = Format("ledger");

impl Ledger {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = proto::Ledger {
            version: LEDGER_VERSION,
            host: self.host.clone(),
            highest: generation(self.highest),
            running: self.running.as_ref().map(write_kept),
            confirmed: self.confirmed.as_ref().map(write_kept),
            known_digests: self.known_digests.iter().map(|digest| digest.0.to_vec()).collect(),
            override_revision_used: self.override_revision_used,
        }
        .encode_to_vec();
        crate::convert::frame(MAGIC, LEDGER_VERSION, &body)
    }

    /// Reads what [`Ledger::encode`] writes. A torn, cut or flipped file is always noticed.
    ///
    /// # Errors
    /// The bytes are not a whole ledger, or one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Ledger, DecodeError> {
        let body = LEDGER.unframe(MAGIC, LEDGER_VERSION, bytes)?;
        let ledger: proto::Ledger = LEDGER.message(body)?;
        LEDGER.version(ledger.version, LEDGER_VERSION)?;
        if ledger.known_digests.len() > KNOWN_DIGESTS_MAX {
            return Err(LEDGER.bad(format!("{} known digests", ledger.known_digests.len())));
        }
        let known = ledger.known_digests.iter().map(|digest| LEDGER.digest(digest, "a known digest"));
        Ok(Ledger {
            highest: read_generation(LEDGER, ledger.highest, "highest")?,
            running: ledger.running.map(read_kept).transpose()?,
            confirmed: ledger.confirmed.map(read_kept).transpose()?,
            known_digests: known.collect::<Result<_, _>>()?,
            override_revision_used: ledger.override_revision_used,
            host: ledger.host,
        })
    }
}

fn write_kept(kept: &Kept) -> proto::Kept {
    proto::Kept {
        generation: generation(kept.generation),
        revision: kept.revision,
        digest: kept.digest.0.to_vec(),
        table: Some(write_table(&kept.table)),
        program: Some(write_program(&kept.program)),
    }
}

fn read_kept(kept: proto::Kept) -> Result<Kept, DecodeError> {
    Ok(Kept {
        generation: read_generation(LEDGER, kept.generation, "generation")?,
        revision: kept.revision,
        digest: LEDGER.digest(&kept.digest, "digest")?,
        table: Arc::new(read_table(LEDGER.need(kept.table, "table")?)?),
        program: Arc::new(read_program(LEDGER.need(kept.program, "program")?)?),
    })
}
