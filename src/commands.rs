//! Commands on patients from the command line.

use std::ops::Deref;
use std::sync::Arc;

use api::commands::{Cause, Commands};
use api::retention::Retention;
use eventstore::{AppendQueue, EventLog, Signal, SystemClock};

use crate::actor::actor;
use crate::settings::Settings;

/// The commands of this process, with their append queue.
pub(crate) struct StartedCommands {
    commands: Commands,
    appends: AppendQueue,
}

impl StartedCommands {
    /// Starts the append queue. No retention period applies.
    pub(crate) fn new(settings: &Settings, log: &EventLog) -> Self {
        let clock = SystemClock::shared();
        // Subscriptions in other processes find the event when they poll the log.
        let appends = AppendQueue::start_with(
            log.database().clone(),
            Signal::in_process(),
            Arc::clone(&clock),
            settings.append_options(),
        );
        Self {
            commands: Commands::new(log.clone(), appends.clone(), clock),
            appends,
        }
    }

    /// Sets which erasures are allowed.
    pub(crate) fn with_retention(self, retention: Retention) -> Self {
        Self {
            commands: self.commands.with_retention(retention),
            ..self
        }
    }

    /// Finishes the accepted commands.
    pub(crate) async fn shutdown(&self) {
        self.appends.shutdown().await;
    }
}

impl Deref for StartedCommands {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        &self.commands
    }
}

/// Returns the cause of a command: the user of this process, with a new request id.
pub(crate) fn cause() -> Cause {
    Cause {
        request_id: uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid(),
        actor: actor(),
        trace: None,
    }
}
