/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: fragments. */
#include <pthread.h>
#include <stdbool.h>

#include "common.h"

#define THRESH (256u << 10)

static conntab_defrag_config small_defrag(void) {
    conntab_defrag_config config;
    assert_int_equal(conntab_defrag_config_init(&config, sizeof config), CONNTAB_OK);
    config.ipfrag_high_thresh = config.frag6_high_thresh = THRESH;
    config.queues = 32;
    config.prefault = 0;
    return config;
}

static conntab_defrag *new_defrag(const conntab_defrag_config *config) {
    conntab_defrag *defrag = NULL;
    assert_int_equal(conntab_defrag_new(config, sizeof *config, &defrag), CONNTAB_OK);
    assert_non_null(defrag);
    return defrag;
}

static conntab_defrag_counters counted(conntab_defrag *defrag) {
    conntab_defrag_counters counters;
    assert_int_equal(conntab_defrag_stats(defrag, &counters, sizeof counters), CONNTAB_OK);
    return counters;
}

/* Piece `n` of a UDP datagram to port 53 of `of` pieces with 16 bytes each. */
static bytes piece(unsigned id, unsigned n, unsigned of) {
    bytes b = ipv4(0x0a000001, 0x0a090001, 17, 16);
    put16(b.at + 4, id);
    put16(b.at + 6, (n * 16 / 8) | (n + 1 < of ? 0x2000 : 0));
    if (n == 0) {
        put16(b.at + 20, 1025);
        put16(b.at + 22, 53);
        put16(b.at + 24, of * 16);
    } else {
        memset(b.at + 20, (int)n, 16);
    }
    return b;
}

static int push(conntab_defrag *defrag, uint64_t now, const bytes *b, conntab_whole *whole) {
    conntab_packet packet = packet_of(b);
    memset(whole, 0xaa, sizeof *whole);
    return conntab_defrag_push(defrag, now, &packet, 1, whole, sizeof *whole);
}

static void misuse(void **state) {
    (void)state;
    conntab_defrag_config config = small_defrag();
    conntab_defrag *defrag = new_defrag(&config), *none = NULL;
    conntab_defrag_counters counters;
    conntab_whole whole;
    uint64_t memory;
    bytes b = piece(1, 0, 2);
    conntab_packet packets[2] = {packet_of(&b), packet_of(&b)};
    assert_int_equal(conntab_defrag_config_init(NULL, sizeof config), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_config_init(&config, 0), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_config_memory(NULL, sizeof config, &memory), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_config_memory(&config, sizeof config, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_config_memory(&config, sizeof config, crooked(&memory)), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_new(NULL, sizeof config, &none), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_new(&config, 0, &none), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_new(&config, sizeof config, NULL), CONNTAB_EINVAL);
    conntab_defrag_free(NULL);
    assert_int_equal(conntab_defrag_set(NULL, "ipfrag_time", 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_set(defrag, NULL, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_set(defrag, "queues", 1), CONNTAB_ENOENT);
    assert_int_equal(conntab_defrag_set(defrag, "ipfrag_time", 1728001), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_set(defrag, "ipfrag_high_thresh", THRESH + 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_push(NULL, NOW, packets, 0, &whole, sizeof whole), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_push(defrag, NOW, NULL, 0, &whole, sizeof whole), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_push(defrag, NOW, crooked(packets), 0, &whole, sizeof whole), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, NULL, sizeof whole), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, &whole, 0), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_expire(NULL, NOW, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_stats(NULL, &counters, sizeof counters), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_stats(defrag, NULL, sizeof counters), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_stats(defrag, &counters, 0), CONNTAB_EINVAL);
    /* Packets that are described wrongly, or broken, are no fragments. */
    packets[0].l3 = NULL;
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, &whole, sizeof whole), CONNTAB_DEFRAG_NONE);
    packets[0] = packets[1];
    packets[0].hook = 9;
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, &whole, sizeof whole), CONNTAB_DEFRAG_NONE);
    packets[0] = packets[1];
    packets[0].caplen = packets[0].len = 19;
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, &whole, sizeof whole), CONNTAB_DEFRAG_NONE);
    assert_int_equal(counted(defrag).fragments, 0);
    /* A first segment alone. */
    packets[0] = packets[1];
    packets[0].caplen = 30;
    assert_int_equal(conntab_defrag_push(defrag, NOW, packets, 0, &whole, sizeof whole), CONNTAB_DEFRAG_DROPPED);
    assert_string_equal(conntab_reason_name(whole.reason), "not-captured");
    conntab_defrag_free(defrag);
}

