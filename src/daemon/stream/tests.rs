//! Streams over loopback: who gets one, who does not, and what becomes of bytes that are tampered with.

use std::{io, time::Duration};

use ed25519_dalek::SigningKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::Instant,
};

use super::{
    handshake::{FIRST_BYTES, GO_ON, SECOND_BYTES, THIRD_BYTES, begin, write},
    proof::Side,
    *,
};
use crate::{
    gossip::{ClusterSecret, Epoch, Keyring, Role, Token, TokenFields},
    model::{ClusterId, Random, TokenId},
};

type Accepted = Result<(SecureStream, Peer, Prelude), AcceptError>;
type Dialled = Result<(SecureStream, Peer), DialError>;

/// Longer than a handshake takes without optimisation on a machine that does much else.
const SPAN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn with_each_credential_both_know_who_the_other_is() {
    let (token, secret) = (token(), secret());
    let joining = |credential| Prelude { purpose: Purpose::Join, credential };
    let (cluster, epoch) = (secret.cluster_hash(), secret.epoch);
    let all = [
        (joining(Credential::Token(*token.fields())), token.psk()),
        (joining(Credential::Secret { cluster, epoch }), secret.psk()),
        (member(), member_key()),
    ];
    for (prelude, psk) in all {
        let server = Server::start().await;
        let opened = server.opened_with(prelude, psk, Some(bob().id()));
        let (dialled, accepted) = tokio::join!(opened, server.accept());
        let ((_, bobs), (_, alices, heard)) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!((bobs.id, alices.id, heard), (bob().id(), alice().id(), prelude));
        assert_eq!((bobs.version, alices.version), (version(), version()));
    }
}

#[tokio::test]
async fn a_handshake_moves_between_threads_and_holds_little() {
    fn bytes_of(it: &(impl Send + ?Sized)) -> usize {
        size_of_val(it)
    }
    let (server, identity, key) = (Server::start().await, alice(), member_key());
    let opens = connect(&server.address, member(), &key, &identity, None);
    let tcp = TcpStream::connect(&server.address).await.unwrap();
    let answers = accept(tcp, &identity, |_| Err(Refusal::Busy));
    for bytes in [bytes_of(&opens), bytes_of(&answers)] {
        assert!(bytes < 8 << 10, "{bytes}");
    }
}

#[tokio::test]
async fn what_is_written_in_whatever_pieces_comes_out_both_ways_and_then_ends() {
    for seed in 0..3 {
        let (alice, bob) = pair().await;
        let (from_bob, to_bob) = tokio::io::split(alice);
        let (from_alice, to_alice) = tokio::io::split(bob);
        let (one, other) = (noise_bytes(seed, 1 << 20), noise_bytes(!seed, 1 << 20));
        let (_, _, at_bob, at_alice) = tokio::join!(
            send_in_pieces(to_bob, &one, seed),
            send_in_pieces(to_alice, &other, seed + 10),
            take_in_pieces(from_alice, seed + 20),
            take_in_pieces(from_bob, seed + 30),
        );
        assert!(at_bob.unwrap() == one && at_alice.unwrap() == other, "seed {seed}");
    }
}

#[tokio::test]
async fn one_direction_ends_while_the_other_goes_on() {
    let (mut alice, mut bob) = pair().await;
    alice.write_all(b"question").await.unwrap();
    alice.shutdown().await.unwrap();
    assert_eq!(everything(&mut bob).await.unwrap(), b"question");
    assert_eq!(bob.read(&mut [0; 9]).await.unwrap(), 0, "the end stays the end");
    let late = alice.write_all(b"more").await.unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    bob.write_all(b"answer").await.unwrap();
    bob.shutdown().await.unwrap();
    assert_eq!(everything(&mut alice).await.unwrap(), b"answer");
}

