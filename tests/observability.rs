//! What an operator sees: metrics through the `metrics` facade, spans through `tracing`, and never a key. A binary
//! of its own: which spans are on is decided for the whole process.

// A panic is how a test fails.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cosmos_emulator::Emulator;
use duroxide::providers::{Provider, WorkItem};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use metrics_util::debugging::DebuggingRecorder;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Log lines, kept.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// One thread: recorder and subscriber are the thread's.
#[tokio::test]
async fn requests_are_counted_and_traced() {
    let recorder = DebuggingRecorder::new();
    let seen = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(lines.clone())
        .finish();
    let _tracing = tracing::subscriber::set_default(subscriber);

    let emulator = Emulator::builder().start().await.expect("an emulator");
    let config = CosmosDBProviderConfig {
        endpoint: emulator.endpoint().to_owned(),
        key: emulator.key().to_owned(),
        ..CosmosDBProviderConfig::default()
    };
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    let start = WorkItem::StartOrchestration {
        instance: "watched".into(),
        orchestration: "o".into(),
        input: String::new(),
        version: Some("1.0.0".into()),
        parent_instance: None,
        parent_id: None,
        parent_execution_id: None,
        execution_id: 1,
    };
    provider.enqueue_for_orchestrator(start, None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(Duration::from_secs(5), Duration::ZERO, None).await;
    fetched.expect("no error").expect("a turn");
    provider.read("watched").await.expect("history");
    let names: BTreeSet<String> =
        seen.snapshot().into_vec().into_iter().map(|(key, ..)| key.key().name().to_owned()).collect();
    for name in ["requests_total", "request_units", "request_seconds"] {
        assert!(names.contains(&format!("duroxide_cosmos_{name}")), "{names:?}");
    }
    let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
    let span = text.lines().find(|line| line.contains("lockTurn") && line.contains("status=200"));
    let span = span.unwrap_or_else(|| panic!("no span of lockTurn in {text}"));
    for part in ["watched", "request_charge=", "activity_id="] {
        assert!(span.contains(part), "{part} is missing in {span}");
    }
    assert!(!text.contains(emulator.key()), "the key is in the log");
}
