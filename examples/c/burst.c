/* A stateful rule over bursts: hosts in 10.0.0.0/8 may open connections, everybody may answer. */
#include <conntab.h>
#include <stdio.h>
#include <string.h>

enum { BURST = 32 };

/* A UDP packet, from its IP header on. */
static void udp(uint8_t packet[28], const uint8_t src[4], const uint8_t dst[4], uint8_t sport, uint8_t dport) {
    memset(packet, 0, 28);
    packet[0] = 0x45;
    packet[3] = 28;
    packet[9] = 17;
    memcpy(packet + 12, src, 4);
    memcpy(packet + 16, dst, 4);
    packet[21] = sport;
    packet[23] = dport;
    packet[25] = 8;
}

static int may_leave(const conntab_packet *packet, const conntab_verdict *verdict) {
    switch (verdict->state) {
    case CONNTAB_ESTABLISHED:
    case CONNTAB_RELATED: return 1;
    case CONNTAB_NEW: return packet->l3[12] == 10; /* from inside */
    default: return 0;                             /* INVALID, FRAGMENT (to be reassembled first), DROP */
    }
}

/* Judges a burst and says which packets leave. */
static uint64_t filter(conntab_worker *worker, uint64_t now, const conntab_packet *packets, size_t n) {
    conntab_verdict verdicts[BURST];
    uint64_t leave = 0;
    conntab_track(worker, now, packets, n, verdicts);
    for (size_t i = 0; i < n; i++) {
        leave |= (uint64_t)may_leave(&packets[i], &verdicts[i]) << i;
    }
    /* For every burst, also if it opens nothing. */
    conntab_confirm(worker, now, verdicts, n, leave);
    for (size_t i = 0; i < n; i++) {
        if (verdicts[i].state == CONNTAB_DROP) {
            leave &= ~((uint64_t)1 << i); /* decided against: its tuple is taken, or there is no room */
        }
    }
    return leave;
}

int main(void) {
    static const uint8_t inside[4] = {10, 0, 0, 1}, outside[4] = {192, 0, 2, 1};
    uint8_t asks[28], answers[28], stranger[28];
    udp(asks, inside, outside, 99, 53);
    udp(answers, outside, inside, 53, 99);
    udp(stranger, outside, inside, 54, 99);
    conntab_config config;
    conntab_table *table;
    conntab_worker *worker;
    conntab_config_init(&config, sizeof config);
    if (conntab_table_new(&config, sizeof config, &table) || conntab_worker_new(table, &worker)) {
        return 1;
    }
    conntab_packet packets[2] = {{.l3 = asks, .caplen = 28, .len = 28}, {.l3 = stranger, .caplen = 28, .len = 28}};
    printf("a question, a stranger: %#x\n", (unsigned)filter(worker, 1000, packets, 2));
    packets[0].l3 = answers;
    printf("the answer, a stranger: %#x\n", (unsigned)filter(worker, 1005, packets, 2));
    conntab_reap(worker, 1005, 1024, NULL); /* from an idle loop: expiry, a slice at a time */
    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
