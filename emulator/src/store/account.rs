//! The account: databases and their containers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use crate::error::ServiceError;
use crate::rid::{self, ContainerRid, Rid};
use crate::value::{Object, Value};

use super::codec::{self, AccountRecord, DatabaseRecord, Key};
use super::container::{Container, Meta};
use super::definition::{Definition, resource_id};
use super::document::new_etag;
use super::journal::{Durable, Write};
use super::offer::{Offer, Throughput};
use super::partition::split_evenly;
use super::{Shared, sync};

/// All data of the emulator.
pub(crate) struct Account {
    pub(super) shared: Arc<Shared>,
    pub(super) databases: RwLock<BTreeMap<String, Arc<Database>>>,
    /// Number of the last database created.
    pub(super) last_database: AtomicU32,
}

/// A database.
pub(crate) struct Database {
    pub(super) number: u32,
    pub(super) record: RwLock<DatabaseRecord>,
    pub(super) containers: RwLock<BTreeMap<String, Arc<Container>>>,
    /// Changes under the lock of `containers`: nothing is created in a database that is gone.
    removed: AtomicBool,
}

impl Account {
    /// An account without databases.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), databases: RwLock::default(), last_database: AtomicU32::new(0) }
    }

    /// What all containers share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// All databases by id.
    pub(crate) fn databases(&self) -> Vec<Arc<Database>> {
        sync::read(&self.databases).values().cloned().collect()
    }

    /// The database with this name or, for a self link, `_rid`.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn database(&self, name: &str) -> Result<Arc<Database>, ServiceError> {
        let databases = sync::read(&self.databases);
        if let Some(database) = databases.get(name) {
            return Ok(Arc::clone(database));
        }
        match rid::parse(name) {
            Some(Rid::Database(number)) => {
                databases.values().find(|database| database.number == number).cloned()
            }
            _ => None,
        }
        .ok_or_else(ServiceError::not_found)
    }

    /// Creates a database.
    ///
    /// # Errors
    /// 400 for a bad body, 409 when the id is taken.
    pub(crate) fn create_database(
        &self,
        body: &Value,
        throughput: Option<Throughput>,
    ) -> Result<(Arc<Database>, Durable), ServiceError> {
        let id = resource_id(body)?;
        let mut databases = sync::write(&self.databases);
        if databases.contains_key(&id) {
            return Err(ServiceError::conflict());
        }
        self.shared.journal.check()?;
        let number = self.last_database.fetch_add(1, Ordering::Relaxed) + 1;
        let record = DatabaseRecord {
            id: id.clone(),
            etag: new_etag(),
            ts: self.shared.clock.now_s(),
            containers: 0,
            offer: throughput.map(|throughput| Offer::new(throughput, &self.shared.clock)),
        };
        let counters = AccountRecord { databases: number };
        let writes =
            vec![(Key::Account.encode(), Some(codec::encode(&counters))), database_write(number, &record)];
        let database = Arc::new(Database::new(number, record));
        databases.insert(id, Arc::clone(&database));
        Ok((database, self.shared.journal.append(writes)))
    }

    /// Deletes a database with everything in it.
    ///
    /// # Errors
    /// 404 when there is none, 412 when `if_match` names another version.
    pub(crate) fn delete_database(
        &self,
        name: &str,
        if_match: Option<&str>,
    ) -> Result<Durable, ServiceError> {
        let database = self.database(name)?;
        database.check_etag(if_match)?;
        self.shared.journal.check()?;
        let mut databases = sync::write(&self.databases);
        let mut containers = sync::write(&database.containers);
        if database.removed.swap(true, Ordering::Relaxed) {
            return Err(ServiceError::not_found());
        }
        databases.remove(&database.id());
        let containers = std::mem::take(&mut *containers);
        let mut writes: Vec<Write> = containers.values().flat_map(|container| container.remove()).collect();
        writes.push((Key::Database(database.number).encode(), None));
        Ok(self.shared.journal.append(writes))
    }

    /// The container with this name or `_rid`.
    ///
    /// # Errors
    /// 404 when the container is not there, 404/1003 when its database is not.
    pub(crate) fn container(&self, database: &str, name: &str) -> Result<Arc<Container>, ServiceError> {
        let database = self.database(database).map_err(|_| ServiceError::owner_not_found())?;
        database.container(name)
    }

    /// Creates a container.
    ///
    /// # Errors
    /// 400 for a bad body, 404/1003 without the database, 409 when the id is taken.
    pub(crate) fn create_container(
        &self,
        database: &str,
        body: &Value,
        throughput: Option<Throughput>,
    ) -> Result<(Arc<Container>, Durable), ServiceError> {
        let database = self.database(database).map_err(|_| ServiceError::owner_not_found())?;
        let definition = Definition::parse(body)?;
        let mut containers = sync::write(&database.containers);
        if database.removed.load(Ordering::Relaxed) {
            return Err(ServiceError::owner_not_found());
        }
        if containers.contains_key(&definition.id) {
            return Err(ServiceError::conflict());
        }
        self.shared.journal.check()?;
        let ranges = split_evenly(self.shared.partitions, definition.partition_key.version())?;
        let mut record = sync::write(&database.record);
        record.containers += 1;
        // Without a wish of its own it shares the database's, and has the least there is where that has none.
        let own = throughput.or_else(|| record.offer.is_none().then(Throughput::default));
        let rid = ContainerRid { database: database.number, container: record.containers };
        let meta = Meta {
            definition,
            etag: new_etag(),
            ts: self.shared.clock.now_s(),
            offer: own.map(|throughput| Offer::new(throughput, &self.shared.clock)),
        };
        let name = meta.definition.id.clone();
        let container = Arc::new(Container::new(rid, &record.id, meta, ranges, Arc::clone(&self.shared)));
        let writes = vec![
            database_write(database.number, &record),
            container.definition_write(&container.meta(), &container.ranges()),
        ];
        containers.insert(name, Arc::clone(&container));
        Ok((container, self.shared.journal.append(writes)))
    }

    /// Replaces the definition of a container.
    ///
    /// # Errors
    /// 400 for a bad body or a change of what cannot change, 404, 412.
    pub(crate) fn replace_container(
        &self,
        container: &Container,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Durable, ServiceError> {
        let old = container.meta();
        check_etag(&old.etag, if_match)?;
        let definition = Definition::parse(body)?;
        old.definition.check_replacement(&definition)?;
        self.shared.journal.check()?;
        let ts = self.shared.clock.now_s();
        container.replace_meta(Meta { definition, etag: new_etag(), ts, offer: old.offer.clone() })
    }

    /// Deletes a container.
    ///
    /// # Errors
    /// 404, 412.
    pub(crate) fn delete_container(
        &self,
        database: &str,
        name: &str,
        if_match: Option<&str>,
    ) -> Result<Durable, ServiceError> {
        let database = self.database(database).map_err(|_| ServiceError::owner_not_found())?;
        let container = database.container(name)?;
        let meta = container.meta();
        check_etag(&meta.etag, if_match)?;
        self.shared.journal.check()?;
        let mut containers = sync::write(&database.containers);
        match containers.get(&meta.definition.id) {
            Some(current) if Arc::ptr_eq(current, &container) => containers.remove(&meta.definition.id),
            // Somebody else was faster.
            _ => return Err(ServiceError::not_found()),
        };
        Ok(self.shared.journal.append(container.remove()))
    }
}

