//! Durable workflows on Azure Cosmos DB: a storage provider for [`duroxide`].
