/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapters: version; errors and reasons; tuples and connections (as text). */
#include "common.h"

static void version(void **state) {
    (void)state;
    uint32_t header = CONNTAB_VERSION_MAJOR * 1000000u + CONNTAB_VERSION_MINOR * 1000u + CONNTAB_VERSION_PATCH;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", CONNTAB_VERSION_MAJOR, CONNTAB_VERSION_MINOR, CONNTAB_VERSION_PATCH);
    assert_int_equal(conntab_version(), header);
    assert_string_equal(conntab_version_string(), text);
}

static void errors(void **state) {
    (void)state;
    assert_string_equal(conntab_strerror(CONNTAB_OK), "done");
    for (int error = -1; error >= CONNTAB_EEXIST; error--) {
        const char *text = conntab_strerror(error);
        assert_string_not_equal(text, "unknown error");
        for (int other = error + 1; other <= 0; other++) {
            assert_string_not_equal(text, conntab_strerror(other));
        }
    }
    const int none[] = {1, 64, CONNTAB_EEXIST - 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(none); i++) {
        assert_string_equal(conntab_strerror(none[i]), "unknown error");
    }
}

static void reasons(void **state) {
    (void)state;
    unsigned known = 0;
    for (unsigned reason = 0; reason <= UINT16_MAX; reason++) {
        const char *name = conntab_reason_name((uint16_t)reason);
        assert_non_null(name);
        assert_in_range(strlen(name), 1, 31);
        known += strcmp(name, "unknown") != 0;
    }
    assert_in_range(known, 30, 999);
    assert_string_equal(conntab_reason_name(0), "none");
    assert_string_equal(conntab_reason_name(14), "checksum");
    assert_string_equal(conntab_reason_name(112), "bad-packet");
    assert_string_equal(conntab_reason_name(UINT16_MAX), "unknown");
}

static void states(void **state) {
    (void)state;
    const char *names[] = {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DROP", "FRAGMENT"};
    for (unsigned number = 0; number <= UINT8_MAX; number++) {
        assert_string_equal(conntab_state_name((uint8_t)number), number < COUNT(names) ? names[number] : "?");
    }
}

static conntab_connection sample(void) {
    conntab_connection c;
    memset(&c, 0, sizeof c);
    c.conn = 1;
    c.original = tuple4(0x0a010001, 0x0a020001, 5000, 443, 6);
    c.reply = tuple4(0x0a020001, 0x0a010001, 443, 5000, 6);
    c.status = CONNTAB_STATUS_SEEN_REPLY | CONNTAB_STATUS_ASSURED | CONNTAB_STATUS_CONFIRMED;
    c.proto_state = CONNTAB_TCP_ESTABLISHED;
    c.timeout_ms = 431999999;
    c.mark = 7;
    return c;
}

static const char LINE[] = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=5000 dport=443 "
                           "src=10.2.0.1 dst=10.1.0.1 sport=443 dport=5000 [ASSURED] mark=7 zone=0 use=1";

static void text(void **state) {
    (void)state;
    conntab_connection c = sample();
    char line[400];
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line), strlen(LINE));
    assert_string_equal(line, LINE);

    c.has_counters = c.has_delta_time = 1;
    c.counters[1].bytes = 12345678901ull;
    c.delta_time = 99;
    c.zone_orig = 3;
    conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line);
    assert_non_null(strstr(line, "packets=0 bytes=12345678901 "));
    assert_non_null(strstr(line, "delta-time=99 "));
    assert_non_null(strstr(line, "zone-orig=3 "));

    /* All states of TCP and SCTP have names; others are nonsense. */
    c = sample();
    for (unsigned number = 0; number <= UINT8_MAX; number++) {
        c.proto_state = (uint8_t)number;
        c.original.l4 = c.reply.l4 = 6;
        size_t len = conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line);
        assert_true(number <= CONNTAB_TCP_SYN_SENT2 ? len > 0 : len == 0);
        c.original.l4 = c.reply.l4 = 132;
        len = conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line);
        assert_true(number <= CONNTAB_SCTP_HEARTBEAT_SENT ? len > 0 : len == 0);
    }
    c.proto_state = CONNTAB_SCTP_SHUTDOWN_ACK_SENT;
    conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line);
    assert_non_null(strstr(line, "ipv4     2 sctp     132 431999 SHUTDOWN_ACK_SENT src="));
}

