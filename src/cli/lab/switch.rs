//! The network between the nodes: a bridge in a namespace of its own, to which nothing else is joined.

use std::{
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{
    boot::spawn_machine,
    engine::find,
    faults::{Faults, rules},
    links, namespaces,
    plan::{LabNode, Role},
    process::{self, Process},
    record::{Home, Lock},
};
use crate::cli::error::CliError;

/// The switch, started if it does not run.
pub(super) fn ensure(home: &Home, lock: &Lock) -> Result<Process, CliError> {
    if let Some(switch) = find_running(home)? {
        return Ok(switch);
    }
    namespaces::in_new_network(|| {
        links::make_bridge()?;
        spawn_machine(home, lock, Role::Switch, &home.run.join("switch.log"))
    })?;
    find_running(home)?.ok_or_else(|| {
        CliError::Failed(format!(
            "the switch ended at once; {} may say why",
            home.run.join("switch.log").display()
        ))
    })
}

/// The switch, if it runs.
pub(super) fn find_running(home: &Home) -> Result<Option<Process>, CliError> {
    let all = process::all().map_err(CliError::io("can't read /proc"))?;
    Ok(process::holders(&all, &home.name).remove(&Role::Switch))
}

/// Joins a node's network to the switch. What stands is left as it is.
pub(super) fn plug(
    switch: Process,
    node: LabNode,
    lab: u8,
    network: &File,
) -> Result<(), CliError> {
    namespaces::in_network(switch, || match links::has_port(node)? {
        true => Ok(()),
        false => links::make_port(node, lab, network),
    })
}

/// Cuts a node off.
pub(super) fn unplug(switch: Process, node: LabNode) -> Result<(), CliError> {
    namespaces::in_network(switch, || links::remove_port(node))
}

/// Makes the switch's faults these and no others, in one step.
pub(super) fn apply(home: &Home, faults: &Faults) -> Result<(), CliError> {
    let Some(switch) = find_running(home)? else {
        return Err(CliError::Failed(format!(
            "the switch of lab `{}` does not run; run `sudo fizz lab up --name {}`",
            home.name, home.name
        )));
    };
    let nft = find("nft").ok_or_else(|| {
        CliError::Failed(
            "`nft` is not installed, and the switch drops packets by it; its package is nftables"
                .to_owned(),
        )
    })?;
    let rules = rules(faults);
    namespaces::in_network(switch, || {
        let failed = CliError::io("can't run nft");
        let run = || {
            let mut nft = Command::new(nft)
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = nft.stdin.take() {
                stdin.write_all(rules.as_bytes())?;
            }
            nft.wait_with_output()
        };
        let output = run().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CliError::Failed(format!("nft refused the switch's rules: {said}")))
    })
}

/// Gives a switch that may be new the faults that are on record.
pub(super) fn apply_if_any(home: &Home) -> Result<(), CliError> {
    let faults = home.faults()?;
    if faults == Faults::default() { Ok(()) } else { apply(home, &faults) }
}
