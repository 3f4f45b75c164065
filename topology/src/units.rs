//! Quantities as people write them: `10G`, `4.5ms`, `25%`, to whole numbers in one unit.
//!
//! Exact: decimal digits are never rounded.

/// Spellings of bits per second, each with its factor.
pub(crate) const CAPACITY: &[(&str, u64)] = &[
    ("bps", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("kbps", 1_000),
    ("Mbps", 1_000_000),
    ("Gbps", 1_000_000_000),
    ("Tbps", 1_000_000_000_000),
];

/// Spellings of a latency, in microseconds.
pub(crate) const LATENCY_US: &[(&str, u64)] = &[("us", 1), ("ms", 1_000), ("s", 1_000_000)];

/// Spellings of a duration, in milliseconds.
pub(crate) const DURATION_MS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Digits that are read before and after the point together: more than any quantity here needs.
const DIGITS_MAX: usize = 18;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuantityError {
    NotANumber,
    NoUnit,
    UnknownUnit,
    /// Finer than the base unit.
    TooFine,
    TooLarge,
}

/// `text` in the base unit of `units`. `0` needs no unit.
pub(crate) fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(QuantityError::NotANumber);
    }
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err(QuantityError::TooLarge);
    }
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| QuantityError::NotANumber)?;
    let unit = unit.trim_start_matches(' ');
    let factor = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() && digits == 0 => 1,
        None if unit.is_empty() => return Err(QuantityError::NoUnit),
        None => return Err(QuantityError::UnknownUnit),
    };
    let scale = 10u128.pow(fraction.len() as u32);
    let scaled = digits * u128::from(factor);
    if !scaled.is_multiple_of(scale) {
        return Err(QuantityError::TooFine);
    }
    u64::try_from(scaled / scale).map_err(|_| QuantityError::TooLarge)
}

/// A whole number without sign, point or leading zeros. Numbers beyond u64 saturate: every range is smaller.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (plain && !leading_zero).then(|| text.parse().unwrap_or(u64::MAX))
}

/// Millionths of a degree, rounded to the nearest (a tenth of a metre), half away from zero.
pub(crate) fn microdegrees(text: &str) -> Option<i64> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    // Both parts have at most 18 digits, so nothing here overflows.
    let scale = 10i128.pow(fraction.len() as u32);
    let exact = whole.parse::<i128>().ok()? * scale + fraction.parse::<i128>().ok()?;
    let rounded = (exact * 2_000_000 + scale) / (2 * scale);
    i64::try_from(sign * rounded).ok()
}

/// Bits per second in the largest unit that writes them exactly: `2500M` is `2.5G`.
pub(crate) fn capacity_text(bps: u64) -> String {
    spelled(bps, &[("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)])
        .unwrap_or_else(|| format!("{bps}bps"))
}

/// Microseconds as `4.5ms` or `900us`.
pub(crate) fn latency_text(us: u64) -> String {
    spelled(us, &[("ms", 1_000)]).unwrap_or_else(|| format!("{us}us"))
}

/// `number` in the first unit that is not larger than it, with at most three decimals.
fn spelled(number: u64, units: &[(&str, u64)]) -> Option<String> {
    let (unit, factor) = units
        .iter()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of((*factor / 1_000).max(1)))?;
    let (whole, rest) = (number / factor, number % factor);
    if rest == 0 {
        return Some(format!("{whole}{unit}"));
    }
    let thousandths = rest / (factor / 1_000).max(1);
    let fraction = format!("{thousandths:03}");
    Some(format!("{whole}.{}{unit}", fraction.trim_end_matches('0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_in_their_base_unit() {
        for (text, units, wanted) in [
            ("10G", CAPACITY, Ok(10_000_000_000)),
            ("2.5Gbps", CAPACITY, Ok(2_500_000_000)),
            ("10", CAPACITY, Err(QuantityError::NoUnit)),
            ("10g", CAPACITY, Err(QuantityError::UnknownUnit)),
            ("0.5bps", CAPACITY, Err(QuantityError::TooFine)),
            ("99999999999T", CAPACITY, Err(QuantityError::TooLarge)),
            ("1111111111111111111T", CAPACITY, Err(QuantityError::TooLarge)),
            ("4.5ms", LATENCY_US, Ok(4_500)),
            ("0.0005ms", LATENCY_US, Err(QuantityError::TooFine)),
            ("1.ms", LATENCY_US, Err(QuantityError::NotANumber)),
            ("-1ms", LATENCY_US, Err(QuantityError::NotANumber)),
            ("1.2.3ms", LATENCY_US, Err(QuantityError::NotANumber)),
            ("10s", DURATION_MS, Ok(10_000)),
            ("0", DURATION_MS, Ok(0)),
            ("1.5h", DURATION_MS, Ok(5_400_000)),
            ("", DURATION_MS, Err(QuantityError::NotANumber)),
        ] {
            assert_eq!(quantity(text, units), wanted, "{text}");
        }
    }

    #[test]
    fn degrees_are_rounded_to_millionths() {
        for (text, wanted) in [
            ("47.6062", Some(47_606_200)),
            ("-122.3321", Some(-122_332_100)),
            ("0", Some(0)),
            ("0.0000005", Some(1)),
            ("-0.0000004", Some(0)),
            ("1.123456789012345", Some(1_123_457)),
            ("1e3", None),
            ("+1", None),
            (".5", None),
            ("1.", None),
            ("--1", None),
            ("", None),
            ("1111111111.1111111111", None),
        ] {
            assert_eq!(microdegrees(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same_quantity() {
        for (bps, text) in [
            (10_000_000_000, "10G"),
            (2_500_000_000, "2.5G"),
            (1_234_567_890, "1234567.89k"),
            (64_000, "64k"),
            (999, "999bps"),
            (1_001, "1.001k"),
            (45_000_001, "45000.001k"),
        ] {
            assert_eq!(capacity_text(bps), text);
            assert_eq!(quantity(text, CAPACITY), Ok(bps));
        }
        for (us, text) in [(4_500, "4.5ms"), (900, "900us"), (0, "0us"), (12_000, "12ms")] {
            assert_eq!(latency_text(us), text);
            assert_eq!(quantity(text, LATENCY_US), Ok(us));
        }
    }

    #[test]
    fn whole_numbers_have_one_spelling() {
        let cases =
            [("0", Some(0)), ("861", Some(861)), ("010", None), ("+1", None), ("1e3", None), ("", None)];
        for (text, wanted) in cases.into_iter().chain([("99999999999999999999999", Some(u64::MAX))]) {
            assert_eq!(whole_number(text), wanted, "{text}");
        }
    }
}
