//! Logging in: Basic, and Bearer tokens. Source: Docker Registry "Token Authentication Specification" and
//! "Docker Registry v2 authentication using OAuth2".

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use http::HeaderValue;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::challenge::Challenge;
use super::endpoint::Base;
use super::request::{Ask, Scope};
use super::{Credentials, RegistryClient, RegistryError};

/// The name that Docker's own registry goes by in Docker's configuration.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// What we know of logging in to one registry.
#[derive(Debug, Default)]
pub(super) struct Auth {
    login: OnceCell<Option<Login>>,
    /// By scope.
    headers: Mutex<HashMap<Scope, HeaderValue>>,
}

#[derive(Clone)]
enum Login {
    Password(String, String),
    /// Docker's identity token: OAuth2's refresh token.
    Refresh(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// What a token server answers.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    /// The header for requests of `scope`, if a log-in was asked for before.
    pub(super) fn header(&self, scope: &Scope) -> Option<HeaderValue> {
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.get(scope).cloned()
    }

    fn remember(&self, scope: &Scope, header: HeaderValue) {
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert(scope.clone(), header);
    }

    /// Whether no log-in is known; what was never asked for is none.
    pub(super) fn is_anonymous(&self) -> bool {
        !matches!(self.login.get(), Some(Some(_)))
    }
}

impl RegistryClient {
    /// Answers a challenge, and remembers the answer. False if there is no way to.
    pub(super) async fn log_in(
        &self,
        base: &Base,
        scope: &Scope,
        challenges: &[Challenge],
    ) -> Result<bool, RegistryError> {
        let find = || find_login(&self.options().credentials, &base.registry);
        let login = base.auth.login.get_or_try_init(find).await?;
        for challenge in challenges {
            let header = match (challenge, login) {
                (Challenge::Basic, Some(Login::Password(user, password))) => {
                    Some(basic(user, password))
                }
                (Challenge::Basic, _) => None,
                (
                    Challenge::Bearer {
                        realm,
                        service,
                        scope: asked,
                    },
                    login,
                ) => {
                    let scopes = scope.scopes(asked.as_deref());
                    let service = service.as_deref();
                    self.token(base, realm, service, &scopes, login.as_ref())
                        .await?
                        .map(|token| format!("Bearer {token}"))
                }
            };
            if let Some(header) = header {
                let mut header =
                    HeaderValue::from_str(&header).map_err(|_| RegistryError::Login {
                        registry: base.registry.clone(),
                        why: "it holds characters that no header can".to_owned(),
                    })?;
                header.set_sensitive(true);
                base.auth.remember(scope, header);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A token for `scopes` out of `realm`; none if the log-in is refused.
    async fn token(
        &self,
        base: &Base,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: Option<&Login>,
    ) -> Result<Option<String>, RegistryError> {
        let wrong = |why: String| RegistryError::Protocol {
            registry: base.registry.clone(),
            why,
        };
        let mut url = Url::parse(realm)
            .map_err(|error| wrong(format!("its token server {realm:?} is no URL: {error}")))?;
        if url.scheme() != "https" && base.url.scheme() == "https" && login.is_some() {
            let why = format!("its token server {realm} would get the log-in in plain text");
            return Err(wrong(why));
        }
        let ask = if let Some(Login::Refresh(token)) = login {
            let mut form =
                Url::parse("http://form.test/").map_err(|error| wrong(error.to_string()))?;
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", "tbuild")
                .append_pair("scope", &scopes.join(" "))
                .append_pair("refresh_token", token);
            let form = form.query().unwrap_or_default().to_owned();
            Ask::post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .bytes(form.into_bytes())
        } else {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(scopes.iter().map(|scope| ("scope", scope.as_str())));
            }
            match login {
                Some(Login::Password(user, password)) => {
                    url.query_pairs_mut().append_pair("account", user);
                    Ask::get(url).header("authorization", &basic(user, password))
                }
                _ => Ask::get(url),
            }
        };
        let answer = self.exchange(base, &ask).await?;
        let status = answer.status();
        if matches!(status.as_u16(), 400 | 401 | 403) {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(RegistryError::Status {
                registry: base.registry.clone(),
                what: "a request for a token".to_owned(),
                status: status.as_u16(),
                message: String::new(),
            });
        }
        let bytes = self.read_small(base, answer, "a token", 1 << 20).await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("its token server's answer is malformed: {error}")))?;
        match token.token.or(token.access_token) {
            Some(token) => Ok(Some(token)),
            None => Err(wrong("its token server's answer has no token".to_owned())),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {encoded}")
}

async fn find_login(
    credentials: &Credentials,
    registry: &str,
) -> Result<Option<Login>, RegistryError> {
    let path = match credentials {
        Credentials::Anonymous => return Ok(None),
        Credentials::Password { user, password } => {
            return Ok(Some(Login::Password(user.clone(), password.clone())));
        }
        Credentials::DockerConfig(path) => path.clone(),
    };
    let registry = registry.to_owned();
    let failed = |why: String| RegistryError::Login {
        registry: registry.clone(),
        why,
    };
    let key = if registry == "docker.io" {
        DOCKER_KEY.to_owned()
    } else {
        registry.clone()
    };
    // A credential helper is a program: it may take its time.
    let read = tokio::task::spawn_blocking(move || {
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let reader = std::io::BufReader::new(file);
        match docker_credential::get_credential_from_reader(reader, &key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                Ok(Some(Login::Password(user, password)))
            }
            Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::Refresh(token))),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
            // The helpers' protocol has these words for it, on standard output.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") =>
            {
                Ok(None)
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    });
    match read.await {
        Ok(Ok(login)) => Ok(login),
        Ok(Err(why)) => Err(failed(why)),
        Err(error) => Err(failed(error.to_string())),
    }
}
