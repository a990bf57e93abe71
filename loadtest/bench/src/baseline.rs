//! Yardstick (a): cqrs-es and mysql-es as published, behind the same HTTP API, with mysql-es's own view
//! repository for reads. This yardstick uses one transaction per command. It has no order across aggregates,
//! no chain, no claims and no mail.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use cqrs_es::persist::GenericQuery;
use cqrs_es::{EventEnvelope, View};
use domain::{Patient, PatientCommand, Registration, evolve};
use mysql_es::{MysqlCqrs, MysqlViewRepository, mysql_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlPoolOptions;
use uuid::Uuid;

#[derive(Debug, Default, Serialize, Deserialize)]
struct PatientView {
    name: String,
    email: String,
    phone: String,
    document_url: String,
    deleted: bool,
}

impl View<Patient> for PatientView {
    fn update(&mut self, event: &EventEnvelope<Patient>) {
        // The yardstick registers and deletes patients, and never amends them.
        match evolve(None, event.payload.clone()) {
            Some(details) => {
                *self = Self {
                    name: details.name,
                    email: details.email,
                    phone: details.phone,
                    document_url: details.document_url,
                    deleted: false,
                };
            }
            None => self.deleted = true,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Body {
    name: String,
    email: String,
    phone: String,
    document_url: String,
}

type Cqrs = Arc<MysqlCqrs<Patient>>;

pub(crate) async fn serve(address: SocketAddr, database_url: &str) -> anyhow::Result<()> {
    let pool = MySqlPoolOptions::new()
        .max_connections(10)
        .connect(database_url)
        .await?;
    for table in [
        "CREATE TABLE events (aggregate_type varchar(255) NOT NULL, aggregate_id varchar(255) NOT NULL, \
         sequence bigint NOT NULL CHECK (sequence >= 0), event_type text NOT NULL, event_version text NOT NULL, \
         payload json NOT NULL, metadata json NOT NULL, \
         CONSTRAINT events_pk PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
        "CREATE TABLE patient_view (view_id varchar(255) NOT NULL, version bigint NOT NULL CHECK (version >= 0), \
         payload json NOT NULL, CONSTRAINT patient_view_pk PRIMARY KEY (view_id))",
    ] {
        sqlx::query(table).execute(&pool).await?;
    }
    let views = Arc::new(MysqlViewRepository::<PatientView, Patient>::new(
        "patient_view",
        pool.clone(),
    ));
    let query = GenericQuery::new(views);
    let cqrs: Cqrs = Arc::new(mysql_cqrs(pool, vec![Box::new(query)], ()));
    let router = Router::new()
        .route("/register", post(register))
        .route("/health/ready", get(async || "ready"))
        .with_state(cqrs);
    let listener = tokio::net::TcpListener::bind(address)
        .await?
        .tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await?;
    Ok(())
}

async fn register(State(cqrs): State<Cqrs>, Json(body): Json<Body>) -> Response {
    let Ok(registration) = Registration::parse(&body.name, &body.email, &body.phone, &body.document_url)
    else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let id = Uuid::from_u128(fastrand::u128(..));
    match cqrs
        .execute(&id.to_string(), PatientCommand::RegisterPatient(registration))
        .await
    {
        Ok(()) => (StatusCode::CREATED, Json(serde_json::json!({"id": id}))).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
