use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::merge;
use crate::note::SigningKey;
use crate::tile::{Level, Tile, encode_hashes};
use crate::tree::{Frontier, Plan};

const ORIGIN: &str = "example.org/log";
const TIME: u64 = 1_790_000_000;

/// A log, two checkpoints and a consistency proof from `TestDeadlock` of transparency-dev/witness.
const OTHER_KEY: &str = "monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT";
const OTHER_FIRST: &str = "old 0\n\n\
    monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n\
    — monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n";
const OTHER_SECOND: &str = "old 5\n\
    ueHWJhj3/ugDTkxQEPcnqyTY5HBcspbDdL8gJah6ENI=\n\
    qsZs16ec5AEtgHYv6O7Dp38i0cpBRcP0zuAi5+/NWZ0=\n\
    idD3U/ZqKQxIOznNXp6vsSAhKTOV+tPUoq0FPPvP3J4=\n\
    KeQLt5yWb0xv6Wr/bzCs/OXz6NhMAiFRddbgGKXe6DM=\n\n\
    monkeys\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n\
    — monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=\n";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

fn witness() -> Witness {
    let key = SigningKey::from_seed("witness.example", &[8; 32]).unwrap();
    let logs = BTreeMap::from([
        (ORIGIN.to_owned(), vec![log().verifier().clone()]),
        ("monkeys".to_owned(), vec![OTHER_KEY.parse().unwrap()]),
    ]);
    Witness::new(key.into(), logs)
}

fn leaf(index: u64) -> Hash {
    Hash::leaf(&index.to_be_bytes())
}

fn root(size: u64) -> Hash {
    let mut frontier = Frontier::default();
    frontier.extend((0..size).map(leaf));
    frontier.root()
}

fn latest(size: u64) -> Latest {
    Latest {
        size,
        root: root(size),
        time: TIME,
    }
}

/// A checkpoint with the signature of the log.
fn checkpoint(size: u64, root: Hash) -> SignedCheckpoint {
    SignedCheckpoint::sign(Checkpoint::new(ORIGIN, size, root).unwrap(), &log()).unwrap()
}

/// The honest request. Sizes are at most 256.
fn request(old: u64, new: u64) -> AddCheckpoint {
    let leaves: Vec<_> = (0..new).map(leaf).collect();
    let tile = Tile::at(Level::Hashes(0), 0, new);
    let mut tiles: BTreeMap<_, _> = tile
        .into_iter()
        .map(|tile| (tile, encode_hashes(&leaves)))
        .collect();
    let proof = Plan::consistency(old, new).unwrap().hashes(&mut tiles).unwrap();
    AddCheckpoint::new(old, proof, checkpoint(new, root(new)))
}

fn with_checkpoint(request: &AddCheckpoint, checkpoint: SignedCheckpoint) -> AddCheckpoint {
    AddCheckpoint::new(request.old_size(), request.proof().to_vec(), checkpoint)
}

/// A record in memory.
#[derive(Default)]
struct Memory {
    latest: BTreeMap<String, Latest>,
    /// Whether writes fail.
    broken: bool,
    /// What another process writes before the next write.
    raced: Option<Latest>,
    writes: Cell<u32>,
}

impl Store for Memory {
    type Error = &'static str;

    fn latest(&mut self, origin: &str) -> Result<Option<Latest>, Self::Error> {
        Ok(self.latest.get(origin).copied())
    }

    fn replace(&mut self, origin: &str, old: Option<Latest>, new: Latest) -> Result<bool, Self::Error> {
        if self.broken {
            return Err("the disk is full");
        }
        if let Some(other) = self.raced.take() {
            self.latest.insert(origin.to_owned(), other);
        }
        if self.latest.get(origin).copied() != old {
            return Ok(false);
        }
        self.latest.insert(origin.to_owned(), new);
        self.writes.set(self.writes.get() + 1);
        Ok(true)
    }
}

fn add(store: &mut Memory, request: &AddCheckpoint) -> Answer {
    witness()
        .add_checkpoint(store, request.to_string().as_bytes(), TIME)
        .unwrap()
}

#[test]
fn a_log_of_another_implementation_is_cosigned() {
    let mut store = Memory::default();
    for request in [OTHER_FIRST, OTHER_SECOND] {
        let request: AddCheckpoint = request.parse().unwrap();
        let answer = add(&mut store, &request);
        assert!(matches!(answer, Answer::Cosigned { .. }), "{answer:?}");
    }
    assert_eq!(store.latest["monkeys"].size, 8);
}

