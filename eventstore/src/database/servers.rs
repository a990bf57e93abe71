//! The servers of a MySQL URL, and the search for the server that accepts writes.
//!
//! With one server, a name or a proxy leads to the right server, and there is nothing to search for. With
//! several servers, each generation of connections begins with a search: all servers are asked at the same
//! time whether they accept writes.

use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sqlx::mysql::MySqlConnectOptions;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::mysql::{self, Server};
use super::options::DatabaseOptions;
use crate::error::{DatabaseError, Error, Result};

/// Timeout of the question to one server.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer shows that a server answers. Without this limit, a process whose connections are all in
/// use would open further connections for the question.
const ANSWER_COUNTS: Duration = Duration::from_secs(1);
/// How long to wait for the other servers when one accepts writes. Their answers can show that two servers
/// accept writes.
const OTHERS: Duration = Duration::from_millis(500);

/// The servers of a URL, in its order. Cheap to clone.
#[derive(Clone)]
pub(super) struct Servers(Arc<Shared>);

struct Shared {
    /// One or more.
    servers: Vec<MySqlConnectOptions>,
    options: DatabaseOptions,
    last: Mutex<Option<Search>>,
    /// When a server last answered [`Servers::answers`].
    answered: Mutex<Option<Instant>>,
}

/// The last search.
#[derive(Debug, Clone, Copy)]
struct Search {
    generation: u64,
    began_at: Instant,
    found: Found,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    /// The index of the server that accepts writes.
    Server(usize),
    /// No server that answered accepts writes.
    ReadOnly,
    /// Several servers accept writes, but they are not members of a cluster that allows it.
    SeveralPrimaries,
    /// No server could be asked.
    Nothing,
}

impl fmt::Debug for Servers {
    // The options contain the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Servers({})", self.0.servers.len())
    }
}

impl Servers {
    pub(super) fn new(servers: Vec<MySqlConnectOptions>, options: DatabaseOptions) -> Self {
        Self(Arc::new(Shared {
            servers,
            options,
            last: Mutex::default(),
            answered: Mutex::default(),
        }))
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.servers.len() > 1
    }

    /// Returns the server for the connections of `generation`: the only server, or the first server of the
    /// URL that accepts writes (for a replica, that answers). Concurrent calls share one search.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if no server accepts writes, or if several servers accept writes and are not a
    /// cluster. If no server answers, the error of one of the servers. [`Error::Timeout`].
    pub(super) async fn find(&self, generation: u64) -> Result<MySqlConnectOptions> {
        let servers = &self.0.servers;
        if let [only] = servers.as_slice() {
            return Ok(only.clone());
        }
        let asked_at = Instant::now();
        let mut last = self.lock().await?;
        if let Some(search) = *last {
            match search.found {
                Found::Server(index) if search.generation == generation => return Ok(servers[index].clone()),
                found if search.began_at > asked_at => return found.server(servers),
                _ => {}
            }
        }
        let began_at = Instant::now();
        let (found, failed) = self.search().await;
        let is_news = last.is_none_or(|last| discriminant(&last.found) != discriminant(&found));
        *last = Some(Search {
            generation,
            began_at,
            found,
        });
        drop(last);
        if let Found::Server(index) = found {
            let server = &servers[index];
            tracing::info!(
                server.address = server.get_host(),
                server.port = server.get_port(),
                database.is_replica = self.0.options.is_replica,
                "this database server is used"
            );
        } else if is_news {
            for (index, error) in &failed {
                let server = &servers[*index];
                tracing::warn!(
                    server.address = server.get_host(),
                    server.port = server.get_port(),
                    %error,
                    "this database server cannot be used"
                );
            }
        }
        // An error of a server that answered is more likely to need an operator.
        let errors = failed.into_iter().map(|(_, error)| error);
        match errors.min_by_key(Error::is_connection) {
            Some(error) if matches!(found, Found::Nothing) => Err(error),
            _ => found.server(servers),
        }
    }

