//! `fizz lab up` and `fizz lab down`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use clap::Args;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    LabOption, boot, engine,
    faults::Faults,
    form,
    plan::{Engine, NODES_MAX},
    record::{Home, Lock, Record},
};
use crate::cli::{
    Invocation,
    attached::Stop,
    error::CliError,
    output::{Output, ProgressMode},
};

/// A new lab's nodes, unless told otherwise.
const NODES_DEFAULT: u8 = 3;

/// `fizz lab up`.
#[derive(Args, Debug)]
pub(in crate::cli) struct UpArgs {
    #[command(flatten)]
    lab: LabOption,
    /// How many nodes [default: 3, or as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
    nodes: Option<u8>,
    /// What runs containers on each node [default: docker, or what is there]
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<Engine>,
    /// Leave the nodes on their own, instead of making them one cluster
    #[arg(long)]
    no_cluster: bool,
}

/// `fizz lab down`.
#[derive(Args, Debug)]
pub(in crate::cli) struct DownArgs {
    #[command(flatten)]
    lab: LabOption,
}

/// `fizz lab up`. A lab of the same shape is left, but for what does not run.
pub(super) async fn up(invocation: &Invocation, args: UpArgs) -> Result<(), CliError> {
    let output = invocation.output;
    let home = Home::of(args.lab.name.clone());
    let began = Instant::now();
    let lock = home.lock(|| wait_note(&output))?;
    let mut stop = Stop::new()?;
    let record = match home.record()?.filter(|it| it.ready) {
        Some(record) => {
            let record = same_shape(&home, record, &args)?;
            raise(&output, &home, &lock, record, &mut stop).await?;
            record
        }
        None => {
            let made = make(&output, &home, &lock, &args, &mut stop).await;
            if made.is_err() {
                note(&output, &format!(" Lab {}  Removing, as it did not come up", home.name));
                boot::clear(&home)?;
            }
            made?
        }
    };
    let (nodes, took) = (counted(record.nodes), began.elapsed().as_secs_f64());
    note(&output, &format!(" Lab {}  Up: {nodes} in {took:.1} s", home.name));
    Ok(())
}

/// A new lab.
async fn make(
    output: &Output,
    home: &Home,
    lock: &Lock,
    args: &UpArgs,
    stop: &mut Stop,
) -> Result<Record, CliError> {
    let runtime = args.runtime.unwrap_or(Engine::Docker);
    engine::need(runtime.needs(), &format!("a lab with --runtime {runtime}"))?;
    // What is left of an attempt that was interrupted.
    boot::clear_for_another(home)?;
    let record = home.claim(Record {
        number: 0,
        nodes: args.nodes.unwrap_or(NODES_DEFAULT),
        runtime,
        cluster: !args.no_cluster,
        ready: false,
    })?;
    raise(output, home, lock, record, stop).await?;
    let record = Record { ready: true, ..record };
    home.write(record)?;
    Ok(record)
}

/// Boots what does not run, and makes a cluster of a new lab's nodes.
async fn raise(
    output: &Output,
    home: &Home,
    lock: &Lock,
    record: Record,
    stop: &mut Stop,
) -> Result<(), CliError> {
    let halt = Arc::new(AtomicBool::new(false));
    let (to_boot, lock, halted) = (home.clone(), lock.share()?, Arc::clone(&halt));
    let mut booting =
        spawn_blocking(move || boot::boot_all(&to_boot, &lock, record, &record.nodes(), &halted));
    let booted = tokio::select! {
        booted = &mut booting => booted,
        status = stop.next() => {
            // Nothing may come into being while it is cleared away.
            halt.store(true, Ordering::Relaxed);
            drop(booting.await);
            return Err(interrupted(status));
        }
    };
    booted.map_err(|why| CliError::Failed(why.to_string()))??;
    tokio::select! {
        done = settle(output, home, record) => done,
        status = stop.next() => Err(interrupted(status)),
    }
}

async fn settle(output: &Output, home: &Home, record: Record) -> Result<(), CliError> {
    for node in record.nodes() {
        boot::answers(home, node).await?;
        note(output, &format!(" Node {node}  Answers at {}", home.host(node)));
    }
    if record.cluster {
        if !record.ready {
            form::form(home, record).await?;
        }
        // Nodes that are parted on purpose need not see one another.
        if home.faults()? == Faults::default() {
            form::together(home, record).await?;
            note(output, &format!(" Cluster  {} see one another", counted(record.nodes)));
        }
    }
    Ok(())
}

fn same_shape(home: &Home, record: Record, args: &UpArgs) -> Result<Record, CliError> {
    let same = args.nodes.is_none_or(|it| it == record.nodes)
        && args.runtime.is_none_or(|it| it == record.runtime)
        && (!args.no_cluster || !record.cluster);
    if same {
        return Ok(record);
    }
    Err(CliError::Failed(format!(
        "lab `{name}` is there already, with {} and --runtime {}{}; end it with `sudo fizz lab down --name {name}`, or give this one another --name",
        counted(record.nodes),
        record.runtime,
        if record.cluster { " as one cluster" } else { "" },
        name = home.name,
    )))
}

/// `fizz lab down`. What is not there is down already.
pub(super) fn down(invocation: &Invocation, args: DownArgs) -> Result<(), CliError> {
    let output = invocation.output;
    let home = Home::of(args.lab.name);
    let began = Instant::now();
    if !home.exists() && boot::running(&home)?.0.is_empty() {
        output.warn(&format!("there is no lab `{}`", home.name));
        return Ok(());
    }
    let _lock = home.lock(|| wait_note(&output))?;
    boot::clear(&home)?;
    let took = began.elapsed().as_secs_f64();
    note(&output, &format!(" Lab {}  Removed in {took:.1} s", home.name));
    Ok(())
}

/// A line about the work, unless nobody wants any.
pub(super) fn note(output: &Output, text: &str) {
    match output.progress {
        ProgressMode::Quiet => {}
        ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Plain => output.note(text),
    }
}

/// Why nothing happens yet.
pub(super) fn wait_note(output: &Output) {
    note(output, " Waiting for another `fizz lab` command");
}

fn interrupted(status: u8) -> CliError {
    CliError::Exit(status)
}

fn counted(nodes: u8) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}