#[tokio::test]
async fn messages_larger_than_a_frame_travel_whole() {
    let (mut alice, mut bob) = pair().await;
    let sent = (7_u32, noise_bytes(1, 300_000));
    let (wrote, read) = tokio::join!(
        write_message(&mut alice, &sent, 1 << 20),
        read_message::<(u32, Vec<u8>)>(&mut bob, 1 << 20),
    );
    wrote.unwrap();
    assert!(read.unwrap() == sent);
    alice.shutdown().await.unwrap();
    let end = read_message::<u8>(&mut bob, 10).await.unwrap_err();
    assert!(matches!(end, MessageError::Ended), "{end}");
}

#[tokio::test]
async fn who_does_not_read_stops_the_writer_which_keeps_one_frame() {
    let (mut alice, bob) = pair().await;
    let piece = vec![0; 1 << 20];
    // What the kernel's buffers hold goes; then the writer waits.
    let stalled = async { while alice.write_all(&piece).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_millis(500), stalled).await.is_err());
    assert!(alice.held_bytes() <= (16 << 10) + 18, "{}", alice.held_bytes());
    drop(bob);
}

#[tokio::test]
async fn a_stream_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    // Between frames, and within the last one.
    for missing in [18, 17, 16, 1] {
        let (sent, whole) = (b"all of it", Wire::default());
        let (_, all) = session(&whole, sent).await;
        assert_eq!(all.unwrap(), sent);
        let length = whole.seen(Way::Forth);
        let cut = Wire { cut: Some(length - missing), ..Wire::default() };
        let (_, part) = session(&cut, sent).await;
        let error = part.unwrap_err();
        assert!(error.contains("cut off before its end"), "{missing} missing: {error}");
    }
}

#[tokio::test]
async fn a_changed_bit_anywhere_breaks_the_stream() {
    let clean = Wire::default();
    session(&clean, b"hello").await.1.unwrap();
    for way in [Way::Forth, Way::Back] {
        let length = clean.seen(way);
        // Every seventh byte, the last 60, and every bit of the last frame's length: tags, proofs, data and
        // the end are among them.
        let some = (0..length).filter(|it| it % 7 == 0 || length - 60 < *it);
        let lengths = (0..16).map(|bit| (length - 18 + bit / 8, 1 << (bit % 8)));
        for (at, bits) in some.map(|at| (at, 1 << (at % 8))).chain(lengths) {
            let wire = Wire { flip: Some((way, at, bits)), ..Wire::default() };
            let (alice, bob) = session(&wire, b"hello").await;
            let receiver = match way {
                Way::Forth => bob,
                Way::Back => alice,
            };
            assert!(receiver.is_err(), "{way:?} {at} {bits:#x} of {length}: {receiver:?}");
        }
    }
}

#[tokio::test]
async fn a_broken_stream_stays_broken_and_takes_nothing_more() {
    let clean = Wire::default();
    session(&clean, b"hello").await.1.unwrap();
    let at = clean.seen(Way::Forth) - 20;
    let wire = Wire { flip: Some((Way::Forth, at, 1)), ..Wire::default() };
    let (server, through) = (Server::start().await, wire.start().await);
    let alice = async {
        let (mut stream, _) = through.connect().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        everything(&mut stream).await.unwrap_err()
    };
    let bob = async {
        let (mut stream, _, _) = server.accept().await.unwrap();
        for _ in 0..2 {
            let error = everything(&mut stream).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert!(stream.write_all(b"more").await.is_err());
        stream.shutdown().await.unwrap();
    };
    let (end, (), ()) = tokio::join!(alice, bob, through.carry(&server.address));
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof, "the other side hears of it");
}

#[tokio::test]
async fn who_does_not_know_the_secret_gets_no_byte() {
    let server = Server::start().await;
    let prologue = member().encode();
    let mut noise = begin(Side::Initiator, &prologue, &Key::new([9; 32])).unwrap();
    let first: [u8; FIRST_BYTES] = write(&mut noise).unwrap();
    let asked = [&prologue[..], &first].concat();
    let (answer, accepted) = tokio::join!(raw(&server.address, &asked), server.accept());
    assert!(matches!(accepted, Err(AcceptError::Forged)));
    assert_eq!(answer, b"", "asked with another key");

    let (dialled, _) =
        tokio::join!(server.opened_with(member(), Key::new([9; 32]), None), server.accept(),);
    let said = problem(dialled);
    assert!(matches!(said, DialProblem::WrongSecret), "{said}");
    assert!(said.to_string().contains("get a new token from `fizz token create`"), "{said}");
}

