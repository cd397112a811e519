//! L4: timeout policies: other timeouts than the tunables' for the connections that rules choose (`nfct timeout`,
//! nft's `ct timeout`).

use std::fmt;
use std::sync::PoisonError;

use crate::config::ConfigError;
use crate::conn::{Word, status};
use crate::control::Table;
use crate::memory::{Array, NoMemory, Options};
use crate::packet::Verdict;
use crate::proto::gre;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, mutated, order, passing};
use crate::timeout::Tunables;
use crate::tuple::{Direction, protocol};
use crate::worker::Worker;

/// The policies of a table: for each number all tunables, and whether it was ever set.
///
/// Who reads while a policy changes may meet the timeouts of both, and reads again with its next burst: the tunables' version
/// is raised when all are there. Models: `a_policy_that_is_there_is_whole`, `of_two_that_set_a_policy_one_is_the_last`.
pub(crate) struct Policies {
    values: Array<AtomicU32>,
    /// Of those that set a policy at the same time one is the last, as a whole. No packet waits for it.
    setting: Mutex<()>,
}

const COLUMNS: usize = Tunables::NAMES.len() + 1;

/// Which tunables are timeouts. (Beforehand: workers read all policies in the burst after a change.)
const TIMEOUTS: [bool; Tunables::NAMES.len()] = {
    let mut timeouts = [false; Tunables::NAMES.len()];
    let mut place = 0;
    while place < timeouts.len() {
        timeouts[place] = names_a_timeout(Tunables::NAMES[place].as_bytes());
        place += 1;
    }
    timeouts
};

/// Whether `_timeout` is in a name.
const fn names_a_timeout(mut name: &[u8]) -> bool {
    loop {
        match name {
            [b'_', b't', b'i', b'm', b'e', b'o', b'u', b't', ..] => return true,
            [_, rest @ ..] => name = rest,
            [] => return false,
        }
    }
}

impl Policies {
    pub fn new(policies: u32, options: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self { values: Array::new(policies as usize * COLUMNS, options)?, setting: Mutex::new(()) })
    }

    pub fn bytes(policies: u32, options: Options<'_>) -> u64 {
        Array::<AtomicU32>::bytes(policies as usize * COLUMNS, options)
    }

    pub fn set(&self, number: u8, timeouts: &Tunables) {
        let Some(first) = usize::from(number).checked_sub(1).map(|at| at * COLUMNS) else { return };
        let mut copy = *timeouts;
        let setting = (!mutated("policy-set-unlocked"))
            .then(|| self.setting.lock().unwrap_or_else(PoisonError::into_inner));
        for (place, value) in self.values[first..].iter().take(COLUMNS - 1).enumerate() {
            value.store(*copy.slot(place), Relaxed);
            passing("policy-storing");
        }
        // Release: who sees that it was set sees timeouts.
        self.values[first + COLUMNS - 1].store(1, order("policy-set-relaxed", Release));
        drop(setting);
    }

    /// A policy as it was set.
    fn get(&self, number: u8) -> Option<Tunables> {
        let row = self.values.chunks(COLUMNS).nth(usize::from(number).checked_sub(1)?)?;
        let mut tunables = Tunables::default();
        for (place, value) in row[..COLUMNS - 1].iter().enumerate() {
            *tunables.slot(place) = value.load(Relaxed);
        }
        (row[COLUMNS - 1].load(Acquire) != 0).then_some(tunables)
    }

    /// What holds for the connections of each policy: its timeouts, and the switches of `live`.
    pub fn read(&self, live: &Tunables, into: &mut [Option<Tunables>]) {
        for (row, policy) in self.values.chunks(COLUMNS).zip(into) {
            *policy = None;
            // Acquire: pairs with `set`.
            if row[COLUMNS - 1].load(Acquire) != 0 {
                let mut tunables = *live;
                for (slot, (value, timeout)) in tunables.all().into_iter().zip(row.iter().zip(TIMEOUTS)) {
                    if timeout {
                        *slot = value.load(Relaxed);
                    }
                }
                *policy = Some(tunables);
            }
        }
    }
}

