//! The indexing policy: which paths of a document are indexed, and its normalised JSON.

use crate::error::ServiceError;
use crate::value::{Object, Value};

use super::partition_key::split_path;

const ROOT: &str = "/*";
const ETAG: &str = "/\"_etag\"/?";

/// The `indexingPolicy` of a container.
#[derive(Debug, Clone)]
pub(crate) struct IndexingPolicy {
    json: Value,
    rules: Vec<Rule>,
    composites: Vec<Composite>,
    /// `indexingMode` none: not even system properties are indexed.
    off: bool,
}

/// The paths of a composite index, `true` for descending.
type Composite = Vec<(Vec<String>, bool)>;

/// One included or excluded path.
#[derive(Debug, Clone)]
struct Rule {
    steps: Vec<String>,
    /// Ends in `*`: everything below, too.
    subtree: bool,
    include: bool,
}

impl IndexingPolicy {
    /// Reads the `indexingPolicy` member of a container and fills in what the service fills in.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub(crate) fn parse(value: &Value) -> Result<Self, ServiceError> {
        let mode = match value.get("indexingMode") {
            Value::Undefined => "consistent".to_owned(),
            Value::String(mode) => mode.to_lowercase(),
            other => return Err(invalid(format!("indexingMode {other}"))),
        };
        if !matches!(&*mode, "consistent" | "none" | "lazy") {
            return Err(invalid(format!("indexingMode '{mode}'")));
        }
        let off = mode == "none";
        let mut json = value.as_object().cloned().unwrap_or_default();
        json.insert("indexingMode", mode.into());
        if json.get("automatic").is_none() {
            json.insert("automatic", (!off).into());
        }
        let mut included = entries(value, "includedPaths")?;
        let mut excluded = entries(value, "excludedPaths")?;
        if !off {
            let has_root = |list: &[Value]| list.iter().any(|entry| path_of(entry) == ROOT);
            if included.is_empty() && !has_root(&excluded) {
                included.push(path_entry(ROOT));
            }
            if !has_root(&included) && !has_root(&excluded) {
                return Err(ServiceError::bad_request(
                    "The special mandatory indexing path \"/\" is not provided in any of the path type sets. Please \
                     provide this path in one of the sets.",
                ));
            }
            if !excluded.iter().chain(&included).any(|entry| path_of(entry) == ETAG) {
                excluded.push(path_entry(ETAG));
            }
        }
        let mut rules = Vec::new();
        for (list, include) in [(&included, true), (&excluded, false)] {
            for entry in list {
                rules.push(Rule::parse(path_of(entry), include)?);
            }
        }
        json.insert("includedPaths", included.into());
        json.insert("excludedPaths", excluded.into());
        Ok(Self { composites: composites(value)?, json: json.into(), rules, off })
    }

    /// The JSON the service answers with.
    pub(crate) fn to_value(&self) -> Value {
        self.json.clone()
    }

    /// Whether the value at `path` is indexed. The most specific rule decides.
    pub(crate) fn includes<S: AsRef<str>>(&self, path: &[S]) -> bool {
        if self.off {
            return false;
        }
        if let [name] = path
            && matches!(name.as_ref(), "id" | "_ts")
        {
            return true;
        }
        self.rules
            .iter()
            .filter(|rule| rule.covers(path))
            .max_by_key(|rule| (rule.steps.len(), !rule.subtree))
            .is_some_and(|rule| rule.include)
    }

    /// Whether nothing at or below `path` is indexed, so that payloads need not be walked.
    pub(crate) fn prunes<S: AsRef<str>>(&self, path: &[S]) -> bool {
        let below = |rule: &Rule| {
            rule.include
                && rule.steps.len() >= path.len()
                && path.iter().zip(&rule.steps).all(|(name, step)| step == name.as_ref())
        };
        let subtree_included = self
            .rules
            .iter()
            .filter(|rule| rule.subtree && rule.covers(path))
            .max_by_key(|rule| rule.steps.len())
            .is_some_and(|rule| rule.include);
        self.off || !(subtree_included || self.rules.iter().any(below))
    }

    /// The number of scalars of `document` that are indexed, arrays' elements included; `most` at most.
    pub(crate) fn count_terms(&self, document: &Value, most: usize) -> usize {
        let mut count = 0;
        self.count_below(document, &mut Vec::new(), most, &mut count);
        count
    }

    fn count_below<'a>(&self, value: &'a Value, path: &mut Vec<&'a str>, most: usize, count: &mut usize) {
        if *count >= most {
            return;
        }
        match value {
            Value::Object(_) | Value::Array(_) if self.prunes(path) => {}
            Value::Object(members) => {
                for (name, member) in members.iter() {
                    path.push(name);
                    self.count_below(member, path, most, count);
                    path.pop();
                }
            }
            Value::Array(items) => {
                path.push("[]");
                items.iter().for_each(|item| self.count_below(item, path, most, count));
                path.pop();
            }
            Value::Undefined => {}
            _ if self.includes(path) => *count += 1,
            _ => {}
        }
    }

    /// Whether a composite index serves ORDER BY of these paths (`true` = descending): the same paths in the
    /// same order, all directions equal or all reversed.
    pub(crate) fn serves_order(&self, order: &[(Vec<String>, bool)]) -> bool {
        self.composites.iter().any(|composite| {
            composite.len() == order.len()
                && [false, true]
                    .iter()
                    .any(|flip| composite.iter().zip(order).all(|(c, o)| c.0 == o.0 && c.1 == (o.1 ^ flip)))
        })
    }
}

