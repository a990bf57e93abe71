//! The settings of the issuer of JWTs.

use std::path::PathBuf;

use api::access::TokenType;
use clap::Args;

use super::values::path;

/// The issuer whose JWTs let their holders in.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_field_names, reason = "the fields name flags and variables")]
pub(crate) struct IssuerSettings {
    /// The issuer whose JWTs are access tokens too: its iss, to the letter
    #[arg(long, env, global = true)]
    pub(crate) auth_jwt_issuer: Option<String>,

    /// What the aud of its tokens must be, or have in it
    #[arg(long, env, global = true)]
    pub(crate) auth_jwt_audience: Option<String>,

    /// A file with its keys (a JWK set), read again whenever it changes
    #[arg(long, env, global = true, value_parser = path)]
    pub(crate) auth_jwks_file: Option<PathBuf>,

    /// Or where its keys are fetched from: https, or http to this machine
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(crate) auth_jwks_url: Option<String>,

    /// What its tokens may be signed with: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, `EdDSA`
    #[arg(long, env, global = true, default_value = "RS256,PS256,ES256,EdDSA")]
    pub(crate) auth_jwt_algorithms: String,

    /// The `typ` in the header of its tokens: `at+jwt`, or `any` for an issuer whose access tokens do not
    /// have it, such as Keycloak
    #[arg(long, env, global = true, default_value = "at+jwt", value_parser = token_type)]
    pub(crate) auth_jwt_type: TokenType,

    /// The claim that holds the roles: an array, or a text with spaces; points lead into objects, as in
    /// `realm_access.roles`
    #[arg(long, env, global = true, default_value = "roles")]
    pub(crate) auth_jwt_roles_claim: String,
}

fn token_type(text: &str) -> Result<TokenType, String> {
    text.parse()
        .map_err(|error: api::access::TokenTypeError| error.to_string())
}