/// Why a timeout policy was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The verdict's connection is not this worker's, or not unconfirmed any more.
    NotUnconfirmed,
    /// No policy has this number: see [`Table::set_timeout_policy`].
    Unknown(u8),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnconfirmed => {
                write!(f, "the connection is not this worker's, or not unconfirmed any more")
            }
            Self::Unknown(n) => write!(f, "there is no timeout policy {n}"),
        }
    }
}

impl std::error::Error for PolicyError {}

impl Table {
    /// Makes timeout policy `number` (1 to [`crate::Config::timeout_policies`]) what the timeouts in `timeouts` say, for
    /// all protocols; its other fields do not matter. Those it leaves at their defaults stay there, whatever the tunables
    /// become: so it is with the policies that nft makes. Start from [`Table::tunables`] to freeze what they are now instead. If there was such a policy
    /// already, its connections change over with their next packet. Workers take it over with their next burst, or when
    /// they attach it.
    pub fn set_timeout_policy(&self, number: u8, timeouts: &Tunables) -> Result<(), ConfigError> {
        let shared = self.shared();
        let most = shared.config.timeout_policies;
        if number == 0 || u32::from(number) > most {
            return Err(ConfigError::Range {
                name: "timeout policy (Config::timeout_policies says how many)",
                value: number.into(),
                least: 1,
                most: most.into(),
            });
        }
        timeouts.check()?;
        shared.policies.set(number, timeouts);
        shared.tuning.changed();
        Ok(())
    }
}

impl Table {
    /// The timeouts of a policy, if it was set.
    pub fn timeout_policy(&self, number: u8) -> Option<Tunables> {
        self.shared().policies.get(number)
    }
}

impl Worker {
    /// Gives an unconfirmed connection a timeout policy: from now on its timeouts are those of the policy. The one that
    /// runs becomes that of a first packet (TCP: `tcp_timeout_syn_sent`, whatever its state; UDP: `udp_timeout`; ...), as when
    /// nft's `ct timeout set` is met. To be called between `track` and `confirm`.
    pub fn set_timeout_policy(&mut self, verdict: &Verdict, number: u8) -> Result<(), PolicyError> {
        let slot = self.pending_slot(verdict).ok_or(PolicyError::NotUnconfirmed)?;
        self.take_over_tunables();
        let policy = usize::from(number).checked_sub(1).and_then(|at| *self.policies.get(at)?);
        let Some(policy) = policy else { return Err(PolicyError::Unknown(number)) };
        let index = self.pending[slot].handle.index();
        let conn = self.shared.table.entry(index);
        let l4 = conn.key_of(self.shared.table.context(), index, Direction::Original).l4();
        let first = match l4 {
            protocol::TCP => policy.tcp_timeout_syn_sent,
            protocol::UDP | protocol::UDPLITE => policy.udp_timeout,
            protocol::ICMP => policy.icmp_timeout,
            protocol::ICMPV6 => policy.icmpv6_timeout,
            protocol::GRE => {
                // Its timeouts are fixed when it begins, which is now.
                let (record, _) = gre::open(&policy);
                conn.store_record(&record.pack());
                record.timeout
            }
            _ => policy.generic_timeout,
        };
        conn.set_policy(number);
        let mut word = Word::unpack(conn.word_acquire());
        if !word.has(status::FIXED_TIMEOUT) {
            word.time = first * 1000;
            conn.set_private_word(word.pack());
        }
        Ok(())
    }
}

#[cfg(all(test, not(conntab_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_replaces() {
        let kept = Tunables::NAMES.iter().zip(TIMEOUTS).filter(|(_, timeout)| !timeout);
        let kept: Vec<_> = kept.map(|(name, _)| *name).collect();
        assert_eq!(
            kept,
            [
                "tcp_max_retrans",
                "tcp_loose",
                "tcp_be_liberal",
                "tcp_ignore_invalid_rst",
                "checksum",
                "acct",
                "timestamp",
                "events",
                "nat_hooks"
            ]
        );
    }
}