#[tokio::test]
async fn a_token_with_a_changed_field_opens_nothing() {
    let fields = TokenFields { expires: u64::MAX, ..*token().fields() };
    let prelude = Prelude { purpose: Purpose::Join, credential: Credential::Token(fields) };
    let server = Server::start().await;
    let opened = server.opened_with(prelude, token().psk(), None);
    let (dialled, accepted) = tokio::join!(opened, server.accept());
    assert!(matches!(accepted, Err(AcceptError::Forged)));
    assert!(matches!(problem(dialled), DialProblem::WrongSecret));
}

#[tokio::test]
async fn a_recorded_handshake_gets_nothing_of_use() {
    let wire = Wire::default();
    session(&wire, b"hello").await.1.unwrap();
    let recorded = wire.bytes(Way::Forth);
    let mut answers = vec![];
    for _ in 0..2 {
        let server = Server::start().await;
        let (answer, accepted) = tokio::join!(raw(&server.address, &recorded), server.accept());
        assert!(matches!(accepted, Err(AcceptError::Forged)), "the third message is of other keys");
        assert_eq!(answer.len(), 1 + SECOND_BYTES, "no proof, no data");
        answers.push(answer);
    }
    // Nothing repeats, so nothing is learnt: fresh keys each time.
    let same = answers[0].iter().zip(&answers[1]).skip(1).filter(|(a, b)| a == b).count();
    assert!(same < 10, "{same} of {SECOND_BYTES} bytes alike");
}

#[tokio::test]
async fn a_peer_that_proves_to_be_another_node_is_refused() {
    let server = Server::start().await;
    let opened = server.opened_with(member(), member_key(), Some(alice().id()));
    let (dialled, _) = tokio::join!(opened, server.accept());
    let said = problem(dialled).to_string();
    let expected = format!("the node there is {} and not {}", bob().id(), alice().id());
    assert!(said.contains(&expected), "{said}");
}

#[tokio::test]
async fn who_knows_the_secret_but_proves_nobody_is_refused() {
    let server = Server::start().await;
    let stranger = async {
        // A proof of another handshake.
        let proof = |_: &[u8]| proof::prove(Side::Initiator, &alice(), &[0; 32]);
        to_the_end(by_hand(&server.address, proof).await.0).await
    };
    let (answer, accepted) = tokio::join!(stranger, server.accept());
    assert!(matches!(accepted, Err(AcceptError::Unproven)));
    assert_eq!(answer, b"", "not even who answers");
}

#[tokio::test]
async fn the_longest_frame_is_read_and_nothing_after_the_end() {
    let (server, longest) = (Server::start().await, noise_bytes(1, FRAME_BYTES_MAX - 16));
    let alice = async {
        let proof = |hash: &[u8]| proof::prove(Side::Initiator, &alice(), hash);
        let (mut tcp, mut noise) = by_hand(&server.address, proof).await;
        let mut frames = vec![];
        for clear in [&longest[..], &longest, b"", b"late"] {
            secure::seal(&mut noise, clear, &mut frames).unwrap();
        }
        assert!(secure::seal(&mut noise, &[0; FRAME_BYTES_MAX - 15], &mut vec![]).is_err());
        tcp.write_all(&frames).await.unwrap();
        tcp
    };
    let bob = async {
        let (mut stream, peer, _) = server.accept().await.unwrap();
        (peer, everything(&mut stream).await.unwrap(), stream)
    };
    let (_tcp, (peer, came, _)) = tokio::join!(alice, bob);
    assert_eq!(peer.id, self::alice().id());
    assert!(came == [&longest[..], &longest].concat());
}

