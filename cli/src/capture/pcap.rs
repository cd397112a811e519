//! Classic pcap: a header, then records that nothing separates.

use std::io::Read;

use pcap_parser::nom::{Err as NomErr, IResult, Needed};
use pcap_parser::pcap::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified};
use pcap_parser::{LegacyPcapBlock, PcapError, PcapHeader, parse_pcap_header};

use super::input::Input;
use super::{CaptureError, LinkType, MAX_RECORD, Place};

/// What libpcap captures at most, whatever a file's header says of its snap length (some say too little).
const MAX_SNAPLEN: u32 = 262_144;

/// The lower bits of the header's last field; the upper ones say whether frames end in a checksum (which lies beyond
/// the IP packet and needs no care).
const LINK_TYPE_BITS: u32 = 0x03ff_ffff;

type Parse = for<'a> fn(&'a [u8]) -> IResult<&'a [u8], LegacyPcapBlock<'a>, PcapError<&'a [u8]>>;

pub(super) struct Reader {
    link: LinkType,
    parse: Parse,
    /// Bytes of a record before the frame.
    header: usize,
    max_caplen: u32,
    nanoseconds_per_unit: u64,
}

impl Reader {
    pub(super) fn new<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureError> {
        let complete = input.fill(PcapHeader::new().size())?;
        let file = match parse_pcap_header(input.data()) {
            Ok((_, header)) => header,
            Err(NomErr::Incomplete(_)) if !complete && input.data().len() >= 4 => {
                return Err(CaptureError::Truncated { offset: 0, what: "file header" });
            }
            Err(_) => return Err(CaptureError::NotACapture(super::hint(input.data()))),
        };
        let number = file.network.0.cast_unsigned() & LINK_TYPE_BITS;
        let Some(link) = LinkType::from_number(number) else {
            return Err(CaptureError::LinkType { number, interface: None });
        };
        let (parse, header): (Parse, usize) = match () {
            () if file.is_modified_format() => (parse_pcap_frame_modified, 24),
            () if file.is_bigendian() => (parse_pcap_frame_be, 16),
            () => (parse_pcap_frame, 16),
        };
        input.consume(file.size());
        Ok(Self {
            link,
            parse,
            header,
            max_caplen: file.snaplen.clamp(MAX_SNAPLEN, (MAX_RECORD - header) as u32),
            nanoseconds_per_unit: if file.is_nanosecond_precision() { 1 } else { 1000 },
        })
    }

    pub(super) fn next<R: Read>(&mut self, input: &mut Input<R>) -> Result<Option<Place>, CaptureError> {
        let offset = input.offset();
        let max_record = self.header + self.max_caplen as usize;
        let implausible = |caplen: usize| CaptureError::Corrupt {
            offset,
            why: format!("a record of {caplen} bytes, where at most {} can be", self.max_caplen),
        };
        // At most three rounds: nothing, the header, everything is there.
        loop {
            let have = input.data().len();
            let missing = match (self.parse)(input.data()) {
                Ok((_, record)) if record.caplen > self.max_caplen => {
                    return Err(implausible(record.caplen as usize));
                }
                Ok((_, record)) => return Ok(Some(self.place(&record))),
                Err(NomErr::Incomplete(Needed::Size(n))) => n.get(),
                Err(_) => {
                    return Err(CaptureError::Corrupt { offset, why: "not a record".to_owned() });
                }
            };
            let want = have + missing;
            if want > max_record {
                return Err(implausible(want - self.header));
            }
            if !input.fill(want)? {
                return match input.data().len() {
                    0 => Ok(None),
                    _ => Err(CaptureError::Truncated { offset, what: "record" }),
                };
            }
        }
    }

    fn place(&self, record: &LegacyPcapBlock<'_>) -> Place {
        let end = self.header + record.data.len();
        Place {
            time: u64::from(record.ts_sec) * 1_000_000_000
                + u64::from(record.ts_usec) * self.nanoseconds_per_unit,
            link: self.link,
            wire_len: record.origlen,
            bytes: self.header..end,
            record: end,
        }
    }
}
