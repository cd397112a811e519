/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * conntab: an embeddable, lock-free connection-tracking table for userspace dataplanes.
 *
 *   struct conntab_config config;
 *   conntab_config_init(&config, sizeof config);
 *   conntab_table *table;
 *   conntab_worker *worker;
 *   conntab_table_new(&config, sizeof config, &table);       all memory is reserved here
 *   conntab_worker_new(table, &worker);                      one for each thread
 *   for (;;) {
 *       ... a burst of packets ...
 *       conntab_track(worker, now, packets, n, verdicts);    NEW, ESTABLISHED, RELATED, INVALID ...
 *       ... rules: which packets leave ...
 *       conntab_confirm(worker, now, verdicts, n, keep);     what leaves enters the table
 *       conntab_reap(worker, now, 1024, NULL);               now and then: expiry, in slices
 *   }
 *
 * Rules that hold throughout:
 *  - Threads. A table may be used by any thread at any time. A worker belongs to one thread at a time (it may move).
 *    No packet ever waits for another thread.
 *  - Time. `now` is the host's: milliseconds of any monotonic clock, the same for all workers of a table.
 *  - Errors are negative numbers, CONNTAB_E*; conntab_strerror names them. NULL for what must not be NULL is
 *    CONNTAB_EINVAL, never a crash. _free(NULL) is fine.
 *  - Structs that may grow are passed with their size: sizeof of the struct as your header has it.
 *  - Handles (uint64_t conn) are index and generation. One that is stale, forged or 0 is refused, never followed.
 *  - Ownership. What a _new call makes is the caller's, who gives it back by the _free call of the same name. Nothing else
 *    needs freeing.
 *  - fork: the child of a process may not use the parent's tables (they are not shared with it), but may exit or exec.
 *
 * Generated from src/ffi; do not edit.
 */
#ifndef CONNTAB_H
#define CONNTAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ====================================================================================================
 * Version
 * ==================================================================================================== */

/**
 * Major version of this header. Another one means another ABI.
 */
#define CONNTAB_VERSION_MAJOR 0

/**
 * Minor version of this header. While the major version is 0, another one means another ABI.
 */
#define CONNTAB_VERSION_MINOR 1

/**
 * Patch version of this header.
 */
#define CONNTAB_VERSION_PATCH 0

/**
 * Version of this header as one number, to be compared with conntab_version().
 */
#define CONNTAB_VERSION 1000

/**
 * The version of the library that is linked, as one number: major * 1000000 + minor * 1000 + patch. To be compared
 * with CONNTAB_VERSION_*, which are those of the header. Any thread; never blocks.
 */
uint32_t conntab_version(void);

/**
 * The version of the library that is linked, as text such as "0.1.0". Static: not to be freed. Any thread; never blocks.
 */
const char *conntab_version_string(void);

/* ====================================================================================================
 * Errors and reasons
 * ==================================================================================================== */

/**
 * Done.
 */
#define CONNTAB_OK 0

/**
 * An argument is NULL, misaligned, out of its range, or not UTF-8.
 */
#define CONNTAB_EINVAL (-1)

/**
 * Memory could not be reserved (or the system gave no random numbers), or the region handed in is too small.
 */
#define CONNTAB_ENOMEM (-2)

/**
 * There is no such thing (any more): a stale handle, an unknown name.
 */
#define CONNTAB_ENOENT (-3)

/**
 * As many exist as the configuration allows.
 */
#define CONNTAB_EUSERS (-4)

/**
 * A struct is larger than this library knows, and what it does not know is not 0.
 */
#define CONNTAB_E2BIG (-5)

/**
 * The connection is not this worker's, or not unconfirmed any more.
 */
#define CONNTAB_ESTATE (-6)

/**
 * It is of another protocol than what was asked for.
 */
#define CONNTAB_EPROTO (-7)

/**
 * The configuration reserved no room for that.
 */
#define CONNTAB_EROOM (-8)

/**
 * The worker, or for conntab_table_set_max the table's `max`, is in use by another thread at this moment.
 */
#define CONNTAB_EBUSY (-9)

/**
 * There is one already, or another connection expects the same.
 */
#define CONNTAB_EEXIST (-10)

/**
 * What an error means, in English. Static: not to be freed; for a number that is no error, "unknown error". Any
 * thread; never blocks.
 */
const char *conntab_strerror(int error);

/**
 * The name of a reason (conntab_verdict.reason), such as "checksum": stable, made for logs and metrics. Static: not to be
 * freed; "unknown" for a number that is none. `docs/reasons.md` tells what each means. Any thread; never blocks.
 */
const char *conntab_reason_name(uint16_t reason);

/**
 * The name of a state (CONNTAB_NEW ...), in capitals. Static: not to be freed; "?" for a number that is none. Any thread;
 * never blocks.
 */
const char *conntab_state_name(uint8_t state);

/* ====================================================================================================
 * Tuples and connections
 * ==================================================================================================== */

/**
 * conntab_tuple.l3: IPv4.
 */
#define CONNTAB_IPV4 2

/**
 * conntab_tuple.l3: IPv6.
 */
#define CONNTAB_IPV6 10

/**
 * Created by an expectation.
 */
#define CONNTAB_STATUS_EXPECTED 1

/**
 * A packet was accepted in reply direction.
 */
#define CONNTAB_STATUS_SEEN_REPLY 2

/**
 * Not to be evicted early.
 */
#define CONNTAB_STATUS_ASSURED 4

/**
 * In the table.
 */
#define CONNTAB_STATUS_CONFIRMED 8

/**
 * The source is translated.
 */
#define CONNTAB_STATUS_SRC_NAT 16

/**
 * The destination is translated.
 */
#define CONNTAB_STATUS_DST_NAT 32

/**
 * Source NAT was decided.
 */
#define CONNTAB_STATUS_SRC_NAT_DONE 128

/**
 * Destination NAT was decided.
 */
#define CONNTAB_STATUS_DST_NAT_DONE 256

/**
 * Leaving the table (in events).
 */
#define CONNTAB_STATUS_DYING 512

/**
 * A helper is attached.
 */
#define CONNTAB_STATUS_HELPER 8192

/**
 * TCP: no segment yet.
 */
#define CONNTAB_TCP_NONE 0

/**
 * TCP: SYN seen.
 */
#define CONNTAB_TCP_SYN_SENT 1

/**
 * TCP: SYN and SYN/ACK seen.
 */
#define CONNTAB_TCP_SYN_RECV 2

/**
 * TCP: the handshake is complete.
 */
#define CONNTAB_TCP_ESTABLISHED 3

/**
 * TCP: a FIN was seen.
 */
#define CONNTAB_TCP_FIN_WAIT 4

/**
 * TCP: the first FIN was acknowledged.
 */
#define CONNTAB_TCP_CLOSE_WAIT 5

/**
 * TCP: FINs of both ends were seen.
 */
#define CONNTAB_TCP_LAST_ACK 6

/**
 * TCP: the second FIN was acknowledged.
 */
#define CONNTAB_TCP_TIME_WAIT 7

/**
 * TCP: a RST was seen.
 */
#define CONNTAB_TCP_CLOSE 8

/**
 * TCP: SYNs of both ends were seen (simultaneous open).
 */
#define CONNTAB_TCP_SYN_SENT2 9

/**
 * SCTP: no packet yet.
 */
#define CONNTAB_SCTP_NONE 0

/**
 * SCTP: INIT seen, or the association is over.
 */
#define CONNTAB_SCTP_CLOSED 1

/**
 * SCTP: INIT ACK seen.
 */
#define CONNTAB_SCTP_COOKIE_WAIT 2

/**
 * SCTP: COOKIE ECHO seen.
 */
#define CONNTAB_SCTP_COOKIE_ECHOED 3

/**
 * SCTP: COOKIE ACK seen, or the answer to a HEARTBEAT on a path of its own.
 */
#define CONNTAB_SCTP_ESTABLISHED 4

/**
 * SCTP: SHUTDOWN of the end that began.
 */
#define CONNTAB_SCTP_SHUTDOWN_SENT 5

/**
 * SCTP: SHUTDOWN of the other end.
 */
#define CONNTAB_SCTP_SHUTDOWN_RECD 6

/**
 * SCTP: SHUTDOWN ACK seen.
 */
#define CONNTAB_SCTP_SHUTDOWN_ACK_SENT 7

