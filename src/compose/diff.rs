//! What changed between two canonical services, field by field.

/// One field that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its path: `environment.LOG_LEVEL`.
    pub path: String,
    /// The value before; `None` when it was not set.
    pub old: Option<serde_json::Value>,
    /// The value after; `None` when it is removed.
    pub new: Option<serde_json::Value>,
}
