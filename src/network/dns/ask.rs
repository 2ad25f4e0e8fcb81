//! The host's resolvers from outside: which they are, and whether they answer at all.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

use super::{sockets::DNS_PORT, upstreams::listed};

/// How long a resolver may take, and how often it is asked: a datagram may be lost.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const QUESTIONS: usize = 2;

/// Those that resolv.conf(5) names.
pub fn resolvers(resolv_conf: &Path) -> io::Result<Vec<IpAddr>> {
    match fs::read(resolv_conf) {
        Ok(content) => Ok(listed(&content)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(why) => Err(why),
    }
}

/// Whether a resolver answers: what the root's servers are called every one knows, or says that it does not.
pub async fn answers(resolver: IpAddr) -> bool {
    for _ in 0..QUESTIONS {
        if timeout(ANSWER_MAX, ask(resolver)).await.is_ok_and(|it| it.is_ok()) {
            return true;
        }
    }
    false
}

async fn ask(resolver: IpAddr) -> io::Result<()> {
    question(resolver, Query::query(Name::root(), RecordType::NS)).await
}

/// Asks a resolver by a datagram, and waits until it says anything.
pub(super) async fn question(resolver: IpAddr, query: Query) -> io::Result<()> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query);
    let unspecified: IpAddr = match resolver {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).await?;
    socket.connect(SocketAddr::new(resolver, DNS_PORT)).await?;
    socket.send(&message.to_vec().map_err(io::Error::other)?).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}
