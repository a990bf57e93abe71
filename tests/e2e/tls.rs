//! TLS, with real certificates and two kinds of clients: rustls and OpenSSL.

use std::path::Path;
use std::process::{Command, Stdio};

use eventstore::Timestamp;
use tempfile::TempDir;
use testkit::{Certificates, Program, free_port, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::Client;
use crate::metrics::Page;
use crate::rig::{SOON, patients};

struct Server {
    folder: TempDir,
    port: u16,
}

impl Server {
    fn with(made: &Certificates) -> Self {
        let server = Self {
            folder: TempDir::new().unwrap(),
            port: free_port(),
        };
        server.put("cert.pem", &made.certificate());
        server.put("key.pem", &made.key());
        server
    }

    /// Replaces one of the server's files.
    fn put(&self, name: &str, file: &Path) {
        std::fs::copy(file, self.folder.path().join(name)).unwrap();
    }

    fn command(&self, role: &str) -> Command {
        let mut command = patients(role);
        command
            .current_dir(self.folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{}", self.port))
            .env("TLS_CERT_FILE", "cert.pem")
            .env("TLS_KEY_FILE", "key.pem");
        command
    }

    /// Starts the server, and waits until `patients health` succeeds.
    async fn start(&self) -> Program {
        let program = Program::start(&self.command("serve"));
        wait_until(SOON, "it is healthy", async || {
            let checked = self.command("health").stderr(Stdio::null()).status();
            checked.unwrap().success()
        })
        .await;
        program
    }

    /// Connects. Fails if the authority of `made` did not issue the server's certificate.
    async fn connect(&self, made: &Certificates) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        made.connector()
            .connect("localhost".try_into().unwrap(), stream)
            .await
    }
}

/// Sends another request on an open connection. Returns the response.
async fn live(connection: &mut TlsStream<TcpStream>) -> String {
    connection
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut part = [0; 4096];
        let length = connection.read(&mut part).await.unwrap();
        assert!(length > 0, "it ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..length]);
    }
    String::from_utf8(answer).unwrap()
}

/// Returns the end of a certificate's validity according to OpenSSL, in seconds since 1970.
fn not_after(made: &Certificates) -> f64 {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
        .arg(made.certificate())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let moment = said.trim().strip_prefix("notAfter=").unwrap().replace(' ', "T");
    let micros = moment.parse::<Timestamp>().unwrap().as_micros();
    f64::from(u32::try_from(micros / 1_000_000).unwrap())
}

/// Returns the output of `openssl s_client`, including the server's response.
fn openssl(port: u16, made: &Certificates, options: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            "-servername",
            "localhost",
        ])
        .args(["-ign_eof", "-verify_return_error", "-CAfile"])
        .arg(made.authority())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(client.stdin.as_mut().unwrap(), request).unwrap();
    String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_certificate_is_served_and_nothing_in_plain() {
    let made = Certificates::lasting(3);
    let server = Server::with(&made);
    let program = server.start().await;
    let said = program.log();
    assert!(
        said.contains(&format!("https://127.0.0.1:{}", server.port)),
        "{said}"
    );
    assert!(said.contains("the certificate expires soon"), "{said}");

    let mut connection = server.connect(&made).await.unwrap();
    let answer = live(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("strict-transport-security: max-age=31536000\r\n"),
        "{answer}"
    );
    for (options, version) in [(&["-tls1_2"], "TLSv1.2"), (&["-tls1_3"], "TLSv1.3")] {
        let options = [options.as_slice(), &["-alpn", "h2,http/1.1"]].concat();
        let said = openssl(server.port, &made, &options);
        assert!(
            said.contains("HTTP/1.1 200 OK") && said.contains(version),
            "{said}"
        );
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    }

    let mut plain = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    plain
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _end = tokio::time::timeout(SOON, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP/"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let answer = live(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!program.log().contains("panicked"), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_while_connections_are_open_and_a_broken_one_is_not() {
    let (old, new) = (Certificates::lasting(30), Certificates::lasting(60));
    let server = Server::with(&old);
    let program = server.start().await;
    let end = async |made: &Certificates| {
        let page = Page::of(&Client::over_tls(server.port, made)).await;
        page.value("patients_tls_certificate_expiry_timestamp_seconds{}")
    };
    assert_eq!(end(&old).await, Some(not_after(&old)));
    let mut open = server.connect(&old).await.unwrap();
    live(&mut open).await;
    assert!(server.connect(&new).await.is_err());

    // The files are replaced one after the other, and the server may read them after only one replacement.
    server.put("cert.pem", &new.certificate());
    server.put("key.pem", &new.key());
    wait_until(SOON, "the new one is served", async || {
        server.connect(&new).await.is_ok()
    })
    .await;
    assert!(server.connect(&old).await.is_err());
    assert!(
        live(&mut open).await.starts_with("HTTP/1.1 200 "),
        "an open connection stays usable"
    );
    wait_until(SOON, "its end is shown", async || {
        end(&new).await == Some(not_after(&new))
    })
    .await;

    server.put("key.pem", &old.key());
    wait_until(SOON, "it complains", async || {
        let log = program.log();
        log.contains("the key does not belong to the certificate")
            && log.contains("the previous content stays in use")
    })
    .await;
    assert!(server.connect(&new).await.is_ok());
    assert_eq!(end(&new).await, Some(not_after(&new)));
    assert!(live(&mut open).await.starts_with("HTTP/1.1 200 "));
    assert!(program.is_running());
}

#[test]
fn a_certificate_that_cannot_be_served_is_refused_at_the_start() {
    let (one, other) = (Certificates::lasting(30), Certificates::lasting(30));
    let server = Server::with(&one);
    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    server.put("key.pem", &other.key());
    let said = refused(&mut server.command("serve"));
    assert!(said.contains("TLS_KEY_FILE key.pem"), "{said}");
    assert!(
        said.contains("the key does not belong to the certificate"),
        "{said}"
    );
    server.put("key.pem", &one.certificate());
    let said = refused(&mut server.command("serve"));
    assert!(said.contains("the key file contains no private key"), "{said}");
    server.put("cert.pem", &one.key());
    let said = refused(&mut server.command("serve"));
    assert!(
        said.contains("the certificate file contains no certificate"),
        "{said}"
    );
    let said = refused(server.command("serve").env("TLS_KEY_FILE", ""));
    assert!(said.contains("only one of them is set"), "{said}");
    let said = refused(server.command("serve").env("TLS_CERT_FILE", "missing.pem"));
    assert!(
        said.contains("TLS_CERT_FILE missing.pem cannot be read"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_name_that_a_client_chose_is_not_logged() {
    let made = Certificates::lasting(30);
    let server = Server::with(&made);
    let program = Program::start(server.command("serve").env("LOG", "trace"));
    wait_until(SOON, "the handshake has failed", async || {
        // rustls warns of this name, because it is not a DNS name.
        openssl(server.port, &made, &["-servername", "maria.clara@example.com"]);
        program.log().contains("a TLS handshake failed")
    })
    .await;
    let said = program.log();
    assert!(!said.contains("maria.clara"), "{said}");
}