impl Rule {
    fn parse(path: &str, include: bool) -> Result<Self, ServiceError> {
        let mut steps = split_path(path).ok_or_else(|| invalid(format!("path '{path}'")))?;
        let subtree = match steps.pop().as_deref() {
            Some("*") => true,
            Some("?") => false,
            _ => return Err(invalid(format!("path '{path}' must end in '?' or '*'"))),
        };
        Ok(Self { steps, subtree, include })
    }

    fn covers<S: AsRef<str>>(&self, path: &[S]) -> bool {
        let prefix = self.steps.len() <= path.len()
            && self.steps.iter().zip(path).all(|(step, name)| step == name.as_ref());
        prefix && (self.subtree || self.steps.len() == path.len())
    }
}

fn entries(policy: &Value, name: &str) -> Result<Vec<Value>, ServiceError> {
    match policy.get(name) {
        Value::Undefined => Ok(Vec::new()),
        Value::Array(items) => Ok(items.to_vec()),
        other => Err(invalid(format!("{name} {other}"))),
    }
}

fn path_of(entry: &Value) -> &str {
    entry.get("path").as_str().unwrap_or_default()
}

fn path_entry(path: &str) -> Value {
    let mut entry = Object::new();
    entry.insert("path", path.into());
    entry.into()
}

fn composites(policy: &Value) -> Result<Vec<Composite>, ServiceError> {
    let mut composites = Vec::new();
    for composite in entries(policy, "compositeIndexes")? {
        let Value::Array(items) = &composite else {
            return Err(invalid(format!("compositeIndexes {composite}")));
        };
        let mut paths = Vec::new();
        for item in items.iter() {
            let path = path_of(item);
            let steps = split_path(path).ok_or_else(|| invalid(format!("composite path '{path}'")))?;
            let descending =
                item.get("order").as_str().is_some_and(|order| order.eq_ignore_ascii_case("descending"));
            paths.push((steps, descending));
        }
        composites.push(paths);
    }
    Ok(composites)
}

fn invalid(reason: String) -> ServiceError {
    ServiceError::bad_request(format!("The indexing policy is not valid: {reason}."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn policy(text: &str) -> IndexingPolicy {
        IndexingPolicy::parse(&Value::parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_the_services() {
        assert_eq!(
            policy("{}").to_value().to_json(),
            r#"{"indexingMode":"consistent","automatic":true,"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/\"_etag\"/?"}]}"#
        );
        assert!(policy("{}").includes(&["a", "b"]));
        assert!(!policy("{}").includes(&["_etag"]));
    }

    #[test]
    fn the_most_specific_path_decides() {
        let policy = policy(
            r#"{"includedPaths":[{"path":"/a/?"},{"path":"/b/c/*"}],"excludedPaths":[{"path":"/*"},{"path":"/b/c/d/?"}]}"#,
        );
        assert!(policy.includes(&["a"]));
        assert!(!policy.includes(&["a", "x"]));
        assert!(policy.includes(&["b", "c", "e", "f"]));
        assert!(!policy.includes(&["b", "c", "d"]));
        assert!(policy.includes(&["b", "c", "d", "e"]));
        assert!(policy.includes(&["id"]));
        assert!(policy.includes(&["_ts"]));
        assert!(!policy.includes(&["other"]));
    }

    #[test]
    fn excluded_subtrees_are_pruned() {
        let policy = policy(
            r#"{"excludedPaths":[{"path":"/p/*"},{"path":"/q/*"}],"includedPaths":[{"path":"/*"},{"path":"/q/r/?"}]}"#,
        );
        assert!(policy.prunes(&["p"]));
        assert!(policy.prunes(&["p", "x"]));
        assert!(!policy.prunes(&["q"]));
        assert!(!policy.prunes(&["q", "r"]));
        assert!(policy.prunes(&["q", "s"]));
        assert!(!policy.prunes(&["other"]));
    }

    #[test]
    fn the_root_must_be_mentioned() {
        let value = Value::parse(br#"{"includedPaths":[{"path":"/a/?"}]}"#).unwrap();
        assert_eq!(IndexingPolicy::parse(&value).unwrap_err().status, 400);
    }

    #[test]
    fn composites_serve_both_directions() {
        let policy = policy(
            r#"{"compositeIndexes":[[{"path":"/a","order":"ascending"},{"path":"/b","order":"descending"}]]}"#,
        );
        let order = |a, b| [(vec!["a".to_owned()], a), (vec!["b".to_owned()], b)];
        assert!(policy.serves_order(&order(false, true)));
        assert!(policy.serves_order(&order(true, false)));
        assert!(!policy.serves_order(&order(false, false)));
    }
}
