/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sequences of calls of the C ABI. Arguments may be NULL, crooked, too small, too large, stale or nonsense, wherever the header says
 * what becomes of that; nothing that it leaves undefined (a pointer to what was freed, a size that is not there). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conntab.h"
#include "packets.h"

#define CHECK(good)                                                \
    do {                                                           \
        if (!(good)) {                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #good); \
            abort();                                               \
        }                                                          \
    } while (0)

enum { BURST = 8, KNOWN = 32, WORKERS = 3, ROOM = 2048 };

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static uint8_t u8(input *in) {
    if (in->left == 0) return 0;
    in->left--;
    return *in->at++;
}

static uint16_t u16(input *in) {
    uint16_t low = u8(in);
    return (uint16_t)(low | u8(in) << 8);
}

static uint32_t u32(input *in) {
    uint32_t low = u16(in);
    return low | (uint32_t)u16(in) << 16;
}

static void fill(input *in, void *at, size_t n) {
    uint8_t *to = at;
    for (size_t i = 0; i < n; i++) to[i] = u8(in);
}

/* A table and all that hangs on it. */
static struct {
    conntab_table *table;
    conntab_worker *workers[WORKERS];
    conntab_dump *dump;
    conntab_expectations *walk;
    conntab_defrag *defrag;
    uint64_t now;
    uint64_t known[KNOWN];
    unsigned next;
    bytes packets[BURST];
    conntab_packet burst[BURST];
    conntab_verdict verdicts[BURST];
    size_t n;
    /* Whose burst it is. */
    conntab_worker *worker;
    /* The defect that ci/fuzz.sh plants: a free handle is expected to work. */
    int planted;
} w;

static _Alignas(4096) uint8_t region[4 << 20];

/* Of 32 times NULL once, and crooked once. */
static void *odd(input *in, void *real, int *bad) {
    uint8_t how = u8(in);
    if (how < 0xf0) return real;
    *bad = 1;
    return how < 0xf8 ? NULL : (char *)real + 1;
}

/* A struct of a size that the caller chooses; what is behind it must stay as it is. */
typedef struct out {
    _Alignas(16) uint8_t at[ROOM];
    size_t size;
} out;

static void *out_of(input *in, out *o, size_t size, int *bad) {
    uint8_t how = u8(in);
    memset(o->at, 0xaa, sizeof o->at);
    o->size = how < 0xc0 ? size : how < 0xe0 ? size - how % 16 : how < 0xf0 ? size + how % 16 : 0;
    if (o->size == 0) *bad = 1;
    /* It is written byte by byte: a crooked one will do. */
    int ignored = 0;
    void *at = odd(in, o->at, &ignored);
    *bad |= at == NULL;
    return at;
}

static void unharmed(const out *o) {
    for (size_t i = o->size + 1; i < sizeof o->at; i++) CHECK(o->at[i] == 0xaa);
}

static int ok(int result, int bad) {
    CHECK(result >= CONNTAB_EEXIST);
    CHECK(!bad || result == CONNTAB_EINVAL);
    return result;
}

static uint64_t handle(input *in) {
    uint8_t n = u8(in);
    if (n == 0xff) return (uint64_t)u32(in) << 32 | u16(in);
    return n == 0xfe ? 0 : w.known[n % KNOWN];
}

static void learn(uint64_t conn) {
    if (conn != 0) w.known[w.next++ % KNOWN] = conn;
}

static conntab_worker *worker(input *in, int *bad) {
    conntab_worker *one = w.workers[u8(in) % WORKERS];
    if (one == NULL) *bad = 1;
    return one;
}

static const char *name(input *in, char *buffer, int *bad) {
    static const char *const names[] = {"udp_timeout", "nf_conntrack_icmp_timeout", "tcp_timeout_syn_sent", "checksum", "events",
                                        "nat_hooks", "tcp_loose", "ipfrag_time", "frag6_high_thresh", "ftp", "tftp", "irc", ""};
    uint8_t how = u8(in);
    if (how == 0xff) {
        *bad = 1;
        return NULL;
    }
    if (how < 0xe0) return names[how % (sizeof names / sizeof *names)];
    size_t n = how % 32;
    fill(in, buffer, n);
    buffer[n] = 0;
    return buffer;
}

