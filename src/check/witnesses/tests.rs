use tlog::StoredCheckpoint;
use transparency::Hash;
use transparency::cosignature::{CosigningKey, MergeError};
use transparency::note::{SigningKey, VerifyError};

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const SECONDS: u64 = 1_790_000_000;

fn address(name: &str, seed: u8) -> WitnessAddress {
    let key = CosigningKey::from(SigningKey::from_seed(name, &[seed; 32]).unwrap());
    format!("{}=https://w.example.org", key.verifier())
        .parse()
        .unwrap()
}

/// A witness that has cosigned `size` of 600 events, where the newest checkpoint is `age` seconds old.
fn cosigned(size: u64, time: u64, age: i64) -> Probe {
    let newest = StoredCheckpoint {
        size: 600,
        root: Hash::EMPTY_ROOT,
        note: String::new(),
        signed_at: Timestamp::from_micros(NOW.as_micros() - age * 1_000_000),
    };
    Probe::Cosigned { size, time, newest }
}

#[test]
fn each_state_of_a_witness_has_its_level_and_each_problem_its_advice() {
    let failure = |error| Some(Err(error));
    for (probed, expected, message) in [
        (
            Some(Ok(cosigned(600, SECONDS, 9))),
            Level::Ok,
            "the newest checkpoint, of 600 events",
        ),
        (Some(Ok(cosigned(600, SECONDS + 300, 9))), Level::Ok, "cosigns"),
        (Some(Ok(cosigned(600, SECONDS - 300, 9))), Level::Ok, "cosigns"),
        (
            Some(Ok(cosigned(600, SECONDS + 301, 9))),
            Level::Error,
            "301 s ahead",
        ),
        (
            Some(Ok(cosigned(600, SECONDS - 301, 9))),
            Level::Warning,
            "301 s behind",
        ),
        (Some(Ok(cosigned(600, u64::MAX, 9))), Level::Error, "ahead"),
        (Some(Ok(cosigned(590, SECONDS, 119))), Level::Ok, "590 events"),
        (
            Some(Ok(cosigned(590, SECONDS, 120))),
            Level::Warning,
            "590 events, and the newest checkpoint has 600",
        ),
        (Some(Ok(Probe::Nothing)), Level::Warning, "no checkpoint"),
        (Some(Ok(Probe::NoCheckpoint)), Level::Warning, "answers"),
        (Some(Ok(Probe::NotStored { size: 7 })), Level::Warning, "7 events"),
        (None, Level::Warning, "not answered"),
        (
            failure(ProbeError::Unknown("a.example/log".to_owned())),
            Level::Error,
            "a.example/log",
        ),
        (failure(ProbeError::Key(600)), Level::Error, "key"),
        (failure(ProbeError::Status(400)), Level::Error, "400"),
        (
            failure(ProbeError::Cosignature(MergeError::Verify(VerifyError::Unsigned))),
            Level::Error,
            "no valid",
        ),
        (
            failure(ProbeError::Inconsistent(600)),
            Level::Error,
            "another checkpoint",
        ),
        (
            failure(ProbeError::Ahead {
                known: 700,
                newest: 600,
            }),
            Level::Error,
            "700",
        ),
        (
            failure(ProbeError::Unsettled),
            Level::Warning,
            "after each request",
        ),
    ] {
        let finding = judge("witness w", &probed, NOW);
        assert_eq!(finding.level, expected, "{finding:?}");
        assert!(finding.message.contains(message), "{finding:?}");
        assert_eq!(finding.advice.is_some(), expected != Level::Ok, "{finding:?}");
    }
}

#[test]
fn the_quorum_counts_witnesses_that_cosign_and_each_name_once() {
    let [first, again, second] = [("w1", 1), ("w1", 2), ("w2", 3)].map(|(name, seed)| address(name, seed));
    let level = |of_second: Probed, required| {
        let probed = [
            (&first, Some(Ok(cosigned(600, SECONDS, 9)))),
            (&again, Some(Ok(cosigned(590, SECONDS, 9)))),
            (&second, of_second),
        ];
        quorum("WITNESS_QUORUM", required, &probed).map(|finding| (finding.level, finding.message))
    };
    let message = |count| format!("{count} of 2 witnesses cosign; the quorum is 2");
    assert_eq!(level(None, 2), Some((Level::Error, message(1))));
    assert_eq!(
        level(Some(Ok(cosigned(600, SECONDS, 9))), 2),
        Some((Level::Ok, message(2)))
    );
    assert_eq!(level(None, 1).unwrap().0, Level::Ok);
    assert_eq!(level(Some(Ok(Probe::NoCheckpoint)), 2), None);
}
