/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: read sections. */
#include "common.h"

static void misuse(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conn = open_udp(h.worker, NOW, 1);
    conntab_tuple tuples[2] = {tuple_udp(1), tuple_udp(1)};
    conntab_view views[2];
    conntab_connection connection;
    assert_int_equal(conntab_section_begin(NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_section_end(NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup(NULL, NOW, 0, tuples, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, NULL, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, tuples, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, crooked(tuples), views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, tuples, crooked(views)), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(NULL, NOW, 0, tuples, 1, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, NULL, 1, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, tuples, 1, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, crooked(tuples), 1, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, tuples, 1, crooked(views)), CONNTAB_EINVAL);
    assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, NULL, 0, NULL), 0);
    assert_int_equal(conntab_get(NULL, conn, views), CONNTAB_EINVAL);
    assert_int_equal(conntab_get(h.worker, conn, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_get(h.worker, conn, crooked(views)), CONNTAB_EINVAL);
    assert_int_equal(conntab_copy(NULL, NOW, conn, &connection, sizeof connection), CONNTAB_EINVAL);
    assert_int_equal(conntab_copy(h.worker, NOW, conn, NULL, sizeof connection), CONNTAB_EINVAL);
    assert_int_equal(conntab_copy(h.worker, NOW, conn, &connection, 0), CONNTAB_EINVAL);
    assert_int_equal(conntab_tuple_of(NULL, conn, CONNTAB_ORIGINAL, tuples), CONNTAB_EINVAL);
    assert_int_equal(conntab_tuple_of(h.worker, conn, CONNTAB_ORIGINAL, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_tuple_of(h.worker, conn, CONNTAB_ORIGINAL, crooked(tuples)), CONNTAB_EINVAL);
    assert_int_equal(conntab_tuple_of(h.worker, conn, 2, tuples), CONNTAB_EINVAL);
    assert_int_equal(conntab_tuple_of(h.worker, conn + 1, CONNTAB_ORIGINAL, tuples), CONNTAB_ENOENT);
    assert_int_equal(conntab_tuple_of(h.worker, 0, CONNTAB_REPLY, tuples), CONNTAB_ENOENT);
    /* An end without a beginning, twice the beginning, twice the end. */
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    host_free(&h);
}

static void lookup(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conn = open_udp(h.worker, NOW, 1);
    conntab_set_mark(h.worker, conn, 5);
    conntab_tuple there = tuple_udp(1), back = tuple4(0x0a090001, 0x0a000000, 53, 1025, 17), none = tuple_udp(2);
    conntab_view view;
    memset(&view, 0xaa, sizeof view);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &there, &view), CONNTAB_OK);
    assert_int_equal(view.conn, conn);
    assert_int_equal(view.dir, CONNTAB_ORIGINAL);
    assert_int_equal(view.mark, 5);
    assert_int_equal(view.status, CONNTAB_STATUS_CONFIRMED);
    assert_int_equal(view.reserved, 0);
    assert_null(view.user_data);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &back, &view), CONNTAB_OK);
    assert_int_equal(view.conn, conn);
    assert_int_equal(view.dir, CONNTAB_REPLY);
    conntab_tuple told;
    memset(&told, 0xaa, sizeof told);
    assert_int_equal(conntab_tuple_of(h.worker, conn, CONNTAB_ORIGINAL, &told), CONNTAB_OK);
    assert_memory_equal(&told, &there, sizeof told);
    assert_int_equal(conntab_tuple_of(h.worker, conn, CONNTAB_REPLY, &told), CONNTAB_OK);
    assert_memory_equal(&told, &back, sizeof told);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &none, &view), CONNTAB_ENOENT);
    assert_int_equal(view.conn, 0);
    assert_int_equal(conntab_lookup(h.worker, NOW, 1, &there, &view), CONNTAB_ENOENT);
    assert_int_equal(conntab_lookup(h.worker, NOW + 30000, 0, &there, &view), CONNTAB_ENOENT);
    /* Nothing has changed. */
    assert_int_equal(copy_of(h.worker, NOW, conn).timeout_ms, 30000);
    assert_int_equal(stats_of(h.table).found, 0);
    host_free(&h);
}

static void lookup_nonsense(void **state) {
    (void)state;
    host h = small_host();
    open_udp(h.worker, NOW, 1);
    conntab_view view;
    conntab_tuple tuple = tuple_udp(1);
    for (unsigned l3 = 0; l3 < 256; l3++) {
        tuple.l3 = (uint8_t)l3;
        assert_int_equal(conntab_lookup(h.worker, NOW, 0, &tuple, &view),
                         l3 == CONNTAB_IPV4 ? CONNTAB_OK : CONNTAB_ENOENT);
    }
    tuple = tuple_udp(1);
    tuple.dst[9] = 1;
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &tuple, &view), CONNTAB_ENOENT);
    uint64_t seed = 3;
    for (unsigned long i = 0; i < rounds(100000, 2000); i++) {
        random_bytes(&seed, &tuple, sizeof tuple);
        tuple.l3 = i % 3 == 0 ? CONNTAB_IPV6 : i % 3 == 1 ? CONNTAB_IPV4 : tuple.l3;
        assert_int_equal(conntab_lookup(h.worker, NOW, (uint16_t)i, &tuple, &view), CONNTAB_ENOENT);
    }
    host_free(&h);
}