static bytes packet(input *in) {
    uint8_t how = u8(in), more = u8(in);
    uint32_t src = 0x0a000000u + (how >> 3 & 3), dst = 0x0a000000u + (how >> 5 & 3);
    uint16_t sport = (uint16_t)(1000 + (more & 3)), dport = more & 4 ? 69 : 21;
    static const uint8_t flags[] = {SYN, SYN | ACK, ACK, RST, FIN | ACK, PSH | ACK, RST | ACK, 0};
    switch (how & 7) {
    case 0: case 1: return udp4(src, dst, sport, dport);
    case 2: return udp4(dst, src, dport, sport);
    case 3: return tcp4(src, dst, sport, dport, flags[more >> 5], 100, 100);
    case 4: return tcp4(dst, src, dport, sport, flags[more >> 5], 100, 101);
    case 5: return udp6(src, dst, sport, dport);
    case 6: {
        bytes about = udp4(src, dst, sport, dport);
        return more & 16 ? icmp4_error(dst, src, &about) : icmp4(src, dst, more & 8, 1);
    }
    default: {
        bytes any;
        memset(&any, 0, sizeof any);
        any.len = more % sizeof any.at;
        fill(in, any.at, any.len);
        return any;
    }
    }
}

static void track(input *in) {
    int bad = 0;
    conntab_worker *one = worker(in, &bad);
    w.n = u8(in) % (BURST + 1);
    for (size_t i = 0; i < w.n; i++) {
        w.packets[i] = packet(in);
        memset(&w.burst[i], 0, sizeof w.burst[i]);
        w.burst[i].l3 = w.packets[i].at;
        w.burst[i].caplen = w.burst[i].len = w.packets[i].len;
        w.burst[i].flags = CONNTAB_CHECKSUM_OK;
        uint8_t strange = u8(in);
        if (strange >= 0xf0) {
            /* A packet that cannot be, or says so. */
            switch (strange & 7) {
            case 0: w.burst[i].l3 = NULL; break;
            case 1: w.burst[i].hook = u8(in); break;
            case 2: w.burst[i].flags = u32(in); break;
            case 3: w.burst[i].len = u32(in); break;
            case 4: w.burst[i].zone_orig = u8(in); w.burst[i].zone_reply = u8(in); break;
            default: w.burst[i].hash = u32(in);
            }
        }
    }
    int crooked = 0;
    const conntab_packet *packets = odd(in, w.burst, &crooked);
    conntab_verdict *verdicts = odd(in, w.verdicts, &crooked);
    int n = ok(conntab_track(one, w.now, packets, w.n, verdicts), bad || (crooked && w.n > 0));
    CHECK(n < 0 || (size_t)n == w.n);
    if (n < 0) w.n = 0;
    w.worker = one;
    for (size_t i = 0; i < w.n; i++) {
        CHECK(w.verdicts[i].state < CONNTAB_STATES && w.verdicts[i].reserved == 0);
        CHECK(strcmp(conntab_reason_name(w.verdicts[i].reason), "unknown") != 0);
        learn(w.verdicts[i].conn);
    }
}

static void confirm(input *in) {
    int bad = w.worker == NULL;
    uint8_t keep = u8(in);
    if (u8(in) >= 0xf8 && w.n > 0) fill(in, &w.verdicts[0], sizeof w.verdicts[0]);
    int crooked = 0;
    conntab_verdict *verdicts = odd(in, w.verdicts, &crooked);
    CHECK(ok(conntab_confirm(w.worker, w.now, verdicts, w.n, keep), bad || (crooked && w.n > 0)) <= (int)w.n);
}