/**
 * SCTP: a HEARTBEAT came first.
 */
#define CONNTAB_SCTP_HEARTBEAT_SENT 8

/**
 * Room that is enough for any line of conntab_connection_text and conntab_event_text.
 */
#define CONNTAB_TEXT_SIZE 600

/**
 * What identifies one direction of a connection, zones apart: 40 bytes.
 *
 * sport and dport, in host byte order, hold for ICMP and ICMPv6: the identifier, and type << 8 | code; for GRE: the keys
 * (call ids); for protocols without ports: 0.
 */
typedef struct conntab_tuple {
  /**
   * Source address in network byte order; IPv4 in the first four bytes, the others 0.
   */
  uint8_t src[16];
  /**
   * Destination address likewise.
   */
  uint8_t dst[16];
  /**
   * Source port, or what stands for it.
   */
  uint16_t sport;
  /**
   * Destination port, or what stands for it.
   */
  uint16_t dport;
  /**
   * Transport protocol (IANA number).
   */
  uint8_t l4;
  /**
   * CONNTAB_IPV4 or CONNTAB_IPV6.
   */
  uint8_t l3;
  /**
   * 0.
   */
  uint16_t reserved;
} conntab_tuple;

/**
 * Packets and bytes of one direction. Bytes are those of whole IP packets.
 */
typedef struct conntab_counters {
  /**
   * Packets.
   */
  uint64_t packets;
  /**
   * Bytes.
   */
  uint64_t bytes;
} conntab_counters;

/**
 * A connection, copied out of the table at one moment.
 */
typedef struct conntab_connection {
  /**
   * Its handle: index and generation, never 0. It stays harmless when the connection is gone.
   */
  uint64_t conn;
  /**
   * Tuple of the original direction.
   */
  struct conntab_tuple original;
  /**
   * Tuple of the reply direction: the inverse, unless NAT changed it.
   */
  struct conntab_tuple reply;
  /**
   * Zone of the original direction.
   */
  uint16_t zone_orig;
  /**
   * Zone of the reply direction.
   */
  uint16_t zone_reply;
  /**
   * Status: CONNTAB_STATUS_* bits.
   */
  uint16_t status;
  /**
   * The protocol's state (TCP: CONNTAB_TCP_*, SCTP: CONNTAB_SCTP_*), else 0.
   */
  uint8_t proto_state;
  /**
   * 1: `counters` are known.
   */
  uint8_t has_counters;
  /**
   * 1: `delta_time` is known.
   */
  uint8_t has_delta_time;
  /**
   * 0.
   */
  uint8_t reserved[3];
  /**
   * Its mark.
   */
  uint32_t mark;
  /**
   * Milliseconds until it expires.
   */
  uint32_t timeout_ms;
  /**
   * GRE: seconds while unreplied, else 0.
   */
  uint32_t gre_timeout;
  /**
   * GRE: seconds once replied, else 0.
   */
  uint32_t gre_stream_timeout;
  /**
   * 0.
   */
  uint32_t reserved2;
  /**
   * Packets and bytes: of the original direction, then of the reply direction.
   */
  struct conntab_counters counters[2];
  /**
   * Seconds since it began.
   */
  uint64_t delta_time;
  /**
   * The connection that expected it, which may be gone; 0: it was not expected.
   */
  uint64_t master;
  /**
   * The master's original tuple; nothing if `master` is 0.
   */
  struct conntab_tuple master_tuple;
  /**
   * The name of its helper, ended by a 0; empty: it has none.
   */
  char helper[16];
} conntab_connection;

/**
 * Writes a connection as the line of /proc/net/nf_conntrack (without newline) into `buffer`, as snprintf does: up to
 * `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. `size`: sizeof(struct conntab_connection). Returns
 * the length of the whole line, 0 for NULL or nonsense. Any thread; allocates; never blocks.
 */
size_t conntab_connection_text(const struct conntab_connection *connection,
                               size_t size,
                               char *buffer,
                               size_t buffer_size);

/* ====================================================================================================
 * Configuration
 * ==================================================================================================== */

/**
 * Ordinary pages.
 */
#define CONNTAB_PAGES_ORDINARY 0

/**
 * Transparent huge pages where the system has them (madvise). The default.
 */
#define CONNTAB_PAGES_TRANSPARENT 1

/**
 * 2 MB pages from the reserved pool (MAP_HUGETLB); conntab_table_new fails if there are not enough.
 */
#define CONNTAB_PAGES_RESERVED 2

/**
 * What a host decides when it makes a table. Fill it by conntab_config_init, then change what you like, then pass it
 * with sizeof(struct conntab_config): the struct may grow at its end in later versions, and what you do not know then
 * keeps its default.
 */
typedef struct conntab_config {
  /**
   * The most connections there may be, unconfirmed ones included (nf_conntrack_max): 64 to 2^28. Default 262144.
   */
  uint32_t max;
  /**
   * Buckets of seven slots (nf_conntrack_buckets): a power of two up to 2^28; 0, the default, takes what `max` asks
   * for. There will be more when a raised `max` asks for them.
   */
  uint32_t hashsize;
  /**
   * The most workers there may be at a time: 1 to 1024. Default 16.
   */
  uint32_t workers;
  /**
   * Bytes of host area in each connection: 0 (default) to 64, a multiple of 8.
   */
  uint32_t user_data;
  /**
   * Events that each worker's queue holds, 192 bytes each: 0 (default: no events) to 2^24.
   */
  uint32_t events;
  /**
   * Timeout policies there may be: 0 (default) to 255.
   */
  uint32_t timeout_policies;
  /**
   * Not 0: room for counting packets and bytes (32 bytes a connection). Default 0.
   */
  uint8_t acct;
  /**
   * Not 0: room for start times (8 bytes a connection). Default 0.
   */
  uint8_t timestamp;
  /**
   * Not 0: room for reply tuples of translated IPv6 connections (40 bytes a connection). IPv4 needs none. Default 0.
   */
  uint8_t nat6;
  /**
   * Not 0, the default: touch all memory at creation, so that no packet meets a page fault.
   */
  uint8_t prefault;
  /**
   * CONNTAB_PAGES_*: pages of the large arrays.
   */
  uint8_t pages;
  /**
   * Not 0: the key of the hash is `hash_key`. Default 0: it is drawn at random, as outside tests it should be.
   */
  uint8_t fixed_key;
  /**
   * 0.
   */
  uint8_t reserved[2];
  /**
   * See `fixed_key`.
   */
  uint64_t hash_key[4];
  /**
   * Memory of the host's for all that the table reserves (hugetlbfs, rte_memzone, a NUMA node), or NULL: then it is
   * mapped. It must begin at a multiple of 4096, need not be zero, stays the host's, and must outlive the table, its
   * workers and its dumps; when all of them are freed it may be used again. `pages` and `prefault` do not matter then.
   */
  void *memory;
  /**
   * Bytes at `memory`: at least what conntab_config_memory says.
   */
  uint64_t memory_size;
  /**
   * The most that conntab_table_set_max may raise `max` to: up to 2^28; 0, the default: no more than `max`. Addresses are
   * reserved for so many connections, and memory is taken when `max` is raised. (Of the host's `memory` all of it is taken
   * at once.)
   */
  uint32_t max_reserve;
  /**
   * The most expectations there may be (nf_conntrack_expect_max): 0 (default) to 2^20. 0: there are neither expectations nor
   * helpers, and nothing is paid for them. About 300 bytes each, and 4 bytes for each connection that there may be.
   */
  uint32_t expect_max;
  /**
   * How many connections at a time may have a helper, an expectation announced by a rule, or a master that is shown: up to
   * 2^24; 0, the default: four times `expect_max`. About 350 bytes each. Must be 0 if `expect_max` is.
   */
  uint32_t helper_max;
  /**
   * 0.
   */
  uint32_t reserved2;
} conntab_config;

/**
 * Fills a configuration with the defaults. `size`: sizeof(struct conntab_config). Returns CONNTAB_OK, or
 * CONNTAB_EINVAL for NULL. Any thread; never blocks.
 */
int conntab_config_init(struct conntab_config *config,
                        size_t size);

/**
 * How many bytes a table of this configuration will take when it is made, to the byte; written to `bytes`. (Besides there are a few
 * kilobytes of bookkeeping, and 12 kB for each worker, from the heap.) Returns CONNTAB_OK, or an error as
 * conntab_table_new would. Any thread; never blocks.
 */
