//! Signatures, checked by gpgv.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;

use super::AptError;

/// What checks signatures: the program, and the keys that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// gpgv, by path or by name to be found in the system's usual folders.
    pub gpgv: PathBuf,
    /// A keyring, binary or armoured.
    pub keyring: PathBuf,
}

/// Where a program given by name is looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Verifier {
    /// The signed text of an InRelease file (a clear-signed document, RFC 9580, section 7), exactly what the
    /// signature covers. `suite` names it in errors. Blocks.
    pub fn verify(&self, suite: &str, document: &[u8]) -> Result<Vec<u8>, AptError> {
        let folder =
            tempfile::tempdir().map_err(|source| AptError::io("make a folder for gpgv", source))?;
        let keyring = self.keyring(folder.path())?;
        let signed = folder.path().join("InRelease");
        std::fs::write(&signed, document)
            .map_err(|source| AptError::io("write a file for gpgv", source))?;
        let text = folder.path().join("Release");
        let output = Command::new(&self.gpgv)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .arg("--homedir")
            .arg(folder.path())
            .args(["--status-fd", "1", "--keyring"])
            .arg(&keyring)
            .arg("--output")
            .arg(&text)
            .arg(&signed)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| AptError::Gpgv {
                program: self.gpgv.clone(),
                source,
            })?;
        let status = String::from_utf8_lossy(&output.stdout);
        judge(&status).map_err(|why| AptError::Signature {
            suite: suite.to_owned(),
            keyring: self.keyring.clone(),
            why,
            words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })?;
        std::fs::read(&text).map_err(|source| AptError::io("read what gpgv verified", source))
    }

    /// The keyring in the binary form that gpgv reads.
    fn keyring(&self, folder: &Path) -> Result<PathBuf, AptError> {
        let fail = |source| AptError::Keyring {
            path: self.keyring.clone(),
            source,
        };
        let bytes = std::fs::read(&self.keyring).map_err(fail)?;
        let path = folder.join("keyring.gpg");
        let mut file = std::fs::File::create(&path)
            .map_err(|source| AptError::io("write a keyring for gpgv", source))?;
        let binary = if bytes.starts_with(b"-----BEGIN PGP") {
            dearmour(&bytes).ok_or_else(|| {
                fail(std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "broken armour",
                ))
            })?
        } else {
            bytes
        };
        file.write_all(&binary)
            .map_err(|source| AptError::io("write a keyring for gpgv", source))?;
        Ok(path)
    }
}

/// Judges gpgv's status lines (GnuPG's doc/DETAILS) as apt does: at least one good signature with a digest that
/// still holds, none that is bad. A signature by a key that is not in the keyring counts for nothing.
fn judge(status: &str) -> Result<(), String> {
    const WEAK: [&str; 3] = ["1", "2", "3"]; // MD5, SHA-1, RIPE-MD/160
    let mut valid = false;
    let mut why = "there is no signature".to_owned();
    for line in status.lines() {
        let mut words = line
            .strip_prefix("[GNUPG:] ")
            .unwrap_or_default()
            .split(' ');
        match words.next().unwrap_or_default() {
            "BADSIG" => return Err("a signature does not match the text".to_owned()),
            // fingerprint date timestamp expiry version reserved key-algorithm digest-algorithm ...
            "VALIDSIG" => match words.nth(7) {
                Some(digest) if !WEAK.contains(&digest) => valid = true,
                _ => "it uses a digest that no longer holds".clone_into(&mut why),
            },
            "EXPSIG" => return Err("a signature has expired".to_owned()),
            "EXPKEYSIG" => return Err("the signing key has expired".to_owned()),
            "REVKEYSIG" => return Err("the signing key was revoked".to_owned()),
            "NO_PUBKEY" => {
                let key = words.next().unwrap_or_default();
                why = format!("key {key} is not in the keyring");
            }
            _ => {}
        }
    }
    if valid { Ok(()) } else { Err(why) }
}

/// The bytes inside ASCII armour (RFC 9580, section 6.2); every block, one after the other.
fn dearmour(text: &[u8]) -> Option<Vec<u8>> {
    let mut binary = Vec::new();
    let mut block: Option<String> = None;
    let mut headers = false;
    for line in std::str::from_utf8(text).ok()?.lines().map(str::trim) {
        if line.starts_with("-----BEGIN ") {
            block = Some(String::new());
            headers = true;
        } else if line.starts_with("-----END ") {
            binary.extend(
                base64::engine::general_purpose::STANDARD
                    .decode(block.take()?)
                    .ok()?,
            );
        } else if let Some(block) = &mut block {
            if headers {
                headers = !line.is_empty();
            } else if !line.starts_with('=') {
                block.push_str(line);
            }
        }
    }
    Some(binary).filter(|binary| !binary.is_empty())
}
