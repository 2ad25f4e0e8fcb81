//! `fizz config`: what a project comes to, in the forms that `docker compose config` has.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use sha2::{Digest as _, Sha256};

use super::{
    Invocation,
    disk::Disk,
    error::{CliError, listed},
    project,
};
use crate::compose::{
    LoadOptions, Loaded,
    interpolate::{self, template::Mention},
    load,
    print::{self, Style},
    tree::{Entry, Map, Node, Position, Value},
};

/// What to print of a project.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Print only these services and what they depend on
    services_named: Vec<String>,
    /// The format to print in
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only check, print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Print the names of the services, one per line
    #[arg(long, group = "what")]
    services: bool,
    /// Print the names of the volumes, one per line
    #[arg(long, group = "what")]
    volumes: bool,
    /// Print the names of the networks, one per line
    #[arg(long, group = "what")]
    networks: bool,
    /// Print the names of the models, one per line
    #[arg(long, group = "what")]
    models: bool,
    /// Print the names of the images, one per line
    #[arg(long, group = "what")]
    images: bool,
    /// Print the names of the profiles, one per line
    #[arg(long, group = "what")]
    profiles: bool,
    /// Print the variables that files may refer to
    #[arg(long, group = "what")]
    environment: bool,
    /// Print the variables that files refer to, and their defaults
    #[arg(long, group = "what")]
    variables: bool,
    /// Print a hash of each service's configuration, `*` for all services
    #[arg(long, value_name = "SERVICE", group = "what")]
    hash: Option<String>,
    /// Leave variables as they stand
    #[arg(long)]
    no_interpolate: bool,
    /// Do not write out what is implied
    #[arg(long)]
    no_normalize: bool,
    /// Do not check that the project makes sense as a whole
    #[arg(long)]
    no_consistency: bool,
    /// Leave relative paths as they stand
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not read the services' env_files
    #[arg(long)]
    no_env_resolution: bool,
    /// Pin images to digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print an override file that pins images to digests
    #[arg(long)]
    lock_image_digests: bool,
    /// Keep resources that no service uses
    #[arg(long)]
    all_resources: bool,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// Prints what was asked for.
pub(super) fn config(invocation: &Invocation, args: &ConfigArgs) -> Result<(), CliError> {
    if args.resolve_image_digests || args.lock_image_digests {
        let message = "fizz config does not ask registries for digests; write image@sha256:... in \
                       the file, or leave --resolve-image-digests and --lock-image-digests out";
        return Err(CliError::Failed(message.into()));
    }
    let loaded = loaded(args, invocation)?;
    if args.quiet {
        return Ok(());
    }
    let text = text(args, &loaded)?;
    match &args.output {
        Some(path) => {
            std::fs::write(path, text).map_err(CliError::io(format!("can't write {path}")))
        }
        None => invocation.output.bytes(text.as_bytes()),
    }
}

fn loaded(args: &ConfigArgs, invocation: &Invocation) -> Result<Loaded, CliError> {
    let mut request = project::load_request(&invocation.globals)?;
    // Lists of names and hashes are of the whole project, whichever services are named.
    let is_whole =
        args.services || args.volumes || args.networks || args.models || args.hash.is_some();
    if args.no_interpolate || args.variables {
        if !args.services_named.is_empty() {
            invocation.output.warn("variables stand as they are, so all services are shown");
        }
    } else if !is_whole {
        request.services.clone_from(&args.services_named);
    }
    request.options = LoadOptions {
        interpolate: !(args.no_interpolate || args.variables),
        normalise: !args.no_normalize,
        check_consistency: !args.no_consistency,
        resolve_paths: !args.no_path_resolution,
        resolve_environment: !args.no_env_resolution && (!is_whole || args.hash.is_some()),
        all_resources: args.all_resources,
        all_services: args.profiles,
    };
    let loaded = load(&request, &Disk::default());
    let (mut problems, loaded) = match loaded {
        Ok(loaded) => (loaded.problems.clone(), Some(loaded)),
        Err(problems) => (problems, None),
    };
    if invocation.globals.strict {
        problems.make_strict();
    }
    match loaded {
        Some(loaded) if !problems.has_errors() => {
            let warnings = listed(&problems);
            if !warnings.is_empty() {
                invocation.output.note(&warnings);
            }
            Ok(loaded)
        }
        _ => Err(CliError::Compose(Box::new(problems))),
    }
}

fn text(args: &ConfigArgs, loaded: &Loaded) -> Result<String, CliError> {
    let names = |section: &str| -> Vec<String> {
        let map = loaded.model.get(section).and_then(Node::as_map);
        map.into_iter().flat_map(Map::keys).cloned().collect()
    };
    Ok(if args.services {
        lines(names("services"))
    } else if args.volumes {
        lines(names("volumes"))
    } else if args.networks {
        lines(names("networks"))
    } else if args.models {
        lines(texts_of(loaded, "models", "model"))
    } else if args.images {
        lines(images(loaded))
    } else if args.profiles {
        lines(profiles(loaded))
    } else if args.environment {
        lines(loaded.environment.iter().map(|(name, value)| format!("{name}={value}")))
    } else if args.variables {
        variables(&loaded.model, args.format)
    } else if let Some(wanted) = &args.hash {
        hashes(loaded, wanted)?
    } else {
        model(loaded, args)
    })
}

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|it| it + "\n").collect()
}

