//! The committed schema and reference are those of this code, and the schema takes what the reader takes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::diagnostic::Problems;
use crate::yaml::{self, Kind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What stands around the reference in docs/topology.md.
const REFERENCE_MARKS: [&str; 2] =
    ["<!-- keys: written by the test of topology/src/schema.rs -->\n", "<!-- keys: end -->"];

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

/// Compares a committed file with what it should be; writes it when asked to.
fn check_fresh(file: &str, wanted: &str) {
    if std::env::var("BALLAST_WRITE_SCHEMA").is_ok() {
        std::fs::write(docs(file), wanted).unwrap();
    }
    let committed = std::fs::read_to_string(docs(file)).unwrap();
    assert!(
        committed == wanted,
        "docs/{file} is stale: BALLAST_WRITE_SCHEMA=1 cargo test -p topology schema"
    );
}

#[test]
fn the_committed_schema_is_fresh() {
    check_fresh("topology.schema.json", &schema());
}

#[test]
fn the_committed_reference_is_fresh() {
    let page = std::fs::read_to_string(docs("topology.md")).unwrap();
    let (before, rest) = page.split_once(REFERENCE_MARKS[0]).unwrap();
    let (_, after) = rest.split_once(REFERENCE_MARKS[1]).unwrap();
    let wanted = [before, REFERENCE_MARKS[0], &reference(), "\n", REFERENCE_MARKS[1], after].concat();
    check_fresh("topology.md", &wanted);
}

#[test]
fn every_mapping_of_the_reader_is_in_the_schema_with_its_keys_and_no_others() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for shape in SHAPES {
        let object = if shape.id == "file" { &schema } else { &schema["$defs"][shape.id] };
        let found: BTreeSet<&str> =
            object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, shape.names().collect(), "{}", shape.id);
        assert_eq!(object["additionalProperties"], json!(false), "{}", shape.id);
    }
    assert_eq!(schema["$defs"].as_object().unwrap().len(), SHAPES.len() - 1);
    let mut references = Vec::new();
    collect_references(&schema, &mut references);
    for reference in &references {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let used: BTreeSet<&String> = references.iter().collect();
    assert_eq!(used.len(), SHAPES.len() - 1, "a definition that nothing refers to");
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(pairs) => {
            found.extend(pairs.get("$ref").and_then(Value::as_str).map(str::to_owned));
            pairs.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// A value as tools hand it to a validator (YAML 1.2, core schema).
fn as_json(value: &yaml::Value<'_>) -> Value {
    match &value.kind {
        _ if value.is_null() => Value::Null,
        Kind::Plain(text) if *text == "true" || *text == "false" => json!(*text == "true"),
        Kind::Plain(text) => match text.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number)),
        },
        Kind::Quoted(text) => json!(text),
        Kind::List(items) => items.iter().map(as_json).collect(),
        Kind::Mapping(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| match &key.kind {
                Kind::Plain(text) | Kind::Quoted(text) => (text.to_string(), as_json(value)),
                _ => panic!("a key that is no text"),
            });
            Value::Object(pairs.collect())
        }
    }
}

/// The part of a validator that the schema needs, without patterns.
fn valid(value: &Value, schema: &Value, root: &Value) -> bool {
    let Some(rules) = schema.as_object() else { return schema.as_bool().unwrap() };
    rules.iter().all(|(rule, wanted)| match rule.as_str() {
        "$ref" => valid(value, root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap(), root),
        "type" => {
            let own = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_i64() => "integer",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let fits = |wanted: &Value| *wanted == own || (*wanted == "number" && own == "integer");
            wanted.as_array().map_or_else(|| fits(wanted), |types| types.iter().any(fits))
        }
        "const" => value == wanted,
        "enum" => wanted.as_array().unwrap().contains(value),
        "anyOf" => wanted.as_array().unwrap().iter().any(|schema| valid(value, schema, root)),
        "properties" => wanted
            .as_object()
            .unwrap()
            .iter()
            .all(|(key, schema)| value.get(key).is_none_or(|value| valid(value, schema, root))),
        "additionalProperties" => value.as_object().is_none_or(|pairs| {
            let known = |key: &String| rules.get("properties").is_some_and(|known| known.get(key).is_some());
            pairs.iter().all(|(key, value)| known(key) || valid(value, wanted, root))
        }),
        "required" => wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "items" if rules.contains_key("prefixItems") => true,
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| valid(item, wanted, root))),
        "prefixItems" => value.as_array().is_none_or(|items| {
            items.iter().zip(wanted.as_array().unwrap()).all(|(item, schema)| valid(item, schema, root))
        }),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
        "minProperties" => {
            value.as_object().is_none_or(|pairs| pairs.len() as u64 >= wanted.as_u64().unwrap())
        }
        "maxProperties" => {
            value.as_object().is_none_or(|pairs| pairs.len() as u64 <= wanted.as_u64().unwrap())
        }
        "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= wanted.as_u64().unwrap()),
        "pattern" | "propertyNames" | "description" | "title" | "$schema" | "$defs" => true,
        other => panic!("the rule {other}"),
    })
}

/// The file's documents as one value; nothing when it cannot be parsed.
fn parsed(path: &Path) -> Option<Value> {
    let text = String::from_utf8(std::fs::read(path).unwrap()).ok()?;
    let mut problems = Problems::new(vec![(String::new(), 0)]);
    let documents = yaml::parse(&text, 0, &mut yaml::Budget::default(), &mut problems)?;
    let merged = crate::documents::merge(documents, &mut problems);
    (!problems.has_errors()).then(|| as_json(&merged))
}

#[test]
fn the_schema_takes_good_files_and_refuses_wrong_keys_types_and_ranges() {
    let root: Value = serde_json::from_str(&schema()).unwrap();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("files");
    for entry in std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "yaml") {
            assert!(valid(&parsed(&entry).unwrap(), &root, &root), "{}", entry.display());
        }
    }
    for name in [
        "unknown-key",
        "unknown-key.rest",
        "missing-key",
        "missing-key.rest",
        "wrong-type",
        "not-supported-yet",
        "out-of-range.rest",
    ] {
        let path = files.join("bad").join(format!("{name}.yaml"));
        assert!(!valid(&parsed(&path).unwrap(), &root, &root), "{name}");
    }
}
