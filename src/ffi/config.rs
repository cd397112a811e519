//! Chapter: configuration.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

use super::{
    CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_OK, Name, ended, number, print, sized_in, sized_out, text,
};
use crate::config::{Config, HugePages, Region};
use crate::timeout::Tunables;

/// Ordinary pages.
pub const CONNTAB_PAGES_ORDINARY: u8 = 0;
/// Transparent huge pages where the system has them (madvise). The default.
pub const CONNTAB_PAGES_TRANSPARENT: u8 = 1;
/// 2 MB pages from the reserved pool (MAP_HUGETLB); conntab_table_new fails if there are not enough.
pub const CONNTAB_PAGES_RESERVED: u8 = 2;

/// What a host decides when it makes a table. Fill it by conntab_config_init, then change what you like, then pass it
/// with sizeof(struct conntab_config): the struct may grow at its end in later versions, and what you do not know then
/// keeps its default.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_config {
    /// The most connections there may be, unconfirmed ones included (nf_conntrack_max): 64 to 2^28. Default 262144.
    pub max: u32,
    /// Buckets of seven slots (nf_conntrack_buckets): a power of two up to 2^28; 0, the default, takes what `max` asks
    /// for. There will be more when a raised `max` asks for them.
    pub hashsize: u32,
    /// The most workers there may be at a time: 1 to 1024. Default 16.
    pub workers: u32,
    /// Bytes of host area in each connection: 0 (default) to 64, a multiple of 8.
    pub user_data: u32,
    /// Events that each worker's queue holds, 192 bytes each: 0 (default: no events) to 2^24.
    pub events: u32,
    /// Timeout policies there may be: 0 (default) to 255.
    pub timeout_policies: u32,
    /// Not 0: room for counting packets and bytes (32 bytes a connection). Default 0.
    pub acct: u8,
    /// Not 0: room for start times (8 bytes a connection). Default 0.
    pub timestamp: u8,
    /// Not 0: room for reply tuples of translated IPv6 connections (40 bytes a connection). IPv4 needs none. Default 0.
    pub nat6: u8,
    /// Not 0, the default: touch all memory at creation, so that no packet meets a page fault.
    pub prefault: u8,
    /// CONNTAB_PAGES_*: pages of the large arrays.
    pub pages: u8,
    /// Not 0: the key of the hash is `hash_key`. Default 0: it is drawn at random, as outside tests it should be.
    pub fixed_key: u8,
    /// 0.
    pub reserved: [u8; 2],
    /// See `fixed_key`.
    pub hash_key: [u64; 4],
    /// Memory of the host's for all that the table reserves (hugetlbfs, rte_memzone, a NUMA node), or NULL: then it is
    /// mapped. It must begin at a multiple of 4096, need not be zero, stays the host's, and must outlive the table, its
    /// workers and its dumps; when all of them are freed it may be used again. `pages` and `prefault` do not matter then.
    pub memory: *mut c_void,
    /// Bytes at `memory`: at least what conntab_config_memory says.
    pub memory_size: u64,
    /// The most that conntab_table_set_max may raise `max` to: up to 2^28; 0, the default: no more than `max`. Addresses are
    /// reserved for so many connections, and memory is taken when `max` is raised. (Of the host's `memory` all of it is taken
    /// at once.)
    pub max_reserve: u32,
    /// The most expectations there may be (nf_conntrack_expect_max): 0 (default) to 2^20. 0: there are neither expectations nor
    /// helpers, and nothing is paid for them. About 300 bytes each, and 4 bytes for each connection that there may be.
    pub expect_max: u32,
    /// How many connections at a time may have a helper, an expectation announced by a rule, or a master that is shown: up to
    /// 2^24; 0, the default: four times `expect_max`. About 350 bytes each. Must be 0 if `expect_max` is.
    pub helper_max: u32,
    /// 0.
    pub reserved2: u32,
}

impl conntab_config {
    fn new() -> Self {
        let config = Config::default();
        Self {
            max: config.max,
            hashsize: config.hashsize,
            workers: config.workers,
            user_data: config.user_data,
            events: config.events,
            timeout_policies: config.timeout_policies,
            acct: config.acct.into(),
            timestamp: config.timestamp.into(),
            nat6: config.nat6.into(),
            prefault: config.prefault.into(),
            pages: match config.huge_pages {
                HugePages::Never => CONNTAB_PAGES_ORDINARY,
                HugePages::Transparent => CONNTAB_PAGES_TRANSPARENT,
                HugePages::Reserved => CONNTAB_PAGES_RESERVED,
            },
            fixed_key: 0,
            reserved: [0; 2],
            hash_key: [0; 4],
            memory: std::ptr::null_mut(),
            memory_size: 0,
            max_reserve: config.max_reserve,
            expect_max: config.expect_max,
            helper_max: config.helper_max,
            reserved2: 0,
        }
    }

