//! Certificates for servers on this machine.

use std::path::Path;
use std::process::{Command, Stdio};

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

/// Makes `ca.pem`, and `server.pem` with `server.key`, in `folder`: for localhost and 127.0.0.1.
pub(crate) fn make(folder: &Path) {
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
