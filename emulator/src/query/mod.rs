//! STAND-IN: replaced by the real module at the merge of `emu-query`.
use crate::error::ServiceError;
use crate::value::Value;
#[derive(Debug, Clone)]
pub(crate) struct Query;
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape { pub(crate) from: bool, pub(crate) subquery: bool, pub(crate) top: bool, pub(crate) order_by: bool, pub(crate) aggregate: bool, pub(crate) distinct: bool, pub(crate) offset_limit: bool, pub(crate) group_by: bool }
pub(crate) struct Predicate { pub(crate) path: Vec<String>, pub(crate) test: Test }
pub(crate) enum Test { Eq(Value), In(Vec<Value>), Range { min: Option<Limit>, max: Option<Limit> }, Defined }
pub(crate) struct Limit { pub(crate) value: Value, pub(crate) inclusive: bool }
#[derive(Default)]
pub(crate) struct Context<'u> { pub(crate) parameters: Vec<(String, Value)>, pub(crate) now_ms: f64, pub(crate) udfs: Option<&'u ()> }
impl Query {
    pub(crate) fn parse(_text: &str) -> Result<Query, ServiceError> { Ok(Query) }
    pub(crate) fn shape(&self) -> Shape { Shape { from: true, ..Shape::default() } }
    pub(crate) fn run<'a>(&self, docs: impl Iterator<Item = &'a Value>, _ctx: &Context<'_>) -> Result<Vec<Value>, ServiceError> { Ok(docs.cloned().collect()) }
    pub(crate) fn sargable(&self, _ctx: &Context<'_>) -> Vec<Predicate> { Vec::new() }
    pub(crate) fn order_by_paths(&self) -> Option<Vec<(Vec<String>, bool)>> { None }
    pub(crate) fn row_limit(&self, _ctx: &Context<'_>) -> Option<usize> { None }
}