static int help(void *user, const conntab_heading *about, const uint8_t *payload, size_t length, uint64_t *state,
                conntab_announcements *announcements) {
    CHECK(user == &w && payload != NULL && about->dir <= 1);
    /* The worker is at work. */
    CHECK(conntab_idle(w.worker) == CONNTAB_EBUSY);
    conntab_announcement what;
    memset(&what, 0, sizeof what);
    memcpy(what.to, about->original.src, sizeof what.to);
    what.port = (uint16_t)(2000 + (state[0]++ & 3));
    what.protocol = 17;
    what.flags = CONNTAB_EXPECT_ANY_SOURCE;
    what.class_id = (uint8_t)(length % 3);
    ok(conntab_announce(announcements, &what), what.class_id != 0);
    return length == 7;
}

static void of_verdict(input *in, uint8_t op) {
    int bad = w.worker == NULL;
    if (w.n == 0) return;
    conntab_verdict *verdict = odd(in, &w.verdicts[u8(in) % w.n], &bad);
    conntab_tuple reply = tuple4(0x0a000000u + (op & 3), 0x0a000005u, u8(in), u8(in), u8(in) & 1 ? 17 : 6);
    uint64_t keep = u8(in);
    switch (op & 3) {
    case 0: ok(conntab_set_reply_tuple(w.worker, verdict, odd(in, &reply, &bad)), bad); break;
    case 1: ok(conntab_set_timeout_policy(w.worker, verdict, u8(in) % 4), bad); break;
    case 2: ok(conntab_attach_helper(w.worker, verdict, u8(in) % 5), bad); break;
    default: {
        bad = w.worker == NULL;
        uint64_t *kept = odd(in, &keep, &bad);
        CHECK(ok(conntab_help(w.worker, w.now, w.burst, w.verdicts, w.n, kept), bad) <= (int)w.n);
    }
    }
}

static void of_worker(input *in, uint8_t op) {
    int bad = 0;
    conntab_worker *one = worker(in, &bad);
    uint64_t conn = handle(in);
    out o;
    switch (op & 15) {
    case 0: ok(conntab_idle(one), bad); break;
    case 1: {
        conntab_reaped reaped;
        ok(conntab_reap(one, w.now, op & 16 ? UINT32_MAX : u16(in), op & 32 ? NULL : &reaped), bad);
        break;
    }
    case 2: ok(conntab_set_mark(one, conn, u32(in)), bad); break;
    case 3: {
        int first = ok(conntab_delete(one, conn), bad);
        if (first == CONNTAB_OK) CHECK(conntab_delete(one, conn) == (w.planted ? CONNTAB_OK : CONNTAB_ENOENT));
        break;
    }
    case 4: {
        uint64_t conns[BURST] = {0}, deleted = 0;
        size_t n = u8(in) % (BURST + 1);
        for (size_t i = 0; i < n; i++) conns[i] = handle(in);
        int crooked = 0;
        const uint64_t *at = odd(in, conns, &crooked);
        int result = ok(conntab_delete_burst(one, at, n, op & 16 ? NULL : &deleted), bad || (crooked && n > 0));
        if (result >= 0 && !(op & 16)) CHECK(__builtin_popcountll(deleted) == result);
        break;
    }
    case 5: ok(conntab_set_closing(one, w.now, conn), bad); break;
    case 6: ok(conntab_section_begin(one), bad); break;
    case 7: ok(conntab_section_end(one), bad); break;
    case 8: {
        conntab_view view;
        conntab_tuple tuple = tuple4(0x0a000000u + (op >> 4 & 3), 0x0a000000u + (op >> 6), 1000, 21, op & 32 ? 17 : 6);
        if (u8(in) >= 0xf0) fill(in, &tuple, sizeof tuple);
        conntab_view *to = odd(in, &view, &bad);
        if (ok(conntab_lookup(one, w.now, u8(in) & 1, &tuple, to), bad) == CONNTAB_OK) {
            CHECK(view.conn != 0);
            learn(view.conn);
            if (view.user_data) view.user_data[0]++;
        }
        break;
    }
    case 9: {
        conntab_tuple tuples[BURST];
        conntab_view views[BURST];
        size_t n = u8(in) % (BURST + 1);
        for (size_t i = 0; i < n; i++) tuples[i] = tuple4(0x0a000000u + (u8(in) & 3), 0x0a000000u + (u8(in) & 3), 1000, 21, 17);
        int found = ok(conntab_lookup_burst(one, w.now, 0, tuples, n, views), bad);
        for (size_t i = 0; found >= 0 && i < n; i++) found -= views[i].conn != 0;
        CHECK(found <= 0);
        break;
    }
    case 10: {
        conntab_view view;
        conntab_view *to = odd(in, &view, &bad);
        if (ok(conntab_get(one, conn, to), bad) == CONNTAB_OK) CHECK(view.conn == conn);
        break;
    }
    case 11: {
        conntab_tuple tuple;
        uint8_t dir = u8(in) % 3;
        ok(conntab_tuple_of(one, conn, dir, odd(in, &tuple, &bad)), bad || dir > 1);
        break;
    }
    case 12: {
        void *at = out_of(in, &o, sizeof(conntab_connection), &bad);
        ok(conntab_copy(one, w.now, conn, at, o.size), bad);
        unharmed(&o);
        break;
    }
    case 13: {
        conntab_announcement what;
        memset(&what, 0, sizeof what);
        memcpy(what.to, "\x0a\0\0\1", 4);
        what.port = u8(in);
        what.protocol = 17;
        what.flags = u8(in) & 3;
        what.helper = u8(in) % 6;
        if (u8(in) >= 0xf0) fill(in, &what, sizeof what);
        ok(conntab_expect(one, w.now, conn, &what, u8(in), u8(in) % 10), bad);
        break;
    }
    case 14:
        if (w.worker == one) w.worker = NULL, w.n = 0;
        for (int i = 0; i < WORKERS; i++) if (w.workers[i] == one) w.workers[i] = NULL;
        conntab_worker_free(one);
        break;
    default: {
        int i = u8(in) % WORKERS;
        if (w.workers[i] == NULL) ok(conntab_worker_new(w.table, &w.workers[i]), w.table == NULL);
    }
    }
}

