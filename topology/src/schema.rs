//! The file's JSON Schema and the reference of all keys, both written from the table that the reader uses.
//!
//! The schema is for editors: it knows types, ranges and spellings, never what names refer to. [`crate::read`]
//! alone decides whether a file is good.

use crate::keys::{self, Key, SHAPES, Shape, Type};
use crate::units;
use serde_json::{Map, Value, json};

/// Where the schema's dialect is defined.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A name, as a regular expression (ECMA-262) without anchors.
const NAME: &str = "(?!.*--)[A-Za-z0-9][A-Za-z0-9._-]{0,62}";

/// An interface's name.
const INTERFACE: &str = r"(?!(?:\.|\.\.|lo|all|default)$)[!-$&-.0-9;-~]{1,15}";

/// What plain YAML text can be for a tool that turns it into JSON before it looks at the schema.
const TEXT_TYPES: [&str; 3] = ["string", "number", "boolean"];

/// The JSON Schema (draft 2020-12) of topology files, pretty-printed, with a line end.
pub fn schema() -> String {
    let defs: Map<String, Value> =
        SHAPES.iter().skip(1).map(|shape| (shape.id.to_owned(), object(shape, false))).collect();
    let mut root = object(&keys::TOP, false);
    root["$schema"] = json!(DIALECT);
    root["title"] = json!("Ballast topology file, version 1");
    root["description"] = json!(
        "One network. Where it is spread over several documents or files, the required keys stand in any of them."
    );
    root["$defs"] = Value::Object(defs);
    // Values without floats and with text keys always have a JSON form.
    serde_json::to_string_pretty(&root).unwrap_or_default() + "\n"
}

fn object(shape: &Shape, one_key: bool) -> Value {
    let properties: Map<String, Value> =
        shape.known.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = shape.known.iter().filter(|key| key.required()).map(|key| key.name).collect();
    let mut object = json!({
        "type": if required.is_empty() && !one_key { json!(["object", "null"]) } else { json!("object") },
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn property(key: &Key) -> Value {
    let mut property = value(&key.takes);
    let default = match key.default {
        _ if key.required() => String::new(),
        default => format!(" Default: {default}."),
    };
    property["description"] = json!(format!("{}{default}", key.meaning));
    property
}

fn value(takes: &Type) -> Value {
    let pattern = |pattern: String| json!({ "type": TEXT_TYPES, "pattern": format!("^(?:{pattern})$") });
    match takes {
        Type::Number(number) => json!({ "const": number }),
        Type::Words(words) => json!({ "enum": words }),
        Type::Integer(range) => {
            json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
        }
        Type::Flag => json!({ "type": "boolean" }),
        Type::Name => pattern(NAME.to_owned()),
        Type::Interface => pattern(INTERFACE.to_owned()),
        Type::Endpoint => pattern(format!("{NAME}:{INTERFACE}")),
        Type::Text => json!({ "type": TEXT_TYPES, "maxLength": 255 }),
        Type::Prefix | Type::InterfaceAddress => {
            json!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+/(?:0|[1-9][0-9]{0,2})$" })
        }
        Type::Address => json!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+$" }),
        Type::Capacity => quantity(units::CAPACITY),
        Type::Latency => quantity(units::LATENCY_US),
        Type::Duration(_) | Type::Interval => quantity(units::DURATION_MS),
        Type::Share(least) => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": u32::MAX },
            { "type": "string", "pattern": "^(?:[1-9]?[0-9]|100)%$" },
        ] }),
        Type::Percent(_) => json!({ "type": "string", "pattern": "^[1-9][0-9]{0,3}%$" }),
        Type::Location => json!({
            "type": "array",
            "prefixItems": [
                { "type": "number", "minimum": -90, "maximum": 90 },
                { "type": "number", "minimum": -180, "maximum": 180 },
            ],
            "items": false,
            "minItems": 2,
        }),
        Type::Selector => pattern(format!("{NAME}|zone:{NAME}|label:{NAME}=.*")),
        Type::List(item, least, most) => list(item, *least, *most),
        Type::Map(_, item) => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": format!("^{NAME}$") },
            "additionalProperties": value(item),
        }),
        Type::ByEnd(item) => json!({
            "type": "object",
            "minProperties": 2,
            "maxProperties": 2,
            "additionalProperties": value(item),
        }),
        Type::Object(shape) => json!({ "$ref": format!("#/$defs/{}", shape.id) }),
        Type::OneKey(shape) => {
            json!({ "$ref": format!("#/$defs/{}", shape.id), "minProperties": 1, "maxProperties": 1 })
        }
        Type::Either(one, other) => json!({ "anyOf": [value(one), value(other)] }),
    }
}

