//! Parses a MySQL URL and checks it before connecting. No error message contains a password.

use std::path::PathBuf;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::Url;

use super::options::PREPARED_STATEMENTS;
use crate::error::{Error, Result};

/// Maximum number of servers in a URL. Group Replication has at most 9 members.
const MAX_SERVERS: usize = 9;
const EXPECTED: &str = "expected mysql://user:password@host:port/name";
const NOT_ENCODED: &str = "expected mysql://user:password@host:port/name; in a user name or password, percent-encode \
                           @ as %40, : as %3A, / as %2F, # as %23, ? as %3F and % as %25";

/// A server and its connection options.
pub(super) struct Target {
    pub(super) options: MySqlConnectOptions,
    /// Options of the URL that every session overrides.
    pub(super) without_effect: Vec<String>,
    url: Url,
    /// Files that TLS needs, each with the name of its option.
    files: Vec<(String, PathBuf)>,
}

impl Target {
    /// Parses a URL that begins with `mysql:` or `mariadb:` and contains one server or several, separated by
    /// commas: `mysql://user:password@a:3306,b:3306/name`. All servers have the same user, database and
    /// options.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Error::Url(EXPECTED.to_owned()))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(_, hosts)| {
            authority.split_at(authority.len() - hosts.len())
        });
        let hosts: Vec<_> = hosts.split(',').collect();
        if let [_] = hosts.as_slice() {
            return Ok(vec![Self::parse(text)?]);
        }
        if hosts.len() > MAX_SERVERS {
            return Err(Error::Url(format!("at most {MAX_SERVERS} servers can be listed")));
        }
        if hosts.contains(&"") {
            return Err(Error::Url("a server in the list has no name".to_owned()));
        }
        let targets = hosts
            .iter()
            .map(|host| Self::parse(&format!("{scheme}://{user}{host}{tail}")));
        let targets: Vec<_> = targets.collect::<Result<_>>()?;
        if targets.iter().any(|target| target.options.get_socket().is_some()) {
            return Err(Error::Url(
                "socket leads to one server, but several are listed".to_owned(),
            ));
        }
        let address = |target: &Self| (target.options.get_host().to_owned(), target.options.get_port());
        let mut addresses: Vec<_> = targets.iter().map(address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() < targets.len() {
            return Err(Error::Url("a server is listed twice".to_owned()));
        }
        Ok(targets)
    }

    /// Parses a URL with one server.
    fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::Url(why.to_owned());
        let (_, rest) = text.split_once("://").ok_or_else(|| refuse(EXPECTED))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        // These characters would end the password and begin the host name.
        if tail.contains('#') || path.contains('@') || (query.contains('@') && !authority.contains('@')) {
            return Err(refuse(NOT_ENCODED));
        }
        let url = Url::parse(text).map_err(|error| Error::Url(format!("{NOT_ENCODED} ({error})")))?;
        let options = MySqlConnectOptions::from_url(&url)
            .map_err(|error| Error::Url(format!("{EXPECTED} ({error})")))?;
        let mut target = Self {
            options,
            without_effect: Vec::new(),
            url,
            files: Vec::new(),
        };
        target.check_options()?;
        target.complete()
    }

    /// Checks the options, because the driver ignores unknown options.
    fn check_options(&mut self) -> Result<()> {
        for (option, value) in self.url.query_pairs() {
            match option.as_ref() {
                "ssl-mode" | "sslmode" | "socket" => {}
                "ssl-ca" | "sslca" | "ssl-cert" | "sslcert" | "ssl-key" | "sslkey" => {
                    // The driver also accepts PEM text instead of a path.
                    if !value.trim_start().starts_with("-----BEGIN") {
                        self.files
                            .push((option.clone().into_owned(), PathBuf::from(value.as_ref())));
                    }
                }
                "charset" if value.eq_ignore_ascii_case("utf8mb4") => {}
                "charset" | "collation" | "timezone" | "time-zone" | "statement-cache-capacity" => {
                    self.without_effect.push(option.into_owned());
                }
                // The option may be part of a password.
                _ if self.url.query().unwrap_or_default().contains('@') => {
                    return Err(Error::Url(NOT_ENCODED.to_owned()));
                }
                other => {
                    return Err(Error::Url(format!(
                        "unknown option {:?}: use ssl-mode, ssl-ca, ssl-cert, ssl-key or socket",
                        other.chars().take(40).collect::<String>()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Sets the options that the URL does not set.
    fn complete(mut self) -> Result<Self> {
        // Each session sets the other values itself, in one statement.
        let mut options = self
            .options
            .charset("utf8mb4")
            .collation("utf8mb4_unicode_ci")
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false)
            .statement_cache_capacity(PREPARED_STATEMENTS)
            // Otherwise, the driver would log the full text of slow statements, and some of that text
            // contains hashes of email addresses.
            .disable_statement_logging();
        // A certificate contains the address without brackets.
        let host = options.get_host();
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = address.to_owned();
            options = options.host(&address);
        }
        if options.get_socket().is_some() {
            options = match options.get_ssl_mode() {
                MySqlSslMode::Preferred | MySqlSslMode::Disabled => options.ssl_mode(MySqlSslMode::Disabled),
                _ => {
                    return Err(Error::Url(
                        "socket and ssl-mode cannot be combined: socket connections stay on the machine"
                            .to_owned(),
                    ));
                }
            };
        }
        self.options = options;
        Ok(self)
    }

    /// Returns the same server without a database.
    pub(super) fn without_database(&self) -> Result<Self> {
        let mut url = self.url.clone();
        url.set_path("");
        Self::parse(url.as_str())
    }

    /// Checks that the files for TLS can be read.
    pub(super) async fn read_files(&self) -> Result<()> {
        for (option, path) in &self.files {
            tokio::fs::read(path)
                .await
                .map_err(|error| Error::Url(format!("{option} {}: {error}", path.display())))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Target::parse(url) {
            Ok(_) => panic!("{url} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_password_that_is_not_percent_encoded_is_called_that_and_not_repeated() {
        for url in [
            "mysql://user:a@secret:/#@host:3306/db",
            "mysql://user:secret/x@host/db",
            "mysql://user:secret#x@host/db",
            "mysql://user:secret?x@host/db",
            "mysql://user:a@secret/x@host/db",
            "mysql://user:a@b?secret@host/db",
            "mysql://user:a@b?secret&x@host/db",
            "mysql://user:secret",
            "mysql://user:/secret@host/db",
            "mariadb://user:%@secret/@host/db",
        ] {
            let said = refusal(url);
            assert!(said.contains("percent-encode"), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn characters_that_are_percent_encoded_are_taken_as_they_are() {
        for (url, user) in [
            ("mysql://a%40b:%3A%2F%23%3F%25@host/db", "a@b"),
            ("mysql://user:raw@and:colon@host/db", "user"),
        ] {
            let options = Target::parse(url).unwrap().options;
            assert_eq!(options.get_username(), user);
            assert_eq!(options.get_host(), "host");
            assert_eq!(options.get_database(), Some("db"));
        }
    }

    #[test]
    fn an_address_of_ipv6_has_no_brackets_where_a_certificate_is_checked() {
        let options = Target::parse("mysql://root@[::1]:3307/db").unwrap().options;
        assert_eq!((options.get_host(), options.get_port()), ("::1", 3307));
    }

    #[test]
    fn a_url_lists_servers_with_one_user_database_and_set_of_options() {
        let targets = Target::parse_all("mysql://u:a,b@one,[::1]:3307,two:3308/db?ssl-ca=/ca.pem").unwrap();
        let found: Vec<_> = targets
            .iter()
            .map(|target| (target.options.get_host(), target.options.get_port()))
            .collect();
        assert_eq!(found, [("one", 3306), ("::1", 3307), ("two", 3308)]);
        for target in &targets {
            assert_eq!(target.options.get_username(), "u");
            assert_eq!(target.options.get_database(), Some("db"));
            assert_eq!(target.files.len(), 1);
        }
        for (url, why) in [
            ("mysql://u:secret@one,/db", "has no name"),
            ("mysql://u:secret@,one/db", "has no name"),
            ("mysql://u:secret@one,one:3306/db", "listed twice"),
            ("mysql://u:secret@one,two/db?socket=/s", "socket"),
            ("mysql://u:secret@one,two:port/db", "percent-encode"),
            ("mysql://u:secret@a,b,c,d,e,f,g,h,i,j/db", "at most 9"),
        ] {
            let said = match Target::parse_all(url) {
                Ok(_) => panic!("{url} is accepted"),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(why) && !said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn options_that_are_not_known_are_refused_and_the_known_ones_taken() {
        for (url, named) in [
            ("mysql://root@h/db?ssl_mode=REQUIRED", "ssl_mode"),
            ("mysql://root@h/db?sslMode=REQUIRED", "sslMode"),
            ("mysql://root@h/db?ssl-mode=REQUIRED&pool=5", "pool"),
            ("mysql://root@h/db?ssl-mode=MAYBE", "MAYBE"),
            ("mysql://root@h/db?socket=/s&ssl-mode=REQUIRED", "socket"),
        ] {
            let said = refusal(url);
            assert!(said.contains(named), "{url}: {said}");
        }
        let target =
            Target::parse("mysql://root@h/db?charset=latin1&collation=utf8mb4_bin&ssl-ca=/ca.pem").unwrap();
        assert_eq!(target.without_effect, ["charset", "collation"]);
        assert_eq!(target.options.get_charset(), "utf8mb4");
        assert_eq!(target.options.get_collation(), Some("utf8mb4_unicode_ci"));
        assert!(
            Target::parse("mysql://root@h/db?charset=utf8mb4")
                .unwrap()
                .without_effect
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_file_of_tls_that_cannot_be_read_is_named() {
        let target = Target::parse("mysql://root@h/db?ssl-ca=/nowhere/ca.pem").unwrap();
        let said = target.read_files().await.unwrap_err().to_string();
        assert!(said.contains("ssl-ca /nowhere/ca.pem"), "{said}");
    }
}
