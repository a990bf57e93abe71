//! MySQL or MariaDB, and which of them is installed.

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
    /// The name as its vendor writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// Recognizes the flavour in a version text from `mysqld --version` or `SELECT VERSION()`.
    pub(super) fn of(version: &str) -> Self {
        if version.contains("MariaDB") {
            Self::MariaDb
        } else {
            Self::MySql
        }
    }

    /// The server program, if it is installed. MariaDB's packages also install a `mysqld`, so the name alone
    /// is not enough.
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

/// The advice for a machine without a server.
pub(super) const MISSING: &str = "no MySQL server to start for the tests: install one, such as with `apt-get install \
    mariadb-server-core` or `apt-get install mysql-server-core`; those that kill none take running ones too, which \
    TEST_MYSQL_URL names (mysql://root@127.0.0.1:3306, or several with commas between)";

/// The flavours whose server program is installed, at least one, because a test for each flavour would pass
/// with none.
///
/// # Panics
/// If no flavour is installed. The message says what to install.
pub fn installed_flavours() -> Vec<Flavour> {
    let mut flavours = vec![Flavour::MySql, Flavour::MariaDb];
    flavours.retain(|flavour| flavour.program().is_some());
    assert!(!flavours.is_empty(), "{MISSING}");
    flavours
}
