//! Asking witnesses for cosignatures, with witnesses that answer as the tests tell them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::{http_client, wait_until};
use tlog::{Signer, WitnessAddress, Witnesses};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;
use transparency::witness::{AddCheckpoint, Response};

use crate::backend::{Backend, ORIGIN, on_sqlite, root};
use crate::signer::Files;

on_every_backend! {
    a_signer_applies_the_current_quorum_to_stored_checkpoints,
}

const SOON: Duration = Duration::from_secs(20);
/// Interval in which the signer of a test signs only once.
const LONG: Duration = Duration::from_hours(1);

/// Response to the request with this index. `None` keeps the connection open.
type Script = dyn Fn(&CosigningKey, &AddCheckpoint, usize) -> Option<Response> + Send + Sync;

#[derive(Clone)]
pub(crate) struct FakeWitness {
    pub(crate) key: CosigningKey,
    port: u16,
    /// The old and the new size of each request.
    requests: Arc<Mutex<Vec<(u64, u64)>>>,
    /// Time before each response.
    delay: Arc<Mutex<Duration>>,
    script: Arc<Script>,
}

impl FakeWitness {
    pub(crate) async fn start(
        seed: u8,
        script: impl Fn(&CosigningKey, &AddCheckpoint, usize) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let witness = Self {
            key: key(seed),
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            delay: Arc::default(),
            script: Arc::new(script),
        };
        let serving = witness.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        witness
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let Ok(request) = AddCheckpoint::parse(&body) else {
            return Self::respond(&mut stream, &Response::BadRequest).await;
        };
        let index = {
            let mut requests = self.requests.lock().unwrap();
            let sizes = (request.old_size(), request.checkpoint().checkpoint().size());
            requests.push(sizes);
            requests.len() - 1
        };
        let Some(response) = (self.script)(&self.key, &request, index) else {
            return std::future::pending().await;
        };
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        Self::respond(&mut stream, &response).await;
    }

    async fn respond(stream: &mut BufReader<TcpStream>, response: &Response) {
        let (status, media, body) = (response.status(), response.content_type(), response.body());
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
    }

    pub(crate) fn address(&self) -> WitnessAddress {
        let (key, port) = (self.key.verifier(), self.port);
        format!("{key}=http://127.0.0.1:{port}").parse().unwrap()
    }

