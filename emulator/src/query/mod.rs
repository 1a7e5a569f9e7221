//! STAND-IN: replaced by the real module at the merge of `emu-query`.
use crate::error::ServiceError;
use crate::value::Value;
#[derive(Debug, Clone)]
pub(crate) struct Query;
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape { pub(crate) top: bool, pub(crate) order_by: bool, pub(crate) aggregate: bool, pub(crate) distinct: bool, pub(crate) offset_limit: bool, pub(crate) group_by: bool }
#[derive(Debug, Clone)]
pub(crate) struct Predicate;
#[derive(Debug, Clone, Default)]
pub(crate) struct Context { pub(crate) parameters: Vec<(String, Value)>, pub(crate) now_ms: f64 }
impl Query {
    pub(crate) fn parse(_text: &str) -> Result<Query, ServiceError> { Ok(Query) }
    pub(crate) fn shape(&self) -> Shape { Shape::default() }
    pub(crate) fn run<'a>(&self, docs: impl Iterator<Item = &'a Value>, _ctx: &Context) -> Result<Vec<Value>, ServiceError> { Ok(docs.cloned().collect()) }
    pub(crate) fn sargable(&self, _ctx: &Context) -> Vec<Predicate> { Vec::new() }
    pub(crate) fn order_by_paths(&self) -> Option<Vec<(Vec<String>, bool)>> { None }
    pub(crate) fn row_limit(&self, _ctx: &Context) -> Option<usize> { None }
}
