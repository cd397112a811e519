/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapters: helpers, expectations. */
#include "common.h"

#define CLIENT 0x0a000001u
#define SERVER 0x0a000002u

static conntab_config expecting(void) {
    conntab_config config = small_config();
    config.expect_max = 16;
    config.events = 256;
    return config;
}

static bytes with_data(uint16_t sport, uint16_t dport, const void *data, unsigned length) {
    bytes b = ipv4(CLIENT, SERVER, 17, 8 + length);
    put16(b.at + 20, sport);
    put16(b.at + 22, dport);
    put16(b.at + 24, 8 + length);
    if (length > 0) {
        memcpy(b.at + 28, data, length);
    }
    return b;
}

static conntab_announcement announcement(uint16_t port) {
    conntab_announcement a;
    memset(&a, 0, sizeof a);
    put32(a.from, SERVER);
    put32(a.to, CLIENT);
    a.port = port;
    a.protocol = 17;
    return a;
}

/* What a helper is to do, and what it saw. */
typedef struct plan {
    unsigned announce;
    int answer;
    conntab_announcement what;
    conntab_announcement *bad;
    int last;
    conntab_heading about;
    size_t length;
    uint64_t heard;
    conntab_worker *worker;
    int inner;
} plan;

static int help(void *user, const conntab_heading *about, const uint8_t *payload, size_t length, uint64_t *state,
                conntab_announcements *announcements) {
    plan *p = user;
    p->about = *about;
    p->length = length;
    p->heard = ++state[0];
    state[CONNTAB_HELPER_STATE - 1] = length > 0 ? payload[length - 1] : 0;
    for (unsigned i = 0; i < p->announce; i++) {
        p->last = conntab_announce(announcements, &p->what);
    }
    if (p->bad) {
        assert_int_equal(conntab_announce(announcements, p->bad), CONNTAB_EINVAL);
        assert_int_equal(conntab_announce(announcements, NULL), CONNTAB_EINVAL);
        assert_int_equal(conntab_announce(NULL, p->bad), CONNTAB_EINVAL);
    }
    if (p->worker) {
        p->inner = conntab_idle(p->worker);
    }
    return p->answer;
}

static conntab_helper helper_of(plan *p) {
    conntab_helper helper;
    memset(&helper, 0, sizeof helper);
    memcpy(helper.name, "custom", 7);
    helper.protocol = 17;
    helper.help = help;
    helper.user = p;
    helper.classes[0].max = 2;
    helper.classes[0].timeout = 60;
    memcpy(helper.classes[1].name, "side", 5);
    helper.classes[1].max = 1;
    helper.classes[1].timeout = 5;
    return helper;
}

/* A packet of 10.0.0.1:7 -> 10.0.0.2:7, with the helper attached; whether it passed. */
static int shown(conntab_worker *worker, uint8_t helper, const char *data, conntab_verdict *verdict) {
    bytes b = with_data(7, 7, data, (unsigned)strlen(data));
    conntab_packet packet = packet_of(&b);
    uint64_t keep = 1;
    assert_int_equal(conntab_track(worker, NOW, &packet, 1, verdict), 1);
    if (verdict->unconfirmed) {
        assert_int_equal(conntab_attach_helper(worker, verdict, helper), CONNTAB_OK);
        assert_true(verdict->status & CONNTAB_STATUS_HELPER);
    }
    int lost = conntab_help(worker, NOW, &packet, verdict, 1, &keep);
    assert_int_equal(lost, keep ? 0 : 1);
    assert_true(conntab_confirm(worker, NOW, verdict, 1, keep) >= 0);
    return keep == 1;
}

static unsigned expected(const conntab_table *table, conntab_expectation *first) {
    conntab_expectations *walk = conntab_expectations_new(table, NOW);
    conntab_expectation one;
    unsigned n = 0;
    while (conntab_expectations_next(walk, &one) == 1) {
        if (n++ == 0 && first) {
            *first = one;
        }
    }
    conntab_expectations_free(walk);
    return n;
}

