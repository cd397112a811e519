/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: packets and bursts. */
#include "common.h"

static void misuse(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    conntab_packet packets[2] = {packet_of(&b), packet_of(&b)};
    conntab_verdict verdicts[2];
    memset(verdicts, 0, sizeof verdicts);
    assert_int_equal(conntab_track(NULL, NOW, packets, 1, verdicts), CONNTAB_EINVAL);
    assert_int_equal(conntab_track(h.worker, NOW, NULL, 1, verdicts), CONNTAB_EINVAL);
    assert_int_equal(conntab_track(h.worker, NOW, packets, 1, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_track(h.worker, NOW, crooked(packets), 1, verdicts), CONNTAB_EINVAL);
    assert_int_equal(conntab_track(h.worker, NOW, packets, 1, crooked(verdicts)), CONNTAB_EINVAL);
    assert_int_equal(conntab_track(NULL, NOW, NULL, 0, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_confirm(NULL, NOW, verdicts, 1, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_confirm(h.worker, NOW, NULL, 1, 1), CONNTAB_EINVAL);
    assert_int_equal(conntab_confirm(h.worker, NOW, crooked(verdicts), 1, 1), CONNTAB_EINVAL);
    /* Nothing is asked for: nothing is looked at. */
    assert_int_equal(conntab_track(h.worker, NOW, NULL, 0, NULL), 0);
    assert_int_equal(conntab_confirm(h.worker, NOW, NULL, 0, ALL), 0);

    conntab_tuple tuples[2] = {tuple4(2, 1, 4, 3, 17), tuple4(2, 1, 4, 3, 17)};
    assert_int_equal(conntab_set_reply_tuple(NULL, verdicts, tuples), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_reply_tuple(h.worker, NULL, tuples), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_reply_tuple(h.worker, verdicts, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_reply_tuple(h.worker, crooked(verdicts), tuples), CONNTAB_EINVAL);
    assert_int_equal(conntab_set_reply_tuple(h.worker, verdicts, crooked(tuples)), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_count(h.table), 0);
    host_free(&h);
}

static void udp(void **state) {
    (void)state;
    host h = small_host();
    bytes query = udp4(0x0a010001, 0x0a020001, 5000, 53), answer = udp4(0x0a020001, 0x0a010001, 53, 5000);
    conntab_verdict verdict = track_one(h.worker, NOW, &query);
    assert_int_equal(verdict.state, CONNTAB_NEW);
    assert_int_equal(verdict.dir, CONNTAB_ORIGINAL);
    assert_int_equal(verdict.unconfirmed, 1);
    assert_int_equal(verdict.reason, 0);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(verdict.unconfirmed, 0);
    assert_int_equal(verdict.status, CONNTAB_STATUS_CONFIRMED);
    uint64_t conn = verdict.conn;
    verdict = pass(h.worker, NOW, &answer);
    assert_int_equal(verdict.state, CONNTAB_ESTABLISHED);
    assert_int_equal(verdict.dir, CONNTAB_REPLY);
    assert_int_equal(verdict.conn, conn);
    assert_int_equal(verdict.status, CONNTAB_STATUS_CONFIRMED | CONNTAB_STATUS_SEEN_REPLY);
    assert_int_equal(pass(h.worker, NOW, &query).state, CONNTAB_ESTABLISHED);
    host_free(&h);
}

static void tcp(void **state) {
    (void)state;
    host h = small_host();
    const struct {
        uint8_t from, flags;
        uint32_t seq, ack;
        uint8_t state;
    } steps[] = {
        {1, SYN, 100, 0, CONNTAB_TCP_SYN_SENT},         {2, SYN | ACK, 500, 101, CONNTAB_TCP_SYN_RECV},
        {1, ACK, 101, 501, CONNTAB_TCP_ESTABLISHED},    {1, FIN | ACK, 101, 501, CONNTAB_TCP_FIN_WAIT},
        {2, ACK, 501, 102, CONNTAB_TCP_CLOSE_WAIT},     {2, FIN | ACK, 501, 102, CONNTAB_TCP_LAST_ACK},
        {1, ACK, 102, 502, CONNTAB_TCP_TIME_WAIT},
    };
    for (size_t i = 0; i < COUNT(steps); i++) {
        int client = steps[i].from == 1;
        bytes b = tcp4(client ? 1 : 2, client ? 2 : 1, client ? 1000 : 80, client ? 80 : 1000, steps[i].flags,
                       steps[i].seq, steps[i].ack);
        conntab_verdict verdict = pass(h.worker, NOW + i, &b);
        assert_int_equal(verdict.proto_state, steps[i].state);
        assert_int_equal(verdict.state, i == 0 ? CONNTAB_NEW : CONNTAB_ESTABLISHED);
        assert_int_equal(verdict.dir, client ? CONNTAB_ORIGINAL : CONNTAB_REPLY);
        assert_int_equal(copy_of(h.worker, NOW + i, verdict.conn).proto_state, steps[i].state);
    }
    /* Out of window, and by how much. */
    bytes syn = tcp4(1, 2, 7, 8, SYN, 100, 0), syn_ack = tcp4(2, 1, 8, 7, SYN | ACK, 500, 101),
          ack = tcp4(1, 2, 7, 8, ACK, 101, 501), far = tcp4(1, 2, 7, 8, ACK, 101 + 200000, 501);
    pass(h.worker, NOW, &syn);
    pass(h.worker, NOW, &syn_ack);
    pass(h.worker, NOW, &ack);
    conntab_verdict verdict = pass(h.worker, NOW, &far);
    assert_int_equal(verdict.state, CONNTAB_INVALID);
    assert_string_equal(conntab_reason_name(verdict.reason), "tcp-seq-above");
    assert_in_range(verdict.excess, 1, 200000);
    host_free(&h);
}

static void icmp_and_gre(void **state) {
    (void)state;
    host h = small_host();
    bytes query = icmp4(1, 2, 8, 77), answer = icmp4(2, 1, 0, 77);
    assert_int_equal(pass(h.worker, NOW, &query).state, CONNTAB_NEW);
    assert_int_equal(pass(h.worker, NOW, &answer).state, CONNTAB_ESTABLISHED);
    bytes asked = udp4(1, 2, 3, 4), refused = icmp4_error(2, 1, &asked), stray = icmp4_error(2, 9, &asked);
    uint64_t conn = pass(h.worker, NOW, &asked).conn;
    conntab_verdict verdict = pass(h.worker, NOW, &refused);
    assert_int_equal(verdict.state, CONNTAB_RELATED);
    assert_int_equal(verdict.conn, conn);
    assert_int_equal(verdict.dir, CONNTAB_REPLY);
    assert_int_equal(pass(h.worker, NOW, &stray).state, CONNTAB_INVALID);
    bytes tunnel = gre4(1, 2), back = gre4(2, 1);
    pass(h.worker, NOW, &tunnel);
    verdict = pass(h.worker, NOW, &back);
    assert_int_equal(verdict.state, CONNTAB_ESTABLISHED);
    conntab_connection connection = copy_of(h.worker, NOW, verdict.conn);
    assert_int_equal(connection.gre_timeout, 30);
    assert_int_equal(connection.gre_stream_timeout, 180);
    host_free(&h);
}

static void zones(void **state) {
    (void)state;
    host h = small_host();
    bytes query = udp4(1, 2, 3, 4), answer = udp4(2, 1, 4, 3);
    uint64_t conns[2];
    for (uint16_t zone = 0; zone < 2; zone++) {
        conntab_packet packet = packet_of(&query);
        packet.zone_orig = packet.zone_reply = zone;
        conntab_verdict verdict;
        assert_int_equal(conntab_track(h.worker, NOW, &packet, 1, &verdict), 1);
        assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
        conns[zone] = verdict.conn;
        packet = packet_of(&answer);
        packet.zone_orig = packet.zone_reply = zone;
        assert_int_equal(conntab_track(h.worker, NOW, &packet, 1, &verdict), 1);
        assert_int_equal(verdict.conn, conns[zone]);
    }
    assert_int_not_equal(conns[0], conns[1]);
    /* One zone there, another back. */
    conntab_packet packet = packet_of(&query);
    packet.zone_orig = 7;
    packet.zone_reply = 8;
    conntab_verdict verdict;
    conntab_track(h.worker, NOW, &packet, 1, &verdict);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    conntab_connection connection = copy_of(h.worker, NOW, verdict.conn);
    assert_int_equal(connection.zone_orig, 7);
    assert_int_equal(connection.zone_reply, 8);
    host_free(&h);
}

/* A burst of every size, also beyond what is taken; verdicts behind are not written. */
static void bursts(void **state) {
    (void)state;
    for (size_t n = 0; n <= CONNTAB_MAX_BURST + 6; n++) {
        host h = small_host();
        bytes b[CONNTAB_MAX_BURST + 6];
        conntab_packet *packets = calloc(n + 1, sizeof *packets);
        conntab_verdict *verdicts = calloc(n + 1, sizeof *verdicts);
        for (size_t i = 0; i < n; i++) {
            b[i] = udp4(0x0a000000 + (uint32_t)i, 2, 3, 4);
            packets[i] = packet_of(&b[i]);
        }
        memset(verdicts, 0x5a, (n + 1) * sizeof *verdicts);
        const int taken = n < CONNTAB_MAX_BURST ? (int)n : CONNTAB_MAX_BURST;
        assert_int_equal(conntab_track(h.worker, NOW, packets, n, verdicts), taken);
        for (int i = 0; i < taken; i++) {
            assert_int_equal(verdicts[i].state, CONNTAB_NEW);
            assert_int_equal(verdicts[i].reserved, 0);
        }
        for (size_t i = (size_t)taken; i <= n; i++) {
            assert_int_equal(verdicts[i].conn, 0x5a5a5a5a5a5a5a5aull);
        }
        /* Every second one leaves. */
        const uint64_t keep = 0x5555555555555555ull;
        assert_int_equal(conntab_confirm(h.worker, NOW, verdicts, n, keep), (taken + 1) / 2);
        for (int i = 0; i < taken; i++) {
            assert_int_equal(verdicts[i].unconfirmed, 0);
            assert_int_equal(verdicts[i].conn != 0, i % 2 == 0);
            assert_int_equal(verdicts[i].status, i % 2 == 0 ? CONNTAB_STATUS_CONFIRMED : 0);
            assert_string_equal(conntab_reason_name(verdicts[i].reason), i % 2 == 0 ? "none" : "not-confirmed");
        }
        assert_int_equal(conntab_table_count(h.table), (taken + 1) / 2);
        /* Again: there is nothing left to do. */
        assert_int_equal(conntab_confirm(h.worker, NOW, verdicts, n, ALL), 0);
        free(packets);
        free(verdicts);
        host_free(&h);
    }
}

/* n far beyond the arrays is cut down before anything is read. */
static void huge_n(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    conntab_packet packets[CONNTAB_MAX_BURST];
    conntab_verdict verdicts[CONNTAB_MAX_BURST];
    for (size_t i = 0; i < COUNT(packets); i++) {
        packets[i] = packet_of(&b);
    }
    assert_int_equal(conntab_track(h.worker, NOW, packets, SIZE_MAX, verdicts), CONNTAB_MAX_BURST);
    assert_int_equal(conntab_confirm(h.worker, NOW, verdicts, SIZE_MAX, ALL), 1);
    host_free(&h);
}

static const char *reason_of(host *h, const conntab_packet *packet) {
    conntab_verdict verdict;
    assert_int_equal(conntab_track(h->worker, NOW, packet, 1, &verdict), 1);
    if (verdict.state != CONNTAB_INVALID) {
        return conntab_state_name(verdict.state);
    }
    assert_int_equal(verdict.conn, 0);
    return conntab_reason_name(verdict.reason);
}

static void bad_packets(void **state) {
    (void)state;
    host h = small_host();
    bytes b = udp4(1, 2, 3, 4);
    conntab_packet packet = packet_of(&b);
    assert_string_equal(reason_of(&h, &packet), "NEW");
    packet.l3 = NULL;
    assert_string_equal(reason_of(&h, &packet), "bad-packet");
    packet.caplen = packet.len = 0;
    assert_string_equal(reason_of(&h, &packet), "bad-packet");
    for (unsigned hook = 0; hook < 256; hook++) {
        packet = packet_of(&b);
        packet.hook = (uint8_t)hook;
        int known = hook == CONNTAB_PREROUTING || hook == CONNTAB_OUTPUT;
        assert_string_equal(reason_of(&h, &packet), known ? "NEW" : "bad-packet");
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        packet = packet_of(&b);
        packet.flags |= 1u << bit;
        assert_string_equal(reason_of(&h, &packet), bit == 0 ? "UNTRACKED" : bit <= 2 ? "NEW" : "bad-packet");
    }
    packet = packet_of(&b);
    packet.flags = CONNTAB_NOTRACK;
    assert_string_equal(reason_of(&h, &packet), "UNTRACKED");
    /* Reserved bytes and the hash have no say. */
    packet = packet_of(&b);
    memset(packet.reserved, 0xff, sizeof packet.reserved);
    packet.hash = 0xffffffff;
    assert_string_equal(reason_of(&h, &packet), "NEW");
    /* caplen beyond len: what is captured was on the wire. */
    packet = packet_of(&b);
    packet.len = 0;
    assert_string_equal(reason_of(&h, &packet), "NEW");
    /* Less captured than sent. */
    packet = packet_of(&b);
    packet.caplen = 24;
    assert_string_equal(reason_of(&h, &packet), "not-captured");
    packet.caplen = 0;
    assert_string_equal(reason_of(&h, &packet), "not-captured");
    packet.len = 0;
    assert_string_equal(reason_of(&h, &packet), "ip-truncated");
    /* A checksum that is wrong, where it is verified. */
    put16(b.at + 26, 0x1234);
    packet = packet_of(&b);
    assert_string_equal(reason_of(&h, &packet), "NEW");
    packet.flags = 0;
    assert_string_equal(reason_of(&h, &packet), "checksum");
    packet.hook = CONNTAB_OUTPUT;
    assert_string_equal(reason_of(&h, &packet), "NEW");
    /* A fragment. */
    b = udp4(1, 2, 3, 4);
    put16(b.at + 6, 0x2000);
    packet = packet_of(&b);
    assert_string_equal(reason_of(&h, &packet), "FRAGMENT");
    host_free(&h);
}

/* Random packets, of which exactly caplen bytes may be read (Valgrind and ASan watch). */
static void random_packets(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.events = 16;
    config.acct = 1;
    host h = host_of(&config);
    uint64_t seed = 11;
    for (unsigned long i = 0; i < rounds(200000, 5000); i++) {
        size_t caplen = random64(&seed) % 96;
        uint8_t *at = malloc(caplen + (caplen == 0));
        random_bytes(&seed, at, caplen);
        if (caplen > 9 && i % 4 != 0) {
            at[0] = i % 2 ? 0x45 : 0x60;
            at[i % 2 ? 9 : 6] = (uint8_t[]){1, 6, 17, 47, 58, 0}[random64(&seed) % 6];
            put16(at + (i % 2 ? 2 : 4), (unsigned)(random64(&seed) % 100));
            if (i % 2) {
                put16(at + 6, 0);
            }
        }
        conntab_packet packet;
        random_bytes(&seed, &packet, sizeof packet);
        packet.l3 = at;
        packet.caplen = (uint32_t)caplen;
        packet.flags &= 3;
        packet.hook = i % 16 ? 0 : packet.hook;
        packet.len = i % 8 ? (uint32_t)caplen : packet.len;
        conntab_verdict verdict;
        assert_int_equal(conntab_track(h.worker, NOW + i, &packet, 1, &verdict), 1);
        assert_in_range(verdict.state, CONNTAB_NEW, CONNTAB_FRAGMENT);
        assert_string_not_equal(conntab_reason_name(verdict.reason), "unknown");
        assert_in_range(conntab_confirm(h.worker, NOW + i, &verdict, 1, random64(&seed)), 0, 1);
        free(at);
    }
    host_free(&h);
}

/* Verdicts are the caller's memory: whatever is in them does no harm. */
static void random_verdicts(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.events = 64;
    config.nat6 = 1;
    config.timeout_policies = 2;
    host h = host_of(&config);
    assert_int_equal(conntab_table_policy(h.table, 1, "udp_timeout", 9), CONNTAB_OK);
    uint64_t seed = 5;
    for (unsigned long i = 0; i < rounds(20000, 500); i++) {
        bytes b[8];
        conntab_packet packets[8];
        conntab_verdict verdicts[8];
        for (unsigned at = 0; at < 8; at++) {
            b[at] = udp4(0x0a000000 + (uint32_t)(random64(&seed) % 500), 2, 3, 4);
            packets[at] = packet_of(&b[at]);
        }
        assert_int_equal(conntab_track(h.worker, NOW, packets, 8, verdicts), 8);
        for (unsigned at = 0; at < 8; at++) {
            conntab_verdict *verdict = &verdicts[at];
            switch (random64(&seed) % 6) {
            case 0: random_bytes(&seed, verdict, sizeof *verdict); break;
            case 1: memset(verdict, 0xff, sizeof *verdict); break;
            case 2: memset(verdict, 0, sizeof *verdict); break;
            case 3: /* one byte of it */
                ((uint8_t *)verdict)[random64(&seed) % sizeof *verdict] = (uint8_t)random64(&seed);
                break;
            case 4: *verdict = verdicts[random64(&seed) % 8]; break; /* twice the same */
            default: break;
            }
            conntab_tuple tuple;
            random_bytes(&seed, &tuple, sizeof tuple);
            if (at % 2) {
                tuple = tuple4(2, (uint32_t)random64(&seed) % 1000, 4, (uint16_t)random64(&seed), 17);
            }
            (void)conntab_set_reply_tuple(h.worker, verdict, &tuple);
            (void)conntab_set_timeout_policy(h.worker, verdict, (uint8_t)random64(&seed));
        }
        assert_in_range(conntab_confirm(h.worker, NOW, verdicts, 8, random64(&seed)), 0, 8);
        assert_in_range(conntab_table_count(h.table), 0, 1024);
        if (i % 16 == 0) {
            conntab_table_flush(h.table);
            conntab_reap(h.worker, NOW, UINT32_MAX, NULL);
            stats_of(h.table);
        }
    }
    conntab_table_flush(h.table);
    conntab_idle(h.worker);
    assert_int_equal(conntab_table_count(h.table), 0);
    host_free(&h);
}

/* Verdicts of an earlier burst, and of another worker. */
static void verdicts_of_others(void **state) {
    (void)state;
    host h = small_host();
    conntab_worker *other = new_worker(h.table);
    bytes a = udp4(1, 2, 3, 4), b = udp4(5, 6, 7, 8);
    conntab_verdict first = track_one(h.worker, NOW, &a);
    conntab_verdict theirs = track_one(other, NOW, &b);
    assert_int_equal(conntab_confirm(h.worker, NOW, &theirs, 1, 1), 0);
    track_one(h.worker, NOW, &b); /* lets `first` go */
    assert_int_equal(conntab_confirm(h.worker, NOW, &first, 1, 1), 0);
    assert_int_equal(conntab_confirm(other, NOW, &theirs, 1, 1), 1);
    assert_int_equal(conntab_confirm(other, NOW, &theirs, 1, 1), 0);
    conntab_worker_free(other);
    host_free(&h);
}

/* Two workers open the same connection: UDP adopts the first, TCP drops the second. */
static void clashes(void **state) {
    (void)state;
    host h = small_host();
    conntab_worker *other = new_worker(h.table);
    bytes udp_packet = udp4(1, 2, 3, 4), syn = tcp4(1, 2, 3, 4, SYN, 100, 0);
    for (int tcp_too = 0; tcp_too < 2; tcp_too++) {
        const bytes *b = tcp_too ? &syn : &udp_packet;
        conntab_verdict first = track_one(h.worker, NOW, b), second = track_one(other, NOW, b);
        assert_int_not_equal(first.conn, second.conn);
        assert_int_equal(conntab_confirm(h.worker, NOW, &first, 1, 1), 1);
        assert_int_equal(conntab_confirm(other, NOW, &second, 1, 1), 0);
        assert_int_equal(second.state, tcp_too ? CONNTAB_DROP : CONNTAB_NEW);
        assert_string_equal(conntab_reason_name(second.reason), tcp_too ? "clash" : "adopted");
        assert_int_equal(second.conn, tcp_too ? 0 : first.conn);
    }
    conntab_stats stats = stats_of(h.table);
    assert_int_equal(stats.clash_resolve, 1);
    assert_int_equal(stats.insert_failed, 1);
    conntab_worker_free(other);
    host_free(&h);
}

static void nat(void **state) {
    (void)state;
    host h = small_host();
    /* 10.0.0.1:1000 -> 8.8.8.8:53 leaves as 192.0.2.1:4000. */
    bytes out = udp4(0x0a000001, 0x08080808, 1000, 53), back = udp4(0x08080808, 0xc0000201, 53, 4000);
    conntab_tuple reply = tuple4(0x08080808, 0xc0000201, 53, 4000, 17);
    conntab_verdict verdict = track_one(h.worker, NOW, &out);
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &reply), CONNTAB_OK);
    assert_int_equal(verdict.status, CONNTAB_STATUS_SRC_NAT);
    assert_int_equal(verdict.unconfirmed, 1);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    assert_int_equal(verdict.status, CONNTAB_STATUS_SRC_NAT | CONNTAB_STATUS_CONFIRMED);
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &reply), CONNTAB_ESTATE);
    conntab_verdict answer = pass(h.worker, NOW, &back);
    assert_int_equal(answer.state, CONNTAB_ESTABLISHED);
    assert_int_equal(answer.dir, CONNTAB_REPLY);
    assert_int_equal(answer.conn, verdict.conn);
    conntab_connection connection = copy_of(h.worker, NOW, verdict.conn);
    assert_memory_equal(&connection.reply, &reply, sizeof reply);

    /* Another connection that would be answered alike: the packet must not leave. */
    bytes clash = udp4(0x0a000002, 0x08080808, 1000, 53);
    verdict = track_one(h.worker, NOW, &clash);
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &reply), CONNTAB_OK);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 0);
    assert_int_equal(verdict.state, CONNTAB_DROP);
    assert_string_equal(conntab_reason_name(verdict.reason), "clash");

    /* Destination; and what cannot be. */
    bytes in = udp4(0x01020304, 0xc0000201, 1000, 80);
    conntab_tuple server = tuple4(0x0a000009, 0x01020304, 8080, 1000, 17);
    verdict = track_one(h.worker, NOW, &in);
    conntab_verdict before = verdict;
    conntab_tuple wrong = server;
    wrong.l4 = 6;
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &wrong), CONNTAB_EPROTO);
    wrong = tuple6(1, 2, 3, 4, 17);
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &wrong), CONNTAB_EPROTO);
    wrong = server;
    wrong.l3 = 4;
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &wrong), CONNTAB_EINVAL);
    wrong = server;
    wrong.src[4] = 1;
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &wrong), CONNTAB_EINVAL);
    assert_memory_equal(&verdict, &before, sizeof verdict);
    assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &server), CONNTAB_OK);
    assert_int_equal(verdict.status, CONNTAB_STATUS_DST_NAT);
    assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
    host_free(&h);
}

