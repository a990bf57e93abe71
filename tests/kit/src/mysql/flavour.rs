//! MySQL or MariaDB, and which of them is installed.

use std::fmt;
use std::path::PathBuf;

use crate::installed;

/// Which of the two servers that speak MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Oracle's MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavour {
    /// Its name as its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// Tells it from a version text, of `mysqld --version` or `SELECT VERSION()`.
    pub(super) fn of(version: &str) -> Self {
        if version.contains("MariaDB") {
            Self::MariaDb
        } else {
            Self::MySql
        }
    }

    /// The server program, if it is installed. MariaDB's packages install a `mysqld` too, so the name tells nothing.
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

/// The flavours that this machine has a server program of.
pub fn installed_flavours() -> Vec<Flavour> {
    [Flavour::MySql, Flavour::MariaDb]
        .into_iter()
        .filter(|flavour| flavour.program().is_some())
        .collect()
}
