//! Messages: what is asked, from bytes, and what is answered, to bytes (RFC 1035, 4; RFC 6891).

use hickory_resolver::proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, HINFO, PTR, SOA, SRV},
    },
};

use crate::topology::zone::{
    Answer, Apex, DOMAIN, Data, DnsName, Kind, NEGATIVE_TTL_SECONDS, Question, TTL_SECONDS,
};

/// The largest datagram that is sent, whatever the asker would take (RFC 9715, 3.2).
pub(super) const DATAGRAM_BYTES_MAX: usize = 1232;

/// The largest datagram for who did not say what it takes (RFC 1035, 4.2.1).
const DATAGRAM_BYTES_MIN: usize = 512;

/// What every message begins with (RFC 1035, 4.1.1).
const HEADER_BYTES: usize = 12;

/// How many records a question may bring along: an OPT, and room for what others may come up with.
const FURTHER_RECORDS_MAX: u8 = 4;

/// How long the one record that answers ANY is valid: it never changes.
const MINIMAL_TTL_SECONDS: u32 = 3600;

/// What a message comes to.
pub(super) enum Parsed {
    /// It is no question, so that there is nothing to say to it.
    Silence,
    /// It is a question that is not taken; this says why.
    Wrong(Vec<u8>),
    /// It is a question.
    Right(Request),
}

/// A question with what its answer needs.
pub(super) struct Request {
    pub(super) question: Question,
    pub(super) query: Query,
    id: u16,
    pub(super) recursion_desired: bool,
    checking_disabled: bool,
    edns: bool,
    bytes_max: usize,
}

/// An answer before it is a message.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) code: ResponseCode,
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) further: Vec<Record>,
}

impl Response {
    pub(super) fn empty(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: vec![], authorities: vec![], further: vec![] }
    }
}

/// Reads a message. `bytes_max`: how long an answer may be at most on this way.
pub(super) fn parse(bytes: &[u8], bytes_max: usize) -> Parsed {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Parsed::Silence };
    let [a, b, flags, _, questions @ ..] = header;
    // An answer is never answered, or two servers would never stop.
    if flags & 0x80 != 0 {
        return Parsed::Silence;
    }
    let (id, op_code) = (u16::from_be_bytes([*a, *b]), OpCode::from_u8(flags >> 3 & 0x0f));
    let wrong = |code| {
        let reply = Message::error_msg(id, op_code, code).to_vec();
        reply.map_or(Parsed::Silence, Parsed::Wrong)
    };
    if op_code != OpCode::Query {
        return wrong(ResponseCode::NotImp);
    }
    // One question and nothing that is for answers (RFC 9619); more would only cost room.
    let [0, 1, 0, 0, 0, 0, 0, 0..=FURTHER_RECORDS_MAX] = questions else {
        return wrong(ResponseCode::FormErr);
    };
    let Ok(mut message) = Message::from_vec(bytes) else { return wrong(ResponseCode::FormErr) };
    let Some(query) = message.queries.pop() else { return wrong(ResponseCode::FormErr) };
    let edns = message.edns.as_ref();
    let takes = edns.map_or(DATAGRAM_BYTES_MIN, |it| it.max_payload().into());
    let bytes_max = if bytes_max == DATAGRAM_BYTES_MAX {
        takes.clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX)
    } else {
        bytes_max
    };
    let name = DnsName::of_labels(query.name().iter());
    let request = Request {
        question: Question { name, kind: kind(query.query_type()) },
        id,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        edns: edns.is_some(),
        bytes_max,
        query,
    };
    let is_transfer = [RecordType::AXFR, RecordType::IXFR].contains(&request.query.query_type());
    let refused = if edns.is_some_and(|it| it.version() != 0) {
        Some(ResponseCode::BADVERS)
    } else {
        let is_foreign = request.query.query_class() != DNSClass::IN;
        (is_transfer || is_foreign).then_some(ResponseCode::Refused)
    };
    match refused {
        Some(code) => Parsed::Wrong(request.reply(&Response::empty(code))),
        None => Parsed::Right(request),
    }
}

fn kind(record_type: RecordType) -> Kind {
    let known = [
        (RecordType::A, Kind::A),
        (RecordType::AAAA, Kind::Aaaa),
        (RecordType::SRV, Kind::Srv),
        (RecordType::PTR, Kind::Ptr),
        (RecordType::SOA, Kind::Soa),
        (RecordType::ANY, Kind::Any),
    ];
    known.into_iter().find(|it| it.0 == record_type).map_or(Kind::Other, |it| it.1)
}

