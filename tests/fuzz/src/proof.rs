//! Proof files and trusted heads.

use eventstore::proof::Meets;
use eventstore::{Proof, Trusted};

/// Reads a trusted head from the first line and a proof from the rest. A valid proof becomes invalid if its
/// root or its event changes. Every proof is unchanged after it is written and read again.
pub fn proof(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (head, file) = crate::first_line(text);
    let trusted = head.parse::<Trusted>().ok();
    if let Some(Trusted { position, hash }) = trusted {
        assert_eq!(
            format!("{position}:{hash}").parse(),
            Ok(Trusted { position, hash })
        );
        let (sent, _) = head.trim().split_once(':').unwrap();
        assert!(sent.bytes().all(|byte| byte.is_ascii_digit()), "{sent}");
    }
    let Ok(proof) = serde_json::from_str::<Proof>(file) else {
        return;
    };
    let again: Proof = serde_json::from_str(&serde_json::to_string_pretty(&proof).unwrap()).unwrap();
    assert_eq!(again, proof);
    let checked = proof.check();
    assert_eq!(again.check(), checked);
    if let Some(trusted) = trusted {
        let met = proof.meets(&trusted);
        assert_eq!(met == Meets::Tree, {
            proof.tree.size == trusted.position.get() && proof.tree.root == trusted.hash
        });
    }
    if checked.is_ok() {
        let mut altered = proof.clone();
        altered.tree.root.0[17] ^= 1;
        assert!(altered.check().is_err(), "it does not depend on the root");
        if let Some(inclusion) = &mut altered.inclusion {
            altered.tree.root = proof.tree.root;
            inclusion.event.sequence ^= 1;
            assert!(altered.check().is_err(), "it does not depend on the event");
        }
    }
}
