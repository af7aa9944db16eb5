//! Requests: log-in on demand, retries, and what an answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{Body, Response, Url};
use serde::Deserialize;
use tbuild_oci::Reference;

use super::body::Part;
use super::challenge::Challenge;
use super::endpoint::Base;
use super::error::classify;
use super::{RegistryClient, RegistryError, Unreachability};

/// No wait that a server asks for is longer.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What a log-in must allow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub repository: String,
    push: bool,
    /// Another repository that is read from.
    from: Option<String>,
}

impl Scope {
    pub(super) fn pull(reference: &Reference) -> Self {
        Self {
            repository: reference.repository.clone(),
            push: false,
            from: None,
        }
    }

    pub(super) fn push(reference: &Reference) -> Self {
        Self {
            push: true,
            ..Self::pull(reference)
        }
    }

    /// The same, and blobs of `from` may be mounted.
    pub(super) fn mount(self, from: Option<&str>) -> Self {
        Self {
            from: from.map(str::to_owned),
            ..self
        }
    }

    /// As a token server wants it, with what the registry asked for itself.
    pub(super) fn scopes(&self, asked: Option<&str>) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{}:{actions}", self.repository)];
        scopes.extend(
            self.from
                .iter()
                .map(|from| format!("repository:{from}:pull")),
        );
        for scope in asked.into_iter().flat_map(str::split_whitespace) {
            let part_of_ours = scopes.iter().any(|ours| ours.starts_with(scope));
            if !part_of_ours && !scope.starts_with(&format!("repository:{}:", self.repository)) {
                scopes.push(scope.to_owned());
            }
        }
        scopes
    }
}

/// How many times longer than others a registry may be silent that has been sent a blob.
const PATIENCE: u32 = 5;

/// Makes a request's body, anew for each attempt.
type MakeBody = Box<dyn Fn() -> Body + Send + Sync>;

/// A request that can be made any number of times.
pub(super) struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<MakeBody>,
    /// Bytes of the body that have gone out; of a big one.
    moving: Option<Arc<AtomicU64>>,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            moving: None,
        }
    }

    pub(super) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(super) fn head(url: Url) -> Self {
        Self::new(Method::HEAD, url)
    }

    pub(super) fn post(url: Url) -> Self {
        Self::new(Method::POST, url)
    }

    /// With a header. One that cannot be written is left out; ours can.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// With a small body.
    pub(super) fn bytes(self, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        Self {
            body: Some(Box::new(move || Body::from(bytes.clone()))),
            ..self
        }
    }

    /// With a part of a blob.
    pub(super) fn part(self, part: Part) -> Self {
        Self {
            moving: Some(Arc::clone(&part.moving)),
            body: Some(Box::new(move || part.body())),
            ..self
        }
    }
}

