//! STAND-IN: replaced by the real module at the merge of `emu-script`.
use std::fmt;
use crate::{error::ServiceError, value::Value};
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Component { Undefined, Null, Bool(bool), Number(f64), String(String), Infinity }
#[derive(Debug, Clone, Copy, PartialEq, Eq)] pub(crate) enum Version { V1, V2 }
#[derive(Debug, Clone, Copy, PartialEq, Eq)] pub(crate) enum Kind { Hash, MultiHash }
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)] pub(crate) struct Epk(Vec<u8>);
impl Epk { pub(crate) fn parse(hex: &str) -> Result<Epk, ServiceError> { Ok(Epk(hex.as_bytes().to_vec())) } }
impl fmt::Display for Epk { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&String::from_utf8_lossy(&self.0)) } }
pub(crate) fn effective(c: &[Component], _k: Kind, _v: Version) -> Epk {
    let h = format!("{c:?}").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    Epk(format!("{:016X}", h >> 2).into_bytes())
}
pub(crate) fn parse_header(text: &str) -> Result<Vec<Component>, ServiceError> {
    let v = Value::parse(text.as_bytes()).map_err(|e| ServiceError::bad_request(e.to_string()))?;
    let Value::Array(items) = v else { return Err(ServiceError::bad_request("partition key")) };
    Ok(items.iter().map(component).collect())
}
fn component(v: &Value) -> Component {
    match v { Value::Null => Component::Null, Value::Bool(b) => Component::Bool(*b), Value::Number(n) => Component::Number(*n), Value::String(s) => Component::String(s.to_string()), _ => Component::Undefined }
}
pub(crate) fn extract(document: &Value, paths: &[Vec<String>]) -> Result<Vec<Component>, ServiceError> {
    Ok(paths.iter().map(|p| component(p.iter().fold(document, |v, s| v.get(s)))).collect())
}