fn list(item: &Type, least: usize, most: usize) -> Value {
    let mut list = json!({
        "type": if least == 0 { json!(["array", "null"]) } else { json!("array") },
        "items": value(item),
    });
    if least > 0 {
        list["minItems"] = json!(least);
    }
    if most < usize::MAX {
        list["maxItems"] = json!(most);
    }
    list
}

/// A number with a unit; zero needs none.
fn quantity(units: &[(&str, u64)]) -> Value {
    let units: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    let pattern = format!("^[0-9]+(?:\\.[0-9]+)? *(?:{})$", units.join("|"));
    json!({ "anyOf": [{ "const": 0 }, { "type": "string", "pattern": pattern }] })
}

/// The reference of all keys, in Markdown: a table for each mapping of the format.
pub fn reference() -> String {
    let mut text = String::new();
    for shape in SHAPES {
        let (first, rest) = shape.stands.split_at(1);
        let title = if first == "`" { shape.stands.to_owned() } else { first.to_uppercase() + rest };
        text.push_str(&format!("\n### {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"));
        for Key { name, takes, default, meaning } in shape.known {
            text.push_str(&format!("| `{name}` | {} | {default} | {meaning} |\n", words(takes)));
        }
        if !shape.later.is_empty() {
            let later: Vec<String> = shape.later.iter().map(|key| format!("`{key}`")).collect();
            text.push_str(&format!("\nNot supported yet: {}.\n", later.join(", ")));
        }
    }
    text
}

/// A type for people.
fn words(takes: &Type) -> String {
    match takes {
        Type::Number(number) => format!("the number {number}"),
        Type::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Type::Integer(range) => format!("whole number, {} to {}", range.start(), range.end()),
        Type::Flag => "`true` or `false`".into(),
        Type::Name => "[name](#names)".into(),
        Type::Interface => "[interface](#names)".into(),
        Type::Endpoint => "`\"node:interface\"`".into(),
        Type::Text => "text".into(),
        Type::Prefix => "prefix, as `10.1.0.0/24`".into(),
        Type::InterfaceAddress => "address with its length".into(),
        Type::Address => "address without a length".into(),
        Type::Capacity => "[bits per second](#quantities), at most 1000T".into(),
        Type::Latency => "[time](#quantities), at most 60s".into(),
        Type::Duration(0) => "[time](#quantities), at most 24h".into(),
        Type::Duration(least_ms) => format!("[time](#quantities), {}s to 24h", least_ms / 1_000),
        Type::Interval => "[time](#quantities), 10ms to 10s".into(),
        Type::Share(least) => format!("count from {least}, or {least}% to 100%"),
        Type::Percent(range) => format!("{}% to {}%", range.start(), range.end()),
        Type::Location => "`[LATITUDE, LONGITUDE]` in degrees, north and east positive".into(),
        Type::Selector => "[set of nodes](#sets-of-nodes)".into(),
        Type::List(item, least, most) if least == most => format!("list of {least}: {}", words(item)),
        Type::List(item, 1, 2) => format!("list of one or two: {}", words(item)),
        Type::List(item, 0, 2) => format!("list of at most two: {}", words(item)),
        Type::List(item, 1, _) => format!("list, not empty: {}", words(item)),
        Type::List(item, ..) => format!("list: {}", words(item)),
        Type::Map(of, item) => format!("mapping by {of}: {}", words(item)),
        Type::ByEnd(item) => format!("for each end's node: {}", words(item)),
        Type::Object(shape) | Type::OneKey(shape) => shape.what.to_owned(),
        Type::Either(one, other) => format!("{}; or {}", words(one), words(other)),
    }
}

#[cfg(test)]
mod tests;
