//! Partition keys and slots.

use duroxide::providers::ProviderError;
use sha2::{Digest, Sha256};

/// Longest partition key value the service takes, in bytes of UTF-8 (hash version 2).
pub(crate) const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// The partition with the documents that belong to no instance.
pub(crate) const SYSTEM_PARTITION: &str = "$system";

/// Partitions of our own begin with this character; an instance id that does so gets a second one.
const SYSTEM_PREFIX: char = '$';

/// The partition of an instance. Any text is allowed, up to the service's limit.
///
/// # Errors
/// Permanent, if the id is too long.
pub(crate) fn instance_partition(operation: &str, instance: &str) -> Result<String, ProviderError> {
    let key = if instance.starts_with(SYSTEM_PREFIX) {
        format!("{SYSTEM_PREFIX}{instance}")
    } else {
        instance.to_owned()
    };
    check_length(operation, "instance id", key)
}

/// The instance a partition belongs to.
pub(crate) fn partition_instance(partition: &str) -> &str {
    match partition.strip_prefix(SYSTEM_PREFIX) {
        Some(rest) if rest.starts_with(SYSTEM_PREFIX) => rest,
        _ => partition,
    }
}

/// The partition of a session: its document is alone there, because sessions span instances.
///
/// # Errors
/// Permanent, if the id is too long.
pub(crate) fn session_partition(operation: &str, session: &str) -> Result<String, ProviderError> {
    check_length(operation, "session id", format!("{SYSTEM_PREFIX}session/{session}"))
}

fn check_length(operation: &str, what: &str, key: String) -> Result<String, ProviderError> {
    if key.len() <= MAX_PARTITION_KEY_BYTES {
        return Ok(key);
    }
    let start: String = key.chars().take(40).collect();
    Err(ProviderError::permanent(
        operation,
        format!(
            "{what} {start:?}… is {} bytes long, Cosmos DB takes {MAX_PARTITION_KEY_BYTES} in a partition key; use a shorter one",
            key.len()
        ),
    ))
}

/// The slot of a partition: a stable hash, so that processes can start their search at different places.
pub(crate) fn slot(partition: &str) -> u8 {
    Sha256::digest(partition.as_bytes())[0]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn instances_and_our_own_partitions_never_meet() {
        for instance in ["", "order-1", "$system", "$$x", "$session/s", "a/b\\c?d#e\"f'g", "日本\u{1}"] {
            let partition = instance_partition("test", instance).unwrap();
            assert_eq!(partition_instance(&partition), instance);
            assert_ne!(partition, SYSTEM_PARTITION);
            assert_ne!(partition, session_partition("test", "s").unwrap());
        }
    }

    #[test]
    fn too_long_is_a_permanent_error_that_names_the_limit() {
        assert!(instance_partition("test", &"x".repeat(2048)).is_ok());
        let error = instance_partition("enqueue", &"ü".repeat(1025)).unwrap_err();
        assert!(
            !error.is_retryable() && error.message.contains("2050") && error.message.contains("2048"),
            "{error}"
        );
    }

    #[test]
    fn slots_are_stable() {
        assert_eq!(slot("order-1"), Sha256::digest(b"order-1")[0]);
        assert_eq!((slot(""), slot("a")), (0xe3, 0xca));
    }
}
