/* DPDK's rte_hash with lock-free readers, as conntab-peers measures it: see src/rte_hash.rs.
 *
 * The position of a key, which the table gives, is the index of its entry: 128 bytes, asked for before they are touched. All
 * loops over keys are here, so that nothing but one call per sample is paid for crossing languages. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#define BURST 32
#define THREADS 64

struct entry {
    uint32_t expires;
    uint32_t pad[31];
} __attribute__((aligned(128)));

struct peers_rte {
    struct rte_hash *table;
    struct rte_rcu_qsbr *qsbr;
    struct entry *entries;
    char heap[32];
    void *area;
    size_t bytes;
};

struct peers_rte_hands {
    struct peers_rte *of;
    unsigned int thread;
    int online;
};

/* Once per process. DPDK's own memory is a few ordinary pages: tables take theirs from heaps that are handed in. The threads that
 * are measured are not DPDK's and must not inherit the affinity that it gives its main thread. */
int peers_rte_init(void) {
    char *argv[] = {"peers", "--no-huge", "--no-shconf", "-m", "64", "--no-pci", "--no-telemetry",
                    "--log-level", "error", "-l", "0", NULL};
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    char lcore[16];
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            snprintf(lcore, sizeof lcore, "0@%d", cpu);
            argv[9] = "--lcores";
            argv[10] = lcore;
            break;
        }
    }
    int done = rte_eal_init(11, argv);
    sched_setaffinity(0, sizeof before, &before);
    return done < 0 ? rte_errno : 0;
}

/* A key of 40 bytes has no comparison of its own in the library; this one is not slower than memcmp. */
static int differ(const void *x, const void *y, size_t len) {
    const uint64_t *a = x, *b = y;
    (void)len;
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) != 0;
}

void peers_rte_free(struct peers_rte *of) {
    rte_hash_free(of->table);
    rte_free(of->qsbr);
    if (of->bytes) {
        if (rte_malloc_heap_memory_remove(of->heap, of->area, of->bytes)) fprintf(stderr, "rte_hash: its heap is not empty\n");
        rte_malloc_heap_destroy(of->heap);
    }
    free(of);
}

/* Bytes of entries for so many flows. */
size_t peers_rte_entries(uint32_t flows, int writers) {
    /* With several writers each lcore may keep free positions at hand, beyond the flows. */
    return sizeof(struct entry) * ((size_t)flows + 1 + (writers > 1 ? RTE_MAX_LCORE * 64 : 0));
}

/* `area`: `bytes` on huge pages, the table's memory. `entries`: zeroed, as many as above. */
struct peers_rte *peers_rte_new(uint32_t flows, int writers, void *entries, void *area, size_t bytes) {
    static int count;
    struct peers_rte *of = calloc(1, sizeof *of);
    char name[32];
    of->entries = entries;
    of->area = area;
    snprintf(name, sizeof name, "peers%d", count++);
    snprintf(of->heap, sizeof of->heap, "%s", name);
    if (rte_malloc_heap_create(of->heap)) goto failed;
    if (rte_malloc_heap_memory_add(of->heap, area, bytes, NULL, 0, 2 << 20)) goto failed;
    of->bytes = bytes;
    struct rte_hash_parameters parameters = {
        .name = name,
        .entries = flows,
        .key_len = 40,
        .hash_func = rte_hash_crc,
        .hash_func_init_val = 1,
        .socket_id = rte_malloc_heap_get_socket(of->heap),
        .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | (writers > 1 ? RTE_HASH_EXTRA_FLAGS_MULTI_WRITER_ADD : 0),
    };
    of->table = rte_hash_create(&parameters);
    if (!of->table) goto failed;
    rte_hash_set_cmp_func(of->table, differ);
    of->qsbr = rte_zmalloc(NULL, rte_rcu_qsbr_get_memsize(THREADS), RTE_CACHE_LINE_SIZE);
    if (!of->qsbr || rte_rcu_qsbr_init(of->qsbr, THREADS)) goto failed;
    /* By default the queue has room for every key of the table: 27 bytes a flow that no workload here needs. */
    struct rte_hash_rcu_config config = {.v = of->qsbr, .mode = RTE_HASH_QSBR_MODE_DQ, .dq_size = 1 << 16};
    if (rte_hash_rcu_qsbr_add(of->table, &config)) goto failed;
    return of;
failed:
    fprintf(stderr, "rte_hash: %s\n", rte_strerror(rte_errno));
    peers_rte_free(of);
    return NULL;
}

