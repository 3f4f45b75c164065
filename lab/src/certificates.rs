//! A private authority and one certificate per controller and agent. The role is in the URI name:
//! `ballast://controller/ID`, `ballast://agent/NAME`.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name that clients of controllers demand.
pub const CONTROLLER_NAME: &str = "controller.ballast";

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

/// Where a member's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificate, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// Labs are short-lived; the dates keep clear of any clock's trouble.
fn dated(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    /// Makes a new authority.
    pub fn new(name: &str) -> Result<Authority> {
        let mut params = dated(CertificateParams::new(Vec::new())?, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let key_text = key.serialize_pem();
        Ok(Authority { issuer: Issuer::new(params, key), certificate, key: key_text })
    }

    /// Writes the authority's certificate (`ca.pem`) and key (`ca.key`).
    pub fn write(&self, folder: &Path) -> Result<()> {
        write(&folder.join("ca.pem"), &self.certificate, 0o644)?;
        write(&folder.join("ca.key"), &self.key, 0o600)
    }

    /// Reads what [`Authority::write`] wrote.
    pub fn read(folder: &Path) -> Result<Authority> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| name.to_string());
        let (certificate, key) = (text("ca.pem")?, text("ca.key")?);
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Authority { issuer, certificate, key })
    }

    /// Certificate of a controller.
    pub fn controller(&self, id: u64, addresses: &[IpAddr], folder: &Path) -> Result<Files> {
        let mut params = CertificateParams::new(vec![CONTROLLER_NAME.to_string(), "localhost".to_string()])?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        self.member(params, &format!("ballast://controller/{id}"), folder, &format!("c{id}"))
    }

    /// Certificate of an agent.
    pub fn agent(&self, host: &str, folder: &Path) -> Result<Files> {
        let params = CertificateParams::new(Vec::new())?;
        self.member(params, &format!("ballast://agent/{host}"), folder, host)
    }

    fn member(&self, mut params: CertificateParams, uri: &str, folder: &Path, name: &str) -> Result<Files> {
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let params = dated(params, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = Files {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        write(&files.certificate, &certificate.pem(), 0o644)?;
        write(&files.key, &key.serialize_pem(), 0o600)?;
        Ok(files)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_and_certificates_are_pem() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("test").unwrap();
        authority.write(folder.path()).unwrap();
        let authority = Authority::read(folder.path()).unwrap();
        let files = authority.controller(1, &["127.0.0.1".parse().unwrap()], folder.path()).unwrap();
        let agent = authority.agent("seattle", folder.path()).unwrap();
        for path in [&files.certificate, &agent.certificate] {
            assert!(std::fs::read_to_string(path).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&agent.key).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
