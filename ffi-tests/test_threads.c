/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Several threads: a worker that moves, a worker that two threads use, two workers with traffic, a dump under churn, events
 * drained from aside. */
#include "common.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

static pthread_t start(void *(*work)(void *), void *with) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, work, with), 0);
    return thread;
}

static void *opens_one(void *with) {
    open_udp(with, NOW, 2);
    return NULL;
}

/* Made here, used there, freed here. */
static void moves(void **state) {
    (void)state;
    host h = small_host();
    open_udp(h.worker, NOW, 1);
    pthread_join(start(opens_one, h.worker), NULL);
    open_udp(h.worker, NOW, 3);
    assert_int_equal(conntab_table_count(h.table), 3);
    host_free(&h);
}

static void *frees(void *with) {
    host *h = with;
    host_free(h);
    return NULL;
}

static void freed_elsewhere(void **state) {
    (void)state;
    host h = small_host();
    open_udp(h.worker, NOW, 1);
    pthread_join(start(frees, &h), NULL);
}

/* ---- One worker, two threads: a mistake of the host's, which is told and does no harm. ---- */

typedef struct quarrel {
    host h;
    atomic_int busy[3], done[3], enough;
} quarrel;

static void every_call(quarrel *q, int who) {
    bytes b = udp4(0x0c000001, 2, 3, 4);
    conntab_packet packet = packet_of(&b);
    conntab_verdict verdict;
    conntab_tuple tuple = tuple_udp(1);
    conntab_view view;
    conntab_connection connection;
    conntab_worker *w = q->h.worker;
    memset(&verdict, 0, sizeof verdict);
    const int results[] = {
        conntab_reap(w, NOW, UINT32_MAX, NULL),
        conntab_track(w, NOW, &packet, 1, &verdict),
        conntab_confirm(w, NOW, &verdict, 1, 1),
        conntab_set_mark(w, 1, 1),
        conntab_delete(w, UINT64_MAX),
        conntab_set_closing(w, NOW, UINT64_MAX),
        conntab_set_reply_tuple(w, &verdict, &tuple),
        conntab_set_timeout_policy(w, &verdict, 1),
        conntab_section_begin(w),
        conntab_lookup(w, NOW, 0, &tuple, &view),
        conntab_lookup_burst(w, NOW, 0, &tuple, 1, &view),
        conntab_get(w, UINT64_MAX, &view),
        conntab_copy(w, NOW, UINT64_MAX, &connection, sizeof connection),
        conntab_section_end(w),
        conntab_idle(w),
    };
    for (size_t i = 0; i < COUNT(results); i++) {
        if (results[i] == CONNTAB_EBUSY) {
            q->busy[who]++;
        } else {
            /* OK, or an error that the call has by itself. */
            if (results[i] < 0 && results[i] != CONNTAB_ENOENT && results[i] != CONNTAB_ESTATE) {
                abort();
            }
            q->done[who]++;
        }
    }
    sched_yield();
}

static void *quarrels(void *with) {
    quarrel *q = with;
    while (!q->enough) {
        every_call(q, 1);
    }
    return NULL;
}

static void two_threads_on_one_worker(void **state) {
    (void)state;
    quarrel q;
    memset(&q, 0, sizeof q);
    conntab_config config = small_config();
    config.max = (uint32_t)rounds(65536, 1024);
    q.h = host_of(&config);
    pthread_t thread = start(quarrels, &q);
    /* (Of the processor's time: on a busy machine 30 seconds may be next to nothing.) */
    clock_t limit = clock() + 30 * CLOCKS_PER_SEC;
    while ((q.busy[0] + q.busy[1] < (int)rounds(1000, 3) || q.done[0] == 0 || q.done[1] == 0) && clock() < limit) {
        every_call(&q, 0);
    }
    q.enough = 1;
    pthread_join(thread, NULL);
    print_message("refused as busy: %d and %d calls, done: %d and %d\n", q.busy[0], q.busy[1], q.done[0], q.done[1]);
    assert_in_range(q.busy[0] + q.busy[1], 1, INT32_MAX);
    assert_in_range(q.done[0], 1, INT32_MAX);
    assert_in_range(q.done[1], 1, INT32_MAX);
    /* All is well again. */
    every_call(&q, 2);
    assert_int_equal(q.busy[2], 0);
    assert_int_equal(conntab_table_flush(q.h.table) <= 1, 1);
    assert_int_equal(conntab_idle(q.h.worker), CONNTAB_OK);
    assert_int_equal(conntab_table_count(q.h.table), 0);
    host_free(&q.h);
}

