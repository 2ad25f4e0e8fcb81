//! Links and addresses, over rtnetlink(7). A socket belongs to the network in which it was made, so all
//! of these work in the network of the thread that calls them.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Error, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use super::{plan::LabNode, record::Record};
use crate::cli::error::CliError;

/// The bridge in the switch.
const BRIDGE: &str = "lab";

/// A node's network card.
const CARD: &str = "eth0";

/// Bits of an address that are the lab's.
const PREFIX_BITS: u8 = 24;

/// Makes the bridge, unless it is there.
pub(super) fn make_bridge() -> Result<(), CliError> {
    run("make the switch's bridge", async |links| {
        if index(links, BRIDGE).await?.is_some() {
            return Ok(());
        }
        let bridge = LinkBridge::new(BRIDGE).mcast_snooping(false).up();
        links.link().add(bridge.build()).execute().await
    })
}

/// Whether a node's port is there.
pub(super) fn has_port(node: LabNode) -> Result<bool, CliError> {
    run("look at the switch's ports", async |links| Ok(index(links, &node.port()).await?.is_some()))
}

/// Makes a node's port, and its card at the other end in the node's network.
pub(super) fn make_port(node: LabNode, lab: u8, network: &File) -> Result<(), CliError> {
    run(&format!("make the port of node {node}"), async |links| {
        let bridge = index(links, BRIDGE).await?.ok_or(Error::RequestFailed)?;
        let card = card(node, lab, network.as_raw_fd());
        let port = LinkMessageBuilder::<LinkVeth>::new(&node.port(), CARD)
            .set_info_data(card)
            .controller(bridge)
            .up();
        links.link().add(port.build()).execute().await
    })
}

fn card(node: LabNode, lab: u8, network: RawFd) -> InfoData {
    let card = LinkMessageBuilder::<LinkUnspec>::new()
        .name(CARD)
        .address(node.mac(lab).to_vec())
        .setns_by_fd(network);
    InfoData::Veth(InfoVeth::Peer(card.build()))
}

/// Takes a node's port away, and with it its card.
pub(super) fn remove_port(node: LabNode) -> Result<(), CliError> {
    run(&format!("remove the port of node {node}"), async |links| {
        match index(links, &node.port()).await? {
            Some(index) => links.link().del(index).execute().await,
            None => Ok(()),
        }
    })
}

/// Gives the card its address, and tells it those of all other nodes. To be called in the node's network.
pub(super) fn set_up_card(node: LabNode, record: Record) -> Result<(), CliError> {
    run(&format!("set up the network of node {node}"), async |links| {
        let loopback = index(links, "lo").await?.ok_or(Error::RequestFailed)?;
        let card = index(links, CARD).await?.ok_or(Error::RequestFailed)?;
        for link in [loopback, card] {
            links.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await?;
        }
        let address = IpAddr::V4(node.address(record.number));
        links.address().add(card, address, PREFIX_BITS).replace().execute().await?;
        introduce(links, card, node, record).await
    })
}

/// The kernel keeps the hardware addresses that all networks of a machine have found in one table, which
/// holds 1,024 of them: fewer than 34 nodes that speak to one another find. What is permanent counts not.
async fn introduce(links: &Handle, card: u32, node: LabNode, record: Record) -> Result<(), Error> {
    for other in record.nodes().into_iter().filter(|it| *it != node) {
        let address = IpAddr::V4(other.address(record.number));
        let mac = other.mac(record.number);
        let neighbour = links.neighbours().add(card, address).link_layer_address(&mac);
        neighbour.replace().execute().await?;
    }
    Ok(())
}

async fn index(links: &Handle, name: &str) -> Result<Option<u32>, Error> {
    let mut found = links.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await {
        Ok(link) => Ok(link.map(|it| it.header.index)),
        Err(Error::NetlinkError(why)) if why.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(why) => Err(why),
    }
}

fn run<T>(doing: &str, work: impl AsyncFnOnce(&Handle) -> Result<T, Error>) -> Result<T, CliError> {
    let failed = |why: io::Error| CliError::io(format!("can't {doing}"))(why);
    let reactor = tokio::runtime::Builder::new_current_thread().enable_io().build();
    reactor.map_err(failed)?.block_on(async {
        let (connection, links, _) = rtnetlink::new_connection().map_err(failed)?;
        let result = tokio::select! {
            result = work(&links) => result,
            () = connection => Err(Error::RequestFailed),
        };
        result.map_err(|why| {
            if let Error::NetlinkError(why) = why {
                return failed(why.to_io());
            }
            CliError::Failed(format!("can't {doing}: {why}"))
        })
    })
}
