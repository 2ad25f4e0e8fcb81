//! The connections of a namespace, as the kernel lists them (proc_pid_net(5)).

use std::{collections::BTreeSet, fs, io};

use super::{Namespace, NetworkError};

/// States of a connection (linux/tcp_states.h). Those in which its own side may still have something to say.
const LISTENS: &str = "0A";
const TALKS: [&str; 3] = ["01", "04", "08"];

/// How many connections there are to ports that are listened at.
pub fn incoming(namespace: &Namespace) -> Result<usize, NetworkError> {
    let tables = namespace.inside(|| {
        let read = |table| match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            // A kernel without IPv6 has no such table.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        Ok([read("tcp")?, read("tcp6")?])
    });
    let doing = || "count a container's connections".to_owned();
    let tables = tables.map_err(|why| NetworkError::Refused { doing: doing(), why })?;
    Ok(tables.iter().map(|it| count(it)).sum())
}

/// The same in one table.
fn count(table: &str) -> usize {
    let all = || table.lines().filter_map(socket);
    let ports: BTreeSet<&str> = all().filter(|it| it.state == LISTENS).map(|it| it.port).collect();
    all().filter(|it| ports.contains(it.port) && TALKS.contains(&it.state)).count()
}

struct Socket<'a> {
    port: &'a str,
    state: &'a str,
}

/// A line: its number, the local address, the remote one, the state.
fn socket(line: &str) -> Option<Socket<'_>> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    Some(Socket { port, state: words.nth(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_while_its_own_side_may_have_something_to_say() {
        let table = |states: &[&str]| {
            let head =
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
            let line = |state: &&str| {
                format!("\n   1: 0202640A:0050 6400A8C0:C350 {state} 00000000:00000000 00:00000000")
            };
            let outward = "\n   9: 0202640A:D431 0302640A:0050 01 00000000:00000000 00:00000000";
            format!("{head}{outward}{}", states.iter().map(line).collect::<String>())
        };
        assert_eq!(count(&table(&["0A"])), 0, "a connection to elsewhere counts");
        assert_eq!(count(&table(&["0A", "01", "08", "04"])), 3);
        assert_eq!(count(&table(&["0A", "06", "05", "0B", "03"])), 0, "what is over counts");
    }
}
