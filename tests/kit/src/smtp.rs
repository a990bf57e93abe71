//! An SMTP server that keeps what it receives.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::guardian::Folder;
use crate::installed;
use crate::mail::Mail;
use crate::port::free_port;
use crate::service::{Probe, Service};

/// What to do when there is no server program.
const MISSING: &str = "no aiosmtpd is installed: `apt-get install python3-aiosmtpd`";

/// An authority that signs a certificate for localhost. The whole configuration, so that the system's adds nothing.
const CERTIFICATES: &str = "
[req]
prompt = no
distinguished_name = name
[name]
CN = localhost
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Where encryption begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpMode {
    /// Nowhere.
    Plain,
    /// With the connection (RFC 8314): `smtps`.
    Tls,
    /// With the STARTTLS command (RFC 3207), without which the server takes no mail.
    StartTls,
}

/// A real SMTP server, Debian's `aiosmtpd`, that accepts every mail and keeps it.
pub struct SmtpServer {
    mode: SmtpMode,
    port: u16,
    ca_file: Option<PathBuf>,
    mails: PathBuf,
    service: Service,
    _folder: Folder,
}

impl SmtpServer {
    /// Starts one; with TLS, it has a certificate for localhost and 127.0.0.1 from an authority made for it.
    pub async fn start(mode: SmtpMode) -> Self {
        let program = installed::find(&["aiosmtpd"], |_| true).expect(MISSING);
        let folder = Folder::new();
        let mails = folder.path().join("mails");
        let port = free_port();
        if mode != SmtpMode::Plain {
            make_certificates(folder.path());
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

    /// Where it is, as lettre takes it: `smtp://127.0.0.1:PORT`, `smtps://localhost:PORT` or
    /// `smtp://localhost:PORT?tls=required`.
    pub fn url(&self) -> String {
        match self.mode {
            SmtpMode::Plain => format!("smtp://127.0.0.1:{}", self.port),
            SmtpMode::Tls => format!("smtps://localhost:{}", self.port),
            SmtpMode::StartTls => format!("smtp://localhost:{}?tls=required", self.port),
        }
    }

    /// The certificate, in PEM, of the authority to trust; none in [`SmtpMode::Plain`].
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// All mails so far, in the order of their arrival, those from before a restart too.
    pub fn mails(&self) -> Vec<Mail> {
        // Maildir: a mail appears in `new` complete, under `SECONDS.MmicrosecondsP…`.
        let Ok(entries) = std::fs::read_dir(self.mails.join("new")) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("the mails are listed").path())
            .collect();
        files.sort_by_key(|file| arrival(file));
        let read = |file| std::fs::read(file).expect("a mail can be read");
        files
            .iter()
            .map(|file| Mail {
                raw: String::from_utf8_lossy(&read(file)).into_owned(),
            })
            .collect()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self) {
        self.service.kill().await;
    }

    /// Kills it if it runs, starts it again on the same port with the same mails, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.service.restart().await;
    }
}

/// Seconds and microseconds of a Maildir file name such as `1700000000.M42P7Q1.host`.
fn arrival(file: &Path) -> Option<(u64, u64)> {
    let name = file.file_name()?.to_str()?;
    let (seconds, rest) = name.split_once(".M")?;
    let (microseconds, _) = rest.split_once('P')?;
    Some((seconds.parse().ok()?, microseconds.parse().ok()?))
}

/// Makes `ca.pem`, and `server.pem` with `server.key`, in `folder`.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("certificates"), CERTIFICATES).expect("the folder can be written to");
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .expect("no openssl is installed: `apt-get install openssl`");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {errors}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -config certificates -x509 -days 365 -extensions authority -subj /CN=tests {key} -keyout ca.key -out ca.pem"
    ));
    openssl(&format!(
        "req -config certificates {key} -keyout server.key -out server.csr"
    ));
    openssl(
        "x509 -req -days 365 -in server.csr -CA ca.pem -CAkey ca.key -set_serial 1 \
         -extfile certificates -extensions server -out server.pem",
    );
}
