/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: events. */
#include "common.h"

static host telling(uint32_t events) {
    conntab_config config = small_config();
    config.events = events;
    config.acct = config.timestamp = 1;
    return host_of(&config);
}

static void misuse(void **state) {
    (void)state;
    host h = telling(8);
    conntab_event event;
    open_udp(h.worker, NOW, 1);
    assert_int_equal(conntab_table_events(NULL, &event, 1, sizeof event), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_events(h.table, NULL, 1, sizeof event), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_events(h.table, &event, 1, 0), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_events(h.table, NULL, 0, 0), 0);
    /* None was lost by that. */
    assert_int_equal(conntab_table_events(h.table, &event, 1, sizeof event), 1);
    host_free(&h);
    /* Without queues there are none. */
    h = small_host();
    open_udp(h.worker, NOW, 1);
    assert_int_equal(conntab_table_events(h.table, &event, 1, sizeof event), 0);
    host_free(&h);
}

static void a_life(void **state) {
    (void)state;
    host h = telling(64);
    bytes syn = tcp4(0x0a000001, 0x0a000002, 1000, 80, SYN, 100, 0),
          syn_ack = tcp4(0x0a000002, 0x0a000001, 80, 1000, SYN | ACK, 500, 101),
          ack = tcp4(0x0a000001, 0x0a000002, 1000, 80, ACK, 101, 501);
    uint64_t conn = pass(h.worker, NOW, &syn).conn;
    pass(h.worker, NOW + 10, &syn_ack);
    pass(h.worker, NOW + 20, &ack);
    conntab_set_mark(h.worker, conn, 9);
    /* What is not let through is not told of yet. */
    conntab_verdict dropped = track_one(h.worker, NOW + 30, &ack);
    assert_int_equal(conntab_confirm(h.worker, NOW + 30, &dropped, 1, 0), 0);
    conntab_event events[8];
    memset(events, 0xaa, sizeof events);
    assert_int_equal(conntab_table_events(h.table, events, 2, sizeof *events), 2);
    assert_int_equal(conntab_table_events(h.table, events + 2, 6, sizeof *events), 1);
    pass(h.worker, NOW + 40, &ack);
    assert_int_equal(conntab_delete(h.worker, conn), CONNTAB_OK);
    assert_int_equal(conntab_table_events(h.table, events + 3, 5, sizeof *events), 2);
    assert_int_equal(conntab_table_events(h.table, events + 5, 3, sizeof *events), 0);

    static const struct {
        uint64_t at;
        uint8_t kind;
        uint16_t changes;
        const char *text;
    } expected[] = {
        {NOW, CONNTAB_EVENT_NEW, CONNTAB_CHANGE_NEW | CONNTAB_CHANGE_PROTOINFO,
         "    [NEW] tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 [UNREPLIED] "
         "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1000"},
        {NOW + 10, CONNTAB_EVENT_UPDATE, CONNTAB_CHANGE_REPLY | CONNTAB_CHANGE_PROTOINFO,
         " [UPDATE] tcp      6 60 SYN_RECV src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 "
         "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1000"},
        {NOW + 20, CONNTAB_EVENT_UPDATE, CONNTAB_CHANGE_ASSURED | CONNTAB_CHANGE_PROTOINFO,
         " [UPDATE] tcp      6 432000 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 "
         "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1000 [ASSURED]"},
        {NOW + 40, CONNTAB_EVENT_UPDATE, CONNTAB_CHANGE_MARK, NULL},
        {NOW + 40, CONNTAB_EVENT_DESTROY, CONNTAB_CHANGE_DESTROY, NULL},
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        char line[LINE_MAX_];
        assert_int_equal(events[i].at, expected[i].at);
        assert_int_equal(events[i].kind, expected[i].kind);
        assert_int_equal(events[i].changes, expected[i].changes);
        assert_int_equal(events[i].reserved + events[i].reserved2, 0);
        assert_int_equal(events[i].connection.conn, conn);
        assert_int_equal(events[i].connection.has_counters, i == 4);
        size_t len = conntab_event_text(&events[i], sizeof(conntab_event), line, sizeof line);
        assert_int_equal(len, strlen(line));
        if (expected[i].text != NULL) {
            assert_string_equal(line, expected[i].text);
        }
    }
    assert_int_equal(events[4].connection.counters[0].packets, 4);
    assert_int_equal(events[4].connection.counters[1].packets, 1);
    assert_true(events[4].connection.status & CONNTAB_STATUS_DYING);
    assert_int_equal(events[3].connection.mark, 9);
    host_free(&h);
}

