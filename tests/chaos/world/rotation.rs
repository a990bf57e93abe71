//! Rotations of the wrapping keys, by the commands that an operator runs.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{patients, until};
use crate::plan::Fault;

/// Time limit of one command. A command that has not ended by then is killed.
const COMMAND: Duration = Duration::from_secs(20);
/// Time limit of a rotation, which includes the time for which the database is unavailable.
const ROTATION: Duration = Duration::from_secs(90);
/// Pause before a command is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// The keyring file of all processes, and the commands that change it.
pub(super) struct Keys {
    folder: TempDir,
    database: String,
}

impl Keys {
    /// Creates a keyring file for the log in this database.
    pub(super) async fn create(database: String) -> Self {
        let keys = Self {
            folder: TempDir::new().unwrap(),
            database,
        };
        keys.run(&["keys", "new"], COMMAND).await.unwrap();
        keys
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("keyring.json")
    }

    /// Rotates the wrapping keys at the planned times, and returns violations.
    pub(super) async fn suffer(&self, began: Instant, faults: Vec<Fault>) -> Vec<String> {
        let mut incidents = Vec::new();
        for fault in faults {
            until(began + fault.at).await;
            incidents.extend(self.rotate(fault.lasts).await.err());
        }
        incidents
    }

    /// Adds a wrapping key, activates it, wraps all data keys with it, and removes the other wrapping keys.
    /// Half of `pauses` passes before the activation and before the rotation. The first try of the rotation
    /// is killed after a small part of that time.
    async fn rotate(&self, pauses: Duration) -> Result<(), String> {
        let deadline = Instant::now() + ROTATION;
        let added = self.run(&["keys", "new", "--json"], COMMAND).await?;
        let added: Value = serde_json::from_str(&added).map_err(|error| error.to_string())?;
        let new = added["id"].as_str().ok_or("`keys new` has printed no id")?;
        tokio::time::sleep(pauses / 2).await;
        self.run(&["keys", "activate", new], COMMAND).await?;
        tokio::time::sleep(pauses / 2).await;
        let _ = self.run(&["keys", "rotate"], pauses / 50).await;
        self.repeat(&["keys", "rotate"], deadline).await?;
        let listed = self.run(&["keys", "list", "--json"], COMMAND).await?;
        let listed: Vec<Value> = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        for old in listed.iter().filter_map(|key| key["id"].as_str()) {
            if old != new {
                self.repeat(&["keys", "remove", old], deadline).await?;
            }
        }
        Ok(())
    }

    /// Repeats a command until it succeeds.
    async fn repeat(&self, arguments: &[&str], deadline: Instant) -> Result<(), String> {
        loop {
            let Err(error) = self.run(arguments, COMMAND).await else {
                return Ok(());
            };
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs a command, and returns its output.
    pub(super) async fn run(&self, arguments: &[&str], limit: Duration) -> Result<String, String> {
        let command = Command::new(patients())
            .args(arguments)
            .current_dir(self.folder.path())
            .env("KEYRING_FILE", self.file())
            .env("DATABASE_URL", &self.database)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(limit, command).await;
        let name = || format!("`patients {}`", arguments.join(" "));
        let output = ended
            .map_err(|_| format!("{} was killed after {limit:?}", name()))?
            .map_err(|error| format!("{}: {error}", name()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("{} ended with {}: {log}", name(), output.status))
        }
    }
}