/* ---- Two workers with traffic: every packet is counted, once. ---- */

enum { OWN = 60, SHARED = 60, BURST = 32 };

typedef struct traffic {
    conntab_table *table;
    unsigned who;
    unsigned long bursts;
    uint64_t kept, dropped, entered, bytes;
} traffic;

static void *tracks(void *with) {
    traffic *t = with;
    conntab_worker *worker;
    if (conntab_worker_new(t->table, &worker) != CONNTAB_OK) {
        abort();
    }
    uint64_t seed = 77 + t->who;
    for (unsigned long i = 0; i < t->bursts; i++) {
        bytes b[BURST];
        conntab_packet packets[BURST];
        conntab_verdict verdicts[BURST];
        uint64_t keep = 0;
        for (unsigned at = 0; at < BURST; at++) {
            /* Flows of its own, and some that both have: there they may open the same one at once. */
            unsigned flow = (unsigned)(random64(&seed) % (OWN + SHARED));
            uint32_t client = flow < OWN ? 0x0a000000 + t->who * 1000 + flow : 0x0b000000 + flow;
            b[at] = random64(&seed) % 2 ? udp4(client, 0x0a090001, 1000, 53) : udp4(0x0a090001, client, 53, 1000);
            packets[at] = packet_of(&b[at]);
            keep |= (uint64_t)(random64(&seed) % 8 != 0) << at;
        }
        if (conntab_track(worker, NOW, packets, BURST, verdicts) != BURST) {
            abort();
        }
        int entered = conntab_confirm(worker, NOW, verdicts, BURST, keep);
        if (entered < 0) {
            abort();
        }
        t->entered += (uint64_t)entered;
        for (unsigned at = 0; at < BURST; at++) {
            /* Counted are packets with a connection, kept or not; not those whose connection never was. */
            if (verdicts[at].conn != 0) {
                t->kept++;
                t->bytes += b[at].len;
            } else {
                t->dropped++;
            }
        }
        if (i % 64 == 0) {
            conntab_reap(worker, NOW, 1024, NULL);
        }
    }
    conntab_worker_free(worker);
    return NULL;
}

static void two_workers(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.acct = 1;
    conntab_table *table = new_table(&config);
    traffic all[2];
    memset(all, 0, sizeof all);
    pthread_t threads[2];
    for (unsigned who = 0; who < 2; who++) {
        all[who] = (traffic){.table = table, .who = who, .bursts = rounds(20000, 200)};
        threads[who] = start(tracks, &all[who]);
    }
    for (unsigned who = 0; who < 2; who++) {
        pthread_join(threads[who], NULL);
    }
    /* Every connection is there once, and the counters add up. */
    conntab_dump *walk = conntab_dump_new(table, NOW);
    conntab_connection connection;
    uint64_t connections = 0, packets = 0, bytes = 0;
    while (conntab_dump_next(walk, &connection, sizeof connection) == 1) {
        connections++;
        packets += connection.counters[0].packets + connection.counters[1].packets;
        bytes += connection.counters[0].bytes + connection.counters[1].bytes;
    }
    conntab_dump_free(walk);
    conntab_stats stats = stats_of(table);
    print_message("%llu packets in %llu connections, %llu let go, %llu clashes resolved\n",
                  (unsigned long long)packets, (unsigned long long)connections,
                  (unsigned long long)(all[0].dropped + all[1].dropped), (unsigned long long)stats.clash_resolve);
    assert_int_equal(connections, 2 * OWN + SHARED);
    assert_int_equal(connections, all[0].entered + all[1].entered);
    assert_int_equal(stats.insert, connections);
    assert_int_equal(stats.connections, connections);
    assert_int_equal(packets, all[0].kept + all[1].kept);
    assert_int_equal(bytes, all[0].bytes + all[1].bytes);
    assert_int_equal(bytes, packets * 28);
    assert_int_equal(stats.expired + stats.deleted + stats.invalid + stats.busy, 0);
    conntab_table_free(table);
}

/* ---- A dump, statistics and events while another thread opens and deletes. ---- */

typedef struct churn {
    host h;
    atomic_int enough;
    atomic_ulong opened, deleted;
} churn;

