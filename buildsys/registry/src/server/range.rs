//! Ranges: of blobs asked for (RFC 9110, section 14) and of uploads sent (the specification's own form).

/// What part of a blob is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// Bytes from `start` to `end`, both included.
    Part { start: u64, end: u64 },
    /// Bytes that it does not have.
    Unsatisfiable,
}

impl Wanted {
    /// Reads a Range header for a blob of `size` bytes. Several ranges, other units and malformed headers
    /// mean the whole, as RFC 9110 allows.
    pub(super) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(range) = header.and_then(|header| header.strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((start, end)) = range.trim().split_once('-') else {
            return Self::Whole;
        };
        match (start.parse::<u64>(), end.parse::<u64>()) {
            (Ok(start), Ok(end)) if start <= end => Self::part(start, end, size),
            (Ok(start), Err(_)) if end.is_empty() => Self::part(start, u64::MAX, size),
            (Err(_), Ok(0)) if start.is_empty() => Self::Unsatisfiable,
            (Err(_), Ok(last)) if start.is_empty() => {
                Self::part(size.saturating_sub(last), u64::MAX, size)
            }
            _ => Self::Whole,
        }
    }

    fn part(start: u64, end: u64, size: u64) -> Self {
        if start >= size {
            return Self::Unsatisfiable;
        }
        Self::Part {
            start,
            end: end.min(size - 1),
        }
    }
}

/// Reads a chunk's Content-Range, `start-end`, both included. `bytes start-end/size` is taken as well: some
/// clients write what HTTP writes.
pub(super) fn chunk(header: &str) -> Option<(u64, u64)> {
    let range = header.strip_prefix("bytes ").unwrap_or(header);
    let range = range.split('/').next().unwrap_or(range);
    let (start, end) = range.trim().split_once('-')?;
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |start, end| Wanted::Part { start, end };
        for (header, wanted) in [
            ("bytes=0-3", part(0, 3)),
            ("bytes=3-", part(3, 9)),
            ("bytes=3-99", part(3, 9)),
            ("bytes=-4", part(6, 9)),
            ("bytes=-99", part(0, 9)),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=4-2", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
        ] {
            assert_eq!(Wanted::parse(Some(header), 10), wanted, "{header}");
        }
        assert_eq!(
            Wanted::parse(Some("bytes=0-"), 0),
            Wanted::Unsatisfiable,
            "an empty blob has no first byte"
        );
        assert_eq!(Wanted::parse(None, 10), Wanted::Whole);
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk("0-9"), Some((0, 9)));
        assert_eq!(chunk("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(chunk("9-5"), None);
        assert_eq!(chunk("x"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_within_the_blob(header in "(bytes=)?[0-9]{0,20}-?[0-9]{0,20}", size in 0_u64..100) {
            if let Wanted::Part { start, end } = Wanted::parse(Some(&header), size) {
                proptest::prop_assert!(start <= end && end < size);
            }
        }

        #[test]
        fn a_chunks_range_comes_back(start in 0_u64.., more in 0_u64..1000) {
            let end = start.saturating_add(more);
            proptest::prop_assert_eq!(chunk(&format!("{start}-{end}")), Some((start, end)));
        }
    }
}
