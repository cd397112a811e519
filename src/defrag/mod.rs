//! L4: fragments of IPv4 and IPv6, put together as the kernel's connection tracking does before it looks at a packet.
//!
//! A [`Defrag`] stands beside the table. `track` answers [`crate::CtState::Fragment`] to a fragment; the host hands that packet
//! to [`Defrag::push`], and when that returns a [`Whole`], has it tracked like any packet and sends it on, in pieces again
//! where it must. Packets that are no fragments never come here.
//!
//! **One Defrag for each worker**, without locks; all fragments of a datagram must come to the same. A NIC that spreads packets
//! by their addresses alone sees to that, and what spreads by ports does so for fragments, which have none.
//!
//! **What the kernel does** was asked of a live one, scenario by scenario (tests/recorded: frag-*):
//! - A datagram is known by its addresses, identification and zone, the hook, IPv4's protocol, and the interface where the
//!   destination is IPv6 multicast or link-local.
//! - *Overlap*: nothing is left of the datagram (RFC 5722; IPv4 too). A fragment that lies within what came in one run is a
//!   repetition and does no harm; one that lies across what came out of order is an overlap.
//! - *Ends*: IPv4 gives the datagram up when a fragment ends beyond the last one, when a last one ends elsewhere than another or
//!   below what is there, and when one is empty. IPv6 drops that fragment alone, but remembers where an empty one would have ended.
//! - *Lengths* that are not multiples of eight though more are to follow: IPv4 cuts the rest off. IPv6 gives the datagram up and
//!   lets the fragment go on as it is, which is INVALID.
//! - *Time* counts from the first to arrive, and nothing prolongs it. (The kernel's timers are late by up to an eighth, these are not.)
//! - *The header* is that of the fragment at offset 0, whatever the others have: TTL, TOS, options. IPv4's DF is set if the longest
//!   fragment had it. Congestion marks are joined (RFC 3168 section 5.3).
//! - *Memory*: above the threshold no fragment is taken, whichever datagram it belongs to, and nothing is evicted. Who floods stops
//!   reassembly until what he sent has timed out; if the oldest went instead, he would destroy every datagram under way, at no
//!   higher price. The two families have a threshold each.
//! - *Atomic fragments* (RFC 6946) of IPv6 are packets to `track`. One that is handed in here is judged as the kernel does: if others of its
//!   identification wait, it is one of them.
//!
//! **Work is bounded**: a fragment touches its own bytes, at most 64 blocks' marks, and a chain of at most 64 queues under a keyed
//! hash. Nothing is allocated after [`Defrag::new`].

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod blocks;
mod config;
mod queues;
mod sources;
mod stats;
mod whole;

use blocks::{Blocks, SLOTS};
use config::cost;
use queues::{Identity, Lies, Queues, family};
use sources::Sources;
use whole::{LONGEST, MOST};

pub use config::DefragConfig;
pub use stats::DefragStats;
pub use whole::Whole;

use crate::config::ConfigError;
use crate::hash::TupleHash;
use crate::memory::{Array, NoMemory};
use crate::net::L3;
use crate::packet::{Packet, packet_flag};
use crate::reason::Reason;
use crate::tuple::Key;
use crate::wire::{self, Fragment};

/// What became of a packet that was handed in.
#[derive(Clone, Copy)]
pub enum Pushed<'a> {
    /// It is a fragment and was taken, or brought nothing new: the host is done with it. Its bytes were copied.
    Held,
    /// It was the last that was missing: this is to be tracked now, in place of it.
    Whole(Whole<'a>),
    /// The packet must be dropped.
    Dropped(Reason),
    /// It is no fragment, or one that the kernel lets go on as it is: what `track` says of it holds.
    NotAFragment,
}

/// How many datagrams whose time is over are ended by a fragment.
const LAPSES: u32 = 4;

/// Waiting fragments. Belongs to one thread at a time.
pub struct Defrag {
    config: DefragConfig,
    /// As it was made: no threshold can be higher than there is memory for.
    made: DefragConfig,
    hash: TupleHash,
    blocks: Blocks,
    queues: Queues,
    sources: Sources,
    /// Bytes in use by either family.
    used: [u32; 2],
    stats: DefragStats,
    /// The latest whole, and where its pieces begin.
    out: Array<u8>,
    pieces: [u128; SLOTS],
}

/// What a fragment did to its datagram.
enum Step {
    /// It is there.
    Taken,
    /// It brought nothing new.
    Repeated,
    /// It is dropped, and nothing else.
    Refused(Reason),
    /// The datagram is given up, and it is dropped.
    Failed(Reason),
    /// The datagram is given up, and it goes on as it is.
    Passed,
}

