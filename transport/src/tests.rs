//! Real handshakes on loopback.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use std::path::PathBuf;
use tokio_stream::StreamExt;

struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn identity(&self, uri: &str) -> Identity {
        let mut params = CertificateParams::new(vec![CONTROLLER_NAME.to_string()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.path("own.pem"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path("own.key"), key.serialize_pem()).unwrap();
        Identity::read(&self.path("ca.pem"), &self.path("own.pem"), &self.path("own.key")).unwrap()
    }
}

/// What the server of one authority sees of a client of another (or the same).
async fn seen(server: &Authority, client: &Authority, uri: &str) -> Option<Role> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = server_config(&server.identity("ballast://controller/1")).unwrap();
    let mut accepted = incoming(listener, config);
    let config = client_config(&client.identity(uri)).unwrap();
    let connecting = tokio::spawn(async move { channel(&address, config).await.is_ok() });
    let found = tokio::time::timeout(std::time::Duration::from_millis(800), accepted.next()).await;
    let _ = connecting.await;
    found.ok().flatten().and_then(|connection| Connected::connect_info(&connection.unwrap()).role)
}

use tonic::transport::server::Connected;

#[tokio::test]
async fn a_member_is_who_its_certificate_says_and_strangers_are_nobody() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    assert_eq!(seen(&ours, &ours, "ballast://agent/seattle").await, Some(Role::Agent("seattle".to_string())));
    assert_eq!(seen(&ours, &ours, "ballast://controller/3").await, Some(Role::Controller(3)));
    assert_eq!(seen(&ours, &ours, "ballast://somebody/3").await, None);
    assert_eq!(seen(&ours, &theirs, "ballast://agent/seattle").await, None);
}

#[test]
fn a_wrong_file_is_named_with_its_cure() {
    let authority = Authority::new();
    authority.identity("ballast://agent/a");
    let [ca, own, key] = ["ca.pem", "own.pem", "own.key"].map(|name| authority.path(name));
    let missing = Identity::read(&authority.path("nowhere.pem"), &own, &key).unwrap_err().to_string();
    assert!(missing.contains("nowhere.pem") && missing.contains("certificates in PEM"), "{missing}");
    let swapped = Identity::read(&ca, &key, &own).unwrap_err().to_string();
    assert!(swapped.contains("own.key") && swapped.contains("no certificate"), "{swapped}");
    let no_key = Identity::read(&ca, &own, &own).unwrap_err().to_string();
    assert!(no_key.contains("private key"), "{no_key}");
}
