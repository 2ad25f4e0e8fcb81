//! A container of a service beside its replicas: `run`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Invocation,
    attached::{End, Join, carry},
    client::Route,
    containers::exit_with,
    deploy::{self, DeployFlags, Ways},
    deployments,
    error::CliError,
    exec::variables,
    images::{self, ImageFlags, PullWhen},
    project::{self, Project},
    terminal,
    watch::{self, Wanted, Watch},
};
use crate::{
    api::wire::{Created, Deployed, RunOneOff},
    compose::{LoadRequest, files::MemoryFiles, json as tree_json, load},
};

/// `fizz run`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RunArgs {
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    pub(super) rm: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// Run as specified username or uid
    #[arg(short, long)]
    pub(super) user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long)]
    pub(super) workdir: Option<String>,
    /// Override the entrypoint of the image
    #[arg(long)]
    pub(super) entrypoint: Option<String>,
    /// Add or override a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(super) label: Vec<String>,
    /// Assign a name to the container
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Don't start linked services
    #[arg(long)]
    pub(super) no_deps: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "PORTS")]
    pub(super) publish: Vec<String>,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long, conflicts_with = "publish")]
    pub(super) service_ports: bool,
    /// Keep STDIN open even if not attached (always on; for old habits)
    #[arg(short, long, hide = true)]
    pub(super) interactive: bool,
    /// Allocate a pseudo-TTY (on when standard output is a terminal; for old habits)
    #[arg(short, long, hide = true, overrides_with = "no_tty")]
    pub(super) tty: bool,
    /// Disable pseudo-TTY allocation
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    pub(super) no_tty: bool,
    /// Use the service's network aliases in the networks the container connects to
    #[arg(long)]
    pub(super) use_aliases: bool,
    /// Bind mount a volume
    #[arg(short, long, value_name = "VOLUME")]
    pub(super) volume: Vec<String>,
    /// Build image before starting container
    #[arg(long)]
    pub(super) build: bool,
    /// Pull image before running
    #[arg(long, value_name = "POLICY")]
    pub(super) pull: Option<PullWhen>,
    /// Pull without printing progress information
    #[arg(long)]
    pub(super) quiet_pull: bool,
    /// The service
    pub(super) service: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

/// `fizz run`.
pub(super) async fn run(invocation: &Invocation, args: RunArgs) -> Result<(), CliError> {
    let named = [args.service.clone()];
    let project = Project::load(&invocation.globals, &named, &invocation.output)?;
    project.service(&args.service)?;
    let tty = !args.no_tty && !args.detach && terminal::is_interactive();
    let request = run_request(&args, &project, tty)?;
    make_known(invocation, &project, &args).await?;
    let route = Route::to(&["deployments", &project.name, "services", &args.service, "run"]);
    let created: Created = invocation.client.post(&route, &request).await?;
    if args.detach {
        return invocation.output.line(args.name.as_deref().unwrap_or(&created.container));
    }
    let id = created.container;
    let route = Route::to(&["containers", &id, "attach"]).with("stdin", true);
    let session = invocation.client.session(&route, &Value::Null).await?;
    match carry(session, Join { tty, stdin: true }, &invocation.output).await? {
        End::Exited(code) => exit_with(code),
        End::Signalled(status) => {
            end_container(invocation, &id, args.rm).await?;
            Err(CliError::Exit(status))
        }
    }
}

