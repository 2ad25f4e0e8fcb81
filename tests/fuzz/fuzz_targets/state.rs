//! Whatever another member may send of the state: a write, a vector or an inventory decodes to what
//! encodes to the same meaning, or is refused. The first byte chooses.
#![no_main]

use fizz::state;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => {
            if let Ok(write) = state::decode_write(bytes) {
                let again = state::encode_write(&write).expect("what was read can be written");
                assert_eq!(state::decode_write(&again).ok(), Some(write));
            }
        }
        1 => {
            if let Ok(vector) = state::decode_vector(bytes) {
                let again = state::encode_vector(&vector).expect("what was read can be written");
                assert_eq!(state::decode_vector(&again).ok(), Some(vector));
            }
        }
        _ => {
            if let Ok(inventory) = state::decode_inventory(bytes) {
                let again = state::encode_inventory(&inventory).expect("what was read can be written");
                assert_eq!(state::decode_inventory(&again).ok(), Some(inventory));
            }
        }
    }
});