fn model(loaded: &Loaded, args: &ConfigArgs) -> String {
    let (model, style) = match args.no_interpolate {
        true => (loaded.model.clone(), Style::Tree),
        false => (print::printable(loaded.model.clone()), Style::Project),
    };
    printed(&model, style, args.format)
}

fn printed(model: &Node, style: Style, format: Option<Format>) -> String {
    match format {
        None | Some(Format::Yaml) => print::yaml(model, style),
        Some(Format::Json) => print::json(model, style),
    }
}

fn services(loaded: &Loaded) -> impl Iterator<Item = (&String, &Node)> {
    let services = loaded.model.get("services").and_then(Node::as_map);
    services.into_iter().flatten().map(|(name, entry)| (name, &entry.node))
}

fn texts_of(loaded: &Loaded, section: &str, key: &str) -> Vec<String> {
    let members = loaded.model.get(section).and_then(Node::as_map).into_iter().flatten();
    members.filter_map(|(_, it)| Some(it.node.get(key)?.as_text()?.to_owned())).collect()
}

/// The image of each service, and those of its hooks that differ.
fn images(loaded: &Loaded) -> Vec<String> {
    let mut images = Vec::new();
    for (name, service) in services(loaded) {
        let own = service.get("image").and_then(Node::as_text).filter(|it| !it.is_empty());
        let own = own.map_or_else(|| format!("{}-{name}", loaded.name), str::to_owned);
        let hooks = service.get("pre_start").and_then(Node::as_list).unwrap_or_default();
        let others =
            hooks.iter().filter_map(|it| it.get("image")?.as_text()).filter(|it| *it != own);
        let others: Vec<String> = others.map(str::to_owned).collect();
        images.push(own);
        images.extend(others);
    }
    images
}

fn profiles(loaded: &Loaded) -> BTreeSet<String> {
    let lists = services(loaded).filter_map(|(_, it)| it.get("profiles")?.as_list());
    lists.flatten().filter_map(Node::as_text).map(str::to_owned).collect()
}

/// A hash of what makes a service's containers: how it is built, scaled and ordered does not.
fn hashes(loaded: &Loaded, wanted: &str) -> Result<String, CliError> {
    let wanted: BTreeSet<&str> = wanted.split(',').filter(|it| *it != "*").collect();
    let known: BTreeSet<&str> = services(loaded).map(|it| it.0.as_str()).collect();
    if let Some(unknown) = wanted.difference(&known).next() {
        let all: Vec<&str> = known.iter().copied().collect();
        let message = format!("no such service: {unknown}; the project has {}", all.join(", "));
        return Err(CliError::Failed(message));
    }
    let mut text = String::new();
    for (name, service) in services(loaded) {
        if !wanted.is_empty() && !wanted.contains(name.as_str()) {
            continue;
        }
        let mut service = service.clone();
        if let Some(map) = service.as_map_mut() {
            for key in ["build", "depends_on", "profiles", "pull_policy", "scale"] {
                map.remove(key);
            }
            if let Some(deploy) = map.get_mut("deploy").and_then(|it| it.node.as_map_mut()) {
                deploy.remove("replicas");
            }
        }
        let hash = Sha256::digest(print::json(&service, Style::Tree));
        let hex: String = hash.iter().map(|it| format!("{it:02x}")).collect();
        text.push_str(&format!("{name} {hex}\n"));
    }
    Ok(text)
}

fn variables(model: &Node, format: Option<Format>) -> String {
    let found = interpolate::mentions(model);
    let Some(format) = format else { return table(&found) };
    let nowhere = Position::default();
    let entry = |node| Entry { key_at: nowhere, node };
    let map = found.into_iter().map(|(name, mention)| {
        let Mention { default, alternative, required, .. } = mention;
        let fields = [
            ("name", Node::string(&name, nowhere)),
            ("defaultvalue", Node::string(default, nowhere)),
            ("presencevalue", Node::string(alternative, nowhere)),
            ("required", Node::bool(required, nowhere)),
        ];
        let fields: Map = fields.into_iter().map(|(key, it)| (key.into(), entry(it))).collect();
        (name, entry(Node::new(Value::Map(fields), nowhere)))
    });
    printed(&Node::new(Value::Map(map.collect()), nowhere), Style::Tree, Some(format))
}

fn table(found: &BTreeMap<String, Mention>) -> String {
    let header = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let rows = found.values().map(|it| {
        [it.name.clone(), it.required.to_string(), it.default.clone(), it.alternative.clone()]
    });
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    let width =
        |column: usize| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or(0) + 3;
    let widths = [width(0), width(1), width(2)];
    let line = |[name, required, default, alternative]: &[String; 4]| {
        let [a, b, c] = widths;
        let line = format!("{name:a$}{required:b$}{default:c$}{alternative}");
        line.trim_end().to_owned()
    };
    lines(rows.iter().map(line))
}
