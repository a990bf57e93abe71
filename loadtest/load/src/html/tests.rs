use super::*;
use crate::client::Failure;
use crate::record::Recorder;

fn page_of(results: &Results, missed: &[String]) -> String {
    page(&Subject {
        target: "http://127.0.0.1:8000/?a=<b>&\"c\"",
        rate: 100,
        mix: &"register=2,read=1".parse().unwrap(),
        results,
        missed,
    })
}

#[test]
fn the_page_shows_percentiles_over_time_and_each_reason_for_a_failure() {
    let recorder = Recorder::new(Duration::from_secs(10)).unwrap();
    for second in 0..10 {
        let at = Duration::from_millis(1000 * second + 500);
        let latency = Duration::from_millis(5 + 10 * second);
        recorder.add(Operation::Read, at, Duration::ZERO, latency, Ok(()));
    }
    let failed = Err(Failure::Status(503));
    recorder.add(
        Operation::Register,
        Duration::ZERO,
        Duration::ZERO,
        Duration::ZERO,
        failed,
    );
    let page = page_of(&recorder.results(), &["p99 is <95> ms".to_owned()]);
    let line = page.split("class=\"c\" points=\"").nth(1).unwrap();
    let points = line.split('"').next().unwrap().split_whitespace();
    assert_eq!(points.count(), 10, "one p99 for each second");
    for part in [
        "1 × status 503",
        "p99 is &lt;95&gt; ms",
        "<td>95.0</td>",
        "?a=&lt;b&gt;&amp;&quot;c&quot;",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    for outside in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_run_without_a_successful_request_has_a_page_with_finite_numbers() {
    let recorder = Recorder::new(Duration::from_millis(1)).unwrap();
    let page = page_of(&recorder.results(), &[]);
    for nonsense in ["NaN", "inf"] {
        assert!(!page.contains(nonsense), "{nonsense}");
    }
}
