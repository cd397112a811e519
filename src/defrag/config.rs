//! What a host decides when it makes a `Defrag`, and how much memory that takes.

use super::blocks::Blocks;
use super::queues::{QUEUE_BYTES, Queues};
use super::sources::Sources;
use super::whole::LONGEST;
use crate::config::ConfigError;
use crate::memory::{Array, Options};

/// What a host decides when it makes a [`super::Defrag`]. The names are those of the kernel's sysctls, where it has them
/// (`net.ipv4.ipfrag_*`, `net.netfilter.nf_conntrack_frag6_*`), and so are the defaults.
#[derive(Clone, Debug)]
pub struct DefragConfig {
    /// Bytes that waiting IPv4 fragments may take: above this no IPv4 fragment is taken. 0 (none is ever) to 2^30. Counted is
    /// what they occupy here, in blocks of a kilobyte, not what the kernel would count.
    pub ipfrag_high_thresh: u32,
    /// Seconds that an IPv4 datagram may take to be complete, from its first fragment to arrive: 0 to 1728000.
    pub ipfrag_time: u32,
    /// How many fragments of the same IPv4 source may come between two of a datagram; after more of them it is begun anew, as
    /// its identification has probably been used again. 0: any number. Up to 2^30.
    pub ipfrag_max_dist: u32,
    /// As `ipfrag_high_thresh`, for IPv6.
    pub frag6_high_thresh: u32,
    /// As `ipfrag_time`, for IPv6.
    pub frag6_timeout: u32,
    /// The most datagrams that may wait to be complete, of both families: 1 to 2^20.
    pub queues: u32,
    /// Key of the hash; `None` draws one at random, as outside tests it should be.
    pub hash_key: Option<[u64; 4]>,
    /// Touch all memory at creation, so that no packet meets a page fault.
    pub prefault: bool,
}

impl Default for DefragConfig {
    fn default() -> Self {
        Self {
            ipfrag_high_thresh: 4 << 20,
            ipfrag_time: 30,
            ipfrag_max_dist: 64,
            frag6_high_thresh: 4 << 20,
            frag6_timeout: 60,
            queues: 4096,
            hash_key: None,
            prefault: true,
        }
    }
}

const MOST_BYTES: u32 = 1 << 30;
const MOST_SECONDS: u32 = 1_728_000;

impl DefragConfig {
    /// What can be changed later, and within which bounds, `least` being 0.
    pub const NAMES: &'static [&'static str] =
        &["ipfrag_high_thresh", "ipfrag_time", "ipfrag_max_dist", "frag6_high_thresh", "frag6_timeout"];

    const LIMITS: [u32; 5] = [MOST_BYTES, MOST_SECONDS, MOST_BYTES, MOST_BYTES, MOST_SECONDS];

    fn slot(&mut self, place: usize) -> &mut u32 {
        match place {
            0 => &mut self.ipfrag_high_thresh,
            1 => &mut self.ipfrag_time,
            2 => &mut self.ipfrag_max_dist,
            3 => &mut self.frag6_high_thresh,
            _ => &mut self.frag6_timeout,
        }
    }

    /// Whether every field is allowed; the error says what is.
    ///
    /// # Errors
    /// [`ConfigError::Range`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut copy = self.clone();
        for (place, name) in Self::NAMES.iter().enumerate() {
            within(name, *copy.slot(place), 0, Self::LIMITS[place])?;
        }
        within("queues", self.queues, 1, 1 << 20)
    }

    /// Sets a field by its name (one of [`DefragConfig::NAMES`]), as far as `made` reserved memory for it.
    pub(super) fn set(&mut self, name: &str, value: u32, made: &mut Self) -> Result<(), ConfigError> {
        let place = Self::NAMES.iter().position(|n| *n == name);
        let place = place.ok_or_else(|| ConfigError::UnknownTunable(name.to_owned()))?;
        let reserved = name.ends_with("high_thresh");
        let most = if reserved { *made.slot(place) } else { Self::LIMITS[place] };
        within(Self::NAMES[place], value, 0, most)?;
        *self.slot(place) = value;
        Ok(())
    }

    /// How many bytes a [`super::Defrag`] of this configuration takes, to the byte (a few hundred bytes of bookkeeping apart).
    ///
    /// # Errors
    /// As [`DefragConfig::check`].
    pub fn memory(&self) -> Result<u64, ConfigError> {
        self.check()?;
        let options = self.options();
        let queues = self.queues as usize;
        Ok(Blocks::bytes(self.blocks(), options)
            + Queues::bytes(queues, options)
            + Sources::bytes(queues, options)
            + Array::<u8>::bytes(LONGEST, options))
    }

    pub(super) fn options(&self) -> Options<'static> {
        Options { prefault: self.prefault, ..Options::default() }
    }

    /// Blocks that suffice: a fragment is taken while no more than the threshold is used, and takes no more than the largest.
    pub(super) fn blocks(&self) -> usize {
        let of = |thresh: u32| thresh as usize / Blocks::BYTES as usize + Blocks::MOST_OF_ONE;
        of(self.ipfrag_high_thresh) + of(self.frag6_high_thresh)
    }
}

/// What a datagram that waits takes: its blocks, and its own place.
pub(super) const fn cost(blocks: u32) -> u32 {
    blocks * Blocks::BYTES + QUEUE_BYTES
}

fn within(name: &'static str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if value < least || value > most {
        return Err(ConfigError::Range { name, value: value.into(), least: least.into(), most: most.into() });
    }
    Ok(())
}
