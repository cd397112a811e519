/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: workers. Also: handles that are stale or forged. */
#include "common.h"

static void misuse(void **state) {
    (void)state;
    host h = small_host();
    conntab_worker *two[2] = {NULL, NULL};
    assert_int_equal(conntab_worker_new(NULL, two), CONNTAB_EINVAL);
    assert_int_equal(conntab_worker_new(h.table, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_worker_new(h.table, crooked(two)), CONNTAB_EINVAL);
    assert_null(two[0]);
    conntab_worker_free(NULL);
    conntab_reaped reaped;
    assert_int_equal(conntab_reap(NULL, NOW, 1, &reaped), CONNTAB_EINVAL);
    assert_int_equal(conntab_idle(NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_mark(NULL, 1, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_delete(NULL, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_closing(NULL, NOW, 1), CONNTAB_EINVAL);
    host_free(&h);
}

static void as_many_as_allowed(void **state) {
    (void)state;
    conntab_config config = small_config();
    conntab_table *table = new_table(&config);
    conntab_worker *workers[4];
    for (size_t i = 0; i < COUNT(workers); i++) {
        workers[i] = new_worker(table);
    }
    conntab_worker *more = NULL;
    assert_int_equal(conntab_worker_new(table, &more), CONNTAB_EUSERS);
    assert_null(more);
    /* A freed one makes room, and what it counted stays. */
    open_udp(workers[2], NOW, 1);
    conntab_worker_free(workers[2]);
    workers[2] = new_worker(table);
    assert_int_equal(conntab_worker_new(table, &more), CONNTAB_EUSERS);
    assert_int_equal(stats_of(table).insert, 1);
    for (size_t i = 0; i < COUNT(workers); i++) {
        conntab_worker_free(workers[i]);
    }
    conntab_table_free(table);
}

/* A worker that goes takes its unconfirmed connections with it. */
static void freed_with_unconfirmed(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    assert_int_equal(track_one(h.worker, NOW, &b).unconfirmed, 1);
    assert_int_equal(conntab_table_count(h.table), 1);
    conntab_worker_free(h.worker);
    assert_int_equal(conntab_table_count(h.table), 0);
    assert_int_equal(stats_of(h.table).not_confirmed, 1);
    conntab_table_free(h.table);
}

static void reap(void **state) {
    (void)state;
    host h = small_host();
    for (unsigned n = 0; n < 100; n++) {
        open_udp(h.worker, NOW, n);
    }
    uint64_t entries = stats_of(h.table).entries;
    conntab_reaped reaped;
    memset(&reaped, 0xaa, sizeof reaped);
    assert_int_equal(conntab_reap(h.worker, NOW, 0, &reaped), CONNTAB_OK);
    assert_int_equal(reaped.examined, 0);
    assert_int_equal(reaped.wrapped, 0);
    assert_int_equal(conntab_reap(h.worker, NOW, 1, &reaped), CONNTAB_OK);
    assert_int_equal(reaped.examined, 1024);
    assert_int_equal(reaped.expired, 0);
    assert_int_equal(conntab_reap(h.worker, NOW + 29999, UINT32_MAX, &reaped), CONNTAB_OK);
    assert_int_equal(reaped.examined, entries);
    assert_int_equal(reaped.expired, 0);
    assert_int_equal(reaped.wrapped, 1);
    assert_int_equal(conntab_reap(h.worker, NOW + 30000, UINT32_MAX, &reaped), CONNTAB_OK);
    assert_int_equal(reaped.expired, 100);
    assert_int_equal(conntab_table_count(h.table), 0);
    /* Nobody needs to be told; a place for it that is crooked is left alone. */
    conntab_reaped two[2] = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    assert_int_equal(conntab_reap(h.worker, NOW + 30000, 1, NULL), CONNTAB_OK);
    assert_int_equal(conntab_reap(h.worker, NOW + 30000, 1, crooked(two)), CONNTAB_OK);
    assert_int_equal(two[0].examined + two[1].wrapped, 2);
    host_free(&h);
}

/* The ends of time. */
static void times(void **state) {
    (void)state;
    host h = small_host();
    const uint64_t times[] = {0, 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX - 1, UINT64_MAX, 0};
    for (size_t i = 0; i < COUNT(times); i++) {
        bytes b = udp4(0x0b000000 + (uint32_t)i, 2, 3, 4);
        conntab_verdict verdict = pass(h.worker, times[i], &b);
        assert_in_range(verdict.state, CONNTAB_NEW, CONNTAB_DROP);
        conntab_connection connection;
        (void)conntab_copy(h.worker, times[i], verdict.conn, &connection, sizeof connection);
        (void)conntab_set_closing(h.worker, times[i], verdict.conn);
        assert_int_equal(conntab_reap(h.worker, times[i], UINT32_MAX, NULL), CONNTAB_OK);
    }
    host_free(&h);
}

static void idle_lets_go(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 0);
    assert_int_equal(conntab_table_count(h.table), 0);
    host_free(&h);
}

static void marks(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(verdict.mark, 0);
    /* Unconfirmed: its worker may, another may not. */
    conntab_worker *other = new_worker(h.table);
    assert_int_equal(conntab_set_mark(other, verdict.conn, 1), CONNTAB_ENOENT);
    assert_int_equal(conntab_set_mark(h.worker, verdict.conn, 0xdeadbeef), CONNTAB_OK);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(verdict.mark, 0xdeadbeef);
    assert_int_equal(pass(h.worker, NOW, &b).mark, 0xdeadbeef);
    /* Confirmed: anybody. */
    assert_int_equal(conntab_set_mark(other, verdict.conn, UINT32_MAX), CONNTAB_OK);
    assert_int_equal(copy_of(h.worker, NOW, verdict.conn).mark, UINT32_MAX);
    conntab_worker_free(other);
    host_free(&h);
}

static void closing(void **state) {
    (void)state;
    host h = small_host();
    bytes syn = tcp4(1, 2, 3, 4, SYN, 100, 0);
    conntab_verdict verdict = pass(h.worker, NOW, &syn);
    assert_int_equal(verdict.proto_state, CONNTAB_TCP_SYN_SENT);
    assert_int_equal(conntab_set_closing(h.worker, NOW, verdict.conn), CONNTAB_OK);
    conntab_connection connection = copy_of(h.worker, NOW, verdict.conn);
    assert_int_equal(connection.proto_state, CONNTAB_TCP_CLOSE);
    assert_int_equal(connection.timeout_ms, 10000);
    /* Not TCP. */
    assert_int_equal(conntab_set_closing(h.worker, NOW, open_udp(h.worker, NOW, 1)), CONNTAB_ENOENT);
    /* Not confirmed. */
    bytes other = tcp4(5, 2, 3, 4, SYN, 100, 0);
    verdict = track_one(h.worker, NOW, &other);
    assert_int_equal(conntab_set_closing(h.worker, NOW, verdict.conn), CONNTAB_ENOENT);
    host_free(&h);
}

static void delete_burst(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conns[CONNTAB_MAX_BURST + 1], deleted = 7;
    for (uint16_t n = 0; n <= CONNTAB_MAX_BURST; n++)
        conns[n] = open_udp(h.worker, NOW, (uint16_t)(n + 1));
    uint64_t third = conns[3];
    conns[3] = conns[2]; /* twice in one burst */
    conns[5] ^= 1;       /* stale */
    conns[7] = 0;
    conns[9] = UINT64_MAX;
    assert_int_equal(conntab_delete_burst(h.worker, conns, 32, &deleted), 28);
    assert_int_equal(deleted, 0xffffffff & ~(1 << 3 | 1 << 5 | 1 << 7 | 1 << 9));
    assert_int_equal(conntab_delete_burst(h.worker, conns, 32, &deleted), 0);
    assert_int_equal(deleted, 0);
    assert_int_equal(conntab_delete(h.worker, third), CONNTAB_OK);
    /* No more than a burst, and nobody need be told. */
    assert_int_equal(conntab_delete_burst(h.worker, conns, CONNTAB_MAX_BURST + 1, NULL), 32);
    assert_int_equal(conntab_delete(h.worker, conns[CONNTAB_MAX_BURST]), CONNTAB_OK);
    assert_int_equal(conntab_table_count(h.table), 3); /* numbers 5, 7 and 9 */
    assert_int_equal(conntab_delete_burst(h.worker, NULL, 0, NULL), 0);
    assert_int_equal(conntab_delete_burst(h.worker, NULL, 1, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_delete_burst(NULL, conns, 1, &deleted), CONNTAB_EINVAL);
    host_free(&h);
}

/* What every call that takes a handle does with one that names nothing. */
static void refused(host *h, uint64_t conn) {
    conntab_view view;
    conntab_connection connection;
    assert_int_equal(conntab_set_mark(h->worker, conn, 1), CONNTAB_ENOENT);
    assert_int_equal(conntab_delete(h->worker, conn), CONNTAB_ENOENT);
    assert_int_equal(conntab_set_closing(h->worker, NOW, conn), CONNTAB_ENOENT);
    assert_int_equal(conntab_table_delete(h->table, conn), CONNTAB_ENOENT);
    assert_int_equal(conntab_get(h->worker, conn, &view), CONNTAB_ENOENT);
    assert_int_equal(conntab_copy(h->worker, NOW, conn, &connection, sizeof connection), CONNTAB_ENOENT);
}

static void handles(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conn = open_udp(h.worker, NOW, 1);
    const uint64_t index = conn >> 32 << 32, generation = (uint32_t)conn;
    uint64_t entries = stats_of(h.table).entries;
    refused(&h, 0);
    refused(&h, UINT64_MAX);
    refused(&h, index);
    refused(&h, index | ((generation + 1) & UINT32_MAX));
    refused(&h, index | ((generation - 1) & UINT32_MAX));
    refused(&h, entries << 32 | generation);
    refused(&h, (entries - 1) << 32 | generation);
    refused(&h, (uint64_t)UINT32_MAX << 32 | generation);
    uint64_t seed = 7;
    for (unsigned long i = 0; i < rounds(100000, 2000); i++) {
        uint64_t forged = random64(&seed);
        if (i % 2 == 0) {
            forged = forged % entries << 32 | (forged >> 32 & 0xff);
        }
        /* (Any may be right by chance: connection 1, and no other.) */
        if (forged != conn) {
            refused(&h, forged);
        }
    }
    /* Stale: the entry is used again and again, under other names. */
    uint64_t old = conn;
    unsigned reused = 0;
    for (unsigned long i = 0; i < rounds(20000, 6000); i++) {
        assert_int_equal(conntab_delete(h.worker, conn), CONNTAB_OK);
        refused(&h, old);
        refused(&h, conn);
        assert_int_equal(conntab_reap(h.worker, NOW, 0, NULL), CONNTAB_OK);
        conn = open_udp(h.worker, NOW, 1);
        assert_int_not_equal(conn, old);
        reused += conn >> 32 == old >> 32;
    }
    assert_in_range(reused, 1, UINT32_MAX);
    host_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse), cmocka_unit_test(as_many_as_allowed), cmocka_unit_test(freed_with_unconfirmed),
        cmocka_unit_test(reap),   cmocka_unit_test(times),              cmocka_unit_test(idle_lets_go),
        cmocka_unit_test(marks),  cmocka_unit_test(closing), cmocka_unit_test(delete_burst),            cmocka_unit_test(handles),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
