//! Seeds that failed once, and what each of them found. They always run. A seed draws another story once the
//! simulator draws otherwise: what is here was seen to fail, by this simulator, without what it led to.

/// The seed, and what it found.
pub(crate) const REGRESSIONS: &[(u64, &str)] = &[
    (125, "a newcomer whose first word of itself was lost on all ways was a stranger for ever"),
    (
        393,
        "a member that was set back trusted a vector that did not tell of what came out of order",
    ),
];
