//! Names of properties, shared between the documents that repeat them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// Longer names are rarely the same.
const MAX_BYTES: usize = 64;
/// Names that a thread remembers. Documents whose names are data, such as ids, must not fill the memory.
const MAX_NAMES: usize = 1024;

thread_local! {
    /// By thread, so that nobody waits for it.
    static NAMES: RefCell<HashSet<Arc<str>>> = RefCell::default();
}

/// `name`, in the memory of an earlier one where there is one.
pub(crate) fn shared(name: &str) -> Arc<str> {
    if name.len() > MAX_BYTES {
        return name.into();
    }
    NAMES.with_borrow_mut(|names| {
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        let name: Arc<str> = name.into();
        names.insert(Arc::clone(&name));
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one_and_the_memory_is_bounded() {
        assert!(Arc::ptr_eq(&shared("customer"), &shared("customer")));
        let long = "x".repeat(MAX_BYTES + 1);
        assert!(!Arc::ptr_eq(&shared(&long), &shared(&long)));
        for at in 0..3 * MAX_NAMES {
            assert_eq!(&*shared(&at.to_string()), at.to_string());
        }
        assert!(NAMES.with_borrow(HashSet::len) <= MAX_NAMES);
    }
}
