//! The host's resolvers: which they are, as resolv.conf(5) lists them, and that none of them asks us in turn.
//!
//! A resolver that passes questions to this server, as a host's own cache may that is set up to know the
//! cluster's names, would send each question round until every limit is reached. So each is sent a question
//! about a name that nobody else knows; if that comes in here, it is left out until it no longer does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use rand_core::{OsRng, RngCore};
use tokio::{
    fs::File,
    io::AsyncReadExt,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{ask::question, forward::lock};
use crate::topology::zone::{DOMAIN, DnsName, Resolvers};

/// How many resolvers are used, as in resolv.conf(5).
const UPSTREAMS_MAX: usize = 3;

/// How many are remembered that services name. Past it, all are made anew: that takes microseconds.
const FURTHER_MAX: usize = 256;

/// How much of the file is read.
const RESOLV_CONF_BYTES_MAX: u64 = 64 << 10;

/// How often it is looked at. It changes when a machine changes networks.
const RESOLV_CONF_EVERY_MILLIS: u64 = 1000;

/// How often it is looked whether a resolver asks us in turn, which may come about later.
const PROBE_EVERY_SECONDS: u64 = 60;

/// How long a question may take to come round.
const PROBE_MILLIS_MAX: u64 = 2000;

/// How long one resolver has to answer before the next is tried: all have their turn before an asker gives up.
const ATTEMPT_MILLIS: u64 = 1200;

/// How long one that was silent comes after the others.
const SILENT_SECONDS: u64 = 30;

/// What a name ends with that only we can ask for.
const PROBE: &str = "loop";

/// The host's resolvers.
pub(super) struct Upstreams {
    resolv_conf: PathBuf,
    own: BTreeSet<IpAddr>,
    upstreams: Mutex<Arc<[Arc<Upstream>]>>,
    /// Those that services name, as they were asked.
    further: Mutex<BTreeMap<IpAddr, Arc<Upstream>>>,
    /// What of the file's last content came of it.
    list: Arc<Mutex<List>>,
    /// The names that were asked for and did not come in yet.
    probes: Mutex<BTreeMap<DnsName, Arc<Notify>>>,
}

/// One of them. Each has a client of its own: one client for all gives each of them all the time that there
/// is, so that none is tried after a silent one.
struct Upstream {
    address: IpAddr,
    client: TokioResolver,
    silent_since: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct List {
    content: Option<Vec<u8>>,
    looping: BTreeSet<IpAddr>,
    probed: Option<Instant>,
}

/// Which resolvers pass questions to a server in turn, as it last found.
#[derive(Clone, Debug)]
pub struct Loops(Arc<Mutex<List>>);

impl Loops {
    /// Those.
    #[must_use]
    pub fn now(&self) -> BTreeSet<IpAddr> {
        lock(&self.0).looping.clone()
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("resolv_conf", &self.resolv_conf).finish_non_exhaustive()
    }
}

impl Upstreams {
    pub(super) fn new(resolv_conf: PathBuf, own: BTreeSet<IpAddr>) -> Self {
        Self {
            resolv_conf,
            own,
            upstreams: Mutex::new([].into()),
            further: Mutex::default(),
            list: Arc::default(),
            probes: Mutex::default(),
        }
    }

    /// Which of them pass questions to this server in turn.
    pub(super) fn loops(&self) -> Loops {
        Loops(Arc::clone(&self.list))
    }

    /// Asks one after the other, in the order in which they are listed, until one has an answer.
    pub(super) async fn ask(
        &self,
        of: &Resolvers,
        name: &Name,
        kind: RecordType,
    ) -> Result<Lookup, NetError> {
        let all = match of {
            Resolvers::Hosts => Arc::clone(&*lock(&self.upstreams)),
            Resolvers::Own(own) => self.further(own),
        };
        let mut in_turn: Vec<&Arc<Upstream>> = all.iter().collect();
        in_turn.sort_by_key(|it| it.is_silent());
        let mut outcome = Err(NetError::NoConnections);
        for upstream in in_turn {
            let asked = upstream.client.lookup(name.clone(), kind);
            outcome = timeout(Duration::from_millis(ATTEMPT_MILLIS), asked)
                .await
                .unwrap_or(Err(NetError::Timeout));
            let (has_answer, has_spoken) = match &outcome {
                Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))) => (true, true),
                Err(NetError::Dns(_)) => (false, true),
                Err(_) => (false, false),
            };
            *lock(&upstream.silent_since) = (!has_spoken).then(Instant::now);
            if has_answer {
                break;
            }
            debug!(upstream = %upstream.address, "this resolver has no answer");
        }
        outcome
    }

    /// The resolvers that a service names, but for this server.
    fn further(&self, own: &[IpAddr]) -> Arc<[Arc<Upstream>]> {
        let mut known = lock(&self.further);
        if FURTHER_MAX <= known.len() {
            known.clear();
        }
        let mut found = vec![];
        for address in own.iter().filter(|it| !self.own.contains(it)).take(UPSTREAMS_MAX) {
            let upstream = known.get(address).cloned().or_else(|| Upstream::new(*address));
            if let Some(upstream) = upstream {
                known.insert(*address, Arc::clone(&upstream));
                found.push(upstream);
            }
        }
        found.into()
    }

    /// Whether a question is one that we sent out. Whoever waits for that is told.
    pub(super) fn is_own_probe(&self, name: &DnsName) -> bool {
        let mut probes = lock(&self.probes);
        if probes.is_empty() {
            return false;
        }
        probes.remove(name).inspect(|it| it.notify_one()).is_some()
    }

    /// Follows the file, until others are to be asked than before.
    pub(super) async fn changed(&self) {
        loop {
            let content = self.read().await;
            let is_new = lock(&self.list).content.as_deref() != Some(&content);
            if is_new {
                let mut list = lock(&self.list);
                *list = List { content: Some(content), ..List::default() };
                self.apply(&list);
                return;
            }
            let before = lock(&self.list).probed;
            let due =
                before.is_none_or(|it| it.elapsed() >= Duration::from_secs(PROBE_EVERY_SECONDS));
            if due && self.probe_all(&content).await {
                return;
            }
            sleep(Duration::from_millis(RESOLV_CONF_EVERY_MILLIS)).await;
        }
    }

    /// The file; nothing, if it cannot be read, which is looked at again soon.
    async fn read(&self) -> Vec<u8> {
        let read = async {
            let mut content = vec![];
            let file = File::open(&self.resolv_conf).await?;
            file.take(RESOLV_CONF_BYTES_MAX).read_to_end(&mut content).await?;
            Ok::<_, io::Error>(content)
        };
        read.await.unwrap_or_default()
    }

    /// Sends each resolver a question that only we know. Whether others are to be asked than before.
    async fn probe_all(&self, content: &[u8]) -> bool {
        let all = self.usable(content);
        let comes_round = join_all(all.iter().map(|it| self.comes_round(*it))).await;
        let looping: BTreeSet<IpAddr> =
            all.into_iter().zip(comes_round).filter(|it| it.1).map(|it| it.0).collect();
        let mut list = lock(&self.list);
        list.probed = Some(Instant::now());
        if list.looping == looping {
            return false;
        }
        for upstream in looping.difference(&list.looping) {
            warn!(%upstream, "this resolver passes questions to us in turn; it is asked for nothing until it stops");
        }
        list.looping = looping;
        self.apply(&list);
        true
    }

    /// Whether a question to a resolver comes in here.
    async fn comes_round(&self, upstream: IpAddr) -> bool {
        let mut nonce = [0; 16];
        OsRng.fill_bytes(&mut nonce);
        let nonce = format!("{:032x}", u128::from_be_bytes(nonce));
        let text = format!("{nonce}.{PROBE}.{DOMAIN}");
        let (name, seen) = (DnsName::of_text(&text), Arc::new(Notify::new()));
        lock(&self.probes).insert(name.clone(), Arc::clone(&seen));
        let asked = async {
            let labels = text.split('.').map(str::as_bytes);
            let query = Query::query(Name::from_labels(labels).ok()?, RecordType::TXT);
            question(upstream, query).await.ok()
        };
        let asked = timeout(Duration::from_millis(PROBE_MILLIS_MAX), asked);
        let came = tokio::select! {
            biased;
            () = seen.notified() => true,
            _ = asked => false,
        };
        // What comes in while the answer does was sent before it.
        lock(&self.probes).remove(&name).is_none() || came
    }

    /// From now on, asks who is listed and does not ask us.
    fn apply(&self, list: &List) {
        let all = self.usable(list.content.as_deref().unwrap_or_default());
        let upstreams: Vec<IpAddr> =
            all.into_iter().filter(|it| !list.looping.contains(it)).collect();
        if upstreams.is_empty() {
            warn!(file = %self.resolv_conf.display(), "no resolver to pass questions to");
        } else {
            info!(?upstreams, "questions about other names go to the host's resolvers");
        }
        *lock(&self.upstreams) = upstreams.into_iter().filter_map(Upstream::new).collect();
    }

    /// The listed resolvers that are not this server.
    fn usable(&self, content: &[u8]) -> Vec<IpAddr> {
        listed(content).into_iter().filter(|it| !self.own.contains(it)).collect()
    }
}

