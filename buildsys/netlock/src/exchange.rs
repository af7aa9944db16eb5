//! One request and its answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tbuild_digest::{BlobDigest, Sha256};
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::body::{self, Body};
use crate::entry::{Entry, Request, is_lasting, kept};
use crate::gateway::Gateway;
use crate::headers::forwarded;
use crate::journal::Mode;
use crate::place::{Target, without_secrets};
use crate::replay::{header_map, response};
use crate::upstream::UpstreamError;

/// Why a request gets no answer of its origin's: what its program is told.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

fn refusal(status: StatusCode, why: impl Into<String>) -> Refusal {
    Refusal {
        status,
        why: why.into(),
    }
}

fn broken(why: &impl ToString) -> Refusal {
    refusal(StatusCode::BAD_GATEWAY, why.to_string())
}

impl Gateway {
    /// Answers a request that came through a connection to `target`.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        target: &Target,
    ) -> Response<Body> {
        match self.exchange(request, target).await {
            Ok(response) => response,
            Err(Refusal { status, why }) => {
                let mut response = Response::new(body::text(format!("tbuild: {why}\n")));
                *response.status_mut() = status;
                response
            }
        }
    }

    async fn exchange(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        target: &Target,
    ) -> Result<Response<Body>, Refusal> {
        let url = target
            .url(&request)
            .map_err(|why| refusal(StatusCode::BAD_REQUEST, why))?;
        let (head, sent) = request.into_parts();
        if head.method == Method::CONNECT {
            let why = "no proxy is needed here: names lead to the gateway by themselves";
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, why));
        }
        let place = self.places.asked(&url, &head.headers);
        let most = usize::try_from(self.upstream.limits.request).unwrap_or(usize::MAX);
        let sent = Limited::new(sent, most).collect().await.map_err(|error| {
            let why = format!("cannot read what is sent to {place}: {error}");
            refusal(StatusCode::PAYLOAD_TOO_LARGE, why)
        })?;
        let sent = sent.to_bytes();
        let wanted = Request {
            origin: place.origin,
            path: place.path,
            method: head.method.to_string(),
            body: (!sent.is_empty()).then(|| BlobDigest(Sha256::of(&sent))),
        };
        if let Some(response) = self.known(&wanted, &url, &head).await? {
            return Ok(response);
        }
        if self.mode == Mode::Replay {
            return Err(broken(&self.journal.miss(wanted)));
        }
        let turn = self.turns.take(&wanted).await;
        // Whoever asked before may have been told.
        if let Some(response) = self.known(&wanted, &url, &head).await? {
            return Ok(response);
        }
        let asked = self
            .upstream
            .ask(head.method.clone(), &url, forwarded(&head.headers), sent);
        match asked.await {
            Ok(response) => self.record(wanted, head, response, turn).await,
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Answers with what is recorded, if there is something.
    async fn known(
        &self,
        wanted: &Request,
        url: &str,
        head: &http::request::Parts,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let Some(entry) = self.recorded(wanted, &head.method, &head.headers) else {
            return Ok(None);
        };
        if !self.is_there(&entry)? && self.mode == Mode::Replay {
            self.refill(&entry, url, head).await?;
        }
        self.replay(&entry, &head.method, &head.headers)
    }

    fn failed(&self, error: &UpstreamError) -> Refusal {
        let why = error.to_string();
        self.journal.fail(why.clone());
        broken(&why)
    }

    /// The recorded answer to a request; to HEAD, that to GET is as good.
    fn recorded(&self, wanted: &Request, method: &Method, headers: &HeaderMap) -> Option<Entry> {
        self.journal.find(wanted, headers).or_else(|| {
            let get = Request {
                method: Method::GET.to_string(),
                ..wanted.clone()
            };
            (method == Method::HEAD).then(|| self.journal.find(&get, headers))?
        })
    }

    fn is_there(&self, entry: &Entry) -> Result<bool, Refusal> {
        let size = self.store.blob_size(&entry.sha256);
        Ok(size.map_err(|error| broken(&error))?.is_some())
    }

    /// Asks the origin for recorded bytes that the store does not have any more.
    async fn refill(
        &self,
        entry: &Entry,
        url: &str,
        head: &http::request::Parts,
    ) -> Result<(), Refusal> {
        let gone = |why: &str| {
            let why = format!(
                "{} is recorded, but its bytes ({}) are not in the store, and {why}",
                entry.request, entry.sha256
            );
            self.journal.fail(why.clone());
            broken(&why)
        };
        if !self.upstream.refill {
            return Err(gone("no origin may be asked"));
        }
        if entry.request.body.is_some() {
            return Err(gone("nothing is sent twice"));
        }
        if entry.reduced {
            return Err(gone(
                "no origin has them: they were made when it was locked",
            ));
        }
        let method = Method::from_bytes(entry.request.method.as_bytes());
        let method = method.map_err(|error| broken(&error))?;
        let mut whys = Vec::new();
        let mut is_lost = true;
        for url in self.places.urls(entry, Some(url)) {
            let shown = without_secrets(&url);
            match self.fetch(entry, &url, &method, head).await {
                Ok((status, _)) if status.as_u16() != entry.status => {
                    is_lost &= !status.is_server_error();
                    whys.push(format!("{shown} answers {status}"));
                }
                Ok((_, sha256)) if sha256 == entry.sha256 => return Ok(()),
                Ok(_) => whys.push(format!("{shown} serves others now")),
                Err(error) => {
                    is_lost = false;
                    whys.push(error.to_string());
                }
            }
        }
        if is_lost {
            self.journal.lose(entry.request.clone());
        }
        Err(gone(&whys.join("; ")))
    }

    /// Reads a recorded answer anew, from one of the places where it may be.
    async fn fetch(
        &self,
        entry: &Entry,
        url: &str,
        method: &Method,
        head: &http::request::Parts,
    ) -> Result<(StatusCode, BlobDigest), UpstreamError> {
        let headers = forwarded(&head.headers);
        let asked = self
            .upstream
            .ask(method.clone(), url, headers, Bytes::new());
        let response = asked.await?;
        let status = response.status();
        // The program hears of it when it is whole.
        let (listener, nobody) = mpsc::channel(1);
        drop(nobody);
        let store = Arc::clone(&self.store);
        let place = entry.request.to_string();
        let kept = self.upstream.keep(store, &place, response, listener).await;
        kept.map(|(sha256, _)| (status, sha256))
    }

    /// Answers with what was recorded; None where its bytes are not in the store.
    fn replay(
        &self,
        entry: &Entry,
        method: &Method,
        asked: &HeaderMap,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let blob = self.store.open_blob(&entry.sha256);
        let Some(blob) = blob.map_err(|error| broken(&error))? else {
            return Ok(None);
        };
        response(entry, blob, &self.places, (method, asked))
            .map(Some)
            .map_err(|error| broken(&error))
    }

    /// Writes an answer down while it is passed on; then it is the next one's turn.
    async fn record(
        self: Arc<Self>,
        wanted: Request,
        head: http::request::Parts,
        response: reqwest::Response,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Response<Body>, Refusal> {
        let status = response.status();
        let answered = response.headers().clone();
        let mut headers = header_map(&kept(&answered));
        if let Some(size) = response.content_length() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        // Ranges are cut from what is whole.
        let is_cut = head.method == Method::GET
            && status == StatusCode::OK
            && head.headers.contains_key(RANGE);
        let (sender, receiver) = mpsc::channel(16);
        let gateway = Arc::clone(&self);
        let asked = head.headers.clone();
        // It goes on when the program has heard enough: what it will hear next time is the whole.
        let keeping = self.recordings.spawn(async move {
            let _turn = turn;
            let url = wanted.to_string();
            let store = Arc::clone(&gateway.store);
            let found = gateway
                .upstream
                .keep(store, &url, response, sender.clone())
                .await;
            match found {
                Ok(found) => {
                    let mut entry = Entry::new(wanted, &asked, status, &answered, found);
                    if let Some(location) = entry.headers.get_mut(LOCATION.as_str()) {
                        *location = gateway.places.fold(location);
                    }
                    if is_lasting(status) {
                        gateway.journal.record(entry.clone());
                    }
                    Ok(entry)
                }
                Err(error) => {
                    let refused = gateway.failed(&error);
                    let _gone = sender
                        .send(Err(io::Error::other(refused.why.clone())))
                        .await;
                    Err(refused)
                }
            }
        });
        if is_cut || head.method == Method::HEAD {
            drop(receiver);
            let entry = keeping.await.map_err(|error| broken(&error))??;
            let answer = self.replay(&entry, &head.method, &head.headers)?;
            return answer.ok_or_else(|| broken(&"what was just recorded is gone"));
        }
        let mut passed = Response::new(body::received(receiver));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        Ok(passed)
    }
}
