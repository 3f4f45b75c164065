//! Reads single values: texts, numbers, quantities, prefixes, lists, mappings.
//!
//! Knows types and ranges, never which keys a topology has.

use super::Reader;
use crate::diagnostic::{Code, Place, Spanned, quote};
use crate::keys::{self, Shape};
use crate::model::Share;
use crate::units::{self, QuantityError};
use crate::yaml::{Kind, Value};
use crate::{address, names};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Words of other tools for keys of this format.
const SYNONYMS: &[(&str, &str)] = &[
    ("bandwidth", "capacity"),
    ("bw", "capacity"),
    ("delay", "latency"),
    ("edges", "links"),
    ("gateway", "next_hop"),
    ("hosts", "nodes"),
    ("metric", "cost"),
    ("networks", "prefixes"),
    ("speed", "capacity"),
    ("srlgs", "srlg"),
    ("subnets", "prefixes"),
    ("template", "kind"),
    ("via", "next_hop"),
    ("weight", "cost"),
];

/// The values of one mapping by key.
pub(super) struct Fields<'v, 't> {
    pub(super) place: Place,
    what: &'static str,
    values: BTreeMap<&'v str, &'v Value<'t>>,
}

impl<'v, 't> Fields<'v, 't> {
    pub(super) fn get(&self, key: &str) -> Option<&'v Value<'t>> {
        self.values.get(key).copied()
    }

    /// The keys that are there, sorted, with their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, &'v Value<'t>)> {
        self.values.iter().map(|(key, value)| (*key, *value))
    }
}

/// A key, its place and its value.
pub(super) type Pair<'v, 't> = (&'v str, Place, &'v Value<'t>);

/// Which prefixes a key takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those behind a node.
    Inside,
    /// Those behind a gateway: the default route, and others that only partly are unicast.
    Outside,
}

