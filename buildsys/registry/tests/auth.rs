//! Logging in, against a token server.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use common::{Image, Shelf, options, reference, routes, serve_router, silent};
use http::StatusCode;
use tbuild_oci::Platform;
use tbuild_registry::{Credentials, PullOptions, RegistryClient, RegistryError, RegistryOptions};

/// A token server and what it has given out.
#[derive(Clone, Default)]
struct Tokens {
    given: Arc<AtomicU64>,
    /// Requests that one token is good for.
    good_for: u64,
    used: Arc<Mutex<std::collections::HashMap<String, u64>>>,
    scopes: Arc<Mutex<Vec<String>>>,
}

fn encode(pair: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(pair)
}

async fn token(State(tokens): State<Tokens>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let url = reqwest::Url::parse(&format!("http://x.test/?{query}")).unwrap();
    let scopes: Vec<String> = url
        .query_pairs()
        .filter(|(key, _)| key == "scope")
        .map(|(_, value)| value.into_owned())
        .collect();
    let wanted = format!("Basic {}", encode("user:secret"));
    let who = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok().map(str::to_owned));
    // OAuth2: a refresh token in a form.
    let refreshed = if request.method() == http::Method::POST {
        let body = axum::body::to_bytes(request.into_body(), 1 << 16)
            .await
            .unwrap();
        let form = String::from_utf8(body.to_vec()).unwrap();
        let right = form.contains("grant_type=refresh_token&service=test.example.com")
            && form.contains("refresh_token=identity")
            && form.contains("scope=repository%3Ateam%2Fapp%3Apull");
        Some(right)
    } else {
        None
    };
    let allowed = match (refreshed, who) {
        (Some(right), _) => right,
        (None, Some(who)) => who == wanted,
        (None, None) => scopes.iter().all(|scope| scope.ends_with(":pull")),
    };
    if !allowed {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    tokens.scopes.lock().unwrap().extend(scopes);
    let number = tokens.given.fetch_add(1, Ordering::SeqCst);
    let body = serde_json::json!({ "token": format!("token-{number}"), "expires_in": 60 });
    body.to_string().into_response()
}

