//! Reserved words. They are not usable as names: `c.value` is a syntax error, `c["value"]` is not.

macro_rules! keywords {
    ($($word:ident),* $(,)?) => {
        /// A reserved word, in any case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Keyword { $($word),* }

        impl Keyword {
            /// The keyword `text` spells, if it is one.
            pub(super) fn parse(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case(stringify!($word)) { return Some(Self::$word); })*
                None
            }

            /// The upper-case spelling.
            pub(super) fn text(self) -> String {
                match self { $(Self::$word => stringify!($word).to_ascii_uppercase()),* }
            }
        }
    };
}

// ESCAPE and RANK have a meaning in one place only and stay usable as names.
keywords! {
    And, Array, As, Asc, Between, By, Desc, Distinct, Exists, False, From, Group, In, Join, Like, Limit, Not,
    Null, Offset, Or, Order, Select, Top, True, Udf, Undefined, Value, Where,
}
