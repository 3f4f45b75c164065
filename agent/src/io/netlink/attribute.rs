//! Attributes of netlink messages, written and read (`linux/netlink.h`: u16 length, u16 type, value, padded to four bytes).
//!
//! Reading takes what it knows and passes over the rest: a strange object of another owner, or an attribute that a newer
//! kernel has, must never make the agent blind.

/// `NLA_TYPE_MASK`: the flags "nested" and "network byte order" cut off.
const TYPE_MASK: u16 = 0x3fff;
const HEADER_BYTES: usize = 4;

/// Appends one attribute.
pub(super) fn append(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((HEADER_BYTES + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// (type, value) of each attribute, in their order; what is damaged ends the list.
#[derive(Clone)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The last one of this type, which is the one that counts for the kernel too.
    pub(super) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().filter(|(found, _)| *found == kind).last().map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(array(self.0, 0)?));
        let kind = u16::from_ne_bytes(array(self.0, 2)?) & TYPE_MASK;
        let value = self.0.get(HEADER_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// `N` bytes from `at` on.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// A number in host byte order that starts at `at`.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_one_counts_and_damage_ends_the_list() {
        let mut bytes = Vec::new();
        append(&mut bytes, 1, b"abcde");
        append(&mut bytes, 0x8000 | 2, &7u32.to_ne_bytes());
        append(&mut bytes, 1, b"x");
        bytes.extend([9, 0, 3, 0, 1]);
        let found: Vec<(u16, &[u8])> = Attributes(&bytes).collect();
        assert_eq!(found, [(1, &b"abcde"[..]), (2, &7u32.to_ne_bytes()[..]), (1, &b"x"[..])]);
        assert_eq!(Attributes(&bytes).find(1), Some(&b"x"[..]));
        assert_eq!(Attributes(&bytes).find(3), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / HEADER_BYTES + 1);
        }
    }
}
