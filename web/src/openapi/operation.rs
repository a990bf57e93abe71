//! The OpenAPI description of a route.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ArrayBuilder, Content, ContentBuilder, Ref, RefOr, Required, Schema};

use super::fields::{self, Named};
use super::{Texts, Tokens};
use crate::access::Allowed;
use crate::method::Method;
use crate::problem::{Kind, kinds};
use crate::route_kind::RouteKind;

/// Name of the schema of the problem details.
const PROBLEM: &str = "Problem";

/// Problems that any request can cause: a timeout and an internal error.
const ANY: [Kind; 2] = [kinds::OUTCOME_UNKNOWN, kinds::INTERNAL];

/// The properties of a route that the document describes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) kind: RouteKind,
}

/// A request or response body of some media type.
pub struct Media {
    name: &'static str,
    content: Content,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Media {
    /// JSON described by a component of the document.
    #[must_use]
    pub fn json<T: ToSchema>(example: Value) -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self {
            name: "application/json",
            content: content(Ref::from_schema_name(T::name()), Some(example)),
            schemas,
        }
    }

    /// The same body under the name of another media type.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// A JSON array of items described by a component.
    #[must_use]
    pub fn json_list<T: ToSchema>(example: Value) -> Self {
        let one = Self::json::<T>(Value::Null);
        let list = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        Self {
            content: content(list, Some(example)),
            ..one
        }
    }

    /// JSON described by a component, with two examples.
    #[must_use]
    pub fn json_with<T: ToSchema>(examples: [(&'static str, Value); 2]) -> Self {
        let examples =
            examples.map(|(name, example)| (name, ExampleBuilder::new().value(Some(example)).build()));
        Self {
            content: ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(T::name())))
                .examples_from_iter(examples)
                .build(),
            ..Self::json::<T>(Value::Null)
        }
    }

    /// A body of any other media type, with its schema.
    #[must_use]
    pub fn of(name: &'static str, schema: impl Into<RefOr<Schema>>, example: Option<Value>) -> Self {
        Self {
            name,
            content: content(schema, example),
            schemas: Vec::new(),
        }
    }
}

fn content(schema: impl Into<RefOr<Schema>>, example: Option<Value>) -> Content {
    ContentBuilder::new()
        .schema(Some(schema))
        .example(example)
        .build()
}