impl Defrag {
    /// Takes all its memory, [`DefragConfig::memory`] bytes.
    ///
    /// # Errors
    /// A field out of its range, no memory, or no random numbers for the key.
    pub fn new(config: DefragConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let hash = TupleHash::new(config.hash_key).map_err(|e| ConfigError::Random(e.to_string()))?;
        let no_memory = |e: NoMemory| {
            let why = std::io::Error::from_raw_os_error(e.errno).to_string();
            ConfigError::Memory { bytes: e.bytes, why }
        };
        let (options, queues) = (config.options(), config.queues as usize);
        Ok(Self {
            hash,
            blocks: Blocks::new(config.blocks(), options).map_err(no_memory)?,
            queues: Queues::new(queues, options).map_err(no_memory)?,
            sources: Sources::new(queues, options).map_err(no_memory)?,
            used: [0; 2],
            stats: DefragStats::default(),
            out: Array::new(LONGEST, options).map_err(no_memory)?,
            pieces: [0; SLOTS],
            made: config.clone(),
            config,
        })
    }

    /// Changes a field of the configuration by its name (one of [`DefragConfig::NAMES`]). A timeout holds for datagrams that
    /// begin from now on; a threshold cannot be raised above what it was at creation.
    ///
    /// # Errors
    /// [`ConfigError::UnknownTunable`], [`ConfigError::Range`].
    pub fn set(&mut self, name: &str, value: u32) -> Result<(), ConfigError> {
        self.config.set(name, value, &mut self.made)
    }

    /// The configuration as it is now.
    pub fn config(&self) -> &DefragConfig {
        &self.config
    }

    /// What happened so far, and what waits.
    pub fn stats(&self) -> DefragStats {
        let [v4, v6] = self.used.map(u64::from);
        DefragStats { waiting: self.queues.waiting.into(), memory_v4: v4, memory_v6: v6, ..self.stats }
    }

