//! The settings of the JWT issuer.

use std::path::PathBuf;

use clap::Args;
use web::access::TokenType;
use web_console::SignIn;

use super::values::path;

/// The issuer whose JWTs are accepted.
#[derive(Debug, Clone, Args)]
pub(crate) struct IssuerSettings {
    /// Issuer whose JWTs are accepted as access tokens: the exact value of iss
    #[arg(long, env, global = true)]
    pub(crate) auth_jwt_issuer: Option<String>,

    /// Required audience of the issuer's tokens: aud must be or contain it
    #[arg(long, env, global = true)]
    pub(crate) auth_jwt_audience: Option<String>,

    /// File with the issuer's keys (a JWK set); reloaded when it changes
    #[arg(long, env, global = true, value_parser = path)]
    pub(crate) auth_jwks_file: Option<PathBuf>,

    /// URL of the issuer's keys, instead of a file: https, or http with a loopback host
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(crate) auth_jwks_url: Option<String>,

    /// Accepted signature algorithms, of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, `EdDSA`
    #[arg(long, env, global = true, default_value = "RS256,PS256,ES256,EdDSA")]
    pub(crate) auth_jwt_algorithms: String,

    /// Required `typ` header of the tokens: `at+jwt`, or `any` for an issuer whose access tokens lack it,
    /// such as Keycloak
    #[arg(long, env, global = true, default_value = "at+jwt", value_parser = token_type)]
    pub(crate) auth_jwt_type: TokenType,

    /// Claim with the roles: an array, or a string separated by spaces; dots lead into nested objects, as in
    /// `realm_access.roles`
    #[arg(long, env, global = true, default_value = "roles")]
    pub(crate) auth_jwt_roles_claim: String,

    /// ID of the web console at the issuer, as a public client; people can then sign in at `AUTH_JWT_ISSUER`
    #[arg(long, env, global = true)]
    pub(crate) console_client_id: Option<String>,

    /// Scopes that the web console requests, separated by spaces
    #[arg(long, env, global = true, default_value = "openid")]
    pub(crate) console_scope: String,
}

impl IssuerSettings {
    /// Returns how the web console signs people in, if that is set.
    pub(crate) fn console(&self) -> Option<SignIn> {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(SignIn {
            client_id: set(&self.console_client_id)?,
            issuer: self.auth_jwt_issuer.clone().unwrap_or_default(),
            scope: self.console_scope.clone(),
            audience: self.auth_jwt_audience.clone().unwrap_or_default(),
        })
    }
}

fn token_type(text: &str) -> Result<TokenType, String> {
    text.parse()
        .map_err(|error: web::access::TokenTypeError| error.to_string())
}
