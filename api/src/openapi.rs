//! The description of the API, in OpenAPI 3.1, made from the table of routes.
//!
//! Each route's file has its own text ([`Described`]); what all of them share (the request's id, the access
//! token, the problems that any request can meet) is added when the route is ([`Described::into_operation`]).

pub(crate) mod fields;
mod operation;
pub(crate) mod schemas;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths,
};
use utoipa::{PartialSchema, ToSchema};

pub(crate) use operation::{Described, Endpoint, Media};

use crate::PublicUrl;

/// The name of the security scheme.
const BEARER: &str = "bearer";

pub(crate) const PATIENTS: &str = "patients";
pub(crate) const AUDIT: &str = "audit";
pub(crate) const OPERATIONS: &str = "operations";
pub(crate) const ABOUT: &str = "about";

const DESCRIPTION: &str = "Registers patients. Every registration and every deletion is an event in an ordered, \
hash-chained log.\n\n\
**Errors** are problems (RFC 9457); `type` is stable, and is the address of a page that explains it: [/problems](/problems). \
\n\n**Retries**: a registration with an `Idempotency-Key` can be repeated as often as you like, and makes one patient. \
\n\n**Reading what you wrote**: `GET /patients/{id}` is always up to date; the list follows some milliseconds behind, and waits \
for `Min-Position` if you send the `Event-Position` of your write.\n\n**Parameters**: a query parameter that an operation does not \
have is refused (422), and so is one that is sent twice. Health checks, metrics and the pages about the API ignore those that they do not have. \
\n\n**Paths** have no slash at the end: a path with one is redirected (308).\n\n**Limits**: each client has a quota; `RateLimit` says what \
is left of it, and an answer 429 when to go on.\n\n**Access**: a service that was set up with access tokens, or with an \
issuer of JWTs, needs one in each request but those about its health and about the API itself. Without any it is open.";

const TAGS: [(&str, &str); 4] = [
    (
        PATIENTS,
        "Register, list, read and delete. For clerks; auditors read.",
    ),
    (
        AUDIT,
        "Histories, the feed of events, and who read them. For auditors.",
    ),
    (
        OPERATIONS,
        "Health, the read table, the mail and metrics. For operators.",
    ),
    (ABOUT, "The API about itself. For everybody."),
];

/// The service that a document describes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'u> {
    /// The URL under which clients reach it. Without it, the service is where the document comes from.
    pub(crate) url: Option<&'u PublicUrl>,
    pub(crate) tokens: Tokens,
}

impl Service<'_> {
    /// Any service, for the document that `patients openapi` prints.
    pub(crate) const ANY: Self = Self {
        url: None,
        tokens: Tokens::Optional,
    };
}

/// Whether a service asks for access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    Required,
    /// Some services ask for a token, some do not.
    Optional,
    /// Access is open.
    Ignored,
}

impl Tokens {
    /// The `security` of an operation with roles. An empty requirement is met without a token. Some
    /// generators demand a token if there is any requirement, even an empty one, so an open service lists
    /// none.
    fn requirements(self) -> Vec<SecurityRequirement> {
        let token = SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []);
        match self {
            Self::Required => vec![token],
            Self::Optional => vec![SecurityRequirement::default(), token],
            Self::Ignored => Vec::new(),
        }
    }
}

/// The document about these paths.
pub(crate) fn document(paths: Paths, components: Components, service: Service<'_>) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Patient registration")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(
            LicenseBuilder::new()
                .name(env!("CARGO_PKG_LICENSE"))
                .identifier(Some(env!("CARGO_PKG_LICENSE")))
                .build(),
        ));
    let tags = TAGS.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("pat_… or JWT")
        .description(Some(
            "Either a token as `patients token new` makes it, or, if the service was set up with an issuer, a JWT of that \
             issuer: an access token whose `aud` is this service, and which holds the roles. A service with neither asks for \
             none.",
        ))
        .build();
    let mut components = components;
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    let server = ServerBuilder::new().url(service.url.map_or("/", PublicUrl::as_str));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([server.build()]))
        .paths(paths)
        .components(Some(components))
        .tags(Some(tags))
        .build()
}

/// The schemas that no single route is the owner of.
pub(crate) fn components() -> Components {
    let mut schemas = vec![(schemas::Problem::name().into_owned(), schemas::Problem::schema())];
    schemas::Problem::schemas(&mut schemas);
    ComponentsBuilder::new().schemas_from_iter(schemas).build()
}