static void configuration(void **state) {
    (void)state;
    conntab_defrag_config config;
    uint64_t memory;
    assert_int_equal(conntab_defrag_config_init(&config, sizeof config), CONNTAB_OK);
    assert_int_equal(config.ipfrag_high_thresh, 4 << 20);
    assert_int_equal(config.ipfrag_time, 30);
    assert_int_equal(config.ipfrag_max_dist, 64);
    assert_int_equal(config.frag6_high_thresh, 4 << 20);
    assert_int_equal(config.frag6_timeout, 60);
    assert_int_equal(conntab_defrag_config_memory(&config, sizeof config, &memory), CONNTAB_OK);
    assert_true(memory > 8 << 20 && memory < 12 << 20);
    conntab_defrag *defrag = NULL;
    config.queues = 0;
    assert_int_equal(conntab_defrag_new(&config, sizeof config, &defrag), CONNTAB_EINVAL);
    assert_int_equal(conntab_defrag_config_memory(&config, sizeof config, &memory), CONNTAB_EINVAL);
    config = small_defrag();
    config.reserved[3] = 1;
    assert_int_equal(conntab_defrag_new(&config, sizeof config, &defrag), CONNTAB_EINVAL);
    /* A host that knows less, and one that knows more. */
    struct { conntab_defrag_config known; uint64_t more; } larger = {small_defrag(), 0};
    assert_int_equal(conntab_defrag_new(&larger.known, sizeof larger, &defrag), CONNTAB_OK);
    conntab_defrag_free(defrag);
    larger.more = 1;
    assert_int_equal(conntab_defrag_new(&larger.known, sizeof larger, &defrag), CONNTAB_E2BIG);
    config = small_defrag();
    assert_int_equal(conntab_defrag_new(&config, offsetof(conntab_defrag_config, prefault), &defrag), CONNTAB_OK);
    conntab_whole whole;
    bytes b = piece(1, 0, 2);
    assert_int_equal(push(defrag, NOW, &b, &whole), CONNTAB_DEFRAG_HELD);
    conntab_defrag_counters few;
    memset(&few, 0xaa, sizeof few);
    assert_int_equal(conntab_defrag_stats(defrag, &few, 16), CONNTAB_OK);
    assert_int_equal(few.fragments, 1);
    assert_int_equal(few.timeouts, 0xaaaaaaaaaaaaaaaa);
    conntab_defrag_free(defrag);
}

/* Through the table: FRAGMENT, then what was put together is tracked. */
static void a_datagram(void **state) {
    (void)state;
    host h = small_host();
    conntab_defrag_config config = small_defrag();
    conntab_defrag *defrag = new_defrag(&config);
    conntab_whole whole;
    static const unsigned order[] = {2, 0, 0, 1};
    for (unsigned i = 0; i < COUNT(order); i++) {
        bytes b = piece(7, order[i], 3);
        conntab_verdict verdict = track_one(h.worker, NOW, &b);
        assert_int_equal(verdict.state, CONNTAB_FRAGMENT);
        int answer = push(defrag, NOW, &b, &whole);
        assert_int_equal(answer, i == 3 ? CONNTAB_DEFRAG_WHOLE : CONNTAB_DEFRAG_HELD);
        assert_int_equal(whole.reason, 0);
        if (i < 3) assert_int_equal(whole.packet.caplen, 0);
    }
    assert_int_equal(whole.packet.len, 20 + 48);
    assert_int_equal(whole.packet.caplen, 20 + 48);
    assert_int_equal(whole.packet.flags, CONNTAB_REASSEMBLED);
    assert_int_equal(whole.largest, 36);
    assert_int_equal(whole.least_header, 20);
    for (unsigned at = 20 + 16; at < 20 + 48; at++) assert_int_equal(whole.packet.l3[at], (at - 20) / 16);
    whole.packet.flags |= CONNTAB_CHECKSUM_OK;
    conntab_verdict verdict;
    assert_int_equal(conntab_track(h.worker, NOW, &whole.packet, 1, &verdict), 1);
    assert_int_equal(verdict.state, CONNTAB_NEW);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    conntab_defrag_counters counters = counted(defrag);
    assert_int_equal(counters.fragments, 4);
    assert_int_equal(counters.repeated, 1);
    assert_int_equal(counters.reassembled, 1);
    assert_int_equal(counters.waiting, 0);
    assert_int_equal(counters.memory_v4, 0);
    bytes b = udp4(1, 2, 3, 4);
    assert_int_equal(push(defrag, NOW, &b, &whole), CONNTAB_DEFRAG_NONE);
    conntab_defrag_free(defrag);
    host_free(&h);
}