#[test]
fn a_growing_log_is_cosigned() {
    let (mut store, witness) = (Memory::default(), witness());
    let mut old = 0;
    for new in [0, 0, 1, 1, 2, 77, 78, 128, 200, 200, 256] {
        let request = request(old, new);
        let Answer::Cosigned {
            signature,
            checkpoint,
            timestamp,
        } = add(&mut store, &request)
        else {
            panic!("{old} to {new} was refused");
        };
        assert_eq!(store.latest[ORIGIN], latest(new));
        assert_eq!(checkpoint.note().signatures().len(), 2);
        assert!(checkpoint.verify([witness.verifier()]).is_ok());
        // What the log does with the response.
        let response = Answer::Cosigned {
            signature,
            checkpoint,
            timestamp,
        }
        .response();
        assert_eq!(
            (response.status(), response.content_type()),
            (200, "text/plain; charset=utf-8")
        );
        let parsed = Response::parse(200, None, response.body().as_bytes()).unwrap();
        assert_eq!(parsed, response);
        let Response::Cosigned(lines) = parsed else {
            panic!("not cosigned");
        };
        let mut own = request.checkpoint().clone();
        assert_eq!(
            merge(&mut own, &lines, [witness.verifier()]).unwrap()[0].timestamp,
            Some(TIME)
        );
        old = new;
    }
    assert_eq!(store.writes.get(), 11);
}

#[test]
fn a_clock_that_goes_back_makes_no_earlier_cosignature() {
    let mut store = Memory::default();
    let mut cosign = |old, new, now| {
        let body = request(old, new).to_string();
        match witness().add_checkpoint(&mut store, body.as_bytes(), now) {
            Ok(Answer::Cosigned {
                timestamp,
                checkpoint,
                ..
            }) => {
                let verified = checkpoint.verify([witness().verifier()]).unwrap()[0].timestamp;
                assert_eq!(verified, Some(timestamp));
                assert_eq!(store.latest[ORIGIN].time, timestamp);
                timestamp
            }
            other => panic!("{old} to {new} was refused: {other:?}"),
        }
    };
    assert_eq!(cosign(0, 3, TIME), TIME);
    // The clock was set back by an hour. A later statement about a larger tree has no earlier time.
    assert_eq!(cosign(3, 4, TIME - 3600), TIME);
    assert_eq!(cosign(4, 4, TIME - 3600), TIME);
    assert_eq!(cosign(4, 5, 0), TIME);
    // The same tree gets a new time only once a minute.
    assert_eq!(cosign(5, 5, TIME + REPEAT - 1), TIME);
    assert_eq!(cosign(5, 5, TIME + REPEAT), TIME + REPEAT);
    assert_eq!(cosign(5, 6, TIME + REPEAT + 1), TIME + REPEAT + 1);
}

#[test]
fn each_rule_of_the_specification_has_its_status() {
    let stored = |size| Memory {
        latest: BTreeMap::from([(ORIGIN.to_owned(), latest(size))]),
        ..Memory::default()
    };
    let with_proof =
        |old, proof: &[Hash], new, root| AddCheckpoint::new(old, proof.to_vec(), checkpoint(new, root));
    let honest = request(5, 8);
    let unsigned = |key: &SigningKey| {
        let head = Checkpoint::new(ORIGIN, 8, root(8)).unwrap();
        AddCheckpoint::new(
            5,
            honest.proof().to_vec(),
            SignedCheckpoint::sign(head, key).unwrap(),
        )
    };
    let mut invalid = checkpoint(8, root(8));
    invalid.add(log().sign("another text\n")).unwrap();
    let invalid = with_checkpoint(&honest, invalid);
    let elsewhere = Checkpoint::new("elsewhere", 8, root(8)).unwrap();
    let elsewhere = AddCheckpoint::new(
        5,
        honest.proof().to_vec(),
        SignedCheckpoint::sign(elsewhere, &log()).unwrap(),
    );
    let cases = [
        (5, elsewhere, 404),
        (
            5,
            unsigned(&SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap()),
            403,
        ),
        (5, invalid, 403),
        // The old size exceeds the new size.
        (5, with_proof(9, &[], 8, root(8)), 400),
        // The old size is not the recorded size.
        (6, honest.clone(), 409),
        (0, honest.clone(), 409),
        (5, request(0, 8), 409),
        (8, honest.clone(), 409),
        // The proof is too short, too long, or of another log.
        (5, with_proof(5, &honest.proof()[1..], 8, root(8)), 422),
        (
            5,
            with_proof(5, &[honest.proof(), &[root(1)]].concat(), 8, root(8)),
            422,
        ),
        (5, with_proof(5, honest.proof(), 8, root(9)), 422),
        (5, with_proof(5, &[], 8, root(8)), 422),
        // Another root of the same size.
        (5, with_proof(5, &[], 5, root(6)), 422),
        (5, with_proof(5, &[root(1)], 5, root(5)), 422),
        // A proof from nothing, and a root of the empty tree that is another.
        (0, with_proof(0, &[root(1)], 8, root(8)), 422),
        (0, with_proof(0, &[], 0, root(1)), 422),
        (0, with_proof(0, &[root(1)], 0, Hash::EMPTY_ROOT), 422),
        (5, honest.clone(), 200),
    ];
    for (size, request, status) in cases {
        let mut store = stored(size);
        let answer = add(&mut store, &request);
        assert_eq!(answer.response().status(), status, "{answer:?}");
        if status != 200 {
            assert_eq!(store.latest[ORIGIN], latest(size), "the record is unchanged");
        }
    }
    let body = b"old 5\nno checkpoint\n";
    let answer = witness().add_checkpoint(&mut stored(5), body, TIME).unwrap();
    assert_eq!(answer.response(), Response::BadRequest);
}

