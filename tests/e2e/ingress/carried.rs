//! What a client gets, whichever way its packets go.

use std::collections::BTreeSet;

use fizz::model::spec::Protocol;

use super::stage::{Answer, Stage, client, doors, exchange_tcp, exchange_udp, on};

#[tokio::test]
async fn every_host_leads_to_every_container_and_each_sees_the_client_itself() {
    let stage = Stage::new(3).await;
    for host in 1..=3 {
        for to in doors(host) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let answers = stage.ask_often(&stage.client, to, protocol, 40);
                let sees = client(to.is_ipv6());
                let expected: BTreeSet<Option<Answer>> =
                    (1..=3).map(|by| Some(Answer { by, sees })).collect();
                assert_eq!(answers, expected, "{protocol:?} at {to}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_large_arrives_whole_over_the_mesh_too() {
    let stage = Stage::new(2).await;
    stage.publish(&[2]);
    let asked: Vec<u8> = (0..4 << 20).map(|it: u32| (it % 251) as u8).collect();
    for to in doors(1) {
        let answer = on(&stage.client, || exchange_tcp(to, &asked)).unwrap();
        let line = answer.iter().position(|it| *it == b'\n').unwrap();
        assert!(answer[line + 1..] == asked, "{} of {} bytes at {to}", answer.len(), asked.len());
        for bytes in [1000, 1380, 1400, 1472, 4000, 20_000] {
            let answer = on(&stage.client, || exchange_udp(to, &asked[..bytes]));
            let answer = answer.unwrap_or_else(|| panic!("nothing for {bytes} bytes at {to}"));
            let line = answer.iter().position(|it| *it == b'\n').unwrap();
            assert!(answer[line + 1..] == asked[..bytes], "{bytes} bytes at {to}");
        }
    }
}