static void drops_and_timeouts(void **state) {
    (void)state;
    conntab_defrag_config config = small_defrag();
    conntab_defrag *defrag = new_defrag(&config);
    conntab_whole whole;
    bytes first = piece(1, 0, 3), across = piece(1, 1, 3);
    put16(across.at + 6, 1 | 0x2000);
    assert_int_equal(push(defrag, NOW, &first, &whole), CONNTAB_DEFRAG_HELD);
    assert_int_equal(push(defrag, NOW, &across, &whole), CONNTAB_DEFRAG_DROPPED);
    assert_string_equal(conntab_reason_name(whole.reason), "frag-overlap");
    assert_int_equal(counted(defrag).overlaps, 1);
    /* As many as may wait. */
    for (unsigned id = 0; id < 32; id++) {
        bytes b = piece(id, 0, 2);
        assert_int_equal(push(defrag, NOW + id, &b, &whole), CONNTAB_DEFRAG_HELD);
    }
    bytes b = piece(99, 0, 2);
    int answer = push(defrag, NOW, &b, &whole);
    assert_int_equal(answer, CONNTAB_DEFRAG_DROPPED);
    assert_int_equal(counted(defrag).waiting, 32);
    assert_int_equal(conntab_defrag_expire(defrag, NOW + 29999, 100), 0);
    assert_int_equal(conntab_defrag_expire(defrag, NOW + 30003, 2), 2);
    assert_int_equal(conntab_defrag_expire(defrag, NOW + 30003, 100), 2);
    assert_int_equal(conntab_defrag_set(defrag, "ipfrag_time", 1), CONNTAB_OK);
    assert_int_equal(conntab_defrag_set(defrag, "nf_conntrack_frag6_timeout", 1), CONNTAB_OK);
    assert_int_equal(conntab_defrag_expire(defrag, NOW + 60000, 100), 28);
    assert_int_equal(push(defrag, NOW, &b, &whole), CONNTAB_DEFRAG_HELD);
    assert_int_equal(conntab_defrag_expire(defrag, NOW + 1000, 100), 1);
    conntab_defrag_counters counters = counted(defrag);
    assert_int_equal(counters.timeouts, 33);
    assert_int_equal(counters.waiting + counters.memory_v4 + counters.memory_v6, 0);
    assert_int_equal(conntab_defrag_set(defrag, "ipfrag_high_thresh", 0), CONNTAB_OK);
    assert_int_equal(push(defrag, NOW, &b, &whole), CONNTAB_DEFRAG_DROPPED);
    assert_string_equal(conntab_reason_name(whole.reason), "frag-memory");
    conntab_defrag_free(defrag);
}

/* Any bytes at all. */
static void nonsense(void **state) {
    (void)state;
    conntab_defrag_config config = small_defrag();
    conntab_defrag *defrag = new_defrag(&config);
    uint64_t seed = 42, now = NOW;
    for (unsigned long i = 0; i < rounds(200000, 20000); i++) {
        bytes b;
        random_bytes(&seed, b.at, sizeof b.at);
        bool six = random64(&seed) & 1;
        memset(b.at + (six ? 8 : 12), 0, six ? 32 : 8);
        b.len = (uint32_t)(random64(&seed) % sizeof b.at);
        b.at[0] = six ? 0x60 : 0x45;
        if (six) {
            b.at[6] = 44;
            put16(b.at + 4, b.len > 40 ? b.len - 40 : 0);
            put16(b.at + 42, b.at[43] & 0x3f);
            put32(b.at + 44, random64(&seed) & 3);
        } else {
            put16(b.at + 2, b.len);
            put16(b.at + 4, random64(&seed) & 3);
            put16(b.at + 6, (b.at[6] & 0x20) << 8 | (b.at[7] & 15));
            b.at[9] = 17;
        }
        conntab_whole whole;
        now += random64(&seed) & 255;
        int answer = push(defrag, now, &b, &whole);
        assert_true(answer >= CONNTAB_DEFRAG_HELD && answer <= CONNTAB_DEFRAG_NONE);
    }
    assert_true(counted(defrag).reassembled > 0);
    assert_int_equal(conntab_defrag_expire(defrag, now + 100000, 100000) >= 0, 1);
    assert_int_equal(counted(defrag).memory_v4 + counted(defrag).memory_v6, 0);
    conntab_defrag_free(defrag);
}

static void *pushes(void *of) {
    conntab_whole whole;
    bytes b = piece(1, 0, 2);
    uintptr_t busy = 0;
    for (unsigned long i = 0; i < rounds(200000, 2000); i++) {
        int answer = push(of, NOW, &b, &whole);
        assert_true(answer == CONNTAB_DEFRAG_HELD || answer == CONNTAB_EBUSY);
        busy += answer == CONNTAB_EBUSY;
    }
    return (void *)busy;
}

/* Two threads at once: some calls find it busy, and no harm is done. */
static void two_threads(void **state) {
    (void)state;
    conntab_defrag_config config = small_defrag();
    conntab_defrag *defrag = new_defrag(&config);
    pthread_t threads[2];
    uintptr_t busy = 0;
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, pushes, defrag), 0);
    for (int i = 0; i < 2; i++) {
        void *some;
        assert_int_equal(pthread_join(threads[i], &some), 0);
        busy += (uintptr_t)some;
    }
    conntab_defrag_counters counters = counted(defrag);
    assert_int_equal(counters.fragments + busy, 2 * rounds(200000, 2000));
    assert_int_equal(counters.waiting, 1);
    conntab_defrag_free(defrag);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse),           cmocka_unit_test(configuration), cmocka_unit_test(a_datagram),
        cmocka_unit_test(drops_and_timeouts), cmocka_unit_test(nonsense),     cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
