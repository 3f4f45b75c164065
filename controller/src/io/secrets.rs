//! The bearer token of the REST interface and the operator's key, made at the first start where they are absent. Several
//! controllers of one machine may share the files: whoever is first makes them, the others read.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A secret that cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}: {cure}")]
pub struct SecretProblem {
    path: String,
    why: String,
    cure: &'static str,
}

/// What a REST client must show.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// Compares in constant time: `blake3::Hash` does, and digests do not show the token's length.
    pub fn matches(&self, shown: &str) -> bool {
        blake3::hash(&self.0) == blake3::hash(shown.as_bytes())
    }
}

/// Reads the token, or makes one of 32 random bytes.
///
/// # Errors
/// The file cannot be read or made, or is empty.
pub fn token(path: &Path) -> Result<Token, SecretProblem> {
    let cure = "give a path with --token-file that this controller may write";
    let failed = |error: io::Error| problem(path, error.to_string(), cure);
    if !path.exists() {
        create(path, format!("{}\n", hex(&random(path)?)).as_bytes(), 0o600).map_err(failed)?;
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let token = text.trim();
    if token.len() < 16 {
        return Err(problem(
            path,
            "the token is too short".to_string(),
            "put at least 16 characters there, or remove it",
        ));
    }
    Ok(Token(token.as_bytes().to_vec()))
}

/// Reads the public half of the operator's key, or makes a key pair: `path` (PKCS#8, PEM) and `path.pub` (hexadecimal).
/// Where only the public half is present, it is used: the private one belongs to the operator, not to controllers.
///
/// # Errors
/// A file cannot be read or made, or holds something else.
pub fn operator_key(path: &Path) -> Result<[u8; 32], SecretProblem> {
    let cure = "give a path with --operator-key that this controller may write";
    let public_path = public_path(path);
    let failed = |error: io::Error| problem(path, error.to_string(), cure);
    if !path.exists() && !public_path.exists() {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| problem(path, "no randomness".to_string(), "look at this machine"))?;
        create(path, pem(document.as_ref()).as_bytes(), 0o600).map_err(failed)?;
    }
    if path.exists() {
        let wrong = |why: String| problem(path, why, "give an Ed25519 key in PKCS#8, PEM");
        let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|error| wrong(error.to_string()))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|error| wrong(error.to_string()))?;
        let public = hex(pair.public_key().as_ref());
        if !public_path.exists() {
            create(&public_path, format!("{public}\n").as_bytes(), 0o644).map_err(failed)?;
        }
    }
    let text =
        fs::read_to_string(&public_path).map_err(|error| problem(&public_path, error.to_string(), cure))?;
    unhex(text.trim()).ok_or_else(|| {
        problem(&public_path, "not 64 hexadecimal digits".to_string(), "give the operator's public key")
    })
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Makes a file that did not exist, whole: written aside and linked into place. Whoever loses the race keeps the
/// winner's.
fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&aside, path));
    fs::remove_file(&aside)?;
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn random(path: &Path) -> Result<[u8; 32], SecretProblem> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| problem(path, "no randomness".to_string(), "look at this machine"))?;
    Ok(bytes)
}

fn problem(path: &Path, why: String, cure: &'static str) -> SecretProblem {
    SecretProblem { path: path.display().to_string(), why, cure }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    bytes.filter(|_| text.len() == 64)?.try_into().ok()
}

/// RFC 7468, `PRIVATE KEY`.
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_for_their_owner_alone_and_read_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let (token_path, key_path) = (folder.path().join("token"), folder.path().join("operator.key"));
        let first = token(&token_path).unwrap();
        let text = fs::read_to_string(&token_path).unwrap();
        assert!(first.matches(text.trim()) && !first.matches("") && !first.matches(&text[1..]));
        assert!(token(&token_path).unwrap().matches(text.trim()), "the second start reads it");
        let public = operator_key(&key_path).unwrap();
        assert_eq!(operator_key(&key_path).unwrap(), public);
        let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o777;
        assert_eq!((mode(&token_path), mode(&key_path)), (0o600, 0o600));
        fs::remove_file(&key_path).unwrap();
        assert_eq!(operator_key(&key_path).unwrap(), public, "the public half is enough");
    }

    #[test]
    fn a_wrong_file_is_named_with_its_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        fs::write(&path, "no key").unwrap();
        let error = operator_key(&path).unwrap_err().to_string();
        assert!(error.contains("operator.key") && error.contains("PKCS#8"), "{error}");
        fs::write(folder.path().join("token"), "short").unwrap();
        assert!(token(&folder.path().join("token")).is_err());
    }
}