    fn meant(&self) -> Result<Config, c_int> {
        let huge_pages = match self.pages {
            CONNTAB_PAGES_ORDINARY => HugePages::Never,
            CONNTAB_PAGES_TRANSPARENT => HugePages::Transparent,
            CONNTAB_PAGES_RESERVED => HugePages::Reserved,
            _ => return Err(CONNTAB_EINVAL),
        };
        if self.reserved != [0; 2] || self.reserved2 != 0 {
            return Err(CONNTAB_EINVAL);
        }
        let len = usize::try_from(self.memory_size).map_err(|_| CONNTAB_EINVAL)?;
        let region = NonNull::new(self.memory.cast()).map(|base| {
            // SAFETY: C promises that the bytes are there, ours, and outlive the table (doc of `memory`).
            unsafe { Region::new(base, len) }
        });
        Ok(Config {
            max: self.max,
            max_reserve: self.max_reserve,
            hashsize: self.hashsize,
            workers: self.workers,
            acct: self.acct != 0,
            timestamp: self.timestamp != 0,
            nat6: self.nat6 != 0,
            events: self.events,
            timeout_policies: self.timeout_policies,
            expect_max: self.expect_max,
            helper_max: self.helper_max,
            user_data: self.user_data,
            hash_key: (self.fixed_key != 0).then_some(self.hash_key),
            huge_pages,
            prefault: self.prefault != 0,
            region,
            tunables: Tunables::default(),
        })
    }
}

/// Reads a configuration as it was handed in.
pub(super) fn read(config: *const conntab_config, size: usize) -> Result<Config, c_int> {
    // SAFETY: C promises `size` bytes; any bytes are a valid `conntab_config`.
    unsafe { sized_in(config, size, conntab_config::new()) }?.meant()
}

/// Fills a configuration with the defaults. `size`: sizeof(struct conntab_config). Returns CONNTAB_OK, or
/// CONNTAB_EINVAL for NULL. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_config_init(config: *mut conntab_config, size: usize) -> c_int {
    if config.is_null() || size == 0 {
        return CONNTAB_EINVAL;
    }
    // SAFETY: C promises `size` writable bytes.
    unsafe { sized_out(&conntab_config::new(), config, size) };
    CONNTAB_OK
}

/// How many bytes a table of this configuration will take when it is made, to the byte; written to `bytes`. (Besides there are a few
/// kilobytes of bookkeeping, and 12 kB for each worker, from the heap.) Returns CONNTAB_OK, or an error as
/// conntab_table_new would. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_config_memory(
    config: *const conntab_config,
    size: usize,
    bytes: *mut u64,
) -> c_int {
    if bytes.is_null() || !bytes.is_aligned() {
        return CONNTAB_EINVAL;
    }
    match read(config, size).and_then(|config| config.memory().map_err(|e| number(&e))) {
        Ok(needed) => {
            // SAFETY: C promises room for a number; it was looked at.
            unsafe { bytes.write(needed) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Says in English what is wrong with a configuration, which field and what is allowed: written to `buffer` as snprintf
/// does (up to `buffer_size` bytes, ended by a 0). Returns the length of the whole text, 0 if nothing is wrong. Any
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_config_explain(
    config: *const conntab_config,
    size: usize,
    buffer: *mut c_char,
    buffer_size: usize,
) -> usize {
    let wrong = match read(config, size) {
        Ok(config) => match (config.check(), config.memory()) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Ok(needed)) if config.region.is_some_and(|region| !region.fits(needed)) => {
                format!("memory must begin at a multiple of 4096 and have {needed} bytes")
            }
            (Ok(()), _) => String::new(),
        },
        Err(CONNTAB_EINVAL) => "NULL, size 0, unknown pages, or reserved bytes that are not 0".to_owned(),
        Err(_) => "fields that this library does not know are not 0".to_owned(),
    };
    print(&wrong, buffer, buffer_size)
}

/// The name of tunable number `n`, from 0 on; NULL behind the last. These are the kernel's sysctl names without
/// nf_conntrack_; `docs/tunables.md` tells what each means. Static: not to be freed. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_tunable_name(n: usize) -> *const c_char {
    NAMES.get(n).map_or(std::ptr::null(), |name| name.as_ptr().cast())
}

static NAMES: [Name; Tunables::NAMES.len()] = ended(Tunables::NAMES);

/// The place of a tunable named by C.
pub(super) fn tunable(name: *const c_char) -> Result<&'static str, c_int> {
    let name = text(name)?;
    let name = name.strip_prefix("nf_conntrack_").unwrap_or(name);
    Tunables::NAMES.iter().find(|known| **known == name).copied().ok_or(CONNTAB_ENOENT)
}
