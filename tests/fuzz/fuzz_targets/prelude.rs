//! Whatever a stranger sends when it opens a stream: it decodes to a prelude that encodes to the same bytes,
//! or is refused.
#![no_main]

use fizz::daemon::stream::Prelude;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(prelude) = Prelude::decode(bytes) {
        assert_eq!(prelude.encode(), bytes);
    }
});
