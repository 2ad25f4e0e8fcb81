//! Whatever comes out of a sealed datagram: it decodes to a packet that encodes to the same meaning, or is
//! refused.
#![no_main]

use fizz::gossip::Packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packet) = Packet::decode(bytes) {
        let again = packet.encode().expect("what was read is not too long");
        assert_eq!(Packet::decode(&again).as_ref(), Ok(&packet));
    }
});