async fn guard(
    State((tokens, realm)): State<(Tokens, String)>,
    request: Request,
    next: Next,
) -> Response {
    let challenge = format!(
        "Bearer realm=\"{realm}\",service=\"test.example.com\",scope=\"repository:team/app:pull\""
    );
    let header = request.headers().get("authorization");
    let given = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let good = given.is_some_and(|token| {
        let mut used = tokens.used.lock().unwrap();
        let used = used.entry(token.to_owned()).or_default();
        *used += 1;
        *used <= tokens.good_for
    });
    if good {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
}

struct Guarded {
    tokens: Tokens,
    named: tbuild_oci::Reference,
    _shelf: Shelf,
}

async fn guarded(good_for: u64) -> Guarded {
    let tokens = Tokens {
        good_for,
        ..Tokens::default()
    };
    let server = axum::Router::new()
        .fallback(token)
        .with_state(tokens.clone());
    let realm = format!("http://{}/token", serve_router(server).await);
    let shelf = Shelf::new();
    let state = (tokens.clone(), realm);
    let app = routes(&shelf).layer(middleware::from_fn_with_state(state, guard));
    let named = reference(serve_router(app).await, "team/app:v1");
    Guarded {
        tokens,
        named,
        _shelf: shelf,
    }
}

fn as_user(password: &str) -> RegistryClient {
    RegistryClient::new(RegistryOptions {
        credentials: Credentials::Password {
            user: "user".to_owned(),
            password: password.to_owned(),
        },
        ..options()
    })
}

async fn push(client: &RegistryClient, guarded: &Guarded) -> Result<(), RegistryError> {
    let image = Image::sample(50);
    let manifest = image.manifest.clone();
    let pushed = client
        .push_image(
            &guarded.named,
            &image.media_type,
            manifest,
            image.blobs(),
            silent(),
        )
        .await?;
    assert_eq!(pushed.blobs_sent, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_used_throughout() {
    let guarded = guarded(u64::MAX).await;
    push(&as_user("secret"), &guarded).await.unwrap();
    let given = guarded.tokens.given.load(Ordering::SeqCst);
    assert_eq!(given, 1, "one for the push; the first request fetches it");
    let scopes = guarded.tokens.scopes.lock().unwrap().clone();
    assert_eq!(scopes, ["repository:team/app:pull,push"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_is_fetched_anew() {
    let guarded = guarded(2).await;
    push(&as_user("secret"), &guarded).await.unwrap();
    assert!(guarded.tokens.given.load(Ordering::SeqCst) > 2);
    let client = as_user("secret");
    let platform = Platform::parse("linux/amd64").unwrap();
    let shelf = Shelf::new();
    let options = PullOptions::new(platform);
    client
        .pull_image(&guarded.named, shelf.dynamic(), &options)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_pull_and_not_push() {
    let guarded = guarded(u64::MAX).await;
    push(&as_user("secret"), &guarded).await.unwrap();
    let nobody = common::client();
    assert!(
        nobody
            .head_manifest(&guarded.named)
            .await
            .unwrap()
            .is_some()
    );
    let error = push(&nobody, &guarded).await.expect_err("nobody may push");
    match &error {
        RegistryError::Denied {
            status: 401,
            anonymous: true,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    assert!(error.is_unreachable());
    assert!(
        error.hints()[0].starts_with("log in to"),
        "{:?}",
        error.hints()
    );
    let error = push(&as_user("wrong"), &guarded)
        .await
        .expect_err("the password is wrong");
    assert!(
        matches!(
            error,
            RegistryError::Denied {
                anonymous: false,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_configuration_logs_in() {
    let guarded = guarded(u64::MAX).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let with = |entry: serde_json::Value| {
        let config = serde_json::json!({ "auths": { guarded.named.registry.clone(): entry } });
        std::fs::write(&path, config.to_string()).unwrap();
        RegistryClient::new(RegistryOptions {
            credentials: Credentials::DockerConfig(path.clone()),
            ..options()
        })
    };
    let by_password = with(serde_json::json!({ "auth": encode("user:secret") }));
    push(&by_password, &guarded).await.unwrap();
    let by_token = with(serde_json::json!({ "auth": encode("x:"), "identitytoken": "identity" }));
    assert!(
        by_token
            .head_manifest(&guarded.named)
            .await
            .unwrap()
            .is_some()
    );
    std::fs::write(&path, "nonsense").unwrap();
    let error = RegistryClient::new(RegistryOptions {
        credentials: Credentials::DockerConfig(path.clone()),
        ..options()
    })
    .head_manifest(&guarded.named)
    .await;
    assert!(
        matches!(error, Err(RegistryError::Login { .. })),
        "{error:?}"
    );
    std::fs::remove_file(&path).unwrap();
    let nobody = RegistryClient::new(RegistryOptions {
        credentials: Credentials::DockerConfig(path),
        ..options()
    });
    assert!(
        nobody
            .head_manifest(&guarded.named)
            .await
            .unwrap()
            .is_some()
    );
}

async fn basic(request: Request, next: Next) -> Response {
    let wanted = format!("Basic {}", encode("user:secret"));
    let header = request.headers().get("authorization");
    if header.is_some_and(|header| *header == *wanted) {
        return next.run(request).await;
    }
    let challenge = [("www-authenticate", "Basic realm=\"registry\"")];
    (StatusCode::UNAUTHORIZED, challenge).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_log_in() {
    let shelf = Shelf::new();
    let app = routes(&shelf).layer(middleware::from_fn(basic));
    let guarded = Guarded {
        tokens: Tokens::default(),
        named: reference(serve_router(app).await, "team/app:v1"),
        _shelf: shelf,
    };
    push(&as_user("secret"), &guarded).await.unwrap();
    let error = common::client().head_manifest(&guarded.named).await;
    assert!(
        matches!(
            error,
            Err(RegistryError::Denied {
                anonymous: true,
                ..
            })
        ),
        "{error:?}"
    );
}