/// The resolvers of resolv.conf(5). Link-local ones, with a zone, are left out: there is no way to say it.
pub(super) fn listed(content: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(content);
    let mut found: Vec<IpAddr> = vec![];
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten();
        let Some(address) = address.and_then(|it| it.parse::<IpAddr>().ok()) else { continue };
        let address = address.to_canonical();
        if !found.contains(&address) && found.len() < UPSTREAMS_MAX {
            found.push(address);
        }
    }
    found
}

impl Upstream {
    /// It remembers nothing: we do.
    fn new(address: IpAddr) -> Option<Arc<Self>> {
        let mut server = NameServerConfig::udp_and_tcp(address);
        server.trust_negative_responses = true;
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = Duration::from_millis(ATTEMPT_MILLIS);
        options.attempts = 1;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        match builder.build() {
            Ok(client) => Some(Arc::new(Self { address, client, silent_since: Mutex::default() })),
            Err(why) => {
                warn!(%address, %why, "can't ask this resolver");
                None
            }
        }
    }

    fn is_silent(&self) -> bool {
        let recent = |it: Instant| it.elapsed() < Duration::from_secs(SILENT_SECONDS);
        lock(&self.silent_since).is_some_and(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resolvers_of_the_file_are_used_each_once() {
        let content =
            b"# by hand\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \n\
            nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\nnameserver x\n\
            nameserver 192.0.2.2 # last\nnameserver 192.0.2.3\n\xff\n";
        let all: Vec<String> = listed(content).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
        assert!(listed(b"").is_empty());
    }

    #[test]
    fn this_server_is_not_among_its_own_resolvers() {
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        let upstreams = Upstreams::new("/nowhere".into(), [own].into());
        let usable = upstreams.usable(b"nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.1\n");
        assert!(usable.is_empty());
        assert_eq!(upstreams.usable(b"nameserver 192.0.2.2").len(), 1);
    }
}