static void nat6(void **state) {
    (void)state;
    for (uint8_t room = 0; room < 2; room++) {
        conntab_config config = small_config();
        config.nat6 = room;
        host h = host_of(&config);
        bytes out = udp6(1, 2, 1000, 53), back = udp6(2, 9, 53, 1000);
        conntab_tuple reply = tuple6(2, 9, 53, 1000, 17);
        conntab_verdict verdict = track_one(h.worker, NOW, &out);
        assert_int_equal(verdict.state, CONNTAB_NEW);
        assert_int_equal(conntab_set_reply_tuple(h.worker, &verdict, &reply), room ? CONNTAB_OK : CONNTAB_EROOM);
        assert_int_equal(conntab_confirm(h.worker, NOW, &verdict, 1, 1), 1);
        assert_int_equal(pass(h.worker, NOW, &back).state, room ? CONNTAB_ESTABLISHED : CONNTAB_NEW);
        host_free(&h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse),          cmocka_unit_test(udp),
        cmocka_unit_test(tcp),             cmocka_unit_test(icmp_and_gre),
        cmocka_unit_test(zones),           cmocka_unit_test(bursts),
        cmocka_unit_test(huge_n),          cmocka_unit_test(bad_packets),
        cmocka_unit_test(random_packets),  cmocka_unit_test(random_verdicts),
        cmocka_unit_test(clashes),         cmocka_unit_test(verdicts_of_others),
        cmocka_unit_test(nat),             cmocka_unit_test(nat6),
    };
    return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
