/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rules, and the way of a burst: receive, describe, track, rules, help, confirm, send. This is what a host of conntab
 * writes; the rest of the example is what it needs around that.
 */
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <conntab_dpdk.h>

#include "firewall.h"

bool
rules_allow(struct rules *rules, const char *list)
{
	while (*list != '\0') {
		struct service service;
		char *end;
		unsigned long port;

		if (strncmp(list, "tcp/", 4) == 0)
			service.l4 = 6;
		else if (strncmp(list, "udp/", 4) == 0)
			service.l4 = 17;
		else
			return false;
		list += 4;
		if (*list < '0' || *list > '9')
			return false;
		port = strtoul(list, &end, 10);
		if (port > UINT16_MAX || (*end != '\0' && *end != ',') || rules->n_services == MAX_SERVICES)
			return false;
		service.port = (uint16_t)port;
		rules->services[rules->n_services++] = service;
		list = *end == ',' ? end + 1 : end;
	}
	return true;
}

/* Where a new connection goes to is asked of the library, which has read the headers already. */
static bool
is_service(const struct rules *rules, conntab_worker *worker, const struct conntab_verdict *verdict)
{
	struct conntab_tuple to;
	unsigned int i;

	if (rules->n_services == 0)
		return false;
	if (conntab_tuple_of(worker, verdict->conn, CONNTAB_ORIGINAL, &to) != CONNTAB_OK)
		return false;
	for (i = 0; i < rules->n_services; i++)
		if (rules->services[i].l4 == to.l4 && rules->services[i].port == to.dport)
			return true;
	return false;
}

/* Attaches the helper to a new connection that is for it. Where there is no room it goes without. */
static void
attach(const struct rules *rules, conntab_worker *worker, struct conntab_verdict *verdict)
{
	struct conntab_tuple to;

	if (rules->ftp == 0 || !verdict->unconfirmed)
		return;
	if (conntab_tuple_of(worker, verdict->conn, CONNTAB_ORIGINAL, &to) != CONNTAB_OK)
		return;
	if (to.l4 == 6 && to.dport == rules->ftp)
		conntab_attach_helper(worker, verdict, rules->helper);
}

/* What to do with one packet. */
static bool
passes(const struct rules *rules, conntab_worker *worker, const struct conntab_verdict *verdict, unsigned int from)
{
	switch (verdict->state) {
	case CONNTAB_ESTABLISHED:
	case CONNTAB_RELATED:   /* ICMP errors about a connection, FTP's data connections */
	case CONNTAB_UNTRACKED: /* IPv6 neighbour discovery, as in the kernel */
		return true;
	case CONNTAB_NEW:
		return from == INSIDE || is_service(rules, worker, verdict);
	case CONNTAB_FRAGMENT:
		/* Not put together here (conntab_defrag_push would); and one that nobody has judged may hold anything. */
		return rules->pass_fragments;
	default: /* CONNTAB_INVALID, CONNTAB_DROP */
		return false;
	}
}

/*
 * Whether a frame without an IP packet passes: who is inside may send what they like, who is outside ARP and nothing else.
 * Nobody has judged what is in such a frame: a third VLAN tag, PPPoE, MPLS or LLC may have an IP packet behind it.
 */
static bool
stranger_passes(const struct rte_mbuf *mbuf, unsigned int from)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	unsigned int tags, at = 12;

	if (from == INSIDE)
		return true;
	for (tags = 0; tags <= 2 && rte_pktmbuf_data_len(mbuf) >= at + 2; tags++, at += 4) {
		unsigned int type = (unsigned int)frame[at] << 8 | frame[at + 1];

		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			return type == 0x0806;
	}
	return false;
}

/* Counts up what only this lcore writes. */
static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

unsigned int
firewall_burst(struct firewall *firewall, conntab_worker *worker, unsigned int from, uint64_t now)
{
	struct counters *counters = &firewall->counters[from];
	struct counters *other = &firewall->counters[1 - from];
	struct rte_mbuf *frames[BURST], *sending[BURST], *dropping[BURST];
	struct conntab_packet packets[BURST];
	struct conntab_verdict verdicts[BURST];
	int place[BURST]; /* which packet a frame holds, or -1 */
	unsigned int n, n_packets = 0, n_sending = 0, n_dropping = 0, i, sent;
	uint64_t keep = 0;

	n = rte_eth_rx_burst(firewall->ports[from], 0, frames, BURST);
	if (n == 0)
		return 0;

	/* ARP and other strangers have no connection. */
	for (i = 0; i < n; i++)
		place[i] = conntab_dpdk_packet(frames[i], &packets[n_packets]) ? (int)n_packets++ : -1;

	/* All of them at once: this is what makes it fast. Neither call can fail with these arguments. */
	conntab_track(worker, now, packets, n_packets, verdicts);
	for (i = 0; i < n_packets; i++)
		if (passes(&firewall->rules, worker, &verdicts[i], from)) {
			attach(&firewall->rules, worker, &verdicts[i]);
			keep |= UINT64_C(1) << i;
		}
	/* Helpers hear what leaves, and may decide against it. */
	conntab_help(worker, now, packets, verdicts, n_packets, &keep);
	/* What passes enters the table now; it is also here that events are told. */
	conntab_confirm(worker, now, verdicts, n_packets, keep);

	for (i = 0; i < n; i++) {
		bool pass = true;

		if (place[i] < 0) {
			count(&counters->bridged, 1);
			pass = stranger_passes(frames[i], from);
		} else {
			const struct conntab_verdict *verdict = &verdicts[place[i]];

			count(&counters->state[verdict->state], 1);
			/* Confirming may have decided against a packet: it lost a clash, or there was no room. */
			pass = (keep >> place[i] & 1) != 0 && verdict->state != CONNTAB_DROP;
		}
		if (pass)
			sending[n_sending++] = frames[i];
		else
			dropping[n_dropping++] = frames[i];
	}

	/* A full queue loses frames, as a wire does. */
	sent = rte_eth_tx_burst(firewall->ports[1 - from], 0, sending, (uint16_t)n_sending);
	if (sent < n_sending)
		rte_pktmbuf_free_bulk(&sending[sent], n_sending - sent);
	if (n_dropping > 0)
		rte_pktmbuf_free_bulk(dropping, n_dropping);
	count(&counters->rx, n);
	count(&counters->dropped, n_dropping);
	count(&other->tx, sent);
	count(&other->tx_failed, n_sending - sent);
	return n;
}
