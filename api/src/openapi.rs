//! The OpenAPI 3.1 document, generated from the table of routes.
//!
//! The file of each route contains the text for that route ([`Described`]). Parts that all routes share (the
//! request id, the access token, the problems that any request can cause) are added by
//! [`Described::into_operation`].

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

/// Name of the security scheme.
const BEARER: &str = "bearer";

pub(crate) const PATIENTS: &str = "patients";
pub(crate) const AUDIT: &str = "audit";
pub(crate) const OPERATIONS: &str = "operations";
pub(crate) const ABOUT: &str = "about";

const DESCRIPTION: &str = "Registers patients. Every registration and every deletion is an event in an ordered, \
hash-chained log.\n\n\
**Errors** are problem details (RFC 9457). The `type` is stable, and is the address of a page that explains the problem. \
All problem types are listed at [/problems](/problems).\n\n\
**Retries**: a registration with an `Idempotency-Key` can be repeated any number of times; it registers one patient.\n\n\
**Read your writes**: `GET /patients/{id}` is always up to date. The list is a few milliseconds behind. To make it wait for \
your write, send the `Event-Position` of the write as `Min-Position`.\n\n\
**Parameters**: unknown and repeated query parameters are rejected (422). Health checks, metrics and the pages about the \
API ignore unknown parameters.\n\n\
**Paths** have no trailing slash: a path with a trailing slash is redirected (308).\n\n\
**Limits**: each client has a quota. The `RateLimit` header gives the remaining quota, and a 429 response says when to retry.\n\n\
**Access**: a service that is configured with access tokens or with an issuer of JWTs requires a token in every request, \
except for health checks and the pages about the API. Otherwise, access is open.";

const TAGS: [(&str, &str); 4] = [
    (
        PATIENTS,
        "Register, list, read and delete patients. For clerks; auditors can read.",
    ),
    (
        AUDIT,
        "Histories, the event feed, and the record of reads. For auditors.",
    ),
    (
        OPERATIONS,
        "Health, the read table, mail and metrics. For operators.",
    ),
    (ABOUT, "The API description. For everyone."),
];

/// The service that a document describes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'u> {
    /// URL at which clients reach the service. `None` if the service has the same origin as the document.
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

/// Whether a service requires access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    Required,
    /// Some services require a token, and others do not.
    Optional,
    /// Access is open.
    Ignored,
}

impl Tokens {
    /// Returns the `security` of an operation with roles. An empty requirement is satisfied without a token.
    /// However, some code generators require a token if any requirement is listed, even an empty requirement.
    /// The document of an open service therefore lists no requirements.
    fn requirements(self) -> Vec<SecurityRequirement> {
        let token = SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []);
        match self {
            Self::Required => vec![token],
            Self::Optional => vec![SecurityRequirement::default(), token],
            Self::Ignored => Vec::new(),
        }
    }
}

/// Creates the document for these paths.
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
            "Either a token created with `patients token new` or, if the service is configured with an issuer, a JWT from that \
             issuer. The JWT is an access token whose `aud` is this service, and contains the roles. A service without tokens \
             and without an issuer requires no token.",
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

/// Returns the schemas that belong to no single route.
pub(crate) fn components() -> Components {
    let mut schemas = vec![(schemas::Problem::name().into_owned(), schemas::Problem::schema())];
    schemas::Problem::schemas(&mut schemas);
    ComponentsBuilder::new().schemas_from_iter(schemas).build()
}