int conntab_config_memory(const struct conntab_config *config,
                          size_t size,
                          uint64_t *bytes);

/**
 * Says in English what is wrong with a configuration, which field and what is allowed: written to `buffer` as snprintf
 * does (up to `buffer_size` bytes, ended by a 0). Returns the length of the whole text, 0 if nothing is wrong. Any
 * thread; never blocks.
 */
size_t conntab_config_explain(const struct conntab_config *config,
                              size_t size,
                              char *buffer,
                              size_t buffer_size);

/**
 * The name of tunable number `n`, from 0 on; NULL behind the last. These are the kernel's sysctl names without
 * nf_conntrack_; `docs/tunables.md` tells what each means. Static: not to be freed. Any thread; never blocks.
 */
const char *conntab_tunable_name(size_t n);

/* ====================================================================================================
 * The table: tunables, timeout policies, dump, statistics
 * ==================================================================================================== */

/**
 * A walk over a table's connections.
 */
typedef struct conntab_dump conntab_dump;

/**
 * A table of connections. Opaque; any number of them may exist, each with memory and secret of its own.
 */
typedef struct conntab_table conntab_table;

/**
 * The counters of a table, added up over its workers, and what it uses of what it reserved. The first ten are those of
 * `conntrack -S`. Approximate while workers are at it.
 */
typedef struct conntab_stats {
  /**
   * Packets that found a connection.
   */
  uint64_t found;
  /**
   * Packets judged INVALID.
   */
  uint64_t invalid;
  /**
   * Connections confirmed.
   */
  uint64_t insert;
  /**
   * Connections that could not be confirmed because of a clash; their packet was dropped.
   */
  uint64_t insert_failed;
  /**
   * Packets dropped because the table was full or a connection could not be confirmed.
   */
  uint64_t drop;
  /**
   * Connections evicted to make room.
   */
  uint64_t early_drop;
  /**
   * Packets whose headers, checksum or inner packet were no good, and ICMP errors about no known connection (also
   * counted as invalid).
   */
  uint64_t error;
  /**
   * Lookups done again because the connection they had found was gone.
   */
  uint64_t search_restart;
  /**
   * Clashes resolved by adopting the connection that was there first.
   */
  uint64_t clash_resolve;
  /**
   * Inserts refused because a chain was too long.
   */
  uint64_t chaintoolong;
  /**
   * Packets let through with their connection without changing it.
   */
  uint64_t ignored;
  /**
   * Packets judged by their connection's state alone because its record was being written.
   */
  uint64_t busy;
  /**
   * Connections that ended by their timeout.
   */
  uint64_t expired;
  /**
   * Connections deleted, flushed, or ended by a packet.
   */
  uint64_t deleted;
  /**
   * New connections let go without being confirmed.
   */
  uint64_t not_confirmed;
  /**
   * Packets dropped because all freed entries wait for a worker that stands still.
   */
  uint64_t reclaim_stalled;
  /**
   * Events lost because their queue was full.
   */
  uint64_t events_lost;
  /**
   * Sweeps by conntab_reap that took longer than a day.
   */
  uint64_t late_sweep;
  /**
   * Connections, unconfirmed ones included.
   */
  uint64_t connections;
  /**
   * The most there may be.
   */
  uint64_t max;
  /**
   * Entries there are: more than `max`, for those that wait to be used again.
   */
  uint64_t entries;
  /**
   * Entries neither used nor waiting (those in the workers' caches do not count as free).
   */
  uint64_t free;
  /**
   * Entries freed, and not to be used again before every worker that was at work has moved on.
   */
  uint64_t waiting;
  /**
   * Overflow buckets there are.
   */
  uint64_t overflow;
  /**
   * Overflow buckets in chains or waiting.
   */
  uint64_t overflow_used;
  /**
   * Slots that were not where they must be: an error in this library if not 0.
   */
  uint64_t lost;
  /**
   * Attempts to insert that lost a race and were repeated.
   */
  uint64_t insert_restarts;
  /**
   * Inserts given up after too many attempts.
   */
  uint64_t attempts_exhausted;
  /**
   * Inserts refused because no overflow bucket was left.
   */
  uint64_t overflow_exhausted;
  /**
   * Other loops that met their bound. Harmless, and expected to stay 0.
   */
  uint64_t bounds;
  /**
   * Buckets there are, overflow buckets apart.
   */
  uint64_t buckets;
  /**
   * Bytes that the table has taken: what conntab_config_memory says, and what conntab_table_set_max has taken since.
   */
  uint64_t memory;
  /**
   * Connections that were expected.
   */
  uint64_t expect_new;
  /**
   * Expectations made.
   */
  uint64_t expect_create;
  /**
   * Expectations that ended, in whatever way.
   */
  uint64_t expect_delete;
  /**
   * Expectations refused because there were as many as there may be.
   */
  uint64_t expect_full;
  /**
   * Connections that got no help record because all were taken: no helper was attached, or a child's master is not shown.
   */
  uint64_t helper_full;
  /**
   * Connections that are expected.
   */
  uint64_t expectations;
  /**
   * Help records in use: connections with a helper, with an expectation by rule, or with a master.
   */
  uint64_t helper_records;
} conntab_stats;

/**
 * Makes a table and takes its memory: all that it will use before conntab_table_set_max raises its `max`, besides 12 kB from
 * the heap for each worker.
 * `size`: sizeof(struct conntab_config). Writes the table to `out`; the caller owns it (conntab_table_free).
 *
 * Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or a field out of range (conntab_config_explain says which); CONNTAB_E2BIG;
 * CONNTAB_ENOMEM. Any thread. It may take long (it touches the memory) and makes system calls.
 */
int conntab_table_new(const conntab_config *config,
                      size_t size,
                      struct conntab_table **out);

/**
 * Frees a table; NULL is fine. Workers and dumps of it that still exist stay usable, and its memory goes with the last of
 * them. Any thread, once; gives memory back to the system.
 */
void conntab_table_free(struct conntab_table *table);

/**
 * Changes a tunable while packets flow. `name`: the kernel's sysctl name, with or without nf_conntrack_, such as
 * "tcp_timeout_established"; timeouts are in seconds. Workers take it over with their next burst.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no tunable has that name; CONNTAB_EINVAL: NULL, or the value is out of range.
 * Any thread; never blocks.
 */
int conntab_table_set(const struct conntab_table *table,
                      const char *name,
                      uint32_t value);

/**
 * Changes the most connections there may be, `max`, while packets flow: 64 to conntab_config.max_reserve. A higher one takes
 * memory and doubles the buckets where it asks for that, in the calling thread and with some help of the workers, about a
 * second for each million connections; no packet waits for it. A lower one ends no connection and gives no memory back: until there
 * are fewer, a new one has to take the place of one that may be evicted, but for up to 64 that each worker has room for until it reaps or is idle.
 *
 * Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or out of range; CONNTAB_ENOMEM; CONNTAB_EBUSY: another call is at work;
 * CONNTAB_EROOM: no overflow buckets were left to move chains with. After an
 * error `max` is what it was, and the call may be repeated. Any thread; makes system calls; not for the packet path.
 */
int conntab_table_set_max(const struct conntab_table *table,
                          uint32_t max);

/**
 * Reads a tunable. Returns and rules as conntab_table_set.
 */
int conntab_table_get(const struct conntab_table *table, const char *name, uint32_t *value);

/**
 * Makes timeout policy `policy` (1 to conntab_config.timeout_policies) or changes one of its timeouts: `name` is that of a
 * tunable which is a timeout, `seconds` its value in the policy. A policy that is new begins with the table's timeouts of
 * that moment. conntab_set_timeout_policy attaches it.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no timeout has that name; CONNTAB_EINVAL: NULL, or policy or seconds out of range.
 * Any thread, one at a time for one table (another would wait for it, and of two that change one policy at once either may
 * undo what the other did); not for the packet path.
 */
int conntab_table_policy(const struct conntab_table *table,
                         uint8_t policy,
                         const char *name,
                         uint32_t seconds);

/**
 * Connections there are at this moment, unconfirmed ones and those that have expired but were not swept yet included; 0 for
 * NULL. Any thread; never blocks.
 */
