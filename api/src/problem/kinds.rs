//! Every kind of problem that an answer can name: the one table that the answers, the pages at `/problems`
//! and the OpenAPI document are made from.

use axum::http::StatusCode;

/// A kind of problem, as RFC 9457 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The last part of the `type`: stable, and never used for anything else.
    pub(crate) slug: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    /// The `detail` of an answer that has nothing more exact to say: a sentence that a person can act on.
    pub(crate) detail: &'static str,
    /// What it means and what to do, at more length.
    pub(crate) meaning: &'static str,
}

impl Kind {
    /// The `type`: where its page is.
    pub(crate) fn path(&self) -> String {
        format!("/problems/{}", self.slug)
    }

    /// Whether the same request is likely to succeed in a moment, so that answers say when.
    pub(crate) fn is_to_be_retried(&self) -> bool {
        matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) || *self == REQUEST_IN_PROGRESS
    }

    /// How many seconds a client waits before it retries; nothing if a retry does not help. What a person has
    /// to repair takes longer than a moment.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        let to_repair = [
            CLOCK_WRONG,
            LOG_DAMAGED,
            READ_TABLE_DAMAGED,
            CLAIMS_DAMAGED,
            PATIENT_UNREADABLE,
        ];
        let seconds = if to_repair.contains(self) { 30 } else { 1 };
        self.is_to_be_retried().then_some(seconds)
    }

    /// The kind with that slug.
    pub(crate) fn named(slug: &str) -> Option<&'static Self> {
        ALL.iter().find(|kind| kind.slug == slug)
    }
}

/// Makes a constant of each kind, and the list of them all, so that none is left out of it.
macro_rules! kinds {
    ($($name:ident, $status:ident, $slug:literal, $title:literal, $detail:literal, $meaning:literal;)+) => {
        $(pub(crate) const $name: Kind = Kind {
            slug: $slug,
            status: StatusCode::$status,
            title: $title,
            detail: $detail,
            meaning: $meaning,
        };)+

        /// All kinds.
        pub(crate) const ALL: &[Kind] = &[$($name),+];
    };
}