impl Reader<'_> {
    pub(super) fn share(&mut self, value: &Value<'_>, what: &str, least: u64) -> Option<Share> {
        let help =
            format!("write a count from {least}, as in `5`, or a share from {least}% to 100%, as in `25%`");
        let text = self.text(value, what, &help)?;
        let (number, most) = match text.strip_suffix('%') {
            Some(number) => (number, 100),
            None => (text, u64::from(u32::MAX)),
        };
        let Some(count) = units::whole_number(number) else {
            self.wrong_type(value, what, "a count or a percentage", &help);
            return None;
        };
        if !(least..=most).contains(&count) {
            let message = format!("{what} is {}, out of its range", quote(text));
            self.problems.error(Code::OUT_OF_RANGE, value.place, message, help);
            return None;
        }
        Some(if number.len() < text.len() {
            Share::Percent(count as u32)
        } else {
            Share::Count(count as u32)
        })
    }

    pub(super) fn cost(&mut self, value: &Value<'_>, help: &str) -> Option<u32> {
        self.integer(value, "`cost`", keys::COST, Code::BAD_COST, help).map(|cost| cost as u32)
    }

    pub(super) fn integer(
        &mut self,
        value: &Value<'_>,
        what: &str,
        range: RangeInclusive<u64>,
        code: Code,
        help: &str,
    ) -> Option<u64> {
        let text = match &value.kind {
            Kind::Plain(text) => text.as_ref(),
            _ => "",
        };
        let negative = text.strip_prefix('-').is_some_and(|rest| units::whole_number(rest).is_some());
        match units::whole_number(text) {
            Some(number) if range.contains(&number) => Some(number),
            None if !negative => {
                self.wrong_type(value, what, "a whole number, without quotes", help);
                None
            }
            _ => {
                let (least, most) = (range.start(), range.end());
                let message = format!("{what} is {text}, but must be from {least} to {most}");
                self.problems.error(code, value.place, message, help);
                None
            }
        }
    }

    pub(super) fn quantity(
        &mut self,
        value: &Value<'_>,
        what: &str,
        spellings: &[(&str, u64)],
        range: RangeInclusive<u64>,
        help: &str,
    ) -> Option<u64> {
        let text = self.text(value, what, help)?;
        let (code, why) = match units::quantity(text, spellings) {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(_) | Err(QuantityError::TooLarge) => (Code::OUT_OF_RANGE, "out of its range"),
            Err(QuantityError::NotANumber) => (Code::WRONG_TYPE, "not a number with a unit"),
            Err(QuantityError::NoUnit) => (Code::BAD_UNIT, "without a unit"),
            Err(QuantityError::UnknownUnit) => (Code::BAD_UNIT, "with a unit that is not known here"),
            Err(QuantityError::TooFine) => (Code::BAD_UNIT, "finer than the smallest unit"),
        };
        self.problems.error(code, value.place, format!("{what} is {}, {why}", quote(text)), help);
        None
    }

    /// A prefix with no host bits set, of addresses that may be routed.
    pub(super) fn network(
        &mut self,
        value: &Value<'_>,
        what: &str,
        scope: Scope,
    ) -> Option<Spanned<IpNetwork>> {
        let help = "write address and length, as in `10.1.0.0/24` or `2001:db8:1::/64`";
        let text = self.text(value, what, help)?;
        let Some(network) = address::cidr(text) else {
            self.bad_cidr(value, text, help);
            return None;
        };
        let right = address::canonical(&network);
        if right != network {
            let message = format!("{network} has host bits set: the prefix that holds it is {right}");
            let alone = IpNetwork::from(network.ip());
            let help = format!("write `{right}`, or `{alone}` if this one address is meant");
            self.problems.error(Code::HOST_BITS_SET, value.place, message, help);
        } else if let Some(reserved) = address::reserved(&network)
            && (scope == Scope::Inside || address::within(&network, &reserved))
        {
            let message = format!("{network} shares addresses with {reserved}, which hosts never forward");
            let help = if network.prefix() == 0 {
                "remove it: a default route belongs into `external`, with the gateway that it leads to"
            } else {
                "write a prefix of unicast addresses that is routed"
            };
            self.problems.error(Code::RESERVED_PREFIX, value.place, message, help);
            return None;
        }
        Some(Spanned { value: right, place: value.place })
    }

    pub(super) fn flag(&mut self, value: &Value<'_>, what: &str) -> Option<bool> {
        match &value.kind {
            Kind::Plain(text) if text == "true" => Some(true),
            Kind::Plain(text) if text == "false" => Some(false),
            _ => {
                self.wrong_type(value, what, "`true` or `false`", "write `true` or `false`, without quotes");
                None
            }
        }
    }

    /// A list of names as a set: sorted, each once.
    pub(super) fn names(&mut self, value: &Value<'_>, list: &str, item: &str) -> Vec<String> {
        let items = self.list(value, list, "write a list of names, as in `[conduit-7, card-2]`");
        let names = items.unwrap_or(&[]).iter().filter_map(|value| self.name(value, item));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        names
    }

    /// The name of a thing that is told about elsewhere.
    pub(super) fn reference(&mut self, value: &Value<'_>, what: &str, help: &str) -> Option<Spanned<String>> {
        let name = self.text(value, what, help)?;
        Some(Spanned { value: name.to_owned(), place: value.place })
    }

    /// A text for people of at most 255 bytes; with a problem, it is kept.
    pub(super) fn words<'v>(&mut self, value: &'v Value<'_>, what: &str) -> Option<&'v str> {
        let text = self.text(value, what, "write text")?;
        if let Err(rule) = names::label_value(text) {
            let message = format!("{what} {rule}");
            self.problems.error(Code::BAD_NAME, value.place, message, "write a shorter, printable text");
        }
        Some(text)
    }

    pub(super) fn bad_cidr(&mut self, value: &Value<'_>, text: &str, help: &str) {
        let (message, help) = match text.parse::<IpAddr>() {
            Ok(address) => {
                let all = if address.is_ipv4() { 32 } else { 128 };
                (
                    format!("{} has no prefix length", quote(text)),
                    format!("write `{text}/{all}` for one address"),
                )
            }
            Err(_) => (format!("{} is no prefix", quote(text)), help.to_owned()),
        };
        self.problems.error(Code::BAD_CIDR, value.place, message, help);
    }

    pub(super) fn name(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        let text = self.text(value, what, "write a name")?;
        self.check_name(text, value.place, what).then(|| text.to_owned())
    }

    pub(super) fn check_name(&mut self, text: &str, place: Place, what: &str) -> bool {
        let Err(rule) = names::name(text) else { return true };
        let help = "use letters, digits, `-`, `_` and `.`, at most 63, starting with a letter or digit";
        self.problems.error(Code::BAD_NAME, place, format!("{what} {} {rule}", quote(text)), help);
        false
    }

    pub(super) fn text<'v>(&mut self, value: &'v Value<'_>, what: &str, help: &str) -> Option<&'v str> {
        match &value.kind {
            Kind::Plain(text) | Kind::Quoted(text) if !value.is_null() => Some(text),
            _ => {
                self.wrong_type(value, what, "a single value", help);
                None
            }
        }
    }

    /// Nothing there is an empty list.
    pub(super) fn list<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        help: &str,
    ) -> Option<&'v [Value<'t>]> {
        match &value.kind {
            Kind::List(items) => Some(items),
            _ if value.is_null() => Some(&[]),
            _ => {
                self.wrong_type(value, what, "a list", help);
                None
            }
        }
    }

    /// The pairs of a mapping in the file's order, each key once; nothing there is an empty mapping.
    pub(super) fn pairs<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        twice: Code,
    ) -> Option<Vec<Pair<'v, 't>>> {
        let Kind::Mapping(all) = &value.kind else {
            if value.is_null() {
                return Some(Vec::new());
            }
            self.wrong_type(value, what, "a mapping of keys to values", "write `key: value` pairs");
            return None;
        };
        let mut lines: BTreeMap<&str, Place> = BTreeMap::new();
        let mut pairs = Vec::with_capacity(all.len());
        for (key, value) in all.iter() {
            let text = match &key.kind {
                Kind::Plain(text) | Kind::Quoted(text) if !key.is_null() => text.as_ref(),
                _ => {
                    let message = format!("a key in {what} is {}, but must be text", key.describe());
                    self.problems.error(Code::BAD_KEY, key.place, message, "write `key: value`");
                    continue;
                }
            };
            if let Some(first) = lines.get(text) {
                let thing = if twice == Code::DUPLICATE_NODE { "the node" } else { "the key" };
                let line = self.problems.line(*first, key.place);
                let message = format!("{thing} {} is already there, on {line}", quote(text));
                let help = "remove one of the two, or rename it: neither silently wins";
                self.problems.error(twice, key.place, message, help);
                continue;
            }
            lines.insert(text, key.place);
            pairs.push((text, key.place, value));
        }
        Some(pairs)
    }

    /// The values of a mapping whose keys are known in advance.
    pub(super) fn fields<'v, 't>(&mut self, value: &'v Value<'t>, shape: &Shape) -> Option<Fields<'v, 't>> {
        let pairs = self.pairs(value, shape.what, Code::DUPLICATE_KEY)?;
        let mut values = BTreeMap::new();
        for (key, place, value) in pairs {
            if shape.knows(key) {
                values.insert(key, value);
            } else if shape.later.contains(&key) || key == "<<" {
                let message = format!("{} in {} is not supported yet", quote(key), shape.what);
                let help = if key == "<<" {
                    "write the merged keys out"
                } else {
                    "remove it, or use a version of Ballast that has it"
                };
                self.problems.error(Code::NOT_SUPPORTED_YET, place, message, help);
            } else {
                self.unknown_key(key, place, shape);
            }
        }
        Some(Fields { place: value.place, what: shape.what, values })
    }

    pub(super) fn unknown_key(&mut self, key: &str, place: Place, shape: &Shape) {
        let synonym = SYNONYMS.iter().find(|(word, meant)| *word == key && shape.knows(meant));
        let near = match synonym {
            Some((_, meant)) => Some(*meant),
            None => self.suggester.nearest(key, shape.names()),
        };
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove it; the keys here are {}", shape.names().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{} is not a key of {}", quote(key), shape.what);
        self.problems.error(Code::UNKNOWN_KEY, place, message, help);
    }

    pub(super) fn required<'v, 't>(
        &mut self,
        fields: &Fields<'v, 't>,
        key: &str,
        help: &str,
    ) -> Option<&'v Value<'t>> {
        let value = fields.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", fields.what);
            self.problems.error(Code::MISSING_KEY, fields.place, message, help);
        }
        value
    }

    pub(super) fn wrong_type(&mut self, value: &Value<'_>, what: &str, wanted: &str, help: &str) {
        let message = format!("{what} is {}, but must be {wanted}", value.describe());
        self.problems.error(Code::WRONG_TYPE, value.place, message, help);
    }
}
