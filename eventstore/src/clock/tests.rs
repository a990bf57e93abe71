use super::*;

const MOMENT: i64 = 1_795_503_064_000_000;

fn read(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_micros)
}

#[test]
fn a_moment_is_read_however_people_and_query_strings_write_it() {
    for text in [
        "2026-11-24T06:51:04Z",
        "2026-11-24t06:51:04z",
        "2026-11-24 06:51:04Z",
        "2026-11-24+06:51:04Z",
        "2026-11-24T06:51:04.000000999Z",
        "2026-11-24T07:51:04+01:00",
        "2026-11-24T07:51:04 01:00",
        "2026-11-24 07:51:04 01:00",
        "2026-11-24T01:51:04-05:00",
        "2026-11-24T01:51:04\u{2212}05:00",
        "2026-11-24 01:51:04\u{2212}05:00",
    ] {
        assert_eq!(read(text), Some(MOMENT), "{text}");
    }
    for text in [
        "",
        "yesterday",
        "2026-11-24",
        "2026-11-24T06:51:04",
        "2026-11-24_06:51:04Z",
        "2026-11-24  06:51:04Z",
        "2026-11-24T06:51:04 +01:00",
        "2026-11-24T06:51:04Z ",
        " 2026-11-24T06:51:04Z",
        "2026\u{2212}11\u{2212}24T06:51:04Z",
        "2026-11-2\u{e9}T06:51:04Z",
        "2026-02-29T00:00:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T06:51:04+24:00",
        "+2026-11-24T06:51:04Z",
        "1795503064",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_leap_second_is_the_second_after_it_and_there_is_none_elsewhere() {
    let midnight = read("2017-01-01T00:00:00Z");
    assert!(midnight.is_some());
    for text in [
        "2016-12-31T23:59:60Z",
        "2016-12-31 23:59:60z",
        "2016-12-31T15:59:60-08:00",
        "2017-01-01T00:59:60 01:00",
    ] {
        assert_eq!(read(text), midnight, "{text}");
    }
    assert_eq!(
        read("2016-12-31T23:59:60.25Z"),
        midnight.map(|midnight| midnight + 250_000)
    );
    for text in [
        "2016-12-31T23:58:60Z",
        "2016-12-31T23:59:60+01:00",
        "2016-12-31T23:59:61Z",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn moments_are_of_the_years_1_to_9999_in_utc() {
    for (text, moment) in [
        ("0001-01-01T00:00:00.000000Z", Timestamp::EARLIEST),
        ("9999-12-31T23:59:59.999999Z", Timestamp::LATEST),
    ] {
        assert_eq!(text.parse(), Ok(moment));
        assert_eq!(moment.to_string(), text);
        assert_eq!(
            serde_json::from_str::<Timestamp>(&format!("{text:?}")).unwrap(),
            moment
        );
    }
    for text in [
        "0000-12-31T23:59:59.999999Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "10000-01-01T00:00:00Z",
        "+10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}
