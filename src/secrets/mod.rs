//! Sealed values: what is secret is stored and travels only as ciphertext.
//!
//! Pure but for one thing: [`age`] draws its file keys and ephemeral keys from the operating system's
//! random numbers, which is where they must come from.

mod vault;

pub use vault::{Vault, VaultError};
