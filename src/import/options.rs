//! Options of `patients import`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use domain::ImportSource;

use super::row::Field;
use crate::audit::PartFile;
use crate::cli::has_password;

/// Variable with the place of the patients.
const FROM: &str = "IMPORT_FROM";

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct ImportArguments {
    /// Source of the patients: a table in MySQL or MariaDB (`mysql://user:password@host/database`), a CSV file
    /// (.csv), or a file with a FHIR R4 Patient resource on each line (.ndjson)
    #[arg(long, env = FROM, hide_env = true, hide_env_values = true, value_name = "URL|FILE")]
    from: Option<String>,
    /// The same as --from FILE. It takes precedence over the variable `IMPORT_FROM`
    #[arg(value_name = "FILE", required_unless_present = "from")]
    file: Option<String>,
    /// Table of a MySQL database
    #[arg(long, value_name = "NAME", default_value = "patients")]
    pub(super) table: String,
    /// Column of a table or a CSV file for a field (id, name, email, phone or `document_url`), if its name is
    /// not the field's; can be repeated
    #[arg(long, visible_alias = "header", value_name = "FIELD=COLUMN", value_parser = column)]
    pub(super) column: Vec<(Field, String)>,
    /// Delimiter of a CSV file: one ASCII character, or `tab`
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    pub(super) delimiter: u8,
    /// Name of the service that the patients come from. Together with the old id, it determines the id of a
    /// patient. Default: `LEGACY_SOURCE`
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<ImportSource>,
    /// Document URL for patients without a document URL; {id} stands for the old id
    #[arg(long, value_name = "URL")]
    pub(super) document_url: Option<String>,
    /// Check the rows, and import nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// File for the report: the reasons for each row that is not imported, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Send the confirmation emails. By default, an import sends no email
    #[arg(long)]
    pub(super) send_mail: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Where the patients come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Csv(PathBuf),
    Fhir(PathBuf),
    /// URL of a MySQL database.
    Table(String),
}

impl ImportArguments {
    fn from(&self) -> &str {
        let from = self.file.as_deref().or(self.from.as_deref());
        from.unwrap_or_default()
    }

    /// Checks the options that depend on each other.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let from = self.from.as_deref();
        if self.file.is_some() && from.is_some() && std::env::var(FROM).as_deref().ok() != from {
            bail!("--from and FILE cannot be used together");
        }
        if let (Origin::Csv(source) | Origin::Fhir(source), Some(report)) = (self.origin()?, &self.report)
            && PartFile::would_replace(report, &source)
        {
            bail!(
                "--report {} would overwrite the file that is imported: name another file",
                report.display()
            );
        }
        Ok(())
    }

    /// Logs a warning if the command line contains a password.
    pub(super) fn warn_of_password(&self) {
        let from = self.from();
        if has_password(from) && std::env::var(FROM).as_deref() != Ok(from) {
            tracing::warn!(
                "every local user can read the password in --from: set {FROM} in the environment instead, and change the \
                 password"
            );
        }
    }

    /// Returns where the patients come from.
    pub(super) fn origin(&self) -> anyhow::Result<Origin> {
        let from = self.from();
        if ["mysql://", "mariadb://"]
            .iter()
            .any(|scheme| from.starts_with(scheme))
        {
            return Ok(Origin::Table(from.to_owned()));
        }
        if from.contains("://") {
            // The text may contain a password.
            bail!("--from must be mysql://user:password@host/database, FILE.csv or FILE.ndjson");
        }
        let path = PathBuf::from(from);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Ok(Origin::Csv(path)),
            Some("ndjson" | "jsonl") => Ok(Origin::Fhir(path)),
            _ => bail!(
                "{}: the name of the file must end with .csv or .ndjson",
                path.display()
            ),
        }
    }

    /// Returns the column of a field.
    pub(super) fn column_of(&self, field: Field) -> &str {
        let mut columns = self.column.iter().rev();
        columns
            .find(|(named, _)| *named == field)
            .map_or(field.name(), |(_, column)| column)
    }
}

fn column(text: &str) -> anyhow::Result<(Field, String)> {
    let expected = "expected FIELD=COLUMN, where FIELD is id, name, email, phone or document_url";
    let (field, column) = text.split_once('=').context(expected)?;
    let field = Field::ALL.into_iter().find(|known| known.name() == field);
    let field = field.filter(|_| !column.is_empty()).context(expected)?;
    Ok((field, column.to_owned()))
}

fn delimiter(text: &str) -> anyhow::Result<u8> {
    match (text, text.as_bytes()) {
        ("\\t" | "tab", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => bail!("expected one ASCII character, or tab"),
    }
}
