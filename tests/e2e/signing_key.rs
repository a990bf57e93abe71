//! Replacing the signing key of the published log, and the loss of its state file.

use tempfile::TempDir;
use testkit::{free_port, wait_until};
use transparency::checkpoint::SignedCheckpoint;
use transparency::witness::AddCheckpoint;

use crate::published::{checkpoint, new_key, publishing, serve_with, text};
use crate::rig::SOON;
use crate::settings::ended;
use crate::signer::end_leases;
use crate::witness::{Witness, watch};

#[tokio::test]
async fn those_who_know_both_keys_follow_a_log_whose_key_was_replaced_and_whose_state_was_lost() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let adopt = |arguments: &[&str]| {
        let mut command = publishing(folder.path(), "audit key adopt");
        let (code, stdout, stderr) = ended(command.arg(file("kept")).args(arguments));
        (code, stdout + &stderr)
    };
    // The witnesses are restarted with the new key before the signer.
    let old = new_key(folder.path());
    std::fs::rename(file("log.key"), file("old.key")).unwrap();
    let new = new_key(folder.path());
    std::fs::rename(file("log.key"), file("new.key")).unwrap();
    std::fs::rename(file("old.key"), file("log.key")).unwrap();
    let knows_both = Witness::of_keys("w1.example.org", &[&old, &new]).await;
    let knows_old = Witness::of_keys("w2.example.org", &[&old]).await;
    let witnesses = format!("{},{}", knows_both.address(), knows_old.address());
    let settings = [("WITNESSES", witnesses.as_str()), ("WITNESS_QUORUM", "1")];
    let (program, client) = serve_with(folder.path(), free_port(), &settings).await;
    client.register_for_sure("a@example.com").await;
    client.register_for_sure("b@example.com").await;
    wait_until(SOON, "both witnesses have cosigned", async || {
        let newest = checkpoint(&client, 2).await;
        newest
            .verify([&old, knows_both.key(), knows_old.key()])
            .unwrap()
            .len()
            == 3
    })
    .await;
    let (okey, vkey) = (old.to_string(), new.to_string());
    let (both, only_old) = (["--key", &vkey, "--key", &okey], ["--key", &okey]);
    for (state, keys) in [("both", &both[..]), ("old", &only_old)] {
        assert_eq!(watch(&client, &file(state), keys).0, 0);
    }
    std::fs::write(file("kept"), text(&client, "/log/checkpoint").await).unwrap();
    program.kill9().await;
    end_leases(folder.path());

    std::fs::rename(file("new.key"), file("log.key")).unwrap();
    std::fs::remove_file(file("log.key.state")).unwrap();
    let (code, output) = adopt(&[]);
    assert!(
        code == 1 && output.contains("is not signed with the key"),
        "{output}"
    );
    let (code, output) = adopt(&["--verifier", &okey]);
    assert!(code == 0 && output.contains("has the size 2"), "{output}");
    let (code, output) = adopt(&["--verifier", &okey]);
    assert!(code == 1 && output.contains("not older"), "{output}");

    // The newest checkpoint gets the signature of the new key too. All witnesses accept it.
    let (program, client) = serve_with(folder.path(), free_port(), &settings).await;
    wait_until(SOON, "the newest checkpoint has both signatures", async || {
        let newest = checkpoint(&client, 2).await;
        newest.verify([&old, &new]).unwrap().len() == 2
    })
    .await;
    let status = async |witness: &Witness, old, signed: &SignedCheckpoint| {
        let request = AddCheckpoint::new(old, vec![], signed.clone()).to_string();
        witness.post(&request).await.unwrap().0
    };
    let newest = checkpoint(&client, 2).await;
    assert_eq!(status(&knows_old, 2, &newest).await, 200);
    for (state, keys) in [("both", &both[..]), ("old", &only_old)] {
        assert_eq!(watch(&client, &file(state), keys).0, 0);
    }
    // The next checkpoint has only the signature of the new key.
    client.register_for_sure("c@example.com").await;
    let newest = checkpoint(&client, 3).await;
    assert_eq!(status(&knows_old, 2, &newest).await, 403);
    wait_until(SOON, "the witness with both keys has cosigned", async || {
        client.get("/log/proof/3").await.unwrap().status() == 200
    })
    .await;
    assert_eq!(watch(&client, &file("both"), &both).0, 0);
    assert_eq!(watch(&client, &file("old"), &only_old).0, 7);
    assert_eq!(watch(&client, &file("new"), &["--key", &vkey]).0, 0);

    // The state is lost again. The checkpoint is signed with the present key.
    std::fs::write(file("kept"), text(&client, "/log/checkpoint").await).unwrap();
    program.kill9().await;
    end_leases(folder.path());
    std::fs::remove_file(file("log.key.state")).unwrap();
    let locked = tlog::KeyFile::new(file("log.key")).state().lock().unwrap();
    let (program, client) = serve_with(folder.path(), free_port(), &settings).await;
    wait_until(SOON, "the lock is logged", async || {
        program
            .stderr()
            .contains("another process has locked the state file")
    })
    .await;
    drop(locked);
    wait_until(SOON, "nothing is signed", async || {
        program.stderr().contains("log.key.state is missing")
    })
    .await;
    let (code, output) = adopt(&[]);
    assert!(code == 0 && output.contains("has the size 3"), "{output}");
    client.register_for_sure("d@example.com").await;
    checkpoint(&client, 4).await.verify([&new]).unwrap();
    assert_eq!(watch(&client, &file("both"), &both).0, 0);
}
