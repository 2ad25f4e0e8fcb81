//! Whatever somebody pastes as a join token or as a cluster's secret: what is read is written as the same
//! text, but for case and the spaces around it, or is refused.
#![no_main]

use fizz::gossip::{ClusterSecret, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(*token.text(), text.trim().to_ascii_lowercase());
    }
    if let Ok(secret) = text.parse::<ClusterSecret>() {
        assert_eq!(*secret.text(), text.trim().to_ascii_lowercase());
    }
});
