//! Seeds that failed once, and what each of them found. They always run.

/// The seed, and what it found.
pub(crate) const REGRESSIONS: &[(u64, &str)] = &[
    (3, "a member without the newest key rejected all that was sealed for it under the older one"),
    (8, "who was let in while the key was changed elsewhere never got the new one"),
    (14, "a member that was away while the others forgot the older key went on using that one"),
    (25, "members that vouch for nothing told no digest, and none compared with another any more"),
    (62, "what came out of order from a writer that is gone kept all removals for ever"),
    (
        231,
        "a member that was set back asked one other, which had missed what it wrote, and wrote on",
    ),
];
