//! What a comparison found. `a` is the first of the two, `b` the second, in names of fields as in JSON.

use serde::Serialize;

/// Where two images differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Whether nothing differs.
    pub same: bool,
    /// Fields of the manifests; empty where one side has none, or where config or layers differ.
    pub manifest: Vec<FieldDifference>,
    /// Fields of the configs.
    pub config: Vec<FieldDifference>,
    /// Layers that differ, lowest first.
    pub layers: Vec<LayerDifference>,
    /// Files as a container would see them, all layers together.
    pub files: Vec<FileDifference>,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Its name: `config.Env[1]` of a document, `mode` or `xattr security.capability` of a file.
    pub field: String,
    /// In the first; none if it is not there.
    pub a: Option<String>,
    /// In the second; none if it is not there.
    pub b: Option<String>,
}

/// One layer in both images, or a layer that only one of them has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerDifference {
    /// The layer in the first.
    pub a: Option<LayerName>,
    /// The layer in the second.
    pub b: Option<LayerName>,
    /// Entries that differ, in the order of paths. Empty where only one image has the layer.
    pub files: Vec<FileDifference>,
    /// Where the two tars begin to differ, if their entries are all the same.
    pub bytes: Option<BytesDifference>,
    /// The member of the first tar that they begin to differ in.
    pub member: Option<String>,
}

/// Which layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerName {
    /// Its number from the lowest, from 1.
    pub number: usize,
    /// Its diff ID, if it is of an image.
    pub diff_id: Option<String>,
    /// The step that wrote it, as the image's history says.
    pub step: Option<String>,
    /// How many entries it has.
    pub entries: usize,
}

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// The second does not have it.
    OnlyInA,
    /// The first does not have it.
    OnlyInB,
    /// Both have it.
    Changed,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// Its path, from the root of the image. Bytes that are not UTF-8 are escaped.
    pub path: String,
    /// How it differs.
    pub change: FileChange,
    /// What it is: `file`, `folder`, `link` ..., that of the first if both have it.
    pub kind: &'static str,
    /// The number of the layer of the first that shows it; of merged files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_a: Option<usize>,
    /// The number of the layer of the second that shows it; of merged files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_b: Option<usize>,
    /// Header fields that differ.
    pub fields: Vec<FieldDifference>,
    /// Where the contents begin to differ.
    pub content: Option<BytesDifference>,
}

/// Where two streams begin to differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BytesDifference {
    /// Bytes before the first that differs.
    pub offset: u64,
    /// What stands there in the first.
    pub a: Excerpt,
    /// What stands there in the second.
    pub b: Excerpt,
    /// Lines, where both are short text; the first few.
    pub lines: Vec<LineDifference>,
    /// How many more lines differ.
    pub more_lines: usize,
}

/// A few bytes. Empty at the end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Excerpt {
    /// As hex digits, a space between bytes.
    pub hex: String,
    /// As ASCII, a dot for what cannot be printed.
    pub text: String,
}

/// Which side a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineSide {
    /// The first has it.
    A,
    /// The second has it.
    B,
}

/// A line that one side has and the other does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineDifference {
    /// Whose line it is.
    pub side: LineSide,
    /// Its number there, from 1.
    pub number: usize,
    /// The line without its end, cut where it is long.
    pub text: String,
}

impl LayerDifference {
    /// The layer's name on the side that has it, the first before the second.
    pub fn name(&self) -> Option<&LayerName> {
        self.a.as_ref().or(self.b.as_ref())
    }
}
