//! The table of all problem types. Error responses, the pages at `/problems` and the OpenAPI document are
//! generated from it.

use axum::http::StatusCode;
use web::problem::Kind;

/// Value of `Retry-After`, in seconds, for problems that last until an operator repairs something or a table
/// has been filled.
const LASTING: u64 = 30;

/// A problem type, and its explanation.
pub(crate) struct Explained {
    pub(crate) kind: Kind,
    /// A longer explanation of the problem and of what to do about it.
    pub(crate) meaning: &'static str,
}

/// Returns the problem type with this slug.
pub(crate) fn named(slug: &str) -> Option<&'static Explained> {
    ALL.iter().find(|explained| explained.kind.slug == slug)
}

/// Defines a constant for each problem type and a list that includes all of them, with their explanations.
macro_rules! kinds {
    ($($name:ident = $kind:expr, $meaning:literal;)+) => {
        $(pub(crate) const $name: Kind = $kind;)+

        /// All problem types.
        pub(crate) const ALL: &[Explained] = &[$(Explained { kind: $name, meaning: $meaning }),+];
    };
}

kinds! {
    MALFORMED_JSON = web::problem::kinds::MALFORMED_JSON,
        "The body is not JSON (RFC 8259), is not UTF-8, is nested too deeply, or was cut off. The detail gives the cause, or the \
         line and column of the error. Use a JSON library to write the body.";
    UNSUPPORTED_MEDIA_TYPE = web::problem::kinds::UNSUPPORTED_MEDIA_TYPE,
        "The body is not declared as JSON. Send the header Content-Type: application/json. For PATCH, application/merge-patch+json is \
         also accepted.";
    UNSUPPORTED_CONTENT_ENCODING = web::problem::kinds::UNSUPPORTED_CONTENT_ENCODING,
        "The Content-Encoding header declares the body as compressed or otherwise encoded. The service accepts only unencoded \
         bodies, of at most 64 KiB. Configure the client not to compress requests. Responses may still be compressed.";
    TOO_LARGE = web::problem::kinds::TOO_LARGE,
        "The body is larger than any registration needs. The detail gives the maximum size in bytes. Do not include the document \
         itself: document_url holds its address.";
    BODY_TOO_SLOW = web::problem::kinds::BODY_TOO_SLOW,
        "The headers of the request arrived, but its body did not arrive within the time allowed. The request was not processed, \
         and the connection is closed. Send the request again over a reliable connection.";
    INVALID_HOST = web::problem::kinds::INVALID_HOST,
        "An HTTP/1.1 request names its host in exactly one Host header (RFC 9112, section 3.2), such as Host: \
         api.example.com:8443. In this request, the header is missing, repeated or malformed. HTTP libraries set this header \
         themselves: do not set it by hand, and check whether a proxy changes it.";
    HOST_NOT_ALLOWED = web::problem::kinds::HOST_NOT_ALLOWED,
        "The host of the request (in the Host header, or in an absolute request target) is not a host of this service. A service \
         without authentication accepts only loopback names, such as localhost and 127.0.0.1, and the hosts in its settings. \
         Otherwise, any web page could use it under a name that resolves to this machine. If clients are meant to use the \
         service under this name, the operator adds it to the ALLOWED_HOSTS setting.";
    CROSS_ORIGIN = web::problem::kinds::CROSS_ORIGIN,
        "The Origin or Sec-Fetch-Site header shows that a page from another origin sent this request, which would change \
         something. The request was not processed. If that page may use this service, the operator adds its origin to the \
         CORS_ORIGINS setting. Clients other than browsers should omit both headers.";
    INVALID_REQUEST = web::problem::kinds::INVALID_REQUEST,
        "The service understood the request, but some values are not allowed, a body member or query parameter is unknown, or one \
         of them occurs twice. The errors member lists every problem: field is the name of the body member, query parameter or \
         header, message says what the value must be, and pointer is the JSON pointer (RFC 6901) to a body member. Correct all of \
         them and send the request again.";
    EMAIL_TAKEN = Kind::new(
        StatusCode::CONFLICT,
        "email-taken",
        "Email taken",
        "A registered patient already has this email.",
    ),
        "Unless the service has another rule, two registered patients never share an email, regardless of case. Some services allow \
         patients with different names to share an email. Either the patient is already registered, or the address contains \
         a mistake. When the other patient is deleted or gets another email, the address becomes available again. To repeat a registration or an amendment, use its original Idempotency-Key.";
    IDEMPOTENCY_KEY_REUSED = Kind::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "Idempotency-Key reused",
        "This Idempotency-Key was used for another request. Use a new key for a new request.",
    ),
        "An Idempotency-Key identifies one request permanently, and this key identifies a request with other values. To repeat that \
         request, send the same values and, for a change of a patient, the same If-Match. For another request, send a new key, such \
         as a random UUID.";
    REQUEST_IN_PROGRESS = Kind::new(
        StatusCode::CONFLICT,
        "request-in-progress",
        "Still in progress",
        "A registration with this Idempotency-Key is in progress. Repeat the request in a moment to get its response.",
    ).with_retry_after(1),
        "The same Idempotency-Key was sent a moment ago, and that registration has not finished yet. No patient is registered \
         twice. Repeat the request after the number of seconds in Retry-After. The repeated request then gets the response of the \
         first request or, if that request failed, is processed itself.";
    UNAUTHORIZED = web::problem::kinds::UNAUTHORIZED,
        "The request has no access token, or its token is not valid or no longer valid. The operator of this service creates \
         tokens with patients token new, or configures an issuer of JWTs. Send the token in the header Authorization: Bearer. A \
         JWT that was valid before has probably expired: get a new one.";
    FORBIDDEN = web::problem::kinds::FORBIDDEN,
        "The token is valid, but its role does not permit this request. Clerks register, read, amend and delete patients. Auditors \
         read patients, histories and events. Operators run the service. Ask for a token with the right role.";
    PATIENT_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "patient-not-found",
        "No such patient",
        "No patient has this id. Use the id that the registration or a list of patients returned.",
    ),
        "No patient has or ever had this id. The response to the registration contains the id, in the id member and in the \
         Location header.";
    PATIENT_DELETED = Kind::new(
        StatusCode::GONE,
        "patient-deleted",
        "Patient deleted",
        "The patient with this id was deleted.",
    ),
        "The patient with this id was deleted. The id is never assigned to another patient. Auditors can still read the history.";
    PATIENT_ERASED = Kind::new(
        StatusCode::GONE,
        "patient-erased",
        "Patient erased",
        "The patient with this id was erased.",
    ),
        "The personal data of the patient with this id was erased, and nobody can read it any more. The id is never assigned to \
         another patient. Auditors can still read the history, which shows the events without their personal data.";
    NOT_ERASED = Kind::new(
        StatusCode::NOT_FOUND,
        "not-erased",
        "Not erased",
        "The patient with this id was not erased.",
    ),
        "The patient exists or was deleted, but no erasure was recorded. POST /patients/{id}/erasure erases the patient.";
    NOT_HELD = Kind::new(
        StatusCode::NOT_FOUND,
        "not-held",
        "No hold",
        "The patient with this id has no hold.",
    ),
        "The patient exists or was deleted, but has no hold, or its hold was released. PUT /patients/{id}/hold records a hold.";
    PATIENT_HELD = Kind::new(
        StatusCode::CONFLICT,
        "patient-held",
        "Patient held",
        "The patient has a hold, so it cannot be erased. Nothing was changed.",
    ),
        "A hold protects the patient from erasure, for any reason, until the end of the day in the member until (UTC). \
         GET /patients/{id}/hold returns its reason. If the hold is no longer needed, release it with \
         DELETE /patients/{id}/hold, and erase the patient then.";
    RETENTION_PERIOD = Kind::new(
        StatusCode::CONFLICT,
        "retention-period",
        "Retention period",
        "The retention period of the patient starts when the patient is deleted. Nothing was changed.",
    ),
        "This service keeps patients for some time after their deletion, and the member until contains the end of the period of this \
         patient. If the member is missing, the patient is not deleted: delete the patient, and the period starts. The operator sets the \
         period with RETENTION. With RETENTION_OVERRIDE=on, erasures with the reason request are not rejected.";
    ERASURE_INCOMPLETE = Kind::new(
        StatusCode::CONFLICT,
        "erasure-incomplete",
        "Erasure incomplete",
        "The erasure is not complete yet, so it has no certificate. Try again later.",
    ),
        "The patient was erased, but some data is not destroyed yet, for example because the projector or the mailer is not running. \
         The detail names what is pending. GET /patients/{id}/erasure shows the progress. Request the certificate again when the \
         erasure is complete.";
    ERASURE_PARTIAL = Kind::new(
        StatusCode::CONFLICT,
        "erasure-partial",
        "Erasure partial",
        "Events of the patient stay unencrypted in the log, so the erasure has no certificate.",
    ),
        "Some events of the patient were recorded before the log was sealed. Events are never changed, so the personal data in these \
         events stays readable in the log. A certificate states that all data is destroyed, so this erasure has no certificate. \
         GET /patients/{id}/erasure lists the positions of the events.";
    LOG_IN_CLEAR = Kind::new(
        StatusCode::CONFLICT,
        "log-in-clear",
        "The log is unencrypted",
        "Patients can be erased or held only in a sealed log. Nothing was changed.",
    ),
        "This log was created by a version of the service that stored personal data unencrypted, and events are never changed. Once an \
         operator has run `patients log upgrade`, new events are sealed, and patients can be erased and held.";
    SEQUENCE_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "sequence-not-found",
        "No such sequence",
        "The patient has no event with this sequence. Sequences start at 1; the history lists all events.",
    ),
        "The events of a patient are numbered from 1 without gaps. This patient has no event with this number, or does not have it \
         yet. GET /patients/{id}/history lists the existing events.";
    NOT_REGISTERED_YET = Kind::new(
        StatusCode::NOT_FOUND,
        "not-registered-yet",
        "Not registered yet",
        "At that time, no patient was registered under this id yet.",
    ),
        "The patient exists, but was registered after the time in the query parameter at. Use a later time.";
    LOG_NOT_PUBLISHED = Kind::new(
        StatusCode::NOT_FOUND,
        "log-not-published",
        "Log not published",
        "This service does not publish its log.",
    ),
        "Checkpoints, tiles, proofs and receipts are available only if the operator has chosen to publish the log, with the setting \
         LOG_ORIGIN, or READS_LOG_ORIGIN for the paths below /reads-log.";
    NO_CHECKPOINT_YET = Kind::new(
        StatusCode::NOT_FOUND,
        "no-checkpoint-yet",
        "No checkpoint yet",
        "No checkpoint of the log has been signed yet. Try again later.",
    ),
        "A checkpoint is signed at intervals, if the log has events. For a proof, enough witnesses must also have cosigned it. If this \
         problem persists, no process of the service signs checkpoints, or too few witnesses answer: the operator finds the reason \
         in the log of the process that has the key (LOG_KEY_FILE).";
    CHECKPOINT_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "checkpoint-not-found",
        "No such checkpoint",
        "No checkpoint of this size has been signed.",
    ),
        "Checkpoints are signed at intervals, so most sizes of the log have none. GET /log/checkpoint returns the newest checkpoint.";
    TILE_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "tile-not-found",
        "No such tile",
        "The path does not name a tile, or the newest checkpoint does not cover it.",
    ),
        "The paths of tiles and entry bundles are specified in c2sp.org/tlog-tiles. A tile is available when a signed checkpoint \
         covers all of its hashes. A partial tile has the width that follows from the size of a checkpoint.";
    NOT_COVERED_YET = Kind::new(
        StatusCode::NOT_FOUND,
        "not-covered-yet",
        "Not in a checkpoint yet",
        "The newest checkpoint does not cover the event. Try again after the next checkpoint.",
    ),
        "A proof is made against the newest signed checkpoint that enough witnesses have cosigned. The next checkpoint, usually within a \
         minute, covers all events that exist now. If the position is beyond the end of the log, there is no such event.";
    PRECONDITION_FAILED = Kind::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "Patient has changed",
        "The patient has changed. Read it again before you retry.",
    ),
        "The If-Match header does not contain the patient's current ETag; the detail gives the current state. A weak ETag never \
         matches. The request had no effect. Read the patient again, check that your change is still right, and send the new ETag.";
    PROJECTION_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "projection-not-found",
        "No such projection",
        "No projection has this name. GET /projections lists all projections.",
    ),
        "The path names a projection that does not exist. GET /projections lists all projections; the read table of patients is \
         patient_view.";
    REBUILD_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "rebuild-not-found",
        "No such rebuild",
        "The projection was never rebuilt into this generation.",
    ),
        "The path names a rebuild that never existed. When you request a rebuild, the Location header of the response gives the \
         address of the rebuild.";
    REBUILD_UNDER_WAY = Kind::new(
        StatusCode::CONFLICT,
        "rebuild-under-way",
        "Rebuild in progress",
        "The projection is already being rebuilt; the Location header gives the address of that rebuild.",
    ),
        "A projection has at most one rebuild at a time. Wait for the current rebuild, or cancel it with a DELETE request to the \
         address in the Location header.";
    REBUILD_TOO_FAR = Kind::new(
        StatusCode::CONFLICT,
        "rebuild-too-far",
        "Too late to cancel",
        "The new generation is already served, or the rebuild has ended.",
    ),
        "A rebuild can be cancelled until its generation is served. It is too late to cancel this rebuild. To build the table \
         again, request another rebuild.";
    VERIFICATION_UNDER_WAY = Kind::new(
        StatusCode::CONFLICT,
        "verification-under-way",
        "Verification under way",
        "This process is already comparing a read table with the log. Wait for that verification to end.",
    ),
        "A verification reads the whole log and a whole read table, so a process runs one verification at a time. It ends when its \
         client has received the result or disconnects. Try again later.";
    NOT_STOPPED_THERE = Kind::new(
        StatusCode::CONFLICT,
        "not-stopped-there",
        "Not stopped there",
        "Neither the projection nor its rebuild has stopped at this position.",
    ),
        "Only the event at which a projection or its rebuild has stopped can be skipped, so a mistyped position skips nothing. GET \
         /projections shows this position in failure.position. If the projection has continued, nothing needs to be skipped.";
    MAIL_NOT_FOUND = Kind::new(
        StatusCode::NOT_FOUND,
        "mail-not-found",
        "No such email",
        "There is no email about this event. GET /mail/deliveries lists all emails.",
    ),
        "An email is identified by the position of its event. The mailer creates the email when it reaches that event, so the email \
         about a recent event may not exist yet.";
    MAIL_NOT_TO_BE_RETRIED = Kind::new(
        StatusCode::CONFLICT,
        "mail-not-to-be-retried",
        "Email cannot be retried",
        "Only a pending, failed or dead email can be retried.",
    ),
        "The email is being sent, was sent, or will not be sent because the patient was deleted. The detail gives the state of the \
         email.";
    NOT_FOUND = web::problem::kinds::NOT_FOUND,
        "The service has nothing at this path. GET /docs shows all paths.";
    METHOD_NOT_ALLOWED = web::problem::kinds::METHOD_NOT_ALLOWED,
        "The path exists, but does not support this method. The Allow header lists the methods that it supports.";
    NOT_PROJECTED_YET = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not-projected-yet",
        "Not projected yet",
        "The read table has not reached Min-Position yet. Try again.",
    ),
        "The list comes from a table that follows the log. The table did not reach the requested Min-Position within the maximum \
         time that a request waits. The position member gives the position that it has reached. Retry, or omit Min-Position to get \
         the current list. Operators can see in GET /projections why the table is behind.";
    TOO_MANY_REQUESTS = web::problem::kinds::TOO_MANY_REQUESTS,
        "Each client has a quota. The RateLimit-Policy header gives the number of requests (q) allowed in a number of seconds (w), \
         and the RateLimit header gives the number left (r). A client is the holder of an access token or, without a token, an \
         address. The quota is restored at a steady rate: wait for the number of seconds in Retry-After, then send requests more \
         slowly. An address that sends many unknown access tokens also gets this response.";
    READ_TABLE_NOT_FILLED = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "read-table-not-filled",
        "Read table not filled",
        "The table for this search is being filled for the first time after an upgrade. Try again later.",
    ).with_retry_after(LASTING),
        "This version of the service has a new table, such as the table for searches by name. After the upgrade, the projector \
         fills the table from the log, and until it is complete, a search would miss some patients. Everything else works in the \
         meantime. An operator does not need to do anything. Retry after the number of seconds in Retry-After.";
    OVERLOADED = web::problem::kinds::OVERLOADED,
        "This process receives more requests than it can handle, and rejects some of them so that no request waits indefinitely. \
         The request was not processed. Retry after the number of seconds in Retry-After, and increase the delay with every \
         further retry.";
    TOO_MANY_STREAMS = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-streams",
        "Too many streams",
        "The maximum number of event streams is open. Close a stream, or try again later.",
    ),
        "A process serves a limited number of streams. Live streams and NDJSON streams count together. Close a stream that is no \
         longer needed, use another process, or read pages, which have no such limit.";
    TOO_MANY_OWN_STREAMS = Kind::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-own-streams",
        "Too many streams of this caller",
        "This caller has the maximum number of event streams open. Close a stream first.",
    ),
        "Each caller may open a quarter of the streams that a process serves, so that no caller blocks the others. Live streams \
         and NDJSON streams count together. All tokens with the same name, or with the same subject, belong to one caller. Close a \
         stream that is no longer needed, or read pages, which have no such limit.";
    SHUTTING_DOWN = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "shutting-down",
        "Shutting down",
        "This process is shutting down. The request was not processed. Try again.",
    ),
        "The process is being stopped, for example to deploy a new version. The request was not processed. Retry; another process \
         or the next one responds.";
    CLOCK_WRONG = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "clock-wrong",
        "Wrong clock",
        "The clock of this process is wrong. The request had no effect. Use another process, or try again later.",
    ).with_retry_after(LASTING),
        "Every event is recorded with the time of the process that writes it. The clock of this process differs from the clock of \
         the database by more than five minutes, or was set while the process was running. The request had no effect. An operator \
         corrects the clock or, if it is already correct, restarts the process.";
    KEYRING_UNUSABLE = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "keyring-unusable",
        "Keyring unusable",
        "The keyring of this process does not open the log. The request had no effect.",
    ).with_retry_after(LASTING),
        "The personal data in the log is sealed, and this process has no keyring, an outdated keyring, or the keyring of another \
         log; or the database does not have the key of a patient, or KEYS_DATABASE_URL names the wrong database. The request had no \
         effect. An operator runs patients keys check, and gives each process the current file of KEYRING_FILE and the right \
         KEYS_DATABASE_URL.";
    LOG_DAMAGED = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "log-damaged",
        "Log damaged",
        "The event log was altered, and the request needs the damaged part. The request had no effect.",
    ).with_retry_after(LASTING),
        "The event log, or the row that records where it ends, differs from what this service wrote: another program changed the \
         database, or the service is connected to a database server that lacks acknowledged events. The request had no effect. An \
         operator runs patients audit verify, which reports a damaged position, and restores the log, or connects the service to \
         a server that has all events.";
    READ_TABLE_DAMAGED = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "read-table-damaged",
        "Read table damaged",
        "The database contains invalid information about the read table, so the table is not used.",
    ).with_retry_after(LASTING),
        "The row that records how far the read table follows the log, or which generation of it is served, was altered. Reads by \
         id and writes still work. An operator finds the reason with patients projection status, and rebuilds the table with \
         patients projection rebuild.";
    CLAIMS_DAMAGED = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "claims-damaged",
        "Claims damaged",
        "The table that records which patient has which email names the wrong patient.",
    ).with_retry_after(LASTING),
        "A search by email looks up the patient in the claims table. The patient found does not have this email, so the table was \
         altered. An operator runs patients claims verify, and then patients claims rebuild, which rebuilds the table from the \
         log.";
    PATIENT_UNREADABLE = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "patient-unreadable",
        "Patient unreadable",
        "An event of this patient cannot be read, so the patient's state is unknown.",
    ).with_retry_after(LASTING),
        "The log contains an event of this patient that this version of the service does not understand, such as an event from a \
         newer version. The effect of the event is unknown: the patient may have been deleted. Other patients are not affected. An \
         operator finds the event in patients projection status or in the service's own log, and runs a version that can read it.";
    CONTENDED = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "contended",
        "Conflicting commands",
        "Too many commands for this patient are in progress. The request had no effect. Try again.",
    ),
        "The commands for one patient are executed one after another. Earlier commands took too long, or other processes repeatedly \
         recorded a command for the same patient first. The request had no effect. Read the patient again, and retry if the command \
         is still right.";
    UNAVAILABLE = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "Unavailable",
        "The database cannot be reached. The request had no effect. Try again.",
    ),
        "The database does not respond to this process. The request had no effect. Retry after the number of seconds in \
         Retry-After. GET /health/ready reports when the database is back.";
    DATABASE_READ_ONLY = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "database-read-only",
        "Database read-only",
        "The database currently accepts no writes. The request had no effect. Try again later.",
    ),
        "The database responds, but accepts no writes: it is a replica, its administrator has locked it, or its disk is read-only. \
         The request had no effect. Nothing is read from such a database, because it may be out of date. An operator makes the \
         database writable again, or points DATABASE_URL to a writable database. GET /health/ready reports when the database accepts writes.";
    DATABASE_FILE_LOST = Kind::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "database-file-lost",
        "Database file lost",
        "The database file was deleted or replaced while it was open. An operator has to put it back or restart the service.",
    ),
        "The service keeps its data in a file, and the file at that path is no longer the one that it opened. New writes would be \
         lost, so the service neither reads nor writes. An operator puts the original file back, or restarts the service with the \
         file that is there now.";
    OUTCOME_UNKNOWN = web::problem::kinds::OUTCOME_UNKNOWN,
        "The request timed out, or the database connection was lost, before the outcome was known. Simply repeat a read. Repeat a \
         registration with the same Idempotency-Key, which never registers a patient twice. If you repeat a registration without a \
         key and get 409 email-taken, either the first request succeeded, or another patient has the email. Repeat an amendment with \
         the same Idempotency-Key and If-Match or, if it had no key, read the patient first. Repeat a deletion: 410 means that the \
         patient is deleted.";
    INTERNAL = web::problem::kinds::INTERNAL,
        "The service has a defect, or stored data cannot be read. Report the value of the X-Request-Id header to the operator of \
         the service, who can find the request in the logs with it.";
}
