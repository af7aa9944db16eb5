//! Files and folders that tbuild.toml names.

use crate::model::{Config, SourceOrigin, TreeInput, TreeRef};
use crate::value::{Place, Spanned};

/// What has to be at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// A path that tbuild.toml names or implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRef {
    /// Relative to the folder of tbuild.toml, or absolute. One of them has to be there; the first one counts.
    pub paths: Vec<String>,
    /// What has to be there.
    pub kind: PathKind,
    /// Where it is named, or where the name that implies it stands.
    pub place: Place,
    /// What it is for, such as `the Dockerfile of image web`.
    pub what: String,
}

impl PathRef {
    /// The error for a path where nothing, or something else, is.
    pub fn missing(&self) -> tbuild_dockerfile::Diagnostic {
        let kind = match self.kind {
            PathKind::File => "file",
            PathKind::Folder => "folder",
        };
        let message = format!(
            "{}: there is no {kind} {}",
            self.what,
            self.paths.join(" or ")
        );
        self.place.error("MissingFile", message)
    }
}

impl Config {
    /// All paths that have to be there, for whoever can look.
    pub fn paths(&self) -> Vec<PathRef> {
        let mut found = Vec::new();
        let mut one = |path: &Spanned<String>, kind: PathKind, what: String| {
            found.push(PathRef {
                paths: vec![path.value.clone()],
                kind,
                place: path.place.clone(),
                what,
            });
        };
        for (name, source) in &self.sources {
            if let SourceOrigin::Path(path) = &source.origin {
                one(path, PathKind::Folder, format!("source {name}"));
            }
        }
        for (name, base) in &self.bases {
            base.keyring
                .iter()
                .for_each(|path| one(path, PathKind::File, format!("the keyring of base {name}")));
        }
        for (name, chart) in &self.charts {
            one(&chart.path, PathKind::Folder, format!("chart {name}"));
        }
        for (name, release) in &self.releases {
            for path in &release.values {
                one(path, PathKind::File, format!("values of release {name}"));
            }
        }
        for (name, task) in &self.tasks {
            let chart = self
                .releases
                .get(&task.release.value)
                .and_then(|release| self.charts.get(&release.chart.value));
            if let Some(chart) = chart {
                let path = format!(
                    "{}/{}",
                    chart.path.value.trim_end_matches('/'),
                    task.template.value
                );
                let path = Spanned::new(path, task.template.place.clone());
                one(
                    &path,
                    PathKind::File,
                    format!("the template of task {name}"),
                );
            }
        }
        let mut tree = |tree: &Spanned<TreeRef>, what: String| {
            if let TreeRef::Path(path) = &tree.value {
                one(
                    &Spanned::new(path.clone(), tree.place.clone()),
                    PathKind::Folder,
                    what,
                );
            }
        };
        let mut trees = |inputs: &std::collections::BTreeMap<String, TreeInput>, what: &str| {
            for (name, input) in inputs {
                tree(&input.from, format!("{name} of {what}"));
            }
        };
        for (name, artifact) in &self.artifacts {
            trees(&artifact.inputs, &format!("artifact {name}"));
        }
        for (name, image) in &self.images {
            trees(&image.contexts, &format!("image {name}"));
        }
        for (name, component) in &self.components {
            for (push, dev) in &component.dev {
                tree(&dev.from.from, format!("dev.{push} of component {name}"));
            }
        }
        for (name, image) in &self.images {
            image
                .context
                .iter()
                .for_each(|context| tree(context, format!("the context of image {name}")));
        }
        for (name, image) in &self.images {
            let place = image
                .dockerfile
                .as_ref()
                .map_or(&image.place, |path| &path.place);
            found.push(PathRef {
                paths: image.dockerfiles(name),
                kind: PathKind::File,
                place: place.clone(),
                what: format!("the Dockerfile of image {name}"),
            });
        }
        found
    }
}
