//! The operator's signed word that a guard may be passed, and how it is checked.
//!
//! What is signed: the guards' names, the revision that the change makes, the digest of the topology file and
//! the reason. Controllers check it before the log, agents again before the kernel; a signature for one
//! revision is of no use for another.

/// An override of named guards for one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Guards, sorted.
    pub guards: Vec<String>,
    /// The revision that the change makes: the head revision when it was signed, plus one.
    pub revision: u64,
    /// BLAKE3 of the topology file's bytes.
    pub topology_digest: [u8; 32],
    /// Why, in the operator's words.
    pub reason: String,
    /// Ed25519 signature (RFC 8032), 64 bytes.
    pub signature: Vec<u8>,
}

impl Override {
    /// The bytes that are signed: a domain string, then each field with its length before it.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"ballast override v1\n".to_vec();
        let mut field = |data: &[u8]| {
            bytes.extend((data.len() as u64).to_be_bytes());
            bytes.extend(data);
        };
        for guard in &self.guards {
            field(guard.as_bytes());
        }
        field(&self.revision.to_be_bytes());
        field(&self.topology_digest);
        field(self.reason.as_bytes());
        bytes
    }
}
