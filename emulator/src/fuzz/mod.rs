//! Fuzz targets: each takes any bytes and panics when the emulator does something wrong with what they describe.
//!
//! `cargo test -p cosmos-emulator fuzz` runs a fixed number of cases of each. `COSMOS_FUZZ_CASES` asks for more,
//! `COSMOS_FUZZ_SEED` is the first one's seed; a failing case prints its own. The same functions are the targets
//! of `cargo fuzz` in the folder `fuzz` of the crate, which looks for bytes that reach new code.

mod headers;
mod procedures;
mod sql;
#[cfg(test)]
mod tests;

pub use headers::headers;
pub use procedures::procedures;
pub use sql::sql;

use std::borrow::Cow;

/// Choices read from bytes. Behind their end every choice is the first, so that generators come to an end.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `limit`, which is at most 256.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// Whether one of `of` chances came true; never behind the end.
    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Fewer than `most` pieces, one behind the other.
    fn pieces(&mut self, from: &[&str], most: usize) -> String {
        (0..self.below(most)).map(|_| self.pick(from)).collect()
    }

    /// The text, or in one of three cases the text with some bytes changed.
    fn mangled<'t>(&mut self, text: &'t str) -> Cow<'t, [u8]> {
        if !self.one_in(3) {
            return text.as_bytes().into();
        }
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let (at, byte) = (self.below(256).min(bytes.len()), self.byte());
            match self.below(4) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.insert(at, byte),
            }
        }
        bytes.into()
    }
}