    /// Whether a server answers. Returns `true` without a question while another task is asking, and for
    /// [`ANSWER_COUNTS`] after an answer.
    pub(super) async fn answers(&self, server: &MySqlConnectOptions) -> bool {
        let Ok(mut answered) = self.0.answered.try_lock() else {
            return true;
        };
        if answered.is_some_and(|at| at.elapsed() < ANSWER_COUNTS) {
            return true;
        }
        let answers = self
            .ask(server)
            .await
            .map_or_else(|error| has_answered(&error), |_| true);
        *answered = answers.then(Instant::now);
        answers
    }

    async fn lock(&self) -> Result<MutexGuard<'_, Option<Search>>> {
        let timeout = self.0.options.acquire_timeout;
        let locking = tokio::time::timeout(timeout, self.0.last.lock());
        locking.await.map_err(|_| Error::Timeout(timeout))
    }

    /// Asks all servers. Returns what was found, and the errors of the servers that failed, in the order of
    /// the URL.
    async fn search(&self) -> (Found, Vec<(usize, Error)>) {
        let asked = self.0.servers.iter().enumerate();
        let mut answers: FuturesUnordered<_> = asked
            .map(async |(index, server)| (index, self.ask(server).await))
            .collect();
        let mut until = Instant::now() + 2 * ASK_TIMEOUT;
        let (mut writable, mut is_read_only, mut failed) = (Vec::new(), false, Vec::new());
        while let Ok(Some((index, answer))) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok(_) if self.0.options.is_replica => {
                    writable.push((index, true));
                    until = until.min(Instant::now() + OTHERS);
                }
                Ok(server) if server.is_read_only => is_read_only = true,
                Ok(server) => {
                    writable.push((index, server.cluster.is_some_and(Cluster::several_accept_writes)));
                    until = until.min(Instant::now() + OTHERS);
                }
                Err(error) => failed.push((index, error)),
            }
        }
        failed.sort_unstable_by_key(|(index, _)| *index);
        // A server that rejects this client may be the primary.
        let is_read_only = is_read_only && !failed.iter().any(|(_, error)| has_answered(error));
        (choose(&writable, is_read_only), failed)
    }

    async fn ask(&self, server: &MySqlConnectOptions) -> Result<Server> {
        let asking = mysql::ask(server, self.0.options);
        let answered = tokio::time::timeout(ASK_TIMEOUT, asking).await;
        answered.unwrap_or(Err(Error::Timeout(ASK_TIMEOUT)))
    }
}

/// Whether a server has rejected this client, and is therefore running.
fn has_answered(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.is_too_many_connections() || !error.is_lost_connection(),
        error => !error.is_connection(),
    }
}

/// Chooses from the servers that accept writes. The flag of each server is `true` if several servers of its
/// cluster accept writes. `is_read_only` means that another server accepts no writes.
fn choose(writable: &[(usize, bool)], is_read_only: bool) -> Found {
    match writable.iter().map(|(index, _)| *index).min() {
        None if is_read_only => Found::ReadOnly,
        None => Found::Nothing,
        Some(_) if writable.len() > 1 && !writable.iter().all(|(_, several)| *several) => {
            Found::SeveralPrimaries
        }
        Some(first) => Found::Server(first),
    }
}

impl Found {
    fn server(self, servers: &[MySqlConnectOptions]) -> Result<MySqlConnectOptions> {
        match self {
            Self::Server(index) => Ok(servers[index].clone()),
            Self::ReadOnly => Err(Error::ReadOnly(DatabaseError::read_only())),
            Self::SeveralPrimaries => Err(Error::ReadOnly(DatabaseError::several_primaries())),
            Self::Nothing => Err(Error::Timeout(ASK_TIMEOUT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_server_that_accepts_writes_is_chosen_unless_two_do_without_a_cluster() {
        assert!(matches!(choose(&[], false), Found::Nothing));
        assert!(matches!(choose(&[], true), Found::ReadOnly));
        assert!(matches!(choose(&[(2, false)], true), Found::Server(2)));
        assert!(matches!(choose(&[(2, true), (0, true)], true), Found::Server(0)));
        for writable in [[(0, false), (1, false)], [(1, true), (0, false)]] {
            assert!(matches!(choose(&writable, true), Found::SeveralPrimaries));
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let server = MySqlConnectOptions::new().password("secret");
        let servers = Servers::new(vec![server], DatabaseOptions::default());
        assert_eq!(format!("{servers:?}"), "Servers(1)");
    }
}
