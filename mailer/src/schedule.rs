//! When a mail is tried again.

use std::time::Duration;

/// The pauses after each failed attempt: about 17.6 hours in all. After the last of them, the mail is dead.
pub const PAUSES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
];

/// The shortest pause after an attempt whose outcome is unknown: the server may be busy with the mail still.
pub const PAUSE_AFTER_UNKNOWN: Duration = Duration::from_mins(5);

/// How far a pause is drawn out or cut short at most, as a part of it: what failed together is not tried
/// again together.
pub const JITTER: f64 = 0.2;

/// The pause after that many attempts have failed, the last one included; none if there is to be no other
/// attempt. `random`, from 0 to 1, places it within [`JITTER`]: 0.5 is the pause itself.
#[must_use]
pub fn pause_after(attempts: u32, random: f64) -> Option<Duration> {
    let failed_before = usize::try_from(attempts.max(1) - 1).ok()?;
    let pause = PAUSES.get(failed_before)?;
    Some(pause.mul_f64(1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_its_pause_and_the_eighth_has_none() {
        for (attempts, pause) in (1..).zip(PAUSES) {
            assert_eq!(pause_after(attempts, 0.5), Some(pause));
        }
        assert_eq!(pause_after(8, 0.5), None);
        assert_eq!(pause_after(u32::MAX, 0.5), None);
    }

    #[test]
    fn a_pause_varies_by_a_fifth_and_no_more() {
        for (attempts, pause) in (1..).zip(PAUSES) {
            assert_eq!(pause_after(attempts, 0.0), Some(pause.mul_f64(0.8)));
            assert_eq!(pause_after(attempts, 1.0), Some(pause.mul_f64(1.2)));
            let drawn = pause_after(attempts, fastrand::f64()).unwrap();
            assert!(pause.mul_f64(0.8) <= drawn && drawn <= pause.mul_f64(1.2));
        }
    }
}
