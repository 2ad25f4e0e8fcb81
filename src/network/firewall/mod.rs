//! Who may speak to whom, and the ports that a node publishes, as tables of nftables(8).
//!
//! The tables are this node's own, and are set whole, in one transaction of the kernel: there is no moment
//! without them, and connections that are under way stay. Whoever else filters what is forwarded, as Docker
//! does in its chain, also has to let it pass: a packet passes only if all tables let it.

mod rules;

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

pub use rules::Rules;

/// Why the tables are not as they are to be.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program is not there, or cannot be run.
    #[error("can't run `{program}`: {why}; install the package nftables")]
    Program {
        /// Which.
        program: &'static str,
        /// What the system said.
        why: std::io::Error,
    },
    /// It refused.
    #[error("`{program}` refused: {why}")]
    Refused {
        /// Which.
        program: &'static str,
        /// What it said.
        why: String,
    },
}

/// Sets the tables.
pub async fn apply(rules: &Rules) -> Result<(), FirewallError> {
    run("nft", &["-f", "-"], &rules.text()).await.map(drop)
}

/// Takes the tables away.
pub async fn remove() -> Result<(), FirewallError> {
    run("nft", &["-f", "-"], &Rules::nothing()).await.map(drop)
}

/// Has others' filters let pass what goes through this node's links: iptables(8) drops what is forwarded where
/// Docker, or a distribution's firewall, has set its policy so. Where there is no iptables, nobody has.
pub async fn let_pass(links: &[&str]) -> Result<(), FirewallError> {
    for program in ["iptables", "ip6tables"] {
        let rules = match run(program, &["-w", "-S"], "").await {
            Ok(rules) => rules,
            Err(FirewallError::Program { .. }) => continue,
            Err(error) => return Err(error),
        };
        if !rules.lines().any(|it| it == "-P FORWARD DROP" || it == "-N DOCKER-USER") {
            continue;
        }
        // Docker leaves this chain to others, and comes to it first.
        let users = rules.lines().any(|it| it == "-N DOCKER-USER");
        let chain = if users { "DOCKER-USER" } else { "FORWARD" };
        for link in links {
            for direction in ["-i", "-o"] {
                let rule = format!("-A {chain} {direction} {link} -j ACCEPT");
                if !rules.lines().any(|it| it == rule) {
                    let words = ["-w", "-I", chain, direction, link, "-j", "ACCEPT"];
                    run(program, &words, "").await?;
                }
            }
        }
    }
    Ok(())
}

/// All tables of nftables, as libnftables-json(5) has them.
pub async fn ruleset() -> Result<String, FirewallError> {
    run("nft", &["--json", "list", "ruleset"], "").await
}

/// iptables' rules in the kernel's older tables, by family: where there is no such program, nobody has set any.
pub async fn legacy_rules() -> Result<Vec<(&'static str, String)>, FirewallError> {
    let mut all = vec![];
    for (program, family) in [("iptables-legacy", "ip"), ("ip6tables-legacy", "ip6")] {
        match run(program, &["-S"], "").await {
            Ok(rules) => all.push((family, rules)),
            Err(FirewallError::Program { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn run(program: &'static str, words: &[&str], input: &str) -> Result<String, FirewallError> {
    let failed = |why| FirewallError::Program { program, why };
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FirewallError::Refused { program, why })
}
