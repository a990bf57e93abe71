//! Exports: of a damaged log, resumed after a kill, and at the same time.

use super::*;

#[tokio::test]
async fn an_export_of_a_log_that_does_not_fit_fails_and_names_where() {
    for (altered, expected) in [
        (
            "UPDATE events SET event_version = '1.1' WHERE position = 17",
            "position 17",
        ),
        (
            "UPDATE events SET hash = zeroblob(32) WHERE position = 17",
            "position 17",
        ),
        ("DELETE FROM events WHERE position = 17", "position 17"),
        ("DELETE FROM events WHERE position = 30", "position 30"),
        ("UPDATE log_head SET hash = zeroblob(32)", "position 30"),
    ] {
        let log = Log::embedded(30).await;
        log.execute(altered).await;
        let target = log.path("out");
        for arguments in [&["export"][..], &["export", "--after", "10", "--output", &target]] {
            let (code, _, stderr) = log.audit(arguments);
            assert!(code == 1 && stderr.contains(expected), "{altered}: {stderr}");
        }
        assert!(!Path::new(&target).exists(), "{altered}");
    }
}

/// Returns the lines of an export.
fn lines(path: &str) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[tokio::test]
async fn an_export_that_was_killed_goes_on_and_its_file_is_there_only_when_it_is_whole() {
    const EVENTS: usize = 20_000;
    let log = Log::embedded(EVENTS).await;
    for (format, heading) in [("ndjson", 0), ("csv", 1)] {
        let (target, part, again) = (log.path("out"), log.path("out.part"), log.path("again"));
        let arguments = ["export", "--format", format, "--output", &target];
        let program = Program::start(&log.command(&arguments));
        wait_until(SOON, "some of it is written", async || {
            std::fs::metadata(&part).is_ok_and(|file| file.len() > 100_000)
        })
        .await;
        program.kill9().await;
        assert!(!Path::new(&target).exists(), "it ended before it was killed");
        // A crash may leave an incomplete line.
        let written = std::fs::read(&part).unwrap();
        std::fs::write(&part, &written[..written.len() - 7]).unwrap();
        let (code, _, stderr) = log.audit(&arguments);
        assert_eq!(code, 0, "{stderr}");
        assert!(
            stderr.contains("resuming an interrupted export after position"),
            "{stderr}"
        );
        assert!(!Path::new(&part).exists());
        assert_eq!(
            log.audit(&["export", "--format", format, "--output", &again]).0,
            0
        );
        assert_eq!(std::fs::read(&target).unwrap(), std::fs::read(&again).unwrap());
        assert_eq!(lines(&target), EVENTS + heading);
        let (_, stdout, _) = log.audit(&["export", "--format", format]);
        assert_eq!(stdout, std::fs::read_to_string(&target).unwrap());
        assert_eq!(
            std::fs::metadata(&target).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::remove_file(&target).unwrap();
    }
}

#[tokio::test]
async fn a_part_that_is_not_of_this_export_is_begun_anew() {
    let (log, other) = (Log::embedded(20).await, Log::embedded(20).await);
    let (target, part) = (log.path("out"), log.path("out.part"));
    let (_, of_another_log, _) = other.audit(&["export"]);
    let (_, later, _) = log.audit(&["export", "--after", "5"]);
    let (_, whole, _) = log.audit(&["export"]);
    let altered = whole.replacen("\"actor\":\"test\"", "\"actor\":\"toast\"", 1);
    for left in [
        of_another_log,
        later.clone(),
        altered,
        "nothing".to_owned(),
        String::new(),
    ] {
        std::fs::write(&part, left).unwrap();
        assert_eq!(log.audit(&["export", "--output", &target]).0, 0);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), whole);
    }
    std::fs::write(&part, later.lines().next().unwrap().to_owned() + "\n").unwrap();
    let (code, _, stderr) = log.audit(&["export", "--after", "5", "--output", &target]);
    assert!(
        code == 0 && stderr.contains("resuming an interrupted export after position 6"),
        "{stderr}"
    );
    assert_eq!(std::fs::read_to_string(&target).unwrap(), later);
}

#[tokio::test]
async fn two_exports_into_one_file_are_not_made_at_once() {
    let log = Log::embedded(1).await;
    let part = std::fs::File::create(log.path("out.part")).unwrap();
    part.lock().unwrap();
    let (code, _, stderr) = log.audit(&["export", "--output", &log.path("out")]);
    assert!(code == 1 && stderr.contains("another process"), "{stderr}");
}
