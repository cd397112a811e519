/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Packets, from the IP header on. Transport checksums are left out (CONNTAB_CHECKSUM_OK). */
#ifndef PACKETS_H
#define PACKETS_H

#include <stdint.h>
#include <string.h>

#include "conntab.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

typedef struct bytes {
    uint8_t at[96];
    uint32_t len;
} bytes;

static inline void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static inline bytes ipv4(uint32_t src, uint32_t dst, uint8_t protocol, unsigned payload) {
    bytes b;
    memset(&b, 0, sizeof b);
    b.len = 20 + payload;
    b.at[0] = 0x45;
    put16(b.at + 2, b.len);
    b.at[8] = 64;
    b.at[9] = protocol;
    put32(b.at + 12, src);
    put32(b.at + 16, dst);
    return b;
}

static inline bytes udp4(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport) {
    bytes b = ipv4(src, dst, 17, 8);
    put16(b.at + 20, sport);
    put16(b.at + 22, dport);
    put16(b.at + 24, 8);
    return b;
}

static inline bytes tcp4(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport, uint8_t flags, uint32_t seq,
                         uint32_t ack) {
    bytes b = ipv4(src, dst, 6, 20);
    put16(b.at + 20, sport);
    put16(b.at + 22, dport);
    put32(b.at + 24, seq);
    put32(b.at + 28, ack);
    b.at[32] = 0x50;
    b.at[33] = flags;
    put16(b.at + 34, 0xff00);
    return b;
}

/* type 8: echo request, 0: echo reply. */
static inline bytes icmp4(uint32_t src, uint32_t dst, uint8_t type, uint16_t id) {
    bytes b = ipv4(src, dst, 1, 8);
    b.at[20] = type;
    put16(b.at + 24, id);
    return b;
}

/* An ICMP error (destination unreachable, port) about `inner`. */
static inline bytes icmp4_error(uint32_t src, uint32_t dst, const bytes *inner) {
    bytes b = ipv4(src, dst, 1, 8 + 28);
    b.at[20] = 3;
    b.at[21] = 3;
    memcpy(b.at + 28, inner->at, 28);
    return b;
}

/* GRE version 0 without a key. */
static inline bytes gre4(uint32_t src, uint32_t dst) {
    bytes b = ipv4(src, dst, 47, 4);
    put16(b.at + 22, 0x0800);
    return b;
}

/* fd00::`src` -> fd00::`dst`. */
static inline bytes udp6(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport) {
    bytes b;
    memset(&b, 0, sizeof b);
    b.len = 48;
    b.at[0] = 0x60;
    put16(b.at + 4, 8);
    b.at[6] = 17;
    b.at[7] = 64;
    b.at[8] = b.at[24] = 0xfd;
    put32(b.at + 20, src);
    put32(b.at + 36, dst);
    put16(b.at + 40, sport);
    put16(b.at + 42, dport);
    put16(b.at + 44, 8);
    return b;
}

static inline conntab_tuple tuple4(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport, uint8_t l4) {
    conntab_tuple tuple;
    memset(&tuple, 0, sizeof tuple);
    put32(tuple.src, src);
    put32(tuple.dst, dst);
    tuple.sport = sport;
    tuple.dport = dport;
    tuple.l4 = l4;
    tuple.l3 = CONNTAB_IPV4;
    return tuple;
}

static inline conntab_tuple tuple6(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport, uint8_t l4) {
    conntab_tuple tuple;
    memset(&tuple, 0, sizeof tuple);
    tuple.src[0] = tuple.dst[0] = 0xfd;
    put32(tuple.src + 12, src);
    put32(tuple.dst + 12, dst);
    tuple.sport = sport;
    tuple.dport = dport;
    tuple.l4 = l4;
    tuple.l3 = CONNTAB_IPV6;
    return tuple;
}

#endif