static void of_table(input *in, uint8_t op) {
    int bad = w.table == NULL;
    char buffer[64];
    uint32_t value = u8(in) < 0xf0 ? u8(in) : u32(in);
    out o;
    switch (op & 15) {
    case 0: ok(conntab_table_set(w.table, name(in, buffer, &bad), value), bad); break;
    case 1: ok(conntab_table_get(w.table, name(in, buffer, &bad), odd(in, &value, &bad)), bad); break;
    case 2: ok(conntab_table_policy(w.table, op >> 6, name(in, buffer, &bad), value), bad); break;
    case 3: {
        uint64_t conn = handle(in);
        if (ok(conntab_table_delete(w.table, conn), bad) == CONNTAB_OK) CHECK(conntab_table_delete(w.table, conn) == CONNTAB_ENOENT);
        break;
    }
    case 4: if (op & 16) conntab_table_flush(w.table); break;
    case 5: ok(conntab_table_set_max(w.table, (uint32_t)64 << (value & 3)), bad); break;
    case 6: {
        void *at = out_of(in, &o, sizeof(conntab_stats), &bad);
        ok(conntab_table_stats(w.table, at, o.size), bad);
        unharmed(&o);
        break;
    }
    case 7:
        conntab_dump_free(w.dump);
        w.dump = conntab_dump_new(w.table, w.now);
        CHECK((w.dump == NULL) == (w.table == NULL));
        break;
    case 8: {
        bad = w.dump == NULL;
        void *at = out_of(in, &o, sizeof(conntab_connection), &bad);
        int more = ok(conntab_dump_next(w.dump, at, o.size), bad);
        unharmed(&o);
        if (more == 1 && at == (void *)o.at && o.size >= sizeof(conntab_connection)) {
            char line[CONNTAB_TEXT_SIZE];
            size_t n = conntab_connection_text(at, o.size, line, sizeof line);
            CHECK(n > 0 && n < sizeof line && strlen(line) == n);
        }
        break;
    }
    case 9: {
        _Alignas(16) uint8_t events[2 * (sizeof(conntab_event) + 16)];
        size_t size = sizeof(conntab_event) - 16 + (op >> 4) * 2;
        int n = ok(conntab_table_events(w.table, (conntab_event *)events, 2, size), bad);
        CHECK(n <= 2);
        break;
    }
    case 10:
        conntab_expectations_free(w.walk);
        w.walk = conntab_expectations_new(w.table, w.now);
        break;
    case 11: {
        conntab_expectation expectation;
        bad = w.walk == NULL;
        if (ok(conntab_expectations_next(w.walk, odd(in, &expectation, &bad)), bad) == 1) {
            char line[CONNTAB_TEXT_SIZE];
            CHECK(conntab_expectation_text(&expectation, line, sizeof line) == strlen(line));
        }
        break;
    }
    case 12: ok(conntab_table_ship_helper(w.table, name(in, buffer, &bad), NULL), bad); break;
    case 13: {
        conntab_helper helper;
        memset(&helper, 0, sizeof helper);
        memcpy(helper.name, "own", 4);
        helper.name[3] = (char)(op >> 4);
        helper.classes[0].timeout = 30;
        helper.classes[0].max = 2;
        helper.protocol = 17;
        if (u8(in) >= 0xf0) fill(in, &helper, sizeof helper);
        helper.help = u8(in) == 0xff ? NULL : help;
        helper.user = &w;
        ok(conntab_table_add_helper(w.table, &helper, sizeof helper, NULL), bad || helper.help == NULL);
        break;
    }
    default: {
        conntab_stats stats;
        if (conntab_table_stats(w.table, &stats, sizeof stats) == CONNTAB_OK) {
            CHECK(stats.lost == 0 && stats.connections == conntab_table_count(w.table));
            /* What went in is in, or has gone. (What is not confirmed is counted, too.) */
            uint64_t gone = stats.deleted + stats.expired + stats.early_drop;
            CHECK(stats.insert >= gone && stats.insert - gone <= stats.connections);
        }
    }
    }
}

