//! The fence: every program carries the generation of the decision that released it.

use std::fmt;
use std::str::FromStr;

/// (incarnation, Raft index) of a release. Later is greater; an agent never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Grows when a cluster is restored, recovered or founded anew.
    pub incarnation: u64,
    /// Raft index of the release entry.
    pub index: u64,
}

/// A text that is not `INCARNATION.INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a generation is written INCARNATION.INDEX, for example 1.42")]
pub struct NotAGeneration;

impl fmt::Display for Generation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.incarnation, self.index)
    }
}

impl FromStr for Generation {
    type Err = NotAGeneration;

    fn from_str(text: &str) -> Result<Generation, NotAGeneration> {
        let (incarnation, index) = text.split_once('.').ok_or(NotAGeneration)?;
        let number = |digits: &str| {
            if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
        };
        match (number(incarnation), number(index)) {
            (Some(incarnation), Some(index)) => Ok(Generation { incarnation, index }),
            _ => Err(NotAGeneration),
        }
    }
}
