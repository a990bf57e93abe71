//! The retry schedule.

use std::time::Duration;

/// Pauses after failed attempts, about 17.6 hours in total. An email that fails again after the last pause is
/// dead.
pub const PAUSES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
];

/// Minimum pause after an attempt with an unknown outcome, because the server may still be processing the
/// email.
pub const PAUSE_AFTER_UNKNOWN: Duration = Duration::from_mins(5);

/// Maximum jitter of a pause, as a fraction of the pause, so that emails that failed together are not
/// retried together.
pub const JITTER: f64 = 0.2;

/// Returns the pause after `attempts` failed attempts, or `None` if no attempt follows. `random`, from 0 to
/// 1, varies the pause within [`JITTER`]; 0.5 leaves it unchanged.
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
    fn a_pause_varies_by_at_most_a_fifth() {
        for (attempts, pause) in (1..).zip(PAUSES) {
            assert_eq!(pause_after(attempts, 0.0), Some(pause.mul_f64(0.8)));
            assert_eq!(pause_after(attempts, 1.0), Some(pause.mul_f64(1.2)));
            let drawn = pause_after(attempts, fastrand::f64()).unwrap();
            assert!(pause.mul_f64(0.8) <= drawn && drawn <= pause.mul_f64(1.2));
        }
    }
}