static void lookup_bursts(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conns[80];
    for (unsigned n = 0; n < COUNT(conns); n++) {
        conns[n] = open_udp(h.worker, NOW, n);
    }
    conntab_idle(h.worker);
    for (int inside = 0; inside < 2; inside++) {
        if (inside) {
            assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
        }
        for (size_t n = 0; n <= COUNT(conns); n++) {
            conntab_tuple *tuples = calloc(n + 1, sizeof *tuples);
            conntab_view *views = malloc((n + 1) * sizeof *views);
            memset(views, 0x5a, (n + 1) * sizeof *views);
            for (size_t i = 0; i < n; i++) {
                tuples[i] = tuple_udp((unsigned)i);
                if (i % 5 == 4) {
                    tuples[i].l3 = 0; /* nonsense among them */
                }
            }
            int taken = n < CONNTAB_MAX_BURST ? (int)n : CONNTAB_MAX_BURST;
            assert_int_equal(conntab_lookup_burst(h.worker, NOW, 0, tuples, n, views), taken - taken / 5);
            for (int i = 0; i < taken; i++) {
                assert_int_equal(views[i].conn, i % 5 == 4 ? 0 : conns[i]);
            }
            assert_int_equal(views[taken].conn, 0x5a5a5a5a5a5a5a5aull);
            free(tuples);
            free(views);
        }
        if (inside) {
            assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
        }
    }
    host_free(&h);
}

static void user_data(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.user_data = 16;
    host h = host_of(&config);
    conntab_view view;
    bytes b = udp4(0x0a000000, 0x0a090001, 1025, 53);
    conntab_tuple tuple = tuple_udp(1);
    /* Of an unconfirmed connection, at work. */
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_non_null(view.user_data);
    assert_int_equal(view.status & CONNTAB_STATUS_CONFIRMED, 0);
    assert_int_equal(view.user_data[0] | view.user_data[1], 0);
    view.user_data[0] = 1234;
    view.user_data[1] = UINT64_MAX;
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_int_equal(view.user_data[0], 1234);
    /* Idle: the area might be another connection's by now. */
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_null(view.user_data);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &tuple, &view), CONNTAB_OK);
    assert_null(view.user_data);
    /* In a section. */
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &tuple, &view), CONNTAB_OK);
    assert_int_equal(view.user_data[1], UINT64_MAX);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    __atomic_fetch_add(&view.user_data[0], 1, __ATOMIC_RELAXED);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_null(view.user_data);
    /* At work: between track and idle. A section within changes nothing. */
    track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_lookup(h.worker, NOW, 0, &tuple, &view), CONNTAB_OK);
    assert_int_equal(view.user_data[0], 1235);
    /* A section that conntab_idle has ended does not come back. */
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_non_null(view.user_data);
    /* A burst begun in a section goes on when the section ends. */
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_section_begin(h.worker), CONNTAB_OK);
    track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_section_end(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_non_null(view.user_data);
    /* A connection that follows in the entry begins with zeros. */
    for (unsigned n = 0; n < 6000; n++) {
        assert_int_equal(conntab_delete(h.worker, verdict.conn), CONNTAB_OK);
        assert_int_equal(conntab_reap(h.worker, NOW, 0, NULL), CONNTAB_OK);
        verdict = track_one(h.worker, NOW, &b);
        assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
        assert_int_equal(view.user_data[0] | view.user_data[1], 0);
        view.user_data[0] = view.user_data[1] = UINT64_MAX;
        assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    }
    host_free(&h);
}

/* Verdicts of a burst that conntab_idle has ended: confirming them does not make the worker busy again. */
static void idle_stays_idle(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.user_data = 8;
    config.events = 16;
    host h = host_of(&config);
    bytes b = udp4(1, 2, 3, 4);
    pass(h.worker, NOW, &b);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    conntab_view view;
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_non_null(view.user_data);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 0);
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_null(view.user_data);
    host_free(&h);
}

static void get_and_copy(void **state) {
    (void)state;
    host h = small_host();
    conntab_worker *other = new_worker(h.table);
    bytes b = udp4(1, 2, 3, 4);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    conntab_view view;
    conntab_connection connection;
    /* Unconfirmed: its own worker sees it, no other does. */
    assert_int_equal(conntab_get(h.worker, verdict.conn, &view), CONNTAB_OK);
    assert_int_equal(conntab_get(other, verdict.conn, &view), CONNTAB_ENOENT);
    assert_int_equal(conntab_copy(other, NOW, verdict.conn, &connection, sizeof connection), CONNTAB_ENOENT);
    connection = copy_of(h.worker, NOW, verdict.conn);
    assert_int_equal(connection.status, 0);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(conntab_get(other, verdict.conn, &view), CONNTAB_OK);
    assert_int_equal(view.conn, verdict.conn);
    assert_int_equal(view.dir, CONNTAB_ORIGINAL);
    connection = copy_of(other, NOW + 1000, verdict.conn);
    assert_int_equal(connection.timeout_ms, 29000);
    assert_int_equal(connection.has_counters + connection.has_delta_time, 0);
    conntab_tuple original = tuple4(1, 2, 3, 4, 17), reply = tuple4(2, 1, 4, 3, 17);
    assert_memory_equal(&connection.original, &original, sizeof original);
    assert_memory_equal(&connection.reply, &reply, sizeof reply);
    conntab_worker_free(other);
    host_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse),        cmocka_unit_test(lookup),    cmocka_unit_test(lookup_nonsense),
        cmocka_unit_test(lookup_bursts), cmocka_unit_test(user_data), cmocka_unit_test(get_and_copy),
        cmocka_unit_test(idle_stays_idle),
    };
    return cmocka_run_group_tests_name("section", tests, NULL, NULL);
}
