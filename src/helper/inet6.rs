//! IPv6 addresses as text within `EPRT`, as the kernel was seen to read them: wider than RFC 4291 section 2.2.

use crate::net::Addr;

/// The address at the start of `text`, and what stands behind its end.
///
/// An address ends at the delimiter, which is none of its letters then, or at a zero byte; after a dotted quad a colon ends it
/// too. Numbers may have any number of leading zeros.
pub(super) fn read(text: &[u8], delimiter: u8) -> Option<(Addr, &[u8])> {
    let ends = |byte: u8| byte == delimiter || byte == 0;
    let mut groups = Groups::default();
    let mut rest = text;
    if let [b':', b':', behind @ ..] = rest
        && !ends(b':')
    {
        groups.gap = Some(0);
        rest = behind;
        if let [end, behind @ ..] = rest
            && ends(*end)
        {
            return Some((groups.address()?, behind));
        }
    }
    loop {
        let word = Word::read(&mut rest, ends)?;
        let [byte, behind @ ..] = rest else { return None };
        rest = behind;
        match *byte {
            end if ends(end) => {
                groups.push(word.group()?)?;
                return Some((groups.address()?, rest));
            }
            b'.' => {
                let mut parts = [word.decimal()?, 0, 0, 0];
                for (place, part) in parts.iter_mut().enumerate().skip(1) {
                    *part = Word::read(&mut rest, ends)?.decimal()?;
                    let [byte, behind @ ..] = rest else { return None };
                    rest = behind;
                    let right =
                        if place < 3 { *byte == b'.' && !ends(b'.') } else { ends(*byte) || *byte == b':' };
                    right.then_some(())?;
                }
                let [a, b, c, d] = parts;
                groups.push(u16::from_be_bytes([a, b]))?;
                groups.push(u16::from_be_bytes([c, d]))?;
                return Some((groups.address()?, rest));
            }
            b':' => groups.push(word.group()?)?,
            _ => return None,
        }
        if let [b':', behind @ ..] = rest
            && !ends(b':')
        {
            groups.leave_gap()?;
            rest = behind;
            if let [end, behind @ ..] = rest
                && ends(*end)
            {
                return Some((groups.address()?, behind));
            }
        }
    }
}

/// A number, whose base is not known yet. What is too large for either stays so.
struct Word {
    hex: u32,
    decimal: u32,
    is_decimal: bool,
}

impl Word {
    /// Takes one digit or more from the start of `text`.
    fn read(text: &mut &[u8], ends: impl Fn(u8) -> bool) -> Option<Self> {
        let mut word = Self { hex: 0, decimal: 0, is_decimal: true };
        let all = *text;
        while let [byte, rest @ ..] = *text {
            let Some(digit) = char::from(*byte).to_digit(16).filter(|_| !ends(*byte)) else { break };
            word.hex = word.hex.saturating_mul(16).saturating_add(digit);
            word.decimal = word.decimal.saturating_mul(10).saturating_add(digit);
            word.is_decimal &= digit < 10;
            *text = rest;
        }
        (text.len() < all.len()).then_some(word)
    }

    fn group(&self) -> Option<u16> {
        u16::try_from(self.hex).ok()
    }

    fn decimal(&self) -> Option<u8> {
        u8::try_from(self.decimal).ok().filter(|_| self.is_decimal)
    }
}

/// Groups of an address, and where `::` stands among them.
#[derive(Default)]
struct Groups {
    all: [u16; 8],
    len: usize,
    gap: Option<usize>,
}

impl Groups {
    fn push(&mut self, group: u16) -> Option<()> {
        *self.all.get_mut(self.len)? = group;
        self.len += 1;
        Some(())
    }

    fn leave_gap(&mut self) -> Option<()> {
        self.gap.is_none().then(|| self.gap = Some(self.len))
    }

    /// `::` stands for one group at least.
    fn address(&self) -> Option<Addr> {
        let missing = 8 - self.len;
        if self.gap.is_none() != (missing == 0) {
            return None;
        }
        let gap = self.gap.unwrap_or(0);
        let mut address = [0; 16];
        for (at, group) in self.all.iter().take(self.len).enumerate() {
            let place = if at < gap { at } else { at + missing };
            address.get_mut(2 * place..)?.first_chunk_mut::<2>()?.clone_from(&group.to_be_bytes());
        }
        Some(address)
    }
}
