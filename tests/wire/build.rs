//! Packets built by etherparse.

use conntab::tuple::L3;
use conntab::wire::{Headers, InnerL4, L4};
use etherparse::{
    IpAuthHeader, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions,
    Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, PacketBuilder,
    TcpHeader, TcpOptionElement, VlanId,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub struct Packet {
    tags: Vec<u16>,
    ip: IpHeaders,
    transport: Transport,
    payload: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(TcpHeader, Vec<TcpOptionElement>),
    Udp(u16, u16),
    Echo { id: u16, seq: u16, reply: bool },
}

pub fn packet() -> impl Strategy<Value = Packet> {
    let tags = prop::collection::vec(0_u16..4096, 0..3);
    let payload = prop::collection::vec(any::<u8>(), 0..100);
    (tags, ip(), transport(), payload).prop_map(|(tags, ip, transport, payload)| Packet {
        tags,
        ip,
        transport,
        payload,
    })
}

fn ip() -> impl Strategy<Value = IpHeaders> {
    let v4 = (any::<([u8; 4], [u8; 4], u8)>(), 0_usize..11, prop::bool::weighted(0.1)).prop_map(
        |((source, destination, time_to_live), words, more_fragments)| {
            let options = Ipv4Options::try_from(&[1; 40][..words * 4]).unwrap();
            let header = Ipv4Header {
                source,
                destination,
                time_to_live,
                options,
                more_fragments,
                ..Ipv4Header::default()
            };
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        },
    );
    let options = || prop::option::of(prop::sample::select(vec![6_usize, 14, 22]));
    let fragment = prop::option::of((0_u16..3, any::<u32>()));
    let v6 = (
        any::<([u8; 16], [u8; 16], u8)>(),
        options(),
        options(),
        options(),
        prop::option::of(0_usize..5),
        fragment,
    )
        .prop_map(|((source, destination, hop_limit), hop_by_hop, to_all, routing, auth, fragment)| {
            let header = Ipv6Header {
                source,
                destination,
                hop_limit,
                flow_label: Ipv6FlowLabel::try_new(0x12345).unwrap(),
                ..Ipv6Header::default()
            };
            let raw = |len: usize| Ipv6RawExtHeader::new_raw(IpNumber(0), &[1; 22][..len]).unwrap();
            let extensions = Ipv6Extensions {
                hop_by_hop_options: hop_by_hop.map(raw),
                destination_options: to_all.map(raw),
                routing: routing
                    .map(|len| Ipv6RoutingExtensions { routing: raw(len), final_destination_options: None }),
                fragment: fragment.map(|(offset, id)| {
                    // Mostly atomic ones, as nothing else is left to check of the others. Of those the last: any other
                    // would need a length that is a multiple of 8.
                    let offset = IpFragOffset::try_new(offset / 2).unwrap();
                    Ipv6FragmentHeader::new(IpNumber(0), offset, false, id)
                }),
                auth: auth.map(|words| IpAuthHeader::new(IpNumber(0), 1, 2, &[3; 16][..words * 4]).unwrap()),
            };
            IpHeaders::Ipv6(header, extensions)
        });
    prop_oneof![v4, v6]
}

fn transport() -> impl Strategy<Value = Transport> {
    let option = prop_oneof![
        Just(TcpOptionElement::Noop),
        any::<u16>().prop_map(TcpOptionElement::MaximumSegmentSize),
        any::<u8>().prop_map(TcpOptionElement::WindowScale),
        Just(TcpOptionElement::SelectiveAcknowledgementPermitted),
        any::<((u32, u32), Option<(u32, u32)>)>().prop_map(|(first, second)| {
            TcpOptionElement::SelectiveAcknowledgement(first, [second, None, None])
        }),
        any::<(u32, u32)>().prop_map(|(a, b)| TcpOptionElement::Timestamp(a, b)),
    ];
    let options = prop_oneof![
        prop::collection::vec(option, 0..6)
            .prop_filter("40 bytes", |options| { TcpHeader::default().set_options(options).is_ok() }),
        any::<(u32, u32)>().prop_map(|(a, b)| vec![
            TcpOptionElement::Noop,
            TcpOptionElement::Noop,
            TcpOptionElement::Timestamp(a, b)
        ]),
    ];
    let tcp = (any::<(u16, u16, u32, u32, u16, u8)>(), options).prop_map(
        |((source, destination, seq, ack, window, flags), options)| {
            let mut header = TcpHeader::new(source, destination, seq, window);
            header.acknowledgment_number = ack;
            header.fin = flags & 0x01 != 0;
            header.syn = flags & 0x02 != 0;
            header.rst = flags & 0x04 != 0;
            header.psh = flags & 0x08 != 0;
            header.ack = flags & 0x10 != 0;
            header.urg = flags & 0x20 != 0;
            header.ece = flags & 0x40 != 0;
            header.cwr = flags & 0x80 != 0;
            header.set_options(&options).unwrap();
            Transport::Tcp(header, options)
        },
    );
    prop_oneof![
        3 => tcp,
        1 => any::<(u16, u16)>().prop_map(|(source, destination)| Transport::Udp(source, destination)),
        1 => any::<(u16, u16, bool)>().prop_map(|(id, seq, reply)| Transport::Echo { id, seq, reply }),
    ]
}

impl Packet {
    pub fn tags(&self) -> &[u16] {
        &self.tags
    }

    pub fn payload(&self) -> &[u8] {
        if matches!(self.transport, Transport::Echo { .. }) { &[] } else { &self.payload }
    }

    pub fn frame(&self) -> Vec<u8> {
        let vlan = |tag: u16| VlanId::try_new(tag).unwrap();
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip = match self.tags[..] {
            [outer, inner, ..] => ethernet.double_vlan(vlan(outer), vlan(inner)).ip(self.ip.clone()),
            [tag] => ethernet.single_vlan(vlan(tag)).ip(self.ip.clone()),
            [] => ethernet.ip(self.ip.clone()),
        };
        let mut frame = Vec::new();
        let v4 = matches!(self.ip, IpHeaders::Ipv4(..));
        match &self.transport {
            Transport::Tcp(header, _) => ip.tcp_header(header.clone()).write(&mut frame, &self.payload),
            Transport::Udp(source, destination) => {
                ip.udp(*source, *destination).write(&mut frame, &self.payload)
            }
            Transport::Echo { id, seq, reply } => match (v4, reply) {
                (true, false) => ip.icmpv4_echo_request(*id, *seq).write(&mut frame, &self.payload),
                (true, true) => ip.icmpv4_echo_reply(*id, *seq).write(&mut frame, &self.payload),
                (false, false) => ip.icmpv6_echo_request(*id, *seq).write(&mut frame, &self.payload),
                (false, true) => ip.icmpv6_echo_reply(*id, *seq).write(&mut frame, &self.payload),
            },
        }
        .unwrap();
        frame
    }

    /// Checks that `headers` are those that were built.
    pub fn assert_read(&self, headers: &Headers) {
        let fragment = match &self.ip {
            IpHeaders::Ipv4(header, _) => {
                assert_eq!((headers.l3, headers.hop_limit), (L3::V4, header.time_to_live));
                assert_eq!(
                    (&headers.src[..4], &headers.dst[..4]),
                    (&header.source[..], &header.destination[..])
                );
                assert_eq!((&headers.src[4..], &headers.dst[4..]), (&[0; 12][..], &[0; 12][..]));
                assert_eq!(usize::from(headers.l4_offset), header.header_len());
                assert_eq!(headers.len, u32::from(headers.l4_offset) + u32::from(headers.l4_len));
                header.more_fragments
            }
            IpHeaders::Ipv6(header, extensions) => {
                assert_eq!((headers.l3, headers.hop_limit), (L3::V6, header.hop_limit));
                assert_eq!((headers.src, headers.dst), (header.source, header.destination));
                let fragment = extensions.fragment.as_ref().map(|header| header.is_fragmenting_payload());
                if fragment != Some(true) {
                    assert_eq!(usize::from(headers.l4_offset), 40 + extensions.header_len());
                }
                let uncounted = if fragment == Some(false) { 8 } else { 0 };
                let end = u32::from(headers.l4_offset) + u32::from(headers.l4_len);
                assert_eq!(headers.len, end - uncounted);
                fragment == Some(true)
            }
        };
        if fragment {
            assert_eq!(headers.l4, L4::Fragment);
            return;
        }
        match (&self.transport, headers.l4) {
            (Transport::Tcp(header, options), L4::Tcp(segment)) => {
                assert_eq!((segment.sport, segment.dport), (header.source_port, header.destination_port));
                assert_eq!(
                    (segment.seq, segment.ack),
                    (header.sequence_number, header.acknowledgment_number)
                );
                assert_eq!(
                    (segment.window, segment.payload),
                    (header.window_size, self.payload.len() as u32)
                );
                assert_eq!(usize::from(headers.l4_len), header.header_len() + self.payload.len());
                let scale = options.iter().rev().find_map(|option| match option {
                    TcpOptionElement::WindowScale(shift) => Some(*shift),
                    _ => None,
                });
                assert_eq!(segment.wscale, scale);
                let permitted = options.contains(&TcpOptionElement::SelectiveAcknowledgementPermitted);
                assert_eq!(segment.sack_permitted, permitted);
            }
            (Transport::Udp(source, destination), L4::Udp { sport, dport }) => {
                assert_eq!((sport, dport), (*source, *destination));
            }
            (
                Transport::Echo { id, .. },
                L4::Icmp { code, id: read, .. } | L4::Icmpv6 { code, id: read, .. },
            ) => {
                assert_eq!((code, read), (0, *id));
            }
            (built, read) => panic!("built {built:?}, read {read:?}"),
        }
    }

    /// Checks that `inner` is what an error quotes of this packet.
    pub fn assert_quoted(&self, inner: &InnerL4) {
        match (&self.transport, *inner) {
            (Transport::Tcp(header, _), InnerL4::Ports { sport, dport }) => {
                assert_eq!((sport, dport), (header.source_port, header.destination_port));
            }
            (Transport::Udp(source, destination), InnerL4::Ports { sport, dport }) => {
                assert_eq!((sport, dport), (*source, *destination));
            }
            (Transport::Echo { id, .. }, InnerL4::Icmp { code, id: read, .. }) => {
                assert_eq!((code, read), (0, *id));
            }
            (built, read) => panic!("built {built:?}, quoted {read:?}"),
        }
    }
}

/// An ICMP or ICMPv6 "port unreachable" about the packet of which `quoted` is the beginning.
pub fn error_about(quoted: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    if quoted.first().is_none_or(|first| first >> 4 == 4) {
        PacketBuilder::ipv4([10, 1, 0, 1], [10, 2, 0, 1], 64)
            .icmpv4_raw(3, 3, [0; 4])
            .write(&mut packet, quoted)
            .unwrap();
    } else {
        PacketBuilder::ipv6([1; 16], [2; 16], 64)
            .icmpv6_raw(1, 4, [0; 4])
            .write(&mut packet, quoted)
            .unwrap();
    }
    packet
}
