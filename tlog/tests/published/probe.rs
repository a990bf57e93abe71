//! Finding out what a witness knows, with witnesses that decide as the protocol says.

use eventstore::Timestamp;
use testkit::http_client;
use tlog::{Probe, ProbeError, SendError};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::{SigningKey, VerifierKey};
use transparency::witness::{AddCheckpoint, Latest, Refusal, Response, decide};

use crate::backend::{Backend, ORIGIN, on_sqlite, root};
use crate::cosigner::{FakeWitness, cosigned, key};

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn signed(size: u64) -> SignedCheckpoint {
    SignedCheckpoint::sign(Checkpoint::new(ORIGIN, size, root(size)).unwrap(), &log()).unwrap()
}

/// Returns the result of a probe, and the sizes in its requests.
async fn probe(backend: &Backend, witness: &FakeWitness) -> (Result<Probe, ProbeError>, Vec<(u64, u64)>) {
    let client = tlog::client(http_client()).unwrap();
    let published = backend.published();
    let address = witness.address();
    let probed = Box::pin(address.probe(&client, published.checkpoints())).await;
    (probed, witness.requests())
}

/// A witness that has cosigned `latest`, and knows the log by these keys.
async fn witness(latest: Option<Latest>, keys: Vec<VerifierKey>) -> FakeWitness {
    FakeWitness::start(2, move |key, request, _| {
        let of_log = request.checkpoint().checkpoint().origin() == ORIGIN;
        Some(match decide(of_log.then_some(&keys), latest, request) {
            Ok(new) => {
                assert_eq!(Some(new), latest, "a probe never asks for a new checkpoint");
                cosigned(key, request)
            }
            Err(Refusal::Conflict { size }) => Response::Conflict { size },
            Err(Refusal::Forbidden(_)) => Response::Forbidden,
            Err(Refusal::Unknown) => Response::NotFound,
            Err(Refusal::Inconsistent(_)) => Response::Unprocessable,
            Err(refusal) => panic!("{refusal}"),
        })
    })
    .await
}

const fn tree(size: u64, root: Hash) -> Latest {
    Latest { size, root, time: 0 }
}

#[tokio::test]
async fn a_probe_finds_what_a_witness_has_cosigned_without_a_new_checkpoint() {
    on_sqlite(async |backend| {
        let known = || vec![log().verifier().clone()];
        let none = witness(None, known()).await;
        let (probed, requests) = probe(&backend, &none).await;
        assert_eq!((probed.unwrap(), requests), (Probe::NoCheckpoint, vec![]));

        let published = backend.published();
        let checkpoints = published.checkpoints();
        for size in [3, 5] {
            checkpoints.store(&signed(size), false, NOW).await.unwrap();
        }
        let newest = checkpoints.newest().await.unwrap().unwrap();
        for (latest, expected) in [
            (None, vec![(5, 5)]),
            (Some(tree(4, root(4))), vec![(5, 5)]),
            (Some(tree(3, root(3))), vec![(5, 5), (3, 3)]),
            (Some(tree(5, root(5))), vec![(5, 5)]),
        ] {
            let (probed, requests) = probe(&backend, &witness(latest, known()).await).await;
            let cosigned = |size| Probe::Cosigned {
                size,
                time: 1,
                newest: newest.clone(),
            };
            let state = match latest.map(|latest| latest.size) {
                None => Probe::Nothing,
                Some(4) => Probe::NotStored { size: 4 },
                Some(size) => cosigned(size),
            };
            assert_eq!((probed.unwrap(), requests), (state, expected));
        }
        let (ahead, _) = probe(&backend, &witness(Some(tree(6, root(6))), known()).await).await;
        assert!(
            matches!(ahead, Err(ProbeError::Ahead { known: 6, newest: 5 })),
            "{ahead:?}"
        );
        for size in [3, 5] {
            let other = tree(size, Hash::leaf(b"other"));
            let (fork, _) = probe(&backend, &witness(Some(other), known()).await).await;
            assert!(
                matches!(fork, Err(ProbeError::Inconsistent(found)) if found == size),
                "{fork:?}"
            );
        }
        let stranger = SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap();
        let (other, _) = probe(
            &backend,
            &witness(Some(tree(5, root(5))), vec![stranger.verifier().clone()]).await,
        )
        .await;
        assert!(matches!(other, Err(ProbeError::Key(5))), "{other:?}");
        assert_eq!(
            checkpoints.newest().await.unwrap(),
            Some(newest),
            "nothing is stored"
        );
    })
    .await;
}

#[tokio::test]
async fn a_probe_accepts_only_what_the_protocol_allows() {
    type Script = fn(&CosigningKey, &AddCheckpoint, usize) -> Option<Response>;
    on_sqlite(async |backend| {
        backend
            .published()
            .checkpoints()
            .store(&signed(5), false, NOW)
            .await
            .unwrap();
        let script: [(&str, Script); 6] = [
            ("the cosignature of another witness", |_, request, _| {
                Some(cosigned(&key(9), request))
            }),
            ("a cosignature of another checkpoint", |own, _, _| {
                Some(Response::Cosigned(vec![
                    own.sign(signed(3).checkpoint(), 1).unwrap(),
                ]))
            }),
            ("no cosignature", |_, _, _| Some(Response::Cosigned(vec![]))),
            ("an unknown log", |_, _, _| Some(Response::NotFound)),
            // Witnesses of version 1.0.0 of the protocol answer so to another root.
            ("the same size", |_, _, _| Some(Response::Conflict { size: 5 })),
            ("a rejection", |_, _, _| Some(Response::BadRequest)),
        ];
        for (what, script) in script {
            let (probed, _) = probe(&backend, &FakeWitness::start(2, script).await).await;
            let error = probed.unwrap_err();
            let is_expected = match what {
                "an unknown log" => matches!(&error, ProbeError::Unknown(origin) if origin == ORIGIN),
                "the same size" => matches!(error, ProbeError::Inconsistent(5)),
                "a rejection" => matches!(error, ProbeError::Status(400)),
                "no cosignature" => matches!(error, ProbeError::Send(SendError::Response(_))),
                _ => matches!(error, ProbeError::Cosignature(_)),
            };
            assert!(is_expected, "{what}: {error:?}");
        }
        let down = format!("{}=http://127.0.0.1:1", key(2).verifier());
        let down: tlog::WitnessAddress = down.parse().unwrap();
        let client = tlog::client(http_client()).unwrap();
        let probed = down.probe(&client, backend.published().checkpoints()).await;
        assert!(
            matches!(probed, Err(ProbeError::Send(SendError::Http(_)))),
            "{probed:?}"
        );
    })
    .await;
}