impl Request {
    /// The answer to a question about anything at all: what others would send is of no use but to flood
    /// somebody (RFC 8482, 4.2).
    pub(super) fn minimal(&self) -> Option<Response> {
        let minimal = record(self.query.name().clone(), Data::Minimal)?;
        let response = Response::empty(ResponseCode::NoError);
        (self.question.kind == Kind::Any).then(|| Response { answers: vec![minimal], ..response })
    }

    /// The message that goes back. What does not fit goes by halves: first what only belongs to the answer,
    /// then all of it, and the asker comes again over TCP (RFC 2181, 9).
    pub(super) fn reply(&self, response: &Response) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.response_code = response.code;
        message.metadata.authoritative = response.authoritative;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        message.add_answers(response.answers.iter().cloned());
        message.add_authorities(response.authorities.iter().cloned());
        message.add_additionals(response.further.iter().cloned());
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_BYTES_MAX as u16);
            edns.set_rcode_high((u16::from(response.code) >> 4) as u8);
            message.set_edns(edns);
        }
        for drop_more in [Message::without_further, |it: Message| it.truncate()] {
            match message.to_vec() {
                Ok(bytes) if bytes.len() <= self.bytes_max => return bytes,
                Ok(_) | Err(_) => message = drop_more(message),
            }
        }
        message.to_vec().unwrap_or_default()
    }
}

/// What can be left out of a message.
trait Lighter {
    fn without_further(self) -> Self;
}

impl Lighter for Message {
    fn without_further(mut self) -> Self {
        self.additionals.clear();
        self
    }
}

/// What the zone says, as records.
pub(super) fn response(request: &Request, answer: Answer) -> Response {
    let denied = |code, apex| {
        let authorities = soa(apex).into_iter().collect();
        Response { authoritative: true, authorities, ..Response::empty(code) }
    };
    match answer {
        Answer::Found { records, further } => {
            let owner = request.query.name();
            let answers = records.into_iter().filter_map(|it| record(owner.clone(), it)).collect();
            let further =
                further.into_iter().filter_map(|(owner, it)| record(name(&owner)?, it)).collect();
            let found = Response::empty(ResponseCode::NoError);
            Response { authoritative: true, answers, further, ..found }
        }
        Answer::NoData(apex) => denied(ResponseCode::NoError, apex),
        Answer::NoName(apex) => denied(ResponseCode::NXDomain, apex),
        // A container that is not known yet is soon: the asker may try again.
        Answer::Stranger | Answer::Forward(_) => Response::empty(ResponseCode::ServFail),
    }
}

fn record(owner: Name, data: Data) -> Option<Record> {
    let (ttl, data) = match data {
        Data::A(address) => (TTL_SECONDS, RData::A(A(address))),
        Data::Aaaa(address) => (TTL_SECONDS, RData::AAAA(AAAA(address))),
        Data::Srv { priority, port, target } => {
            (TTL_SECONDS, RData::SRV(SRV::new(priority, 0, port, name(&target)?)))
        }
        Data::Ptr(target) => (TTL_SECONDS, RData::PTR(PTR(name(&target)?))),
        Data::Soa => return soa(Apex::Domain),
        Data::Minimal => {
            (MINIMAL_TTL_SECONDS, RData::HINFO(HINFO::new("RFC8482".into(), String::new())))
        }
    };
    Some(Record::from_rdata(owner, ttl, data))
}

/// The record that says for how long nothing is there (RFC 2308, 3). Nobody takes a copy of the zone, so that
/// its serial number and times tell nobody anything.
fn soa(apex: Apex) -> Option<Record> {
    let owner = match apex {
        Apex::Domain => DOMAIN,
        Apex::Reverse4 => "in-addr.arpa",
        Apex::Reverse6 => "ip6.arpa",
        Apex::Root => "",
    };
    let (server, person) = (name(&format!("ns.{DOMAIN}"))?, name(&format!("nobody.{DOMAIN}"))?);
    let hour = 3600;
    let data = SOA::new(server, person, 1, hour, hour, hour, NEGATIVE_TTL_SECONDS);
    Some(Record::from_rdata(name(owner)?, NEGATIVE_TTL_SECONDS, RData::SOA(data)))
}

