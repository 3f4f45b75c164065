//! How well the agent sees and commands its kernel, for `ballast-agent status`: features that are absent, and readings that fail.

use crate::core::event::{Event, Millis};
use crate::core::features::Feature;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What readings have said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Absent features; `None`: no reading yet.
    missing: Option<BTreeMap<Feature, String>>,
    /// Whether all of them were asked for.
    asked: bool,
    degraded: Option<Degraded>,
}

/// Readings fail, one after the other.
#[derive(Clone, Debug)]
struct Degraded {
    since: Millis,
    readings: u64,
    reason: String,
}

impl Health {
    /// Learns from readings; other events are passed over.
    pub(crate) fn note(&mut self, now: Millis, event: &Event) {
        match event {
            Event::KernelRead(Ok(actual)) => {
                self.missing = Some(actual.missing.clone());
                self.asked = actual.asked_for_features;
                self.degraded = None;
            }
            Event::KernelRead(Err(why)) => {
                let first = Degraded { since: now, readings: 0, reason: String::new() };
                let degraded = self.degraded.get_or_insert(first);
                degraded.readings += 1;
                degraded.reason.clone_from(why);
            }
            _ => {}
        }
    }

    /// Feature -> `true`, or why it is absent, or null: not asked for before the first write. Null before the first reading.
    pub(crate) fn features(&self) -> Value {
        let Some(missing) = &self.missing else { return Value::Null };
        let state = |feature: Feature| match missing.get(&feature) {
            None if !self.asked && feature != Feature::NexthopObjects => Value::Null,
            None => Value::Bool(true),
            Some(seen) => json!(format!("{} (this kernel says: {seen})", feature.remedy())),
        };
        let features = Feature::ALL.map(|feature| (feature.name().to_string(), state(feature)));
        Value::Object(Map::from_iter(features))
    }

    /// Null while readings succeed.
    pub(crate) fn degraded(&self, now: Millis) -> Value {
        self.degraded.as_ref().map_or(Value::Null, |degraded| {
            json!({
                "reason": degraded.reason,
                "since_ms": now.0.saturating_sub(degraded.since.0),
                "failed_readings": degraded.readings,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kernel::Actual;

    fn read(actual: Actual) -> Event {
        Event::KernelRead(Ok(Box::new(actual)))
    }

    #[test]
    fn failed_readings_are_said_with_their_reason_until_one_succeeds() {
        let mut health = Health::default();
        assert_eq!((health.features(), health.degraded(Millis(0))), (Value::Null, Value::Null));
        for at in [1_000, 3_000] {
            health.note(Millis(at), &Event::KernelRead(Err("the tables change too fast".to_string())));
        }
        health.note(Millis(3_500), &Event::Tick);
        let expected =
            json!({"reason": "the tables change too fast", "since_ms": 4_000, "failed_readings": 2});
        assert_eq!(health.degraded(Millis(5_000)), expected);
        health.note(Millis(6_000), &read(Actual::default()));
        assert_eq!(health.degraded(Millis(6_000)), Value::Null);
    }

    #[test]
    fn an_absent_feature_is_named_with_what_it_needs() {
        let mut health = Health::default();
        let missing = BTreeMap::from([(Feature::Vxlan, "Unknown device type (errno 95)".to_string())]);
        health.note(Millis(0), &read(Actual::default()));
        assert_eq!(health.features()["nexthop_objects"], true);
        assert_eq!(health.features()["vxlan"], Value::Null, "nothing was written yet");
        health.note(Millis(0), &read(Actual { missing, asked_for_features: true, ..Actual::default() }));
        let features = health.features();
        assert_eq!((features["seg6"].clone(), features.as_object().map(Map::len)), (json!(true), Some(8)));
        assert!(features["vxlan"].as_str().is_some_and(|why| why.contains("CONFIG_VXLAN")), "{features}");
    }
}
