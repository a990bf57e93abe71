//! The flavors MySQL and MariaDB, and detection of the installed flavors.

use std::fmt;
use std::path::PathBuf;

use crate::installed;

/// One of the two servers that use MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Oracle's MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavour {
    /// Returns the name in its vendor's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// Detects the flavor from a version text of `mysqld --version` or `SELECT VERSION()`.
    pub(super) fn of(version: &str) -> Self {
        if version.contains("MariaDB") {
            Self::MariaDb
        } else {
            Self::MySql
        }
    }

    /// Returns the path of the server program, if it is installed. MariaDB's packages also install a
    /// `mysqld`, so the name alone is not enough.
    pub(super) fn program(self) -> Option<PathBuf> {
        installed::find(&["mysqld", "mariadbd"], |program| {
            let version = installed::output(program, &["--version"]);
            version.contains("Ver ") && Self::of(&version) == self
        })
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Error message for a machine without a server.
pub(super) const MISSING: &str = "no MySQL server is installed: install one, such as with `apt-get install \
    mariadb-server-core` or `apt-get install mysql-server-core`; tests that kill no server can also use running ones, \
    named in TEST_MYSQL_URL (mysql://root@127.0.0.1:3306, or several URLs separated by commas)";

/// Returns the flavors whose server program is installed. The result is never empty, because otherwise a test
/// for each flavor would pass without running.
///
/// # Panics
/// If no flavor is installed. The message names the package to install.
pub fn installed_flavours() -> Vec<Flavour> {
    let mut flavours = vec![Flavour::MySql, Flavour::MariaDb];
    flavours.retain(|flavour| flavour.program().is_some());
    assert!(!flavours.is_empty(), "{MISSING}");
    flavours
}
