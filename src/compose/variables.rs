//! The variables of services, secrets and configs: looked up, or read from the files that services
//! name.

use std::path::Path;

use super::{
    dotenv,
    interpolate::Environment,
    normalise::{self, Request},
    places,
    problem::Problems,
    reader::Reader,
    tree::{self, Map, Node, Position, Value},
};

/// Gives the variables that a file only names the value that they have where that file was read.
/// Returns those that configs and secrets name, whose values are wanted later.
pub(super) fn look_up(model: &mut Node, environment: &Environment) -> Environment {
    places::each(model, "services.*.environment.*", &mut |node, path| {
        let Some(name) = path.last_key() else { return };
        if let (Value::Null, Some(value)) = (&node.value, environment.get(name)) {
            *node = Node::string(value, node.at);
        }
    });
    let mut wanted = Environment::new();
    for place in ["configs.*.environment", "secrets.*.environment"] {
        places::each(model, place, &mut |node, _| {
            let named = node.as_text().and_then(|it| environment.get_key_value(it));
            wanted.extend(named.map(|(name, value)| (name.clone(), value.clone())));
        });
    }
    wanted
}

/// Reads the files of variables and of labels of those services that `wanted` wants.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    model: &mut Node,
    environment: &Environment,
    wanted: impl Fn(&str) -> bool,
) {
    let Some(services) = model.as_map_mut().and_then(|it| it.get_mut("services")) else { return };
    let Some(map) = services.node.as_map_mut() else { return };
    let (chosen, mut others): (Map, Map) =
        std::mem::take(map).into_iter().partition(|(it, _)| wanted(it));
    *map = chosen;
    let reads_variables = reader.options.resolve_environment;
    let mut problems = std::mem::take(&mut reader.problems);
    let mut warnings = Vec::new();
    let mut read = |request: Request<'_>, known: &mut Environment| {
        let file = reader.files.read(Path::new(request.path));
        match file {
            Ok(bytes) => {
                let mut notes = Problems::default();
                let outcome = parse(&bytes, request, known, reader, &mut notes);
                warnings.extend(notes.sorted().iter().map(|it| notes.line(it)));
                outcome.map(|()| true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    };
    if reads_variables {
        normalise::environment(model, environment, &mut read, &mut problems);
    }
    normalise::labels(model, &mut read, &mut problems);
    for warning in warnings {
        problems.warn(Position::default(), tree::Path::default(), warning);
    }
    reader.problems = problems;
    if let Some(map) = model.as_map_mut().and_then(|it| it.get_mut("services")?.node.as_map_mut()) {
        map.append(&mut others);
    }
}

/// Reads one file. What is only a warning goes into `notes`, an error comes back as text.
fn parse(
    bytes: &[u8],
    request: Request<'_>,
    known: &mut Environment,
    reader: &mut Reader<'_>,
    notes: &mut Problems,
) -> Result<(), String> {
    match request.format {
        None | Some("") => {}
        Some("raw") => return dotenv::parse_raw(bytes, request.lookup, known),
        Some(other) => {
            return Err(format!("unsupported env_file format {other:?}; leave it out or use raw"));
        }
    }
    let mut problems = Problems::default();
    let source = problems.source(reader.name_of(Path::new(request.path)));
    dotenv::parse(bytes, source, request.lookup, known, &mut reader.missed, &mut problems);
    if !problems.has_errors() {
        *notes = problems;
        return Ok(());
    }
    let lines: Vec<String> = problems.sorted().iter().map(|it| problems.line(it)).collect();
    Err(lines.join("; "))
}
