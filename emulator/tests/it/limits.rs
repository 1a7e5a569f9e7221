use std::io::{Read, Write};

use bytes::Bytes;
use cosmos_emulator::{Emulator, StartError};
use serde_json::json;

use crate::support::{Client, DOCS, PK, container, token};

#[tokio::test]
async fn bodies_above_two_megabytes_are_refused() {
    let (_emulator, client) = container().await;
    let big = json!({"id": "x", "pk": "a", "big": "x".repeat(2 * 1024 * 1024)});
    client.create(big).await.expect(413);
    let fits = json!({"id": "x", "pk": "a", "big": "x".repeat(2 * 1024 * 1024 - 1000)});
    client.create(fits).await.expect(201);
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let (_emulator, client) = container().await;
    let key = (PK, "[\"a\"]");
    for body in ["", "{", "[]", "5", "{\"id\":\"x\",}", "\u{0}"] {
        client.send("POST", DOCS, &[key], body).await.expect(400);
    }
    client.send("POST", DOCS, &[key], vec![0xFF, 0xFE]).await.expect(400);
    let deep = format!("{{\"id\":\"x\",\"pk\":\"a\",\"deep\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    client.send("POST", DOCS, &[key], deep).await.expect(400);
}

#[tokio::test]
async fn many_members_take_no_time() {
    let (_emulator, client) = container().await;
    let members: Vec<String> = (0..100_000).map(|at| format!("\"m{at}\":1")).collect();
    let started = std::time::Instant::now();
    let body = format!("{{\"id\":\"x\",\"pk\":\"a\",{}}}", members.join(","));
    client.send("POST", DOCS, &[(PK, "[\"a\"]")], body).await.expect(201);
    assert!(started.elapsed().as_secs() < 10);
}

#[tokio::test]
async fn broken_requests_do_no_harm() {
    let (emulator, client) = container().await;
    let address = emulator.endpoint().trim_start_matches("http://").to_owned();
    for text in
        ["nonsense\r\n\r\n".to_owned(), format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000))]
    {
        let address = address.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let _ = stream.write_all(text.as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
        .await
        .unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    client.get("", &[]).await.expect(200);
}

#[tokio::test]
async fn in_process_calls_need_no_socket() {
    let emulator = Emulator::builder().build().unwrap();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let request = |key: &str| {
        http::Request::post("/dbs")
            .header("x-ms-date", &date)
            .header("authorization", token(key, "POST", "dbs", "", &date))
            .body(Bytes::from_static(b"{\"id\":\"d\"}"))
            .unwrap()
    };
    assert_eq!(emulator.call(request("d3Jvbmc=")).await.status(), 401);
    let response = emulator.call(request(emulator.key())).await;
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key("x-ms-request-charge"));
    assert_eq!(emulator.stats().operations["database.create"].requests, 1);
}

#[tokio::test]
async fn starting_and_stopping() {
    let started = std::time::Instant::now();
    let emulator = Emulator::builder().start().await.unwrap();
    assert!(started.elapsed().as_millis() < 50);
    let port: u16 = emulator.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let taken = Emulator::builder().port(port).start().await.unwrap_err();
    assert!(matches!(taken, StartError::Bind { .. }), "{taken}");
    assert!(matches!(Emulator::builder().key("not base64!").build(), Err(StartError::Key)));
    assert!(matches!(Emulator::builder().partitions(0).build(), Err(StartError::Partitions(0))));

    let client = Client::new(&emulator);
    client.get("", &[]).await.expect(200);
    emulator.shutdown().await;
    let again = Emulator::builder().port(port).start().await.unwrap();
    drop(emulator);
    Client::new(&again).get("", &[]).await.expect(200);
    drop(again);
    // The port is free once the last handle is gone.
    for _ in 0..100 {
        if Emulator::builder().port(port).start().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the port is still taken");
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let (emulator, client) = container().await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let second = Client::with(http.clone(), emulator.endpoint(), emulator.key());
    second.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    client.read("a", "x").await.expect(200);
    let all = (0..50).map(|at| second.create(json!({"id": format!("{at}"), "pk": "a"}))).collect::<Vec<_>>();
    for reply in all {
        reply.await.expect(201);
    }
    let account = http.get(emulator.endpoint()).send().await.unwrap();
    assert_eq!((account.version(), account.status().as_u16()), (http::Version::HTTP_2, 401));
    emulator.shutdown().await;
}

#[tokio::test]
async fn clients_that_stall_hold_up_nobody() {
    use tokio::io::AsyncWriteExt as _;

    let emulator = Emulator::builder().start().await.unwrap();
    let address = emulator.endpoint().trim_start_matches("http://").to_owned();
    let mut stalled = Vec::new();
    for at in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let text = match at % 3 {
            0 => "",
            1 => "GET / HTTP/1.1\r\nhost: x\r\nx-ms",
            _ => "POST /dbs HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let client = Client::new(&emulator);
    let served = async {
        client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
        client.get("dbs/d", &[]).await.expect(200);
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), served).await.unwrap();
    drop(stalled);
}
