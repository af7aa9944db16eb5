//! The image of steps' containers: nothing. What they see is put in the place of it.

use std::collections::BTreeMap;

use bollard::errors::Error;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use tbuild_digest::DiffId;
use tbuild_oci::{ImageConfig, PlainLayer, docker_archive, write_archive};

use super::LABEL;
use crate::{DockerEngine, DockerError};

/// Its name.
pub(super) const EMPTY: &str = "tbuild-empty:1";

/// A tar archive of nothing: two blocks of zeros (POSIX.1-2001, ustar).
const NOTHING: [u8; 1024] = [0; 1024];

impl DockerEngine {
    /// Has the engine hold the image.
    pub(super) async fn load_empty(&self) -> Result<(), DockerError> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut config = ImageConfig::scratch("linux", architecture);
        config.created = Some("1980-01-01T00:00:00Z".to_owned());
        config.config.labels = BTreeMap::from([(LABEL.to_owned(), String::new())]);
        config.rootfs.diff_ids = vec![DiffId::of(&NOTHING)];
        let config = config.to_bytes();
        let loaded = self.load_with(move |out| {
            let layer = PlainLayer {
                diff_id: DiffId::of(&NOTHING),
                size: NOTHING.len() as u64,
                open: Box::new(|| Ok(Box::new(&NOTHING[..]))),
            };
            let names = [EMPTY.to_owned()];
            write_archive(&docker_archive(&config, vec![layer], &names), out)
        });
        loaded.await.map(drop)
    }

    /// Takes it away, unless a container still uses it.
    pub(super) async fn remove_empty(&self) -> Result<(), DockerError> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        match self.docker().remove_image(EMPTY, Some(options), None).await {
            Ok(_)
            | Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(self.fail(format!("remove the image {EMPTY}"), error)),
        }
    }
}
