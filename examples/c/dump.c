/* The table from outside: its connections as in /proc/net/nf_conntrack, a lookup, tunables, statistics. */
#include <conntab.h>
#include <stdio.h>

static void print_all(const conntab_table *table, uint64_t now) {
    conntab_dump *dump = conntab_dump_new(table, now); /* packets go on meanwhile */
    conntab_connection connection;
    char line[CONNTAB_TEXT_SIZE];
    while (conntab_dump_next(dump, &connection, sizeof connection) == 1) {
        conntab_connection_text(&connection, sizeof(conntab_connection), line, sizeof line);
        printf("%s\n", line);
    }
    conntab_dump_free(dump);
}

int main(void) {
    conntab_config config;
    conntab_table *table;
    conntab_worker *worker;
    conntab_config_init(&config, sizeof config);
    config.user_data = 8; /* a word of the host's own in each connection */
    char why[200];
    if (conntab_config_explain(&config, sizeof config, why, sizeof why) > 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    if (conntab_table_new(&config, sizeof config, &table) || conntab_worker_new(table, &worker)) {
        return 1;
    }
    conntab_table_set(table, "nf_conntrack_udp_timeout", 10);

    uint64_t now = 1000;
    for (uint8_t host = 1; host <= 3; host++) {
        const uint8_t query[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, host, 10, 2, 0, 1,
                                   0x13, 0x88, 0, 53, 0, 8, 0, 0};
        conntab_packet packet = {.l3 = query, .caplen = 28, .len = 28};
        conntab_verdict verdict;
        conntab_track(worker, now, &packet, 1, &verdict);
        conntab_confirm(worker, now, &verdict, 1, 1);
    }

    /* Looking changes nothing. What a section hands out stays until its end. */
    conntab_tuple tuple = {.src = {10, 1, 0, 2}, .dst = {10, 2, 0, 1}, .sport = 5000, .dport = 53, .l4 = 17, .l3 = CONNTAB_IPV4};
    conntab_view view;
    conntab_section_begin(worker);
    if (conntab_lookup(worker, now, 0, &tuple, &view) == CONNTAB_OK) {
        view.user_data[0] = 42;
        conntab_set_mark(worker, view.conn, 7);
    }
    conntab_section_end(worker);
    conntab_idle(worker); /* there is nothing to do for a while */

    print_all(table, now);
    conntab_stats stats;
    conntab_table_stats(table, &stats, sizeof stats);
    printf("%llu of %llu, %llu inserted\n", (unsigned long long)stats.connections, (unsigned long long)stats.max,
           (unsigned long long)stats.insert);
    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
