//! Tests of the embedded database, or only of the mail outbox, on a disk that is full from time to time. The
//! disk is a small in-memory file system in a separate mount namespace, so it disappears with the test.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Mail, Program, free_port, wait_until};

use crate::evidence::{Arrived, Evidence, Keyring, Sql};
use crate::oracle::judge;
use crate::record::Observation;
use crate::run::{Load, micros, now, progress};
use crate::world::{is_ready, patients};

const SOON: Duration = Duration::from_secs(30);
const SIZE: &str = "24m";
const SEED: u64 = 1;
const CLIENTS: usize = 6;
/// Duration of each period in which the disk is full, and of the load after the restart between them. Longer
/// than the 5 s for which an append is retried.
const FULL: Duration = Duration::from_secs(7);
/// Time to wait for email. If a process was killed while it wrote an email, the email is retried after its
/// lease of 31 s.
const MAIL_PATIENCE: Duration = Duration::from_mins(1);

const SKIPPED: &str = "skipped: mounting a small file system needs root, and unshare and nsenter";

/// A file system of a few MiB.
struct Disk {
    /// The mount point that the processes in the namespace see.
    folder: TempDir,
    holder: Program,
}

/// A folder for the database.
struct Folder {
    /// The path for the program.
    inside: PathBuf,
    /// The path for this process.
    here: PathBuf,
}