    /// Hands a fragment in. `now`: milliseconds, as for `track`. `interface`: a number for where it came in; it matters only for
    /// IPv6 datagrams to multicast and link-local destinations, which mean another on each. Of the packet count its bytes
    /// (all of them must be there), `zone_orig` and the hook.
    pub fn push(&mut self, now: u64, packet: &Packet<'_>, interface: u32) -> Pushed<'_> {
        self.end_lapsed(now, LAPSES);
        if !packet.is_sane() {
            return Pushed::NotAFragment;
        }
        let bytes = packet.bytes();
        let fragment = match wire::fragment(bytes, packet.wire_len()) {
            Ok(Some(fragment)) => fragment,
            Err(Reason::NotCaptured) => return Pushed::Dropped(Reason::NotCaptured),
            // What is broken is to be judged as such.
            Ok(None) | Err(_) => return Pushed::NotAFragment,
        };
        let identity = identity(&fragment, packet, interface);
        let hash = self.hash.hash(&identity.key);
        let (mut queue, chain) = self.queues.find(&identity, hash);
        if queue != 0 && self.queues.get(queue).deadline <= now {
            self.close(queue);
            self.stats.timeouts += 1;
            queue = 0;
        }
        // Without a piece it is one like others, which is refused.
        if queue == 0 && fragment.is_atomic() && fragment.piece_len > 0 {
            return Pushed::NotAFragment;
        }
        self.stats.fragments += 1;
        let family = family(fragment.l3);
        let (thresh, seconds) = match fragment.l3 {
            L3::V4 => (self.config.ipfrag_high_thresh, self.config.ipfrag_time),
            L3::V6 => (self.config.frag6_high_thresh, self.config.frag6_timeout),
        };
        if thresh == 0 || self.used[family] > thresh {
            self.stats.no_room += 1;
            return Pushed::Dropped(Reason::FragMemory);
        }
        let deadline = now.saturating_add(u64::from(seconds) * 1000);
        if queue == 0 {
            queue = self.queues.open(identity, hash, chain);
            if queue == 0 {
                self.stats.no_room += 1;
                return Pushed::Dropped(Reason::FragQueues);
            }
            self.used[family] += cost(0);
            self.queues.get_mut(queue).deadline = deadline;
            if fragment.l3 == L3::V4 && self.config.ipfrag_max_dist > 0 {
                let (address, hash) = self.source(&identity.key);
                self.queues.get_mut(queue).source = self.sources.join(address, hash);
            }
        }
        let before = self.queues.get(queue).blocks;
        let step = match fragment.l3 {
            L3::V4 => self.v4(queue, &fragment, bytes, deadline),
            L3::V6 => self.v6(queue, &fragment, bytes),
        };
        let after = self.queues.get(queue).blocks;
        self.used[family] = self.used[family] + cost(after) - cost(before);
        match step {
            Step::Taken => {}
            Step::Repeated => {
                self.stats.repeated += 1;
                return Pushed::Held;
            }
            Step::Refused(reason) => {
                self.stats.refused += 1;
                return Pushed::Dropped(reason);
            }
            Step::Failed(reason) => {
                self.fail(queue, reason);
                return Pushed::Dropped(reason);
            }
            Step::Passed => {
                self.fail(queue, Reason::FragEnd);
                return Pushed::NotAFragment;
            }
        }
        let this = self.queues.get(queue);
        if !(this.first && this.last && this.there == this.end) || this.hopeless {
            return Pushed::Held;
        }
        self.whole(queue, fragment.l3, packet)
    }

    /// Ends up to `budget` datagrams whose time is over; how many. To be called now and then, as `reap` is: fragments that come
    /// in end some themselves, but none may come. (Of each family in the order in which they began: where a timeout was shortened,
    /// those that began after that wait for those before.)
    pub fn expire(&mut self, now: u64, budget: u32) -> u32 {
        self.end_lapsed(now, budget)
    }

    fn end_lapsed(&mut self, now: u64, budget: u32) -> u32 {
        let mut ended = 0;
        for family in 0..2 {
            while ended < budget {
                let oldest = self.queues.oldest(family);
                if oldest == 0 || self.queues.get(oldest).deadline > now {
                    break;
                }
                self.close(oldest);
                ended += 1;
            }
        }
        self.stats.timeouts += u64::from(ended);
        ended
    }

    /// What the IPv4 source of a datagram is counted under.
    fn source(&self, datagram: &Key) -> (u32, u64) {
        let key = Key { dst: [0; 2], meta: Key::meta(0, 0, 0, L3::V4, 0), ..*datagram };
        (key.src[0] as u32, self.hash.hash(&key))
    }

    fn v4(&mut self, queue: u32, fragment: &Fragment, bytes: &[u8], deadline: u64) -> Step {
        let this = self.queues.get(queue);
        if this.source != 0 {
            let (latest, count) = (this.count, self.sources.count(this.source));
            let far = this.right > 0 && count.wrapping_sub(latest) > self.config.ipfrag_max_dist;
            if far && self.config.ipfrag_max_dist > 0 {
                self.queues.clear(queue, &mut self.blocks);
                self.queues.renew(queue);
                self.queues.get_mut(queue).deadline = deadline;
                self.stats.too_far += 1;
            }
            self.queues.get_mut(queue).count = count;
        }
        let len = u32::from(fragment.piece_len) & if fragment.more { !7 } else { !0 };
        let end = fragment.offset + len;
        let this = self.queues.get_mut(queue);
        if fragment.more {
            if this.last && end > this.end {
                return Step::Failed(Reason::FragEnd);
            }
            this.end = this.end.max(end);
        } else {
            if end < this.end || this.last && end != this.end {
                return Step::Failed(Reason::FragEnd);
            }
            (this.last, this.end) = (true, end);
        }
        if len == 0 {
            return Step::Failed(Reason::FragEmpty);
        }
        if end as usize > MOST {
            // It will be too long, but is not given up before it is complete, so never.
            this.hopeless = true;
            this.right = this.right.max(end);
            return Step::Taken;
        }
        self.put(queue, fragment, bytes, len)
    }

    fn v6(&mut self, queue: u32, fragment: &Fragment, bytes: &[u8]) -> Step {
        let len = u32::from(fragment.piece_len);
        let end = fragment.offset + len;
        if end as usize > MOST {
            return Step::Refused(Reason::FragTooLong);
        }
        let this = self.queues.get_mut(queue);
        if fragment.more {
            if !len.is_multiple_of(8) {
                return Step::Passed;
            }
            if this.last && end > this.end {
                return Step::Refused(Reason::FragEnd);
            }
            this.end = this.end.max(end);
        } else {
            if end < this.end || this.last && end != this.end {
                return Step::Refused(Reason::FragEnd);
            }
            (this.last, this.end) = (true, end);
        }
        if len == 0 {
            return Step::Refused(Reason::FragEmpty);
        }
        self.put(queue, fragment, bytes, len)
    }

    /// Puts a piece of `len` bytes where it belongs, if nothing is there.
    fn put(&mut self, queue: u32, fragment: &Fragment, bytes: &[u8], len: u32) -> Step {
        let (from, to) = (fragment.offset as usize, (fragment.offset + len) as usize);
        match self.queues.lie(queue, &self.blocks, from, to) {
            Lies::Free => {}
            Lies::Repeats => return Step::Repeated,
            Lies::Overlaps => return Step::Failed(Reason::FragOverlap),
        }
        let at = usize::from(fragment.piece_at);
        let header = bytes.get(..fragment.header_len.into()).unwrap_or(&[]);
        let Some(piece) = bytes.get(at..at + len as usize) else { return Step::Failed(Reason::FragEnd) };
        let first = from == 0;
        if first && !self.queues.put_header(queue, &mut self.blocks, header)
            || !self.queues.put(queue, &mut self.blocks, from, piece)
        {
            return Step::Failed(Reason::FragMemory);
        }
        let this = self.queues.get_mut(queue);
        let size = at as u32 + len;
        this.largest = this.largest.max(size);
        if fragment.dont_fragment {
            this.largest_df = this.largest_df.max(size);
        }
        this.ecn |= 1 << fragment.ecn;
        if !first {
            this.least_header = this.least_header.min(fragment.header_len);
        }
        if first {
            this.first = true;
            (this.header_len, this.named_at, this.protocol) =
                (fragment.header_len, fragment.named_at, fragment.protocol);
        }
        Step::Taken
    }

    /// A datagram is complete.
    fn whole(&mut self, queue: u32, l3: L3, packet: &Packet<'_>) -> Pushed<'_> {
        let this = self.queues.get(queue);
        let header_len = usize::from(this.header_len);
        let len = header_len + this.end as usize;
        let counted = if l3 == L3::V4 { len } else { len - 40 };
        let (largest, least_header) = (this.largest, this.least_header);
        let dont_fragment = this.largest == this.largest_df;
        let named = (this.named_at.into(), this.protocol);
        let failed = |this: &mut Self, reason| {
            this.fail(queue, reason);
            Pushed::Dropped(reason)
        };
        let Some(ce) = whole::congestion(this.ecn) else { return failed(self, Reason::FragEcn) };
        if counted > MOST {
            return failed(self, Reason::FragTooLong);
        }
        if let Some(out) = self.out.get_mut(..len) {
            self.queues.write(queue, &self.blocks, out, &mut self.pieces);
            whole::settle(out, l3, header_len, named, ce, dont_fragment);
        }
        self.close(queue);
        self.stats.reassembled += 1;
        let mut whole = Packet::new(self.out.get(..len).unwrap_or(&[]));
        (whole.zone_orig, whole.zone_reply, whole.hook) = (packet.zone_orig, packet.zone_reply, packet.hook);
        whole.flags = packet.flags & packet_flag::NOTRACK | packet_flag::REASSEMBLED;
        let header_len = header_len as u16;
        Pushed::Whole(Whole { packet: whole, largest, least_header, header_len, pieces: &self.pieces })
    }

    fn fail(&mut self, queue: u32, reason: Reason) {
        match reason {
            Reason::FragOverlap => self.stats.overlaps += 1,
            _ => self.stats.failed += 1,
        }
        self.close(queue);
    }

    fn close(&mut self, queue: u32) {
        let this = self.queues.get(queue);
        self.used[this.family()] -= cost(this.blocks);
        if this.source != 0 {
            let (_, hash) = self.source(&this.identity.key);
            self.sources.leave(this.source, hash);
        }
        self.queues.clear(queue, &mut self.blocks);
        self.queues.close(queue);
    }
}

/// What a fragment has in common with the others of its datagram.
fn identity(fragment: &Fragment, packet: &Packet<'_>, interface: u32) -> Identity {
    let Fragment { l3, src, dst, id, .. } = fragment;
    let protocol = if *l3 == L3::V4 { fragment.protocol } else { 0 };
    let meta = Key::meta(*id as u16, (*id >> 16) as u16, protocol, *l3, packet.zone_orig);
    // Multicast, and link-local (RFC 4291 sections 2.5.6 and 2.7).
    let of_link = *l3 == L3::V6 && (dst[0] == 0xff || dst[0] == 0xfe && dst[1] & 0xc0 == 0x80);
    let interface = if of_link { interface } else { 0 };
    Identity {
        key: Key::new(src, dst, meta),
        scope: u64::from(packet.hook.number()) << 32 | u64::from(interface),
    }
}