static void *churns(void *with) {
    churn *c = with;
    uint64_t seed = 21, ring[64] = {0};
    for (unsigned long i = 0; !c->enough; i++) {
        uint64_t *place = &ring[i % 64];
        if (*place != 0 && conntab_delete(c->h.worker, *place) == CONNTAB_OK) {
            c->deleted++;
        }
        bytes b = udp4(0x0d000000 + (uint32_t)(random64(&seed) % 100000), 2, 3, 4);
        conntab_packet packet = packet_of(&b);
        conntab_verdict verdict;
        conntab_track(c->h.worker, NOW, &packet, 1, &verdict);
        c->opened += (unsigned long)conntab_confirm(c->h.worker, NOW, &verdict, 1, 1);
        *place = verdict.conn;
        if (i % 32 == 0) {
            conntab_reap(c->h.worker, NOW, 0, NULL);
        }
    }
    return NULL;
}

static void aside(void **state) {
    (void)state;
    churn c;
    memset(&c, 0, sizeof c);
    conntab_config config = small_config();
    config.events = 1024;
    c.h = host_of(&config);
    enum { STAY = 100 };
    uint64_t stay[STAY];
    for (unsigned n = 0; n < STAY; n++) {
        stay[n] = open_udp(c.h.worker, NOW, n);
    }
    pthread_t thread = start(churns, &c);
    unsigned long told_new = 0, told_destroyed = 0;
    conntab_event events[64];
    for (unsigned long i = 0; i < rounds(2000, 20); i++) {
        unsigned char seen[STAY] = {0};
        conntab_connection connection;
        conntab_dump *walk = conntab_dump_new(c.h.table, NOW);
        while (conntab_dump_next(walk, &connection, sizeof connection) == 1) {
            assert_int_equal(connection.timeout_ms, 30000);
            for (unsigned n = 0; n < STAY; n++) {
                if (connection.conn == stay[n]) {
                    assert_int_equal(seen[n]++, 0);
                }
            }
        }
        conntab_dump_free(walk);
        for (unsigned n = 0; n < STAY; n++) {
            assert_int_equal(seen[n], 1);
        }
        assert_in_range(conntab_table_count(c.h.table), STAY, 1024);
        (void)stats_of(c.h.table);
        int n = conntab_table_events(c.h.table, events, 64, sizeof *events);
        for (int at = 0; at < n; at++) {
            told_new += events[at].kind == CONNTAB_EVENT_NEW;
            told_destroyed += events[at].kind == CONNTAB_EVENT_DESTROY;
        }
    }
    c.enough = 1;
    pthread_join(thread, NULL);
    for (int n; (n = conntab_table_events(c.h.table, events, 64, sizeof *events)) > 0;) {
        for (int at = 0; at < n; at++) {
            told_new += events[at].kind == CONNTAB_EVENT_NEW;
            told_destroyed += events[at].kind == CONNTAB_EVENT_DESTROY;
        }
    }
    conntab_stats stats = stats_of(c.h.table);
    print_message("%lu opened, %lu deleted, %llu events lost\n", c.opened, c.deleted,
                  (unsigned long long)stats.events_lost);
    assert_int_equal(told_new + told_destroyed + stats.events_lost, STAY + c.opened + c.deleted);
    assert_int_equal(conntab_table_count(c.h.table), STAY + c.opened - c.deleted);
    host_free(&c.h);
}

/* Tunables, policies, flush and deletions from aside while packets flow. */
static void control_aside(void **state) {
    (void)state;
    churn c;
    memset(&c, 0, sizeof c);
    conntab_config config = small_config();
    config.timeout_policies = 1;
    c.h = host_of(&config);
    pthread_t thread = start(churns, &c);
    for (unsigned long i = 0; i < rounds(2000, 20); i++) {
        assert_int_equal(conntab_table_set(c.h.table, "udp_timeout_stream", (uint32_t)i), CONNTAB_OK);
        assert_int_equal(conntab_table_policy(c.h.table, 1, "udp_timeout", (uint32_t)i), CONNTAB_OK);
        conntab_worker *passing = new_worker(c.h.table);
        assert_int_equal(conntab_reap(passing, NOW, 1024, NULL), CONNTAB_OK);
        conntab_worker_free(passing);
        if (i % 8 == 0) {
            conntab_table_flush(c.h.table);
        }
    }
    c.enough = 1;
    pthread_join(thread, NULL);
    conntab_table_flush(c.h.table);
    conntab_idle(c.h.worker);
    assert_int_equal(conntab_table_count(c.h.table), 0);
    conntab_stats stats = stats_of(c.h.table);
    assert_int_equal(stats.insert, stats.deleted + stats.expired);
    host_free(&c.h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves),       cmocka_unit_test(freed_elsewhere), cmocka_unit_test(two_threads_on_one_worker),
        cmocka_unit_test(two_workers), cmocka_unit_test(aside),           cmocka_unit_test(control_aside),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
