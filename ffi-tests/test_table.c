/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: the table: tunables, timeout policies, dump, statistics. */
#include "common.h"

static void misuse(void **state) {
    (void)state;
    conntab_config config = small_config();
    conntab_table *two[2] = {NULL, NULL};
    uint32_t values[2];
    conntab_stats stats;
    assert_int_equal(conntab_table_new(NULL, sizeof config, two), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_new(&config, 0, two), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_new(&config, sizeof config, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_new(&config, sizeof config, crooked(two)), CONNTAB_EINVAL);
    assert_null(two[0]);
    conntab_table_free(NULL);
    assert_int_equal(conntab_table_set(NULL, "acct", 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_get(NULL, "acct", values), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_set_max(NULL, 1000), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(NULL, 1, "udp_timeout", 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_count(NULL), 0);
    assert_int_equal(conntab_table_delete(NULL, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_flush(NULL), 0);
    assert_null(conntab_dump_new(NULL, NOW));
    conntab_connection connection;
    assert_int_equal(conntab_dump_next(NULL, &connection, sizeof connection), CONNTAB_EINVAL);
    conntab_dump_free(NULL);
    assert_int_equal(conntab_table_stats(NULL, &stats, sizeof stats), CONNTAB_EINVAL);

    host h = small_host();
    assert_int_equal(conntab_table_get(h.table, "acct", NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_get(h.table, "acct", crooked(values)), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_get(h.table, NULL, values), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_stats(h.table, NULL, sizeof stats), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_stats(h.table, &stats, 0), CONNTAB_EINVAL);
    conntab_dump *dump = conntab_dump_new(h.table, NOW);
    assert_int_equal(conntab_dump_next(dump, NULL, sizeof connection), CONNTAB_EINVAL);
    assert_int_equal(conntab_dump_next(dump, &connection, 0), CONNTAB_EINVAL);
    conntab_dump_free(dump);
    host_free(&h);
}

static void tunables(void **state) {
    (void)state;
    host h = small_host();
    uint32_t value = 0;
    assert_int_equal(conntab_table_get(h.table, "tcp_timeout_established", &value), CONNTAB_OK);
    assert_int_equal(value, 432000);
    assert_int_equal(conntab_table_set(h.table, "nf_conntrack_tcp_timeout_established", 7440), CONNTAB_OK);
    assert_int_equal(conntab_table_get(h.table, "tcp_timeout_established", &value), CONNTAB_OK);
    assert_int_equal(value, 7440);
    /* Out of range: it stays as it was. */
    assert_int_equal(conntab_table_set(h.table, "tcp_timeout_established", 20 * 86400 + 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_set(h.table, "tcp_timeout_established", UINT32_MAX), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_set(h.table, "tcp_loose", 2), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_get(h.table, "tcp_timeout_established", &value), CONNTAB_OK);
    assert_int_equal(value, 7440);
    static const char *const unknown[] = {
        "", "bogus", "nf_conntrack_", "nf_conntrack_nf_conntrack_acct", "Acct", "acct ", "%s%s%n", "tcp_timeout_",
    };
    value = 5;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        assert_int_equal(conntab_table_set(h.table, unknown[i], 1), CONNTAB_ENOENT);
        assert_int_equal(conntab_table_get(h.table, unknown[i], &value), CONNTAB_ENOENT);
    }
    /* Not UTF-8. */
    assert_int_equal(conntab_table_set(h.table, "\xff\xfe", 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_get(h.table, "\xc3", &value), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_set(h.table, NULL, 1), CONNTAB_EINVAL);
    char *name = malloc(1 << 20);
    memset(name, 'a', 1 << 20);
    name[(1 << 20) - 1] = 0;
    assert_int_equal(conntab_table_set(h.table, name, 1), CONNTAB_ENOENT);
    free(name);
    assert_int_equal(value, 5);
    /* Workers take it over. */
    assert_int_equal(conntab_table_set(h.table, "udp_timeout", 3), CONNTAB_OK);
    uint64_t conn = open_udp(h.worker, NOW, 1);
    assert_int_equal(copy_of(h.worker, NOW, conn).timeout_ms, 3000);
    host_free(&h);
}

static void policies(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.timeout_policies = 2;
    host h = host_of(&config);
    assert_int_equal(conntab_table_policy(h.table, 0, "udp_timeout", 5), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(h.table, 3, "udp_timeout", 5), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(h.table, 255, "udp_timeout", 5), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(h.table, 1, NULL, 5), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(h.table, 1, "\xff", 5), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_policy(h.table, 1, "bogus", 5), CONNTAB_ENOENT);
    assert_int_equal(conntab_table_policy(h.table, 1, "tcp_loose", 1), CONNTAB_ENOENT);
    assert_int_equal(conntab_table_policy(h.table, 1, "udp_timeout", UINT32_MAX), CONNTAB_EINVAL);

    bytes b = udp4(1, 2, 3, 4);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 1), CONNTAB_ENOENT);
    conntab_idle(h.worker);

    assert_int_equal(conntab_table_policy(h.table, 1, "nf_conntrack_udp_timeout", 5), CONNTAB_OK);
    /* A further name leaves the first as it was. */
    assert_int_equal(conntab_table_policy(h.table, 1, "udp_timeout_stream", 7), CONNTAB_OK);
    verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 0), CONNTAB_ENOENT);
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 2), CONNTAB_ENOENT);
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 255), CONNTAB_ENOENT);
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 1), CONNTAB_OK);
    assert_int_equal(conntab_set_timeout_policy(NULL, &verdict, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_timeout_policy(h.worker, NULL, 1), CONNTAB_EINVAL);
    conntab_verdict two[2] = {verdict, verdict};
    assert_int_equal(conntab_set_timeout_policy(h.worker, crooked(two), 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(copy_of(h.worker, NOW, verdict.conn).timeout_ms, 5000);
    /* Confirmed: too late. */
    assert_int_equal(conntab_set_timeout_policy(h.worker, &verdict, 1), CONNTAB_ESTATE);
    host_free(&h);
}

static void count_delete_flush(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conns[100];
    for (unsigned n = 0; n < COUNT(conns); n++) {
        conns[n] = open_udp(h.worker, NOW, n);
    }
    assert_int_equal(conntab_table_count(h.table), 100);
    assert_int_equal(conntab_table_delete(h.table, conns[7]), CONNTAB_OK);
    assert_int_equal(conntab_table_delete(h.table, conns[7]), CONNTAB_ENOENT);
    const uint64_t forged[] = {0, 0x7fffff, UINT64_MAX, UINT32_MAX, (uint64_t)UINT32_MAX << 32, 1ull << 63,
                               (uint64_t)1000000 << 32 | 1};
    for (size_t i = 0; i < COUNT(forged); i++) {
        assert_int_equal(conntab_table_delete(h.table, forged[i]), CONNTAB_ENOENT);
    }
    /* An unconfirmed one cannot be deleted, and counts. */
    bytes b = udp4(1, 2, 3, 4);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(verdict.unconfirmed, 1);
    assert_int_equal(conntab_table_delete(h.table, verdict.conn), CONNTAB_ENOENT);
    assert_int_equal(conntab_table_count(h.table), 100);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(conntab_table_count(h.table), 99);
    assert_int_equal(conntab_table_flush(h.table), 99);
    assert_int_equal(conntab_table_flush(h.table), 0);
    assert_int_equal(conntab_table_count(h.table), 0);
    host_free(&h);
}

static void dump(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.acct = config.timestamp = 1;
    host h = host_of(&config);
    enum { N = 300 };
    unsigned char seen[N] = {0};
    uint64_t conns[N];
    for (unsigned n = 0; n < N; n++) {
        conns[n] = open_udp(h.worker, NOW, n);
    }
    conntab_dump *walk = conntab_dump_new(h.table, NOW + 1000);
    conntab_connection connection;
    while (conntab_dump_next(walk, &connection, sizeof connection) == 1) {
        unsigned n;
        for (n = 0; n < N && conns[n] != connection.conn; n++) {
        }
        assert_in_range(n, 0, N - 1);
        assert_int_equal(seen[n]++, 0);
        conntab_tuple tuple = tuple_udp(n);
        assert_memory_equal(&connection.original, &tuple, sizeof tuple);
        assert_int_equal(connection.timeout_ms, 29000);
        assert_int_equal(connection.status, CONNTAB_STATUS_CONFIRMED);
        assert_int_equal(connection.has_counters, 1);
        assert_int_equal(connection.counters[0].packets, 1);
        assert_int_equal(connection.counters[0].bytes, 28);
        assert_int_equal(connection.counters[1].packets, 0);
        assert_int_equal(connection.has_delta_time, 1);
        assert_int_equal(connection.delta_time, 1);
    }
    for (unsigned n = 0; n < N; n++) {
        assert_int_equal(seen[n], 1);
    }
    /* It has ended, and stays so. */
    assert_int_equal(conntab_dump_next(walk, &connection, sizeof connection), 0);
    conntab_dump_free(walk);
    /* Given up in the middle; and what has expired is not shown. */
    walk = conntab_dump_new(h.table, NOW);
    assert_int_equal(conntab_dump_next(walk, &connection, sizeof connection), 1);
    conntab_dump_free(walk);
    walk = conntab_dump_new(h.table, NOW + 30000);
    assert_int_equal(conntab_dump_next(walk, &connection, sizeof connection), 0);
    conntab_dump_free(walk);
    host_free(&h);
}

/* conntab_dump_next and conntab_copy: structs of every size. */
static void copy_sizes(void **state) {
    (void)state;
    host h = small_host();
    uint64_t conn = open_udp(h.worker, NOW, 1);
    conntab_connection whole = copy_of(h.worker, NOW, conn);
    for (size_t size = 1; size <= sizeof whole + 40; size++) {
        uint8_t *buffer = malloc(size);
        for (int way = 0; way < 2; way++) {
            memset(buffer, 0xaa, size);
            conntab_connection *to = (void *)buffer;
            if (way == 0) {
                assert_int_equal(conntab_copy(h.worker, NOW, conn, to, size), CONNTAB_OK);
            } else {
                conntab_dump *walk = conntab_dump_new(h.table, NOW);
                assert_int_equal(conntab_dump_next(walk, to, size), 1);
                conntab_dump_free(walk);
            }
            size_t known = size < sizeof whole ? size : sizeof whole;
            assert_memory_equal(buffer, &whole, known);
            for (size_t at = known; at < size; at++) {
                assert_int_equal(buffer[at], 0);
            }
        }
        free(buffer);
    }
    host_free(&h);
}

static void stat_names(void **state) {
    (void)state;
    size_t n = 0;
    while (conntab_stat_name(n)) n++;
    assert_int_equal(n * sizeof(uint64_t), sizeof(conntab_stats));
    assert_null(conntab_stat_name(SIZE_MAX));
    assert_string_equal(conntab_stat_name(offsetof(conntab_stats, found) / 8), "found");
    assert_string_equal(conntab_stat_name(offsetof(conntab_stats, late_sweep) / 8), "late_sweep");
    assert_string_equal(conntab_stat_name(offsetof(conntab_stats, connections) / 8), "connections");
    assert_string_equal(conntab_stat_name(offsetof(conntab_stats, bounds) / 8), "bounds");
}

static void stats(void **state) {
    (void)state;
    conntab_config config = small_config();
    host h = host_of(&config);
    conntab_stats before = stats_of(h.table);
    assert_int_equal(before.connections, 0);
    assert_int_equal(before.max, 1024);
    assert_true(before.entries > before.max);
    uint64_t conn = 0;
    for (unsigned n = 0; n < 10; n++) {
        conn = open_udp(h.worker, NOW, n);
    }
    bytes b = udp4(0x0a000000, 0x0a090001, 1024, 53);
    pass(h.worker, NOW, &b);
    bytes rst = tcp4(1, 2, 3, 4, RST, 0, 0);
    assert_int_equal(track_one(h.worker, NOW, &rst).state, CONNTAB_INVALID);
    bytes lost = udp4(1, 2, 3, 4);
    track_one(h.worker, NOW, &lost);
    assert_int_equal(conntab_delete(h.worker, conn), CONNTAB_OK);
    assert_int_equal(conntab_reap(h.worker, NOW + 40000, UINT32_MAX, NULL), CONNTAB_OK);
    conntab_stats after = stats_of(h.table);
    assert_int_equal(after.found, 1);
    assert_int_equal(after.invalid, 1);
    assert_int_equal(after.insert, 10);
    assert_int_equal(after.not_confirmed, 1);
    assert_int_equal(after.deleted, 1);
    assert_int_equal(after.expired, 9);
    assert_int_equal(after.connections, 0);
    assert_int_equal(after.entries, before.entries);

    /* Of every size. */
    for (size_t size = 1; size <= sizeof after + 40; size++) {
        uint8_t *buffer = malloc(size);
        memset(buffer, 0xaa, size);
        assert_int_equal(conntab_table_stats(h.table, (void *)buffer, size), CONNTAB_OK);
        size_t known = size < sizeof after ? size : sizeof after;
        assert_memory_equal(buffer, &after, known);
        for (size_t at = known; at < size; at++) {
            assert_int_equal(buffer[at], 0);
        }
        free(buffer);
    }
    host_free(&h);
}

/* A full table evicts, or says so; max is never exceeded. */
static void full(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.max = 64;
    config.workers = 1;
    host h = host_of(&config);
    unsigned dropped = 0;
    for (unsigned n = 0; n < 500; n++) {
        /* Handshakes of TCP: ASSURED, so not to be evicted. */
        uint32_t client = 0x0a000001 + n;
        bytes syn = tcp4(client, 9, 1, 2, SYN, 100, 0), syn_ack = tcp4(9, client, 2, 1, SYN | ACK, 500, 101),
              ack = tcp4(client, 9, 1, 2, ACK, 101, 501);
        conntab_verdict verdict = pass(h.worker, NOW, &syn);
        if (verdict.state == CONNTAB_DROP) {
            assert_string_equal(conntab_reason_name(verdict.reason), "table-full");
            assert_int_equal(verdict.conn, 0);
            dropped++;
            continue;
        }
        assert_int_equal(pass(h.worker, NOW, &syn_ack).state, CONNTAB_ESTABLISHED);
        verdict = pass(h.worker, NOW, &ack);
        assert_int_equal(verdict.proto_state, CONNTAB_TCP_ESTABLISHED);
        assert_true(verdict.status & CONNTAB_STATUS_ASSURED);
        assert_in_range(conntab_table_count(h.table), 1, 64);
    }
    assert_int_equal(dropped, 500 - 64);
    assert_int_equal(stats_of(h.table).drop, dropped);
    assert_int_equal(conntab_table_flush(h.table), 64);
    host_free(&h);
}

/* Workers and dumps keep what they need. */
static void freed_first(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.events = 8;
    host h = host_of(&config);
    uint64_t conn = open_udp(h.worker, NOW, 1);
    conntab_dump *walk = conntab_dump_new(h.table, NOW);
    conntab_worker *unused = new_worker(h.table);
    conntab_table_free(h.table);
    open_udp(h.worker, NOW, 2);
    assert_int_equal(conntab_delete(h.worker, conn), CONNTAB_OK);
    conntab_connection connection;
    assert_int_equal(conntab_dump_next(walk, &connection, sizeof connection), 1);
    assert_int_equal(conntab_reap(h.worker, NOW, UINT32_MAX, NULL), CONNTAB_OK);
    conntab_worker_free(h.worker);
    assert_int_equal(conntab_dump_next(walk, &connection, sizeof connection), 0);
    conntab_worker_free(unused);
    conntab_dump_free(walk);
}

static void raised(void **state) {
    (void)state;
    conntab_config config = small_config();
    uint64_t bytes = 0;
    config.max = 256;
    config.max_reserve = 255;
    assert_int_equal(conntab_config_memory(&config, sizeof config, &bytes), CONNTAB_EINVAL);
    config.max_reserve = 10000;
    config.reserved2 = 1;
    assert_int_equal(conntab_config_memory(&config, sizeof config, &bytes), CONNTAB_EINVAL);
    config.reserved2 = 0;
    assert_int_equal(conntab_config_memory(&config, sizeof config, &bytes), CONNTAB_OK);
    host h = host_of(&config);
    conntab_stats stats;
    uint64_t conns[9000];
    assert_int_equal(conntab_table_stats(h.table, &stats, sizeof stats), CONNTAB_OK);
    assert_int_equal(stats.memory, bytes);
    assert_int_equal(stats.buckets, 256);
    assert_int_equal(conntab_table_set_max(h.table, 63), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_set_max(h.table, 10001), CONNTAB_EINVAL);
    for (unsigned n = 0; n < 200; n++) {
        conns[n] = open_udp(h.worker, NOW, n);
    }
    assert_int_equal(conntab_table_set_max(h.table, 10000), CONNTAB_OK);
    assert_int_equal(conntab_table_stats(h.table, &stats, sizeof stats), CONNTAB_OK);
    assert_int_equal(stats.max, 10000);
    assert_int_equal(stats.buckets, 8192);
    assert_true(stats.memory > bytes);
    for (unsigned n = 200; n < COUNT(conns); n++) {
        conns[n] = open_udp(h.worker, NOW, n);
    }
    assert_int_equal(conntab_table_count(h.table), COUNT(conns));
    for (size_t n = 0; n < COUNT(conns); n++) {
        assert_int_equal(conntab_table_delete(h.table, conns[n]), CONNTAB_OK);
    }
    assert_int_equal(conntab_table_set_max(h.table, 64), CONNTAB_OK);
    assert_int_equal(conntab_table_stats(h.table, &stats, sizeof stats), CONNTAB_OK);
    assert_int_equal(stats.max, 64);
    assert_int_equal(stats.buckets, 8192);
    host_free(&h);
}

static void many_tables(void **state) {
    (void)state;
    host hosts[8];
    for (size_t i = 0; i < COUNT(hosts); i++) {
        hosts[i] = small_host();
        for (unsigned n = 0; n <= i; n++) {
            open_udp(hosts[i].worker, NOW, n);
        }
    }
    for (size_t i = 0; i < COUNT(hosts); i++) {
        assert_int_equal(conntab_table_count(hosts[i].table), i + 1);
        host_free(&hosts[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse), cmocka_unit_test(tunables),    cmocka_unit_test(policies),
        cmocka_unit_test(dump),   cmocka_unit_test(copy_sizes),  cmocka_unit_test(count_delete_flush),
        cmocka_unit_test(stat_names), cmocka_unit_test(stats),  cmocka_unit_test(full),        cmocka_unit_test(freed_first),
        cmocka_unit_test(raised), cmocka_unit_test(many_tables),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
