//! Searches for personal data in everything that the program writes or sends.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use testkit::{base64url, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::SOON;

/// Returns the first form of one of these values that `bytes` contains, or `None`. The forms are: unchanged,
/// in another case, percent-encoded, in hexadecimal and in Base64.
pub(crate) fn found(values: &[&str], bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_lowercase();
    for value in values {
        let folded = value.to_lowercase();
        for form in [folded.clone(), hex(value), hex(&folded), percent_encoded(&folded)] {
            if lower.contains(&form) {
                return Some(form);
            }
        }
        for form in [value, folded.as_str()] {
            for before in ["", "-", "--"] {
                let encoded = base64url(format!("{before}{form}").as_bytes());
                // The first and the last digits also depend on the neighboring bytes.
                let start = if before.is_empty() { 0 } else { before.len() + 1 };
                let inner = &encoded[start..encoded.len() - 2];
                if text.contains(inner) || text.contains(&inner.replace('-', "+").replace('_', "/")) {
                    return Some(inner.to_owned());
                }
            }
        }
    }
    None
}

pub(crate) fn assert_absent(values: &[&str], place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(found(values, bytes), None, "in {place}:\n{text}");
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            byte => write!(encoded, "%{byte:02x}").unwrap(),
        }
        encoded
    })
}

/// Records every command that a Redis server gets, including each published message.
pub(crate) struct Monitor(Arc<Mutex<Vec<u8>>>);

impl Monitor {
    pub(crate) async fn start(url: &str) -> Self {
        let address = url.strip_prefix("redis://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let monitor = Self(Arc::default());
        let recorded = Arc::clone(&monitor.0);
        tokio::spawn(async move {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                recorded.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        wait_until(SOON, "the server is monitored", async || {
            monitor.recorded().starts_with(b"+OK")
        })
        .await;
        monitor
    }

    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until a command contains `text`.
    pub(crate) async fn wait_for(&self, text: &str) {
        wait_until(SOON, &format!("{text} is published"), async || {
            String::from_utf8_lossy(&self.recorded()).contains(text)
        })
        .await;
    }
}

#[test]
fn the_search_finds_every_form() {
    let (email, name) = ("Zaqxswc.Vfrtgbn@Example.com", "Zaqxswc Vfrtgbn");
    let values = [email, name];
    for text in [
        name.to_owned(),
        format!("x{}y", email.to_uppercase()),
        hex(email),
        "name=zaqxswc%20vfrtgbn&limit=3".to_owned(),
        "email=zaqxswc%2Evfrtgbn%40example%2Ecom".to_owned(),
        base64url(format!("a{email}b").as_bytes()),
        base64url(format!("ab{name}").as_bytes()),
    ] {
        assert_ne!(found(&values, text.as_bytes()), None, "{text}");
    }
    assert_eq!(found(&values, b"nothing of it"), None);
}
