/* Events, as `conntrack -E` prints them. */
#include <conntab.h>
#include <stdio.h>

/* TCP from 10.0.0.1 to 10.0.0.2 and back, from the IP header on, without payload. */
static void segment(uint8_t packet[40], int back, uint8_t flags, uint8_t seq, uint8_t ack) {
    const uint8_t bytes[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, back ? 2 : 1,
                               10, 0, 0, back ? 1 : 2, 0, back ? 80 : 99, 0, back ? 99 : 80,
                               0, 0, 0, seq, 0, 0, 0, ack, 0x50, flags, 0xff, 0};
    for (int i = 0; i < 40; i++) {
        packet[i] = bytes[i];
    }
}

/* From any thread; the workers do not wait for it. */
static void drain(const conntab_table *table) {
    conntab_event events[16];
    char line[CONNTAB_TEXT_SIZE];
    int n;
    do {
        n = conntab_table_events(table, events, 16, sizeof *events);
        for (int i = 0; i < n; i++) {
            conntab_event_text(&events[i], sizeof(conntab_event), line, sizeof line);
            printf("%s\n", line);
        }
    } while (n == 16);
}

int main(void) {
    conntab_config config;
    conntab_table *table;
    conntab_worker *worker;
    conntab_config_init(&config, sizeof config);
    config.events = 1024; /* for each worker; what finds its queue full is lost, and counted */
    config.acct = 1;      /* DESTROY then tells packets and bytes */
    if (conntab_table_new(&config, sizeof config, &table) || conntab_worker_new(table, &worker)) {
        return 1;
    }
    enum { SYN = 2, ACK = 16 };
    static const struct { int back; uint8_t flags, seq, ack; } shake[] = {{0, SYN, 1, 0}, {1, SYN | ACK, 7, 2}, {0, ACK, 2, 8}};
    conntab_verdict verdict;
    uint64_t now = 1000;
    for (int i = 0; i < 3; i++) {
        uint8_t bytes[40];
        segment(bytes, shake[i].back, shake[i].flags, shake[i].seq, shake[i].ack);
        conntab_packet packet = {.l3 = bytes, .caplen = 40, .len = 40, .flags = CONNTAB_CHECKSUM_OK};
        conntab_track(worker, now, &packet, 1, &verdict);
        conntab_confirm(worker, now, &verdict, 1, 1); /* here it is told of */
    }
    drain(table);
    conntab_delete(worker, verdict.conn);
    drain(table);
    conntab_stats stats;
    conntab_table_stats(table, &stats, sizeof stats);
    printf("%llu lost\n", (unsigned long long)stats.events_lost);
    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
