/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the three files of the firewall share. */
#ifndef FIREWALL_H
#define FIREWALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <conntab.h>

#define BURST 32
#define MAX_SERVICES 64

/* Port 0 is inside, where connections may be opened; port 1 outside. */
enum { INSIDE = 0, OUTSIDE = 1 };

/* A service inside that may be connected to from outside. */
struct service {
	uint8_t l4;
	uint16_t port;
};

struct rules {
	struct service services[MAX_SERVICES];
	unsigned int n_services;
	bool pass_fragments;
	uint16_t ftp;   /* connections to this TCP port have the helper of FTP; 0: none */
	uint8_t helper; /* its number in the table */
};

/*
 * What a port counts. `rx` is the sum of `bridged` and the seven states; what was not dropped is `tx` or `tx_failed` of the
 * other port. Each number is written by one lcore: the one that receives from the port, and for tx and tx_failed the
 * one that receives from the other. The control thread reads.
 */
struct counters {
	_Atomic uint64_t rx;        /* frames received */
	_Atomic uint64_t bridged;   /* frames that hold no IP packet, such as ARP */
	_Atomic uint64_t state[7];  /* packets by their state, after confirming */
	_Atomic uint64_t dropped;   /* frames that did not pass */
	_Atomic uint64_t tx;        /* frames sent */
	_Atomic uint64_t tx_failed; /* frames that could not be sent */
} __attribute__((aligned(128)));

struct firewall {
	conntab_table *table;
	struct rules rules;
	uint16_t ports[2]; /* their DPDK numbers */
	struct counters counters[2];
	_Atomic bool stop;
};

/* main.c: milliseconds since the start, the table's clock. */
uint64_t clock_ms(void);

/* firewall.c: reads `tcp/80,udp/53` into the rules; false: it cannot be read. */
bool rules_allow(struct rules *rules, const char *list);

/* firewall.c: takes a burst from port `from`, judges it, and sends what passes by the other. Returns its size. */
unsigned int firewall_burst(struct firewall *firewall, conntab_worker *worker, unsigned int from, uint64_t now);

/* control.c: answers commands at a UNIX socket, from a thread that runs where EAL's lcores do not. */
bool control_start(struct firewall *firewall, const char *path, const void *cpus, size_t cpus_size);
void control_stop(void);
void control_stats(const struct firewall *firewall, FILE *out);

#endif
