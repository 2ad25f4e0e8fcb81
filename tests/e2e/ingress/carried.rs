//! What a client gets, whichever way its packets go.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    time::Duration,
};

use fizz::{model::spec::Protocol, topology::Pool};

use super::stage::{
    Answer, Stage, TARGET, address, backend, client, doors, exchange_tcp, exchange_udp, on, serve,
};

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

#[tokio::test]
async fn a_container_reaches_a_published_port_of_its_host_and_itself_by_it() {
    let stage = Stage::new(2).await;
    for (to, v6) in doors(1).into_iter().zip([false, true]) {
        let of = |id: u8, last: u8| -> IpAddr {
            let v4 = std::net::Ipv4Addr::new(10, 100, id, last);
            if v6 { crate::mesh::plan().v6(v4).into() } else { v4.into() }
        };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let answers = stage.ask_often(stage.container(1), to, protocol, 30);
            // From itself it would take nothing.
            let itself = Some(Answer { by: 1, sees: of(1, 1) });
            let other = Some(Answer { by: 2, sees: of(1, 2) });
            assert_eq!(answers, [itself, other].into(), "{protocol:?} at {to}");
        }
    }
}

#[tokio::test]
async fn a_container_that_speaks_for_another_is_left_to_the_firewall() {
    let stage = Stage::new(2).await;
    let container = stage.container(1);
    let other = "10.100.1.77/32";
    container.run(&["ip", "addr", "add", other, "dev", "eth0"]);
    let own = stage.ask(container, doors(1)[0], Protocol::Tcp);
    assert!(own.is_some_and(|it| it.by == 1 || it.by == 2));
    container.run(&["ip", "route", "del", "default"]);
    let way = ["ip", "route", "add", "default", "via", "10.100.1.1", "dev", "eth0", "onlink"];
    container.run(&[&way[..], &["src", "10.100.1.77"]].concat());
    assert_eq!(stage.ask(container, doors(1)[0], Protocol::Udp), None);
}

#[tokio::test]
async fn who_may_not_come_in_gets_nothing_and_who_may_does() {
    let stage = Stage::new(2).await;
    let open: BTreeSet<_> = [backend(1, TARGET), backend(2, TARGET)].into();
    for (ranges, v4, v6) in [
        (&["198.51.100.0/24"][..], false, false),
        (&["192.0.2.64/26"][..], true, false),
        (&["192.0.2.100/32", "2001:db8::/64"][..], true, true),
    ] {
        let allowed = ranges.iter().map(|it| it.parse().unwrap()).collect();
        let pool = Pool { open: open.clone(), allowed, ..Pool::default() };
        stage.publish_pool(&pool, Duration::from_secs(20));
        for (to, may) in doors(1).into_iter().zip([v4, v6]) {
            let answer = stage.ask(&stage.client, to, Protocol::Udp);
            assert_eq!(answer.is_some(), may, "{ranges:?} at {to}");
        }
    }
}

