//! Which answers their origins never change.

/// Whether what an origin has at a path is a file of one version of one thing: package archives publish such a file
/// once, and it is that file or nothing ever after. Everything else may be another answer tomorrow: indexes, pages,
/// lists of versions, whatever a host is not known for.
pub(crate) fn is_lasting(method: &str, path: &str, status: u16) -> bool {
    if status != 200 || !matches!(method, "GET" | "HEAD") {
        return false;
    }
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let has = |part: &str| path.contains(part);
    // Debian, Ubuntu.
    (has("pool/") && ends(&[".deb", ".udeb", ".dsc", ".tar.gz", ".tar.xz", ".tar.bz2", ".diff.gz"]))
        // Python: a wheel's name has its version and its build; sources are where all files are.
        || ends(&[".whl", ".whl.metadata"])
        || (has("packages/") && ends(&[".tar.gz", ".tar.bz2", ".zip"]))
        // npm.
        || (has("/-/") && ends(&[".tgz"]))
        // Go: modules, and the parts of the checksum database's tree that are full. What proxies say of a version
        // (.info) they say in several ways.
        || (has("/@v/v") && ends(&[".mod", ".zip"]))
        || (has("/tile/") && !has(".p/"))
        // Rust.
        || ends(&[".crate"])
        || (has("crates/") && name == "download")
        // Maven: versions that are released.
        || (!has("-SNAPSHOT/") && ends(&[".jar", ".pom", ".jar.sha1", ".pom.sha1", ".module"]))
}

#[cfg(test)]
mod tests {
    use super::is_lasting;

    #[test]
    fn files_of_one_version_last() {
        for path in [
            "pool/main/c/curl/curl_7.88.1-10_amd64.deb",
            "six/six-1.16.0-py2.py3-none-any.whl",
            "packages/aa/bb/idna-3.4.tar.gz",
            "@babel/core/-/core-7.0.0.tgz",
            "golang.org/x/text/@v/v0.14.0.zip",
            "sumdb/sum.example.com/tile/8/0/x123/456",
            "api/v1/crates/serde/1.0.0/download",
            "junit/junit/4.13/junit-4.13.jar",
        ] {
            assert!(is_lasting("GET", path, 200), "{path}");
        }
        for path in [
            "dists/bookworm/InRelease",
            "dists/bookworm/main/binary-amd64/by-hash/SHA256/aa",
            "simple/six/",
            "@babel/core",
            "golang.org/x/text/@v/list",
            "golang.org/x/text/@v/v0.14.0.info",
            "golang.org/x/text/@latest",
            "sumdb/sum.example.com/tile/8/0/x123/456.p/7",
            "junit/junit/maven-metadata.xml",
            "a/1-SNAPSHOT/a.jar",
            "latest.tar.gz",
        ] {
            assert!(!is_lasting("GET", path, 200), "{path}");
        }
        assert!(!is_lasting("POST", "a/-/a.tgz", 200));
        assert!(!is_lasting("GET", "a/-/a.tgz", 404));
    }
}