/// The description of a route: its purpose, parameters, request body and responses.
#[must_use]
pub struct Described {
    summary: &'static str,
    text: String,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: BTreeMap<u16, (String, ResponseBuilder)>,
    problems: Vec<Kind>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Described {
    /// Starts a description.
    pub fn new(summary: &'static str, text: &str) -> Self {
        Self {
            summary,
            text: text.to_owned(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// Adds parameters.
    pub fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Sets the request body.
    pub fn body(mut self, media: Media) -> Self {
        self.schemas.extend(media.schemas);
        self.body = Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content(media.name, media.content)
                .build(),
        );
        self
    }

    /// Whether the route has query parameters.
    #[must_use]
    pub fn has_query(&self) -> bool {
        let mut parameters = self.parameters.iter();
        parameters.any(|parameter| parameter.parameter_in == ParameterIn::Query)
    }

    /// Adds the responses of one status, with all their media types.
    pub fn answers(
        mut self,
        status: u16,
        text: &str,
        media: impl IntoIterator<Item = Media>,
        headers: impl IntoIterator<Item = Named>,
    ) -> Self {
        let mut response = ResponseBuilder::new();
        for media in media {
            self.schemas.extend(media.schemas);
            response = response.content(media.name, media.content);
        }
        for (name, header) in headers {
            response = response.header(name, header);
        }
        self.answers.insert(status, (text.to_owned(), response));
        self
    }

    /// Adds problems that the route can cause.
    pub fn problems(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// Adds a header that some or all responses of a status have.
    pub fn header(mut self, status: u16, (name, header): Named) -> Self {
        let (_, response) = self.answers.entry(status).or_default();
        *response = std::mem::take(response).header(name, header);
        self
    }

    /// Returns the operation, and the schemas that it refers to.
    pub(crate) fn into_operation(
        self,
        endpoint: Endpoint,
        texts: &Texts,
        tokens: Tokens,
    ) -> (Operation, Vec<(String, RefOr<Schema>)>) {
        let Endpoint { method, path, kind } = endpoint;
        let mut problems = self.problems;
        problems.extend(ANY);
        let limited = kind.is_limited();
        problems.extend(limited.then_some(kinds::TOO_MANY_REQUESTS));
        problems.extend((!kind.ignores_unknown_parameters()).then_some(kinds::INVALID_REQUEST));
        let mut operation = OperationBuilder::new()
            .operation_id(Some(operation_id(method, path)))
            .tag((texts.tag)(kind))
            .summary(Some(self.summary))
            .parameters(Some(self.parameters))
            .parameter(fields::request_id(texts.request_id))
            .parameter(fields::traceparent())
            .request_body(self.body);
        let text = match kind.allowed() {
            Allowed::Everybody => {
                operation = operation.securities(Some([]));
                self.text
            }
            Allowed::Only(roles) => {
                problems.extend((method != Method::Get).then_some(kinds::CROSS_ORIGIN));
                problems.extend([kinds::UNAUTHORIZED, kinds::FORBIDDEN]);
                operation = operation.securities(Some(tokens.requirements()));
                let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
                format!("{}\n\nRoles: {}.", self.text, roles.join(", "))
            }
        };
        let mut answers = self.answers;
        problems.sort_by_key(|kind| (kind.status, kind.slug));
        problems.dedup();
        for kinds in problems.chunk_by(|a, b| a.status == b.status) {
            let (text, response) = answers.entry(kinds[0].status.as_u16()).or_default();
            *response = refusal(std::mem::take(response), kinds, texts);
            let lines = kinds
                .iter()
                .map(|kind| format!("[{}]({}): {}", kind.slug, kind.path(), kind.detail));
            *text = std::iter::once(std::mem::take(text))
                .filter(|text| !text.is_empty())
                .chain(lines)
                .collect::<Vec<_>>()
                .join("\n\n");
        }
        for (status, (text, response)) in answers {
            // Other responses may have these headers too; clients look for them in 2xx and 429.
            let quota = (limited && (status < 300 || status == 429))
                .then(|| [fields::rate_limit(), fields::rate_limit_policy()]);
            let response = [fields::given_request_id(), fields::given_traceparent()]
                .into_iter()
                .chain(quota.into_iter().flatten())
                .fold(response.description(text), |response, (name, header)| {
                    response.header(name, header)
                });
            operation = operation.response(status.to_string(), response.build());
        }
        (operation.description(Some(text)).build(), self.schemas)
    }
}

/// Returns an operation id such as `get_items_id`. The id is unique, because each method occurs only once
/// per path.
fn operation_id(method: Method, path: &str) -> String {
    if path == "/" {
        return format!("{}_root", method.in_ids());
    }
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = std::iter::once(method.in_ids()).chain(words.filter(|word| !word.is_empty()));
    words.collect::<Vec<_>>().join("_")
}

/// Adds problems of the same status to a response.
fn refusal(response: ResponseBuilder, kinds: &[Kind], texts: &Texts) -> ResponseBuilder {
    let examples = kinds.iter().map(|kind| {
        let example = ExampleBuilder::new()
            .summary(kind.title)
            .value(Some(example(kind, texts)));
        (kind.slug, example.build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(PROBLEM)))
        .examples_from_iter(examples);
    let response = response.content("application/problem+json", content.build());
    let challenges = [kinds::UNAUTHORIZED, kinds::FORBIDDEN];
    let (name, header) = if kinds.iter().any(|kind| challenges.contains(kind)) {
        fields::www_authenticate()
    } else if kinds.contains(&kinds::UNSUPPORTED_CONTENT_ENCODING) {
        fields::accept_encoding()
    } else if kinds.iter().any(|kind| kind.retry_after.is_some()) {
        fields::retry_after()
    } else {
        return response;
    };
    response.header(name, header)
}

fn example(kind: &Kind, texts: &Texts) -> Value {
    let mut example = json!({
        "type": kind.path(),
        "title": kind.title,
        "status": kind.status.as_u16(),
        "detail": kind.detail,
    });
    if *kind == kinds::INVALID_REQUEST {
        example["errors"] = json!([{"field": "limit", "message": "must be a whole number from 1 to 1000"}]);
    }
    if let Some((name, value)) = (texts.example_member)(kind) {
        example[name] = value;
    }
    example
}
