//! Any bytes as a Compose file: the loader decides, within its bounds, and what it takes it prints
//! as something that it takes again.

#![no_main]

use std::{collections::BTreeMap, path::PathBuf};

use fizz::compose::{
    LoadRequest, Loaded,
    files::MemoryFiles,
    load,
    print::{self, Style},
    problem::Problems,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(loaded) = read(bytes) else { return };
    let printed = print::yaml(&print::printable(loaded.model), Style::Project);
    if let Err(problems) = read(printed.as_bytes()) {
        panic!("what was printed is refused:\n{problems}\n{printed}");
    }
});

fn read(bytes: &[u8]) -> Result<Loaded, Problems> {
    let folder = PathBuf::from("/project");
    let files = MemoryFiles(BTreeMap::from([(folder.join("compose.yaml"), bytes.to_vec())]));
    load(&LoadRequest { working_dir: folder, ..LoadRequest::default() }, &files)
}