#[tokio::test]
async fn each_refusal_reaches_who_asked_and_says_what_to_do() {
    let cases = [
        (Refusal::OtherVersion, "bring both to one version of fizz"),
        (Refusal::OtherCluster, "get a token of that cluster"),
        (Refusal::UnknownEpoch, "does not know key 7 of the cluster"),
        (Refusal::Busy, "try again in a few seconds"),
    ];
    for (refusal, expected) in cases {
        let server = Server::start().await;
        let bob = bob();
        let (dialled, accepted) = tokio::join!(server.connect(), async {
            accept(server.tcp().await, &bob, |_| Err(refusal)).await
        });
        assert!(matches!(accepted, Err(AcceptError::Refused(it)) if it == refusal));
        let said = problem(dialled).to_string();
        assert!(said.contains(expected), "{said}");
    }
    let server = Server::start().await;
    let (dialled, ()) = tokio::join!(server.connect(), async { turn_away(server.tcp().await) });
    assert!(matches!(problem(dialled), DialProblem::Busy));
}

#[tokio::test]
async fn another_version_is_told_so_whatever_it_goes_on_with() {
    let prelude = member().encode();
    for (at, byte) in [(4, 2), (5, 99), (6, 99)] {
        let mut other = [&prelude[..], &[7; 500]].concat();
        other[at] = byte;
        let server = Server::start().await;
        let (answer, accepted) = tokio::join!(raw(&server.address, &other), server.accept());
        assert!(matches!(accepted, Err(AcceptError::Prelude(_))));
        assert_eq!(answer, [Refusal::OtherVersion.code()]);
    }
}

#[tokio::test]
async fn garbage_gets_no_byte_and_breaks_nothing() {
    let server = Server::start().await;
    let mut random = Random::new(3);
    for case in 0..100 {
        let length = random.below(200);
        let mut garbage = noise_bytes(case, length);
        // Some of it begins right.
        let right = member().encode();
        let begins = random.below(2 * right.len()).min(right.len()).min(length);
        garbage[..begins].copy_from_slice(&right[..begins]);
        let (answer, accepted) = tokio::join!(raw(&server.address, &garbage), server.accept());
        let error = accepted.unwrap_err();
        let told = matches!(&error, AcceptError::Prelude(it) if *it != PreludeError::Foreign)
            || matches!(error, AcceptError::Refused(_));
        assert_eq!(answer.len(), usize::from(told), "case {case}: {error}");
    }
}

