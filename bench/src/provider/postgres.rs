//! duroxide-pg on the server at `DATABASE_URL`, where it is compiled in.

use std::sync::Arc;

use duroxide::providers::Provider;

use crate::Error;

/// A provider on a schema, which is created if missing.
#[cfg(feature = "postgres")]
pub(super) async fn open(schema: &str) -> Result<Arc<dyn Provider>, Error> {
    Ok(Arc::new(connect(schema).await?))
}

#[cfg(not(feature = "postgres"))]
pub(super) async fn open(_schema: &str) -> Result<Arc<dyn Provider>, Error> {
    Err(Error::other("built without `--features postgres`"))
}

/// Removes a schema and everything in it, if the server lets it.
#[cfg(feature = "postgres")]
pub(super) async fn remove(schema: &str) {
    if let Ok(provider) = connect(schema).await {
        let _ = provider.cleanup_schema().await;
    }
}

#[cfg(not(feature = "postgres"))]
pub(super) async fn remove(_schema: &str) {}

#[cfg(feature = "postgres")]
async fn connect(schema: &str) -> Result<duroxide_pg::PostgresProvider, Error> {
    let url = std::env::var("DATABASE_URL").map_err(|_| Error::other("DATABASE_URL is not set"))?;
    duroxide_pg::PostgresProvider::new_with_schema(&url, Some(schema)).await.map_err(Error::other)
}
