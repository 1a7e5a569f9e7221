use cosmos_emulator::Emulator;
use serde_json::json;

use crate::support::{Client, start};

#[tokio::test]
async fn https_with_a_certificate_to_trust() {
    let emulator = Emulator::builder().tls(true).start().await.unwrap();
    assert!(emulator.endpoint().starts_with("https://127.0.0.1:"), "{}", emulator.endpoint());
    let pem = emulator.certificate_pem().unwrap();
    let trusting = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let port = emulator.endpoint().rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let client = Client::with(trusting.clone(), &format!("https://{host}:{port}"), emulator.key());
        client.post("dbs", &[], json!({"id": host})).await.expect(201);
        let account = client.get("", &[]).await.expect(200).json();
        let location = account["writableLocations"][0]["databaseAccountEndpoint"].as_str().unwrap();
        assert!(location.starts_with("https://"), "{location}");
    }
    let distrusting = reqwest::Client::new();
    assert!(distrusting.get(emulator.endpoint()).send().await.is_err());
    // Plain HTTP on the same port is no request.
    assert!(reqwest::get(format!("http://127.0.0.1:{port}")).await.is_err());
    emulator.shutdown().await;
}

#[tokio::test]
async fn http_has_no_certificate() {
    let (emulator, _client) = start().await;
    assert!(emulator.endpoint().starts_with("http://"));
    assert_eq!(emulator.certificate_pem(), None);
}
