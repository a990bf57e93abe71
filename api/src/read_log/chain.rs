//! The chain of the record: entries in canonical form, and links.
//!
//! Every field is hashed as its length (8 bytes, big-endian) and its bytes. Numbers are decimal text. NULL is
//! 8 bytes of `0xff`, a length that no field has.

use eventstore::database::{Script, Value};
use eventstore::{Hash, Timestamp};
use sha2::{Digest, Sha256};

use super::record::{ReadRecord, RecordedRead, Via};

/// Domain separator of the digest of a link's entries.
const ENTRIES: &str = "patients audit_reads entries 1";
/// Domain separator of the hash of a link.
const LINK: &str = "patients audit_reads link 1";

/// Columns of an entry, in canonical order.
pub(super) const COLUMNS: &str = "id, recorded_at, actor, via, request_id, kind, outcome, patient_id, \
                                  event_type, after_position, to_position";
/// Columns of a link.
pub(super) const LINK_COLUMNS: &str = "chain, number, recorded_at, entries, digest, previous_hash, hash";

/// An entry to write.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    at: Timestamp,
    patient: Option<String>,
    request_id: Option<String>,
    read: ReadRecord,
}

impl Entry {
    pub(super) fn new(id: String, at: Timestamp, read: ReadRecord) -> Self {
        let patient = read.patient.map(|id| id.to_string());
        let request_id = match &read.via {
            Via::Http { request_id } => Some(request_id.to_string()),
            Via::Command => None,
        };
        Self {
            id,
            at,
            patient,
            request_id,
            read,
        }
    }

    fn columns(&self) -> Columns<'_> {
        let via = match &self.read.via {
            Via::Http { .. } => "http",
            Via::Command => "command",
        };
        let number = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        Columns {
            id: &self.id,
            recorded_at: self.at,
            actor: &self.read.actor,
            via,
            request_id: self.request_id.as_deref(),
            kind: self.read.kind.name(),
            outcome: self.read.outcome.name(),
            patient_id: self.patient.as_deref(),
            event_type: self.read.event_type.as_deref(),
            after: number(self.read.after),
            to: number(self.read.to),
        }
    }

    /// Returns the values of [`COLUMNS`], and the link.
    pub(super) fn row<'e>(&'e self, link: &'e Link) -> [Value<'e>; 13] {
        let columns = self.columns();
        [
            columns.id.into(),
            columns.recorded_at.into(),
            columns.actor.into(),
            columns.via.into(),
            columns.request_id.into(),
            columns.kind.into(),
            columns.outcome.into(),
            columns.patient_id.into(),
            columns.event_type.into(),
            columns.after.into(),
            columns.to.into(),
            (&link.chain).into(),
            link.number.into(),
        ]
    }
}

struct Columns<'e> {
    id: &'e str,
    recorded_at: Timestamp,
    actor: &'e str,
    via: &'e str,
    request_id: Option<&'e str>,
    kind: &'e str,
    outcome: &'e str,
    patient_id: Option<&'e str>,
    event_type: Option<&'e str>,
    after: Option<i64>,
    to: Option<i64>,
}

/// A hash of fields.
struct Fields(Sha256);

impl Fields {
    fn of(domain: &str) -> Self {
        let mut fields = Self(Sha256::new());
        fields.bytes(domain.as_bytes());
        fields
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.bytes(text.as_bytes()),
            None => self.0.update([0xff; 8]),
        }
    }

    fn number(&mut self, number: Option<i64>) {
        let number = number.map(|number| number.to_string());
        self.text(number.as_deref());
    }

    fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// Digest of the entries of a link, which are added in order of id.
pub(super) struct EntriesDigest(Fields);

impl EntriesDigest {
    pub(super) fn new() -> Self {
        Self(Fields::of(ENTRIES))
    }

    fn add(&mut self, entry: &Columns<'_>) {
        let fields = &mut self.0;
        fields.text(Some(entry.id));
        fields.number(Some(entry.recorded_at.as_micros()));
        fields.text(Some(entry.actor));
        fields.text(Some(entry.via));
        fields.text(entry.request_id);
        fields.text(Some(entry.kind));
        fields.text(Some(entry.outcome));
        fields.text(entry.patient_id);
        fields.text(entry.event_type);
        fields.number(entry.after);
        fields.number(entry.to);
    }

