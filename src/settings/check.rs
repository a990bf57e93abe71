//! Checks of the settings that may contain a secret.

use std::path::Path;

use super::Settings;

impl Settings {
    /// Checks the settings that may contain a password. Clap would repeat an invalid value in its error.
    pub(crate) fn check(&self) -> Result<(), String> {
        let checks = [
            (
                "DATABASE_URL",
                Some(self.database_url.as_str()),
                &["mysql", "mariadb", "sqlite"][..],
                "mysql://user:password@host/name or sqlite://path",
            ),
            (
                "KEYS_DATABASE_URL",
                self.keys_database_url(),
                &["mysql", "mariadb", "sqlite"],
                "mysql://user:password@host/name or sqlite://path",
            ),
            (
                "DATABASE_READ_URL",
                self.database_read_url(),
                &["mysql", "mariadb"],
                "mysql://user:password@host/name",
            ),
            (
                "REDIS_URL",
                self.redis_url(),
                &["redis", "rediss", "redis+sentinel", "rediss+sentinel"],
                "redis://host:port, rediss://host:port, or redis+sentinel://host:port,host:port/master",
            ),
            (
                "SMTP_URL",
                self.mail.smtp_url(),
                &["smtp", "smtps"],
                "smtp://host:port or smtps://user:password@host:port",
            ),
        ];
        for (setting, url, schemes, expected) in checks {
            let scheme = url.map(|url| url.split(':').next().unwrap_or(url));
            if scheme.is_some_and(|scheme| !schemes.contains(&scheme)) {
                let flag = setting.to_lowercase().replace('_', "-");
                return Err(format!("{setting} (--{flag}): expected {expected}"));
            }
        }
        if self.database_read_url().is_some() && self.database_url.starts_with("sqlite:") {
            return Err("DATABASE_READ_URL requires MySQL or MariaDB in DATABASE_URL".to_owned());
        }
        let key_files = [
            ("MAIL_DKIM_KEY_FILE", &self.mail.mail_dkim_key_file),
            ("TLS_KEY_FILE", &self.tls_key_file),
        ];
        for (setting, path) in key_files {
            let path = path.as_deref().map(Path::to_string_lossy).unwrap_or_default();
            if path.contains("-----BEGIN") {
                return Err(format!("{setting}: expected the path of a file, not its content"));
            }
        }
        let publication = &self.publication;
        let logs = [
            ("LOG", publication.log_origin(), publication.log_key_file()),
            (
                "READS_LOG",
                publication.reads_log_origin(),
                publication.reads_log_key_file(),
            ),
        ];
        for (log, origin, key_file) in logs {
            let Some(path) = key_file else { continue };
            if path.to_string_lossy().starts_with("PRIVATE+KEY+") {
                return Err(format!(
                    "{log}_KEY_FILE: expected the path of a file, not its content"
                ));
            }
            if origin.is_none() {
                return Err(format!("{log}_KEY_FILE requires {log}_ORIGIN"));
            }
        }
        let [(_, origin, key_file), (_, reads_origin, reads_key_file)] = logs;
        if origin.is_some() && origin == reads_origin {
            return Err("READS_LOG_ORIGIN must differ from LOG_ORIGIN".to_owned());
        }
        if key_file.is_some() && key_file == reads_key_file {
            return Err("READS_LOG_KEY_FILE must differ from LOG_KEY_FILE".to_owned());
        }
        if self.mail.mail_receipt()
            && (self.publication.log_origin().is_none() || self.public_url().is_none())
        {
            return Err("MAIL_RECEIPT=on requires LOG_ORIGIN and PUBLIC_URL".to_owned());
        }
        let (quorum, witnesses) = (
            self.publication.witness_quorum(),
            self.publication.witnesses().len(),
        );
        if quorum > witnesses {
            return Err(format!(
                "WITNESS_QUORUM is {quorum}, but WITNESSES has only {witnesses} witnesses"
            ));
        }
        Ok(())
    }
}