static void adding_misuse(void **state) {
    (void)state;
    plan p;
    memset(&p, 0, sizeof p);
    conntab_helper helper = helper_of(&p), bad;
    uint8_t number = 0;
    host h = small_host();
    assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, &number), CONNTAB_EROOM);
    assert_int_equal(conntab_table_ship_helper(h.table, "ftp", &number), CONNTAB_EROOM);
    host_free(&h);
    conntab_config config = small_config();
    config.helper_max = 1;
    conntab_table *none = NULL;
    assert_int_equal(conntab_table_new(&config, sizeof config, &none), CONNTAB_EINVAL);
    config = expecting();
    h = host_of(&config);
    assert_int_equal(conntab_table_add_helper(NULL, &helper, sizeof helper, &number), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_add_helper(h.table, NULL, sizeof helper, &number), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_add_helper(h.table, &helper, 0, &number), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_add_helper(h.table, crooked(&helper), sizeof helper, &number), CONNTAB_EINVAL);
    struct { conntab_helper known; uint64_t more; } longer = {helper, 1};
    assert_int_equal(conntab_table_add_helper(h.table, &longer.known, sizeof longer, &number), CONNTAB_E2BIG);
    for (int i = 0; i < 9; i++) {
        bad = helper;
        switch (i) {
        case 0: bad.help = NULL; break;
        case 1: memset(bad.name, 0, sizeof bad.name); break;
        case 2: memset(bad.name, 'x', sizeof bad.name); break;
        case 3: bad.name[0] = ' '; break;
        case 4: bad.classes[0].max = 0; break;
        case 5: bad.classes[0].max = 8; break; /* nine with the other class */
        case 6: bad.classes[1].timeout = 0; break;
        case 7: bad.l3 = 3; break;
        case 8: bad.reserved[5] = 1; break;
        }
        assert_int_equal(conntab_table_add_helper(h.table, &bad, sizeof bad, &number), CONNTAB_EINVAL);
    }
    assert_int_equal(conntab_table_ship_helper(NULL, "ftp", &number), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_ship_helper(h.table, NULL, &number), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_ship_helper(h.table, "sip", &number), CONNTAB_ENOENT);
    assert_int_equal(number, 0);
    assert_int_equal(conntab_table_ship_helper(h.table, "ftp", &number), CONNTAB_OK);
    assert_int_equal(number, 1);
    assert_int_equal(conntab_table_ship_helper(h.table, "irc", NULL), CONNTAB_OK);
    assert_int_equal(conntab_table_ship_helper(h.table, "tftp", &number), CONNTAB_OK);
    assert_int_equal(conntab_table_ship_helper(h.table, "ftp", &number), CONNTAB_OK);
    assert_int_equal(number, 1);
    assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, &number), CONNTAB_OK);
    assert_int_equal(number, 4);
    assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, &number), CONNTAB_EEXIST);
    for (int i = 4; i < 32; i++) {
        helper.name[0] = (char)('A' + i);
        assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, NULL), CONNTAB_OK);
    }
    helper.name[0] = '+';
    assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, NULL), CONNTAB_EUSERS);
    host_free(&h);
}

static void helping_misuse(void **state) {
    (void)state;
    conntab_config config = expecting();
    host h = host_of(&config);
    uint8_t tftp, ftp;
    assert_int_equal(conntab_table_ship_helper(h.table, "tftp", &tftp), CONNTAB_OK);
    assert_int_equal(conntab_table_ship_helper(h.table, "ftp", &ftp), CONNTAB_OK);
    bytes b = with_data(7, 69, "\0\1", 2);
    conntab_packet packet = packet_of(&b);
    conntab_verdict verdict = track_one(h.worker, NOW, &b), other = verdict;
    uint64_t keep = 1;
    assert_int_equal(conntab_attach_helper(NULL, &verdict, tftp), CONNTAB_EINVAL);
    assert_int_equal(conntab_attach_helper(h.worker, NULL, tftp), CONNTAB_EINVAL);
    assert_int_equal(conntab_attach_helper(h.worker, crooked(&verdict), tftp), CONNTAB_EINVAL);
    assert_int_equal(conntab_attach_helper(h.worker, &verdict, 0), CONNTAB_ENOENT);
    assert_int_equal(conntab_attach_helper(h.worker, &verdict, 99), CONNTAB_ENOENT);
    assert_int_equal(conntab_attach_helper(h.worker, &verdict, ftp), CONNTAB_EPROTO);
    other.conn++;
    assert_int_equal(conntab_attach_helper(h.worker, &other, tftp), CONNTAB_ESTATE);
    assert_int_equal(conntab_attach_helper(h.worker, &verdict, tftp), CONNTAB_OK);
    assert_int_equal(conntab_attach_helper(h.worker, &verdict, tftp), CONNTAB_EEXIST);
    assert_int_equal(conntab_help(NULL, NOW, &packet, &verdict, 1, &keep), CONNTAB_EINVAL);
    assert_int_equal(conntab_help(h.worker, NOW, NULL, &verdict, 1, &keep), CONNTAB_EINVAL);
    assert_int_equal(conntab_help(h.worker, NOW, &packet, NULL, 1, &keep), CONNTAB_EINVAL);
    assert_int_equal(conntab_help(h.worker, NOW, &packet, &verdict, 1, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_help(h.worker, NOW, &packet, &verdict, 1, crooked(&keep)), CONNTAB_EINVAL);
    assert_int_equal(conntab_help(h.worker, NOW, NULL, NULL, 0, &keep), 0);
    /* What is not to leave is not heard; nor is a verdict of nobody's. */
    keep = 0;
    assert_int_equal(conntab_help(h.worker, NOW, &packet, &verdict, 1, &keep), 0);
    memset(&other, 0xff, sizeof other);
    keep = 1;
    assert_int_equal(conntab_help(h.worker, NOW, &packet, &other, 1, &keep), 0);
    assert_int_equal(stats_of(h.table).expectations, 0);
    /* Any bytes are a packet. */
    uint64_t seed = 1;
    for (unsigned long i = 0; i < rounds(20000, 500); i++) {
        bytes odd = b;
        random_bytes(&seed, odd.at + random64(&seed) % 28, 1 + random64(&seed) % 4);
        odd.len = 1 + (uint32_t)(random64(&seed) % b.len);
        packet = packet_of(&odd);
        keep = 1;
        assert_true(conntab_help(h.worker, NOW, &packet, &verdict, 1, &keep) >= 0);
    }
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);
    assert_int_equal(stats_of(h.table).expectations, 0);
    assert_int_equal(stats_of(h.table).helper_records, 0);
    host_free(&h);
}

