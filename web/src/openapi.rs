//! The OpenAPI 3.1 document, generated from the table of routes.
//!
//! The file of each route contains the text for that route ([`Described`]), and the application has the texts
//! of the whole document ([`Texts`]). Parts that all routes share (the request id, the access token, the
//! problems that any request can cause) are added to each operation.

pub mod fields;
mod operation;

use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths};

pub(crate) use operation::Endpoint;
pub use operation::{Described, Media};

use crate::problem::Kind;
use crate::public_url::PublicUrl;
use crate::route_kind::RouteKind;

/// Name of the security scheme.
const BEARER: &str = "bearer";

/// The parts of the document that belong to the application.
#[derive(Debug, Clone, Copy)]
pub struct Texts {
    /// Title of the API.
    pub title: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// License of the program, as an SPDX expression.
    pub license: &'static str,
    /// Description of the API, as Markdown.
    pub description: &'static str,
    /// Tags, each with its description.
    pub tags: &'static [(&'static str, &'static str)],
    /// Returns the tag of the routes of a kind.
    pub tag: fn(RouteKind) -> &'static str,
    /// Formats of the access tokens.
    pub token_formats: &'static str,
    /// Description of the access tokens.
    pub tokens: &'static str,
    /// Description of the request header `X-Request-Id`.
    pub request_id: &'static str,
    /// Creates the schemas that belong to no single route. The schema of the problem details has the name
    /// `Problem`.
    pub components: fn() -> Components,
    /// Returns an additional member of the example of a problem.
    pub example_member: fn(&Kind) -> Option<(&'static str, Value)>,
}

/// The service that a document describes.
#[derive(Debug, Clone, Copy)]
pub struct Service<'u> {
    /// URL at which clients reach the service. `None` if the service has the same origin as the document.
    pub url: Option<&'u PublicUrl>,
    /// Whether the service requires access tokens.
    pub tokens: Tokens,
}

impl Service<'_> {
    /// Any service.
    pub const ANY: Self = Self {
        url: None,
        tokens: Tokens::Optional,
    };
}

/// Whether a service requires access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Every request to a route with roles requires a token.
    Required,
    /// Some services require a token, and others do not.
    Optional,
    /// The service requires no token.
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
pub(crate) fn document(
    paths: Paths,
    mut components: Components,
    texts: &Texts,
    service: Service<'_>,
) -> OpenApi {
    let license = LicenseBuilder::new()
        .name(texts.license)
        .identifier(Some(texts.license));
    let info = InfoBuilder::new()
        .title(texts.title)
        .version(texts.version)
        .description(Some(texts.description))
        .license(Some(license.build()));
    let tags = texts.tags.iter();
    let tags: Vec<_> = tags
        .map(|(name, text)| TagBuilder::new().name(*name).description(Some(*text)).build())
        .collect();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format(texts.token_formats)
        .description(Some(texts.tokens))
        .build();
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
