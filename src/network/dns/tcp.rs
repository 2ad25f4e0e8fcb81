//! Questions in streams: each behind its length, one answered after the other (RFC 1035, 4.2.2; RFC 7766).

use std::{collections::BTreeMap, io, net::IpAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{Shared, Step};

/// How many connections a listener has, and how many of them with one address (RFC 7766, 6.2.2).
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_OF_ONE_MAX: usize = 16;

/// How long the next whole question may take (RFC 7766, 6.2.3), and an answer to be taken.
const IDLE_SECONDS_MAX: u64 = 10;
const WRITE_SECONDS_MAX: u64 = 5;

/// How long nobody is let in after the kernel refused to, as where there are no more descriptors.
const PAUSE_MILLIS: u64 = 100;

/// Answers who connects, for ever.
pub(super) async fn serve(shared: &Shared, listener: &TcpListener) {
    let mut connections = FuturesUnordered::new();
    let mut by_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => (stream, from.ip().to_canonical()),
                Err(why) => {
                    warn!(%why, "can't take DNS connections; trying again");
                    sleep(Duration::from_millis(PAUSE_MILLIS)).await;
                    continue;
                }
            },
            Some(gone) = connections.next(), if !connections.is_empty() => {
                if let Some(left) = by_address.get_mut(&gone) {
                    *left -= 1;
                    if *left == 0 {
                        by_address.remove(&gone);
                    }
                }
                continue;
            }
        };
        let of_one = by_address.get(&from).copied().unwrap_or(0);
        let full = CONNECTIONS_MAX <= connections.len() || CONNECTIONS_OF_ONE_MAX <= of_one;
        if full || !shared.may_ask(from) {
            continue;
        }
        by_address.insert(from, of_one + 1);
        connections.push(async move {
            if let Err(why) = converse(shared, stream, from).await {
                debug!(%from, %why, "a DNS connection broke");
            }
            from
        });
    }
}

/// Answers one connection's questions until it ends or says nothing for too long.
async fn converse(shared: &Shared, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    loop {
        let mut question = vec![];
        let read = timeout(Duration::from_secs(IDLE_SECONDS_MAX), async {
            let length = stream.read_u16().await?;
            question.resize(length.into(), 0);
            stream.read_exact(&mut question).await
        });
        match read.await {
            Ok(Ok(_)) => {}
            Ok(Err(why)) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(why)) => return Err(why),
            Err(_) => return Ok(()),
        }
        let reply = match shared.step(&question, from, u16::MAX.into()) {
            Step::Silence => return Ok(()),
            Step::Reply(reply) => reply,
            Step::Forward(request, of, ticket) => shared.finish(request, of, ticket).await,
        };
        let Ok(length) = u16::try_from(reply.len()) else { return Ok(()) };
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        let written = timeout(Duration::from_secs(WRITE_SECONDS_MAX), stream.write_all(&framed));
        match written.await {
            Ok(result) => result?,
            Err(_) => return Ok(()),
        }
    }
}