uint32_t conntab_table_count(const struct conntab_table *table);

/**
 * Ends the connection of a handle. Returns CONNTAB_OK; CONNTAB_ENOENT: there is none of that handle (any more), or it is
 * not confirmed yet; CONNTAB_EINVAL for NULL. Any thread; allocates; never blocks. (A worker's own thread is better off with
 * conntab_delete, which does not.)
 */
int conntab_table_delete(const struct conntab_table *table,
                         uint64_t conn);

/**
 * Ends every connection that is in the table when the call begins and is still there when it comes by. Returns how many;
 * 0 for NULL. Any thread; allocates; takes as long as the table is large, and makes no packet wait.
 */
uint32_t conntab_table_flush(const struct conntab_table *table);

/**
 * Begins a walk over the table's connections as of `now` (milliseconds, the clock of conntab_track): every connection that
 * lives from the first call of conntab_dump_next to the last is among them, once; those that come or go meanwhile may be.
 * No packet is held up. NULL for NULL. The caller owns it (conntab_dump_free). Any thread; allocates.
 */
struct conntab_dump *conntab_dump_new(const struct conntab_table *table,
                                      uint64_t now);

/**
 * The next connection, written to `connection`; `size`: sizeof(struct conntab_connection). Returns 1; 0 when there are no
 * more; CONNTAB_EINVAL for NULL. One thread at a time for one dump; never blocks.
 */
int conntab_dump_next(struct conntab_dump *dump,
                      conntab_connection *connection,
                      size_t size);

/**
 * Ends a walk; NULL is fine.
 */
void conntab_dump_free(struct conntab_dump *dump);

/**
 * The name of field number `n` of struct conntab_stats, from 0 on; NULL behind the last. The struct is nothing but
 * uint64_t: as an array of those, it has field n at place n. Static: not to be freed. Any thread; never blocks.
 */
const char *conntab_stat_name(size_t n);

/**
 * Reads the statistics of a table into `stats`; `size`: sizeof(struct conntab_stats). Returns CONNTAB_OK, or
 * CONNTAB_EINVAL for NULL. Any thread; never blocks.
 */
int conntab_table_stats(const struct conntab_table *table,
                        struct conntab_stats *stats,
                        size_t size);

/* ====================================================================================================
 * Workers
 * ==================================================================================================== */

/**
 * The means to track packets: one per thread at a time. Opaque. It may be made on one thread and used on another, but
 * not by two at once: calls that find it in use return CONNTAB_EBUSY.
 *
 * Between conntab_track and the next conntab_reap or conntab_idle a worker holds back the reuse of freed entries, so
 * that its burst can use them. A WORKER THAT WILL NOT TRACK FOR A WHILE MUST CALL ONE OF THE TWO; one that does not (its
 * thread sleeps, or is dead) stops nobody, but freed entries pile up, and in the end new connections of all workers are
 * refused with the reason reclaim-stalled. If a worker's thread has died outside a call, any other thread may take the
 * worker over or free it. If it has died inside a call, the worker answers CONNTAB_EBUSY for ever; it must not be freed,
 * and its table's freed entries stay held back: make a new table.
 */
typedef struct conntab_worker conntab_worker;

/**
 * What conntab_reap did.
 */
typedef struct conntab_reaped {
  /**
   * Entries looked at.
   */
  uint32_t examined;
  /**
   * Connections that ended.
   */
  uint32_t expired;
  /**
   * Chains of freed entries that were handed to reclamation.
   */
  uint32_t chains;
  /**
   * 1: this call finished a sweep over all entries.
   */
  uint32_t wrapped;
} conntab_reaped;

/**
 * Makes a worker of a table, written to `out`; the caller owns it (conntab_worker_free). Returns CONNTAB_OK;
 * CONNTAB_EUSERS: as many exist as conntab_config.workers allows; CONNTAB_EINVAL for NULL. Any thread; allocates 12 kB.
 */
int conntab_worker_new(const conntab_table *table,
                       struct conntab_worker **out);

/**
 * Frees a worker, whose unconfirmed connections are let go; NULL is fine. Any thread, when no call is in it.
 */
void conntab_worker_free(struct conntab_worker *worker);

/**
 * A slice of expiry and of reclamation: looks at up to `budget` entries (rounded up to 1024; 0: none) from where the last
 * call, of any worker, ended, ends the connections that have expired, makes what was deleted reusable, and leaves the
 * worker idle (conntab_idle). To be called regularly, from an idle loop say, by any worker or by all; the whole table must be
 * swept once a day. `reaped` may be NULL.
 *
 * Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The worker's thread; bounded work; may free a little memory; never
 * blocks.
 */
int conntab_reap(struct conntab_worker *worker,
                 uint64_t now,
                 uint32_t budget,
                 struct conntab_reaped *reaped);

/**
 * Frees the worker from holding back the reuse of entries until its next conntab_track; connections that were not
 * confirmed are let go. Cheap; to be called when there is nothing to do. Returns CONNTAB_OK, CONNTAB_EINVAL or
 * CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_idle(struct conntab_worker *worker);

/**
 * Sets the mark of a connection, confirmed or not. Returns CONNTAB_OK; CONNTAB_ENOENT: there is no such connection (any
 * more); CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_set_mark(struct conntab_worker *worker,
                     uint64_t conn,
                     uint32_t mark);

/**
 * Ends a connection. Returns CONNTAB_OK; CONNTAB_ENOENT: there is none of that handle (any more), or it is not confirmed
 * yet; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_delete(struct conntab_worker *worker,
                   uint64_t conn);

/**
 * conntab_delete for the `n` connections at `conns`, at most CONNTAB_MAX_BURST: several times as fast, as memory latencies
 * overlap. Returns how many were ended; bit i of `*deleted` (NULL: not told) says whether number i was, 0 if it names
 * nobody. CONNTAB_EINVAL for NULL or misaligned pointers; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_delete_burst(struct conntab_worker *worker,
                         const uint64_t *conns,
                         size_t n,
                         uint64_t *deleted);

/**
 * Tells that the host has reset a TCP connection itself (a rule that rejects with a RST): its state becomes CLOSE, its
 * time that of CLOSE. Returns CONNTAB_OK; CONNTAB_ENOENT: there is no such connection in the table (any more), or it is not
 * TCP; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_set_closing(struct conntab_worker *worker,
                        uint64_t now,
                        uint64_t conn);

/* ====================================================================================================
 * Packets and bursts
 * ==================================================================================================== */

/**
 * The most packets that one call takes. 32 is the tuned number.
 */
#define CONNTAB_MAX_BURST 64

/**
 * conntab_packet.hook: it arrived from outside. Transport checksums are verified here, and only here.
 */
#define CONNTAB_PREROUTING 0

/**
 * conntab_packet.hook: it is sent by the host itself.
 */
#define CONNTAB_OUTPUT 3

/**
 * conntab_packet.flags: do not track; the verdict is UNTRACKED.
 */
#define CONNTAB_NOTRACK 1

/**
 * conntab_packet.flags: the NIC has verified the transport checksum, or it need not be.
 */
#define CONNTAB_CHECKSUM_OK 2

/**
 * conntab_packet.flags: it was put together of fragments (conntab_defrag_push says so itself).
 */
#define CONNTAB_REASSEMBLED 4

/**
 * conntab_verdict.state: a first packet of a connection not yet replied.
 */
#define CONNTAB_NEW 0

/**
 * conntab_verdict.state: part of a connection that has seen packets both ways.
 */
#define CONNTAB_ESTABLISHED 1

/**
 * conntab_verdict.state: belongs to a connection without being part of it, such as an ICMP error.
 */
#define CONNTAB_RELATED 2

/**
 * conntab_verdict.state: cannot be classified. The host decides whether to drop it.
 */
#define CONNTAB_INVALID 3

/**
 * conntab_verdict.state: deliberately not tracked.
 */
#define CONNTAB_UNTRACKED 4

/**
 * conntab_verdict.state: the packet must be dropped: the table is full, or it lost a clash.
 */
#define CONNTAB_DROP 5

/**
 * conntab_verdict.state: a fragment: reassemble, then track the whole.
 */
#define CONNTAB_FRAGMENT 6

/**
 * How many states there are: CONNTAB_NEW (0) to CONNTAB_FRAGMENT.
 */
#define CONNTAB_STATES 7