static void a_helper_of_the_hosts(void **state) {
    (void)state;
    conntab_config config = expecting();
    host h = host_of(&config);
    plan p;
    memset(&p, 0, sizeof p);
    conntab_helper helper = helper_of(&p);
    uint8_t number;
    assert_int_equal(conntab_table_add_helper(h.table, &helper, sizeof helper, &number), CONNTAB_OK);
    conntab_verdict verdict;
    p.announce = 1;
    p.what = announcement(9);
    p.worker = h.worker;
    assert_true(shown(h.worker, number, "hello", &verdict));
    assert_int_equal(p.inner, CONNTAB_EBUSY);
    p.worker = NULL;
    assert_int_equal(p.length, 5);
    assert_int_equal(p.about.dir, CONNTAB_ORIGINAL);
    assert_int_equal(p.about.original.dport, 7);
    assert_int_equal(p.about.established, 0);
    conntab_expectation first;
    char line[LINE_MAX_];
    assert_int_equal(expected(h.table, &first), 1);
    assert_int_equal(first.master, verdict.conn);
    assert_int_equal(first.timeout_ms, 60000);
    const char *text = "60 l3proto = 2 proto=17 src=10.0.0.2 dst=10.0.0.1 sport=0 dport=9 custom";
    assert_int_equal(conntab_expectation_text(&first, line, sizeof line), strlen(text));
    assert_string_equal(line, text);
    /* The other class has a name, and a limit of its own; what is permanent says so. */
    p.what = announcement(10);
    p.what.class_id = 1;
    p.what.flags = CONNTAB_EXPECT_PERMANENT | CONNTAB_EXPECT_ANY_SOURCE;
    memset(p.what.from, 0, sizeof p.what.from);
    assert_true(shown(h.worker, number, "", &verdict));
    assert_int_equal(p.heard, 2);
    assert_int_equal(expected(h.table, NULL), 2);
    conntab_event events[8];
    assert_int_equal(conntab_table_events(h.table, events, 8, sizeof *events), 3);
    assert_int_equal(events[0].kind, CONNTAB_EVENT_EXPECT_NEW);
    assert_int_equal(events[1].changes, CONNTAB_CHANGE_NEW | CONNTAB_CHANGE_HELPER);
    assert_string_equal(events[1].connection.helper, "custom");
    assert_string_equal(events[2].expectation.class_name, "side");
    assert_int_equal(events[2].expectation.flags, p.what.flags);
    assert_true(conntab_event_text(&events[2], sizeof events[2], line, sizeof line) > 0);
    assert_non_null(strstr(line, "mask-src=0.0.0.0"));
    assert_non_null(strstr(line, "PERMANENT class=1 helper=custom"));
    /* Too much, and nonsense. */
    p.announce = 9;
    assert_true(shown(h.worker, number, "", &verdict));
    assert_int_equal(p.last, CONNTAB_EUSERS);
    p.announce = 0;
    for (int i = 0; i < 4; i++) {
        conntab_announcement bad = announcement(11);
        switch (i) {
        case 0: bad.class_id = 2; break;
        case 1: bad.flags = 4; break;
        case 2: bad.flags = CONNTAB_EXPECT_ANY_SOURCE; break;
        case 3: bad.reserved = 1; break;
        }
        p.bad = &bad;
        assert_true(shown(h.worker, number, "", &verdict));
    }
    p.bad = NULL;
    /* A helper that nobody added: the packet must not leave. */
    p.announce = 1;
    p.what = announcement(12);
    p.what.helper = 77;
    assert_false(shown(h.worker, number, "", &verdict));
    assert_int_equal(verdict.state, CONNTAB_DROP);
    assert_string_equal(conntab_reason_name(verdict.reason), "expectation");
    /* Its own wish. */
    p.announce = 0;
    p.answer = -1;
    assert_false(shown(h.worker, number, "", &verdict));
    assert_string_equal(conntab_reason_name(verdict.reason), "helper");
    p.answer = 0;
    /* They come. */
    bytes b = udp4(SERVER, CLIENT, 100, 9);
    verdict = pass(h.worker, NOW, &b);
    assert_int_equal(verdict.state, CONNTAB_RELATED);
    conntab_connection child = copy_of(h.worker, NOW, verdict.conn);
    assert_int_equal(child.master_tuple.dport, 7);
    assert_int_not_equal(child.master, 0);
    b = udp4(0x0a090909, CLIENT, 100, 10);
    assert_int_equal(pass(h.worker, NOW, &b).state, CONNTAB_RELATED);
    assert_int_equal(conntab_delete(h.worker, child.master), CONNTAB_OK);
    assert_int_equal(stats_of(h.table).expectations, 0);
    assert_int_equal(stats_of(h.table).expect_new, 2);
    assert_int_equal(stats_of(h.table).expect_create, stats_of(h.table).expect_delete);
    host_free(&h);
}