    pub(super) fn add_recorded(&mut self, entry: &RecordedRead) {
        self.add(&Columns {
            id: &entry.id,
            recorded_at: entry.recorded_at,
            actor: &entry.actor,
            via: &entry.via,
            request_id: entry.request_id.as_deref(),
            kind: &entry.kind,
            outcome: &entry.outcome,
            patient_id: entry.patient_id.as_deref(),
            event_type: entry.event_type.as_deref(),
            after: entry.after,
            to: entry.to,
        });
    }

    pub(super) fn finish(self) -> Hash {
        self.0.finish()
    }
}

/// The last link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub(super) number: i64,
    pub(super) hash: Hash,
}

/// A link: the entries that were written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) chain: String,
    pub(super) number: i64,
    pub(super) recorded_at: Timestamp,
    pub(super) entries: i64,
    pub(super) digest: Hash,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
}

impl Link {
    /// Returns the link after `end`, with entries in order of id.
    pub(super) fn after(end: Option<ChainEnd>, chain: &str, at: Timestamp, entries: &[&Entry]) -> Self {
        let mut digest = EntriesDigest::new();
        for entry in entries {
            digest.add(&entry.columns());
        }
        let mut link = Self {
            chain: chain.to_owned(),
            number: end.map_or(0, |end| end.number).saturating_add(1),
            recorded_at: at,
            entries: i64::try_from(entries.len()).unwrap_or(i64::MAX),
            digest: digest.finish(),
            previous: end.map(|end| end.hash).unwrap_or_default(),
            hash: Hash::default(),
        };
        link.hash = link.computed_hash();
        link
    }

    /// Computes the hash from the other columns.
    pub(super) fn computed_hash(&self) -> Hash {
        let mut fields = Fields::of(LINK);
        fields.text(Some(&self.chain));
        fields.number(Some(self.number));
        fields.number(Some(self.recorded_at.as_micros()));
        fields.bytes(&self.previous.0);
        fields.number(Some(self.entries));
        fields.bytes(&self.digest.0);
        fields.finish()
    }

    pub(super) const fn end(&self) -> ChainEnd {
        ChainEnd {
            number: self.number,
            hash: self.hash,
        }
    }

    /// Adds the statement that inserts the link.
    pub(super) fn insert(&self, script: &mut Script) {
        script
            .statement("INSERT INTO audit_read_links (")
            .sql(LINK_COLUMNS)
            .sql(") VALUES ")
            .rows([[
                Value::from(&self.chain),
                self.number.into(),
                self.recorded_at.into(),
                self.entries.into(),
                (&self.digest.0).into(),
                (&self.previous.0).into(),
                (&self.hash.0).into(),
            ]]);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::record::{ReadKind, ReadOutcome};
    use super::*;

    fn entry() -> Entry {
        let read = ReadRecord {
            actor: "anna".to_owned(),
            via: Via::Http {
                request_id: Uuid::nil(),
            },
            kind: ReadKind::History,
            outcome: ReadOutcome::Given,
            patient: None,
            event_type: None,
            after: Some(0),
            to: Some(2),
        };
        Entry::new("0190".to_owned(), Timestamp::from_micros(7), read)
    }

    /// Computes a hash as docs/audit.md describes it.
    fn sha(fields: &[Option<&[u8]>]) -> Hash {
        let mut bytes = Vec::new();
        for field in fields {
            match field {
                Some(field) => {
                    bytes.extend((field.len() as u64).to_be_bytes());
                    bytes.extend(*field);
                }
                None => bytes.extend([0xff; 8]),
            }
        }
        Hash(Sha256::digest(bytes).into())
    }

    #[test]
    fn the_hashes_are_those_of_the_documentation() {
        let entry = entry();
        let first = Link::after(None, "c", Timestamp::from_micros(9), &[&entry]);
        let text = |text: &'static str| Some(text.as_bytes());
        let digest = sha(&[
            text("patients audit_reads entries 1"),
            text("0190"),
            text("7"),
            text("anna"),
            text("http"),
            text("00000000-0000-0000-0000-000000000000"),
            text("history"),
            text("given"),
            None,
            None,
            text("0"),
            text("2"),
        ]);
        assert_eq!(first.digest, digest);
        let hash = |number, previous: &[u8]| {
            sha(&[
                text("patients audit_reads link 1"),
                text("c"),
                text(number),
                text("9"),
                Some(previous),
                text("1"),
                Some(&digest.0),
            ])
        };
        assert_eq!(first.hash, hash("1", &[0; 32]));
        let second = Link::after(Some(first.end()), "c", Timestamp::from_micros(9), &[&entry]);
        assert_eq!((second.number, second.hash), (2, hash("2", &first.hash.0)));
    }
}