/**
 * conntab_verdict.dir: the way the first packet went.
 */
#define CONNTAB_ORIGINAL 0

/**
 * conntab_verdict.dir: the way back.
 */
#define CONNTAB_REPLY 1

/**
 * A packet, described: 32 bytes. The bytes stay where they are, and are read during conntab_track only; nobody may change
 * them meanwhile (what a guest or another process can write is to be copied first). The checksum of an IPv4 header is not
 * looked at: that is the host's, before it forwards.
 */
typedef struct conntab_packet {
  /**
   * Its bytes, from the IP header on.
   */
  const uint8_t *l3;
  /**
   * How many bytes lie at `l3`: the first segment of a chained mbuf will do, if it holds all headers.
   */
  uint32_t caplen;
  /**
   * Length on the wire from the IP header on, at least `caplen`.
   */
  uint32_t len;
  /**
   * Zone of the packet if it goes in original direction.
   */
  uint16_t zone_orig;
  /**
   * Zone of the packet if it goes in reply direction.
   */
  uint16_t zone_reply;
  /**
   * CONNTAB_PREROUTING or CONNTAB_OUTPUT.
   */
  uint8_t hook;
  /**
   * 0.
   */
  uint8_t reserved[3];
  /**
   * CONNTAB_NOTRACK, CONNTAB_CHECKSUM_OK, CONNTAB_REASSEMBLED.
   */
  uint32_t flags;
  /**
   * The NIC's receive hash, or 0. No result depends on it at present.
   */
  uint32_t hash;
} conntab_packet;

/**
 * The judgement of one packet: 32 bytes.
 */
typedef struct conntab_verdict {
  /**
   * The connection's handle, or 0: there is none.
   */
  uint64_t conn;
  /**
   * The connection's mark.
   */
  uint32_t mark;
  /**
   * The connection's status: CONNTAB_STATUS_* bits.
   */
  uint16_t status;
  /**
   * Why, where there is something to say; 0: nothing. conntab_reason_name names it.
   */
  uint16_t reason;
  /**
   * What a rule sees: CONNTAB_NEW ...
   */
  uint8_t state;
  /**
   * CONNTAB_ORIGINAL or CONNTAB_REPLY; original where there is no connection.
   */
  uint8_t dir;
  /**
   * 1: the connection is not in the table yet: conntab_confirm puts it there.
   */
  uint8_t unconfirmed;
  /**
   * The protocol's state (TCP: CONNTAB_TCP_*, SCTP: CONNTAB_SCTP_*), else 0.
   */
  uint8_t proto_state;
  /**
   * By how much a bound was broken, in its unit (TCP: sequence numbers); else 0.
   */
  uint32_t excess;
  /**
   * The library's own.
   */
  uint32_t pending;
  /**
   * 0.
   */
  uint32_t reserved;
} conntab_verdict;

/**
 * Judges a burst of `n` packets, at most CONNTAB_MAX_BURST, in order, at `now` (milliseconds of any monotonic clock; the
 * clocks of a table's workers may differ by a second), and writes their verdicts. Connections that the burst opens
 * are unconfirmed: conntab_confirm puts them into the table, and the next conntab_track lets go what was not confirmed.
 *
 * Returns how many packets were judged, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. Bounded work; no
 * allocation, no system call; never blocks.
 */
int conntab_track(conntab_worker *worker,
                  uint64_t now,
                  const struct conntab_packet *packets,
                  size_t n,
                  struct conntab_verdict *verdicts);

/**
 * Gives an unconfirmed connection another reply tuple than the inverse of its original one: what NAT needs. `reply` is
 * the tuple of a packet that answers, as it arrives: its source is where the connection was really sent, its destination
 * who it claimed to be from. The verdict's status gets SRC_NAT and DST_NAT as they then hold. To be called between
 * conntab_track and conntab_confirm; if another connection holds that tuple, conntab_confirm will drop the packet.
 *
 * Returns CONNTAB_OK; CONNTAB_ESTATE; CONNTAB_EPROTO: network layer or protocol differ; CONNTAB_EROOM: IPv6 needs
 * conntab_config.nat6; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_set_reply_tuple(conntab_worker *worker,
                            struct conntab_verdict *verdict,
                            const conntab_tuple *reply);

/**
 * Gives an unconfirmed connection a timeout policy (conntab_table_policy): from now on its timeouts are those of the policy.
 * To be called between conntab_track and conntab_confirm.
 *
 * Returns CONNTAB_OK; CONNTAB_ESTATE; CONNTAB_ENOENT: there is no policy of that number; CONNTAB_EINVAL; CONNTAB_EBUSY. The
 * worker's thread; never blocks.
 */
int conntab_set_timeout_policy(conntab_worker *worker,
                               const struct conntab_verdict *verdict,
                               uint8_t policy);

/**
 * Settles the burst after the host's rules: `verdicts` are those of the worker's last conntab_track, bit i of `keep` says
 * that packet i leaves the box (or is delivered to it). Connections of packets that leave enter the table; those
 * of the others are let go. TO BE CALLED FOR EVERY BURST, for the packets of known connections too: it is here that events
 * are told of. A verdict whose state has become CONNTAB_DROP was decided against: another connection holds its tuple, or
 * there is no room; the packet must not leave.
 *
 * Returns how many connections entered the table, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. Bounded work;
 * no allocation, no system call; never blocks.
 */
int conntab_confirm(conntab_worker *worker,
                    uint64_t now,
                    struct conntab_verdict *verdicts,
                    size_t n,
                    uint64_t keep);

/* ====================================================================================================
 * Fragments
 * ==================================================================================================== */

/**
 * conntab_defrag_push: it is a fragment and was taken, or brought nothing new. The host is done with it; its bytes were copied.
 */
#define CONNTAB_DEFRAG_HELD 0

/**
 * conntab_defrag_push: it was the last that was missing. `whole` is to be tracked now, in place of it.
 */
#define CONNTAB_DEFRAG_WHOLE 1

/**
 * conntab_defrag_push: it must be dropped; `whole->reason` says why.
 */
#define CONNTAB_DEFRAG_DROPPED 2

/**
 * conntab_defrag_push: it is no fragment, or one that the kernel lets go on as it is. What conntab_track says of it holds.
 */
#define CONNTAB_DEFRAG_NONE 3

/**
 * Fragments that wait for others, put together as the kernel's connection tracking does (nf_defrag_ipv4, nf_defrag_ipv6):
 * overlaps destroy the datagram, repetitions do no harm, times and thresholds are those of its sysctls. It stands beside the
 * table: hand it every packet of which conntab_track says CONNTAB_FRAGMENT, and when conntab_defrag_push returns
 * CONNTAB_DEFRAG_WHOLE, track what it made:
 *
 *   if (verdict.state == CONNTAB_FRAGMENT &&
 *       conntab_defrag_push(defrag, now, &packet, port, &whole, sizeof whole) == CONNTAB_DEFRAG_WHOLE)
 *       conntab_track(worker, now, &whole.packet, 1, &verdict);  and so on; to be sent in pieces where it must
 *
 * Opaque; one for each worker, as it has no locks. ALL FRAGMENTS OF A DATAGRAM MUST COME TO THE SAME ONE: a NIC spreads fragments by
 * their addresses alone, which sees to that. It may move between threads, but not be used by two at once: calls that find it in
 * use return CONNTAB_EBUSY.
 *
 * Above its threshold a family's fragments are not taken, whichever datagram they belong to, until what waits is
 * complete or has timed out: as in the kernel nothing is evicted, so that a flood cannot destroy what is under way.
 */
typedef struct conntab_defrag conntab_defrag;

/**
 * What a host decides when it makes a conntab_defrag. Fill it by conntab_defrag_config_init, then change what you like. The
 * names are those of the kernel's sysctls (net.ipv4.ipfrag_*, net.netfilter.nf_conntrack_frag6_*), and so are the defaults.
 */
