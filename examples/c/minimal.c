/* From a packet to its verdict. */
#include <conntab.h>
#include <stdio.h>

int main(void) {
    conntab_config config;
    conntab_table *table;
    conntab_worker *worker;
    conntab_config_init(&config, sizeof config);
    config.max = 65536;
    if (conntab_table_new(&config, sizeof config, &table) != CONNTAB_OK) return 1; /* all memory is reserved here */
    if (conntab_worker_new(table, &worker) != CONNTAB_OK) return 1;                /* one for each thread */

    /* A DNS query from 10.1.0.1 to 10.2.0.1, from its IP header on. */
    static const uint8_t query[] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1, /* IPv4 */
                                    0x13, 0x88, 0, 53, 0, 8, 0, 0};                                    /* UDP */
    conntab_packet packet = {.l3 = query, .caplen = sizeof query, .len = sizeof query};
    conntab_verdict verdict;
    uint64_t now = 1000; /* milliseconds of any monotonic clock */
    conntab_track(worker, now, &packet, 1, &verdict);
    printf("%s\n", conntab_state_name(verdict.state)); /* NEW */
    conntab_confirm(worker, now, &verdict, 1, 1);      /* it leaves: bit i of the last argument for packet i */

    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
