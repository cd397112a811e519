//! What the recording (tests/sctp_states.rs) does not say: that the tracker takes anything.

use super::*;
use proptest::prelude::*;

#[test]
fn states_are_numbered_as_in_the_uapi() {
    for number in 0..State::COUNT as u8 {
        assert_eq!(State::from_u8(number).map(|s| s as u8), Some(number));
    }
    assert_eq!(State::from_u8(State::COUNT as u8), None);
    assert_eq!(State::CookieWait as u8, 2);
    assert_eq!(State::HeartbeatSent as u8, 8);
    assert_eq!(State::ShutdownAckSent.as_str(), "SHUTDOWN_ACK_SENT");
}

#[test]
fn each_state_has_its_timeout() {
    let t = Tunables::default();
    let seconds: Vec<u32> = State::ALL.iter().map(|state| state.timeout(&t)).collect();
    assert_eq!(seconds, [10, 10, 3, 3, 210, 3, 3, 3, 30]);
}

fn tag() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(2), Just(3), any::<u32>()]
}

fn record() -> impl Strategy<Value = Record> {
    let way = prop_oneof![Just(None), Just(Some(Direction::Original)), Just(Some(Direction::Reply))];
    ([tag(), tag()], any::<[bool; 2]>(), way).prop_map(|(tags, init, odd_heartbeat)| Record {
        tags,
        init,
        odd_heartbeat,
    })
}

/// Packets of few tags and whatever chunks, mostly lists that are not broken.
fn packet() -> impl Strategy<Value = Packet> {
    let first = prop::option::weighted(0.3, prop::sample::select(vec![1_u8, 2, 10, 11, 14]));
    let rest =
        prop::collection::vec((prop::sample::select(vec![0_u8, 3, 4, 5, 6, 7, 8, 9, 200]), 0_u8..2), 0..6);
    (tag(), tag(), first, rest, any::<bool>()).prop_map(|(vtag, init_tag, first, rest, broken)| {
        let mut bytes = Vec::new();
        let company = broken || matches!(first, None | Some(10 | 11));
        for (kind, flags) in
            first.map(|kind| (kind, 0)).into_iter().chain(rest.into_iter().filter(|_| company))
        {
            let len = if kind <= 2 { 20 } else { 4 };
            bytes.extend([kind, flags, 0, len]);
            if len == 20 {
                bytes.extend(init_tag.to_be_bytes());
                bytes.extend([0; 12]);
            }
        }
        Packet::new(1, 2, vtag).with_chunks(&bytes, bytes.len()).expect("all is captured")
    })
}

proptest! {
    #[test]
    fn packs_without_loss(record in record(), words in any::<[u64; 7]>()) {
        prop_assert_eq!(Record::unpack(&record.pack()), record);
        let any = Record::unpack(&words);
        prop_assert_eq!(Record::unpack(&any.pack()), any);
    }

    /// Whatever comes: a state that exists, a reason for everything but acceptance, a timeout for acceptance alone.
    #[test]
    fn takes_anything(
        record in record(),
        state in 1..State::COUNT as u8,
        liberal: bool,
        packets in prop::collection::vec((packet(), any::<bool>()), 1..20),
    ) {
        let (mut record, mut state) = (record, State::from_u8(state).unwrap_or_default());
        let t = Tunables::default();
        for (packet, reply) in &packets {
            let direction = if *reply { Direction::Reply } else { Direction::Original };
            let before = record;
            let step = step(&mut record, state, direction, liberal, packet, &t);
            prop_assert_eq!(step.reason == Reason::None, step.outcome == Outcome::Accept);
            prop_assert_eq!(step.timeout == crate::proto::Timeout::Keep, step.outcome != Outcome::Accept);
            prop_assert_ne!(step.outcome, Outcome::Reopen);
            let after = State::from_u8(step.state).expect("a state");
            prop_assert_ne!(after, State::None);
            // Of what belongs to the other direction, only what can tell a tag does.
            let tells = |chunk| {
                matches!(chunk, Chunk::Init | Chunk::InitAck | Chunk::Heartbeat | Chunk::HeartbeatAck)
            };
            if !packet.acting().any(tells) {
                prop_assert_eq!(record.tags, before.tags);
            }
            if packet.is_broken() {
                prop_assert_eq!((record, after, step.reason), (before, state, Reason::SctpChunks));
            }
            if step.assure {
                prop_assert_ne!(state, State::Established);
            }
            state = after;
            if let Ok((_, opened)) = open(packet, &t) {
                prop_assert_eq!(opened.outcome, Outcome::Accept);
                prop_assert!(!packet.has_others());
            }
        }
    }

    /// A packet with the right tag and plain chunks is never refused, and one whose update was missed by a busy record neither.
    #[test]
    fn data_passes(record in record(), state in 1..State::COUNT as u8, reply: bool, wrong: bool) {
        let state = State::from_u8(state).unwrap_or_default();
        let direction = if reply { Direction::Reply } else { Direction::Original };
        let tag = record.tags[direction as usize] ^ u32::from(wrong);
        let data = Packet::new(1, 2, tag).with_chunks(&[0, 3, 0, 4], 4).expect("all is captured");
        let t = Tunables::default();
        for liberal in [false, true] {
            let mut after = record;
            let step = step(&mut after, state, direction, liberal, &data, &t);
            prop_assert_eq!(step.outcome == Outcome::Accept, liberal || !wrong);
            prop_assert_eq!((step.state, after), (state as u8, record));
        }
    }
}
