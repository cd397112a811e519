//! The name of a helper or of a class.

use std::fmt;

/// Up to 15 characters from `!` to `~`, without `/`: as long as the kernel's names of helpers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Ends with zeros.
    bytes: [u8; 16],
}

impl Name {
    /// No name.
    pub const NONE: Self = Self { bytes: [0; 16] };

    /// This name; `None`: it is too long, or has other characters.
    pub const fn new(name: &str) -> Option<Self> {
        let mut rest = name.as_bytes();
        let mut bytes = [0; 16];
        let mut room: &mut [u8] = bytes.as_mut_slice();
        while let [first, after @ ..] = rest {
            match room {
                // The last byte stays 0.
                [place, next @ ..] if !next.is_empty() && first.is_ascii_graphic() && *first != b'/' => {
                    *place = *first;
                    room = next;
                }
                _ => return None,
            }
            rest = after;
        }
        Some(Self { bytes })
    }

    /// Whether it is no name.
    pub fn is_none(&self) -> bool {
        self.as_str().is_empty()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        self.bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_is() {
        assert_eq!(Name::new("ftp").unwrap().as_str(), "ftp");
        assert_eq!(Name::new("fifteen-letters").unwrap().to_string(), "fifteen-letters");
        assert_eq!(Name::new(""), Some(Name::NONE));
        assert!(Name::NONE.is_none());
        for bad in ["sixteen-letters!", "a b", "a/b", "\u{e9}", "a\0"] {
            assert_eq!(Name::new(bad), None, "{bad}");
        }
    }
}
