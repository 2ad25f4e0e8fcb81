//! Seeds that failed once, and what each of them found. They always run. What is here was seen to fail, without
//! what it led to, by the simulator of its time: a seed draws another story once the simulator draws otherwise.

/// The seed, and what it found.
pub(crate) const REGRESSIONS: &[(u64, &str)] = &[
    (125, "a newcomer whose first word of itself was lost on all ways was a stranger for ever"),
    (
        393,
        "a member that was set back trusted a vector that did not tell of what came out of order",
    ),
    (275, "the simulator took for a replay what had not opened when it came first"),
    (
        402,
        "a peer went on relying on what a member had before it was set back, and collected nothing",
    ),
    (403, "pieces of a stream overtook one another in a member that was stopped"),
    (
        418,
        "a member that was set back did not try the key that a peer had, and trusted one that knew less",
    ),
    (558, "the simulator sent those back into a part of the cluster that the rest does not hear"),
    (626, "a member that was set back was not heard: it tried its oldest and its newest key only"),
    (
        997,
        "a member that was set back trusted a digest that did not tell of what came out of order",
    ),
];

/// The same of what runs where.
pub(crate) const ORCHESTRA_REGRESSIONS: &[(u64, &str)] = &[(
    150,
    "the simulator took for a forged datagram's doing what the node had to look at once more",
)];
