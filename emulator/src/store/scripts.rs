//! Server-side scripts of a container: stored procedures, triggers and user-defined functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ServiceError;
use crate::limits::{MAX_FUNCTIONS, MAX_PROCEDURES, MAX_STRIKES, MAX_TRIGGERS};
use crate::rid::Leaf;
use crate::script::{Cache, Newer, ScriptSyntax, newer_syntax};
use crate::value::{Object, Value};

use super::codec::{self, Key};
use super::container::Container;
use super::definition::missing;
use super::journal::Durable;
use super::sync;

/// The three resource types that hold JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ScriptKind {
    Procedure,
    Trigger,
    Function,
}

/// A script as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScriptRecord {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// Of triggers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<TriggerOptions>,
}

/// When a trigger may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TriggerOptions {
    /// `Pre` or `Post`, in any case of letters.
    pub(crate) kind: String,
    /// `All`, or the one operation it is for, in any case of letters.
    pub(crate) operation: String,
}

/// A stored script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) kind: ScriptKind,
    pub(crate) ordinal: u64,
    pub(crate) record: ScriptRecord,
    /// Shared with the runs.
    pub(crate) body: Arc<str>,
    /// What the service's engine would not understand.
    pub(crate) newer_syntax: Option<Newer>,
    /// Runs in a row that used too much. A replacement starts anew.
    strikes: AtomicU32,
}

/// How scripts are treated.
#[derive(Debug, Clone)]
pub(crate) struct ScriptSettings {
    pub(crate) syntax: ScriptSyntax,
    /// What a procedure or trigger may use without a strike.
    pub(crate) charge: Duration,
    /// What one call of a user-defined function may use without a strike.
    pub(crate) function_charge: Duration,
    /// User-defined functions that were called.
    pub(crate) compiled: Arc<Cache>,
}

/// A user-defined function may use this part of what a procedure may: 0.1 of 2 seconds, as in the service.
const FUNCTION_SHARE: u32 = 20;

impl ScriptSettings {
    /// Settings by what a procedure may use.
    pub(crate) fn new(syntax: ScriptSyntax, charge: Duration) -> Self {
        Self { syntax, charge, function_charge: charge / FUNCTION_SHARE, compiled: Arc::default() }
    }
}

/// The scripts of a container, by type and id.
pub(super) type Scripts = BTreeMap<(ScriptKind, String), Arc<Script>>;

impl ScriptKind {
    /// The segment of links.
    pub(crate) fn segment(self) -> &'static str {
        match self {
            Self::Procedure => "sprocs",
            Self::Trigger => "triggers",
            Self::Function => "udfs",
        }
    }

    /// The member of a feed that holds the resources.
    pub(crate) fn feed_name(self) -> &'static str {
        match self {
            Self::Procedure => "StoredProcedures",
            Self::Trigger => "Triggers",
            Self::Function => "UserDefinedFunctions",
        }
    }

    /// The type in a `_rid`.
    pub(crate) fn leaf(self) -> Leaf {
        match self {
            Self::Procedure => Leaf::Procedure,
            Self::Trigger => Leaf::Trigger,
            Self::Function => Leaf::Function,
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Procedure => MAX_PROCEDURES,
            Self::Trigger => MAX_TRIGGERS,
            Self::Function => MAX_FUNCTIONS,
        }
    }
}

impl TriggerOptions {
    /// Reads `triggerType` and `triggerOperation`.
    ///
    /// # Errors
    /// 400 when one is missing or unknown.
    pub(crate) fn parse(body: &Value) -> Result<Self, ServiceError> {
        let one_of = |name: &str, known: &[&str]| {
            let value = body.get(name).as_str().ok_or_else(|| missing(name))?;
            // Kept as it came: the Python SDK writes `pre`, and expects to read that.
            let found = known.iter().any(|known| known.eq_ignore_ascii_case(value));
            found.then(|| value.to_owned()).ok_or_else(|| {
                ServiceError::bad_request(format!(
                    "Message: {{\"Errors\":[\"The input content is invalid because '{name}' must be one of: {}.\"]}}",
                    known.join(", ")
                ))
            })
        };
        Ok(Self {
            kind: one_of("triggerType", &["Pre", "Post"])?,
            operation: one_of(
                "triggerOperation",
                &["All", "Create", "Update", "Delete", "Replace", "Upsert"],
            )?,
        })
    }
}

impl Script {
    pub(super) fn new(kind: ScriptKind, ordinal: u64, record: ScriptRecord) -> Self {
        Self {
            kind,
            ordinal,
            body: record.body.as_str().into(),
            newer_syntax: newer_syntax(&record.body),
            record,
            strikes: AtomicU32::new(0),
        }
    }

    /// A procedure that belongs to no container.
    pub(crate) fn built_in(id: &str, body: &str) -> Self {
        let record = ScriptRecord {
            id: id.to_owned(),
            body: body.to_owned(),
            etag: String::new(),
            ts: 0,
            trigger: None,
        };
        Self::new(ScriptKind::Procedure, 0, record)
    }

    /// Refuses a script that used too much several times.
    ///
    /// # Errors
    /// 403 until the script is replaced, or deleted and created again.
    pub(crate) fn check_blocked(&self) -> Result<(), ServiceError> {
        if self.strikes.load(Ordering::Relaxed) < MAX_STRIKES {
            return Ok(());
        }
        // The wording differs by one letter between the types, as in the service.
        let resources = if self.kind == ScriptKind::Function { "resources" } else { "resource" };
        Err(ServiceError::new(
            403,
            0,
            format!(
                "Message: {{\"Errors\":[\"The script with id '{}' is blocked for execution because it has violated \
                 its allowed {resources} limit several times.\"]}}",
                self.record.id
            ),
        ))
    }

