//! The servers of a MySQL URL, and the search for the server that accepts writes.
//!
//! With one server, a name or a proxy leads to the right server, and there is nothing to search for. With
//! several servers, each generation of connections begins with a search: all servers are asked at the same
//! time whether they accept writes.

use std::fmt;
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
    asking: Mutex<()>,
}

/// The last search.
#[derive(Debug, Clone, Copy)]
struct Search {
    generation: u64,
    ended_at: Instant,
    found: Found,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    /// The index of the server that accepts writes.
    Server(usize),
    /// No server that answered accepts writes.
    ReadOnly,
    /// Several servers accept writes, but they do not form a cluster in which several do.
    SeveralPrimaries,
    /// No server answered.
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
            asking: Mutex::default(),
        }))
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.servers.len() > 1
    }

    /// Returns the server for the connections of `generation`: the only server, or the first server of the
    /// URL that accepts writes. Concurrent calls share one search.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if no server accepts writes, or if several servers accept writes and are not a
    /// cluster. The error of the first server if none answers. [`Error::Timeout`].
    pub(super) async fn writable(&self, generation: u64) -> Result<MySqlConnectOptions> {
        let servers = &self.0.servers;
        if let [only] = servers.as_slice() {
            return Ok(only.clone());
        }
        let asked_at = Instant::now();
        let mut last = self.lock().await?;
        if let Some(search) = *last {
            match search.found {
                Found::Server(index) if search.generation == generation => return Ok(servers[index].clone()),
                found if search.ended_at > asked_at => return found.server(servers),
                _ => {}
            }
        }
        let (found, error) = self.search().await;
        *last = Some(Search {
            generation,
            ended_at: Instant::now(),
            found,
        });
        drop(last);
        if let Found::Server(index) = found {
            let server = &servers[index];
            tracing::info!(
                server.address = server.get_host(),
                server.port = server.get_port(),
                "this database server accepts writes"
            );
        }
        match error {
            Some(error) if matches!(found, Found::Nothing) => Err(error),
            _ => found.server(servers),
        }
    }

    /// Whether a server answers. If another task is already asking, returns `true` at once.
    pub(super) async fn answers(&self, server: &MySqlConnectOptions) -> bool {
        let Ok(_asking) = self.0.asking.try_lock() else {
            return true;
        };
        match self.ask(server).await {
            Ok(_) => true,
            Err(error) => !error.is_connection(),
        }
    }

    async fn lock(&self) -> Result<MutexGuard<'_, Option<Search>>> {
        let timeout = self.0.options.acquire_timeout;
        let locking = tokio::time::timeout(timeout, self.0.last.lock());
        locking.await.map_err(|_| Error::Timeout(timeout))
    }

    /// Asks all servers. Returns what was found, and the error of the first server that failed.
    async fn search(&self) -> (Found, Option<Error>) {
        let asked = self.0.servers.iter().enumerate();
        let mut answers: FuturesUnordered<_> = asked
            .map(async |(index, server)| (index, self.ask(server).await))
            .collect();
        let mut until = Instant::now() + 2 * ASK_TIMEOUT;
        let (mut writable, mut is_answered, mut failed) = (Vec::new(), false, None);
        while let Ok(Some((index, answer))) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok(server) if server.is_read_only => is_answered = true,
                Ok(server) => {
                    writable.push((index, server.cluster.is_some_and(Cluster::several_accept_writes)));
                    until = until.min(Instant::now() + OTHERS);
                }
                Err(error) => {
                    if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                        failed = Some((index, error));
                    }
                }
            }
        }
        (choose(&writable, is_answered), failed.map(|(_, error)| error))
    }

    async fn ask(&self, server: &MySqlConnectOptions) -> Result<Server> {
        let asking = mysql::ask(server, self.0.options);
        let answered = tokio::time::timeout(ASK_TIMEOUT, asking).await;
        answered.unwrap_or(Err(Error::Timeout(ASK_TIMEOUT)))
    }
}

/// Chooses from the servers that accept writes, each with whether several servers of its cluster do.
fn choose(writable: &[(usize, bool)], is_answered: bool) -> Found {
    match writable.iter().map(|(index, _)| *index).min() {
        None if is_answered => Found::ReadOnly,
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
