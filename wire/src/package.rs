//! A program as a file, for a host that no controller reaches yet: made by `ballast program HOST FILE --package OUT`, taken
//! by `ballast-agent provision`.
//!
//! On disk: 8 bytes `BALLPROG`, format version (u32, big endian), length of the body (u64, big endian), BLAKE3 over magic,
//! version and body, the body (protobuf, the ledger's program). It has no generation: whatever a controller offers is newer.

use crate::DecodeError;
use crate::convert::Format;
use crate::program::{read_program, read_table, write_program, write_table};
use crate::proto::ledger::v1 as proto;
use plan::{Digest, PrefixTable, Program};
use prost::Message;
use std::sync::Arc;

/// Version of this format.
pub const PACKAGE_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BALLPROG";
const PACKAGE: Format = Format("program package");

/// A host's program with the prefix table that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The prefix table.
    pub table: Arc<PrefixTable>,
    /// The host's part; it names the host.
    pub program: Arc<Program>,
    /// The program's digest under that table.
    pub digest: Digest,
}

impl Package {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = proto::Kept {
            digest: self.digest.0.to_vec(),
            table: Some(write_table(&self.table)),
            program: Some(write_program(&self.program)),
            ..proto::Kept::default()
        };
        crate::convert::frame(MAGIC, PACKAGE_VERSION, &body.encode_to_vec())
    }

    /// Reads what [`Package::encode`] writes.
    ///
    /// # Errors
    /// The bytes are not a whole package, one of a newer format, or one whose program has another digest than it says: it was
    /// made by a version of Ballast that computes otherwise.
    pub fn decode(bytes: &[u8]) -> Result<Package, DecodeError> {
        let body: proto::Kept = PACKAGE.message(PACKAGE.unframe(MAGIC, PACKAGE_VERSION, bytes)?)?;
        let digest = PACKAGE.digest(&body.digest, "digest")?;
        let table = read_table(PACKAGE.need(body.table, "table")?)?;
        let program = read_program(PACKAGE.need(body.program, "program")?)?;
        if program.digest(table.digest()) != digest {
            return Err(PACKAGE
                .bad("the digest is not that of the program: it was made by another version of Ballast"));
        }
        Ok(Package { table: Arc::new(table), program: Arc::new(program), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Facts;

    fn package() -> Package {
        let text = "version: 1\nname: x\nmanagement: in_band\nnodes: {a: {}, b: {}, c: {}}\n\
                    links: [{endpoints: [\"a:e1\", \"b:e1\"]}, {endpoints: [\"b:e2\", \"c:e1\"]}]\n\
                    controllers: [{id: 1, node: a, interface: ctl0, address: 10.250.0.1}, {id: 2, node: c, address: 10.250.1.1}]\n";
        let topology =
            topology::read("x.yaml", text.as_bytes()).topology.expect("the text above is a good file");
        let network = plan::compile(&topology, &Facts::default());
        let (program, digest) = network.host("b").expect("the text above has a node b");
        Package { table: network.table.clone(), program: program.clone(), digest }
    }

    #[test]
    fn a_package_comes_back_whole() {
        let package = package();
        assert_eq!(Package::decode(&package.encode()), Ok(package));
    }

    #[test]
    fn torn_flipped_foreign_and_future_packages_are_refused() {
        let good = package().encode();
        for at in (0..good.len()).step_by(7) {
            assert!(Package::decode(&good[..at]).is_err(), "cut at {at}");
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert!(Package::decode(&flipped).is_err(), "flipped at {at}");
        }
        let mut future = good.clone();
        future[11] = 2;
        assert!(matches!(Package::decode(&future), Err(DecodeError::TooNew { newest: 1, .. })));
        let other = Package { digest: Digest([7; 32]), ..package() };
        let refused = Package::decode(&other.encode()).map(|_| ()).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|why| why.contains("another version of Ballast")));
    }
}
