//! `patients witness …`: a witness, which cosigns the checkpoints of other logs. It needs no database.

mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use eventstore::{SystemClock, private};
use tlog::{KeyFileError, WitnessFolder, witness_key_file};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transparency::cosignature::CosigningKey;
use transparency::note::{Algorithm, VerifierKey};
use transparency::witness::Witness;
use web::Listening;

use crate::output::print;
use crate::settings::Settings;
use crate::shutdown::StopSignals;
use crate::tls;
use server::Server;

/// Variable with the verifier keys of the logs.
const LOG_KEYS: &str = "WITNESS_LOG_KEYS";

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Answer requests for cosignatures on `HTTP_ADDR`, until stopped
    Serve {
        #[command(flatten)]
        place: WitnessPlace,
        /// Verifier key of a log whose checkpoints are cosigned; the name of the key is the origin of the
        /// log. Can be repeated for several logs, and for several keys of a log. Default: the keys in
        /// the variable `WITNESS_LOG_KEYS`, separated by spaces
        #[arg(long = "log-key", value_name = "VKEY", env = LOG_KEYS, hide_env = true, value_delimiter = ' ', required = true)]
        log_keys: Vec<VerifierKey>,
    },
    /// Manage the key of the witness
    Key {
        #[command(subcommand)]
        command: WitnessKeyCommand,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum WitnessKeyCommand {
    /// Write a new key to the folder, and print the verifier key
    New {
        /// Name of the witness, such as witness.example.org
        name: String,
        #[command(flatten)]
        place: WitnessPlace,
    },
    /// Print the verifier key, which verifies cosignatures
    Show {
        #[command(flatten)]
        place: WitnessPlace,
    },
}

/// The folder of a witness.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct WitnessPlace {
    /// Folder with the key of the witness and with the checkpoints that it has cosigned
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: WitnessCommand) -> anyhow::Result<()> {
    match command {
        WitnessCommand::Serve { place, log_keys } => serve(settings, &place.folder, log_keys).await,
        WitnessCommand::Key { command } => key(command),
    }
}

fn key(command: WitnessKeyCommand) -> anyhow::Result<()> {
    let key = match command {
        WitnessKeyCommand::New { name, place } => {
            private::create_folder(&place.folder)
                .with_context(|| format!("the folder {} cannot be created", place.folder.display()))?;
            witness_key_file(&place.folder).create_without_state(&name)?
        }
        WitnessKeyCommand::Show { place } => witness_key_file(&place.folder).load_any()?,
    };
    print(&CosigningKey::from(key).verifier().to_string())
}

/// Runs `patients witness serve`.
async fn serve(settings: &Settings, folder: &Path, log_keys: Vec<VerifierKey>) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let key = match witness_key_file(folder).load_any() {
        Err(error @ KeyFileError::Missing { .. }) => {
            return Err(error).context("`patients witness key new` writes a new key");
        }
        loaded => CosigningKey::from(loaded?),
    };
    let mut logs: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
    for log_key in log_keys {
        if log_key.algorithm() != Algorithm::Ed25519 {
            bail!("--log-key {log_key}: it is not the key of a log: its signature type is not 0x01");
        }
        logs.entry(log_key.name().to_owned()).or_default().push(log_key);
    }
    let Some(store) = WitnessFolder::lock(folder)? else {
        bail!("another process has locked the folder {}", folder.display());
    };
    let clock = SystemClock::shared();
    let secured = tls::open(settings, Arc::clone(&clock)).await?;
    let listener = TcpListener::bind(settings.http_addr)
        .await
        .with_context(|| format!("HTTP_ADDR {} cannot be listened on", settings.http_addr))?;
    let scheme = if secured.is_some() { "https" } else { "http" };
    let mut lines = vec![
        format!("patients {}", env!("CARGO_PKG_VERSION")),
        format!("  witness    {}", key.verifier()),
        format!("  address    {scheme}://{}", listener.local_addr()?),
    ];
    lines.extend(logs.keys().map(|origin| format!("  log        {origin}")));
    let listening = Listening {
        connections: settings.http_connections as usize,
        head_timeout: settings.head_timeout,
        tls: secured.as_ref().map(|secured| secured.tls.clone()),
    };
    let origins: Vec<_> = logs.keys().cloned().collect();
    let witness = Witness::new(key, logs);
    let router = Server::new(witness, &origins, store, clock, settings.request_timeout).router();
    let stop = CancellationToken::new();
    let reloading = async {
        match secured {
            Some(secured) => secured.reload_on_change(stop.clone()).await,
            None => stop.cancelled().await,
        }
    };
    let serving = web::listen_plainly(listener, router, listening, stop.clone());
    let working = async {
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => ended,
            // After a stop, the open connections end first.
            () = reloading => serving.await,
        }
    };
    tokio::pin!(working);
    print(&lines.join("\n"))?;
    tokio::select! {
        ended = &mut working => ended.context("the listener ended")?,
        () = signals.asked() => {
            tracing::info!("stopping: finishing accepted work");
            stop.cancel();
            let finished = async { drop(working.await) };
            signals.within(settings.shutdown_timeout, finished).await?;
            tracing::info!("stopped");
        }
    }
    Ok(())
}
