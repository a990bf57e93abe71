//! Rates in settings.

use std::time::Duration;

/// Parses a rate, as a number and its period: `10/s`, `600/m`, `5000/h`, `2000/d`, or `10`, which is per
/// second.
pub(super) fn rate(text: &str) -> Option<(u32, Duration)> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number = number.trim().parse().ok().filter(|number| *number > 0)?;
    Some((number, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_period() {
        for (written, number, seconds) in [
            ("10", 10, 1),
            ("10/s", 10, 1),
            (" 600 / m ", 600, 60),
            ("7200/h", 7200, 3_600),
            ("86400/d", 86_400, 86_400),
        ] {
            assert_eq!(
                rate(written),
                Some((number, Duration::from_secs(seconds))),
                "{written}"
            );
        }
        for wrong in [
            "",
            "0",
            "0/s",
            "-1",
            "1.5",
            "10/w",
            "10/",
            "/s",
            "10/s/s",
            "4294967296",
            "off",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}