#[tokio::test]
async fn who_sends_a_byte_at_a_time_is_dropped_at_the_deadline() {
    let server = Server::start().await;
    let span = Duration::from_millis(100);
    let slow = async {
        let mut tcp = TcpStream::connect(&server.address).await.unwrap();
        for byte in member().encode().into_iter().cycle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if tcp.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    let began = Instant::now();
    let (accepted, ()) = tokio::join!(server.accept_within(span), slow);
    assert!(matches!(accepted, Err(AcceptError::Slow)));
    assert!(span <= began.elapsed() && began.elapsed() < SPAN);
}

#[tokio::test]
async fn who_never_answers_is_given_up_at_the_deadline() {
    let server = Server::start().await;
    let span = Duration::from_millis(100);
    let key = member_key();
    let dialled = connect_within(span, &server.address, member(), &key, &alice(), None).await;
    assert!(matches!(problem(dialled), DialProblem::Slow));
}

#[tokio::test]
async fn what_is_no_fizz_is_told_from_what_does_not_know_the_secret() {
    let answers = [
        (b"SSH-2.0-OpenSSH_10.0\r\n".to_vec(), "is not a fizz: check the port"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "is not a fizz: check the port"),
        ([&[GO_ON][..], &[1; SECOND_BYTES]].concat(), "does not know the cluster's secret"),
        (vec![GO_ON], "the connection broke during the handshake"),
        (vec![0xef], "only a newer fizz knows (239): upgrade fizz here"),
        (vec![], "it hung up on the first message"),
    ];
    for (answer, expected) in answers {
        let server = Server::start().await;
        let (dialled, ()) = tokio::join!(server.connect(), async {
            let mut tcp = server.tcp().await;
            tcp.write_all(&answer).await.unwrap();
            tcp.shutdown().await.unwrap();
            to_the_end(tcp).await;
        });
        let said = dialled.unwrap_err().to_string();
        assert!(said.contains(&server.address) && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn an_address_where_nothing_is_says_so() {
    let server = Server::start().await;
    drop(server.listener);
    let said = |address: String| async move {
        let key = member_key();
        connect(&address, member(), &key, &alice(), None).await.unwrap_err().to_string()
    };
    let closed = said(server.address).await;
    assert!(closed.contains("nothing listens there: check address and port"), "{closed}");
    for wrong in ["127.0.0.1", "127.0.0.1:port", ""] {
        let error = said(wrong.to_owned()).await;
        assert!(error.contains("write it as HOST:PORT"), "{error}");
    }
}

// What the stories are made of.

/// A node that is called.
struct Server {
    listener: TcpListener,
    address: String,
}

impl Server {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that what is written does not go at once.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    async fn accept(&self) -> Accepted {
        self.accept_within(SPAN).await
    }

    async fn accept_within(&self, span: Duration) -> Accepted {
        let lookup = |prelude: &Prelude| prelude.credential.psk(secret().cluster_hash(), &keys());
        accept_within(span, self.tcp().await, &bob(), lookup).await
    }

    async fn connect(&self) -> Dialled {
        self.opened_with(member(), member_key(), None).await
    }

    async fn opened_with(&self, prelude: Prelude, psk: Key, expected: Option<NodeId>) -> Dialled {
        connect_within(SPAN, &self.address, prelude, &psk, &alice(), expected).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forth,
    Back,
}

/// What is between two nodes, and does to their bytes what it likes.
#[derive(Default)]
struct Wire {
    /// Changes bits of one byte.
    flip: Option<(Way, usize, u8)>,
    /// Ends the way forth after so many bytes.
    cut: Option<usize>,
    log: [std::sync::Mutex<Vec<u8>>; 2],
}

/// A wire and where it is entered.
struct Through<'a>(&'a Wire, Server);

impl Wire {
    async fn start(&self) -> Through<'_> {
        Through(self, Server::start().await)
    }

    fn bytes(&self, way: Way) -> Vec<u8> {
        self.log[way as usize].lock().unwrap().clone()
    }

    fn seen(&self, way: Way) -> usize {
        self.bytes(way).len()
    }

    async fn carry_one(
        &self,
        way: Way,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let mut piece = [0; 1_000];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let begin = self.seen(way);
            self.log[way as usize].lock().unwrap().extend(&piece[..length]);
            if let Some((_, at, bits)) = self.flip.filter(|it| it.0 == way)
                && (begin..begin + length).contains(&at)
            {
                piece[at - begin] ^= bits;
            }
            let end = self.cut.filter(|_| way == Way::Forth).unwrap_or(usize::MAX);
            let may = length.min(end.saturating_sub(begin));
            if to.write_all(&piece[..may]).await.is_err() || may < length {
                break;
            }
        }
        // The other end may be gone, and then it does not matter.
        drop(to.shutdown().await);
    }
}

impl Through<'_> {
    async fn connect(&self) -> Dialled {
        self.1.connect().await
    }

    async fn carry(&self, address: &str) {
        let (from_alice, to_alice) = self.1.tcp().await.into_split();
        let (from_bob, to_bob) = TcpStream::connect(address).await.unwrap().into_split();
        tokio::join!(
            self.0.carry_one(Way::Forth, from_alice, to_bob),
            self.0.carry_one(Way::Back, from_bob, to_alice),
        );
    }
}

/// Alice opens a stream through a wire; both send something and take all that the other sent.
async fn session(wire: &Wire, sent: &[u8]) -> (Result<Vec<u8>, String>, Result<Vec<u8>, String>) {
    let (server, through) = (Server::start().await, wire.start().await);
    let talk = async |mut stream: SecureStream| {
        let talk = async {
            stream.write_all(sent).await?;
            stream.shutdown().await?;
            everything(&mut stream).await
        };
        talk.await.map_err(|it: io::Error| it.to_string())
    };
    let alice = async { talk(through.connect().await.map_err(|it| it.to_string())?.0).await };
    let bob = async { talk(server.accept().await.map_err(|it| it.to_string())?.0).await };
    let (alice, bob, ()) = tokio::join!(alice, bob, through.carry(&server.address));
    (alice, bob)
}

async fn pair() -> (SecureStream, SecureStream) {
    let server = Server::start().await;
    let (alice, bob) = tokio::join!(server.connect(), server.accept());
    (alice.unwrap().0, bob.unwrap().0)
}

/// Opens a stream step by step, with whatever proof.
async fn by_hand(
    address: &str,
    proof: impl FnOnce(&[u8]) -> Vec<u8>,
) -> (TcpStream, snow::TransportState) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let prologue = member().encode();
    let mut noise = begin(Side::Initiator, &prologue, &member_key()).unwrap();
    let first: [u8; FIRST_BYTES] = write(&mut noise).unwrap();
    tcp.write_all(&[&prologue[..], &first].concat()).await.unwrap();
    let mut second = [0; 1 + SECOND_BYTES];
    tcp.read_exact(&mut second).await.unwrap();
    noise.read_message(&second[1..], &mut []).unwrap();
    let mut last = write::<THIRD_BYTES>(&mut noise).unwrap().to_vec();
    let proof = proof(noise.get_handshake_hash());
    let mut noise = noise.into_transport_mode().unwrap();
    secure::seal(&mut noise, &proof, &mut last).unwrap();
    tcp.write_all(&last).await.unwrap();
    (tcp, noise)
}