fn name(text: &str) -> Option<Name> {
    let labels = text.split('.').filter(|it| !it.is_empty()).map(str::as_bytes);
    Name::from_labels(labels).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// `db IN A`, with an OPT that takes so many bytes.
    fn question(takes: Option<u16>) -> Vec<u8> {
        let further = if takes.is_some() { "0001" } else { "0000" };
        let mut bytes = hex(&format!("1234 0100 0001 0000 0000 {further} 02 6462 00 0001 0001"));
        if let Some(takes) = takes {
            bytes.extend(hex(&format!("00 0029 {takes:04x} 00 00 0000 0000")));
        }
        bytes
    }

    fn right(bytes: &[u8], bytes_max: usize) -> Request {
        match parse(bytes, bytes_max) {
            Parsed::Right(request) => request,
            Parsed::Silence | Parsed::Wrong(_) => panic!("{bytes:?} is refused"),
        }
    }

    fn found(addresses: u8) -> Answer {
        let records = (1..=addresses).map(|it| Data::A([10, 100, 4, it].into())).collect();
        Answer::Found { records, further: vec![] }
    }

    #[test]
    fn an_answer_is_these_bytes() {
        let request = right(&question(Some(4096)), DATAGRAM_BYTES_MAX);
        let found = request.reply(&response(&request, found(1)));
        let expected = "1234 8580 0001 0001 0000 0001 02 6462 00 0001 0001 \
            c00c 0001 0001 00000002 0004 0a640401 00 0029 04d0 00 00 0000 0000";
        assert_eq!(found, hex(expected));
        let none = request.reply(&response(&request, Answer::NoName(Apex::Domain)));
        let expected = "1234 8583 0001 0000 0001 0001 02 6462 00 0001 0001 \
            04 66697a7a 08 696e7465726e616c 00 0006 0001 00000001 0022 \
            02 6e73 c014 06 6e6f626f6479 c014 00000001 00000e10 00000e10 00000e10 00000001 \
            00 0029 04d0 00 00 0000 0000";
        assert_eq!(none, hex(expected));
    }

    #[test]
    fn an_answer_is_as_long_as_its_asker_takes_and_no_longer_than_a_path_does() {
        for (takes, way, most) in [
            (None, DATAGRAM_BYTES_MAX, 512),
            (Some(100), DATAGRAM_BYTES_MAX, 512),
            (Some(800), DATAGRAM_BYTES_MAX, 800),
            (Some(4096), DATAGRAM_BYTES_MAX, 1232),
            (Some(512), u16::MAX.into(), u16::MAX.into()),
        ] {
            let request = right(&question(takes), way);
            let reply = |addresses| request.reply(&response(&request, found(addresses)));
            for addresses in 1..=255 {
                let bytes = reply(addresses);
                let is_cut = bytes[2] & 2 != 0;
                let whole =
                    12 + 8 + if takes.is_some() { 11 } else { 0 } + 16 * usize::from(addresses);
                assert_eq!(
                    (bytes.len() <= most, is_cut),
                    (true, most < whole),
                    "{takes:?} {addresses}"
                );
            }
        }
    }

    #[test]
    fn what_only_belongs_to_an_answer_goes_first_and_the_answer_is_not_cut_for_it() {
        let request = right(&question(None), DATAGRAM_BYTES_MAX);
        let further =
            (0..99).map(|it| ("x.fizz.internal".into(), Data::A([10, 100, 5, it].into())));
        let records = vec![Data::A([10, 100, 4, 1].into())];
        let answer = Answer::Found { records, further: further.collect() };
        let bytes = request.reply(&response(&request, answer));
        assert_eq!((bytes.len(), bytes[2] & 2, bytes[7], bytes[11]), (36, 0, 1, 0));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic_or_answer_an_answer() {
        let mut random = crate::model::Random::new(7);
        let good = question(Some(1232));
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.bits() as u8;
            }
            bytes.truncate(bytes.len() - random.below(8));
            match parse(&bytes, DATAGRAM_BYTES_MAX) {
                Parsed::Silence => {}
                Parsed::Wrong(reply) => assert_eq!((reply[2] & 0x80, bytes[2] & 0x80), (0x80, 0)),
                Parsed::Right(request) => {
                    let reply = request.reply(&response(&request, found(3)));
                    assert!(reply.len() <= DATAGRAM_BYTES_MAX && bytes[2] & 0x80 == 0);
                }
            }
        }
    }
}