/* Text of structs that hold anything. */
static void text(input *in, uint8_t op) {
    _Alignas(16) uint8_t any[1024];
    char line[700];
    size_t room = u16(in) % sizeof line;
    memset(any, 0, sizeof any);
    fill(in, any, in->left < sizeof any ? in->left : sizeof any);
    memset(line, 0x55, sizeof line);
    size_t n = 0;
    switch (op & 3) {
    case 0: n = conntab_connection_text((void *)any, sizeof(conntab_connection), line, room); break;
    case 1: n = conntab_expectation_text((void *)any, line, room); break;
    case 2: n = conntab_event_text((void *)any, sizeof(conntab_event), line, room); break;
    default: {
        conntab_config config;
        uint64_t memory;
        memcpy(&config, any, sizeof config);
        config.memory = NULL;
        if (ok(conntab_config_memory(&config, sizeof config, &memory), 0) == CONNTAB_OK)
            CHECK(conntab_config_explain(&config, sizeof config, line, room) == 0);
        return;
    }
    }
    CHECK(n < CONNTAB_TEXT_SIZE);
    if (n > 0 && room > 0) CHECK(strlen(line) == (n < room ? n : room - 1));
    for (size_t i = n < room ? n + 1 : room; i < sizeof line; i++) CHECK(line[i] == 0x55);
}

