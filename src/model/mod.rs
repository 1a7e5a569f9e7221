//! How workflows are laid out in documents: partition keys, ids, tokens, document shapes.

pub(crate) mod documents;
pub(crate) mod items;
pub(crate) mod keys;
pub(crate) mod sizes;
pub(crate) mod tokens;
