//! An SMTP server that keeps the mail it receives.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::certificates;
use crate::guardian::Folder;
use crate::installed;
use crate::mail::Mail;
use crate::port::free_port;
use crate::service::{Probe, Service};

/// Error message for a machine without the server program.
const MISSING: &str = "aiosmtpd is not installed: `apt-get install python3-aiosmtpd`";

/// The encryption of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpMode {
    /// No encryption.
    Plain,
    /// TLS from the start of the connection (RFC 8314): `smtps`.
    Tls,
    /// TLS after the STARTTLS command (RFC 3207), which the server requires before it accepts mail.
    StartTls,
}

/// A real SMTP server, Debian's `aiosmtpd`, which accepts and keeps every email.
pub struct SmtpServer {
    mode: SmtpMode,
    port: u16,
    ca_file: Option<PathBuf>,
    mails: PathBuf,
    service: Service,
    _folder: Folder,
}

impl SmtpServer {
    /// Starts a server. With TLS, it has a certificate for localhost and 127.0.0.1 from a new authority.
    pub async fn start(mode: SmtpMode) -> Self {
        Self::with_certificate(mode, certificates::make).await
    }

    /// Starts a server whose certificate is self-signed, as `openssl req -x509` creates it by default: it
    /// claims to be an authority. The certificate is also the file to trust.
    pub async fn self_signed(mode: SmtpMode) -> Self {
        Self::with_certificate(mode, certificates::make_self_signed).await
    }

    async fn with_certificate(mode: SmtpMode, make: fn(&Path)) -> Self {
        let program = installed::find(&["aiosmtpd"], |_| true).expect(MISSING);
        let folder = Folder::new();
        let mails = folder.path().join("mails");
        let port = free_port();
        if mode != SmtpMode::Plain {
            make(folder.path());
        }
        let log = folder.path().join("log");
        let service = Service::start("aiosmtpd", &program, (port, Probe::Connects), log, |command| {
            command
                .current_dir(folder.path())
                .args(["-n", "-l", &format!("127.0.0.1:{port}")]);
            match mode {
                SmtpMode::Plain => {}
                SmtpMode::Tls => {
                    command.args(["--smtpscert", "server.pem", "--smtpskey", "server.key"]);
                }
                SmtpMode::StartTls => {
                    command.args(["--tlscert", "server.pem", "--tlskey", "server.key"]);
                }
            }
            command.args(["-c", "aiosmtpd.handlers.Mailbox"]).arg(&mails);
        })
        .await;
        let ca_file = (mode != SmtpMode::Plain).then(|| folder.path().join("ca.pem"));
        Self {
            mode,
            port,
            ca_file,
            mails,
            service,
            _folder: folder,
        }
    }

    /// Returns the server's URL in lettre's form: `smtp://127.0.0.1:PORT`, `smtps://localhost:PORT` or
    /// `smtp://localhost:PORT?tls=required`.
    pub fn url(&self) -> String {
        match self.mode {
            SmtpMode::Plain => format!("smtp://127.0.0.1:{}", self.port),
            SmtpMode::Tls => format!("smtps://localhost:{}", self.port),
            SmtpMode::StartTls => format!("smtp://localhost:{}?tls=required", self.port),
        }
    }

    /// Returns the path of the authority's certificate, in PEM; `None` in [`SmtpMode::Plain`].
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Returns all emails so far, in order of arrival, including emails from before a restart.
    pub fn mails(&self) -> Vec<Mail> {
        // In a maildir, a complete email appears in `new` as `SECONDS.MmicrosecondsP…`.
        let Ok(entries) = std::fs::read_dir(self.mails.join("new")) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("the folder of mails can be listed").path())
            .collect();
        files.sort_by_key(|file| arrival(file));
        let arrived = |file| arrival(file).expect("a maildir file name contains the time");
        let read = |file| std::fs::read(file).expect("a mail can be read");
        files
            .iter()
            .map(|file| Mail {
                raw: String::from_utf8_lossy(&read(file)).into_owned(),
                arrived: arrived(file),
            })
            .collect()
    }

    /// Kills the server with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self) {
        self.service.kill().await;
    }

    /// Stops the server with SIGTERM and waits until it has exited.
    pub async fn terminate(&mut self) {
        self.service.terminate().await;
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.service.signal(name);
    }

    /// Kills the server if it runs, starts it again on the same port with the same emails, and waits until it
    /// is ready.
    pub async fn restart(&mut self) {
        self.service.restart().await;
    }
}

/// Returns the time since 1970 in a maildir file name such as `1700000000.M42P7Q1.host`.
fn arrival(file: &Path) -> Option<Duration> {
    let name = file.file_name()?.to_str()?;
    let (seconds, rest) = name.split_once(".M")?;
    let (microseconds, _) = rest.split_once('P')?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(microseconds.parse().ok()?))
}