typedef struct conntab_defrag_config {
  /**
   * Bytes that waiting IPv4 fragments may take, in blocks of a kilobyte: 0 (no fragment is ever taken) to 2^30. Default 4 MiB.
   */
  uint32_t ipfrag_high_thresh;
  /**
   * Seconds that an IPv4 datagram may take from its first fragment to arrive to its last: 0 to 1728000. Default 30.
   */
  uint32_t ipfrag_time;
  /**
   * How many fragments of the same IPv4 source may come between two of a datagram; after more of them it is begun anew. 0: any
   * number; up to 2^30. Default 64.
   */
  uint32_t ipfrag_max_dist;
  /**
   * As `ipfrag_high_thresh`, for IPv6.
   */
  uint32_t frag6_high_thresh;
  /**
   * As `ipfrag_time`, for IPv6. Default 60.
   */
  uint32_t frag6_timeout;
  /**
   * The most datagrams that may wait, of both families: 1 to 2^20. Default 4096.
   */
  uint32_t queues;
  /**
   * Not 0, the default: touch all memory at creation.
   */
  uint8_t prefault;
  /**
   * Not 0: the key of the hash is `hash_key`. Default 0: it is drawn at random, as outside tests it should be.
   */
  uint8_t fixed_key;
  /**
   * 0.
   */
  uint8_t reserved[6];
  /**
   * See `fixed_key`.
   */
  uint64_t hash_key[4];
} conntab_defrag_config;

/**
 * What conntab_defrag_push made of a packet.
 */
typedef struct conntab_whole {
  /**
   * CONNTAB_DEFRAG_WHOLE: the whole packet, ready for conntab_track, with the zones, the hook and CONNTAB_NOTRACK of the fragment that
   * completed it. ITS BYTES LIE IN THE conntab_defrag, AND STAY UNTIL THE NEXT CALL WITH IT. They may be up to 65575.
   */
  conntab_packet packet;
  /**
   * The length of the longest fragment, headers included: what a router keeps to when it fragments the packet again.
   */
  uint32_t largest;
  /**
   * The length of the shortest header in front of a fragment other than the first (IPv6: without the fragment header).
   */
  uint16_t least_header;
  /**
   * CONNTAB_DEFRAG_DROPPED: why (conntab_reason_name). Otherwise 0.
   */
  uint16_t reason;
} conntab_whole;

/**
 * The counters of a conntab_defrag, and what waits.
 */
typedef struct conntab_defrag_counters {
  /**
   * Fragments handed in (ReasmReqds).
   */
  uint64_t fragments;
  /**
   * Datagrams put together (ReasmOKs).
   */
  uint64_t reassembled;
  /**
   * Datagrams given up because their time was over (ReasmTimeout).
   */
  uint64_t timeouts;
  /**
   * Datagrams given up because of an overlap (ReasmOverlaps).
   */
  uint64_t overlaps;
  /**
   * Datagrams given up for any other reason of their own: ends that contradict each other, length, marks of congestion.
   */
  uint64_t failed;
  /**
   * IPv4 datagrams begun anew because too many fragments of their source had come in between.
   */
  uint64_t too_far;
  /**
   * Fragments that brought nothing new.
   */
  uint64_t repeated;
  /**
   * Fragments dropped alone, their datagram going on without them.
   */
  uint64_t refused;
  /**
   * Fragments not taken for want of memory, or of room for another datagram.
   */
  uint64_t no_room;
  /**
   * Datagrams that wait now.
   */
  uint64_t waiting;
  /**
   * Bytes that they take, IPv4.
   */
  uint64_t memory_v4;
  /**
   * Bytes that they take, IPv6.
   */
  uint64_t memory_v6;
} conntab_defrag_counters;

/**
 * Fills a configuration with the defaults. `size`: sizeof(struct conntab_defrag_config). Returns CONNTAB_OK, or
 * CONNTAB_EINVAL for NULL. Any thread; never blocks.
 */
int conntab_defrag_config_init(struct conntab_defrag_config *config,
                               size_t size);

/**
 * How many bytes a conntab_defrag of this configuration takes, to the byte (about 2 kB from the heap apart); written to `bytes`. Returns
 * CONNTAB_OK, or an error as conntab_defrag_new would. Any thread; never blocks.
 */
int conntab_defrag_config_memory(const struct conntab_defrag_config *config,
                                 size_t size,
                                 uint64_t *bytes);

/**
 * Makes one, and takes all the memory it will ever use. `size`: sizeof(struct conntab_defrag_config). Writes it to `out`; the caller
 * owns it (conntab_defrag_free).
 *
 * Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or a field out of range; CONNTAB_E2BIG; CONNTAB_ENOMEM. Any thread; makes system calls.
 */
int conntab_defrag_new(const struct conntab_defrag_config *config,
                       size_t size,
                       struct conntab_defrag **out);

/**
 * Frees one, and the fragments that wait; NULL is fine. Any thread, when no call is in it; gives memory back to the system.
 */
void conntab_defrag_free(struct conntab_defrag *defrag);

/**
 * Changes a field of its configuration by its name, such as "ipfrag_time" or "frag6_timeout" (nf_conntrack_ may stand before it). A
 * timeout holds for datagrams that begin from now on; a threshold cannot be raised above what it was at creation.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no field that can be changed has that name; CONNTAB_EINVAL: NULL, or out of range;
 * CONNTAB_EBUSY. Its thread; never blocks.
 */
int conntab_defrag_set(struct conntab_defrag *defrag,
                       const char *name,
                       uint32_t value);

/**
 * Hands a packet in: every one of which conntab_track said CONNTAB_FRAGMENT. (Packets that are no fragments do no harm. IPv6 fragments that
 * are INVALID to conntab_track may be handed in too; the kernel gives their datagrams up.) `now`: milliseconds, as for conntab_track.
 * `interface`: a number for where it came in, which matters only for IPv6 multicast and link-local destinations. All bytes of
 * the packet must lie at `packet->l3`: a fragment in several segments is to be copied together first. What it made is written
 * to `whole`; `size`: sizeof(struct conntab_whole).
 *
 * Returns CONNTAB_DEFRAG_HELD, _WHOLE, _DROPPED or _NONE; CONNTAB_EINVAL: NULL; CONNTAB_EBUSY. Its thread. Bounded work; no
 * allocation, no system call; never blocks.
 */
int conntab_defrag_push(struct conntab_defrag *defrag,
                        uint64_t now,
                        const conntab_packet *packet,
                        uint32_t interface,
                        struct conntab_whole *whole,
                        size_t size);

/**
 * Ends up to `budget` datagrams whose time is over. To be called now and then: fragments that come in end some themselves, but none
 * may come. Returns how many it ended, CONNTAB_EINVAL or CONNTAB_EBUSY. Its thread; bounded work; never blocks.
 */
int conntab_defrag_expire(struct conntab_defrag *defrag,
                          uint64_t now,
                          uint32_t budget);

/**
 * Copies its counters to `stats`; `size`: sizeof(struct conntab_defrag_counters). Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. Its
 * thread; never blocks.
 */
int conntab_defrag_stats(struct conntab_defrag *defrag,
                         struct conntab_defrag_counters *stats,
                         size_t size);

/* ====================================================================================================
 * Read sections: lookups that change nothing
 * ==================================================================================================== */

/**
 * A connection met by a lookup, by value.
 */
typedef struct conntab_view {
  /**
   * Its handle; 0: nothing was found.
   */
  uint64_t conn;
  /**
   * Its mark.
   */
  uint32_t mark;
  /**
   * Its status: CONNTAB_STATUS_* bits.
   */
  uint16_t status;
  /**
   * The direction in which the tuple that was looked up goes: CONNTAB_ORIGINAL or CONNTAB_REPLY.
   */
  uint8_t dir;
  /**
   * 0.
   */
  uint8_t reserved;
  /**
   * Its host area (conntab_config.user_data bytes, as 64-bit words, 0 when it begins), or NULL. To be read and written by
   * atomic operations where several workers may meet the connection; valid until the worker's next call. NULL also where the
   * call left the worker idle: outside a section, and not between conntab_track and conntab_idle or conntab_reap.
   */
  uint64_t *user_data;
} conntab_view;

/**
 * Opens a read section, which ends by conntab_section_end, conntab_idle or conntab_reap: lookups inside one are several
 * times as fast as lone ones, which open and end one each. Sections do not nest; one that stays open holds back the reuse
 * of freed entries, as conntab_track does. Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The worker's
 * thread; never blocks.
 */
int conntab_section_begin(conntab_worker *worker);

/**
 * Ends a read section; the worker is idle again if it was before. Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The
 * worker's thread; never blocks.
 */
int conntab_section_end(conntab_worker *worker);

