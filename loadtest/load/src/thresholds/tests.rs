use clap::Parser;

use super::*;
use crate::client::Failure;
use crate::mix::Operation;
use crate::record::Recorder;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    thresholds: Thresholds,
}

fn thresholds(arguments: &[&str]) -> Thresholds {
    Cli::try_parse_from([&["load"], arguments].concat())
        .unwrap()
        .thresholds
}

/// Ten requests of 10 ms, of which the first `failed` have failed.
fn results(failed: usize) -> Results {
    let recorder = Recorder::new(Duration::from_secs(1)).unwrap();
    for n in 0..10 {
        let result = if n < failed { Err(Failure::Timeout) } else { Ok(()) };
        let latency = Duration::from_millis(10);
        recorder.add(Operation::Read, Duration::ZERO, Duration::ZERO, latency, result);
    }
    recorder.results()
}

#[test]
fn a_latency_above_its_limit_is_missed() {
    assert_eq!(
        thresholds(&["--p99", "20ms", "--p50", "11ms"]).missed(&results(0)),
        [""; 0]
    );
    let missed = thresholds(&["--p99", "20ms", "--p50", "9ms"]).missed(&results(0));
    assert_eq!(missed, ["p50 is 10.0 ms, above 9.00 ms"]);
}

#[test]
fn any_failed_request_is_missed_unless_a_percentage_is_given() {
    assert_eq!(
        thresholds(&[]).missed(&results(1)),
        ["1 requests have failed (10.000%), above 0%"]
    );
    assert_eq!(thresholds(&["--failed", "10%"]).missed(&results(1)), [""; 0]);
}

#[test]
fn without_a_successful_request_every_latency_is_missed() {
    let missed = thresholds(&["--p95", "1h", "--failed", "100"]).missed(&results(10));
    assert_eq!(missed, ["p95 is - ms, above 3600000 ms"]);
}

#[test]
fn an_invalid_percentage_is_rejected() {
    for text in ["-1", "101", "NaN", "x", ""] {
        assert!(
            Cli::try_parse_from(["load", &format!("--failed={text}")]).is_err(),
            "{text}"
        );
    }
}
