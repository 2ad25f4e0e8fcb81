//! Any bytes as what members and newcomers say on streams: read or refused, never a panic.

#![no_main]

use fizz::gossip::{Answer, Hello, Told, Want};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(told) = postcard::from_bytes::<Told>(bytes) {
        let _next = told.read();
    }
    if let Ok(want) = postcard::from_bytes::<Want>(bytes) {
        let _seen = want.seen();
    }
    let _hello = postcard::from_bytes::<Hello>(bytes);
    if let Ok(Answer::Welcome(welcome)) = postcard::from_bytes::<Answer>(bytes) {
        let _keys = welcome.keys();
    }
});
