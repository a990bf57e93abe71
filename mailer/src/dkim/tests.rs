//! The tests verify signatures with OpenSSL and the public key, as specified in RFC 6376.

use std::fs;
use std::path::Path;
use std::process::Command;

use eventstore::{Clock, SystemClock};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{Composer, Languages, Sender, Template, Templates};

/// Runs OpenSSL in `folder`. Returns whether it succeeds.
fn openssl(folder: &Path, arguments: &str) -> bool {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    output.status.success()
}

/// Returns a folder with `key.pem`, created by the given OpenSSL command, and its public key `public.pem`.
fn keys(made_by: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    assert!(openssl(folder.path(), made_by), "{made_by}");
    assert!(openssl(folder.path(), "pkey -in key.pem -pubout -out public.pem"));
    folder
}

fn dkim(folder: &TempDir) -> Dkim {
    let pem = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    Dkim::new(&pem, "mail2026", "miapp.com").unwrap()
}

fn signed(dkim: Dkim) -> String {
    let composer = Composer::new(
        Templates::built_in().unwrap(),
        Languages::default(),
        "Mi clínica <noreply@miapp.com>".parse::<Sender>().unwrap(),
    )
    .with_dkim(dkim);
    let mail = composer
        .preview(Template::PatientRegistered, None, SystemClock.now())
        .unwrap();
    mail.content().to_owned()
}

/// Canonicalizes a header (RFC 6376 §3.4.2): lowercase name, unfolded, each run of whitespace as one space,
/// no whitespace at the ends.
fn relaxed(header: &str) -> String {
    let (name, value) = header.split_once(':').unwrap();
    let value: Vec<_> = value.split_whitespace().collect();
    format!("{}:{}", name.trim().to_lowercase(), value.join(" "))
}

fn tag<'a>(signature: &'a str, name: &str) -> &'a str {
    let tags = signature.split_once(':').unwrap().1.split(';');
    tags.map(str::trim)
        .find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='))
        .unwrap()
}

/// Whether the only signature of `mail` was made with the key in `folder`.
fn verifies(mail: &str, folder: &TempDir) -> bool {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers: Vec<_> = unfolded.split("\r\n").collect();
    let field = |name: &str| {
        let found = headers.iter().find(|header| {
            let (found, _) = header.split_once(':').unwrap();
            found.eq_ignore_ascii_case(name)
        });
        *found.unwrap_or_else(|| panic!("{name}"))
    };
    let signature = field("DKIM-Signature");

    // Relaxed canonicalization of the body (RFC 6376 §3.4.4).
    let mut lines: Vec<_> = body
        .split("\r\n")
        .map(|line| {
            let line = line.trim_end_matches([' ', '\t']);
            let begins = line.len() - line.trim_start_matches([' ', '\t']).len();
            let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let space = if begins > 0 { " " } else { "" };
            format!("{space}{}", words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let body = lines.join("\r\n") + "\r\n";
    if STANDARD.encode(Sha256::digest(body)) != tag(signature, "bh") {
        return false;
    }

    let (unsigned, value) = signature.split_at(signature.rfind("b=").unwrap() + 2);
    let mut data = String::new();
    for name in tag(signature, "h").split(':') {
        data.push_str(&relaxed(field(name.trim())));
        data.push_str("\r\n");
    }
    data.push_str(&relaxed(unsigned));
    let value: String = value.split_whitespace().collect();
    let path = folder.path();
    fs::write(path.join("signature"), STANDARD.decode(value).unwrap()).unwrap();
    fs::write(path.join("data"), &data).unwrap();
    match tag(signature, "a") {
        "rsa-sha256" => openssl(path, "dgst -sha256 -verify public.pem -signature signature data"),
        // Ed25519 signs the hash of the data (RFC 8463 §3).
        "ed25519-sha256" => {
            fs::write(path.join("data"), Sha256::digest(&data)).unwrap();
            openssl(
                path,
                "pkeyutl -verify -pubin -inkey public.pem -rawin -in data -sigfile signature",
            )
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_email_is_signed_with_each_kind_of_key_as_openssl_writes_it() {
    for made_by in [
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
        "genrsa -traditional -out key.pem 1024",
        "genpkey -algorithm ed25519 -out key.pem",
    ] {
        let folder = keys(made_by);
        let mail = signed(dkim(&folder));
        assert!(verifies(&mail, &folder), "{made_by}\n{mail}");
        for (what, other) in [
            ("noreply@miapp.com", "noreply@miapp.con"),
            ("Auto-Submitted: auto-generated", "Auto-Submitted: no"),
            ("confirmed", "forgotten"),
        ] {
            assert!(mail.contains(what), "{what}\n{mail}");
            let altered = mail.replacen(what, other, 1);
            assert!(!verifies(&altered, &folder), "{made_by}: {what}");
        }
    }
}

#[test]
fn the_signature_names_where_its_key_is() {
    let folder = keys("genpkey -algorithm ed25519 -out key.pem");
    let mail = signed(dkim(&folder)).replace("\r\n ", " ");
    for part in ["d=miapp.com;", "s=mail2026;", "c=relaxed/relaxed;"] {
        assert!(mail.contains(part), "{part}\n{mail}");
    }
}

#[test]
fn an_invalid_or_short_key_is_rejected_and_never_shown() {
    let folder = keys("genrsa -out key.pem 512");
    let short = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    let refused = |pem: &str| Dkim::new(pem, "s", "miapp.com").unwrap_err();
    assert_eq!(refused(&short), DkimError::Short(512));
    let public = fs::read_to_string(folder.path().join("public.pem")).unwrap();
    for pem in ["", "secret", &public, &short.replace("PRIVATE", "SECRET")] {
        assert_eq!(refused(pem), DkimError::Key);
    }
    let folder = keys("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    let curve = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    assert_eq!(refused(&curve), DkimError::Key);

    let folder = keys("genpkey -algorithm ed25519 -out key.pem");
    assert_eq!(
        format!("{:?}", dkim(&folder)),
        r#"Dkim { place: "mail2026._domainkey.miapp.com", .. }"#
    );
}

#[test]
fn the_selector_and_the_domain_must_be_dns_names() {
    let folder = keys("genpkey -algorithm ed25519 -out key.pem");
    let pem = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    for wrong in ["", "a..b", "a b", "a;b", "ñ", "a.", &"a".repeat(64)] {
        let refused = |selector, domain| Dkim::new(&pem, selector, domain).unwrap_err();
        assert_eq!(refused(wrong, "miapp.com"), DkimError::Selector, "{wrong}");
        assert_eq!(refused("s", wrong), DkimError::Domain, "{wrong}");
    }
    assert!(Dkim::new(&pem, "2026.mail_a-1", "clinica.example").is_ok());
}