/// After a signal: a container that is to be removed goes at once, another is left to its owner.
async fn end_container(invocation: &Invocation, id: &str, remove: bool) -> Result<(), CliError> {
    if !remove {
        invocation.output.note(&format!("container {id} goes on running; `fizz ps -a` lists it"));
        return Ok(());
    }
    let route = Route::to(&["containers", id]).with("force", true).with("volumes", true);
    match invocation.client.delete::<Value>(&route).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What to ask for.
fn run_request(args: &RunArgs, project: &Project, tty: bool) -> Result<RunOneOff, CliError> {
    let (publish, volumes) = long_syntax(&args.publish, &args.volume, &project.model)?;
    let label = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    Ok(RunOneOff {
        command: args.command.clone(),
        entrypoint: args.entrypoint.as_deref().map(words).transpose()?,
        name: args.name.clone(),
        environment: variables(&args.env),
        labels: args.label.iter().map(label).collect::<BTreeMap<_, _>>(),
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        tty,
        stdin: !args.detach,
        service_ports: args.service_ports,
        publish,
        volumes,
        use_aliases: args.use_aliases,
        remove: args.rm,
        no_deps: args.no_deps,
        detach: args.detach,
    })
}

/// Has the daemon know the service, its image and what it depends on, without starting it.
async fn make_known(
    invocation: &Invocation,
    project: &Project,
    args: &RunArgs,
) -> Result<(), CliError> {
    let named = [args.service.clone()];
    let route = Route::to(&["deployments", &project.name]);
    let deployment = deployments::get_optional(&invocation.client, &route).await?;
    let known = |name: &str| {
        deployment
            .iter()
            .flat_map(|it| &it.services)
            .any(|it| it.name == name && it.intent != "remove")
    };
    let mut watch = Watch::begin(invocation, &project.name).await?;
    let involved = deploy::involved(project, &named, args.no_deps)?;
    let credentials = images::credentials_for(invocation, &involved).await?;
    let flags = ImageFlags {
        pull: args.pull,
        build: args.build,
        no_build: false,
        quiet_pull: args.quiet_pull,
    };
    let images =
        images::prepare(invocation, project, &involved, &flags, &credentials, &watch.screen)
            .await?;
    if involved.iter().all(|it| known(it.name.as_str())) {
        return Ok(());
    }
    let services: Vec<String> = involved.iter().map(|it| it.name.to_string()).collect();
    let ways = Ways { no_deps: true, ..Ways::default() };
    let flags = DeployFlags { no_recreate: true, ..DeployFlags::default() };
    let mut request = deploy::request(project, &services, &flags, &ways)?;
    if !known(&args.service) {
        request.scale.insert(args.service.clone(), 0);
    }
    (request.images, request.credentials) = (images, credentials);
    let deployed: Deployed = invocation.client.post(&Route::to(&["deployments"]), &request).await?;
    let wanted: Wanted = services.into_iter().filter(|it| *it != args.service).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    watch.until(deployed.event, None, |now| watch::started(now, &wanted)).await.map(|_| ())
}

/// `-p` and `-v` in the long syntax, by the same rules as in a file: as a file of one service.
fn long_syntax(
    publish: &[String],
    volumes: &[String],
    model: &Value,
) -> Result<(Vec<Value>, Vec<Value>), CliError> {
    if publish.is_empty() && volumes.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let working_dir =
        project::working_dir().map_err(CliError::io("can't find the working directory"))?;
    let path = working_dir.join("options.json");
    let named = model.get("volumes").cloned().unwrap_or_else(|| json!({}));
    let text = json!({
        "name": "options", "volumes": named,
        "services": {"run": {"image": "x", "ports": publish, "volumes": volumes}},
    });
    let files = MemoryFiles([(path.clone(), text.to_string().into_bytes())].into());
    let mut request = LoadRequest {
        files: vec![path.display().to_string()],
        working_dir,
        ..LoadRequest::default()
    };
    request.options.interpolate = false;
    let loaded = load(&request, &files).map_err(|problems| {
        CliError::Usage(format!("--publish or --volume: {}", problems.to_string().trim_end()))
    })?;
    let model = tree_json::from_tree(&loaded.model);
    let list = |key: &str| {
        let list = model.pointer(&format!("/services/run/{key}")).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    Ok((list("ports"), list("volumes")))
}

/// Splits a command line into words as a shell does: blanks, quotes, backslashes.
fn words(line: &str) -> Result<Vec<String>, CliError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(CliError::Usage(format!("`{line}` has a quote that does not end")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_is_split_as_a_shell_would() {
        for (line, expected) in [
            ("sh -c 'a b'", vec!["sh", "-c", "a b"]),
            (r#"a\ b "c \" d"e"#, vec!["a b", "c \" de"]),
            ("'' x", vec!["", "x"]),
            ("  ", vec![]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert!(words("'a").is_err());
    }

    #[test]
    fn ports_and_volumes_follow_the_rules_of_a_file() {
        let model = json!({"volumes": {"data": {"name": "shop_data"}}});
        let (ports, volumes) =
            long_syntax(&["8080:80/udp".into()], &["data:/d:ro".into(), "/etc:/e".into()], &model)
                .unwrap();
        assert_eq!(ports[0]["target"], 80);
        assert_eq!(ports[0]["published"], "8080");
        assert_eq!(ports[0]["protocol"], "udp");
        assert_eq!(
            (&volumes[0]["type"], &volumes[0]["read_only"]),
            (&json!("volume"), &json!(true))
        );
        assert_eq!((&volumes[1]["type"], &volumes[1]["source"]), (&json!("bind"), &json!("/etc")));
        let error = long_syntax(&["80:http".into()], &[], &model).unwrap_err().to_string();
        assert!(error.contains("http"), "{error}");
    }
}
