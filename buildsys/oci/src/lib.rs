//! OCI documents, the canonical layer writer and reader, image archives, chunked gzip.
