//! The agent's ledger: what is in force, what was confirmed, the fence.
//!
//! On disk: 8 bytes `BALLEDGR`, format version (u32, big endian), length of the body (u64, big endian), BLAKE3 over magic, version
//! and body, the body (protobuf).

use crate::agent::{Origin, generation, read_generation, read_origin, write_origin};
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
    /// The program that was in force before `running` and was itself not on trial: what the host goes back to.
    pub previous: Option<Kept>,
    /// `running` is on trial: the time for a round trip to a controller under it, in milliseconds; 0: it is not.
    pub trial_ms: u32,
    /// The newest program that this host went back from by itself.
    pub reverted: Option<Reverted>,
    /// The host stays on what it runs.
    pub pin: Option<Hold>,
    /// The agent writes nothing to the kernel.
    pub freeze: Option<Hold>,
}

/// A program that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// Its generation.
    pub generation: Generation,
    /// Its digest.
    pub digest: Digest,
    /// Why, in words.
    pub reason: String,
}

/// A local command that holds the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, wall clock, for people alone.
    pub since_unix_ms: u64,
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
    /// Where it comes from, for people.
    pub origin: Origin,
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
            previous: self.previous.as_ref().map(|kept| self.write_previous(kept)),
            trial_ms: self.trial_ms,
            reverted: self.reverted.as_ref().map(write_reverted),
            pin: self.pin.as_ref().map(write_hold),
            freeze: self.freeze.as_ref().map(write_hold),
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
        let running = ledger.running.map(|kept| read_kept(kept, None)).transpose()?;
        let table = running.as_ref().map(|kept| &kept.table);
        let mut confirmed = ledger.confirmed.map(|kept| read_kept(kept, None)).transpose()?;
        // One copy in memory of what is one table.
        if let (Some(kept), Some(table)) = (&mut confirmed, table)
            && kept.table == *table
        {
            kept.table = table.clone();
        }
        Ok(Ledger {
            highest: read_generation(LEDGER, ledger.highest, "highest")?,
            previous: ledger.previous.map(|kept| read_kept(kept, table)).transpose()?,
            running,
            confirmed,
            trial_ms: ledger.trial_ms,
            reverted: ledger.reverted.map(read_reverted).transpose()?,
            pin: ledger.pin.map(read_hold),
            freeze: ledger.freeze.map(read_hold),
            known_digests: known.collect::<Result<_, _>>()?,
            override_revision_used: ledger.override_revision_used,
            host: ledger.host,
        })
    }

    /// Without its table where that is the running program's: the table is most of what a ledger holds.
    fn write_previous(&self, kept: &Kept) -> proto::Kept {
        let shared = self.running.as_ref().is_some_and(|running| running.table == kept.table);
        if !shared {
            return write_kept(kept);
        }
        let program = Some(write_program(&kept.program));
        proto::Kept { table: None, program, ..head(kept) }
    }
}

fn write_reverted(reverted: &Reverted) -> proto::Reverted {
    proto::Reverted {
        generation: generation(reverted.generation),
        digest: reverted.digest.0.to_vec(),
        reason: reverted.reason.clone(),
    }
}

fn read_reverted(reverted: proto::Reverted) -> Result<Reverted, DecodeError> {
    Ok(Reverted {
        generation: read_generation(LEDGER, reverted.generation, "reverted.generation")?,
        digest: LEDGER.digest(&reverted.digest, "reverted.digest")?,
        reason: reverted.reason,
    })
}

fn write_hold(hold: &Hold) -> proto::Hold {
    let Hold { by, reason, since_unix_ms } = hold.clone();
    proto::Hold { by, reason, since_unix_ms }
}

fn read_hold(hold: proto::Hold) -> Hold {
    let proto::Hold { by, reason, since_unix_ms } = hold;
    Hold { by, reason, since_unix_ms }
}

fn head(kept: &Kept) -> proto::Kept {
    proto::Kept {
        generation: generation(kept.generation),
        revision: kept.revision,
        digest: kept.digest.0.to_vec(),
        origin: write_origin(&kept.origin),
        ..proto::Kept::default()
    }
}

fn write_kept(kept: &Kept) -> proto::Kept {
    let (table, program) = (Some(write_table(&kept.table)), Some(write_program(&kept.program)));
    proto::Kept { table, program, ..head(kept) }
}

/// `shared` is the table of one that has none of its own.
fn read_kept(kept: proto::Kept, shared: Option<&Arc<PrefixTable>>) -> Result<Kept, DecodeError> {
    let table = match (kept.table, shared) {
        (None, Some(shared)) => shared.clone(),
        (own, _) => Arc::new(read_table(LEDGER.need(own, "table")?)?),
    };
    Ok(Kept {
        generation: read_generation(LEDGER, kept.generation, "generation")?,
        revision: kept.revision,
        digest: LEDGER.digest(&kept.digest, "digest")?,
        table,
        program: Arc::new(read_program(LEDGER.need(kept.program, "program")?)?),
        origin: read_origin(LEDGER, kept.origin)?,
    })
}
