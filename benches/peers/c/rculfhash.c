/* rculfhash (liburcu), QSBR flavour, as conntab-peers measures it: see src/rculfhash.rs.
 *
 * Entries are 128 bytes, two lines; the node stands in the first, beside key and expiry. All loops over keys are here, so that
 * nothing but one call per sample is paid for crossing languages. */
#define _LGPL_SOURCE /* inline read side, as the library's manual advises */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>

#define BURST 32

struct entry {
    struct cds_lfht_node node;
    uint64_t key[5];
    uint32_t expires;
    uint32_t next_free;
    struct rcu_head head;
    struct peers_lfht *of;
} __attribute__((aligned(128)));

struct peers_lfht {
    struct cds_lfht *table;
    struct entry *entries;
    /* Bucket nodes, where they were found; NULL: not known. */
    struct cds_lfht_node *buckets;
    unsigned long mask;
    /* Of a table that grows: flows and buckets. */
    unsigned long count, size;
    /* Entries that call_rcu has released: index + 1 of the first. */
    uint32_t released;
};

/* One thread's share of the free entries. */
struct peers_lfht_hands {
    struct peers_lfht *of;
    uint32_t first, last; /* never used yet */
    uint32_t freed;       /* index + 1 of the first of a list */
};

size_t peers_lfht_entry(void) { return sizeof(struct entry); }

/* A folded multiplication for each address, as ahash does it. */
static inline uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline unsigned long hash(const uint64_t *key) {
    const uint64_t k = 0x5851f42d4c957f2d;
    uint64_t h = fold(key[0] ^ 0x243f6a8885a308d3, key[1] ^ 0x13198a2e03707344);
    h = (h + fold(key[2] ^ 0xa4093822299f31d0, key[3] ^ 0x082efa98ec4e6c89)) ^ key[4];
    return fold(h ^ 0x452821e638d01377, k);
}

static int match(struct cds_lfht_node *node, const void *key) {
    const uint64_t *a = caa_container_of(node, struct entry, node)->key, *b = key;
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) == 0;
}

/* `entries`: zeroed, for all threads together. `buckets`: a power of two. */
struct peers_lfht *peers_lfht_new(void *entries, unsigned long buckets, int grow) {
    struct peers_lfht *of = calloc(1, sizeof *of);
    of->entries = entries;
    of->mask = buckets - 1;
    of->size = grow ? 64 : 0;
    unsigned long most = grow ? 1UL << 30 : 2 * buckets;
    /* With a bound above what it allocates at first, the library takes its memory backend of one contiguous mapping. */
    of->table = cds_lfht_new_flavor(grow ? 64 : buckets, 64, most, 0, &urcu_qsbr_flavor, NULL);
    if (of->table) return of;
    free(of);
    return NULL;
}

/* Where the array of bucket nodes begins, as the caller believes; checked by following buckets to entries, `n` of which are in
 * the table. 1: it is so, and bursts prefetch. */
int peers_lfht_buckets(struct peers_lfht *of, void *at, uint32_t n) {
    struct cds_lfht_node *buckets = at;
    for (uint32_t i = 0; i < n; i++) {
        struct entry *entry = &of->entries[i];
        struct cds_lfht_node *node = &buckets[hash(entry->key) & of->mask];
        int steps = 0;
        while (node && node != &entry->node && steps++ < 1000) node = (void *)((uintptr_t)node->next & ~(uintptr_t)7);
        if (node != &entry->node) return 0;
    }
    of->buckets = buckets;
    return 1;
}

/* Nobody uses it any more. */
void peers_lfht_free(struct peers_lfht *of) {
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    urcu_qsbr_register_thread();
    urcu_qsbr_read_lock();
    cds_lfht_for_each(of->table, &iter, node) cds_lfht_del(of->table, node);
    urcu_qsbr_read_unlock();
    urcu_qsbr_barrier();
    cds_lfht_destroy(of->table, NULL);
    urcu_qsbr_unregister_thread();
    free(of);
}

struct peers_lfht_hands *peers_lfht_hands(struct peers_lfht *of, uint32_t first, uint32_t last, uint32_t freed) {
    struct peers_lfht_hands *hands = calloc(1, sizeof *hands);
    *hands = (struct peers_lfht_hands){.of = of, .first = first, .last = last, .freed = freed};
    urcu_qsbr_register_thread();
    return hands;
}

/* What it has not used yet is given back to the caller's books. */
void peers_lfht_hands_free(struct peers_lfht_hands *hands, uint32_t *first, uint32_t *freed) {
    *first = hands->first;
    *freed = hands->freed;
    urcu_qsbr_barrier();
    urcu_qsbr_unregister_thread();
    free(hands);
}

