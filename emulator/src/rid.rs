//! Resource ids: the `_rid` of databases, containers and what lives in them.
//!
//! A database has 4 bytes (big-endian), a container 8 (its high bit set), everything below 16: the container's
//! and a little-endian counter whose top nibble is the resource type. Written as base64 with `-` for `/`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Marks the container part of an id, so that it is never mistaken for a user or permission.
const CONTAINER_BIT: u32 = 0x8000_0000;
const KIND_SHIFT: u32 = 60;
const ORDINAL_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// The numbers of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContainerRid {
    pub(crate) database: u32,
    pub(crate) container: u32,
}

/// Types of resources below a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Document = 0,
    PartitionKeyRange = 5,
    Function = 6,
    Trigger = 7,
    Procedure = 8,
}

/// A decoded resource id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rid {
    Database(u32),
    Container(ContainerRid),
    /// The type nibble and the counter.
    Leaf(ContainerRid, u8, u64),
}

/// The `_rid` of a database.
pub(crate) fn database(number: u32) -> String {
    encode(&number.to_be_bytes())
}

impl ContainerRid {
    /// The 8 bytes, as they also prefix the keys on disk.
    pub(crate) fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.database.to_be_bytes());
        bytes[4..].copy_from_slice(&(self.container | CONTAINER_BIT).to_be_bytes());
        bytes
    }

    /// The `_rid` of the container.
    pub(crate) fn text(self) -> String {
        encode(&self.bytes())
    }

    /// The `_rid` of something in the container.
    pub(crate) fn leaf(self, kind: Leaf, ordinal: u64) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bytes());
        let tail = (ordinal & ORDINAL_MASK) | ((kind as u64) << KIND_SHIFT);
        bytes[8..].copy_from_slice(&tail.to_le_bytes());
        encode(&bytes)
    }

    /// The counter in `rid`, if it is a `kind` of this container.
    pub(crate) fn ordinal(self, kind: Leaf, rid: &str) -> Option<u64> {
        match parse(rid)? {
            Rid::Leaf(container, nibble, ordinal) if container == self && nibble == kind as u8 => {
                Some(ordinal)
            }
            _ => None,
        }
    }
}

/// Decodes `text`, if it has the form of a resource id.
pub(crate) fn parse(text: &str) -> Option<Rid> {
    let bytes = STANDARD.decode(text.replace('-', "/")).ok()?;
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if bytes.len() == 4 {
        return Some(Rid::Database(word(0)?));
    }
    let second = word(4)?;
    if second & CONTAINER_BIT == 0 {
        return None;
    }
    let container = ContainerRid { database: word(0)?, container: second & !CONTAINER_BIT };
    match bytes.len() {
        8 => Some(Rid::Container(container)),
        16 => {
            let tail = u64::from_le_bytes(bytes[8..].try_into().ok()?);
            // The shift leaves four bits.
            #[allow(clippy::cast_possible_truncation)]
            let kind = (tail >> KIND_SHIFT) as u8;
            Some(Rid::Leaf(container, kind, tail & ORDINAL_MASK))
        }
        _ => None,
    }
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('/', "-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let container = ContainerRid { database: 7, container: 9 };
        assert_eq!(parse(&database(7)), Some(Rid::Database(7)));
        assert_eq!(parse(&container.text()), Some(Rid::Container(container)));
        let rid = container.leaf(Leaf::Procedure, 300);
        assert_eq!(parse(&rid), Some(Rid::Leaf(container, 8, 300)));
        assert_eq!(container.ordinal(Leaf::Procedure, &rid), Some(300));
        assert_eq!(container.ordinal(Leaf::Document, &rid), None);
    }

    #[test]
    fn names_are_not_resource_ids() {
        assert_eq!(parse("mydb"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("no rid"), None);
    }
}