#[test]
fn a_conflict_reports_the_recorded_size() {
    let mut store = Memory::default();
    add(&mut store, &request(0, 6));
    let response = add(&mut store, &request(0, 8)).response();
    assert_eq!(response, Response::Conflict { size: 6 });
    assert_eq!(
        (response.content_type(), response.body().as_str()),
        ("text/x.tlog.size", "6\n")
    );
    assert_eq!(Response::parse(409, Some(SIZE_TYPE), b"6\n"), Ok(response));
    assert_eq!(add(&mut store, &request(6, 8)).response().status(), 200);
}

#[test]
fn a_fork_is_never_cosigned() {
    let mut store = Memory::default();
    add(&mut store, &request(0, 100));
    // The log rewrites entry 50, signs the result, and proves it as well as it can.
    let mut leaves: Vec<_> = (0..200).map(leaf).collect();
    leaves[50] = leaf(1_000);
    let mut frontier = Frontier::default();
    frontier.extend(leaves.iter().copied());
    let tile = Tile::at(Level::Hashes(0), 0, 200).unwrap();
    let mut tiles = BTreeMap::from([(tile, encode_hashes(&leaves))]);
    let proof = Plan::consistency(100, 200).unwrap().hashes(&mut tiles).unwrap();
    let fork = AddCheckpoint::new(100, proof, checkpoint(200, frontier.root()));
    assert_eq!(
        add(&mut store, &fork),
        Answer::Refused(Refusal::Inconsistent(ProofError::Root))
    );
    // A log that was restored from a backup cannot go back.
    assert_eq!(
        add(&mut store, &request(0, 99)),
        Answer::Refused(Refusal::Conflict { size: 100 })
    );
    assert_eq!(store.latest[ORIGIN], latest(100));
}

#[test]
fn no_cosignature_is_returned_without_the_record() {
    let mut store = Memory {
        broken: true,
        ..Memory::default()
    };
    let body = request(0, 8).to_string();
    let result = witness().add_checkpoint(&mut store, body.as_bytes(), TIME);
    assert_eq!(result, Err(WitnessError::Store("the disk is full")));
    // Another process records a larger tree between the reading and the writing of the record.
    let mut store = Memory {
        raced: Some(latest(9)),
        ..Memory::default()
    };
    assert_eq!(
        add(&mut store, &request(0, 8)),
        Answer::Refused(Refusal::Conflict { size: 9 })
    );
    assert_eq!(store.latest[ORIGIN], latest(9));
    // Nothing is recorded for a time that cannot be signed.
    let mut store = Memory::default();
    let result = witness().add_checkpoint(&mut store, body.as_bytes(), 0);
    assert!(matches!(result, Err(WitnessError::Timestamp(_))));
    assert_eq!(store.writes.get(), 0);
}

#[test]
fn the_published_checkpoint_has_no_signatures_of_others() {
    let mut store = Memory::default();
    let mut with_others = checkpoint(8, root(8));
    with_others.add("— stranger AAAAAAAA".parse().unwrap()).unwrap();
    let with_others = AddCheckpoint::new(0, Vec::new(), with_others);
    let Answer::Cosigned { checkpoint, .. } = add(&mut store, &with_others) else {
        panic!("not cosigned");
    };
    let names: Vec<_> = checkpoint
        .note()
        .signatures()
        .iter()
        .map(Signature::name)
        .collect();
    assert_eq!(names, [ORIGIN, "witness.example"]);
    assert_eq!(
        monitoring_path("go.sum database tree"),
        "46613be2987d5d316f5ad065e4aa2eee26ccdd3de17a3735cd0da18156a22bdd/checkpoint"
    );
}

proptest! {
    #[test]
    fn any_body_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in "(old [0-9]{0,20}\n)?([A-Za-z0-9+/]{43}=\n){0,3}\n?") {
        let mut store = Memory::default();
        let answer = witness().add_checkpoint(&mut store, &bytes, TIME).unwrap();
        prop_assert_eq!(answer.response(), Response::BadRequest);
        let _ = Response::parse(200, None, &bytes);
        let text = format!("{head}{}", checkpoint(8, root(8)));
        if let Ok(request) = text.parse::<AddCheckpoint>() {
            prop_assert_eq!(request.to_string(), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever requests arrive, the recorded trees are prefixes of one tree, and sizes never shrink.
    #[test]
    fn the_record_only_grows(steps in proptest::collection::vec((0..40_u64, 0..40_u64, any::<bool>()), 1..20)) {
        let mut store = Memory::default();
        let mut size = 0;
        for (old, more, forged) in steps {
            let mut request = request(old, old + more);
            if forged {
                request = with_checkpoint(&request, checkpoint(old + more, Hash::leaf(b"forged")));
            }
            // The first checkpoint is accepted without a proof, so it must not be forged.
            if !(old == 0 && forged) && matches!(add(&mut store, &request), Answer::Cosigned { .. }) {
                prop_assert!(old == size && !forged);
                size = old + more;
            }
            prop_assert_eq!(store.latest.get(ORIGIN).copied().unwrap_or_else(|| latest(0)), latest(size));
        }
    }
}