impl RegistryClient {
    /// One exchange without retries or log-in.
    async fn attempt(
        &self,
        base: &Base,
        ask: &Ask,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let request = base.client.request(ask.method.clone(), ask.url.clone());
        let mut request = request.headers(ask.headers.clone());
        if let Some(authorization) = authorization
            && base.owns(&ask.url)
        {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        if let Some(body) = &ask.body {
            request = request.body(body());
        }
        let mut answer = std::pin::pin!(request.send());
        let silence = self.options().read_timeout;
        let silence = ask.moving.as_ref().map_or(silence, |_| silence * PATIENCE);
        let moved = || {
            ask.moving
                .as_ref()
                .map(|moving| moving.load(Ordering::Relaxed))
        };
        let mut before = moved();
        loop {
            if let Ok(answer) = tokio::time::timeout(silence, &mut answer).await {
                return answer.map_err(|error| unreachable(base, error));
            }
            // A long upload is no silence.
            let now = moved();
            if now == before {
                return Err(silent(base, silence));
            }
            before = now;
        }
    }

    /// The next piece of an answer's body.
    pub(super) async fn piece(
        &self,
        base: &Base,
        body: &mut (impl Stream<Item = reqwest::Result<Bytes>> + Unpin),
    ) -> Result<Option<Bytes>, RegistryError> {
        let silence = self.options().read_timeout;
        match tokio::time::timeout(silence, body.next()).await {
            Ok(piece) => piece.transpose().map_err(|error| unreachable(base, error)),
            Err(_) => Err(silent(base, silence)),
        }
    }

    /// One exchange with log-in if the registry asks for it, without retries.
    pub(super) async fn attempt_as(
        &self,
        base: &Base,
        scope: &Scope,
        ask: &Ask,
    ) -> Result<Response, RegistryError> {
        let header = base.auth.header(scope);
        let answer = self.attempt(base, ask, header).await?;
        if answer.status() != http::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // No log-in yet, or its token has run out.
        let wanted = answer.headers().get_all(http::header::WWW_AUTHENTICATE);
        let wanted = wanted.iter().filter_map(|value| value.to_str().ok());
        let challenges = Challenge::parse_all(wanted);
        if !self.log_in(base, scope, &challenges).await? {
            return Ok(answer);
        }
        let header = base.auth.header(scope);
        self.attempt(base, ask, header).await
    }

    /// An exchange with log-in and retries. Whatever status is left is the caller's to judge.
    pub(super) async fn send(
        &self,
        base: &Base,
        scope: &Scope,
        ask: &Ask,
    ) -> Result<Response, RegistryError> {
        let mut tried = 0;
        loop {
            let result = self.attempt_as(base, scope, ask).await;
            if !self.try_again(&result, &mut tried).await {
                return result;
            }
        }
    }

    /// An exchange with retries, without log-in.
    pub(super) async fn exchange(&self, base: &Base, ask: &Ask) -> Result<Response, RegistryError> {
        let mut tried = 0;
        loop {
            let result = self.attempt(base, ask, None).await;
            if !self.try_again(&result, &mut tried).await {
                return result;
            }
        }
    }

    /// Waits if the next attempt may do better; false if it is no use.
    async fn try_again(&self, result: &Result<Response, RegistryError>, tried: &mut u32) -> bool {
        let (again, wait) = match result {
            Ok(answer) => (may_pass(answer.status().as_u16()), retry_after(answer)),
            Err(error) => (error.may_pass(), None),
        };
        if !again || *tried == self.options().retries {
            return false;
        }
        self.pause(*tried, wait).await;
        *tried += 1;
        true
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&self, tried: u32, wait: Option<Duration>) {
        let usual = self.options().backoff * (1 << tried.min(8));
        let wait = wait.unwrap_or(usual).min(LONGEST_WAIT);
        tracing::debug!(?wait, "trying again");
        tokio::time::sleep(wait).await;
    }

    /// The answer if it is a success, else what it means.
    pub(super) async fn expect(
        &self,
        base: &Base,
        scope: &Scope,
        answer: Response,
        what: &str,
    ) -> Result<Response, RegistryError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let registry = base.registry.clone();
        let message = self.read_message(base, answer).await;
        Err(match status.as_u16() {
            401 | 403 => RegistryError::Denied {
                registry,
                repository: scope.repository.clone(),
                status: status.as_u16(),
                message,
                anonymous: base.auth.is_anonymous(),
            },
            404 => RegistryError::NotFound {
                registry,
                what: what.to_owned(),
            },
            status => RegistryError::Status {
                registry,
                what: what.to_owned(),
                status,
                message,
            },
        })
    }

    /// The words of an error answer, after a colon; nothing if it has none.
    async fn read_message(&self, base: &Base, answer: Response) -> String {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<OneError>,
        }
        #[derive(Deserialize)]
        struct OneError {
            code: String,
            #[serde(default)]
            message: Option<String>,
        }
        let Ok(bytes) = self.read_small(base, answer, "an error", 1 << 16).await else {
            return String::new();
        };
        let Ok(errors) = serde_json::from_slice::<Errors>(&bytes) else {
            return String::new();
        };
        let words = errors.errors.into_iter().map(|error| match error.message {
            Some(message) if !message.is_empty() => format!(": {} ({message})", error.code),
            _ => format!(": {}", error.code),
        });
        words.collect()
    }

    /// The whole of a small answer.
    pub(super) async fn read_small(
        &self,
        base: &Base,
        answer: Response,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let mut body = answer.bytes_stream();
        while let Some(part) = self.piece(base, &mut body).await? {
            if (bytes.len() + part.len()) as u64 > limit {
                return Err(RegistryError::TooLarge {
                    what: what.to_owned(),
                    limit,
                });
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

impl RegistryError {
    /// Whether the next attempt may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            // A certificate does not become valid by asking again.
            Self::Unreachable { why, .. } => *why != Unreachability::Tls,
            Self::Status { status, .. } => may_pass(*status),
            _ => false,
        }
    }
}

/// Whether a status may be another one next time.
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 429 | 500 | 502..=504)
}

/// What a connection's failure means.
fn unreachable(base: &Base, error: reqwest::Error) -> RegistryError {
    RegistryError::Unreachable {
        registry: base.registry.clone(),
        why: classify(&error),
        // URLs of uploads and redirects carry secrets.
        source: Box::new(error.without_url()),
    }
}

/// A server that says nothing.
fn silent(base: &Base, silence: Duration) -> RegistryError {
    RegistryError::Unreachable {
        registry: base.registry.clone(),
        why: Unreachability::Timeout,
        source: format!("nothing came for {} s", silence.as_secs_f32()).into(),
    }
}

/// How long the server asks to wait; dates are not read.
pub(super) fn retry_after(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(http::header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
