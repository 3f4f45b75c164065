//! What the targets share. Never part of a product.

use std::fmt::{Debug, Display};

/// Any bytes are a value or an error; a value is written so that it is read back as the same.
pub fn total<T: PartialEq + Debug, E: PartialEq + Debug + Display>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    match decode(bytes) {
        Ok(value) => assert_eq!(decode(&encode(&value)).as_ref(), Ok(&value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A body in a frame with the right checksum: without it a fuzzer never gets past the frame.
pub fn framed(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let version = 1u32.to_be_bytes();
    let length = (body.len() as u64).to_be_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(magic).update(&version).update(body);
    [magic, version.as_slice(), &length, hasher.finalize().as_bytes(), body].concat()
}
