//! Generic netlink (the kernel's `Documentation/userspace-api/netlink/intro.rst`): families of messages that
//! have names, and for each boot a number, which the family `nlctrl` knows.

use std::{fmt::Debug, io};

use futures_util::StreamExt;
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use rtnetlink::{
    packet_core::{
        Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
        ParseableParametrized,
    },
    proto::{
        ConnectionHandle, NetlinkProtoError,
        sys::{SocketAddr, protocols::NETLINK_GENERIC},
    },
};

use crate::network::Namespace;

/// How something is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// For all that there is.
    Dump,
    /// To be done.
    Do,
    /// For one answer.
    One,
}

/// Says one message after the other to a family, and gives what it answered. The first refusal ends it.
pub(super) async fn ask<F>(host: &Namespace, how: Ask, messages: Vec<F>) -> io::Result<Vec<F>>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug + Unpin,
    GenlMessage<F>: Send,
{
    let family = family(host, F::family_name()).await?;
    exchange(host, how, family, messages).await
}

/// A family's number. Asking for it has the kernel load its module.
async fn family(host: &Namespace, name: &str) -> io::Result<u16> {
    let nlas = vec![GenlCtrlAttrs::FamilyName(name.to_owned())];
    let message = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas };
    let answers = exchange(host, Ask::One, 0, vec![message]).await?;
    let number = answers.iter().flat_map(|it| &it.nlas).find_map(|it| {
        let GenlCtrlAttrs::FamilyId(number) = it else { return None };
        Some(*number)
    });
    number.ok_or_else(|| io::Error::other(format!("the kernel does not say what {name} is")))
}

async fn exchange<F>(
    host: &Namespace,
    how: Ask,
    family: u16,
    messages: Vec<F>,
) -> io::Result<Vec<F>>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug + Unpin,
    GenlMessage<F>: Send,
{
    let connect = || rtnetlink::proto::new_connection::<GenlMessage<F>>(NETLINK_GENERIC);
    let (connection, kernel, _) = host.inside(connect)?;
    let all = async {
        let mut answers = vec![];
        for payload in messages {
            let mut message = GenlMessage::from_payload(payload);
            message.set_resolved_family_id(family);
            one(&kernel, how, message, &mut answers).await?;
        }
        Ok(answers)
    };
    tokio::select! {
        answers = all => answers,
        () = connection => Err(io::Error::other("the connection to the kernel ended")),
    }
}

async fn one<F>(
    kernel: &ConnectionHandle<GenlMessage<F>>,
    how: Ask,
    message: GenlMessage<F>,
    answers: &mut Vec<F>,
) -> io::Result<()>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Debug,
{
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST
        | match how {
            Ask::Dump => NLM_F_DUMP,
            Ask::Do => NLM_F_ACK,
            Ask::One => 0,
        };
    let failed = |why: NetlinkProtoError| io::Error::other(why.to_string());
    let mut parts = kernel.request(message, SocketAddr::new(0, 0)).map_err(failed)?;
    while let Some(part) = parts.next().await {
        if let NetlinkPayload::Error(why) = &part.payload
            && why.code.is_some()
        {
            return Err(why.to_io());
        }
        if let NetlinkPayload::InnerMessage(it) = part.payload {
            answers.push(it.payload);
        }
        if matches!(how, Ask::One) {
            break;
        }
    }
    Ok(())
}
