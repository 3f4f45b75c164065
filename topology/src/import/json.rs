//! JSON as a small tree: a document of many small objects takes a few times its size, not a hundred times.
//!
//! Knows JSON (RFC 8259), never what it describes. Nesting is bounded by the parser.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// One value.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(u64),
    /// Any other number.
    Number(f64),
    Text(Box<str>),
    List(Box<[Json]>),
    /// In the source's order.
    Object(Box<[(Box<str>, Json)]>),
}

impl Json {
    /// The value of an object's key; of a key that is there twice, the first.
    pub(super) fn get(&self, wanted: &str) -> Option<&Json> {
        let Json::Object(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| &**key == wanted).map(|(_, value)| value)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        if let Json::Whole(number) = self { Some(*number) } else { None }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        if let Json::Bool(value) = self { Some(*value) } else { None }
    }

    /// A number, also one that is written as text, as decimal fields often are.
    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Whole(number) => Some(*number as f64),
            Json::Number(number) => Some(*number),
            Json::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// The items of a list; none where it is something else.
    pub(super) fn items(&self) -> &[Json] {
        if let Json::List(items) = self { items } else { &[] }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Json, D::Error> {
        source.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::List(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            all.push(pair);
        }
        Ok(Json::Object(all.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_type_and_order() {
        let json: Json =
            serde_json::from_str(r#"{"a": [1, -2, 2.5, "x\u00e9", "7.25", null, true], "b": {}, "a": 3}"#)
                .unwrap();
        let items = json.get("a").unwrap().items();
        assert_eq!(
            (items[0].as_u64(), items[1].as_f64(), items[2].as_f64()),
            (Some(1), Some(-2.0), Some(2.5))
        );
        assert_eq!((items[3].as_str(), items[4].as_f64()), (Some("xé"), Some(7.25)));
        assert_eq!((&items[5], items[6].as_bool()), (&Json::Null, Some(true)));
        assert_eq!(json.get("b"), Some(&Json::Object([].into())));
        assert!(serde_json::from_str::<Json>("[1,]").is_err());
        assert!(serde_json::from_str::<Json>(&"[".repeat(10_000)).is_err());
    }
}
