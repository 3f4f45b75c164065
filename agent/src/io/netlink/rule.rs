//! Rules (`linux/fib_rules.h`): which table a packet's route is looked up in.

use super::attribute::{Attributes, append, array, number};
use crate::core::kernel::PROTOCOL;
use crate::core::ownership::rule_is_ours;
use plan::objects::Family;
use plan::program::Rule;

pub(super) const RTM_NEWRULE: u16 = 32;
pub(super) const RTM_DELRULE: u16 = 33;
pub(super) const RTM_GETRULE: u16 = 34;

const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
/// The kernel always tells it; all bits set: suppresses nothing.
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;
/// Look the route up in a table.
const FR_ACT_TO_TBL: u8 = 1;
/// The interface is not there now.
const FIB_RULE_IIF_DETACHED: u32 = 8;

/// `struct fib_rule_hdr`: family, destination and source length, type of service, table, two reserved, action, u32 flags.
const HEADER_BYTES: usize = 12;

fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// Asks for all rules of a family.
pub(super) fn all(family: Family) -> Vec<u8> {
    let mut body = vec![0; HEADER_BYTES];
    body[0] = family_number(family);
    body
}

/// Body of a message that makes or removes a rule of ours.
pub(super) fn body(family: Family, rule: &Rule) -> Vec<u8> {
    let mut body = vec![family_number(family), 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    append(&mut body, FRA_PRIORITY, &rule.priority.to_ne_bytes());
    append(&mut body, FRA_TABLE, &rule.table.to_ne_bytes());
    append(&mut body, FRA_PROTOCOL, &[PROTOCOL]);
    if !rule.incoming_interface.is_empty() {
        let name = [rule.incoming_interface.as_bytes(), &[0]].concat();
        append(&mut body, FRA_IIFNAME, &name);
    }
    body
}

/// A rule of ours. `Ok(None)`: another's, or one with selectors that ours never have; `Err`: cut off.
pub(super) fn parse(body: &[u8]) -> Result<Option<(Family, Rule)>, ()> {
    let [family, to, from, service] = array(body, 0).ok_or(())?;
    let [_, _, _, action] = array(body, 4).ok_or(())?;
    let flags = number(body, 8).ok_or(())?;
    let family = match family {
        2 => Family::V4,
        10 => Family::V6,
        _ => return Ok(None),
    };
    let mut is_plain =
        (to, from, service, action) == (0, 0, 0, FR_ACT_TO_TBL) && flags & !FIB_RULE_IIF_DETACHED == 0;
    let mut rule = Rule { priority: 0, incoming_interface: String::new(), table: 0 };
    let mut protocol = 0;
    for (kind, value) in Attributes(&body[HEADER_BYTES..]) {
        match kind {
            FRA_IIFNAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or(value);
                rule.incoming_interface = String::from_utf8_lossy(text).into_owned();
            }
            FRA_PRIORITY => rule.priority = number(value, 0).unwrap_or(0),
            FRA_TABLE => rule.table = number(value, 0).unwrap_or(0),
            FRA_PROTOCOL => protocol = value.first().copied().unwrap_or(0),
            FRA_SUPPRESS_PREFIXLEN => is_plain &= number(value, 0) == Some(u32::MAX),
            FRA_PAD => {}
            _ => is_plain = false,
        }
    }
    Ok((is_plain && rule_is_ours(protocol, rule.priority)).then_some((family, rule)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(interface: &str) -> Rule {
        Rule { priority: 9_100, incoming_interface: interface.to_string(), table: 91_000 }
    }

    #[test]
    fn what_is_written_is_read_back_and_selectors_that_ours_never_have_make_it_anothers() {
        for (family, interface) in [(Family::V4, "eth1"), (Family::V6, "")] {
            let bytes = body(family, &rule(interface));
            assert_eq!(parse(&bytes), Ok(Some((family, rule(interface)))));
            let mut marked = bytes.clone();
            append(&mut marked, 10, &7u32.to_ne_bytes());
            assert_eq!(parse(&marked), Ok(None));
            let mut of_service = bytes;
            of_service[3] = 8;
            assert_eq!(parse(&of_service), Ok(None));
        }
        let others = Rule { priority: 100, ..rule("eth1") };
        assert_eq!(parse(&body(Family::V4, &others)), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