    /// Counts a run: a strike when it used more than `allowed`, else all strikes are forgiven. How the service
    /// forgives is not documented; this keeps a busy machine from blocking scripts that are slow now and then.
    pub(crate) fn used(&self, time: Duration, allowed: Duration) {
        if time > allowed {
            self.strikes.fetch_add(1, Ordering::Relaxed);
        } else {
            self.strikes.store(0, Ordering::Relaxed);
        }
    }

    /// The resource's JSON.
    pub(crate) fn to_value(&self, container: &Container) -> Value {
        let rid = container.rid.leaf(self.kind.leaf(), self.ordinal);
        let record = &self.record;
        let mut json = Object::new();
        json.insert("body", Value::String(Arc::clone(&self.body)));
        json.insert("id", Value::from(&*record.id));
        if let Some(trigger) = &record.trigger {
            json.insert("triggerType", Value::from(&*trigger.kind));
            json.insert("triggerOperation", Value::from(&*trigger.operation));
        }
        json.insert("_self", format!("{}{}/{rid}/", container.self_link(), self.kind.segment()).into());
        json.insert("_rid", rid.into());
        json.insert("_etag", Value::from(&*record.etag));
        // Seconds stay far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        json.insert("_ts", Value::Number(record.ts as f64));
        json.into()
    }
}

impl Container {
    /// The script with this name or, for a self link, `_rid`.
    pub(crate) fn script(&self, kind: ScriptKind, id: &str) -> Option<Arc<Script>> {
        if let Some(script) = sync::read(&self.scripts).get(&(kind, id.to_owned())) {
            return Some(Arc::clone(script));
        }
        let ordinal = self.rid.ordinal(kind.leaf(), id)?;
        self.scripts(kind).into_iter().find(|script| script.ordinal == ordinal)
    }

    /// All scripts of a type, by id.
    pub(crate) fn scripts(&self, kind: ScriptKind) -> Vec<Arc<Script>> {
        sync::read(&self.scripts).values().filter(|script| script.kind == kind).cloned().collect()
    }

    /// Stores a script under a counter of its own.
    ///
    /// # Errors
    /// 409 when the id is taken, 400 when there are too many.
    pub(crate) fn create_script(
        &self,
        kind: ScriptKind,
        record: ScriptRecord,
    ) -> Result<(Arc<Script>, Durable), ServiceError> {
        let mut scripts = sync::write(&self.scripts);
        if scripts.contains_key(&(kind, record.id.clone())) {
            return Err(ServiceError::conflict());
        }
        if scripts.values().filter(|script| script.kind == kind).count() >= kind.limit() {
            return Err(ServiceError::bad_request(format!(
                "The container has {} {} already, the most there can be.",
                kind.limit(),
                kind.segment()
            )));
        }
        self.check_there()?;
        self.shared.journal.check()?;
        Ok(self.store_script(&mut scripts, Script::new(kind, self.next_ordinal(), record)))
    }

    /// Replaces `old` by a script that keeps its `_rid`.
    ///
    /// # Errors
    /// 404 when it is gone, 412 when `if_match` names another version.
    pub(crate) fn replace_script(
        &self,
        old: &Script,
        record: ScriptRecord,
        if_match: Option<&str>,
    ) -> Result<(Arc<Script>, Durable), ServiceError> {
        let mut scripts = sync::write(&self.scripts);
        let old = current(&scripts, old, if_match)?;
        self.check_there()?;
        self.shared.journal.check()?;
        let new = Script::new(old.kind, old.ordinal, record);
        Ok(self.store_script(&mut scripts, new))
    }

    fn store_script(&self, scripts: &mut Scripts, script: Script) -> (Arc<Script>, Durable) {
        let key = Key::Script(self.rid, script.kind, script.ordinal).encode();
        let durable = self.shared.journal.append(vec![(key, Some(codec::encode(&script.record)))]);
        let script = Arc::new(script);
        scripts.insert((script.kind, script.record.id.clone()), Arc::clone(&script));
        (script, durable)
    }

    /// Deletes a script.
    ///
    /// # Errors
    /// 404 when it is gone, 412 when `if_match` names another version.
    pub(crate) fn delete_script(
        &self,
        script: &Script,
        if_match: Option<&str>,
    ) -> Result<Durable, ServiceError> {
        let mut scripts = sync::write(&self.scripts);
        let old = current(&scripts, script, if_match)?;
        self.shared.journal.check()?;
        scripts.remove(&(old.kind, old.record.id.clone()));
        Ok(self.shared.journal.append(vec![(Key::Script(self.rid, old.kind, old.ordinal).encode(), None)]))
    }
}

fn current(scripts: &Scripts, script: &Script, if_match: Option<&str>) -> Result<Arc<Script>, ServiceError> {
    let found = scripts.get(&(script.kind, script.record.id.clone())).ok_or_else(ServiceError::not_found)?;
    if if_match.is_some_and(|etag| etag != "*" && etag != found.record.etag) {
        return Err(ServiceError::precondition_failed());
    }
    Ok(Arc::clone(found))
}