    /// Delays all responses.
    fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    pub(crate) fn requests(&self) -> Vec<(u64, u64)> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn key(seed: u8) -> CosigningKey {
    let name = format!("fake-{seed}.example.org");
    SigningKey::from_seed(&name, &[seed; 32]).unwrap().into()
}

/// The response of a witness that cosigns.
pub(crate) fn cosigned(key: &CosigningKey, request: &AddCheckpoint) -> Response {
    let checkpoint = request.checkpoint().checkpoint();
    Response::Cosigned(vec![key.sign(checkpoint, 1).unwrap()])
}

fn with_witnesses(signer: Signer, files: &Files, witnesses: &[&FakeWitness], quorum: usize) -> Signer {
    let addresses = witnesses.iter().map(|witness| witness.address()).collect();
    let client = tlog::client(http_client()).unwrap();
    let log = files.key();
    signer.with_witnesses(Witnesses::new(log.verifier(), addresses, quorum, client).unwrap())
}

/// Runs a signer until the newest checkpoint with a quorum has this size, and `also` is true.
async fn until_quorum(
    backend: &Backend,
    files: &Files,
    witnesses: &[&FakeWitness],
    size: u64,
    mut also: impl AsyncFnMut() -> bool,
) -> SignedCheckpoint {
    let signer = with_witnesses(files.signer(backend), files, witnesses, 1);
    let stop = CancellationToken::new();
    let running = tokio::spawn(signer.run("test".to_owned(), LONG, stop.clone()));
    let published = backend.published();
    let newest = async || {
        let newest = published.checkpoints().newest_with_quorum().await.unwrap();
        newest.map(|newest| newest.parse().unwrap())
    };
    wait_until(SOON, "the checkpoint has its quorum", async || {
        let newest: Option<SignedCheckpoint> = newest().await;
        also().await && newest.is_some_and(|newest| newest.checkpoint().size() == size)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    newest().await.unwrap()
}

#[tokio::test]
async fn a_size_that_a_witness_only_states_is_not_believed() {
    on_sqlite(async |mut backend| {
        backend.grow(3).await;
        let witness = FakeWitness::start(2, |key, request, index| {
            Some(match index {
                0 => Response::Conflict { size: 1000 },
                _ => cosigned(key, request),
            })
        })
        .await;
        until_quorum(&backend, &Files::new(), &[&witness], 3, async || true).await;
        assert_eq!(witness.requests(), [(0, 3), (0, 3)]);
    })
    .await;
}

#[tokio::test]
async fn a_witness_that_cosigns_meanwhile_is_asked_again_at_once() {
    on_sqlite(async |mut backend| {
        backend.grow(3).await;
        let witness = FakeWitness::start(2, |key, request, index| {
            Some(match index {
                0 => Response::Conflict { size: 1 },
                1 => Response::Conflict { size: 2 },
                _ => cosigned(key, request),
            })
        })
        .await;
        until_quorum(&backend, &Files::new(), &[&witness], 3, async || true).await;
        assert_eq!(witness.requests(), [(0, 3), (1, 3), (2, 3)]);
    })
    .await;
}

#[tokio::test]
async fn only_the_own_valid_cosignature_of_a_witness_is_stored() {
    on_sqlite(async |mut backend| {
        backend.grow(3).await;
        let witness = FakeWitness::start(2, |own, request, index| {
            let other = Checkpoint::new(ORIGIN, 3, root(2)).unwrap();
            let of_own = |checkpoint| own.sign(checkpoint, 1).unwrap();
            let foreign = key(9).sign(request.checkpoint().checkpoint(), 1).unwrap();
            Some(match index {
                0 => cosigned(&key(9), request),
                1 => Response::Cosigned(vec![of_own(&other)]),
                _ => Response::Cosigned(vec![foreign, of_own(request.checkpoint().checkpoint())]),
            })
        })
        .await;
        let files = Files::new();
        let stored = until_quorum(&backend, &files, &[&witness], 3, async || true).await;
        assert_eq!(witness.requests().len(), 3);
        let known = [files.key().verifier().clone(), witness.key.verifier().clone()];
        assert_eq!(stored.verify(&known).unwrap().len(), 2);
        assert_eq!(stored.note().signatures().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_witness_that_has_cosigned_a_larger_checkpoint_is_asked_for_the_newest() {
    on_sqlite(async |mut backend| {
        backend.grow(5).await;
        backend.extend().await.unwrap();
        backend.set_size(3).await;
        let witness = FakeWitness::start(2, |key, request, _| {
            Some(match request.old_size() {
                0 => Response::Conflict { size: 4 },
                _ => cosigned(key, request),
            })
        })
        .await;
        let files = Files::new();
        let (key, published) = (files.key(), backend.published());
        let mut is_stored = false;
        // After the first request, another process signs a larger checkpoint.
        let also = async || {
            if !is_stored && !witness.requests().is_empty() {
                let larger = Checkpoint::new(ORIGIN, 5, root(5)).unwrap();
                let larger = SignedCheckpoint::sign(larger, &key).unwrap();
                let now = eventstore::Timestamp::from_micros(1);
                let stored = published.checkpoints().store(&larger, false, now);
                stored.await.unwrap();
                is_stored = true;
            }
            is_stored
        };
        until_quorum(&backend, &files, &[&witness], 5, also).await;
        // The larger checkpoint can be stored before or after the first response.
        let requests = witness.requests();
        let (last, before) = requests.split_last().unwrap();
        assert_eq!(*last, (4, 5));
        assert!(before.iter().all(|request| *request == (0, 3)), "{before:?}");
    })
    .await;
}

#[tokio::test]
async fn a_slow_witness_delays_no_other_and_no_witness_is_asked_without_a_pause() {
    on_sqlite(async |mut backend| {
        backend.grow(3).await;
        let slow = FakeWitness::start(2, |_, _, _| None).await;
        let failing = FakeWitness::start(3, |_, _, _| Some(Response::BadRequest)).await;
        let witness = FakeWitness::start(4, |key, request, index| {
            Some(match index {
                0 => Response::BadRequest,
                _ => cosigned(key, request),
            })
        })
        .await;
        // The pauses of the failing witness are 1 s, 2 s and 4 s.
        let also = async || failing.requests().len() == 3;
        until_quorum(&backend, &Files::new(), &[&slow, &failing, &witness], 3, also).await;
        assert_eq!(slow.requests(), [(0, 3)]);
        assert_eq!(witness.requests(), [(0, 3), (0, 3)]);
    })
    .await;
}

#[tokio::test]
async fn witnesses_of_different_speed_cosign_the_same_checkpoints_of_a_growing_log() {
    on_sqlite(async |mut backend| {
        backend.grow(1).await;
        let files = Files::new();
        let cosigning = |seed| FakeWitness::start(seed, |key, request, _| Some(cosigned(key, request)));
        let fast = cosigning(2).await;
        let slow = cosigning(3).await;
        slow.delay(Duration::from_millis(400));
        // A witness beyond the quorum, which never answers.
        let silent = FakeWitness::start(4, |_, _, _| None).await;
        let signer = with_witnesses(files.signer(&backend), &files, &[&fast, &slow, &silent], 2);
        let stop = CancellationToken::new();
        let running = tokio::spawn(signer.run("test".to_owned(), Duration::from_millis(20), stop.clone()));
        let published = backend.published();
        let mut reached = std::collections::BTreeSet::new();
        wait_until(SOON, "several checkpoints have their quorum", async || {
            // The log grows between any two requests.
            let size = backend.size() + 1;
            backend.grow(size).await;
            let newest = published.checkpoints().newest_with_quorum().await.unwrap();
            reached.extend(newest.map(|newest| newest.size));
            reached.len() == 4
        })
        .await;
        stop.cancel();
        running.await.unwrap();
        let sizes = |witness: &FakeWitness| {
            let sizes = witness.requests().into_iter().map(|(_, size)| size);
            sizes.take(4).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&fast), sizes(&slow));
        let asked = |size| slow.requests().iter().any(|(_, asked)| *asked == size);
        assert!(reached.into_iter().all(asked));
    })
    .await;
}

#[tokio::test]
async fn a_witness_that_rejects_its_own_size_has_cosigned_another_root() {
    on_sqlite(async |mut backend| {
        backend.grow(3).await;
        let files = Files::new();
        // Witnesses of version 1.0.0 of the protocol answer in this way.
        let witness = FakeWitness::start(2, |_, request, _| {
            Some(Response::Conflict {
                size: request.old_size().max(3),
            })
        })
        .await;
        let signer = with_witnesses(files.signer(&backend), &files, &[&witness], 1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(signer.run("test".to_owned(), LONG, stop.clone()));
        let series = format!(
            "patients_witness_requests_total{{witness=\"{}\",outcome=\"inconsistent\"}} 1",
            witness.key.verifier().name()
        );
        wait_until(SOON, "the refusal is counted", async || {
            let mut registry = prometheus_client::registry::Registry::with_prefix("patients");
            tlog::metrics::register(&mut registry);
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page.contains(&series)
        })
        .await;
        assert_eq!(witness.requests()[..2], [(0, 3), (3, 3)]);
        stop.cancel();
        running.await.unwrap();
    })
    .await;
}

async fn a_signer_applies_the_current_quorum_to_stored_checkpoints(mut backend: Backend) {
    let files = Files::new();
    let witness = FakeWitness::start(2, |_, _, _| None).await;
    let published = backend.published();
    let checkpoints = published.checkpoints();
    for size in [1, 2, 3] {
        backend.grow(size).await;
        files.sign(&backend).await.unwrap();
        if size == 1 {
            let newest = checkpoints.newest().await.unwrap().unwrap().parse().unwrap();
            let cosignature = witness.key.sign(newest.checkpoint(), 1).unwrap();
            let mut cosigned = newest.clone();
            cosigned.add(cosignature).unwrap();
            checkpoints
                .store(&cosigned, true, eventstore::Timestamp::from_micros(1))
                .await
                .unwrap();
        }
    }
    // Witnesses are added, removed and added again.
    for (quorum, expected) in [(Some(1), 1), (None, 3), (Some(1), 1), (Some(0), 3)] {
        let signer = files.signer(&backend);
        let signer = match quorum {
            Some(quorum) => with_witnesses(signer, &files, &[&witness], quorum),
            None => signer,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(signer.run("test".to_owned(), LONG, stop.clone()));
        wait_until(SOON, "the current quorum applies", async || {
            let newest = checkpoints.newest_with_quorum().await.unwrap();
            newest.map(|newest| newest.size) == Some(expected)
        })
        .await;
        stop.cancel();
        running.await.unwrap();
    }
}