/**
 * Looks a tuple up in a zone, as of `now`; the connection found is written to `view`. Nothing changes: no counter, no
 * timeout, no state.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: there is none that has not expired; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread;
 * bounded work; never blocks.
 */
int conntab_lookup(conntab_worker *worker,
                   uint64_t now,
                   uint16_t zone,
                   const conntab_tuple *tuple,
                   struct conntab_view *view);

/**
 * conntab_lookup for `n` tuples in one zone, at most CONNTAB_MAX_BURST: several times as fast, as memory latencies overlap.
 * Where nothing is found, and for a tuple that is nonsense, `views[i].conn` is 0. Returns how many were found; otherwise as
 * conntab_lookup.
 */
int conntab_lookup_burst(conntab_worker *worker,
                         uint64_t now,
                         uint16_t zone,
                         const conntab_tuple *tuples,
                         size_t n,
                         struct conntab_view *views);

/**
 * Looks at the connection of a handle: one in the table, or one that this worker has not confirmed yet. Written to `view`;
 * the direction is the original one. Returns CONNTAB_OK; CONNTAB_ENOENT: stale, forged, or another worker's
 * unconfirmed connection; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
 */
int conntab_get(conntab_worker *worker,
                uint64_t conn,
                struct conntab_view *view);

/**
 * Writes the tuple of a connection's direction (CONNTAB_ORIGINAL or CONNTAB_REPLY) to `tuple`: what a rule about ports
 * or addresses needs, cheaper than conntab_copy. Returns and rules as conntab_get; CONNTAB_EINVAL also for another direction.
 */
int conntab_tuple_of(conntab_worker *worker,
                     uint64_t conn,
                     uint8_t dir,
                     conntab_tuple *tuple);

/**
 * Copies the connection of a handle as of `now`; `size`: sizeof(struct conntab_connection). Returns and rules as
 * conntab_get.
 */
int conntab_copy(conntab_worker *worker,
                 uint64_t now,
                 uint64_t conn,
                 conntab_connection *connection,
                 size_t size);

/* ====================================================================================================
 * Helpers: those of the host, those that are shipped
 * ==================================================================================================== */

/**
 * Words that a helper may remember of a connection: all 0 when it is attached.
 */
#define CONNTAB_HELPER_STATE 8

/**
 * What a helper announces of one packet. Opaque; it lasts for the call of the helper's function.
 */
typedef struct conntab_announcements conntab_announcements;

/**
 * A connection to come, as a helper or a rule announces it: 40 bytes. Network layer and zone are those of the connection that it is
 * announced for, the source port is any.
 */
typedef struct conntab_announcement {
  /**
   * The address it comes from, in network byte order; IPv4 in the first four bytes. 0 with CONNTAB_EXPECT_ANY_SOURCE.
   */
  uint8_t from[16];
  /**
   * The address it goes to likewise.
   */
  uint8_t to[16];
  /**
   * Its destination port, in host byte order.
   */
  uint16_t port;
  /**
   * Its transport protocol (IANA number).
   */
  uint8_t protocol;
  /**
   * The place of its class in conntab_helper.classes; 0 for a rule's.
   */
  uint8_t class_id;
  /**
   * CONNTAB_EXPECT_* bits.
   */
  uint8_t flags;
  /**
   * The number of the helper that it has from its beginning; 0: none.
   */
  uint8_t helper;
  /**
   * 0.
   */
  uint16_t reserved;
} conntab_announcement;

/**
 * A kind of connections that a helper announces, limited by itself.
 */
typedef struct conntab_class {
  /**
   * What is shown behind the helper's name, ended by a 0; empty: nothing.
   */
  char name[16];
  /**
   * Seconds that they are expected: 1 to 20 days.
   */
  uint32_t timeout;
  /**
   * How many of them one connection may expect at a time: 1 to 8, and no more for all classes together. Where there are as many,
   * the oldest makes room. 0: there is no such class, nor any behind it.
   */
  uint8_t max;
  /**
   * 0.
   */
  uint8_t reserved[3];
} conntab_class;

/**
 * A packet's place in its connection, for a helper: 88 bytes.
 */
typedef struct conntab_heading {
  /**
   * The connection's tuple of the original direction.
   */
  conntab_tuple original;
  /**
   * That of the reply direction.
   */
  conntab_tuple reply;
  /**
   * The way of this packet: CONNTAB_ORIGINAL or CONNTAB_REPLY.
   */
  uint8_t dir;
  /**
   * 1: its state is ESTABLISHED.
   */
  uint8_t established;
  /**
   * 0.
   */
  uint16_t reserved;
  /**
   * TCP: the sequence number of the segment, in host byte order; else 0.
   */
  uint32_t seq;
} conntab_heading;

/**
 * The function of a helper. It is shown a packet that is about to leave: what follows the transport header, up to the end of the IP
 * packet, `length` bytes as far as they were captured. `state`: CONNTAB_HELPER_STATE words, what the last call for this connection has
 * left there; two calls for one connection never run at the same time, calls for different ones do. What it announces by
 * conntab_announce is expected afterwards; if that cannot be, the packet must not leave.
 *
 * Returns 0: the packet passes; anything else: it must not leave. It runs on the packet path: bounded work, no waiting. It must not
 * use the worker that it is called by (calls answer CONNTAB_EBUSY), nor leave by longjmp or an exception.
 */
typedef int (*conntab_help_function)(void *user,
                                     const struct conntab_heading *about,
                                     const uint8_t *payload,
                                     size_t length,
                                     uint64_t *state,
                                     struct conntab_announcements *announcements);

/**
 * A helper of the host's. Set all of it to 0, fill it, pass it with its size.
 */
typedef struct conntab_helper {
  /**
   * Its name, ended by a 0: 1 to 15 characters from ! to ~, / apart.
   */
  char name[16];
  /**
   * Its classes: one at least.
   */
  struct conntab_class classes[4];
  /**
   * Its function.
   */
  conntab_help_function help;
  /**
   * Handed to the function. It must stay, for all threads, as long as the table and its workers.
   */
  void *user;
  /**
   * The protocol of the connections that it can be attached to (IANA number).
   */
  uint8_t protocol;
  /**
   * Their network layer: CONNTAB_IPV4, CONNTAB_IPV6, or 0: either.
   */
  uint8_t l3;
  /**
   * 0.
   */
  uint8_t reserved[6];
} conntab_helper;

/**
 * Announces a connection; for the function of a helper, with what it was given.
 *
 * Returns CONNTAB_OK; CONNTAB_EUSERS: eight were announced of this packet; CONNTAB_EINVAL: NULL, no such class, flags that are none,
 * a source address beside CONNTAB_EXPECT_ANY_SOURCE, or reserved bytes that are not 0. Never blocks.
 */
int conntab_announce(struct conntab_announcements *announcements,
                     const struct conntab_announcement *announcement);

/**
 * Adds a helper of the host's to a table, for good; its number, 1 or more, is written to `number` unless that is NULL. `size`:
 * sizeof(struct conntab_helper).
 *
 * Returns CONNTAB_OK; CONNTAB_EEXIST: there is one of that name; CONNTAB_EUSERS: there are 32; CONNTAB_EROOM: conntab_config.expect_max
 * is 0; CONNTAB_E2BIG; CONNTAB_EINVAL: NULL, or a field is not allowed. Any thread (of those who add at the same time one waits for the
 * other); not for the packet path.
 */
int conntab_table_add_helper(const conntab_table *table,
                             const struct conntab_helper *helper,
                             size_t size,
                             uint8_t *number);

/**
 * Adds a helper that is shipped, "ftp", "irc" or "tftp"; its number is written to `number` unless that is NULL. If it was added before,
 * its number is written all the same.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no helper of that name is shipped; CONNTAB_EUSERS; CONNTAB_EROOM; CONNTAB_EINVAL: NULL. Any thread;
 * not for the packet path.
 */
int conntab_table_ship_helper(const conntab_table *table,
                              const char *name,
                              uint8_t *number);

/**
 * Attaches a helper to an unconfirmed connection, as nft's `ct helper set` does: from now on conntab_help shows its packets to it. The
 * verdict's status gets CONNTAB_STATUS_HELPER. To be called between conntab_track and conntab_help.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no helper has that number; CONNTAB_EPROTO: it is for others; CONNTAB_EEXIST: the connection has a
 * helper, or expects something; CONNTAB_ESTATE; CONNTAB_EROOM: all help records are taken; CONNTAB_EINVAL; CONNTAB_EBUSY. The
 * worker's thread; never blocks.
 */
