//! Binary packages (deb(5)).

use std::io::{self, BufReader, Read};

/// The files of a package, as a tar stream. `package` is the whole .deb.
pub(super) fn data_tar<'a>(mut package: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 8];
    package.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(invalid("it is no ar archive"));
    }
    loop {
        let mut header = [0; 60];
        package
            .read_exact(&mut header)
            .map_err(|_| invalid("it holds no data.tar"))?;
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(str::trim)
                .unwrap_or_default()
        };
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58)
            .parse()
            .map_err(|_| invalid("an ar member has no size"))?;
        if &header[58..] != b"`\n" {
            return Err(invalid("an ar header is damaged"));
        }
        if name.starts_with("data.tar") {
            return crate::archive::decompress(BufReader::with_capacity(
                1 << 16,
                package.take(size),
            ));
        }
        // Members start at even offsets.
        let skipped = io::copy(&mut package.by_ref().take(size + size % 2), &mut io::sink())?;
        if skipped < size {
            return Err(invalid("it ends early"));
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
