//! The requests, and the responses that they must have.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, StatusCode, Url, redirect};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::mix::Operation;
use crate::patients::{Patient, Patients};

/// Maximum number of concurrent registrations before the load begins.
const REGISTRATIONS: usize = 32;

/// Reason why a request has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// An unexpected status.
    Status(u16),
    /// The expected status with unexpected content.
    Content,
    /// No complete response within the timeout.
    Timeout,
    /// The connection could not be opened, or was closed.
    Connection,
    /// The request was not sent, because too many requests had no response yet.
    NotSent,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Content => write!(formatter, "unexpected content"),
            Self::Timeout => write!(formatter, "timeout"),
            Self::Connection => write!(formatter, "connection lost or refused"),
            Self::NotSent => write!(formatter, "not sent: too many requests in flight"),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Connection
        }
    }
}

/// A client of the service. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    pub(crate) fn new(target: &Url, token: Option<&str>, timeout: Duration) -> anyhow::Result<Self> {
        ensure!(
            matches!(target.scheme(), "http" | "https") && target.has_host(),
            "the target must be an http or https URL"
        );
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .context("the token contains characters that a header cannot contain")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // An error means that the same provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let mut base = target.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { http, base })
    }

    /// Checks that the service is ready.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let response = self.request(Method::GET, "health/ready").send().await?;
        let status = response.status();
        ensure!(status.is_success(), "GET /health/ready has status {status}");
        Ok(())
    }

    /// Registers `count` patients, before the load.
    pub(crate) async fn register_many(&self, count: u32, patients: &Patients) -> anyhow::Result<()> {
        let mut running = tokio::task::JoinSet::new();
        let mut left = count;
        while left > 0 || !running.is_empty() {
            while left > 0 && running.len() < REGISTRATIONS {
                left -= 1;
                let client = self.clone();
                running.spawn(async move { client.register().await });
            }
            match running.join_next().await.transpose()? {
                Some(Ok(patient)) => patients.put(patient),
                Some(Err(failure)) => bail!("a patient cannot be registered: {failure}"),
                None => {}
            }
        }
        Ok(())
    }

    /// Runs an operation. If it needs a patient and no patient is free, the operation is a registration.
    /// Returns the operation that was run.
    pub(crate) async fn run(
        &self,
        operation: Operation,
        patients: &Patients,
    ) -> (Operation, Result<(), Failure>) {
        if operation == Operation::List {
            return (operation, self.list().await);
        }
        let patient = match operation {
            Operation::Read | Operation::Amend | Operation::Delete => patients.take(),
            Operation::Register | Operation::List => None,
        };
        let Some(mut patient) = patient else {
            let registered = self.register().await.map(|patient| patients.put(patient));
            return (Operation::Register, registered);
        };
        let result = match operation {
            Operation::Delete => return (operation, self.delete(&patient).await),
            Operation::Amend => self.amend(&mut patient).await,
            _ => self.read(&mut patient).await,
        };
        // After a failure, the state of the patient is unknown.
        if result.is_ok() {
            patients.put(patient);
        }
        (operation, result)
    }

    async fn register(&self) -> Result<Patient, Failure> {
        let body = json!({
            "name": "Load Test",
            "email": format!("load-{}@example.com", Uuid::from_u128(fastrand::u128(..)).simple()),
            "phone": "+34600000000",
            "document_url": "https://example.com/load.jpg",
        });
        let request = self.request(Method::POST, "register").json(&body);
        let (headers, body) = self.send(request, StatusCode::CREATED).await?;
        let id = json(&body)?["id"].as_str().ok_or(Failure::Content)?.to_owned();
        Ok(Patient {
            id,
            etag: etag(&headers),
        })
    }

    async fn read(&self, patient: &mut Patient) -> Result<(), Failure> {
        let request = self.request(Method::GET, &format!("patients/{}", patient.id));
        let (headers, body) = self.send(request, StatusCode::OK).await?;
        patient.etag = etag(&headers);
        if json(&body)?["id"] != patient.id.as_str() {
            return Err(Failure::Content);
        }
        Ok(())
    }

    /// Changes the phone number.
    async fn amend(&self, patient: &mut Patient) -> Result<(), Failure> {
        let phone = format!("+346{:08}", fastrand::u32(0..100_000_000));
        let mut request = self
            .request(Method::PATCH, &format!("patients/{}", patient.id))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(json!({ "phone": phone }).to_string());
        if let Some(etag) = &patient.etag {
            request = request.header(IF_MATCH, etag);
        }
        let (headers, body) = self.send(request, StatusCode::OK).await?;
        patient.etag = etag(&headers);
        if json(&body)?["phone"] != phone.as_str() {
            return Err(Failure::Content);
        }
        Ok(())
    }

    async fn delete(&self, patient: &Patient) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &format!("patients/{}", patient.id));
        self.send(request, StatusCode::NO_CONTENT).await?;
        Ok(())
    }

    async fn list(&self) -> Result<(), Failure> {
        let (_, body) = self
            .send(self.request(Method::GET, "patients"), StatusCode::OK)
            .await?;
        json(&body).map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        self.http.request(method, url)
    }

    /// Sends a request and reads the whole response, which must have the status.
    async fn send(
        &self,
        request: RequestBuilder,
        expected: StatusCode,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let mut response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        // The body is read to its end, so that the connection can be used again.
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Failure::Content);
            }
            body.extend_from_slice(&chunk);
        }
        if status != expected {
            return Err(Failure::Status(status.as_u16()));
        }
        Ok((headers, body))
    }
}

/// Maximum number of bytes of a response. A page of 100 patients has about 20 kB.
const MAX_BODY: usize = 4 << 20;

fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|_| Failure::Content)
}

fn etag(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ETAG)?.to_str().ok()?.to_owned())
}
