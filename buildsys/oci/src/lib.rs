//! OCI documents, the canonical layer writer and reader, image archives, chunked gzip.
//!
//! A tree goes in and bytes come out, the same on every machine; any layer's bytes go in and a tree comes out.
//! This crate does not know files, stores or registries: contents come and go through `Read` and `Write`.

mod archive;
mod config;
mod gzip;
mod header;
mod index;
mod limits;
mod manifest;
mod read;
mod reference;
mod tar;
mod write;

pub use archive::{
    ArchiveFile, Opener, PlainLayer, PlatformImage, docker_archive, oci_index_layout, oci_layout,
    write_archive,
};
pub use config::{Empty, Extra, Healthcheck, HistoryEntry, ImageConfig, RootFs, RuntimeConfig};
pub use gzip::{COMPRESSOR_ID, Chunker, compress, compress_chunk, decompress};
pub use index::{IndexError, LayerIndex};
pub use limits::{Bomb, Guard, MAX_MEMBERS, MAX_TEXT, Packed, Ratio, Unpacked};
pub use manifest::{Descriptor, Index, Manifest, Platform, media_type};
pub use read::{Member, index_layer, is_archive, read_archive, read_layer};
pub use reference::{Reference, ReferenceError};
pub use write::{FileContent, LayerError, MAX_PATH, write_layer};

#[cfg(test)]
mod tests;