int conntab_attach_helper(conntab_worker *worker,
                          conntab_verdict *verdict,
                          uint8_t helper);

/**
 * Shows packets of connections with a helper to it: of those whose bit is set in `*keep`, which are about to leave. To be called between
 * the host's rules and conntab_confirm, with the packets and verdicts of the worker's last conntab_track. A packet that must not leave
 * after all loses its bit in `*keep`, and its verdict's state becomes CONNTAB_DROP.
 *
 * Returns how many packets lost their bit, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. The work is bounded by what the
 * helpers do; never blocks.
 */
int conntab_help(conntab_worker *worker,
                 uint64_t now,
                 const conntab_packet *packets,
                 conntab_verdict *verdicts,
                 size_t n,
                 uint64_t *keep);

/* ====================================================================================================
 * Expectations
 * ==================================================================================================== */

/**
 * conntab_expectation.flags: it may come from any address.
 */
#define CONNTAB_EXPECT_ANY_SOURCE 1

/**
 * conntab_expectation.flags: it may come more than once.
 */
#define CONNTAB_EXPECT_PERMANENT 2

/**
 * A walk over a table's expectations. Opaque.
 */
typedef struct conntab_expectations conntab_expectations;

/**
 * A connection to come, copied at one moment.
 */
typedef struct conntab_expectation {
  /**
   * Its first packet. The source port is 0: any; so is the source address with CONNTAB_EXPECT_ANY_SOURCE.
   */
  conntab_tuple tuple;
  /**
   * The original tuple of the connection that announced it.
   */
  conntab_tuple master_tuple;
  /**
   * That connection.
   */
  uint64_t master;
  /**
   * Milliseconds until it is over.
   */
  uint32_t timeout_ms;
  /**
   * The zone it must come in.
   */
  uint16_t zone;
  /**
   * The class of the master's helper; 0 without one.
   */
  uint8_t class_id;
  /**
   * CONNTAB_EXPECT_* bits.
   */
  uint8_t flags;
  /**
   * The name of the master's helper, ended by a 0; empty: it has none.
   */
  char helper[16];
  /**
   * The name of the class likewise.
   */
  char class_name[16];
} conntab_expectation;

/**
 * Expects a connection for a master, as nft's `ct expectation set` does: its first packet is RELATED, with the master's mark. The
 * master, `conn`, is a connection of this worker that is not confirmed yet, or any in the table that has a helper. It is expected for
 * `timeout` seconds, and only while the master is in the table. `max`: how many the master may expect at a time, 1 to 8. If the master
 * expects the same already, it does so anew. Network layer and zone are the master's.
 *
 * Returns CONNTAB_OK; CONNTAB_ENOENT: no such master; CONNTAB_EUSERS: it expects `max` already; CONNTAB_EEXIST: another connection
 * expects the same; CONNTAB_EROOM: there are as many expectations or help records as conntab_config allows; CONNTAB_EINVAL: NULL, or
 * timeout, max, class or helper are not allowed; CONNTAB_EBUSY. The worker's thread. Bounded work; no allocation, no system call;
 * never blocks.
 */
int conntab_expect(conntab_worker *worker,
                   uint64_t now,
                   uint64_t conn,
                   const conntab_announcement *announcement,
                   uint32_t timeout,
                   uint8_t max);

/**
 * Begins a walk over what is expected as of `now` (milliseconds, the clock of conntab_track). No packet is held up. NULL for NULL. The
 * caller owns it (conntab_expectations_free). Any thread; allocates.
 */
struct conntab_expectations *conntab_expectations_new(const conntab_table *table,
                                                      uint64_t now);

/**
 * The next expectation, written to `expectation`. Returns 1; 0 when there are no more; CONNTAB_EINVAL for NULL. One thread at a time
 * for one walk; never blocks.
 */
int conntab_expectations_next(struct conntab_expectations *walk,
                              struct conntab_expectation *expectation);

/**
 * Ends a walk; NULL is fine.
 */
void conntab_expectations_free(struct conntab_expectations *walk);

/**
 * Writes an expectation as a line of /proc/net/nf_conntrack_expect (without newline) into `buffer`, as snprintf does: up to
 * `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. Returns the length of the whole line, 0 for NULL or nonsense.
 * Any thread; allocates; never blocks.
 */
size_t conntab_expectation_text(const struct conntab_expectation *expectation,
                                char *buffer,
                                size_t buffer_size);

/* ====================================================================================================
 * Events
 * ==================================================================================================== */

/**
 * conntab_event.kind: a connection entered the table.
 */
#define CONNTAB_EVENT_NEW 0

/**
 * conntab_event.kind: it changed, and a packet of it was let through since.
 */
#define CONNTAB_EVENT_UPDATE 1

/**
 * conntab_event.kind: it left the table.
 */
#define CONNTAB_EVENT_DESTROY 2

/**
 * conntab_event.kind: a connection is expected.
 */
#define CONNTAB_EVENT_EXPECT_NEW 3

/**
 * conntab_event.kind: it is no longer expected: it came, its time was over, it made room, or its master ended.
 */
#define CONNTAB_EVENT_EXPECT_DESTROY 4

/**
 * conntab_event.changes: the connection is new.
 */
#define CONNTAB_CHANGE_NEW 1

/**
 * conntab_event.changes: it is new, and was expected.
 */
#define CONNTAB_CHANGE_RELATED (1 << 1)

/**
 * conntab_event.changes: it ended.
 */
#define CONNTAB_CHANGE_DESTROY (1 << 2)

/**
 * conntab_event.changes: the first reply was seen.
 */
#define CONNTAB_CHANGE_REPLY (1 << 3)

/**
 * conntab_event.changes: it became ASSURED.
 */
#define CONNTAB_CHANGE_ASSURED (1 << 4)

/**
 * conntab_event.changes: the protocol's state changed (TCP).
 */
#define CONNTAB_CHANGE_PROTOINFO (1 << 5)

/**
 * conntab_event.changes: a helper was attached.
 */
#define CONNTAB_CHANGE_HELPER (1 << 6)

/**
 * conntab_event.changes: the mark changed.
 */
#define CONNTAB_CHANGE_MARK (1 << 7)

/**
 * Something that happened to a connection, as it was then.
 */
typedef struct conntab_event {
  /**
   * When, in milliseconds of the clock of conntab_track.
   */
  uint64_t at;
  /**
   * CONNTAB_EVENT_*.
   */
  uint8_t kind;
  /**
   * 0.
   */
  uint8_t reserved;
  /**
   * CONNTAB_CHANGE_* bits.
   */
  uint16_t changes;
  /**
   * 0.
   */
  uint32_t reserved2;
  /**
   * CONNTAB_EVENT_EXPECT_*: the expectation; else 0.
   */
  conntab_expectation expectation;
  /**
   * The connection. Counters and delta_time are told at its end only, its helper until then, its master when it is new. Of an
   * expectation: the master, of which nothing is told but handle, tuples and helper.
   */
  conntab_connection connection;
} conntab_event;

/**
 * Takes up to `n` of the events that are waiting and writes them to `events`, an array of structs of `size` bytes each:
 * sizeof(struct conntab_event). Within what one worker did they are in order; those of several workers come queue by
 * queue (sort by `at`). There are none unless conntab_config.events reserved queues; what found its queue full is counted
 * (conntab_stats.events_lost).
 *
 * Returns how many, at most 2^20; fewer than `n` (or than that): no more were waiting; CONNTAB_EINVAL for NULL. Any thread, several at once share the
 * events; never blocks a packet, nor this call.
 */
int conntab_table_events(const conntab_table *table,
                         struct conntab_event *events,
                         size_t n,
                         size_t size);

/**
 * Writes an event as a line of `conntrack -E`, or `conntrack -E expect` (without time and newline) into `buffer`, as snprintf does: up to
 * `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. `size`: sizeof(struct conntab_event). Returns the
 * length of the whole line, 0 for NULL or nonsense. Any thread; allocates; never blocks.
 */
size_t conntab_event_text(const struct conntab_event *event,
                          size_t size,
                          char *buffer,
                          size_t buffer_size);

#ifdef __cplusplus
}
#endif

#endif /* CONNTAB_H */
