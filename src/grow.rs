//! L4: another `max` while packets flow: memory first, then buckets, then permits.

use crate::config::ConfigError;
use crate::control::Table;
use crate::shared::{Shared, entries};
use crate::sync::{Ordering, passing};

/// The call that sets `max`. Not waited for: another call fails while it exists.
struct Setting<'t>(&'t Shared);

impl<'t> Setting<'t> {
    fn begin(shared: &'t Shared) -> Result<Self, ConfigError> {
        // Acquire: what the last call has done; pairs with the Release of its drop.
        match shared.setting_max.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Self(shared)),
            Err(_) => Err(ConfigError::Busy),
        }
    }
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        self.0.setting_max.store(0, Ordering::Release);
    }
}

impl Table {
    /// Changes `max` while packets flow: up to [`Config::max_reserve`](crate::Config::max_reserve).
    ///
    /// Where the new one asks for it, memory is taken and the buckets double until they suffice, in the calling thread, with
    /// some help of the workers; no packet waits for it. `max` is raised when all that is done. It takes about a second for
    /// each million connections; the memory of the smaller arrays is given back on the way, or later by
    /// [`reap`](crate::Worker::reap) if a worker stands still at that moment.
    ///
    /// A lower `max` ends no connection and gives no memory back: until there are fewer, a connection that comes has to take
    /// the place of one that may be evicted (early drop), but for up to 64 that each worker has room for until it
    /// reaps or is idle.
    ///
    /// An error leaves `max` as it was; the table may have more buckets and memory than before, which a further call
    /// uses. One call at a time: another one fails with [`ConfigError::Busy`].
    pub fn set_max(&self, max: u32) -> Result<(), ConfigError> {
        let shared = self.shared();
        shared.config.check_max(max)?;
        let _setting = Setting::begin(shared)?;
        passing("max-begun");
        let table = &shared.table;
        let entries = entries(&shared.config, max);
        if entries > table.entries() {
            // What is beside the slab comes first: whoever has an index finds all of it.
            shared.extend_side(entries as usize)?;
            table.extend(entries)?;
            passing("max-extended");
        }
        let buckets = shared.config.buckets() << shared.config.doublings(max);
        if table.buckets() < buckets {
            let mut local = table.control();
            while table.buckets() < buckets {
                table.double(&mut local)?;
            }
            table.settle_growth(&mut local);
        }
        passing("max-doubled");
        shared.limit.set_max(max);
        passing("max-set");
        Ok(())
    }
}
