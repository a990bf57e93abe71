//! Fills a log with patients through the append queue, so that its chain is valid.

use std::sync::Arc;

use anyhow::{Context, bail};
use api::PatientData;
use api::commands::ClaimScheme;
use eventstore::sealing::KeyringFile;
use eventstore::{
    Append, AppendQueue, Claim, ClaimChange, Database, DatabaseOptions, LogFormat, NewEvent, Sealing, Signal,
    SystemClock,
};
use futures::StreamExt;
use serde_json::json;
use uuid::Uuid;

/// Returns the id of the patient with this number, the same in every run: a UUIDv7 whose time increases by
/// one millisecond per number.
pub(crate) fn id(number: u64) -> Uuid {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut random = [0; 10];
    random[..8].copy_from_slice(&spread);
    uuid::Builder::from_unix_timestamp_millis(1_700_000_000_000 + number, &random).into_uuid()
}

const GIVEN_NAMES: [&str; 24] = [
    "Ana", "María", "Lucía", "Carmen", "José", "Luis", "Juan", "Pedro", "Sofía", "Elena", "Íñigo", "Zoë",
    "Marta", "Andrés", "Raúl", "Inés", "Nuria", "Óscar", "Pablo", "Laura", "Diego", "Irene", "Hugo", "Clara",
];
const SURNAMES: [&str; 40] = [
    "García",
    "Martínez",
    "López",
    "Sánchez",
    "Pérez",
    "Gómez",
    "Martín",
    "Jiménez",
    "Ruiz",
    "Hernández",
    "Díaz",
    "Moreno",
    "Muñoz",
    "Álvarez",
    "Romero",
    "Alonso",
    "Gutiérrez",
    "Navarro",
    "Torres",
    "Domínguez",
    "Vázquez",
    "Ramos",
    "Gil",
    "Ramírez",
    "Serrano",
    "Blanco",
    "Molina",
    "Morales",
    "Suárez",
    "Ortega",
    "Delgado",
    "Castro",
    "Ortiz",
    "Rubio",
    "Marín",
    "Sanz",
    "Núñez",
    "Iglesias",
    "Medina",
    "Garrido",
];

/// Returns the name of the patient with this number. In every 1,000 patients, about 42 have a particular
/// given name, and about 49 have a particular surname.
fn name(number: u64) -> String {
    let mut random = fastrand::Rng::with_seed(number);
    let mut surname = || SURNAMES[random.usize(..SURNAMES.len())];
    let (first, second) = (surname(), surname());
    let given = GIVEN_NAMES[random.usize(..GIVEN_NAMES.len())];
    format!("{given} {first} {second}")
}

/// Appends `patients` registrations, numbered from `from`.
pub(crate) async fn patients(url: &str, from: u64, patients: u64) -> anyhow::Result<()> {
    let database = Database::connect(url, DatabaseOptions::default()).await?;
    migrations::migrate(&database, SystemClock::shared(), "fill").await?;
    let sealing = sealing(&database).await?;
    let appends = AppendQueue::start(
        database.clone(),
        Signal::in_process(),
        SystemClock::shared(),
        4096,
        1000,
    );
    let appends = Arc::new(appends);
    let mut appending = futures::stream::iter(from..from + patients)
        .map(|number| {
            let (appends, sealing, database) = (Arc::clone(&appends), &sealing, &database);
            async move {
                let append = registration(number, sealing, database).await?;
                appends.append(append).await.context("filling")
            }
        })
        .buffer_unordered(4000);
    while let Some(appended) = appending.next().await {
        appended?;
    }
    appends.shutdown().await;
    database.close().await;
    Ok(())
}

/// Seals a new log with the keyring of the program, and returns its sealing.
async fn sealing(database: &Database) -> anyhow::Result<Sealing> {
    let keyring = KeyringFile::new(testkit::keyring_file()).load()?;
    let claims = ClaimScheme::default().version();
    let LogFormat::Sealed(log, _) = LogFormat::seal_if_empty(database, &keyring, claims, None).await? else {
        bail!("the log is unencrypted");
    };
    Ok(Sealing::new(
        keyring,
        log,
        ClaimScheme::default().version(),
        PatientData,
    ))
}

async fn registration(number: u64, sealing: &Sealing, database: &Database) -> anyhow::Result<Append> {
    let email = format!("filled-{number}@example.com");
    let event = NewEvent {
        aggregate_type: "patient".to_owned(),
        aggregate_id: id(number).to_string(),
        sequence: 1,
        event_type: "PatientRegistered".to_owned(),
        event_version: "1.0".to_owned(),
        payload: json!({
            "type": "PatientRegistered",
            "name": name(number),
            "email": email,
            "phone": "(555)123-4567x890",
            "document_url": "https://example.com/photos/maria.jpg",
        }),
        metadata: json!({"actor": "anonymous", "request_id": Uuid::from_u128(u128::from(number)).to_string()}),
    };
    let claim = Claim::keyed(&sealing.keyring(), "patient.email", &email);
    let sealed = sealing.seal(database, vec![event], true).await?;
    let append = Append::new(sealed.events, vec![ClaimChange::Take(claim)])?;
    Ok(append.sealed(sealing.keys(), sealed.new_key))
}
