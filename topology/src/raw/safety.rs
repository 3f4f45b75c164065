//! Budgets as written, with their defaults.

use super::Reader;
use super::values::Fields;
use crate::diagnostic::Code;
use crate::keys::{self, CANARY_HOSTS, CONFIRM_MS_MIN, DURATION_MS_MAX};
use crate::model::{Safety, Share};
use crate::units;
use crate::yaml::Value;

impl Reader<'_> {
    pub(super) fn safety(&mut self, value: Option<&Value<'_>>) -> Safety {
        let mut safety = Safety {
            max_hosts_per_step: Share::Percent(25),
            max_prefixes_lost: Share::Count(0),
            bake_ms: 10_000,
            link_up_hold_ms: 2_000,
            max_link_load_percent: None,
            canary_hosts: None,
            confirm_within_ms: 10_000,
        };
        let Some(fields) = value.and_then(|value| self.fields(value, &keys::SAFETY)) else { return safety };
        if let Some(share) =
            fields.get("max_hosts_per_step").and_then(|value| self.share(value, "`max_hosts_per_step`", 1))
        {
            safety.max_hosts_per_step = share;
        }
        if let Some(share) =
            fields.get("max_prefixes_lost").and_then(|value| self.share(value, "`max_prefixes_lost`", 0))
        {
            safety.max_prefixes_lost = share;
        }
        safety.bake_ms = self.duration(&fields, "bake", 0).unwrap_or(safety.bake_ms);
        safety.link_up_hold_ms = self.duration(&fields, "link_up_hold", 0).unwrap_or(safety.link_up_hold_ms);
        safety.max_link_load_percent = fields.get("max_link_load").and_then(|value| self.link_load(value));
        safety.canary_hosts = fields.get("canary").and_then(|value| {
            let help = "write a number of hosts, as in `1`";
            self.integer(value, "`canary`", CANARY_HOSTS, Code::OUT_OF_RANGE, help).map(|hosts| hosts as u32)
        });
        safety.confirm_within_ms =
            self.duration(&fields, "confirm_within", CONFIRM_MS_MIN).unwrap_or(safety.confirm_within_ms);
        safety
    }

    fn duration(&mut self, fields: &Fields<'_, '_>, key: &str, least_ms: u64) -> Option<u64> {
        let value = fields.get(key)?;
        let help = match least_ms {
            0 => "write a number and `ms`, `s`, `m` or `h`, at most 24h, as in `10s`".to_owned(),
            least_ms => {
                format!(
                    "write a number and `ms`, `s`, `m` or `h`, from {}s to 24h, as in `30s`",
                    least_ms / 1_000
                )
            }
        };
        self.quantity(value, &format!("`{key}`"), units::DURATION_MS, least_ms..=DURATION_MS_MAX, &help)
    }

    fn link_load(&mut self, value: &Value<'_>) -> Option<u32> {
        let (what, help) = ("`max_link_load`", "write a share of the capacity from 1% to 1000%, as in `80%`");
        let text = self.text(value, what, help)?;
        let Some(percent) = text.strip_suffix('%').and_then(units::whole_number) else {
            self.wrong_type(value, what, "a percentage", help);
            return None;
        };
        if !keys::LINK_LOAD_PERCENT.contains(&percent) {
            let message = format!("{what} is {}, out of its range", crate::diagnostic::quote(text));
            self.problems.error(Code::OUT_OF_RANGE, value.place, message, help);
            return None;
        }
        Some(percent as u32)
    }
}