/* A full queue loses the newest, and counts; the order of the others stays. */
static void overrun(void **state) {
    (void)state;
    host h = telling(4);
    uint64_t conns[10];
    conntab_event events[16];
    for (int again = 0; again < 3; again++) {
        for (unsigned n = 0; n < COUNT(conns); n++) {
            conns[n] = open_udp(h.worker, NOW + n, (unsigned)again * 100 + n);
        }
        assert_int_equal(conntab_table_events(h.table, events, COUNT(events), sizeof *events), 4);
        for (unsigned n = 0; n < 4; n++) {
            assert_int_equal(events[n].connection.conn, conns[n]);
            assert_int_equal(events[n].at, NOW + n);
        }
        assert_int_equal(stats_of(h.table).events_lost, 6 * (again + 1));
    }
    host_free(&h);
}

/* Those of calls without a worker, and of expiry. */
static void ends(void **state) {
    (void)state;
    host h = telling(64);
    uint64_t a = open_udp(h.worker, NOW, 1), b = open_udp(h.worker, NOW, 2), c = open_udp(h.worker, NOW, 3);
    conntab_event events[8];
    assert_int_equal(conntab_table_events(h.table, events, 8, sizeof *events), 3);
    assert_int_equal(conntab_table_delete(h.table, a), CONNTAB_OK);
    assert_int_equal(conntab_table_events(h.table, events, 8, sizeof *events), 1);
    assert_int_equal(events[0].connection.conn, a);
    assert_int_equal(conntab_reap(h.worker, NOW + 60000, UINT32_MAX, NULL), CONNTAB_OK);
    assert_int_equal(conntab_table_events(h.table, events, 8, sizeof *events), 2);
    assert_true((events[0].connection.conn == b && events[1].connection.conn == c) ||
                (events[0].connection.conn == c && events[1].connection.conn == b));
    /* They ended when their time was up, not when it was noticed. */
    assert_int_equal(events[0].at, NOW + 30000);
    assert_int_equal(events[0].connection.timeout_ms, 0);
    assert_int_equal(events[0].connection.delta_time, 30);
    host_free(&h);
}

/* Arrays of structs of every size. */
static void sizes(void **state) {
    (void)state;
    host h = telling(16);
    for (size_t size = 1; size <= sizeof(conntab_event) + 24; size++) {
        uint8_t *buffer = malloc(3 * size);
        memset(buffer, 0xaa, 3 * size);
        uint64_t conns[2];
        for (unsigned n = 0; n < 2; n++) {
            conns[n] = open_udp(h.worker, NOW + n, n);
        }
        assert_int_equal(conntab_table_events(h.table, (void *)buffer, 3, size), 2);
        for (unsigned n = 0; n < 2; n++) {
            conntab_event event;
            memset(&event, 0, sizeof event);
            event.at = NOW + n;
            event.kind = CONNTAB_EVENT_NEW;
            event.changes = CONNTAB_CHANGE_NEW;
            event.connection = copy_of(h.worker, NOW + n, conns[n]);
            event.connection.has_counters = event.connection.has_delta_time = 0;
            memset(event.connection.counters, 0, sizeof event.connection.counters);
            event.connection.delta_time = 0;
            size_t known = size < sizeof event ? size : sizeof event;
            assert_memory_equal(buffer + n * size, &event, known);
            for (size_t at = known; at < size; at++) {
                assert_int_equal(buffer[n * size + at], 0);
            }
        }
        for (size_t at = 2 * size; at < 3 * size; at++) {
            assert_int_equal(buffer[at], 0xaa);
        }
        free(buffer);
        assert_int_equal(conntab_table_flush(h.table), 2);
        conntab_reap(h.worker, NOW, 0, NULL);
        conntab_event rest[4];
        assert_int_equal(conntab_table_events(h.table, rest, 4, sizeof *rest), 2);
    }
    host_free(&h);
}

