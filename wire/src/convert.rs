//! Small pieces that all conversions share: required parts, fixed lengths, addresses.

use crate::DecodeError;
use ipnetwork::IpNetwork;
use plan::Digest;
use std::net::IpAddr;

/// What is being read, for error texts.
#[derive(Clone, Copy)]
pub(crate) struct Format(pub(crate) &'static str);

impl Format {
    pub(crate) fn bad(self, why: impl Into<String>) -> DecodeError {
        DecodeError::Malformed { what: self.0, why: why.into() }
    }

    pub(crate) fn message<M: prost::Message + Default>(self, bytes: &[u8]) -> Result<M, DecodeError> {
        M::decode(bytes).map_err(|error| self.bad(error.to_string()))
    }

    pub(crate) fn version(self, version: u32, newest: u32) -> Result<(), DecodeError> {
        match version {
            0 => Err(self.bad("version 0")),
            version if version > newest => Err(DecodeError::TooNew { what: self.0, version, newest }),
            _ => Ok(()),
        }
    }

    pub(crate) fn need<T>(self, part: Option<T>, name: &str) -> Result<T, DecodeError> {
        part.ok_or_else(|| self.bad(format!("{name} is missing")))
    }

    pub(crate) fn array<const N: usize>(self, bytes: &[u8], name: &str) -> Result<[u8; N], DecodeError> {
        bytes.try_into().map_err(|_| self.bad(format!("{name} has {} bytes, must have {N}", bytes.len())))
    }

    pub(crate) fn digest(self, bytes: &[u8], name: &str) -> Result<Digest, DecodeError> {
        self.array(bytes, name).map(Digest)
    }

    pub(crate) fn optional_digest(self, bytes: &[u8], name: &str) -> Result<Option<Digest>, DecodeError> {
        if bytes.is_empty() { Ok(None) } else { self.digest(bytes, name).map(Some) }
    }

    pub(crate) fn address(self, bytes: &[u8], name: &str) -> Result<IpAddr, DecodeError> {
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            return Ok(IpAddr::from(four));
        }
        let sixteen = <[u8; 16]>::try_from(bytes);
        sixteen
            .map(IpAddr::from)
            .map_err(|_| self.bad(format!("{name} has {} bytes, must have 4 or 16", bytes.len())))
    }

    /// An address with its prefix length; host bits may be set.
    pub(crate) fn network(self, bytes: &[u8], length: u32, name: &str) -> Result<IpNetwork, DecodeError> {
        let address = self.address(bytes, name)?;
        let network = u8::try_from(length).ok().and_then(|short| IpNetwork::new(address, short).ok());
        network.ok_or_else(|| self.bad(format!("{name} {address} has prefix length {length}")))
    }

    /// A prefix: no host bits.
    pub(crate) fn prefix(self, bytes: &[u8], length: u32, name: &str) -> Result<IpNetwork, DecodeError> {
        let network = self.network(bytes, length, name)?;
        if network.network() == network.ip() {
            return Ok(network);
        }
        Err(self.bad(format!("{name} {network} has host bits set")))
    }

    /// The body of a [`frame`].
    pub(crate) fn unframe<'a>(
        self,
        magic: &[u8; 8],
        newest: u32,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], DecodeError> {
        let rest = bytes.strip_prefix(magic).ok_or_else(|| self.bad("it does not begin as one"))?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| self.bad("cut short"))?;
        self.version(u32::from_be_bytes(*version), newest)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(|| self.bad("cut short"))?;
        let (digest, body) = rest.split_first_chunk::<32>().ok_or_else(|| self.bad("cut short"))?;
        let length = u64::from_be_bytes(*length);
        if body.len() as u64 != length {
            return Err(self.bad(format!("its body has {} bytes, must have {length}", body.len())));
        }
        let found = frame_digest(magic, u32::from_be_bytes(*version), body);
        if found == *digest { Ok(body) } else { Err(self.bad("its checksum is wrong")) }
    }

    /// Strictly rising: sorted, and nothing twice.
    pub(crate) fn rising<T: Ord>(
        self,
        keys: impl IntoIterator<Item = T>,
        name: &str,
    ) -> Result<(), DecodeError> {
        let mut before: Option<T> = None;
        for key in keys {
            if before.is_some_and(|before| before >= key) {
                return Err(self.bad(format!("{name} are not sorted or not unique")));
            }
            before = Some(key);
        }
        Ok(())
    }
}

/// 4 or 16 bytes.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}

/// A body with magic, format version, length and a checksum over all of them before it.
pub(crate) fn frame(magic: &[u8; 8], version: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_be_bytes();
    let digest = frame_digest(magic, version, body);
    [magic.as_slice(), &version.to_be_bytes(), &length, &digest, body].concat()
}

fn frame_digest(magic: &[u8; 8], version: u32, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(magic).update(&version.to_be_bytes()).update(body);
    *hasher.finalize().as_bytes()
}
