/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * conntab for DPDK: from an mbuf to what conntab_track takes. A header alone; DPDK 21.11 or newer.
 */
#ifndef CONNTAB_DPDK_H
#define CONNTAB_DPDK_H

#include <stdint.h>

#include <rte_mbuf.h>

#include "conntab.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Describes the IP packet of an Ethernet frame, with up to two VLAN tags, to conntab: PREROUTING, zone 0. Returns 1; 0:
 * the frame holds none (ARP, or too short to say), there is nothing to track, and `packet` is as it was.
 *
 * The bytes stay in the mbuf's first segment, where all headers must lie (rte_pktmbuf_linearize, where a driver splits
 * them). VLAN ids are not looked at: a host whose VLANs have address spaces of their own sets zone_orig and
 * zone_reply after this call, as it does for ports.
 */
static inline int
conntab_dpdk_packet(const struct rte_mbuf *mbuf, struct conntab_packet *packet)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	const uint32_t caplen = rte_pktmbuf_data_len(mbuf);
	uint32_t l3 = 14; /* two addresses, and the type */
	unsigned int tags;

	for (tags = 0;; tags++) {
		unsigned int type;

		if (caplen < l3)
			return 0;
		type = (unsigned int)frame[l3 - 2] << 8 | frame[l3 - 1];
		if (type == 0x0800 || type == 0x86dd)
			break;
		if (tags == 2 || (type != 0x8100 && type != 0x88a8 && type != 0x9100))
			return 0;
		l3 += 4;
	}

	packet->l3 = frame + l3;
	packet->caplen = caplen - l3;
	packet->len = rte_pktmbuf_pkt_len(mbuf) - l3;
	packet->zone_orig = 0;
	packet->zone_reply = 0;
	packet->hook = CONNTAB_PREROUTING;
	packet->reserved[0] = 0;
	packet->reserved[1] = 0;
	packet->reserved[2] = 0;
	/*
	 * GOOD: the port has verified it; of a tunnel's packet it may mean the inner one, and some drivers say it of
	 * packets whose checksum their port does not know (ICMP). NONE: it is not there yet, but the data is whole (a virtual
	 * port). Otherwise (unknown, or bad as the port has it) conntab verifies it, and has the last word.
	 */
	packet->flags = 0;
	switch (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
	case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
		if (caplen - l3 >= 20 && (mbuf->packet_type & RTE_PTYPE_TUNNEL_MASK) == 0) {
			/* IPv4: protocol; IPv6: next header */
			const unsigned int l4 = frame[l3] >> 4 == 4 ? frame[l3 + 9] : frame[l3 + 6];

			if (l4 == 6 || l4 == 17)
				packet->flags = CONNTAB_CHECKSUM_OK;
		}
		break;
	case RTE_MBUF_F_RX_L4_CKSUM_NONE:
		packet->flags = CONNTAB_CHECKSUM_OK;
		break;
	}
	packet->hash = (mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH) ? mbuf->hash.rss : 0;
	return 1;
}

#ifdef __cplusplus
}
#endif

#endif /* CONNTAB_DPDK_H */
