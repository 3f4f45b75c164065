//! The document that is committed is the one that is served.

use super::*;

#[test]
fn the_committed_openapi_document_is_fresh() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var("BALLAST_WRITE_OPENAPI").is_ok() {
        std::fs::write(&path, openapi()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == openapi(),
        "docs/openapi.json is stale: BALLAST_WRITE_OPENAPI=1 cargo test -p controller openapi"
    );
}

#[test]
fn an_override_header_is_read_strictly() {
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(OVERRIDE_HEADER, text.parse().unwrap());
        override_of(&headers)
    };
    let digest = "ab".repeat(32);
    let good = format!(
        "{{\"guards\":[\"b\",\"a\",\"b\"],\"revision\":3,\"topology_digest\":\"{digest}\",\"reason\":\"r\",\"signature\":\"00ff\"}}"
    );
    let word = read(&good).unwrap().unwrap();
    assert_eq!((word.guards, word.revision, word.signature), (vec!["a".into(), "b".into()], 3, vec![0, 255]));
    for bad in ["", "{}", &good.replace("00ff", "zz"), &good.replace("\"revision\":3", "\"revision\":-1")] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert!(override_of(&HeaderMap::new()).unwrap().is_none());
}

#[test]
fn if_match_takes_an_etag_and_nothing_else() {
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, text.parse().unwrap());
        expected_revision(&headers)
    };
    assert_eq!(read("\"7\""), Ok(Some(7)));
    assert_eq!(read("*"), Ok(None));
    assert!(read("seven").is_err());
}
