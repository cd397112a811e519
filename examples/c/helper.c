/* Helpers: FTP's, and one of the host's own. What they announce is RELATED when it comes. */
#include <conntab.h>
#include <stdio.h>
#include <string.h>

/* A made-up protocol over UDP, port 7000: "come PORT" from the server asks the client to connect to that port of the server's. */
static int help(void *user, const conntab_heading *about, const uint8_t *payload, size_t length, uint64_t *state,
                conntab_announcements *announcements) {
    (void)user;
    state[0]++; /* its own, for each connection: packets heard so far */
    if (about->dir != CONNTAB_REPLY || length != 7 || memcmp(payload, "come ", 5) != 0) {
        return 0;
    }
    conntab_announcement come = {.protocol = 6, .port = (uint16_t)(payload[5] << 8 | payload[6])};
    memcpy(come.from, about->original.src, sizeof come.from); /* nobody but this client */
    memcpy(come.to, about->original.dst, sizeof come.to);     /* nowhere but to this server */
    conntab_announce(announcements, &come);
    return 0; /* the packet passes */
}

/* A packet from 10.0.0.1 to 10.0.0.2 or back, from the IP header on. */
static size_t make(uint8_t *packet, int back, uint8_t protocol, const uint8_t *transport, size_t length) {
    const uint8_t header[20] = {0x45, 0, 0, (uint8_t)(20 + length), 0, 0, 0, 0, 64, protocol, 0, 0,
                                10, 0, 0, back ? 2 : 1, 10, 0, 0, back ? 1 : 2};
    memcpy(packet, header, 20);
    memcpy(packet + 20, transport, length);
    return 20 + length;
}

static size_t segment(uint8_t *packet, int back, unsigned sport, unsigned dport, uint8_t flags, uint8_t seq, uint8_t ack,
                      const char *data) {
    uint8_t bytes[80] = {(uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport,
                         0, 0, 0, seq, 0, 0, 0, ack, 0x50, flags, 0xff, 0};
    memcpy(bytes + 20, data, strlen(data));
    return make(packet, back, 6, bytes, 20 + strlen(data));
}

static uint8_t ftp, own;
static const uint64_t now = 1000;

/* What a dataplane does with each burst. */
static void pass(conntab_worker *worker, const uint8_t *bytes, size_t length, unsigned dport) {
    conntab_packet packet = {.l3 = bytes, .caplen = (uint32_t)length, .len = (uint32_t)length, .flags = CONNTAB_CHECKSUM_OK};
    conntab_verdict verdict;
    uint64_t keep = 1;
    conntab_track(worker, now, &packet, 1, &verdict);
    /* The rules. A helper is attached by them alone: no port has one by itself. */
    if (verdict.unconfirmed && dport == 21) {
        conntab_attach_helper(worker, &verdict, ftp);
    } else if (verdict.unconfirmed && dport == 7000) {
        conntab_attach_helper(worker, &verdict, own);
    }
    conntab_help(worker, now, &packet, &verdict, 1, &keep); /* what leaves is shown to its helper */
    conntab_confirm(worker, now, &verdict, 1, keep);
    printf("%s\n", conntab_state_name(verdict.state));
}

static void show(const conntab_table *table) {
    conntab_expectations *all = conntab_expectations_new(table, now);
    conntab_expectation expectation;
    char line[CONNTAB_TEXT_SIZE];
    while (conntab_expectations_next(all, &expectation) == 1) {
        conntab_expectation_text(&expectation, line, sizeof line);
        printf("expected: %s\n", line);
    }
    conntab_expectations_free(all);
}

int main(void) {
    conntab_config config;
    conntab_table *table;
    conntab_worker *worker;
    conntab_config_init(&config, sizeof config);
    config.max = 65536;
    config.expect_max = 1024; /* 0 would be: neither helpers nor expectations */
    if (conntab_table_new(&config, sizeof config, &table) || conntab_worker_new(table, &worker)) {
        return 1;
    }
    conntab_helper helper = {.name = "come", .protocol = 17, .help = help, .classes = {{.max = 1, .timeout = 60}}};
    if (conntab_table_ship_helper(table, "ftp", &ftp) || conntab_table_add_helper(table, &helper, sizeof helper, &own)) {
        return 1;
    }
    uint8_t packet[120];
    enum { SYN = 2, PSH_ACK = 24, ACK = 16 };

    printf("-- FTP, passive\n");
    pass(worker, packet, segment(packet, 0, 1000, 21, SYN, 1, 0, ""), 21);
    pass(worker, packet, segment(packet, 1, 21, 1000, SYN | ACK, 1, 2, ""), 0);
    pass(worker, packet, segment(packet, 0, 1000, 21, ACK, 2, 2, ""), 21);
    pass(worker, packet, segment(packet, 1, 21, 1000, PSH_ACK, 2, 2, "220 hello\r\n"), 0);
    pass(worker, packet, segment(packet, 0, 1000, 21, PSH_ACK, 2, 13, "PASV\r\n"), 21);
    pass(worker, packet, segment(packet, 1, 21, 1000, PSH_ACK, 13, 8, "227 here (10,0,0,2,19,136)\r\n"), 0);
    show(table);
    pass(worker, packet, segment(packet, 0, 1001, 5000, SYN, 1, 0, ""), 5000); /* the data connection */
    show(table);

    printf("-- one of the host's\n");
    const uint8_t hello[] = {0x1b, 0x58, 0x1b, 0x58, 0, 10, 0, 0, 'h', 'i'};
    const uint8_t come[] = {0x1b, 0x58, 0x1b, 0x58, 0, 15, 0, 0, 'c', 'o', 'm', 'e', ' ', 0x17, 0x70};
    pass(worker, packet, make(packet, 0, 17, hello, sizeof hello), 7000);
    pass(worker, packet, make(packet, 1, 17, come, sizeof come), 7000);
    show(table);
    pass(worker, packet, segment(packet, 0, 1002, 6000, SYN, 1, 0, ""), 6000);
    pass(worker, packet, segment(packet, 0, 1003, 6000, SYN, 1, 0, ""), 6000); /* it was expected once */

    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
