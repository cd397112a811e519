//! pcapng: sections of blocks, each framed by its length on both sides.

use std::io::Read;

use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, SHB_MAGIC, SPB_MAGIC};

use super::input::Input;
use super::{CaptureError, LinkType, MAX_RECORD, Place};

/// The block that the enhanced one replaced; old captures have it, `pcap-parser` does not know it.
const OBSOLETE_PACKET_BLOCK: u32 = 2;

/// A block's type, its length, and a section's byte-order magic.
const SECTION_START: usize = 12;
/// A block with nothing in it: type, length, length.
const LEAST_BLOCK: u32 = 12;

pub(super) struct Reader {
    big_endian: bool,
    /// Of the current section.
    interfaces: Vec<Interface>,
    /// Time of the last packet: simple packet blocks have none of their own.
    last_time: u64,
    damaged: u64,
    /// Packets of interfaces whose link type is not understood.
    foreign: u64,
    /// The first such.
    unsupported: Option<CaptureError>,
}

/// More interfaces than this in a section make no sense, and would take memory without end.
const MAX_INTERFACES: usize = 1 << 16;

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    snaplen: u32,
    /// Resolution of its time stamps: a negative power of 10, or of 2 if the top bit is set.
    tsresol: u8,
    /// Seconds to add to them.
    tsoffset: i64,
}

/// A packet block's fields, whichever block it was.
struct PacketBlock {
    interface: u32,
    /// Time stamp in the interface's unit.
    ticks: Option<u64>,
    offset: usize,
    caplen: usize,
    wire_len: u32,
}

impl Reader {
    /// Reads the first section header.
    pub(super) fn new<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureError> {
        let reader = Self {
            big_endian: false,
            interfaces: Vec::new(),
            last_time: 0,
            damaged: 0,
            foreign: 0,
            unsupported: None,
        };
        if input.fill(SECTION_START)? && reader.byte_order(input.data()).is_none() {
            return Err(CaptureError::NotACapture(None));
        }
        Ok(reader)
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }

    pub(super) fn take_unsupported(&mut self) -> Option<CaptureError> {
        self.unsupported.take()
    }

    pub(super) fn next<R: Read>(&mut self, input: &mut Input<R>) -> Result<Option<Place>, CaptureError> {
        loop {
            let offset = input.offset();
            let corrupt = |why: String| CaptureError::Corrupt { offset, why };
            let truncated = CaptureError::Truncated { offset, what: "block" };
            if !input.fill(LEAST_BLOCK as usize)? {
                return if input.data().is_empty() { Ok(None) } else { Err(truncated) };
            }
            let kind = self.u32_at(input.data(), 0);
            if kind == SHB_MAGIC {
                self.big_endian = self
                    .byte_order(input.data())
                    .ok_or_else(|| corrupt("a section header without the byte-order magic".to_owned()))?;
            }
            let len = self.u32_at(input.data(), 4);
            if len < LEAST_BLOCK || !len.is_multiple_of(4) {
                return Err(corrupt(format!("a block of {len} bytes")));
            }
            let matters =
                matches!(kind, SHB_MAGIC | IDB_MAGIC | EPB_MAGIC | SPB_MAGIC | OBSOLETE_PACKET_BLOCK);
            if !matters {
                if !(input.skip(u64::from(len) - 4)? && input.fill(4)?) {
                    return Err(truncated);
                }
                if self.u32_at(input.data(), 0) != len {
                    return Err(corrupt(format!("a block whose two lengths differ (type {kind:#x})")));
                }
                input.consume(4);
                continue;
            }
            let size = len as usize;
            if size > MAX_RECORD {
                return Err(corrupt(format!("a block of {len} bytes, where at most {MAX_RECORD} can be")));
            }
            if !input.fill(size)? {
                return Err(truncated);
            }
            let block = &input.data()[..size];
            if self.u32_at(block, size - 4) != len {
                return Err(corrupt(format!("a block whose two lengths differ (type {kind:#x})")));
            }
            match kind {
                SHB_MAGIC => self.section(block).map_err(corrupt)?,
                IDB_MAGIC => self.interface(block).map_err(corrupt)?,
                _ => match self.packet(block) {
                    Some(packet) => match self.place(&packet, size) {
                        Ok(place) => return Ok(Some(place)),
                        Err(error) => {
                            self.foreign += 1;
                            self.unsupported.get_or_insert(error);
                        }
                    },
                    None => self.damaged += 1,
                },
            }
            input.consume(size);
        }
    }

    /// A section header: its interfaces are yet to come.
    fn section(&mut self, block: &[u8]) -> Result<(), String> {
        self.interfaces.clear();
        match self.parse(block) {
            Some(Block::SectionHeader(header)) if header.major_version == 1 => Ok(()),
            Some(Block::SectionHeader(header)) => {
                Err(format!("a section of version {}.{}", header.major_version, header.minor_version))
            }
            _ => Err("a section header that makes no sense".to_owned()),
        }
    }

