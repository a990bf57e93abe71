//! The client programs of MySQL and MariaDB, for administering a server.

use std::process::Command;

use url::Url;

use super::{Flavour, MysqlServer};
use crate::installed;

/// A program that administers a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlClient {
    /// `mysql`, which runs SQL from its standard input.
    Shell,
    /// `mysqldump`, which writes a database as SQL.
    Dump,
}

impl MysqlClient {
    /// Returns the program's names, beginning with the name of the program that ships with the server. The
    /// programs of both vendors work with both servers.
    fn names(self, flavour: Flavour) -> [&'static str; 2] {
        let mut names = match self {
            Self::Shell => ["mysql", "mariadb"],
            Self::Dump => ["mysqldump", "mariadb-dump"],
        };
        if flavour == Flavour::MariaDb {
            names.reverse();
        }
        names
    }
}

impl MysqlServer {
    /// Returns a client program that connects to this server as a user.
    ///
    /// # Panics
    /// If the program is not installed.
    pub fn client(&self, client: MysqlClient, user: &str, password: &str) -> Command {
        let names = client.names(self.flavour);
        let program = installed::find(&names, |_| true);
        let program = program
            .unwrap_or_else(|| panic!("{} is not installed: `apt-get install mariadb-client`", names[0]));
        let url = Url::parse(&self.url).expect("the server's URL is valid");
        let mut command = Command::new(program);
        command
            // Ignores all option files on this machine.
            .arg("--no-defaults")
            .arg(format!("--host={}", url.host_str().unwrap_or_default()))
            .arg(format!("--port={}", url.port().unwrap_or(3306)))
            .args([format!("--user={user}"), format!("--password={password}")]);
        command
    }
}
