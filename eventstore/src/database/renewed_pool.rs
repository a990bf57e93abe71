//! The pools of connections to a MySQL server, which are replaced as a whole after a switch of the server.
//!
//! A name, an address or a proxy may lead to another server from one moment to the next. A switch can leave
//! the old connections open: they then lead to a server that is out of date and read-only. Every pool of a
//! database therefore belongs to a generation. An error that shows a switch begins the next generation for
//! the whole process: connections of an older generation are closed when they are returned or about to be
//! used.
//!
//! A connection that comes from a pool is asked whether its server accepts writes, instead of being pinged.
//! A server that accepts no writes is never read from, because it may be out of date. Only the connections to
//! a replica ([`DatabaseOptions::is_replica`]) accept such a server.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::MySql;
use sqlx::mysql::MySqlPool;
use sqlx::pool::PoolConnection;
use tokio::sync::watch;
use tokio::time::Instant;

use super::mysql::Reported;
use super::options::DatabaseOptions;
use super::servers::Servers;
use super::session::{Connection, PooledConnection};
use crate::error::{DatabaseError, Error, Result};

/// Timeout of the question whether a server accepts writes.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server that accepts no writes is not asked again. Without this limit, every request would open
/// a connection.
const READ_ONLY_FOR: Duration = Duration::from_millis(250);
/// Timeout for closing the connections of an older generation.
const CLOSING: Duration = Duration::from_secs(10);
/// How long to wait for one of several servers before checking over a new connection whether it answers.
const LONG: Duration = Duration::from_millis(500);

/// The generation of the connections of a database, shared by all its pools. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Generations(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    current: watch::Sender<u64>,
    /// Whether the connections may lead to one of several servers of the URL.
    several: bool,
    /// Time until which the server is known to accept no writes.
    read_only_until: Mutex<Option<Instant>>,
}

impl Generations {
    fn of(servers: &Servers) -> Self {
        Self(Arc::new(Shared {
            several: servers.are_several(),
            ..Shared::default()
        }))
    }

    pub(super) fn current(&self) -> u64 {
        *self.0.current.borrow()
    }

    /// Begins the next generation, unless `generation` has already ended.
    pub(super) fn end(&self, generation: u64) {
        let has_ended = self.0.current.send_if_modified(|current| {
            let is_current = *current == generation;
            *current += u64::from(is_current);
            is_current
        });
        if has_ended {
            tracing::info!("the database server may have been switched: replacing all connections");
        }
    }

    /// Waits until the generation has ended.
    async fn ended(&self, generation: u64) {
        let mut changes = self.0.current.subscribe();
        // The sender exists as long as this value, so the wait cannot fail.
        let _ = changes.wait_for(|current| *current != generation).await;
    }

    fn read_only_until(&self) -> MutexGuard<'_, Option<Instant>> {
        let shared = &self.0.read_only_until;
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generation to which a connection belongs.
#[derive(Debug, Clone)]
pub(super) struct Generation {
    generations: Generations,
    number: u64,
    /// Time from which the connection is replaced.
    aged_at: Instant,
}

impl Generation {
    /// Whether the connection may be used again without being returned to its pool.
    pub(super) fn is_current(&self) -> bool {
        self.number == self.generations.current()
    }

    /// Whether the connection has reached its maximum age.
    pub(super) fn is_aged(&self) -> bool {
        Instant::now() >= self.aged_at
    }

    /// Ends the generation if `error` shows that the server was switched. With several servers, a lost
    /// connection may mean that another server takes over. A timeout may be a slow answer.
    pub(super) fn note(&self, error: &Error) {
        let is_lost = error.is_connection() && !matches!(error, Error::Timeout(_));
        if error.shows_a_switch() || (self.generations.0.several && is_lost) {
            self.end();
        }
    }

