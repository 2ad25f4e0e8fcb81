//! Compose files from end to end: golden cases of our own, properties, and the conformance corpus
//! where it lies beside the project.
//!
//! A case is a folder of `tests/compose/cases`: `input/` is the project, `request.json` what was
//! asked for, if anything, and `expected.yaml` or `expected_error.txt` what must come out. `BLESS=1`
//! writes what comes out; read the difference before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says whether the corpus is there"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fizz::compose::{
    LoadOptions, LoadRequest, Loaded,
    files::MemoryFiles,
    interpolate::template::{self, Variables},
    load,
    print::{self, Style},
    problem::Problems,
};
use proptest::prelude::*;
use serde_json::Value as Json;

const PROJECT: &str = "/project";

#[test]
fn every_case_comes_out_as_it_should() {
    let cases = cases();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let (file, other, text) = match outcome(case) {
            Ok(text) => ("expected.yaml", "expected_error.txt", text),
            Err(text) => ("expected_error.txt", "expected.yaml", text),
        };
        if bless {
            fs::write(case.join(file), &text).unwrap();
            drop(fs::remove_file(case.join(other)));
        }
        let expected = fs::read_to_string(case.join(file)).unwrap_or_default();
        if expected != text {
            wrong.push(format!(
                "--- {}\nexpected {file}:\n{expected}\ngot:\n{text}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn what_is_printed_loads_as_the_same() {
    for case in cases() {
        let (request, files) = project(&case);
        let Ok(loaded) = load(&request, &files) else { continue };
        let it = &request.options;
        let all = [it.interpolate, it.normalise, it.check_consistency, it.resolve_paths];
        if all.contains(&false) || !it.resolve_environment {
            continue;
        }
        let printed = print::yaml(&print::printable(loaded.model.clone()), Style::Project);
        let again = load_text(&printed)
            .unwrap_or_else(|problems| panic!("{}:\n{problems}\n{printed}", case.display()));
        let again = print::yaml(&print::printable(again.model), Style::Project);
        assert_eq!(again, printed, "{}", case.display());
    }
}

#[test]
fn the_conformance_corpus_passes_where_it_is_there() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/compose-corpus");
    if !corpus.join("check.py").exists() {
        println!("no corpus at {}: not run", corpus.display());
        return;
    }
    let fizz = format!("{} config --format json {{args}}", env!("CARGO_BIN_EXE_fizz"));
    let check = Command::new("python3")
        .args(["check.py", "--fail-only", &fizz])
        .current_dir(&corpus)
        .output()
        .expect("python3 runs check.py");
    let report = String::from_utf8_lossy(&check.stdout);
    println!("{report}{}", String::from_utf8_lossy(&check.stderr));
    let last = report.lines().last().unwrap_or_default();
    assert!(check.status.success() && last.ends_with(" passed, 0 failed"), "{report}");
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "[a-z0-9:{}\\[\\]&*!<>|$\"' \n-]{0,200}") {
        let _either = load_text(&text);
        let _either = load_text(&format!("services:\n  a:\n    image: x\n    ports: [{text}]\n"));
    }

    #[test]
    fn text_without_a_dollar_is_not_changed_by_interpolation(text in "[^$]{0,100}") {
        prop_assert_eq!(template::substitute(&text, &mut Nothing).unwrap(), text);
    }

    #[test]
    fn escaped_text_interpolates_to_itself(text in ".{0,100}") {
        prop_assert_eq!(template::substitute(&template::escape(&text), &mut Nothing).unwrap(), text);
    }

    #[test]
    fn any_value_survives_printing_and_loading(values in prop::collection::vec("\\PC{0,40}|[ \n\t:#'\"-]{0,6}", 1..5)) {
        let labels: BTreeMap<String, String> =
            values.iter().enumerate().map(|(it, value)| (format!("l{it}"), template::escape(value))).collect();
        let model = serde_json::json!({"name": "p", "services": {"a": {"image": "i", "labels": labels}}});
        let loaded = load_text(&model.to_string()).unwrap();
        let printed = print::printable(loaded.model.clone());
        let yaml = print::yaml(&printed, Style::Project);
        let json = print::json(&printed, Style::Project);
        for text in [&yaml, &json] {
            let again = load_text(text).unwrap();
            prop_assert_eq!(print::json(&again.model, Style::Tree), print::json(&loaded.model, Style::Tree), "{}", text);
        }
    }
}

struct Nothing;

impl Variables for Nothing {
    fn get(&self, _: &str) -> Option<String> {
        None
    }

    fn missing(&mut self, _: &str) {}
}

fn load_text(text: &str) -> Result<Loaded, Problems> {
    let path = PathBuf::from(PROJECT).join("compose.yaml");
    let files = MemoryFiles(BTreeMap::from([(path, text.into())]));
    let (working_dir, profiles) = (PROJECT.into(), vec!["*".into()]);
    load(&LoadRequest { working_dir, profiles, ..LoadRequest::default() }, &files)
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What a case comes to: the model as YAML, or the problems.
fn outcome(case: &Path) -> Result<String, String> {
    let (request, files) = project(case);
    let loaded = load(&request, &files).map_err(|problems| problems.to_string())?;
    let model = match request.options.interpolate {
        true => print::yaml(&print::printable(loaded.model), Style::Project),
        false => print::yaml(&loaded.model, Style::Tree),
    };
    let warnings = loaded.problems.to_string();
    Ok(warnings.lines().map(|it| format!("# {it}\n")).collect::<String>() + &model)
}

fn project(case: &Path) -> (LoadRequest, MemoryFiles) {
    let mut files = BTreeMap::new();
    collect(&case.join("input"), Path::new(PROJECT), &mut files);
    let request: Json = match fs::read_to_string(case.join("request.json")) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => Json::Null,
    };
    let text = |key: &str| request[key].as_str().map(str::to_owned);
    let list = |key: &str| -> Vec<String> {
        let items = request[key].as_array().into_iter().flatten();
        items.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let skips = |step: &str| list("skip").iter().any(|it| it == step);
    let environment = request["environment"].as_object().into_iter().flatten();
    let request = LoadRequest {
        files: list("files"),
        env_files: list("env_files"),
        profiles: list("profiles"),
        project_name: text("project_name"),
        project_directory: text("project_directory"),
        services: list("services"),
        working_dir: PROJECT.into(),
        environment: environment
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .chain([("HOME".to_owned(), "/home/user".to_owned())])
            .collect(),
        options: LoadOptions {
            interpolate: !skips("interpolate"),
            normalise: !skips("normalize"),
            check_consistency: !skips("consistency"),
            resolve_paths: !skips("path-resolution"),
            resolve_environment: !skips("env-resolution"),
            ..LoadOptions::default()
        },
    };
    (request, MemoryFiles(files))
}

fn collect(folder: &Path, shown: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let shown = shown.join(path.file_name().unwrap());
        if path.is_dir() {
            collect(&path, &shown, files);
        } else {
            files.insert(shown, fs::read(&path).unwrap());
        }
    }
}
