//! Certificates for servers on loopback addresses.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::guardian::Folder;

/// A certificate for localhost and 127.0.0.1, its key, and the certificate authority that signed it.
pub struct Certificates(Folder);

impl Certificates {
    /// Creates a certificate and an authority that are valid for `days`.
    pub fn lasting(days: u32) -> Self {
        let folder = Folder::new();
        make_lasting(folder.path(), days);
        Self(folder)
    }

    /// Returns the path of the authority's certificate, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// Returns the path of the certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// Returns the path of the certificate's private key, in PEM.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }

    /// Returns a TLS acceptor for servers with this certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let certificate =
            CertificateDer::from_pem_file(self.certificate()).expect("the certificate is valid PEM");
        let key = PrivateKeyDer::from_pem_file(self.key()).expect("the key is valid PEM");
        let config = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("the key matches the certificate");
        TlsAcceptor::from(Arc::new(config))
    }

    /// Returns a TLS connector for clients that trusts only this authority.
    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_file(self.authority()).expect("the certificate is valid PEM");
        roots.add(authority).expect("the certificate is an authority");
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

/// OpenSSL's configuration for the authority and for the certificate. It is complete, so the system's
/// configuration adds nothing.
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

/// Creates `ca.pem`, and `server.pem` with `server.key`, in `folder`, for localhost and 127.0.0.1.
pub(crate) fn make(folder: &Path) {
    make_lasting(folder, 365);
}

/// Creates `server.pem` with `server.key` in `folder`, self-signed with OpenSSL's default settings, and
/// `ca.pem` with the same certificate.
pub(crate) fn make_self_signed(folder: &Path) {
    openssl(
        folder,
        &format!(
            "req -x509 -days 365 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 {KEY} \
             -keyout server.key -out server.pem"
        ),
    );
    std::fs::copy(folder.join("server.pem"), folder.join("ca.pem")).expect("the folder can be written to");
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is not installed: `apt-get install openssl`");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {errors}");
}

fn make_lasting(folder: &Path, days: u32) {
    std::fs::write(folder.join("certificates"), CERTIFICATES).expect("the folder can be written to");
    let openssl = |arguments: &str| openssl(folder, arguments);
    openssl(&format!(
        "req -config certificates -x509 -days 365 -extensions authority -subj /CN=tests {KEY} -keyout ca.key -out ca.pem"
    ));
    openssl(&format!(
        "req -config certificates {KEY} -keyout server.key -out server.csr"
    ));
    openssl(&format!(
        "x509 -req -days {days} -in server.csr -CA ca.pem -CAkey ca.key -set_serial 1 \
         -extfile certificates -extensions server -out server.pem",
    ));
}
