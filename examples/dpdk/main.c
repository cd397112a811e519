/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A stateful firewall over DPDK: a bump in the wire between two ports. Who is inside (port 0) may open connections, who is
 * outside (port 1) may only answer, apart from listed services.
 *
 *   firewall EAL-OPTION... -- [OPTION...]          --help tells the options
 *
 * It begins here, with options, ports and lcores. The way of a packet is in firewall.c, the control socket in control.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "firewall.h"

/* The table is swept for what has expired about once in this many slices. */
#define SLICES 100
#define SLICE_MS 10
#define MAX_SETTINGS 32

static const char usage[] =
	"usage: firewall EAL-OPTION... -- [OPTION...]\n"
	"\n"
	"Two ports, the first inside, the second outside; one lcore for both, or one for each.\n"
	"\n"
	"  --allow PROTO/PORT,...   services inside that may be connected to from outside, such as tcp/80,udp/53\n"
	"  --ftp PORT               connections to this TCP port have the helper of FTP: their data connections pass as\n"
	"                           RELATED\n"
	"  --pass-fragments         let fragments through unjudged. They are dropped otherwise: this example does not put\n"
	"                           them together (conntab_defrag_push would), and a fragment may hold anything\n"
	"  --set NAME=VALUE         a tunable, such as tcp_timeout_established=3600 (docs/tunables.md); may be repeated\n"
	"  --max N                  the most connections (65536)\n"
	"  --control PATH           answers the commands `stats`, `dump` and `events` at this UNIX socket\n"
	"  --idle-us N              how long an lcore rests when no packet comes, in microseconds (100); 0: it polls on\n";

static struct firewall firewall;
static uint64_t clock_start, clock_cycles;

struct options {
	const char *control;
	const char *settings[MAX_SETTINGS];
	unsigned int n_settings;
	uint32_t max;
	uint32_t idle_us;
};

/* What an lcore does: ports first to last, with a worker of its own. */
struct lcore {
	conntab_worker *worker;
	unsigned int first, last;
	uint32_t slice;
	uint32_t idle_us;
};

uint64_t
clock_ms(void)
{
	return (rte_get_timer_cycles() - clock_start) / clock_cycles + 1;
}

static void
on_signal(int signal)
{
	(void)signal;
	firewall.stop = true;
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "firewall: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static uint32_t
number(const char *option, const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > UINT32_MAX)
		fail(option, "not a number");
	return (uint32_t)value;
}

static struct options
parse(int argc, char **argv)
{
	static const struct option known[] = {
		{"allow", required_argument, NULL, 'a'},   {"pass-fragments", no_argument, NULL, 'f'},
		{"set", required_argument, NULL, 's'},     {"max", required_argument, NULL, 'm'},
		{"ftp", required_argument, NULL, 'p'},
		{"control", required_argument, NULL, 'c'}, {"idle-us", required_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
	};
	struct options options = {.max = 65536, .idle_us = 100};
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 'a':
			if (!rules_allow(&firewall.rules, optarg))
				fail(optarg, "not a list such as tcp/80,udp/53");
			break;
		case 'p':
			if (number("--ftp", optarg) > UINT16_MAX)
				fail("--ftp", "not a port");
			firewall.rules.ftp = (uint16_t)number("--ftp", optarg);
			break;
		case 'f':
			firewall.rules.pass_fragments = true;
			break;
		case 's':
			if (options.n_settings == MAX_SETTINGS)
				fail(optarg, "too many --set");
			options.settings[options.n_settings++] = optarg;
			break;
		case 'm':
			options.max = number("--max", optarg);
			break;
		case 'c':
			options.control = optarg;
			break;
		case 'i':
			options.idle_us = number("--idle-us", optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		default:
			fputs(usage, stderr);
			exit(EXIT_FAILURE);
		}
	}
	if (optind != argc)
		fail(argv[optind], "no such argument");
	return options;
}

/* Makes the table. All its memory is reserved here. */
static conntab_table *
make_table(const struct options *options, unsigned int workers)
{
	struct conntab_config config;
	conntab_table *table;
	unsigned int i;
	int error;

	/* Another minor version is another ABI, for now. */
	if (conntab_version() / 1000 != CONNTAB_VERSION_MAJOR * 1000 + CONNTAB_VERSION_MINOR)
		fail("conntab", "the library is not of the header's version");
	conntab_config_init(&config, sizeof(config));
	config.max = options->max;
	config.workers = workers;
	config.events = 65536; /* what may wait between two commands `events` */
	config.acct = 1;
	config.timestamp = 1;
	config.expect_max = 1024;
	error = conntab_table_new(&config, sizeof(config), &table);
	if (error != CONNTAB_OK) {
		char why[200];

		if (conntab_config_explain(&config, sizeof(config), why, sizeof(why)) > 0)
			fail("the table", why);
		fail("the table", conntab_strerror(error));
	}
	for (i = 0; i < options->n_settings; i++) {
		char name[64];
		const char *equals = strchr(options->settings[i], '=');

		if (equals == NULL || (size_t)(equals - options->settings[i]) >= sizeof(name))
			fail(options->settings[i], "not NAME=VALUE");
		memcpy(name, options->settings[i], (size_t)(equals - options->settings[i]));
		name[equals - options->settings[i]] = '\0';
		error = conntab_table_set(table, name, number(options->settings[i], equals + 1));
		if (error != CONNTAB_OK)
			fail(options->settings[i], conntab_strerror(error));
	}
	if (firewall.rules.ftp != 0) {
		error = conntab_table_ship_helper(table, "ftp", &firewall.rules.helper);
		if (error != CONNTAB_OK)
			fail("--ftp", conntab_strerror(error));
	}
	return table;
}

