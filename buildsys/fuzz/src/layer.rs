//! Any tar, as a layer and with its contents read; compressed as well.

use std::io::Read as _;

use tbuild_oci::{LayerError, decompress, index_layer, read_archive, read_layer};
use tbuild_tree::{Node, TreePath};

/// That a path leads nowhere else, and that a file can have it.
fn inside(path: &TreePath) {
    let odd = |part: &[u8]| part == b".." || part == b"." || part.contains(&0);
    assert!(!path.components().any(odd), "{path:?}");
}

/// Looks at one input.
pub fn check(bytes: &[u8]) {
    let _any = read_layer::<LayerError>(bytes, |member| {
        inside(&member.entry.path);
        let mut some = Vec::new();
        let _short = member.content.take(1 << 16).read_to_end(&mut some);
        Ok(())
    });
    let _any = read_archive::<LayerError>(bytes, |member| {
        inside(&member.entry.path);
        Ok(())
    });
    if let Ok(index) = index_layer(bytes) {
        for entry in index.tree().entries() {
            inside(&entry.path);
            if let Node::Hardlink { target } = &entry.node {
                let first = index.tree().get(target).map(|first| &first.node);
                assert!(matches!(first, Some(Node::File { .. })), "{entry:?}");
            }
            let is_file = matches!(entry.node, Node::File { .. });
            let offset = index.offset(&entry.path).filter(|_| is_file);
            assert!(
                offset.is_none_or(|offset| offset <= bytes.len() as u64),
                "{entry:?}"
            );
        }
    }
    if let Ok(plain) = decompress(bytes) {
        // Few bytes may come to very many.
        let _any = read_layer::<LayerError>(plain.take(1 << 20), |_| Ok(()));
    }
}
