//! The tamperings with a log, one row each.

/// The tampered part of the log, which determines the checks that can detect it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    /// A column of an event; the hashes are unchanged.
    Event,
    /// A column of an event; its hash and all later hashes are recomputed, so only strict parsing detects it.
    Relinked,
    /// The set of events.
    Rows,
    /// `log_head`: the events alone are consistent.
    Head,
    /// The end of the log, with `log_head` moved back: only a trusted head detects it.
    Cut,
}
use Of::{Cut, Event, Head, Relinked, Rows};

/// The tamperings, as SQL statements separated by `;`. `{0}` is replaced by 32 zero bytes, and `«` and `»`
/// enclose a text.
pub(super) const TAMPERINGS: &[(&str, Of, &str)] = &[
    (
        "payload altered",
        Event,
        r#"UPDATE events SET payload = «{"n":8,"name":"Zoë"}» WHERE position = 2"#,
    ),
    (
        "payload not JSON",
        Event,
        "UPDATE events SET payload = «nothing» WHERE position = 2",
    ),
    (
        "payload empty",
        Event,
        "UPDATE events SET payload = «» WHERE position = 2",
    ),
    (
        "payload cut off",
        Event,
        r#"UPDATE events SET payload = «{"n":7,"na» WHERE position = 2"#,
    ),
    (
        "half a surrogate pair",
        Event,
        r#"UPDATE events SET payload = «{"n":7,"name":"\ud83d"}» WHERE position = 2"#,
    ),
    (
        "number too large",
        Event,
        r#"UPDATE events SET payload = «{"n":1e400}» WHERE position = 2"#,
    ),
    (
        "metadata altered",
        Event,
        r#"UPDATE events SET metadata = «{"actor":"other"}» WHERE position = 2"#,
    ),
    (
        "aggregate type",
        Event,
        "UPDATE events SET aggregate_type = 'other' WHERE position = 2",
    ),
    (
        "aggregate type's case",
        Event,
        "UPDATE events SET aggregate_type = 'Patient' WHERE position = 2",
    ),
    (
        "id",
        Event,
        "UPDATE events SET aggregate_id = 'other' WHERE position = 2",
    ),
    (
        "id's case",
        Event,
        "UPDATE events SET aggregate_id = UPPER(aggregate_id) WHERE position = 2",
    ),
    (
        "id with a space",
        Event,
        "UPDATE events SET aggregate_id = CONCAT(aggregate_id, ' ') WHERE position = 2",
    ),
    (
        "sequence",
        Event,
        "UPDATE events SET sequence = 2 WHERE position = 2",
    ),
    (
        "type",
        Event,
        "UPDATE events SET event_type = 'PatientDeleted' WHERE position = 2",
    ),
    (
        "type with a space",
        Event,
        "UPDATE events SET event_type = 'PatientRegistered ' WHERE position = 2",
    ),
    (
        "version",
        Event,
        "UPDATE events SET event_version = '1.1' WHERE position = 2",
    ),
    (
        "time",
        Event,
        "UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 2",
    ),
    ("hash", Event, "UPDATE events SET hash = {0} WHERE position = 2"),
    (
        "hash of the last",
        Rows,
        "UPDATE events SET hash = {0} WHERE position = 6",
    ),
    (
        "member twice",
        Relinked,
        r#"UPDATE events SET payload = «{"n":7,"n":7,"name":"Zoë"}» WHERE position = 2"#,
    ),
    (
        "member twice, escaped",
        Relinked,
        r#"UPDATE events SET payload = «{"n":7,"\u006e":7}» WHERE position = 2"#,
    ),
    (
        "member twice, inside",
        Relinked,
        r#"UPDATE events SET payload = «{"n":[{"a":1,"a":2}]}» WHERE position = 2"#,
    ),
    (
        "member twice in metadata",
        Relinked,
        r#"UPDATE events SET metadata = «{"actor":"x","actor":"test"}» WHERE position = 2"#,
    ),
    (
        "2^53",
        Relinked,
        r#"UPDATE events SET payload = «{"n":9007199254740992}» WHERE position = 2"#,
    ),
    (
        "-2^53",
        Relinked,
        r#"UPDATE events SET payload = «{"n":-9007199254740992}» WHERE position = 2"#,
    ),
    (
        "2^64",
        Relinked,
        r#"UPDATE events SET payload = «{"n":18446744073709551616}» WHERE position = 2"#,
    ),
    (
        "30 digits",
        Relinked,
        r#"UPDATE events SET payload = «{"n":123456789012345678901234567890}» WHERE position = 2"#,
    ),
    (
        "precision",
        Relinked,
        r#"UPDATE events SET payload = «{"n":0.10000000000000001}» WHERE position = 2"#,
    ),
    (
        "precision of an integer",
        Relinked,
        r#"UPDATE events SET payload = «{"n":9007199254740993.0}» WHERE position = 2"#,
    ),
    (
        "nested 32 deep",
        Relinked,
        "UPDATE events SET payload = «[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]» WHERE position = 2",
    ),
    (
        "year 10000",
        Relinked,
        "UPDATE events SET recorded_at = 253402300800000000 WHERE position >= 2",
    ),
    (
        "year 0",
        Relinked,
        "UPDATE events SET recorded_at = -62135596800000001 WHERE position <= 2",
    ),
    (
        "last time of all",
        Relinked,
        "UPDATE events SET recorded_at = 9223372036854775807 WHERE position >= 2",
    ),
    (
        "first time of all",
        Relinked,
        "UPDATE events SET recorded_at = -9223372036854775808 WHERE position <= 2",
    ),
    ("removed first", Rows, "DELETE FROM events WHERE position = 1"),
    ("removed", Rows, "DELETE FROM events WHERE position = 2"),
    ("removed last", Rows, "DELETE FROM events WHERE position = 6"),
    (
        "cut off",
        Cut,
        "DELETE FROM events WHERE position = 6; UPDATE log_head SET position = 5, \
        hash = (SELECT hash FROM events WHERE position = 5), recorded_at = (SELECT recorded_at FROM events WHERE position = 5)",
    ),
    ("removed all", Rows, "DELETE FROM events"),
    (
        "swapped",
        Rows,
        "UPDATE events SET position = 99 WHERE position = 2; UPDATE events SET position = 2 WHERE position = 3; \
        UPDATE events SET position = 3 WHERE position = 99",
    ),
    (
        "moved before the first",
        Rows,
        "UPDATE events SET position = -2 WHERE position = 2",
    ),
    (
        "added before the first",
        Rows,
        "INSERT INTO events SELECT 0, aggregate_type, 'new', sequence, event_type, event_version, \
        payload, metadata, recorded_at, hash FROM original_events WHERE position = 2",
    ),
    (
        "added behind the head",
        Rows,
        "INSERT INTO events SELECT 7, aggregate_type, 'new', sequence, event_type, event_version, \
        payload, metadata, recorded_at, hash FROM original_events WHERE position = 2",
    ),
    (
        "added far behind the head",
        Rows,
        "INSERT INTO events SELECT 9223372036854775807, aggregate_type, 'new', sequence, \
        event_type, event_version, payload, metadata, recorded_at, hash FROM original_events WHERE position = 2",
    ),
    (
        "head's time",
        Head,
        "UPDATE log_head SET recorded_at = recorded_at + 1",
    ),
    (
        "head's time, far ahead",
        Head,
        "UPDATE log_head SET recorded_at = 4102444800000000",
    ),
    (
        "head's time, in the year 10000",
        Head,
        "UPDATE log_head SET recorded_at = 253402300800000000",
    ),
    ("head's hash", Head, "UPDATE log_head SET hash = {0}"),
    ("head moved on", Head, "UPDATE log_head SET position = 7"),
    (
        "head moved far on",
        Head,
        "UPDATE log_head SET position = 9223372036854775807",
    ),
    (
        "head moved back, with its hash",
        Head,
        "UPDATE log_head SET position = 5",
    ),
    (
        "head moved back",
        Head,
        "UPDATE log_head SET position = 5, hash = (SELECT hash FROM events WHERE position = 5), \
        recorded_at = (SELECT recorded_at FROM events WHERE position = 5)",
    ),
    (
        "head moved back to the beginning",
        Head,
        "UPDATE log_head SET position = 0, hash = {0}, recorded_at = 0",
    ),
    (
        "head before the beginning",
        Head,
        "UPDATE log_head SET position = -1",
    ),
    ("head removed", Head, "DELETE FROM log_head"),
];

/// Tamperings that MySQL or MariaDB normalizes before storing the text, so that nothing is left to detect.
pub(super) const MENDED_BY_MYSQL: &[&str] = &[
    "member twice",
    "member twice, escaped",
    "member twice, inside",
    "member twice in metadata",
    "2^64",
    "30 digits",
    "precision",
    "precision of an integer",
];