struct peers_rte_hands *peers_rte_hands(struct peers_rte *of, unsigned int thread) {
    struct peers_rte_hands *hands = calloc(1, sizeof *hands);
    *hands = (struct peers_rte_hands){.of = of, .thread = thread};
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    rte_thread_register();
    sched_setaffinity(0, sizeof before, &before);
    rte_rcu_qsbr_thread_register(of->qsbr, thread);
    return hands;
}

/* A thread that does something else must not hold back what others delete. */
void peers_rte_rest(struct peers_rte_hands *hands) {
    if (hands->online) rte_rcu_qsbr_thread_offline(hands->of->qsbr, hands->thread);
    hands->online = 0;
}

static inline void begin(struct peers_rte_hands *hands) {
    if (!hands->online) rte_rcu_qsbr_thread_online(hands->of->qsbr, hands->thread);
    hands->online = 1;
}

void peers_rte_hands_free(struct peers_rte_hands *hands) {
    peers_rte_rest(hands);
    rte_rcu_qsbr_thread_unregister(hands->of->qsbr, hands->thread);
    rte_thread_unregister();
    free(hands);
}

static inline void quiet(struct peers_rte_hands *hands) { rte_rcu_qsbr_quiescent(hands->of->qsbr, hands->thread); }

static inline void touch(struct entry *entry, uint32_t now) { *(volatile uint32_t *)&entry->expires = now; }

size_t peers_rte_single(struct peers_rte_hands *hands, const uint64_t (*keys)[5], size_t n, uint32_t now) {
    struct peers_rte *of = hands->of;
    size_t found = 0;
    begin(hands);
    for (size_t i = 0; i < n; i++) {
        int32_t at = rte_hash_lookup(of->table, keys[i]);
        if (at >= 0) {
            touch(&of->entries[at], now);
            found++;
        }
        if (i % BURST == BURST - 1) quiet(hands);
    }
    quiet(hands);
    return found;
}

size_t peers_rte_burst(struct peers_rte_hands *hands, const uint64_t (*keys)[5], size_t n, uint32_t now) {
    struct peers_rte *of = hands->of;
    size_t found = 0;
    begin(hands);
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        const void *pointers[BURST];
        int32_t at[BURST];
        for (size_t j = 0; j < m; j++) pointers[j] = keys[i + j];
        rte_hash_lookup_bulk(of->table, pointers, m, at);
        for (size_t j = 0; j < m; j++) {
            if (at[j] >= 0) __builtin_prefetch(&of->entries[at[j]], 1);
        }
        for (size_t j = 0; j < m; j++) {
            if (at[j] >= 0) {
                touch(&of->entries[at[j]], now);
                found++;
            }
        }
        quiet(hands);
    }
    return found;
}

size_t peers_rte_insert(struct peers_rte_hands *hands, const uint64_t (*keys)[5], size_t n, uint32_t now) {
    struct peers_rte *of = hands->of;
    size_t inserted = 0;
    begin(hands);
    for (size_t i = 0; i < n; i++) {
        int32_t at = rte_hash_add_key(of->table, keys[i]);
        /* Another thread that is not running holds back what was deleted: not a matter of this thread's CPU time. */
        for (int tries = 0; at == -ENOSPC && tries < 10000; tries++) {
            quiet(hands);
            usleep(100);
            at = rte_hash_add_key(of->table, keys[i]);
        }
        if (at >= 0) {
            touch(&of->entries[at], now);
            inserted++;
        }
        if (i % BURST == BURST - 1) quiet(hands);
    }
    quiet(hands);
    return inserted;
}

size_t peers_rte_delete(struct peers_rte_hands *hands, const uint64_t (*keys)[5], size_t n) {
    size_t deleted = 0;
    begin(hands);
    for (size_t i = 0; i < n; i++) {
        deleted += rte_hash_del_key(hands->of->table, keys[i]) >= 0;
        if (i % BURST == BURST - 1) quiet(hands);
    }
    quiet(hands);
    return deleted;
}
