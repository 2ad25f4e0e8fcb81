//! Seeds that failed once, and what each of them found. They always run.

/// The seed, and what it found.
pub(crate) const REGRESSIONS: &[(u64, &str)] = &[];