impl Disk {
    /// Creates the file system. Returns `None` without the permission to create it.
    async fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let script = format!(
            "exec unshare --mount sh -c 'mount -t tmpfs -o size={SIZE} none {} && echo mounted && exec sleep 3600'",
            folder.path().display()
        );
        let holder = Program::start(Command::new("/bin/sh").args(["-c", &script]));
        wait_until(SOON, "it is mounted or not", async || {
            holder.stdout().contains("mounted") || !holder.is_running()
        })
        .await;
        holder.is_running().then_some(Self { folder, holder })
    }

    /// The path by which this process sees the files.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.pid());
        Path::new(&root)
            .join(self.folder.path().strip_prefix("/").unwrap())
            .join(name)
    }

    fn folder(&self) -> Folder {
        Folder {
            inside: self.folder.path().to_owned(),
            here: self.path(""),
        }
    }

    /// Fills the disk to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.path("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }

    /// Runs `patients serve` with the outbox on the disk, and the database in `database`.
    fn serve(&self, port: u16, database: &Folder) -> Program {
        let folder = self.folder.path().display();
        let script = format!(
            "exec nsenter --mount=/proc/{}/ns/mnt \"$0\" serve",
            self.holder.pid()
        );
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script])
            .arg(patients())
            .env(
                "DATABASE_URL",
                format!("sqlite://{}/patients.db", database.inside.display()),
            )
            .env("KEYRING_FILE", testkit::keyring_file())
            .env("MAIL_OUTBOX", format!("{folder}/outbox"))
            .env("MAIL_SEND_TIMEOUT", "1s")
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
        Program::start(&command)
    }

    /// Whether the email about the event at that position exists.
    fn has_mail(&self, position: u64) -> bool {
        self.path(&format!("outbox/{position}-patient_registered.eml"))
            .exists()
    }

    fn mails(&self) -> Vec<Arrived> {
        let files = std::fs::read_dir(self.path("outbox"))
            .unwrap()
            .map(|file| file.unwrap().path());
        let mails = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        mails
            .map(|path| {
                let written = path.metadata().unwrap().modified().unwrap();
                let raw = std::fs::read_to_string(path).unwrap();
                let mail = Mail {
                    raw,
                    arrived: Duration::ZERO,
                };
                // An incomplete email must leave no file.
                let to = mail.header("To").unwrap_or_default();
                let address = to.rsplit_once('<').map_or(to.as_str(), |(_, address)| address);
                Arrived {
                    recipient: address.trim_end_matches('>').to_owned(),
                    message_id: mail.header("Message-ID").unwrap_or_default(),
                    at: micros(written.duration_since(SystemTime::UNIX_EPOCH).unwrap()),
                }
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_made_up_when_the_disk_is_full() {
    let Some(disk) = Disk::new().await else {
        println!("{SKIPPED}");
        return;
    };
    let evidence = suffer(&disk, &disk.folder()).await;
    let refused = |seen: &&Observation| seen.answer.is_problem("unavailable") || seen.answer.is_open();
    let refusals = evidence.observations.iter().filter(refused).count();
    assert!(refusals > 0, "the disk was not full");
    approve(&evidence);
}

/// Reads a copy of the database in `folder`, because SQLite cannot access the disk directly. No process may
/// have the database open.
async fn evidence(folder: &Folder) -> Evidence {
    let copy = TempDir::new().unwrap();
    for name in ["patients.db", "patients.db-wal"] {
        let file = folder.here.join(name);
        if file.exists() {
            std::fs::copy(file, copy.path().join(name)).unwrap();
        }
    }
    let url = format!("sqlite://{}", copy.path().join("patients.db").display());
    let keyring = Keyring::read(&testkit::keyring_file());
    Sql::sqlite(&url).await.ask(now(), keyring).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_for_which_there_is_no_room_is_written_later() {
    let Some(disk) = Disk::new().await else {
        println!("{SKIPPED}");
        return;
    };
    let elsewhere = TempDir::new().unwrap();
    let folder = Folder {
        inside: elsewhere.path().to_owned(),
        here: elsewhere.path().to_owned(),
    };
    let evidence = suffer(&disk, &folder).await;
    assert!(
        evidence
            .observations
            .iter()
            .all(|seen| !seen.answer.is_problem("unavailable")),
        "the database had room"
    );
    approve(&evidence);
}

/// Runs the load, which registers, amends, deletes, erases, reads and lists patients, while the disk is full
/// from time to time, until everything works again. Returns the evidence.
async fn suffer(disk: &Disk, database: &Folder) -> Evidence {
    let port = free_port();
    let api = format!("http://127.0.0.1:{port}");
    let mut program = disk.serve(port, database);
    wait_until(SOON, "it is ready", async || is_ready(&api).await).await;
    let began_at = now();
    let load = Load::on([api.clone(), api.clone()], SEED, CLIENTS);
    let mut healed = Instant::now();
    // In the first round, the process is killed while the disk is full. Before the second round, it is shut
    // down, so that no write-ahead log remains.
    for kill in [true, false] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        disk.fill();
        tokio::time::sleep(FULL).await;
        if kill {
            program.kill9().await;
        }
        disk.free();
        healed = Instant::now();
        if kill {
            program.restart().await;
            tokio::time::sleep(FULL).await;
            program.terminate();
            assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
            program.restart().await;
            wait_until(SOON, "it is ready", async || is_ready(&api).await).await;
        }
    }
    wait_until(SOON, "it is ready", async || is_ready(&api).await).await;
    let (mut observations, mut probe) = load.stop().await;
    let mut recovered_after = None;
    while recovered_after.is_none() && healed.elapsed() < SOON {
        if let Some(position) = probe.probe(0).await {
            wait_until(SOON, "its mail is written", async || disk.has_mail(position)).await;
            recovered_after = Some(healed.elapsed().as_secs_f64());
        }
    }
    observations.extend(probe.into_observations());
    wait_until(MAIL_PATIENCE, "every mail is dealt with", async || {
        no_mail_waits(&api).await
    })
    .await;
    // The search by name follows later than the mail, because its projection gathers events for longer.
    wait_until(SOON, "every subscription is at the head", async || {
        is_caught_up(&api).await
    })
    .await;
    let progress = progress(&api, &observations).await;
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
    let mut evidence = evidence(database).await;
    evidence.observations = observations;
    (evidence.began_at, evidence.progress) = (began_at, progress);
    evidence.recovered_after = recovered_after;
    evidence.mails = disk.mails();
    without_usage(&mut evidence);
    println!(
        "{} requests, {} events, {} mails",
        evidence.observations.len(),
        evidence.log.len(),
        evidence.mails.len()
    );
    evidence
}

/// Fails if the oracle finds a violation.
fn approve(evidence: &Evidence) {
    let anomalies = judge(evidence);
    for anomaly in anomalies.iter().take(10) {
        println!("ANOMALY {}: {}", anomaly.claim, anomaly.what);
    }
    assert!(anomalies.is_empty(), "{} anomalies, see above", anomalies.len());
}

async fn get(api: &str, path: &str) -> Value {
    let http = testkit::http_client().build().unwrap();
    let Ok(answer) = http.get(format!("{api}{path}")).send().await else {
        return Value::Null;
    };
    answer.json().await.unwrap_or_default()
}

async fn is_caught_up(api: &str) -> bool {
    let overview = get(api, "/projections").await;
    let subscriptions = overview["subscriptions"].as_array();
    subscriptions.is_some_and(|all| all.iter().all(|one| one["lag_events"] == 0))
}

async fn no_mail_waits(api: &str) -> bool {
    let mail = get(api, "/mail").await;
    ["pending", "sending", "failed", "dead"]
        .iter()
        .all(|state| mail["mails"][state] == 0)
}

/// The process was restarted, so its resource usage cannot be compared.
fn without_usage(evidence: &mut Evidence) {
    let same = crate::evidence::Usage {
        role: "serve".to_owned(),
        memory: 0,
        descriptors: 0,
    };
    evidence.before = vec![same.clone()];
    evidence.after = vec![same];
}
