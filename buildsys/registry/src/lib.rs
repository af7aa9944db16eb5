//! OCI distribution: a client for any registry, and a registry server that answers from a store.
//!
//! [`RegistryClient`] pushes what a registry lacks and pulls images into a store; [`serve`] is a registry
//! whose blobs are the store's own, so pushing to it from that store moves no bytes. Both speak the OCI
//! Distribution Specification, version 1.1.
//!
//! This crate does not know where credentials or trusted certificates lie unless it is told, nor who uses an
//! image for what.

mod client;
mod random;
mod server;

pub use client::{
    BlobBody, Credentials, PlainHttp, Proxies, PullOptions, PulledImage, PulledLayer, PushBlob,
    Pushed, RegistryClient, RegistryError, RegistryOptions, Unreachability,
};
pub use server::{MANIFESTS, REFERRERS, ServeError, ServerOptions, TAGS, router, serve};
