//! What needs a hand on the emulator itself: splits of physical partitions.

mod support;

use azure_data_cosmos::FeedScope;
use cosmos_emulator::Emulator;
use futures::StreamExt;
use support::{Item, client_of, new_container, new_database};

#[tokio::test]
async fn a_split_goes_unnoticed() {
    let emulator = Emulator::builder().start().await.unwrap();
    let client = client_of(emulator.endpoint(), emulator.key()).await;
    let database = new_database(&client).await;
    let container = new_container(&database, "/pk".into(), None).await;
    let (mut written, mut next) = (0, 0);
    for split in [None, Some(0), Some(1), Some(2)] {
        if let Some(range) = split {
            let name = container.read(None).await.unwrap().into_model().unwrap().id.to_string();
            emulator.split(database.name().unwrap(), &name, range).await.unwrap();
        }
        while next < written + 15 {
            let item = Item::new(next, format!("p{next}"), next);
            container.create_item(item.pk.clone(), &item.id, &item, None).await.unwrap();
            next += 1;
        }
        written = next;
        let query = "SELECT * FROM c ORDER BY c.n";
        let found = container.query_items::<Item>(query, FeedScope::full_container(), None).await.unwrap();
        let found: Vec<i64> = found.map(|row| row.unwrap().n).collect().await;
        assert_eq!(found, (0..written).collect::<Vec<_>>());
        for n in 0..written {
            container.read_item(format!("p{n}"), &n.to_string(), None).await.unwrap();
        }
    }
    emulator.shutdown().await;
}
