//! Signing in at an issuer of JWTs, and the parts of the responses that depend on it.

use axum::http::HeaderValue;
use serde_json::json;
use url::Url;
use web::file::File;

/// Allows only files and requests of this service. Trusted Types without a policy prevent any conversion of
/// strings to HTML or scripts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; \
     connect-src 'self'";

/// An issuer at which the console signs people in, as a public client: the code flow with PKCE (RFC 7636).
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The issuer, exactly as in the claim `iss` of its tokens.
    pub issuer: String,
    /// ID of the console at the issuer.
    pub client_id: String,
    /// Requested scopes, separated by spaces.
    pub scope: String,
    /// The audience of this API.
    pub audience: String,
}

/// The issuer is not a URL that a browser can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnIssuer;

/// The console of a service.
#[derive(Debug)]
pub struct Console {
    /// The Content-Security-Policy of the page.
    pub(crate) policy: HeaderValue,
    /// The file `config.json`.
    pub(crate) config: File,
}

impl Default for Console {
    fn default() -> Self {
        Self::of(HeaderValue::from_static(POLICY), &json!({"sign_in": null}))
    }
}

impl Console {
    /// Creates a console that can sign people in at an issuer. The page may send requests to the origin of
    /// the issuer.
    ///
    /// # Errors
    ///
    /// [`NotAnIssuer`], unless the issuer is an `https` URL, or an `http` URL on a loopback host.
    pub fn with_sign_in(sign_in: &SignIn) -> Result<Self, NotAnIssuer> {
        let SignIn {
            issuer,
            client_id,
            scope,
            audience,
        } = sign_in;
        let url = Url::parse(issuer).map_err(|_| NotAnIssuer)?;
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(NotAnIssuer);
        }
        let policy = format!("{POLICY} {}", url.origin().ascii_serialization());
        let policy = HeaderValue::from_str(&policy).map_err(|_| NotAnIssuer)?;
        let config = json!({
            "sign_in": {"issuer": issuer, "client_id": client_id, "scope": scope, "audience": audience},
        });
        Ok(Self::of(policy, &config))
    }

    fn of(policy: HeaderValue, config: &serde_json::Value) -> Self {
        Self {
            policy,
            config: File::plain("application/json", config.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_requests_to_the_origin_of_the_issuer_and_to_no_other() {
        let of = |issuer: &str| {
            Console::with_sign_in(&SignIn {
                issuer: issuer.to_owned(),
                client_id: "console".to_owned(),
                scope: "openid".to_owned(),
                audience: "patients".to_owned(),
            })
        };
        let policy =
            |issuer| of(issuer).map(|console| console.policy.to_str().unwrap_or_default().to_owned());
        let allowed = policy("https://id.example.com/realms/clinic");
        assert!(allowed.is_ok_and(|policy| policy.ends_with("connect-src 'self' https://id.example.com")));
        assert!(policy("http://127.0.0.1:8080/").is_ok());
        for issuer in ["clinic", "http://id.example.com", "javascript:alert(1)", ""] {
            assert_eq!(policy(issuer), Err(NotAnIssuer), "{issuer}");
        }
    }
}
