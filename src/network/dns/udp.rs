//! Questions in datagrams.

use std::{io, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::UdpSocket, time::sleep};
use tracing::warn;

use super::{Shared, Step, message::DATAGRAM_BYTES_MAX};

/// The longest question that is read: what is longer is cut, and then not understood.
const QUESTION_BYTES_MAX: usize = 4096;

/// How many questions are answered before what was forwarded gets its turn.
const QUESTIONS_AT_ONCE: usize = 32;

/// How long nothing is read after the kernel refused to, so that an error that stays takes no processor.
const PAUSE_MILLIS: u64 = 100;

/// Answers what comes in on a socket, for ever.
pub(super) async fn serve(shared: &Shared, socket: &UdpSocket) {
    let mut forwarded = FuturesUnordered::new();
    let mut bytes = vec![0; QUESTION_BYTES_MAX];
    loop {
        tokio::select! {
            ready = socket.readable() => {
                if let Err(why) = ready {
                    pause(&why).await;
                    continue;
                }
            }
            Some((to, reply)) = forwarded.next(), if !forwarded.is_empty() => {
                send(socket, reply, to);
                continue;
            }
        }
        for _ in 0..QUESTIONS_AT_ONCE {
            let (length, from) = match socket.try_recv_from(&mut bytes) {
                Ok(it) => it,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) => {
                    pause(&why).await;
                    break;
                }
            };
            if from.port() == 0 || !shared.may_ask(from.ip()) {
                continue;
            }
            match shared.step(&bytes[..length], from.ip(), DATAGRAM_BYTES_MAX) {
                Step::Silence => {}
                Step::Reply(reply) => send(socket, reply, from),
                // No more wait than tickets are given.
                Step::Forward(request, of, ticket) => {
                    forwarded.push(async move { (from, shared.finish(request, of, ticket).await) })
                }
            }
        }
    }
}

/// Sends an answer. One that the kernel has no room for is lost like any datagram: the asker asks again.
fn send(socket: &UdpSocket, reply: Vec<u8>, to: std::net::SocketAddr) {
    if let Err(why) = socket.try_send_to(&reply, to) {
        tracing::debug!(%to, %why, "an answer was not sent");
    }
}

async fn pause(why: &io::Error) {
    warn!(%why, "can't read DNS questions; trying again");
    sleep(Duration::from_millis(PAUSE_MILLIS)).await;
}
