//! Any text as a template and as a file of variables: both are decided, and escaped text comes out
//! as it was.

#![no_main]

use std::collections::BTreeSet;

use fizz::compose::{
    dotenv,
    interpolate::{
        Environment,
        template::{self, Variables},
    },
    problem::Problems,
    tree::SourceId,
};
use libfuzzer_sys::fuzz_target;

struct Known;

impl Variables for Known {
    fn get(&self, name: &str) -> Option<String> {
        (name.len() % 2 == 0).then(|| name.to_lowercase())
    }

    fn missing(&mut self, _: &str) {}
}

fuzz_target!(|text: &str| {
    let _either = template::substitute(text, &mut Known);
    let _mentions = template::mentions(text);
    let escaped = template::escape(text);
    assert_eq!(template::substitute(&escaped, &mut Known).as_deref(), Ok(text));

    let mut variables = Environment::new();
    let outer = |name: &str| Known.get(name);
    let (missed, problems) = (&mut BTreeSet::new(), &mut Problems::default());
    dotenv::parse(text.as_bytes(), SourceId(0), &outer, &mut variables, missed, problems);
    let _either = dotenv::parse_raw(text.as_bytes(), &outer, &mut variables);
});