static inline size_t visit(struct peers_lfht *of, unsigned long h, const uint64_t *key, uint32_t now) {
    struct cds_lfht_iter iter;
    cds_lfht_lookup(of->table, h, match, key, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    if (!node) return 0;
    CMM_STORE_SHARED(caa_container_of(node, struct entry, node)->expires, now);
    return 1;
}

size_t peers_lfht_single(struct peers_lfht_hands *hands, const uint64_t (*keys)[5], size_t n, uint32_t now) {
    struct peers_lfht *of = hands->of;
    size_t found = 0;
    for (size_t i = 0; i < n; i += BURST) {
        urcu_qsbr_read_lock();
        for (size_t j = i; j < n && j < i + BURST; j++) found += visit(of, hash(keys[j]), keys[j], now);
        urcu_qsbr_read_unlock();
        urcu_qsbr_quiescent_state();
    }
    return found;
}

size_t peers_lfht_burst(struct peers_lfht_hands *hands, const uint64_t (*keys)[5], size_t n, uint32_t now) {
    struct peers_lfht *of = hands->of;
    if (!of->buckets) return peers_lfht_single(hands, keys, n, now);
    size_t found = 0;
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        unsigned long hashes[BURST];
        for (size_t j = 0; j < m; j++) {
            hashes[j] = hash(keys[i + j]);
            __builtin_prefetch(&of->buckets[hashes[j] & of->mask]);
        }
        urcu_qsbr_read_lock();
        /* The first node of the chain: mostly the one that is looked for. */
        for (size_t j = 0; j < m; j++) {
            uintptr_t next = (uintptr_t)CMM_LOAD_SHARED(of->buckets[hashes[j] & of->mask].next);
            __builtin_prefetch((void *)(next & ~(uintptr_t)7));
        }
        for (size_t j = 0; j < m; j++) found += visit(of, hashes[j], keys[i + j], now);
        urcu_qsbr_read_unlock();
        urcu_qsbr_quiescent_state();
    }
    return found;
}

static struct entry *take(struct peers_lfht_hands *hands) {
    struct peers_lfht *of = hands->of;
    for (;;) {
        if (hands->freed) {
            struct entry *entry = &of->entries[hands->freed - 1];
            hands->freed = entry->next_free;
            return entry;
        }
        if (hands->first < hands->last) return &of->entries[hands->first++];
        hands->freed = uatomic_xchg(&of->released, 0);
        if (!hands->freed) urcu_qsbr_barrier();
    }
}

static inline size_t insert(struct peers_lfht_hands *hands, unsigned long h, const uint64_t *key, uint64_t *name, uint32_t now) {
    struct entry *entry = take(hands);
    memcpy(entry->key, key, sizeof entry->key);
    entry->expires = now;
    entry->of = hands->of;
    cds_lfht_node_init(&entry->node);
    if (cds_lfht_add_unique(hands->of->table, h, match, key, &entry->node) != &entry->node) return 0;
    *name = (uint64_t)(entry - hands->of->entries) + 1;
    return 1;
}

/* Doubles a table that has as many flows as buckets: whoever sees it first. Not inside a read section. */
static void grow(struct peers_lfht *of, unsigned long inserted) {
    unsigned long count = uatomic_add_return(&of->count, inserted), size = CMM_LOAD_SHARED(of->size);
    if (count > size && uatomic_cmpxchg(&of->size, size, 2 * size) == size) cds_lfht_resize(of->table, 2 * size);
}

size_t peers_lfht_insert(struct peers_lfht_hands *hands, const uint64_t (*keys)[5], uint64_t *names, size_t n, uint32_t now) {
    struct peers_lfht *of = hands->of;
    size_t inserted = 0;
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        unsigned long hashes[BURST];
        for (size_t j = 0; j < m; j++) {
            hashes[j] = hash(keys[i + j]);
            if (of->buckets) __builtin_prefetch(&of->buckets[hashes[j] & of->mask], 1);
        }
        urcu_qsbr_read_lock();
        if (of->buckets) {
            for (size_t j = 0; j < m; j++) {
                uintptr_t next = (uintptr_t)CMM_LOAD_SHARED(of->buckets[hashes[j] & of->mask].next);
                __builtin_prefetch((void *)(next & ~(uintptr_t)7));
            }
        }
        for (size_t j = 0; j < m; j++) inserted += insert(hands, hashes[j], keys[i + j], &names[i + j], now);
        urcu_qsbr_read_unlock();
        urcu_qsbr_quiescent_state();
        if (of->size) grow(of, m);
    }
    return inserted;
}

static void release(struct rcu_head *head) {
    struct entry *entry = caa_container_of(head, struct entry, head);
    struct peers_lfht *of = entry->of;
    uint32_t name = (uint32_t)(entry - of->entries) + 1, first = CMM_LOAD_SHARED(of->released), seen;
    for (;; first = seen) {
        entry->next_free = first;
        seen = uatomic_cmpxchg(&of->released, first, name);
        if (seen == first) return;
    }
}

size_t peers_lfht_delete(struct peers_lfht_hands *hands, const uint64_t *names, size_t n) {
    struct peers_lfht *of = hands->of;
    size_t deleted = 0;
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        for (size_t j = 0; j < m; j++) __builtin_prefetch(&of->entries[names[i + j] - 1], 1);
        if (of->buckets) {
            for (size_t j = 0; j < m; j++) __builtin_prefetch(&of->buckets[hash(of->entries[names[i + j] - 1].key) & of->mask], 1);
        }
        urcu_qsbr_read_lock();
        for (size_t j = 0; j < m; j++) {
            struct entry *entry = &of->entries[names[i + j] - 1];
            if (cds_lfht_del(of->table, &entry->node) == 0) {
                urcu_qsbr_call_rcu(&entry->head, release);
                deleted++;
            }
        }
        urcu_qsbr_read_unlock();
        urcu_qsbr_quiescent_state();
    }
    return deleted;
}