static void of_defrag(input *in, uint8_t op) {
    char buffer[64];
    out o;
    int bad = w.defrag == NULL;
    switch (op & 3) {
    case 0: {
        conntab_defrag_config config;
        CHECK(conntab_defrag_config_init(&config, sizeof config) == CONNTAB_OK);
        config.ipfrag_high_thresh = config.frag6_high_thresh = (uint32_t)u8(in) << 8;
        config.queues = u8(in);
        config.prefault = 0;
        conntab_defrag_free(w.defrag);
        w.defrag = NULL;
        ok(conntab_defrag_new(&config, sizeof config, &w.defrag), config.queues == 0);
        break;
    }
    case 1: ok(conntab_defrag_set(w.defrag, name(in, buffer, &bad), u16(in)), bad); break;
    case 2: {
        void *at = out_of(in, &o, sizeof(conntab_defrag_counters), &bad);
        ok(conntab_defrag_stats(w.defrag, at, o.size), bad);
        unharmed(&o);
        ok(conntab_defrag_expire(w.defrag, w.now, u8(in)), w.defrag == NULL);
        break;
    }
    default: {
        bytes b = udp4(0x0a000001, 0x0a000002, 1, 2);
        b.len = 28 + (op >> 4 & 3) * 8;
        put16(b.at + 2, b.len);
        b.at[5] = op >> 6;
        put16(b.at + 6, u8(in) & 7 ? 0x2000 | (u8(in) & 7) : u8(in) & 7);
        conntab_packet one;
        memset(&one, 0, sizeof one);
        one.l3 = b.at;
        one.caplen = one.len = b.len;
        conntab_whole whole;
        int made = ok(conntab_defrag_push(w.defrag, w.now, &one, 0, &whole, sizeof whole), bad);
        if (made == CONNTAB_DEFRAG_WHOLE) {
            conntab_verdict verdict;
            int absent = 0;
            conntab_worker *with = worker(in, &absent);
            ok(conntab_track(with, w.now, &whole.packet, 1, &verdict), absent);
            if (with == w.worker) w.n = 0;
        }
    }
    }
}

static void make(input *in) {
    conntab_config config;
    CHECK(conntab_config_init(&config, sizeof config) == CONNTAB_OK);
    uint8_t how = u8(in), more = u8(in);
    config.max = more == 0xff ? u32(in) % 128 : 64u + (more & 63);
    config.max_reserve = how & 1 ? 1024 : 0;
    config.workers = 1 + (how >> 1 & 3);
    config.user_data = how & 8 ? 16 : 0;
    config.events = how & 16 ? 8 : 0;
    config.timeout_policies = how >> 5 & 3;
    config.acct = how >> 7;
    config.timestamp = more & 1;
    config.nat6 = more >> 1 & 1;
    config.expect_max = more & 4 ? 4 : 0;
    config.helper_max = more & 8 ? 2 : 0;
    config.pages = CONNTAB_PAGES_ORDINARY;
    config.prefault = 0;
    config.fixed_key = 1;
    if (more & 16) {
        config.memory = region;
        config.memory_size = sizeof region;
    }
    ok(conntab_table_new(&config, sizeof config, &w.table), config.max < 64);
    for (int i = 0; i < WORKERS; i++) ok(conntab_worker_new(w.table, &w.workers[i]), w.table == NULL);
}

void fuzz_ffi(const uint8_t *at, size_t left, int planted) {
    input whole = {at, left}, *in = &whole;
    memset(&w, 0, sizeof w);
    w.now = 1000;
    w.planted = planted;
    make(in);
    while (in->left > 0) {
        uint8_t op = u8(in), which = u8(in);
        switch (op % 16) {
        case 0: case 1: case 2: case 3: track(in); break;
        case 4: case 5: confirm(in); break;
        case 6: of_verdict(in, which); break;
        case 7: case 8: case 9: of_worker(in, which); break;
        case 10: case 11: of_table(in, which); break;
        case 12: of_defrag(in, which); break;
        case 13: w.now += which & 1 ? which * 1000u : which; break;
        case 14: if (which < 16) text(in, which); break;
        default:
            /* Workers and dumps stay usable without it. */
            if (which < 4) conntab_table_free(w.table), w.table = NULL;
        }
    }
    conntab_dump_free(w.dump);
    conntab_expectations_free(w.walk);
    conntab_defrag_free(w.defrag);
    for (int i = 0; i < WORKERS; i++) conntab_worker_free(w.workers[i]);
    if (w.table) CHECK(conntab_table_flush(w.table) + 1 > 0 && conntab_table_count(w.table) == 0);
    conntab_table_free(w.table);
}
