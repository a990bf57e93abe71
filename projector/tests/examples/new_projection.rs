//! Example of adding a projection: the host of the URL of each patient's document. This file contains
//! everything that the projection needs. Commands, routes, metrics and alerts use its name.

use eventstore::database::{in_list, padded};
use eventstore::{Connection, Projection, Registered, Result, Session, Transaction};
use projector::record::PatientRecord;
use serde::Serialize;

use crate::Example;

/// Content of the migration `migrations/*/NNNN_document_hosts.sql`. In `migrations/mysql/`, the types are
/// `CHAR(36)` and `VARCHAR(253)`.
const MIGRATION: &str = "CREATE TABLE IF NOT EXISTS document_hosts \
                         (generation BIGINT NOT NULL, id TEXT NOT NULL, host TEXT NOT NULL, PRIMARY KEY (generation, id))";

/// The host of each active patient's document.
struct DocumentHosts;

/// A row of `document_hosts`, without its generation.
#[derive(PartialEq, Serialize)]
struct HostRow {
    id: String,
    host: String,
}

impl Projection for DocumentHosts {
    const NAME: &'static str = "document_hosts";

    type State = PatientRecord;
    type Row = HostRow;

    fn row(id: &str, record: PatientRecord) -> HostRow {
        let url = &record.details.document_url;
        let host = url.split_once("://").map_or("", |(_, rest)| rest);
        HostRow {
            id: id.to_owned(),
            host: host
                .split(['/', ':', '?', '#'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    fn aggregate_id(row: &HostRow) -> &str {
        &row.id
    }

    async fn delete(transaction: &mut Transaction<'_>, generation: i64, ids: &[String]) -> Result<()> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sql = format!(
            "DELETE FROM document_hosts WHERE generation = ? AND id IN ({})",
            in_list(ids.len())
        );
        transaction
            .query(&sql)
            .bind(generation)
            .bind_all(padded(&ids))
            .execute()
            .await?;
        Ok(())
    }

    async fn insert(transaction: &mut Transaction<'_>, generation: i64, rows: &[HostRow]) -> Result<()> {
        let rows = rows
            .iter()
            .map(|row| [generation.into(), (&row.id).into(), (&row.host).into()]);
        transaction
            .insert("INSERT INTO document_hosts (generation, id, host) VALUES", rows)
            .await
    }

    async fn has_rows(connection: &mut Connection, generation: i64, id: &str) -> Result<bool> {
        let row = connection
            .query("SELECT 1 FROM document_hosts WHERE generation = ? AND id = ?")
            .bind(generation)
            .bind(id)
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }

    async fn delete_some(connection: &mut Connection, generation: i64, limit: u32) -> Result<u64> {
        connection
            .query(
                "DELETE FROM document_hosts WHERE generation = ? AND id <= (SELECT MAX(id) FROM \
                 (SELECT id FROM document_hosts WHERE generation = ? ORDER BY id LIMIT ?) AS some_rows)",
            )
            .bind(generation)
            .bind(generation)
            .bind(i64::from(limit))
            .execute()
            .await
    }

    async fn page(
        transaction: &mut Transaction<'_>,
        generation: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<HostRow>> {
        let rows = transaction
            .query("SELECT id, host FROM document_hosts WHERE generation = ? AND id > ? ORDER BY id LIMIT ?")
            .bind(generation)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(HostRow {
                    id: row.get(0)?,
                    host: row.get(1)?,
                })
            })
            .collect()
    }
}

#[tokio::test]
async fn a_projection_in_one_file_is_filled_followed_rebuilt_verified_and_listed_by_name() {
    let example = Example::new().await;
    let database = example.log.database();
    example.execute(MIGRATION).await;
    for id in ["a", "b"] {
        example.register(id).await;
    }
    example.delete("a").await;
    // The log already has events, so the engine fills generation 1 before it follows the log.
    let context = example.context();
    let running = tokio::spawn(DocumentHosts.run(context.clone()));
    example.wait_for(DocumentHosts.name()).await;
    example.register("c").await;
    example.wait_for(DocumentHosts.name()).await;
    context.stop.cancel();
    running.await.unwrap();

    let verified = DocumentHosts.verify(&example.log, &mut |_| {}).await.unwrap();
    assert_eq!(
        (verified.same, verified.table.rows, verified.generation),
        (true, 2, 1)
    );
    example.rebuild(&DocumentHosts).await;
    let verified = DocumentHosts.verify(&example.log, &mut |_| {}).await.unwrap();
    assert_eq!(
        (verified.same, verified.table.rows, verified.generation),
        (true, 2, 2)
    );
    // The comparison finds a difference.
    example
        .execute("UPDATE document_hosts SET host = 'other' WHERE id = 'b'")
        .await;
    let verified = DocumentHosts.verify(&example.log, &mut |_| {}).await.unwrap();
    assert_eq!((verified.same, verified.first[0].id.as_str()), (false, "b"));

    let all = eventstore::overview(database, eventstore::Timestamp::default())
        .await
        .unwrap();
    let listed = all.iter().find(|followed| followed.name == DocumentHosts.name());
    let projection = listed.and_then(|followed| followed.projection.as_ref());
    assert_eq!(projection.map(|projection| projection.active_generation), Some(2));
}
