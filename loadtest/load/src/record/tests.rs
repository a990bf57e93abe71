use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn percentiles_are_those_of_the_recorded_latencies() {
    let recorder = Recorder::new(Duration::from_secs(10)).unwrap();
    for n in 1..=100 {
        recorder.add(Operation::Read, n * MS, MS, n * MS, Ok(()));
    }
    let all = recorder.results().all.latencies;
    for (percent, expected) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
        let latency = all.percentile(percent).unwrap().as_secs_f64() * 1000.0;
        assert!(
            (latency / expected - 1.0).abs() < 0.002,
            "{latency} of {expected}"
        );
    }
}

#[test]
fn failures_are_counted_by_reason_and_have_no_latency() {
    let recorder = Recorder::new(Duration::from_secs(1)).unwrap();
    recorder.add(Operation::Read, MS, MS, MS, Ok(()));
    recorder.add(Operation::Read, MS, MS, 900 * MS, Err(Failure::Status(503)));
    recorder.add(Operation::List, MS, MS, 900 * MS, Err(Failure::Timeout));
    recorder.add(Operation::List, MS, MS, 900 * MS, Err(Failure::Timeout));
    let results = recorder.results();
    assert_eq!(
        results.all.failures,
        BTreeMap::from([(Failure::Status(503), 1), (Failure::Timeout, 2)])
    );
    assert_eq!(results.all.latencies.count(), 1);
    assert!((results.failed_percent() - 75.0).abs() < 1e-9);
    assert_eq!(results.operations[Operation::List.index()].failed(), 2);
}

#[test]
fn a_long_run_has_a_limited_number_of_intervals_that_cover_it() {
    let day = Duration::from_hours(24);
    let recorder = Recorder::new(day).unwrap();
    let at = day.checked_sub(MS).unwrap();
    recorder.add(Operation::Read, at, MS, MS, Ok(()));
    let results = recorder.results();
    assert!(results.intervals.len() <= 241);
    assert_eq!(results.intervals.last().unwrap().latencies.count(), 1);
}

#[test]
fn a_latency_beyond_the_longest_one_is_counted_as_the_longest() {
    let recorder = Recorder::new(MS).unwrap();
    recorder.add(Operation::Read, Duration::ZERO, MS, Duration::MAX, Ok(()));
    let longest = recorder.results().all.latencies.percentile(100.0).unwrap();
    assert!(longest >= LONGEST, "{longest:?}");
}

#[test]
fn milliseconds_have_three_significant_digits() {
    for (micros, text) in [
        (4, "0.00"),
        (1234, "1.23"),
        (12_345, "12.3"),
        (99_960, "100"),
        (1_234_567, "1235"),
    ] {
        assert_eq!(milliseconds(Some(Duration::from_micros(micros))), text);
    }
}