/* One receive and one transmit queue; everything that arrives; no offload that changes frames. */
static void
start_port(uint16_t port, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	uint16_t rx = 1024, tx = 1024;
	int socket = rte_eth_dev_socket_id(port);
	char name[RTE_ETH_NAME_MAX_LEN] = "";

	rte_eth_dev_get_name_by_port(port, name);
	if (rte_eth_dev_info_get(port, &info) != 0)
		fail(name, "says nothing of itself");
	/* Where the port can verify checksums, conntab need not. */
	conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM;
	if (rte_eth_dev_configure(port, 1, 1, &conf) != 0 || rte_eth_dev_adjust_nb_rx_tx_desc(port, &rx, &tx) != 0 ||
	    rte_eth_rx_queue_setup(port, 0, rx, (unsigned int)socket, NULL, pool) != 0 ||
	    rte_eth_tx_queue_setup(port, 0, tx, (unsigned int)socket, NULL) != 0 || rte_eth_dev_start(port) != 0)
		fail(name, "cannot be started");
	/* Frames are for others. A port that has nothing else to offer is fine. */
	if (rte_eth_promiscuous_enable(port) != 0)
		fprintf(stderr, "firewall: %s: not promiscuous\n", name);
}

static int
run(void *arg)
{
	const struct lcore *lcore = arg;
	uint64_t reaped = clock_ms();

	while (!atomic_load_explicit(&firewall.stop, memory_order_relaxed)) {
		uint64_t now = clock_ms();
		unsigned int got = 0, port;

		for (port = lcore->first; port <= lcore->last; port++)
			got += firewall_burst(&firewall, lcore->worker, port, now);
		/* A slice of expiry and reclamation, beside the packets. */
		if (now >= reaped + SLICE_MS) {
			reaped = now;
			conntab_reap(lcore->worker, now, lcore->slice, NULL);
		}
		if (got == 0) {
			/* A worker that rests must say so, or it holds back what the others have freed. */
			conntab_idle(lcore->worker);
			if (lcore->idle_us > 0)
				rte_delay_us_sleep(lcore->idle_us);
		}
	}
	conntab_idle(lcore->worker);
	return 0;
}

int
main(int argc, char **argv)
{
	struct lcore lcores[2];
	struct options options;
	struct conntab_stats stats;
	struct rte_mempool *pool;
	struct sigaction action = {.sa_handler = on_signal};
	unsigned int n_lcores, i, id;
	cpu_set_t cpus;
	uint16_t port;
	int used;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	used = rte_eal_init(argc, argv);
	if (used < 0)
		fail("EAL", "cannot start");
	options = parse(argc - used, argv + used);
	if (rte_eth_dev_count_avail() != 2)
		fail("ports", "there must be two");
	n_lcores = rte_lcore_count();
	if (n_lcores > 2)
		fail("lcores", "one or two (EAL option -l)");
	clock_cycles = rte_get_timer_hz() / 1000;
	clock_start = rte_get_timer_cycles();
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);

	firewall.table = make_table(&options, n_lcores);
	conntab_table_stats(firewall.table, &stats, sizeof(stats));
	pool = rte_pktmbuf_pool_create("frames", 8191, 250, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	if (pool == NULL)
		fail("frames", rte_strerror(rte_errno));
	i = 0;
	RTE_ETH_FOREACH_DEV(port) {
		start_port(port, pool);
		firewall.ports[i++] = port;
	}
	if (options.control != NULL && !control_start(&firewall, options.control, &cpus, sizeof(cpus)))
		exit(EXIT_FAILURE);

	/* Each lcore has a worker of its own: they share the table and nothing else. */
	for (i = 0; i < n_lcores; i++) {
		int error = conntab_worker_new(firewall.table, &lcores[i].worker);

		if (error != CONNTAB_OK)
			fail("a worker", conntab_strerror(error));
		lcores[i].first = i;
		lcores[i].last = n_lcores == 1 ? OUTSIDE : i;
		lcores[i].slice = (uint32_t)(stats.entries / SLICES / n_lcores + 1);
		lcores[i].idle_us = options.idle_us;
	}
	printf("port %u is inside, port %u outside; %u lcore(s)\n", firewall.ports[INSIDE], firewall.ports[OUTSIDE],
	       n_lcores);
	fflush(stdout);
	RTE_LCORE_FOREACH_WORKER(id)
		rte_eal_remote_launch(run, &lcores[1], id);
	run(&lcores[0]);
	rte_eal_mp_wait_lcore();

	control_stop();
	control_stats(&firewall, stdout);
	for (i = 0; i < n_lcores; i++)
		conntab_worker_free(lcores[i].worker);
	conntab_table_free(firewall.table);
	for (i = 0; i < 2; i++) {
		rte_eth_dev_stop(firewall.ports[i]);
		rte_eth_dev_close(firewall.ports[i]);
	}
	rte_mempool_free(pool);
	rte_eal_cleanup();
	return EXIT_SUCCESS;
}
