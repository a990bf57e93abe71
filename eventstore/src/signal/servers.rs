//! The Redis server of a URL, or the master among servers that Redis Sentinel watches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError, TlsCertificates,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Maximum number of Sentinels in a URL.
const MAX_SENTINELS: usize = 9;
const SENTINEL_PORT: u16 = 26379;
/// Time in which a Sentinel must name the master, and the master must confirm that it is the master.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for the other Sentinels when one has failed.
const OTHERS: Duration = Duration::from_millis(500);

/// The Redis server for signals. Cheap to clone.
#[derive(Clone)]
pub struct RedisServers(Arc<Source>);

enum Source {
    Server(Box<redis::Client>),
    /// The Sentinels. All are asked at the same time, so a Sentinel that hangs does not delay the others.
    Sentinels(Vec<Mutex<SentinelClient>>),
}

impl fmt::Debug for RedisServers {
    // The URL may contain a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Server(_) => formatter.write_str("RedisServers(1)"),
            Source::Sentinels(sentinels) => {
                write!(formatter, "RedisServers({} Sentinels)", sentinels.len())
            }
        }
    }
}

impl RedisServers {
    /// Parses `redis://user:password@host:port`, or
    /// `redis+sentinel://user:password@host:port,host:port/master` with the addresses of up to nine Sentinels
    /// and the name of the master. The user and the password are for the Redis servers. If the Sentinels
    /// require a user or a password, `?sentinel_username=` and `&sentinel_password=` follow, percent-encoded.
    /// `rediss` and `rediss+sentinel` use TLS for all connections. `authorities` are certificate authorities
    /// (PEM) that are trusted instead of the built-in public authorities.
    ///
    /// # Errors
    ///
    /// [`Error::Redis`] if the URL or a certificate is invalid. No message contains the password.
    pub fn parse(url: &str, authorities: Option<&[u8]>) -> Result<Self> {
        let source = match url.split_once("+sentinel://") {
            Some((scheme, rest)) => sentinels(scheme, rest, authorities),
            None => server(url, authorities),
        };
        Ok(Self(Arc::new(source.map_err(Error::from_redis)?)))
    }

    /// Returns a client of the server that accepts messages now.
    pub(super) async fn client(&self) -> Result<redis::Client> {
        let sentinels = match &*self.0 {
            Source::Server(client) => return Ok(client.as_ref().clone()),
            Source::Sentinels(sentinels) => sentinels,
        };
        let asking = sentinels.iter();
        let mut answers: FuturesUnordered<_> = asking
            .map(async |sentinel| sentinel.lock().await.async_get_client().await)
            .collect();
        let mut until = Instant::now() + SENTINEL_TIMEOUT;
        let mut failed = Error::RedisTimeout(SENTINEL_TIMEOUT);
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok(client) => return Ok(client),
                Err(error) => failed = Error::from_redis(error),
            }
            until = until.min(Instant::now() + OTHERS);
        }
        Err(failed)
    }
}

fn invalid(why: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, why).into()
}

fn certificates(authorities: &[u8]) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: Some(authorities.to_vec()),
    }
}

fn is_tls(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

fn server(url: &str, authorities: Option<&[u8]>) -> std::result::Result<Source, RedisError> {
    let server: ConnectionInfo = url.into_connection_info()?;
    let client = match authorities {
        Some(authorities) if is_tls(server.addr()) => {
            redis::Client::build_with_tls(server, certificates(authorities))?
        }
        _ => redis::Client::open(server)?,
    };
    Ok(Source::Server(Box::new(client)))
}

/// The user and the password for the Sentinels themselves.
#[derive(Default)]
struct Login {
    username: Option<String>,
    password: Option<String>,
}

impl Login {
    fn parse(query: &str) -> std::result::Result<Self, RedisError> {
        let mut login = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let known = match &*name {
                "sentinel_username" => &mut login.username,
                "sentinel_password" => &mut login.password,
                _ => return Err(invalid("the options are sentinel_username and sentinel_password")),
            };
            if known.replace(value.into_owned()).is_some() {
                return Err(invalid("an option was repeated"));
            }
        }
        Ok(login)
    }
}

fn sentinels(
    scheme: &str,
    rest: &str,
    authorities: Option<&[u8]>,
) -> std::result::Result<Source, RedisError> {
    if !matches!(scheme, "redis" | "rediss") {
        return Err(invalid("the scheme must be redis+sentinel or rediss+sentinel"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let login = Login::parse(query)?;
    let (authority, master) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if master.is_empty() || !master.bytes().all(is_name) {
        return Err(invalid(
            "the URL must end with the name of the master that the Sentinels watch",
        ));
    }
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(_, hosts)| {
        authority.split_at(authority.len() - hosts.len())
    });
    let hosts: Vec<_> = hosts.split(',').collect();
    if hosts.len() > MAX_SENTINELS || hosts.contains(&"") {
        return Err(invalid(
            "expected the addresses of one to nine Sentinels, separated by commas",
        ));
    }
    let sentinel = |host: &str| {
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port {
            String::new()
        } else {
            format!(":{SENTINEL_PORT}")
        };
        let info = format!("{scheme}://{user}{host}{port}").into_connection_info()?;
        let mut builder =
            SentinelClientBuilder::new([info.addr().clone()], master, SentinelServerType::Master)?;
        if is_tls(info.addr()) {
            builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
            if let Some(authorities) = authorities {
                builder = builder
                    .set_client_to_redis_certificates(certificates(authorities))
                    .set_client_to_sentinel_certificates(certificates(authorities));
            }
        }
        if let Some(user) = &login.username {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(user) = info.redis_settings().username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = info.redis_settings().password() {
            builder = builder.set_client_to_redis_password(password);
        }
        Ok(Mutex::new(builder.build()?))
    };
    let sentinels: std::result::Result<_, RedisError> = hosts.into_iter().map(sentinel).collect();
    Ok(Source::Sentinels(sentinels?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_or_sentinels_and_no_message_repeats_the_password() {
        for (url, shown) in [
            ("redis://:secret@h:6379", "RedisServers(1)"),
            ("rediss://u:secret@h", "RedisServers(1)"),
            (
                "redis+sentinel://:secret@a,b:1,[::1]:2/main",
                "RedisServers(3 Sentinels)",
            ),
            ("rediss+sentinel://a/main", "RedisServers(1 Sentinels)"),
            (
                "redis+sentinel://a/main?sentinel_username=u&sentinel_password=secret%26",
                "RedisServers(1 Sentinels)",
            ),
        ] {
            assert_eq!(format!("{:?}", RedisServers::parse(url, None).unwrap()), shown);
        }
        for url in [
            "http://:secret@h",
            "http+sentinel://:secret@h/main",
            "redis+sentinel://:secret@h",
            "redis+sentinel://:secret@h/",
            "redis+sentinel://:secret@h/main/other",
            "redis+sentinel://:secret@a,/main",
            "redis+sentinel://:secret@a:port/main",
            "redis+sentinel://a/main?password=secret",
            "redis+sentinel://a/main?sentinel_password=secret&sentinel_password=secret",
        ] {
            let said = RedisServers::parse(url, None).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn authorities_that_are_no_certificates_are_rejected() {
        for url in ["rediss://h", "rediss+sentinel://h/main"] {
            assert!(RedisServers::parse(url, Some(b"-----BEGIN CERTIFICATE-----\nx\n")).is_err());
        }
    }
}
