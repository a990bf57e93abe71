//! What operators come to the console for, from beginning to end.

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Proxy, SmtpMode, SmtpServer, free_port, mysql_servers, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{Service, Tab, axe, command, log_key};
use crate::client::Client;
use crate::rig::{Production, SOON};

/// Starts a mail server that rejects every email for good. Returns its port.
async fn rejecting_mail_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reading, mut writing) = stream.split();
                let mut lines = BufReader::new(reading).lines();
                writing.write_all(b"220 ready\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    let reply: &[u8] = if line.starts_with("RCPT") {
                        b"550 5.1.1 no such mailbox\r\n"
                    } else {
                        b"250 fine\r\n"
                    };
                    writing.write_all(reply).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[tokio::test]
async fn a_dead_mail_is_found_with_the_reason_retried_and_sent() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let working: u16 = smtp.url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(rejecting_mail_server().await).await;
    let port = free_port();
    log_key(folder.path());
    let mut command = command(folder.path(), port);
    command.env("SMTP_URL", format!("smtp://127.0.0.1:{}", proxy.port()));
    let service = Service::start(&mut command, port).await;
    for address in ["ana@example.com", "eva@example.com"] {
        service.client.register(address).await.unwrap();
    }
    let tab = Tab::open(port).await;
    tab.go("overview").await;
    tab.sees("Dead emails: 2").await;
    tab.go("mail").await;
    tab.click("Dead 2").await;
    tab.sees("the server answered 550").await;

    proxy.redirect(working);
    proxy.reset();
    // One of them.
    tab.run("document.querySelector('[type=checkbox]').click()").await;
    tab.click("Retry the selected emails (1)").await;
    tab.click("Retry").await;
    tab.sees("Emails that are due now: 1").await;
    wait_until(SOON, "it is sent", async || smtp.mails().len() == 1).await;
    // The rest.
    tab.click("Retry all dead emails").await;
    tab.click("Retry").await;
    wait_until(SOON, "both are sent", async || smtp.mails().len() == 2).await;
    // The emails to a patient, and about an event.
    let event: Value = (service.client.get("/events?limit=1").await.unwrap())
        .json()
        .await
        .unwrap();
    let id = event[0]["aggregate_id"].as_str().unwrap();
    tab.fill("Event or patient", id).await;
    tab.click("Search").await;
    tab.element(&format!("//section[h2/code = '{id}'][count(.//tbody/tr) = 1]"))
        .await;
    let searched = "return performance.getEntriesByType('resource').filter(({name}) => name.includes('patient_id=')).length";
    assert_eq!(tab.run(searched).await, 1);
    tab.fill("Event or patient", "1").await;
    tab.click("Search").await;
    tab.sees("Emails about event 1").await;
    tab.sees("the server answered 550").await;
    wait_until(SOON, "its page shows both attempts", async || {
        let rows = tab
            .run("return document.querySelectorAll('tbody tr').length")
            .await;
        rows == 2 && tab.text().await.contains("Sent")
    })
    .await;

    tab.go("mail/test").await;
    tab.fill("Address", "ops@example.com").await;
    tab.click("Send a test email").await;
    tab.sees("RCPT").await;
    wait_until(SOON, "the test email arrives", async || smtp.mails().len() == 3).await;
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
}

/// Returns the rebuild of the read table, as the API reports it.
async fn rebuild(client: &Client, generation: u64) -> Value {
    let path = format!("/projections/patient_view/rebuilds/{generation}");
    client.get(&path).await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_is_rebuilt_verified_and_skips_an_event() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    client.register("ana@example.com").await.unwrap();
    let tab = Tab::open(client.port()).await;
    let card = "//section[@data-name = 'patient_view']";
    let press = async |text: &str| {
        let button = tab
            .element(&format!("{card}//button[normalize-space() = '{text}']"))
            .await;
        button.click().await.unwrap();
        tab.element("//dialog").await;
        tab.click(text).await;
    };
    tab.go("projections").await;
    // No projector runs yet, so the rebuild waits.
    press("Rebuild").await;
    tab.element(&format!("{card}//progress")).await;
    assert_eq!(rebuild(&client, 2).await["state"], "filling");
    press("Cancel the rebuild").await;
    let projector = production.start("projector");
    tab.element(&format!(
        "{card}//*[contains(@class, 'rebuild')][contains(., 'Cancelled')]"
    ))
    .await;
    assert_eq!(rebuild(&client, 2).await["state"], "cancelled");

    press("Rebuild").await;
    tab.element(&format!(
        "{card}//*[contains(@class, 'rebuild')][contains(., 'Done')]"
    ))
    .await;
    assert_eq!(rebuild(&client, 3).await["state"], "done");
    tab.sees("Served generation").await;

    // The table is compared with the log, before and after a row is changed by hand.
    let verify = format!("{card}//button[. = 'Verify']");
    tab.element(&verify).await.click().await.unwrap();
    tab.element(&format!("{card}//*[contains(., 'Matches the log')]"))
        .await;
    production
        .execute("UPDATE patient_view SET phone = 'x' WHERE generation = 3")
        .await;
    tab.element(&verify).await.click().await.unwrap();
    tab.element(&format!("{card}//*[contains(., 'Differs from the log')]"))
        .await;
    tab.sees("Values differ").await;

    // The projection stops at an event that it cannot read. Skipping the event asks for its position and a
    // reason.
    drop(projector);
    client.register("eva@example.com").await.unwrap();
    production
        .execute("UPDATE events SET event_type = 'PatientMoved' WHERE position = 2")
        .await;
    let projector = production.start("projector");
    tab.element(&format!("{card}//button[. = 'Skip the event']"))
        .await
        .click()
        .await
        .unwrap();
    tab.element("//dialog").await;
    if let Some(axe) = axe::script() {
        tab.run(&axe).await;
        assert_eq!(
            tab.violations(axe::Rules::All).await,
            [Value::Null; 0],
            "a verified table, and the dialog"
        );
    }
    tab.fill("Type the position of the event", "1").await;
    tab.fill("Reason", "written by a test").await;
    tab.click("Skip the event").await;
    tab.sees("The position does not match.").await;
    tab.fill("Type the position of the event", "2").await;
    tab.click("Skip the event").await;
    tab.element(&format!("{card}//td[. = 'written by a test']")).await;
    tab.loses("The position does not match.").await;
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
    drop(projector);
}
