//! L4: making room in a full table, as the kernel does: near the place where the new connection would go, one that has
//! expired or is not ASSURED has to leave.

use crate::conn::{Word, status};
use crate::stats::Stat;
use crate::sync::{passing, planted};
use crate::worker::Worker;

/// How many buckets are searched.
const BUCKETS: u64 = 8;

impl Worker {
    /// Ends one connection that has expired, or evicts one that is not ASSURED, from the buckets at and after this hash. Its permit goes to the
    /// caller.
    pub(crate) fn early_drop(&mut self, hash: u64, tick: u32) -> bool {
        for step in 0..BUCKETS {
            let mut victim = None;
            // The low bits choose the bucket, however many there are.
            let hash = hash.wrapping_add(step);
            self.shared.table.bucket_scan(&self.local, hash, |hit| {
                let word = Word::unpack(hit.word);
                let expired = word.left(tick) <= 0;
                let firm = word.has(status::ASSURED) && !planted("early-drop-assured");
                if expired || victim.is_none() && !firm {
                    victim = Some((hit.index, hit.word, expired));
                }
            });
            passing("early-drop-looked");
            // If a packet has refreshed it at this moment it stays.
            if let Some((index, word, expired)) = victim
                && self.shared.table.kill(&mut self.local, index, word)
            {
                self.gone(index);
                self.count(if expired { Stat::Expired } else { Stat::EarlyDrop });
                return true;
            }
        }
        false
    }
}