#[tokio::test]
async fn with_affinity_a_client_meets_one_replica_whatever_port_it_comes_from() {
    let stage = Stage::new(3).await;
    let open = (1..=3).map(|it| backend(it, TARGET)).collect();
    let pool = Pool { open, affinity: true, ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    let all =
        (1..=3).flat_map(|host| stage.ask_often(&stage.client, doors(host)[0], Protocol::Tcp, 10));
    let all: BTreeSet<_> = all.collect();
    assert!(all.len() == 1 && !all.contains(&None), "by whichever host: {all:?}");
}

#[tokio::test]
async fn replicas_on_the_host_that_was_asked_go_first_as_long_as_there_are_any() {
    let stage = Stage::new(2).await;
    let open = |ids: &[u8]| ids.iter().map(|it| backend(*it, TARGET)).collect();
    let by = |to: u8| -> BTreeSet<u8> {
        let answers = stage.ask_often(&stage.client, doors(to)[0], Protocol::Tcp, 10);
        answers.into_iter().map(|it| it.unwrap().by).collect()
    };
    let pool = Pool { open: open(&[1, 2]), local_first: true, ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    assert_eq!((by(1), by(2)), ([1].into(), [2].into()));
    let pool = Pool { open: open(&[2]), local_first: true, ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    assert_eq!((by(1), by(2)), ([2].into(), [2].into()));
}

#[tokio::test]
async fn a_replica_that_refuses_gets_no_other_connection_until_it_is_well() {
    let stage = Stage::new(2).await;
    let (good, bad) = (backend(1, TARGET), backend(2, 81));
    let pool = Pool { open: [good, bad].into(), ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    let answers: Vec<Option<Answer>> =
        (0..60).map(|_| stage.ask(&stage.client, doors(1)[0], Protocol::Tcp)).collect();
    assert_eq!(answers.iter().filter(|it| it.is_none()).count(), 1, "{answers:?}");
    let down = stage.down(1);
    let at: Vec<_> = down.iter().map(|it| it.at).collect();
    assert_eq!(at, [(address(2), 81).into()]);
    assert_eq!(stage.down(2), [], "nobody came by the other host");
    serve(2, stage.container(2), 81);
    stage.take_back(1, down[0]);
    let by = stage.ask_often(&stage.client, doors(1)[0], Protocol::Tcp, 40);
    let by: BTreeSet<u8> = by.into_iter().map(|it| it.unwrap().by).collect();
    assert_eq!(by, [1, 2].into());
}

#[tokio::test]
async fn a_replica_that_is_silent_is_left_out_and_whoever_waits_for_it_gets_another() {
    let stage = Stage::new(2).await;
    let pool = Pool { open: [backend(1, TARGET), backend(2, TARGET)].into(), ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_millis(100));
    stage.container(2).run(&["ip", "link", "set", "eth0", "down"]);
    let answers: Vec<Option<Answer>> =
        (0..30).map(|_| stage.ask(&stage.client, doors(1)[0], Protocol::Tcp)).collect();
    assert!(answers.iter().all(|it| it.as_ref().is_some_and(|it| it.by == 1)), "{answers:?}");
    let at: Vec<_> = stage.down(1).iter().map(|it| it.at).collect();
    assert_eq!(at, [(address(2), TARGET).into()]);
}

#[tokio::test]
async fn the_last_replica_is_never_left_out() {
    let stage = Stage::new(1).await;
    let pool = Pool { open: [backend(1, 81)].into(), ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    assert_eq!(stage.ask(&stage.client, doors(1)[0], Protocol::Tcp), None);
    assert_eq!(stage.down(1), []);
    serve(1, stage.container(1), 81);
    assert!(stage.ask(&stage.client, doors(1)[0], Protocol::Tcp).is_some());
}

#[tokio::test]
async fn a_connection_goes_on_while_programs_are_replaced_and_when_its_replica_is_leaving() {
    let stage = Stage::new(2).await;
    let (one, two) = (backend(1, TARGET), backend(2, TARGET));
    let mut pool = Pool { open: [two].into(), ..Pool::default() };
    stage.publish_pool(&pool, Duration::from_secs(20));
    for to in doors(1) {
        let mut stream = on(&stage.client, || TcpStream::connect(to).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"one ").unwrap();
        stage.replace(1, &pool);
        stage.replace(2, &pool);
        stream.write_all(b"two ").unwrap();
        (pool.open, pool.closed) = ([one].into(), [two].into());
        stage.publish_pool(&pool, Duration::from_secs(20));
        assert_eq!(stage.ask(&stage.client, to, Protocol::Tcp).unwrap().by, 1, "a new one");
        stream.write_all(b"three").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("2 {}\none two three", client(to.is_ipv6())));
        (pool.open, pool.closed) = ([two].into(), BTreeSet::new());
        stage.publish_pool(&pool, Duration::from_secs(20));
    }
}
