//! Where two images differ: fields of the config, then layer by layer, then the files that a container would
//! see, down to header fields, first differing bytes and lines of text.
//!
//! Trees and documents go in, a report comes out. Contents are opened through [`Contents`] and read as streams,
//! only for files whose digests differ. This crate does not know stores, files of this machine or registries.

mod content;
mod document;
mod fields;
mod files;
mod image;
mod pair;
mod report;
mod text;

pub use image::{CompareError, Contents, Image, Layer, Options, compare};
pub use report::{
    BytesDifference, Excerpt, FieldDifference, FileChange, FileDifference, LayerDifference,
    LayerName, LineDifference, LineSide, Report,
};
pub use text::{Style, render};

#[cfg(test)]
mod tests;
