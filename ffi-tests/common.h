/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What all suites use: a small table with a worker, and packets. */
#ifndef COMMON_H
#define COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conntab.h"
#include "packets.h"

#define NOW ((uint64_t)1000000)
#define ALL (~(uint64_t)0)
/* Room for any line of text, as the header promises. */
#define LINE_MAX_ 600
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Under Valgrind and the sanitizers (FFI_SLOW=1) stress runs are shorter. */
static inline unsigned long rounds(unsigned long fast, unsigned long slow) {
    return getenv("FFI_SLOW") ? slow : fast;
}

/* A pointer that is not NULL but as misaligned as can be. */
static inline void *crooked(void *at) {
    return (char *)at + 1;
}

static inline conntab_config small_config(void) {
    conntab_config config;
    assert_int_equal(conntab_config_init(&config, sizeof config), CONNTAB_OK);
    config.max = 1024;
    config.workers = 4;
    config.prefault = 0;
    config.pages = CONNTAB_PAGES_ORDINARY;
    return config;
}

static inline conntab_table *new_table(const conntab_config *config) {
    conntab_table *table = NULL;
    assert_int_equal(conntab_table_new(config, sizeof *config, &table), CONNTAB_OK);
    assert_non_null(table);
    return table;
}

static inline conntab_worker *new_worker(const conntab_table *table) {
    conntab_worker *worker = NULL;
    assert_int_equal(conntab_worker_new(table, &worker), CONNTAB_OK);
    assert_non_null(worker);
    return worker;
}

/* A table with a worker. */
typedef struct host {
    conntab_table *table;
    conntab_worker *worker;
} host;

static inline host host_of(const conntab_config *config) {
    host h;
    h.table = new_table(config);
    h.worker = new_worker(h.table);
    return h;
}

static inline host small_host(void) {
    conntab_config config = small_config();
    return host_of(&config);
}

static inline conntab_stats stats_of(const conntab_table *table) {
    conntab_stats stats;
    assert_int_equal(conntab_table_stats(table, &stats, sizeof stats), CONNTAB_OK);
    assert_int_equal(stats.lost, 0);
    return stats;
}

static inline void host_free(host *h) {
    (void)stats_of(h->table);
    conntab_worker_free(h->worker);
    conntab_table_free(h->table);
}

static inline conntab_packet packet_of(const bytes *b) {
    conntab_packet packet;
    memset(&packet, 0, sizeof packet);
    packet.l3 = b->at;
    packet.caplen = packet.len = b->len;
    packet.flags = CONNTAB_CHECKSUM_OK;
    return packet;
}

/* Tracks one packet, without confirming it. */
static inline conntab_verdict track_one(conntab_worker *worker, uint64_t now, const bytes *b) {
    conntab_packet packet = packet_of(b);
    conntab_verdict verdict;
    assert_int_equal(conntab_track(worker, now, &packet, 1, &verdict), 1);
    return verdict;
}

/* Tracks one packet and lets it leave. */
static inline conntab_verdict pass(conntab_worker *worker, uint64_t now, const bytes *b) {
    conntab_verdict verdict = track_one(worker, now, b);
    assert_true(conntab_confirm(worker, now, &verdict, 1, 1) >= 0);
    return verdict;
}

/* Opens UDP connection number `n` (10.0.x.x -> 10.9.0.1) and returns its handle. */
static inline uint64_t open_udp(conntab_worker *worker, uint64_t now, unsigned n) {
    bytes b = udp4(0x0a000000u + (n >> 8), 0x0a090001u, (uint16_t)(1024 + (n & 255)), 53);
    conntab_verdict verdict = pass(worker, now, &b);
    assert_int_equal(verdict.state, CONNTAB_NEW);
    assert_int_equal(verdict.unconfirmed, 0);
    assert_int_not_equal(verdict.conn, 0);
    return verdict.conn;
}

/* The client's tuple of it. */
static inline conntab_tuple tuple_udp(unsigned n) {
    return tuple4(0x0a000000u + (n >> 8), 0x0a090001u, (uint16_t)(1024 + (n & 255)), 53, 17);
}

static inline conntab_connection copy_of(conntab_worker *worker, uint64_t now, uint64_t conn) {
    conntab_connection connection;
    memset(&connection, 0xaa, sizeof connection);
    assert_int_equal(conntab_copy(worker, now, conn, &connection, sizeof connection), CONNTAB_OK);
    assert_int_equal(connection.conn, conn);
    return connection;
}

/* xorshift64*. */
static inline uint64_t random64(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static inline void random_bytes(uint64_t *state, void *at, size_t n) {
    unsigned char *to = at;
    for (size_t i = 0; i < n; i++) {
        to[i] = (unsigned char)(random64(state) >> 56);
    }
}

#endif