impl Database {
    pub(super) fn new(number: u32, record: DatabaseRecord) -> Self {
        Self {
            number,
            record: RwLock::new(record),
            containers: RwLock::default(),
            removed: AtomicBool::new(false),
        }
    }

    /// The name.
    pub(crate) fn id(&self) -> String {
        sync::read(&self.record).id.clone()
    }

    /// The `_rid`.
    pub(crate) fn rid(&self) -> String {
        rid::database(self.number)
    }

    /// The etag.
    pub(crate) fn etag(&self) -> String {
        sync::read(&self.record).etag.clone()
    }

    /// All containers by id.
    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        sync::read(&self.containers).values().cloned().collect()
    }

    /// The database's JSON.
    pub(crate) fn to_value(&self) -> Value {
        let record = sync::read(&self.record);
        let mut json = Object::new();
        json.insert("id", Value::from(&*record.id));
        json.insert("_rid", self.rid().into());
        json.insert("_self", format!("dbs/{}/", self.rid()).into());
        json.insert("_etag", Value::from(&*record.etag));
        json.insert("_colls", "colls/".into());
        json.insert("_users", "users/".into());
        // Seconds stay far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        json.insert("_ts", Value::Number(record.ts as f64));
        json.into()
    }

    fn container(&self, name: &str) -> Result<Arc<Container>, ServiceError> {
        let containers = sync::read(&self.containers);
        if let Some(container) = containers.get(name) {
            return Ok(Arc::clone(container));
        }
        match rid::parse(name) {
            Some(Rid::Container(rid)) => containers.values().find(|container| container.rid == rid).cloned(),
            _ => None,
        }
        .ok_or_else(ServiceError::not_found)
    }

    fn check_etag(&self, if_match: Option<&str>) -> Result<(), ServiceError> {
        check_etag(&self.etag(), if_match)
    }
}

pub(super) fn check_etag(etag: &str, if_match: Option<&str>) -> Result<(), ServiceError> {
    match if_match {
        Some(expected) if expected != "*" && expected != etag => Err(ServiceError::precondition_failed()),
        _ => Ok(()),
    }
}

pub(super) fn database_write(number: u32, record: &DatabaseRecord) -> Write {
    (Key::Database(number).encode(), Some(codec::encode(record)))
}