kinds! {
    MALFORMED_JSON, BAD_REQUEST, "malformed-json", "Malformed JSON",
        "The body is not valid JSON.",
        "The body is not JSON (RFC 8259), is not UTF-8, is nested too deeply, or was cut off. The detail says at which line and \
         column it stops making sense. Have a JSON library write it.";
    UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type",
        "Send the body as application/json.",
        "The body is not said to be JSON. Send the header Content-Type: application/json.";
    UNSUPPORTED_CONTENT_ENCODING, UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding", "Unsupported content encoding",
        "Send the body without Content-Encoding.",
        "The header Content-Encoding says that the body is compressed or coded in another way. Bodies are at most 64 KiB, and are \
         read only as they are: configure the client not to compress requests. Answers may still be compressed.";
    TOO_LARGE, PAYLOAD_TOO_LARGE, "too-large", "Body too large",
        "The body is larger than is allowed.",
        "The body has more bytes than any registration needs; the detail says how many are allowed. A document is not sent \
         along: document_url says where it is.";
    BODY_TOO_SLOW, REQUEST_TIMEOUT, "body-too-slow", "Body too slow",
        "The body did not arrive in time. Nothing was done; try again.",
        "The head of the request arrived, and its body did not within the time that a request may take. Nothing was done, and \
         the connection is closed. Send the request again, over a connection that works.";
    INVALID_HOST, BAD_REQUEST, "invalid-host", "Invalid Host",
        "Send one header Host: the name or the address that the request goes to, and its port if it is not the usual one.",
        "A request over HTTP/1.1 names the host that it goes to in one header Host (RFC 9112, section 3.2), such as Host: \
         api.example.com:8443. This one has none, several, or one that is no host. HTTP libraries write it themselves: leave it \
         to them, and see what a proxy in between makes of it.";
    HOST_NOT_ALLOWED, MISDIRECTED_REQUEST, "host-not-allowed", "Host not allowed",
        "This service does not answer to this host. Use a name that it is known by, such as localhost, or have ALLOWED_HOSTS name \
         this one.",
        "The request is for a host (in the header Host, or in an absolute request target) that is not one of this service. A \
         service without access tokens accepts only loopback names, such as localhost and 127.0.0.1, since any web page could use \
         it otherwise, under a name that leads to this machine. If people do reach the service under this name, the operator adds \
         it to the setting ALLOWED_HOSTS.";
    CROSS_ORIGIN, FORBIDDEN, "cross-origin", "Sent by another site",
        "A page of another origin sent this request. Nothing was done.",
        "The browser says, in the header Origin or Sec-Fetch-Site, that a page of another origin sent this request, which would \
         change something. Nothing was done. If that page may use this service, the operator adds its origin to the setting \
         CORS_ORIGINS. Programs that are no browsers leave both headers out.";
    INVALID_REQUEST, UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request",
        "Some fields were refused; see errors.",
        "The request was understood, but some of its values are not allowed, or it has a member or a query parameter that there is \
         not, or one of them twice. The member errors lists each of them: field is \
         its name (of a member of the body, a query parameter or a header), message says what it must be, and pointer, where \
         it is a member of the body, is its JSON pointer (RFC 6901). Correct them all and send the request again.";
    EMAIL_TAKEN, CONFLICT, "email-taken", "Email taken",
        "A registered patient has this email already.",
        "Two patients who are registered at the same time never share an email; upper and lower case count as the same. \
         Either the patient is registered already, or the address has a mistake. When the other patient is deleted, the \
         address is free again. If this was meant to repeat a registration, repeat it with its own Idempotency-Key.";
    IDEMPOTENCY_KEY_REUSED, UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency-Key reused",
        "This Idempotency-Key was used for another registration. Use a new key for a new one.",
        "An Idempotency-Key names one registration for ever, and this one names a registration with other values. To repeat \
         that one, send the same values; for another patient, send a new key, such as a random UUID.";
    REQUEST_IN_PROGRESS, CONFLICT, "request-in-progress", "Still in progress",
        "A registration with this Idempotency-Key is under way. Repeat it in a moment, and get its answer.",
        "The same Idempotency-Key was sent a moment ago, and that registration has not come to its end yet. Nobody is registered \
         twice. Repeat the request after the seconds that Retry-After names: then it gets the answer of the first, or, if that \
         failed, is carried out itself.";
    UNAUTHORIZED, UNAUTHORIZED, "unauthorized", "Access token needed",
        "Send an access token that is known here, as Authorization: Bearer.",
        "No access token was sent, or one that is not good, or no longer. Whoever runs this service makes them with patients \
         token new, or names an issuer of JWTs. Send it in the header Authorization: Bearer. If it is a JWT that was good, it \
         has probably expired: get a new one.";
    FORBIDDEN, FORBIDDEN, "forbidden", "Not allowed",
        "The role of this access token may not do this.",
        "The token is known, but this is not for its role: clerks register, read and delete patients; auditors read patients, \
         histories and events; operators look after the service. Ask for a token of the right role.";
    PATIENT_NOT_FOUND, NOT_FOUND, "patient-not-found", "No such patient",
        "No patient has this id. Ids are UUIDs, as given in the answer to the registration.",
        "No patient has this id, nor ever had. The id is in the answer to the registration, as id and in the header Location.";
    PATIENT_DELETED, GONE, "patient-deleted", "Patient deleted",
        "The patient with this id was deleted.",
        "There was a patient with this id, who was deleted, and whose id is never given to anybody else. An auditor still sees \
         the history.";
    SEQUENCE_NOT_FOUND, NOT_FOUND, "sequence-not-found", "No such sequence",
        "The patient has no event with this sequence. The first has 1; the history lists them all.",
        "The events of a patient are numbered from 1 without gaps, and this one has none with that number (yet). \
         GET /patients/{id}/history lists those there are.";
    NOT_REGISTERED_YET, NOT_FOUND, "not-registered-yet", "Not registered yet",
        "At that moment nobody was registered under this id yet.",
        "The patient exists, but was registered after the moment that at names. Ask for a later one.";
    PRECONDITION_FAILED, PRECONDITION_FAILED, "precondition-failed", "Changed meanwhile",
        "The patient was changed meanwhile. Read it again and decide anew.",
        "The header If-Match names a state that the patient is no longer in; the detail names the present one. Nothing was \
         done. Read the patient again, see whether what you are about to do is still right, and send its ETag.";
    PROJECTION_NOT_FOUND, NOT_FOUND, "projection-not-found", "No such projection",
        "No projection has this name. GET /projections names them.",
        "The path names a projection that there is none of. GET /projections names those there are; the read table of \
         patients is patient_view.";
    REBUILD_NOT_FOUND, NOT_FOUND, "rebuild-not-found", "No such rebuild",
        "The projection was never rebuilt into this generation.",
        "The path names a rebuild that there never was. The header Location of the answer to the request for a rebuild leads \
         to it.";
    REBUILD_UNDER_WAY, CONFLICT, "rebuild-under-way", "Rebuild under way",
        "The projection is being rebuilt already; the Location header says where to see how far that is.",
        "A projection is rebuilt by one at a time. Wait for the one under way, whose address is in the header Location, or \
         call it off with DELETE there.";
    REBUILD_TOO_FAR, CONFLICT, "rebuild-too-far", "Too late",
        "The new generation is served already, or the rebuild is over.",
        "A rebuild can be called off until its generation is served. This one is past that; there is nothing to call off. To \
         make the table anew once more, ask for another rebuild.";
    MAIL_NOT_FOUND, NOT_FOUND, "mail-not-found", "No such mail",
        "No mail was ever to tell of this event. GET /mail/deliveries lists those that are.",
        "Mails are named by the position of the event that they tell of. The mailer makes them when it reaches that event: a \
         mail of a moment ago may not be there yet.";
    MAIL_NOT_TO_BE_RETRIED, CONFLICT, "mail-not-to-be-retried", "Not to be tried again",
        "Only a mail that is pending, failed or dead can be tried again.",
        "The mail is being sent, has been sent, or is not to be sent because its patient was deleted. The detail says \
         in which state it is.";
    NOT_FOUND, NOT_FOUND, "not-found", "Not found",
        "There is nothing at this path.",
        "The service has nothing at this path. GET /docs shows all there is.";
    METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed",
        "This path does not take this method; the Allow header names those that it takes.",
        "The path is right, the method is not. The header Allow names those that it takes.";
    NOT_PROJECTED_YET, SERVICE_UNAVAILABLE, "not-projected-yet", "Not there yet",
        "The read table has not reached Min-Position yet. Try again.",
        "The list is answered from a table that follows the log, and the table had not reached the Min-Position that was asked \
         for in the time that a request waits; the member position says how far it is. Try again, or ask without Min-Position \
         for what is there. An operator sees in GET /projections why it is behind.";
    TOO_MANY_REQUESTS, TOO_MANY_REQUESTS, "too-many-requests", "Too many requests",
        "This client has asked for as much as it may in a time. Nothing was done; try again after the seconds in Retry-After.",
        "Each client may make so many requests in a time; the header RateLimit-Policy says how many (q) in how many seconds (w), and \
         RateLimit how many are left (r). A client is the holder of an access token or, without one, an address. The quota \
         comes back evenly: wait for the seconds that Retry-After names, and then ask more slowly. An address that sends many \
         access tokens that are not known gets this answer too.";
    REBUILD_NEEDED, SERVICE_UNAVAILABLE, "rebuild-needed", "Rebuild needed",
        "The read table has to be rebuilt once before names can be searched. Whoever runs this service does it.",
        "The read table was filled by an earlier version of this service, which did not prepare it for a search by name, and a \
         part of the patients would not be found. An operator rebuilds it once, with patients projection rebuild, or POST \
         /projections/patient_view/rebuild; everything else works meanwhile.";
    OVERLOADED, SERVICE_UNAVAILABLE, "overloaded", "Overloaded",
        "Too many requests wait already. Nothing was done; try again.",
        "More is asked of this process than it can do, and rather than let requests wait without an end it refuses some. \
         Nothing was done. Try again after the seconds that Retry-After names, and then with growing pauses.";
    TOO_MANY_STREAMS, SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams",
        "As many streams of events are open as may be at a time. Close one, or try again.",
        "A process serves a limited number of streams, live ones and those of lines together. Close one that is no longer \
         needed, ask another process, or read pages, which have no such limit.";
    TOO_MANY_OWN_STREAMS, TOO_MANY_REQUESTS, "too-many-own-streams", "Too many streams of this caller",
        "This caller has as many streams of events open as one caller may have. Close one first.",
        "Each caller may have a quarter of the streams that a process serves, live ones and those of lines together, so that nobody \
         keeps the others from theirs. All tokens of one name, or of one subject, are one caller. Close a stream that is no longer \
         needed, or read pages, which have no such limit.";
    SHUTTING_DOWN, SERVICE_UNAVAILABLE, "shutting-down", "Shutting down",
        "This process is shutting down. Nothing was done; try again.",
        "The process is being stopped, as when a new version is put in place. Nothing was done. Try again; another process or \
         the next one answers.";
    CLOCK_WRONG, SERVICE_UNAVAILABLE, "clock-wrong", "Wrong clock",
        "The clock of this process is wrong. Nothing was done; try another process, or later.",
        "Every event is recorded with the time of the process that writes it. The clock of this process differs from the clock of \
         the database by more than five minutes, or was set while the process was running. Nothing was done. An operator sets the \
         clock right; if it is right already, the operator restarts the process.";
    LOG_DAMAGED, SERVICE_UNAVAILABLE, "log-damaged", "Log damaged",
        "The log of events was altered, and the request needs the damaged part. Nothing was done.",
        "The log of events, or the row that records where it ends, is not as this service left it: somebody changed the database. \
         Nothing was done, and a retry does not help. An operator runs patients audit verify, which names the damaged position, \
         and restores the log.";
    READ_TABLE_DAMAGED, SERVICE_UNAVAILABLE, "read-table-damaged", "Read table damaged",
        "The database says something impossible about the read table, which therefore is not read.",
        "The row that records how far the read table follows the log, or which generation of it is served, was altered. Reads by \
         id and writes still work. An operator sees the reason in patients projection status, and rebuilds the table with \
         patients projection rebuild.";
    CLAIMS_DAMAGED, SERVICE_UNAVAILABLE, "claims-damaged", "Claims damaged",
        "The table that records who has which email names the wrong patient.",
        "A search by email looks up the patient in the table of claims. The patient that was found does not have this email, so \
         the table was altered. An operator runs patients claims verify, and then patients claims rebuild, which makes the table \
         from the log.";
    PATIENT_UNREADABLE, SERVICE_UNAVAILABLE, "patient-unreadable", "Patient unreadable",
        "An event of this patient cannot be read, so the state of the patient is not known.",
        "The log has an event of this patient that this version of the service does not understand, such as one from a newer \
         version. What the event changed is not known: the patient may have been deleted. Other patients are not affected. An \
         operator sees the event in patients projection status or the service's own log, and runs a version that can read it.";
    CONTENDED, SERVICE_UNAVAILABLE, "contended", "Other commands came first",
        "Other commands for this patient came first, several times. Nothing was done; try again.",
        "Each time the command was about to be carried out, another command for the same patient was recorded before it. Nothing \
         was done. Read the patient again, and retry if the command is still right.";
    UNAVAILABLE, SERVICE_UNAVAILABLE, "unavailable", "Unavailable",
        "The database cannot be reached. Nothing was done; try again.",
        "The database does not answer this process. Nothing was done. Try again after the seconds that Retry-After names; \
         GET /health/ready says when it is back.";
    DATABASE_READ_ONLY, SERVICE_UNAVAILABLE, "database-read-only", "Database read-only",
        "The database accepts no writes at present. Nothing was done; try again later.",
        "The database answers, but accepts no writes: it is a replica, its administrator has locked it, or its disk is read-only. \
         Nothing was done. Patients can still be read. An operator makes the database writable again, or points DATABASE_URL to \
         the one that is; GET /health/ready reports when it is.";
    DATABASE_FILE_LOST, SERVICE_UNAVAILABLE, "database-file-lost", "Database file lost",
        "The file of the database was deleted or replaced while it was open. An operator has to put it back or restart the service.",
        "The service keeps its data in a file, and that file is no longer the one that it opened. What it would write now would \
         be lost, so it neither reads nor writes. An operator puts the file back where it was, or restarts the service with \
         the file that is there now.";
    OUTCOME_UNKNOWN, SERVICE_UNAVAILABLE, "outcome-unknown", "Outcome unknown",
        "The request was not finished in time, and it is open whether it was done. Repeat it with the same Idempotency-Key, or \
         read first.",
        "The time for the request was over, or the database was lost, before anybody knew whether it was done. A read is simply \
         repeated. A registration is repeated with the same Idempotency-Key, which never registers anybody twice; without a \
         key, a repetition that is answered 409 email-taken means that the first one was done, or that somebody else has the \
         email. A deletion is repeated: 410 \
         means that it was done.";
    INTERNAL, INTERNAL_SERVER_ERROR, "internal", "Internal error",
        "Something is wrong on our side. The X-Request-Id header finds it in the logs.",
        "A defect of the service, or something it stores cannot be read. Tell those who run it the value of the header \
         X-Request-Id, by which they find it in the logs.";
}
