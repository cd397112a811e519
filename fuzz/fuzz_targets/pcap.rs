//! Captures, pcap and pcapng: whatever the file says, reading ends; however few bytes the reader gives at a time, the frames are the
//! same; every frame lies in the file.
#![no_main]

use std::io::Read;

use conntab_cli::capture::{Capture, MAX_RECORD};
use libfuzzer_sys::fuzz_target;

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        let (now, later) = self.0.split_at(n);
        buffer[..n].copy_from_slice(now);
        self.0 = later;
        Ok(n)
    }
}

#[derive(Debug, PartialEq)]
struct Read_ {
    frames: Vec<(u64, String, Vec<u8>, u32, u64)>,
    end: String,
    passed_over: (u64, u64),
}

fn read(reader: impl Read, len: u64) -> Read_ {
    let mut frames = Vec::new();
    let mut capture = match Capture::new(reader) {
        Ok(capture) => capture,
        Err(error) => return Read_ { frames, end: error.to_string(), passed_over: (0, 0) },
    };
    let mut position = capture.position();
    let end = loop {
        match capture.next() {
            Ok(Some(frame)) => {
                assert!(frame.bytes.len() <= MAX_RECORD);
                let link = format!("{:?}", frame.link);
                frames.push((frame.time, link, frame.bytes.to_vec(), frame.wire_len, 0));
                let at = capture.position();
                assert!(at > position && at <= len, "{position}, {at} of {len}");
                position = at;
                frames.last_mut().expect("one").4 = at;
            }
            Ok(None) => break String::new(),
            Err(error) => break error.to_string(),
        }
    };
    // Whatever ended it, it has ended.
    assert!(matches!(capture.next(), Ok(None)));
    Read_ { frames, end, passed_over: (capture.damaged(), capture.foreign()) }
}

fuzz_target!(|input: &[u8]| {
    let Some((pace, file)) = input.split_first() else { return };
    let at_once = read(file, file.len() as u64);
    for (.., bytes, _, position) in &at_once.frames {
        let before = &file[..*position as usize];
        assert!(bytes.is_empty() || before.windows(bytes.len()).any(|window| window == bytes));
    }
    assert_eq!(read(Dribble(file, usize::from(*pace) % 64 + 1), file.len() as u64), at_once);
});
