//! Tests that the SMTP server accepts a real client's mail in each mode.
#![expect(clippy::unwrap_used, reason = "a failed check must fail the test")]

use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use testkit::{SmtpMode, SmtpServer};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

fn client(server: &SmtpServer, mode: SmtpMode) -> Transport {
    let client = Transport::from_url(&server.url()).unwrap();
    let Some(ca_file) = server.ca_file() else {
        return client.build();
    };
    let certificate = Certificate::from_pem(&std::fs::read(ca_file).unwrap()).unwrap();
    let tls = TlsParameters::builder("localhost".to_owned())
        .add_root_certificate(certificate)
        .build()
        .unwrap();
    let tls = if mode == SmtpMode::Tls {
        Tls::Wrapper(tls)
    } else {
        Tls::Required(tls)
    };
    client.tls(tls).build()
}

fn mail(to: &str) -> Message {
    Message::builder()
        .from("Clínica <noreply@example.com>".parse().unwrap())
        .to(to.parse().unwrap())
        .subject("Confirmación")
        .message_id(Some(format!("<{to}>")))
        .body("Gracias, señora Núñez.".to_owned())
        .unwrap()
}

async fn takes_mail_and_keeps_it(mode: SmtpMode) {
    let mut server = SmtpServer::start(mode).await;
    client(&server, mode).send(mail("ana@example.com")).await.unwrap();
    server.kill().await;
    assert!(
        client(&server, mode)
            .send(mail("lost@example.com"))
            .await
            .is_err()
    );
    server.restart().await;
    client(&server, mode).send(mail("bea@example.com")).await.unwrap();

    let mails = server.mails();
    let to: Vec<_> = mails.iter().map(testkit::Mail::to).collect();
    assert_eq!(to, ["ana@example.com", "bea@example.com"]);
    assert_eq!(mails[0].message_id(), "<ana@example.com>");
    assert_eq!(mails[0].header("X-RcptTo").unwrap(), "ana@example.com");
    assert!(mails[0].body().contains("Gracias"));
}

#[tokio::test]
async fn mail_arrives_in_plain() {
    takes_mail_and_keeps_it(SmtpMode::Plain).await;
}

#[tokio::test]
async fn mail_arrives_over_implicit_tls() {
    takes_mail_and_keeps_it(SmtpMode::Tls).await;
}

#[tokio::test]
async fn mail_arrives_over_starttls() {
    takes_mail_and_keeps_it(SmtpMode::StartTls).await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_sends_nothing() {
    for mode in [SmtpMode::Tls, SmtpMode::StartTls] {
        let server = SmtpServer::start(mode).await;
        let stranger = Transport::from_url(&server.url()).unwrap().build();
        assert!(stranger.send(mail("ana@example.com")).await.is_err(), "{mode:?}");
        assert_eq!(server.mails(), []);
    }
}