static conntab_event one_event(void) {
    host h = telling(4);
    open_udp(h.worker, NOW, 1);
    conntab_event event;
    assert_int_equal(conntab_table_events(h.table, &event, 1, sizeof event), 1);
    host_free(&h);
    return event;
}

static void text(void **state) {
    (void)state;
    conntab_event event = one_event(), two[2];
    memset(two, 0, sizeof two);
    char whole[LINE_MAX_] = "as it was";
    assert_int_equal(conntab_event_text(NULL, sizeof(conntab_event), whole, sizeof whole), 0);
    assert_int_equal(conntab_event_text(crooked(two), sizeof(conntab_event), whole, sizeof whole), 0);
    assert_int_equal(conntab_event_text(&two[0], sizeof(conntab_event), whole, sizeof whole), 0);
    assert_string_equal(whole, "as it was");
    size_t len = conntab_event_text(&event, sizeof(conntab_event), whole, sizeof whole);
    assert_int_equal(len, strlen(whole));
    assert_int_equal(conntab_event_text(&event, sizeof(conntab_event), NULL, 0), len);
    assert_int_equal(conntab_event_text(&event, sizeof(conntab_event), NULL, 99), len);
    for (size_t size = 0; size < len + 2; size++) {
        char *buffer = malloc(size + 1);
        memset(buffer, 'x', size + 1);
        assert_int_equal(conntab_event_text(&event, sizeof(conntab_event), buffer, size), len);
        assert_int_equal(buffer[size], 'x');
        if (size > 0) {
            assert_int_equal(strlen(buffer), size - 1 < len ? size - 1 : len);
        }
        free(buffer);
    }
    for (unsigned kind = 0; kind < 256; kind++) {
        event.kind = (uint8_t)kind;
        assert_int_equal(conntab_event_text(&event, sizeof(conntab_event), NULL, 0) > 0, kind <= CONNTAB_EVENT_DESTROY);
    }
}

static void text_garbage(void **state) {
    (void)state;
    uint64_t seed = 9;
    size_t longest = 0;
    for (unsigned long i = 0; i < rounds(100000, 2000); i++) {
        conntab_event event;
        random_bytes(&seed, &event, sizeof event);
        event.kind %= 6;
        if (i % 8 != 0) {
            event.connection.original.l3 = event.connection.reply.l3 = CONNTAB_IPV6;
            event.connection.master_tuple.l3 = CONNTAB_IPV6;
            event.connection.proto_state %= 12;
            event.expectation.tuple.l3 = event.expectation.master_tuple.l3 = CONNTAB_IPV6;
            strcpy(event.connection.helper, i % 2 ? "" : "fifteen-letters");
            strcpy(event.expectation.helper, event.connection.helper);
            strcpy(event.expectation.class_name, event.connection.helper);
        }
        char line[LINE_MAX_];
        size_t len = conntab_event_text(&event, sizeof(conntab_event), line, sizeof line);
        longest = len > longest ? len : longest;
        assert_in_range(len, 0, sizeof line - 1);
    }
    assert_in_range(longest, 200, LINE_MAX_ - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse), cmocka_unit_test(a_life), cmocka_unit_test(overrun), cmocka_unit_test(ends),
        cmocka_unit_test(sizes),  cmocka_unit_test(text),   cmocka_unit_test(text_garbage),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