static void by_rule(void **state) {
    (void)state;
    conntab_config config = expecting();
    host h = host_of(&config);
    bytes b = udp4(CLIENT, SERVER, 5, 5);
    conntab_announcement a = announcement(9), wide = a;
    uint64_t there = pass(h.worker, NOW, &b).conn;
    assert_int_equal(conntab_expect(h.worker, NOW, there, &a, 10, 1), CONNTAB_ENOENT);
    b = udp4(CLIENT, SERVER, 6, 6);
    conntab_verdict verdict = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_expect(NULL, NOW, verdict.conn, &a, 10, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, NULL, 10, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, crooked(&a), 10, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, &a, 0, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, &a, 10, 9), CONNTAB_EINVAL);
    assert_int_equal(conntab_expect(h.worker, NOW, 0, &a, 10, 1), CONNTAB_ENOENT);
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, &a, 10, 1), CONNTAB_OK);
    wide.port = 10;
    assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, &wide, 10, 1), CONNTAB_EUSERS);
    for (uint16_t port = 20; port < 27; port++) {
        wide.port = port;
        assert_int_equal(conntab_expect(h.worker, NOW, verdict.conn, &wide, 10, 8), CONNTAB_OK);
    }
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    b = udp4(CLIENT, SERVER, 8, 8);
    conntab_verdict second = track_one(h.worker, NOW, &b);
    assert_int_equal(conntab_expect(h.worker, NOW, second.conn, &a, 10, 1), CONNTAB_EEXIST);
    for (uint16_t port = 30; port < 38; port++) {
        wide.port = port;
        assert_int_equal(conntab_expect(h.worker, NOW, second.conn, &wide, 10, 8), CONNTAB_OK);
    }
    b = udp4(CLIENT, SERVER, 9, 9);
    assert_int_equal(conntab_confirm(h.worker, NOW, &second, 1, 1), 1);
    conntab_verdict third = track_one(h.worker, NOW, &b);
    wide.port = 40;
    assert_int_equal(conntab_expect(h.worker, NOW, third.conn, &wide, 10, 1), CONNTAB_EROOM);
    assert_int_equal(conntab_idle(h.worker), CONNTAB_OK);

    conntab_expectation one;
    char line[LINE_MAX_];
    assert_int_equal(expected(h.table, &one), 16);
    assert_null(conntab_expectations_new(NULL, NOW));
    conntab_expectations *walk = conntab_expectations_new(h.table, NOW);
    assert_int_equal(conntab_expectations_next(NULL, &one), CONNTAB_EINVAL);
    assert_int_equal(conntab_expectations_next(walk, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_expectations_next(walk, crooked(&one)), CONNTAB_EINVAL);
    conntab_expectations_free(walk);
    conntab_expectations_free(NULL);
    assert_int_equal(conntab_expectation_text(NULL, line, sizeof line), 0);
    memset(&one, 0xff, sizeof one);
    assert_int_equal(conntab_expectation_text(&one, line, sizeof line), 0);
    /* Their time is over. */
    assert_int_equal(conntab_reap(h.worker, NOW + 10000, 1 << 20, NULL), CONNTAB_OK);
    assert_int_equal(stats_of(h.table).expectations, 0);
    assert_int_equal(stats_of(h.table).expect_full, 1);
    host_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adding_misuse),
        cmocka_unit_test(helping_misuse),
        cmocka_unit_test(a_helper_of_the_hosts),
        cmocka_unit_test(by_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