/// Sends bytes as they are, ends, and takes all that comes.
async fn raw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    // It may have been closed by now.
    drop(tcp.shutdown().await);
    to_the_end(tcp).await
}

async fn to_the_end(mut tcp: TcpStream) -> Vec<u8> {
    let mut answer = vec![];
    if let Err(error) = tcp.read_to_end(&mut answer).await {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    answer
}

async fn everything(stream: &mut SecureStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn send_in_pieces(mut stream: impl AsyncWrite + Unpin, mut bytes: &[u8], seed: u64) {
    let mut random = Random::new(seed);
    while !bytes.is_empty() {
        let most = [10, 1_000, 100_000][random.below(3)];
        let length = (1 + random.below(most)).min(bytes.len());
        let taken = stream.write(&bytes[..length]).await.unwrap();
        bytes = &bytes[taken..];
        if random.below(4) == 0 {
            stream.flush().await.unwrap();
        }
    }
    stream.shutdown().await.unwrap();
}

async fn take_in_pieces(mut stream: impl AsyncRead + Unpin, seed: u64) -> io::Result<Vec<u8>> {
    let (mut random, mut bytes) = (Random::new(seed), vec![]);
    loop {
        let most = [10, 1_000, 100_000][random.below(3)];
        let mut piece = vec![0; 1 + random.below(most)];
        match stream.read(&mut piece).await? {
            0 => return Ok(bytes),
            length => bytes.extend(&piece[..length]),
        }
    }
}

fn noise_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.bits() as u8).collect()
}

fn problem(dialled: Dialled) -> DialProblem {
    dialled.unwrap_err().why
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn alice() -> Identity {
    Identity::new(SigningKey::from_bytes(&[1; 32]))
}

fn bob() -> Identity {
    Identity::new(SigningKey::from_bytes(&[2; 32]))
}

fn secret() -> ClusterSecret {
    ClusterSecret { cluster: ClusterId(5), epoch: Epoch(7), root: Key::new([3; 32]) }
}

fn keys() -> Keyring {
    secret().keyring()
}

fn token() -> Token {
    let (cluster, id, epoch) = (secret().cluster_hash(), TokenId(8), Epoch(7));
    let (expires, uses, role) = (1_800_000_000, 1, Role::Member);
    Token::mint(&keys(), TokenFields { cluster, id, epoch, expires, uses, role }).unwrap()
}

fn member() -> Prelude {
    let (cluster, epoch) = (secret().cluster_hash(), secret().epoch);
    Prelude { purpose: Purpose::Sync, credential: Credential::Member { cluster, epoch } }
}

fn member_key() -> Key {
    keys().stream_key(Epoch(7)).unwrap()
}
