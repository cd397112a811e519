/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Plays a capture (pcap, Ethernet) with its own clock and prints the table at its end: what `conntab replay` prints. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conntab.h"

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static int swapped;

static uint32_t read32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return swapped ? __builtin_bswap32(value) : value;
}

/* Where the IP header begins, behind any VLAN tags; 0: it is no IP. */
static uint32_t ip_offset(const uint8_t *frame, uint32_t len) {
    for (uint32_t at = 12; at + 2 <= len; at += 4) {
        unsigned type = (unsigned)frame[at] << 8 | frame[at + 1];
        if (type == 0x0800 || type == 0x86dd) {
            return at + 2;
        }
        if (type != 0x8100 && type != 0x88a8 && type != 0x9100) {
            return 0;
        }
    }
    return 0;
}

/* The order in which the command prints: family, protocol, original tuple, zones. */
static int compare(const void *left, const void *right) {
    const conntab_connection *a = left, *b = right;
    int order = (int)a->original.l3 - b->original.l3;
    order = order ? order : (int)a->original.l4 - b->original.l4;
    order = order ? order : memcmp(a->original.src, b->original.src, 16);
    order = order ? order : memcmp(a->original.dst, b->original.dst, 16);
    order = order ? order : (int)a->original.sport - b->original.sport;
    order = order ? order : (int)a->original.dport - b->original.dport;
    order = order ? order : (int)a->zone_orig - b->zone_orig;
    return order ? order : (int)a->zone_reply - b->zone_reply;
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    uint8_t header[24];
    if (file == NULL || fread(header, 1, sizeof header, file) != sizeof header) {
        fail("usage: replay CAPTURE.pcap");
    }
    uint32_t magic = read32(header);
    swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
    magic = read32(header);
    uint64_t nanos = magic == 0xa1b2c3d4 ? 1000 : magic == 0xa1b23c4d ? 1 : 0;
    if (nanos == 0 || (read32(header + 20) & 0xffff) != 1) {
        fail("not a pcap file of Ethernet frames");
    }

    conntab_config config;
    conntab_config_init(&config, sizeof config);
    config.acct = 1;
    config.prefault = 0;
    conntab_table *table;
    conntab_worker *worker;
    int error = conntab_table_new(&config, sizeof config, &table);
    if (error == CONNTAB_OK) {
        /* Captured where they are sent, packets have no checksums yet. */
        conntab_table_set(table, "checksum", 0);
        error = conntab_worker_new(table, &worker);
    }
    if (error != CONNTAB_OK) {
        fail(conntab_strerror(error));
    }

    uint8_t record[16], *frame = malloc(1 << 20);
    uint64_t now = 0, swept = 0;
    while (fread(record, 1, sizeof record, file) == sizeof record) {
        uint32_t caplen = read32(record + 8), len = read32(record + 12);
        if (caplen > 1 << 20 || fread(frame, 1, caplen, file) != caplen) {
            fail("a damaged capture");
        }
        /* The clock never goes back; it starts with the first packet. */
        uint64_t time = read32(record) * 1000ull + read32(record + 4) * nanos / 1000000;
        now = time > now ? time : now;
        swept = swept ? swept : now;
        /* What has expired is ended by the packet that meets it, or once a minute. */
        if (now - swept >= 60000) {
            conntab_reap(worker, now, UINT32_MAX, NULL);
            swept = now;
        }
        uint32_t offset = ip_offset(frame, caplen);
        if (offset == 0) {
            continue;
        }
        conntab_packet packet = {.l3 = frame + offset, .caplen = caplen - offset, .len = len - offset};
        conntab_verdict verdict;
        conntab_track(worker, now, &packet, 1, &verdict);
        conntab_confirm(worker, now, &verdict, 1, 1);
    }
    fclose(file);
    free(frame);

    conntab_connection *all = malloc((conntab_table_count(table) + 1) * sizeof *all);
    size_t n = 0;
    conntab_dump *dump = conntab_dump_new(table, now);
    while (conntab_dump_next(dump, &all[n], sizeof *all) == 1) {
        n++;
    }
    conntab_dump_free(dump);
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++) {
        char line[CONNTAB_TEXT_SIZE];
        conntab_connection_text(&all[i], sizeof(conntab_connection), line, sizeof line);
        puts(line);
    }
    free(all);
    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
