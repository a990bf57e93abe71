//! Postfix: a real mail transfer agent that accepts mail only from authenticated clients and relays it.

use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::certificates;
use crate::guardian::Folder;
use crate::installed;
use crate::mail::Mail;
use crate::port::free_port;
use crate::service::{Probe, Service};
use crate::smtp::{SmtpMode, SmtpServer};

const USER: &str = "clinic";

/// The path of Postfix's master program on Debian.
const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// Debian's Postfix services, moved to private folders and ports.
const SERVICES: &str = "
pickup    unix  n  -  n  60    1  pickup
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  300   1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
proxymap  unix  -  -  n  -     -  proxymap
smtp      unix  -  -  n  -     -  smtp
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
anvil     unix  -  -  n  -     1  anvil
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n - n -   1  postlogd
";

/// Postfix with TLS and passwords. It relays to its own [`SmtpServer`].
pub struct Postfix {
    tls: u16,
    starttls: u16,
    next: SmtpServer,
    _service: Service,
    folder: Folder,
}

impl Postfix {
    /// The only valid password.
    pub const PASSWORD: &str = "not-so-secret";

    /// Starts Postfix. Returns `None` if Postfix or `saslpasswd2` is not installed, or if this process does
    /// not run as root, which Postfix requires. If `TEST_POSTFIX` is `required`, as in the project's own
    /// checks, panics instead.
    pub async fn start() -> Option<Self> {
        let program = installed::find(&["postfix"], |_| true);
        let passwords = installed::find(&["saslpasswd2"], |_| true);
        let (Some(program), Some(passwords), 0) = (program, passwords, id("-u", None)) else {
            let required = std::env::var("TEST_POSTFIX").is_ok_and(|value| value == "required");
            assert!(
                !required,
                "Postfix is required: run `scripts/install postfix`, and the tests as root"
            );
            return None;
        };
        let next = SmtpServer::start(SmtpMode::Plain).await;
        let folder = Folder::new();
        let (tls, starttls) = (free_port(), free_port());
        certificates::make(folder.path());
        configure(folder.path(), (tls, starttls), &next);
        add_user(folder.path(), &passwords);
        let conf = folder.path().join("conf");
        // Creates the queue folders.
        let checked = Command::new(&program).arg("-c").arg(&conf).arg("check").status();
        assert!(
            checked.expect("Postfix can be run").success(),
            "the configuration is valid"
        );
        let log = folder.path().join("output");
        // `postfix start` and `start-fg` would create a new session, which the guardian could not kill.
        let service = Service::start(
            "Postfix",
            Path::new(MASTER),
            (tls, Probe::Connects),
            log,
            |command| {
                command.arg("-c").arg(&conf).arg("-d").env("MAIL_CONFIG", &conf);
            },
        )
        .await;
        Some(Self {
            tls,
            starttls,
            next,
            _service: service,
            folder,
        })
    }

    /// Returns the URLs for implicit TLS and for STARTTLS, with `password`.
    pub fn urls(&self, password: &str) -> [String; 2] {
        [
            format!("smtps://{USER}:{password}@localhost:{}", self.tls),
            format!(
                "smtp://{USER}:{password}@localhost:{}?tls=required",
                self.starttls
            ),
        ]
    }

    /// Returns the path of the authority's certificate, in PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns all relayed emails, in order of arrival.
    pub fn relayed(&self) -> Vec<Mail> {
        self.next.mails()
    }
}

fn configure(folder: &Path, (tls, starttls): (u16, u16), next: &SmtpServer) {
    // Postfix's processes run as another user, which needs access to its files.
    set_permissions(folder, Permissions::from_mode(0o755)).expect("this user owns the folder");
    for name in ["conf/sasl", "queue", "data"] {
        std::fs::create_dir_all(folder.join(name)).expect("the folder can be written to");
    }
    let (user, group) = (id("-u", Some("postfix")), id("-g", Some("postfix")));
    chown(folder.join("data"), Some(user), Some(group)).expect("this process runs as root");
    let next = next.url().replace("smtp://127.0.0.1:", "[127.0.0.1]:");
    let place = folder.display();
    let settings = format!(
        "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
         maillog_file = {place}/log\nmaillog_file_prefixes = {place}\nmyhostname = localhost\nmydestination =\n\
         inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks =\nrelayhost = {next}\n\
         smtp_host_lookup = native\nalias_maps =\nalias_database =\n\
         smtpd_tls_chain_files = {place}/server.key, {place}/server.pem\nsmtpd_tls_auth_only = yes\n\
         smtpd_sasl_auth_enable = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject\n"
    );
    let services = format!(
        "{tls} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n\
         {starttls} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n{SERVICES}"
    );
    let passwords = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {place}/sasldb2\nmech_list: PLAIN LOGIN\n"
    );
    for (file, text) in [
        ("main.cf", settings),
        ("master.cf", services),
        ("sasl/smtpd.conf", passwords),
    ] {
        std::fs::write(folder.join("conf").join(file), text).expect("the folder can be written to");
    }
}

fn add_user(folder: &Path, program: &Path) {
    let database = folder.join("sasldb2");
    let mut adding = Command::new(program)
        .args(["-p", "-c", "-u", "localhost", "-f"])
        .arg(&database)
        .arg(USER)
        .stdin(Stdio::piped())
        .spawn()
        .expect("saslpasswd2 can be run");
    let mut input = adding.stdin.take().expect("standard input is piped");
    writeln!(input, "{}", Postfix::PASSWORD).expect("saslpasswd2 reads the password");
    drop(input);
    assert!(
        adding.wait().expect("saslpasswd2 exits").success(),
        "saslpasswd2 has added {USER}"
    );
    set_permissions(&database, Permissions::from_mode(0o644)).expect("this user owns the file");
}

/// Returns the user id (`-u`) or the group id (`-g`) of a user, or of the current user.
fn id(which: &str, user: Option<&str>) -> u32 {
    let arguments: Vec<_> = std::iter::once(which).chain(user).collect();
    let printed = installed::output(Path::new("id"), &arguments);
    printed.trim().parse().expect("`id` prints a number")
}