    /// Ends the generation.
    pub(super) fn end(&self) {
        self.generations.end(self.number);
    }
}

/// A pool of connections that is replaced with each generation. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RenewedPool {
    generations: Generations,
    reported: Reported,
    servers: Servers,
    options: DatabaseOptions,
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    generation: u64,
    pool: MySqlPool,
    closed: bool,
}

impl RenewedPool {
    pub(super) fn new(
        pool: MySqlPool,
        reported: Reported,
        servers: Servers,
        options: DatabaseOptions,
    ) -> Self {
        let generations = Generations::of(&servers);
        let current = Current {
            generation: generations.current(),
            pool,
            closed: false,
        };
        Self {
            generations,
            reported,
            servers,
            options,
            current: Arc::new(Mutex::new(current)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a separate pool of at most `connections` connections, of the same generations.
    pub(super) fn separate(&self, connections: u32) -> Self {
        let current = {
            let current = self.lock();
            let options = current.pool.options().clone().max_connections(connections);
            Current {
                generation: current.generation,
                pool: options.connect_lazy_with(current.pool.connect_options().as_ref().clone()),
                closed: false,
            }
        };
        Self {
            current: Arc::new(Mutex::new(current)),
            ..self.clone()
        }
    }

    #[cfg(feature = "cqrs")]
    pub(super) const fn options(&self) -> DatabaseOptions {
        self.options
    }

    #[cfg(feature = "cqrs")]
    pub(super) const fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Returns the pool of the current generation, and the number of the generation. Creates the pool if the
    /// generation has just begun.
    ///
    /// # Errors
    ///
    /// The errors of [`Servers::find`].
    pub(super) async fn current(&self) -> Result<(u64, MySqlPool)> {
        let generation = self.generations.current();
        {
            let current = self.lock();
            if current.generation >= generation || current.closed {
                return Ok((current.generation, current.pool.clone()));
            }
        }
        // Boxed, because this seldom happens, and every read contains this future.
        let server = Box::pin(self.servers.find(generation)).await?;
        let mut current = self.lock();
        if current.generation < generation && !current.closed {
            let pool = current.pool.options().clone().connect_lazy_with(server);
            let old = std::mem::replace(&mut current.pool, pool);
            current.generation = generation;
            // Connections in use are closed when they are returned.
            tokio::spawn(async move { tokio::time::timeout(CLOSING, old.close()).await });
        }
        Ok((current.generation, current.pool.clone()))
    }

    /// Takes a connection from a pool.
    async fn take(&self, pool: &MySqlPool, generation: u64) -> sqlx::Result<PoolConnection<MySql>> {
        if self.servers.are_several() {
            Box::pin(self.take_until_ended(pool, generation)).await
        } else {
            pool.acquire().await
        }
    }

    /// Takes a connection from the pool of one of several servers, until the generation ends. If that takes
    /// long, asks whether the server still answers.
    async fn take_until_ended(
        &self,
        pool: &MySqlPool,
        generation: u64,
    ) -> sqlx::Result<PoolConnection<MySql>> {
        let (mut taking, mut ended) = (pin!(pool.acquire()), pin!(self.generations.ended(generation)));
        tokio::select! {
            taken = &mut taking => return taken,
            () = &mut ended => return Err(sqlx::Error::PoolClosed),
            () = tokio::time::sleep(LONG) => self.ask_whether_it_answers(pool, generation),
        }
        tokio::select! {
            taken = &mut taking => taken,
            () = &mut ended => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Begins a task that ends the generation if the server of a pool does not answer. The caller may end
    /// before the task does.
    fn ask_whether_it_answers(&self, pool: &MySqlPool, generation: u64) {
        let (servers, generations) = (self.servers.clone(), self.generations.clone());
        let server = pool.connect_options();
        tokio::spawn(async move {
            if !servers.answers(&server).await {
                generations.end(generation);
            }
        });
    }

    #[cfg(feature = "cqrs")]
    pub(super) fn has_several_servers(&self) -> bool {
        self.servers.are_several()
    }

    /// Asks over a connection whether its server can be used: whether it accepts writes or, for a replica,
    /// whether it answers. If one of several servers takes long, also asks over a new connection whether it
    /// still answers.
    async fn check(&self, connection: &mut Connection, pool: &MySqlPool, generation: u64) -> Result<bool> {
        let is_replica = self.options.is_replica;
        let mut checking = pin!(async { Ok(connection.accepts_writes().await? || is_replica) });
        if self.servers.are_several() {
            if let Ok(checked) = tokio::time::timeout(LONG, &mut checking).await {
                return checked;
            }
            self.ask_whether_it_answers(pool, generation);
        }
        let checked = tokio::time::timeout(CHECK_TIMEOUT, checking).await;
        checked.unwrap_or(Err(Error::Timeout(CHECK_TIMEOUT)))
    }

    /// Returns the pool, without replacing it.
    pub(super) fn latest(&self) -> MySqlPool {
        self.lock().pool.clone()
    }

    /// Closes the pool for good.
    pub(super) async fn close(&self) {
        let pool = {
            let mut current = self.lock();
            current.closed = true;
            current.pool.clone()
        };
        super::pools::close(&pool).await;
    }

    /// Returns a connection of the current generation to a server that can be used. Tests connections that
    /// may have died, until one responds.
    pub(super) async fn acquire(&self) -> Result<Connection> {
        let read_only = || Err(Error::ReadOnly(DatabaseError::read_only()));
        if self
            .generations
            .read_only_until()
            .is_some_and(|until| Instant::now() < until)
        {
            return read_only();
        }
        let timeout = self.options.acquire_timeout;
        let until = Instant::now() + timeout;
        let (mut switched, mut hung) = (false, false);
        loop {
            let (generation, pool) = match self.current().await {
                Err(error @ Error::ReadOnly(_)) => {
                    *self.generations.read_only_until() = Some(Instant::now() + READ_ONLY_FOR);
                    return Err(error);
                }
                current => current?,
            };
            let mut connection = match self.take(&pool, generation).await {
                Ok(connection) => self.connection(connection, generation),
                // The generation has ended meanwhile.
                Err(sqlx::Error::PoolClosed) if !self.lock().closed && Instant::now() < until => continue,
                Err(error) => return Err(self.cannot_connect(error, generation)),
            };
            match self.check(&mut connection, &pool, generation).await {
                Ok(true) if connection.is_current() => return Ok(connection),
                // The generation has ended meanwhile, so the connection may be to the old server.
                Ok(true) if Instant::now() < until => {}
                Ok(true) => return Err(Error::Timeout(timeout)),
                Ok(false) => {
                    connection.close_on_drop();
                    self.generations.end(generation);
                    // A new connection may lead to another server.
                    if std::mem::replace(&mut switched, true) {
                        *self.generations.read_only_until() = Some(Instant::now() + READ_ONLY_FOR);
                        return read_only();
                    }
                }
                Err(error) => {
                    connection.close_on_drop();
                    if !error.is_connection() || Instant::now() >= until {
                        return Err(error);
                    }
                    // After a second timeout, the other connections are probably dead too. A single timeout
                    // may have been a slow answer.
                    if matches!(error, Error::Timeout(_)) && std::mem::replace(&mut hung, true) {
                        self.generations.end(generation);
                    }
                }
            }
        }
    }

    /// Ends the generation if the server is one of several and cannot be reached.
    fn cannot_connect(&self, error: sqlx::Error, generation: u64) -> Error {
        if self.servers.are_several() && matches!(error, sqlx::Error::Io(_)) {
            self.generations.end(generation);
        }
        Error::from_driver(error)
    }

    fn connection(&self, connection: PoolConnection<MySql>, generation: u64) -> Connection {
        let generation = Generation {
            generations: self.generations.clone(),
            number: generation,
            aged_at: Instant::now() + self.options.max_age,
        };
        Connection::new(PooledConnection::MySql(
            connection,
            self.reported.texts(),
            generation,
        ))
    }
}