    fn interface(&mut self, block: &[u8]) -> Result<(), String> {
        // Without it the numbers of all later interfaces would be off by one: nothing can be read on.
        let Some(Block::InterfaceDescription(idb)) = self.parse(block) else {
            return Err("an interface description that makes no sense".to_owned());
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(format!("more than {MAX_INTERFACES} interfaces"));
        }
        let interface = self.describe(&idb);
        self.interfaces.push(interface);
        Ok(())
    }

    fn describe(&self, idb: &InterfaceDescriptionBlock<'_>) -> Interface {
        Interface {
            link: idb.linktype.0.cast_unsigned(),
            snaplen: idb.snaplen,
            tsresol: idb.if_tsresol,
            // pcap-parser reads this one as little-endian, whatever the section's byte order is.
            tsoffset: if self.big_endian { idb.if_tsoffset.swap_bytes() } else { idb.if_tsoffset },
        }
    }

    /// The fields of a packet block; `None` if they make no sense.
    fn packet(&self, block: &[u8]) -> Option<PacketBlock> {
        let packet = if self.u32_at(block, 0) == OBSOLETE_PACKET_BLOCK {
            self.obsolete(block)?
        } else {
            match self.parse(block)? {
                Block::EnhancedPacket(epb) => PacketBlock {
                    interface: epb.if_id,
                    ticks: Some(u64::from(epb.ts_high) << 32 | u64::from(epb.ts_low)),
                    offset: 28,
                    caplen: epb.packet_data().len(),
                    wire_len: epb.origlen,
                },
                Block::SimplePacket(spb) => PacketBlock {
                    interface: 0,
                    ticks: None,
                    offset: 12,
                    caplen: match self.interfaces.first()?.snaplen {
                        0 => spb.packet_data().len(),
                        snaplen => spb.packet_data().len().min(snaplen as usize),
                    },
                    wire_len: spb.origlen,
                },
                _ => return None,
            }
        };
        self.interfaces.get(packet.interface as usize).map(|_| packet)
    }

    fn obsolete(&self, block: &[u8]) -> Option<PacketBlock> {
        const HEADER: usize = 28;
        // Two lengths frame it; the data must end before the second.
        let room = block.len().checked_sub(HEADER + 4)?;
        let interface = [block[8], block[9]];
        let caplen = self.u32_at(block, 20) as usize;
        (caplen <= room).then(|| PacketBlock {
            interface: match self.big_endian {
                true => u16::from_be_bytes(interface),
                false => u16::from_le_bytes(interface),
            }
            .into(),
            ticks: Some(u64::from(self.u32_at(block, 12)) << 32 | u64::from(self.u32_at(block, 16))),
            offset: HEADER,
            caplen,
            wire_len: self.u32_at(block, 24),
        })
    }

    fn place(&mut self, packet: &PacketBlock, record: usize) -> Result<Place, CaptureError> {
        let interface = self.interfaces[packet.interface as usize];
        let Some(link) = LinkType::from_number(interface.link) else {
            return Err(CaptureError::LinkType { number: interface.link, interface: Some(packet.interface) });
        };
        if let Some(ticks) = packet.ticks {
            self.last_time = interface.nanoseconds(ticks);
        }
        Ok(Place {
            time: self.last_time,
            link,
            wire_len: packet.wire_len,
            bytes: packet.offset..packet.offset + packet.caplen,
            record,
        })
    }

    fn parse<'a>(&self, block: &'a [u8]) -> Option<Block<'a>> {
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        parse(block).ok().map(|(_, block)| block)
    }

    /// Whether a section header says big-endian; `None` if it says nothing sensible.
    fn byte_order(&self, block: &[u8]) -> Option<bool> {
        match block[8..SECTION_START] {
            [0x1a, 0x2b, 0x3c, 0x4d] => Some(true),
            [0x4d, 0x3c, 0x2b, 0x1a] => Some(false),
            _ => None,
        }
    }

    /// A number of the section's byte order. The caller knows that it lies within the block.
    fn u32_at(&self, block: &[u8], at: usize) -> u32 {
        let bytes = [block[at], block[at + 1], block[at + 2], block[at + 3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

impl Interface {
    /// Nanoseconds since the epoch of a time stamp. What lies outside their range is brought to its border.
    fn nanoseconds(&self, ticks: u64) -> u64 {
        const NANO: u128 = 1_000_000_000;
        let exponent = u32::from(self.tsresol & 0x7f);
        let scaled = if self.tsresol & 0x80 != 0 {
            (u128::from(ticks) * NANO) >> exponent
        } else if exponent <= 9 {
            u128::from(ticks) * 10_u128.pow(9 - exponent)
        } else {
            u128::from(ticks) / 10_u128.checked_pow(exponent - 9).unwrap_or(u128::MAX)
        };
        // At most 2^64 * 10^9 < 2^94, and the offset is smaller still.
        let sum = scaled.cast_signed() + i128::from(self.tsoffset) * NANO.cast_signed();
        u64::try_from(sum.max(0)).unwrap_or(u64::MAX)
    }
}