/* As snprintf: every size, NULL, and nothing behind the buffer. */
static void text_buffers(void **state) {
    (void)state;
    conntab_connection c = sample();
    const size_t whole = strlen(LINE);
    for (size_t size = 0; size < whole + 3; size++) {
        char *buffer = malloc(size + 1); /* so that Valgrind sees the end */
        memset(buffer, 'x', size + 1);
        assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), buffer, size), whole);
        assert_int_equal(buffer[size], 'x');
        if (size > 0) {
            size_t written = size - 1 < whole ? size - 1 : whole;
            assert_memory_equal(buffer, LINE, written);
            assert_int_equal(buffer[written], 0);
        }
        free(buffer);
    }
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), NULL, 0), whole);
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), NULL, 100), whole);
}

static void text_misuse(void **state) {
    (void)state;
    conntab_connection c = sample(), two[2];
    char line[400] = "as it was";
    memset(two, 0, sizeof two);
    assert_int_equal(conntab_connection_text(NULL, sizeof(conntab_connection), line, sizeof line), 0);
    assert_int_equal(conntab_connection_text((const conntab_connection *)crooked(two), sizeof(conntab_connection), line, sizeof line), 0);
    /* A family that is none, an IPv4 address of more than four bytes, in either tuple. */
    c.original.l3 = 0;
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line), 0);
    c = sample();
    c.reply.l3 = 255;
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line), 0);
    c = sample();
    c.reply.dst[15] = 1;
    assert_int_equal(conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line), 0);
    assert_string_equal(line, "as it was");
}

/* Random bytes do no harm, and no line is longer than is promised. */
static void text_garbage(void **state) {
    (void)state;
    uint64_t seed = 1;
    size_t longest = 0;
    for (unsigned long i = 0; i < rounds(100000, 2000); i++) {
        conntab_connection c;
        random_bytes(&seed, &c, sizeof c);
        char line[LINE_MAX_];
        if (i % 8 != 0) {
            c.original.l3 = c.reply.l3 = CONNTAB_IPV6;
            const uint8_t protocols[] = {1, 6, 17, 47, 58, 132, 136};
            c.original.l4 = protocols[random64(&seed) % 7];
            c.proto_state %= 12;
        }
        size_t len = conntab_connection_text(&c, sizeof(conntab_connection), line, sizeof line);
        if (len > 0) {
            assert_true(len >= sizeof line || strlen(line) == len);
        }
        longest = len > longest ? len : longest;
    }
    /* The longest there can be. */
    conntab_connection c;
    memset(&c, 0xff, sizeof c);
    c.master = 0;
    memset(c.helper, 0, sizeof c.helper);
    c.original.l3 = c.reply.l3 = CONNTAB_IPV6;
    c.status = CONNTAB_STATUS_ASSURED;
    c.zone_reply = 10000;
    for (unsigned l4 = 0; l4 < 256; l4++) {
        c.original.l4 = c.reply.l4 = (uint8_t)l4;
        c.proto_state = CONNTAB_TCP_ESTABLISHED;
        size_t len = conntab_connection_text(&c, sizeof(conntab_connection), NULL, 0);
        longest = len > longest ? len : longest;
    }
    print_message("longest line of a connection: %zu\n", longest);
    assert_in_range(longest, 1, LINE_MAX_ - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version),      cmocka_unit_test(errors),      cmocka_unit_test(reasons),
        cmocka_unit_test(states),       cmocka_unit_test(text),        cmocka_unit_test(text_buffers),
        cmocka_unit_test(text_misuse), cmocka_unit_test(text_garbage),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
