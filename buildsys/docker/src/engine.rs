//! The engine.

use std::io::{self, Read, Write};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt as _;
use tbuild_digest::DiffId;

use crate::{DockerError, archive};

/// Where Docker listens if nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Longest wait for a small answer, in seconds.
const ANSWER: u64 = 60;
/// Longest load: the time counts from the archive's first byte to the engine's answer.
const LOAD: Duration = Duration::from_hours(24);

/// A Docker Engine. Clones are the same one.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    docker: Docker,
    host: String,
}

/// What a load brought into the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Names, `repository:tag`, as the engine tells them.
    pub names: Vec<String>,
    /// Image ids, `sha256:...`, of images without a name.
    pub ids: Vec<String>,
}

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// `sha256:...`: the digest of its config. Engines that keep images in containerd tell the manifest's.
    pub id: String,
    /// Names, `repository:tag`.
    pub names: Vec<String>,
    /// GOOS; may be empty.
    pub os: String,
    /// GOARCH; may be empty.
    pub architecture: String,
    /// Layers, lowest first.
    pub diff_ids: Vec<DiffId>,
}

impl DockerEngine {
    /// An engine at `host` (as in DOCKER_HOST: `unix:///path`, `tcp://host:port`), or where Docker listens if
    /// nothing else is said. Nothing is sent yet; a socket that is not there is noticed.
    pub fn connect(host: Option<&str>) -> Result<Self, DockerError> {
        let host = host.unwrap_or(DEFAULT_HOST);
        let wrong = |why| DockerError::Host {
            host: host.to_owned(),
            why,
        };
        let docker = match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => {
                Docker::connect_with_unix(path, ANSWER, API_DEFAULT_VERSION)
            }
            Some(("unix", _)) => return Err(wrong("the path of the socket must be absolute")),
            Some(("tcp" | "http", rest)) if !rest.is_empty() => {
                Docker::connect_with_http(host, ANSWER, API_DEFAULT_VERSION)
            }
            Some(("ssh" | "https" | "npipe" | "fd", _)) => {
                return Err(wrong("this kind of connection is not supported"));
            }
            _ => return Err(wrong("it is no address of an engine")),
        };
        let docker = docker.map_err(|error| DockerError::new(host, "be set up", error))?;
        Ok(Self {
            docker,
            host: host.to_owned(),
        })
    }

    /// Where the engine is.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// bollard's client.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(crate) fn fail(&self, what: impl Into<String>, error: Error) -> DockerError {
        DockerError::new(&self.host, what, error)
    }

    /// Whether the engine answers.
    pub async fn ping(&self) -> Result<(), DockerError> {
        let answer = self.docker.ping().await;
        answer
            .map(drop)
            .map_err(|error| self.fail("answer a ping", error))
    }

    /// Loads a docker-archive (`docker save`'s form) that `reader` gives; it is read off the async threads and
    /// never held in memory.
    pub async fn load(
        &self,
        mut reader: impl Read + Send + 'static,
    ) -> Result<Loaded, DockerError> {
        self.load_with(move |out| io::copy(&mut reader, out).map(drop))
            .await
    }

    /// Loads a docker-archive that `produce` writes, off the async threads. If the future is dropped,
    /// `produce` is given an error at its next write.
    pub async fn load_with(
        &self,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Result<Loaded, DockerError> {
        let mut docker = self.docker.clone();
        docker.set_timeout(LOAD);
        let (stream, made) = archive::stream(produce);
        // Quiet: without a line for each piece of progress.
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut lines = docker.import_image_stream(options, stream, None);
        let mut text = String::new();
        let mut failed = None;
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => text.push_str(&line.stream.unwrap_or_default()),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // Ends an archive that the engine did not read to its end.
        drop(lines);
        match made.await {
            Ok(Ok(())) => {}
            // An archive that breaks off is why the engine failed, not the other way round.
            Ok(Err(error)) => return Err(DockerError::Archive(error)),
            Err(error) => return Err(DockerError::Archive(error.into())),
        }
        match failed {
            Some(error) => Err(self.fail("load the image", error)),
            None => Ok(Loaded::parse(&text)),
        }
    }

    /// The image of this name or id; none if the engine does not have it.
    pub async fn inspect(&self, name: &str) -> Result<Option<Inspected>, DockerError> {
        let found = match self.docker.inspect_image(name).await {
            Ok(found) => found,
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => return Ok(None),
            Err(error) => return Err(self.fail(format!("inspect {name}"), error)),
        };
        let layers = found.root_fs.and_then(|root| root.layers);
        let diff_ids: Result<Vec<DiffId>, _> = layers
            .unwrap_or_default()
            .iter()
            .map(|layer| layer.parse())
            .collect();
        let diff_ids = diff_ids.map_err(|error| DockerError::Engine {
            what: format!("inspect {name}"),
            message: format!("its answer is malformed ({error})"),
        })?;
        Ok(Some(Inspected {
            id: found.id.unwrap_or_default(),
            names: found.repo_tags.unwrap_or_default(),
            os: found.os.unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
            diff_ids,
        }))
    }
}

impl Loaded {
    /// Reads the engine's words: `Loaded image: NAME`, `Loaded image ID: ID`, a line each.
    fn parse(text: &str) -> Self {
        let mut loaded = Self::default();
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("Loaded image ID: ") {
                loaded.ids.push(id.trim().to_owned());
            } else if let Some(name) = line.strip_prefix("Loaded image: ") {
                loaded.names.push(name.trim().to_owned());
            }
        }
        loaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words() {
        let loaded =
            Loaded::parse("Loaded image: a:1\nLoaded image: b/c:2\nLoaded image ID: sha256:0\n");
        assert_eq!(loaded.names, ["a:1", "b/c:2"]);
        assert_eq!(loaded.ids, ["sha256:0"]);
    }

    #[test]
    fn addresses() {
        for host in ["", "docker", "unix://relative", "ssh://host", "tcp://"] {
            let result = DockerEngine::connect(Some(host));
            assert!(
                matches!(result, Err(DockerError::Host { .. })),
                "{host:?} was taken"
            );
        }
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let gone = DockerEngine::connect(Some("unix:///nonexistent/docker.sock"));
        let error = gone.expect_err("there is no socket");
        assert!(error.is_unreachable() && !error.hints().is_empty());
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("tcp://{}", port.local_addr().unwrap());
        drop(port);
        let engine = DockerEngine::connect(Some(&host)).unwrap();
        let error = engine.ping().await.expect_err("nobody listens");
        assert!(error.is_unreachable(), "{error:?}");
        let image = io::Cursor::new(vec![0; 1 << 20]);
        let error = engine.load(image).await.expect_err("nobody listens");
        assert!(error.is_unreachable(), "{error:?}");
    }
}
