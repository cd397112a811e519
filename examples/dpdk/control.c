/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The control socket: a command a connection, on a thread of its own. Nothing it does makes a packet wait.
 *
 *   echo stats | socat -t 5 - UNIX-CONNECT:PATH
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_ethdev.h>

#include "firewall.h"

static pthread_t thread;
static int listener = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* The states by number. */
static const char *const states[CONNTAB_STATES] = {"new", "established", "related", "invalid", "untracked", "drop", "fragment"};

static void
port_stat(FILE *out, unsigned int port, const char *name, uint64_t value)
{
	fprintf(out, "port%u.%s %" PRIu64 "\n", port, name, value);
}

/* A line for each counter. */
void
control_stats(const struct firewall *firewall, FILE *out)
{
	struct conntab_stats stats;
	unsigned int port;
	size_t i;

	conntab_table_stats(firewall->table, &stats, sizeof(stats));
	/* The struct is nothing but numbers, and the library knows their names. */
	for (i = 0; i < sizeof(stats) / sizeof(uint64_t); i++)
		fprintf(out, "%s %" PRIu64 "\n", conntab_stat_name(i), ((const uint64_t *)&stats)[i]);
	for (port = 0; port < 2; port++) {
		const struct counters *counters = &firewall->counters[port];
		struct rte_eth_stats nic = {0};

		rte_eth_stats_get(firewall->ports[port], &nic);
		port_stat(out, port, "rx", counters->rx);
		port_stat(out, port, "missed", nic.imissed);
		port_stat(out, port, "truncated", 0);
		port_stat(out, port, "bridged", counters->bridged);
		for (i = 0; i < CONNTAB_STATES; i++)
			port_stat(out, port, states[i], counters->state[i]);
		port_stat(out, port, "dropped", counters->dropped);
		port_stat(out, port, "tx", counters->tx);
		port_stat(out, port, "tx_failed", counters->tx_failed);
	}
}

/* The table, as /proc/net/nf_conntrack would show it. */
static void
dump(const struct firewall *firewall, FILE *out)
{
	conntab_dump *dump = conntab_dump_new(firewall->table, clock_ms());
	struct conntab_connection connection;
	char line[CONNTAB_TEXT_SIZE];

	while (conntab_dump_next(dump, &connection, sizeof(connection)) == 1) {
		conntab_connection_text(&connection, sizeof(conntab_connection), line, sizeof(line));
		if (fprintf(out, "%s\n", line) < 0 || firewall->stop)
			break; /* who does not read is not waited for, line after line */
	}
	conntab_dump_free(dump);
}

/* The events that have waited since the last time, as `conntrack -E` would show them. */
static void
events(const struct firewall *firewall, FILE *out)
{
	struct conntab_event events[64];
	char line[CONNTAB_TEXT_SIZE];
	int n, i;

	do {
		n = conntab_table_events(firewall->table, events, 64, sizeof(events[0]));
		for (i = 0; i < n; i++) {
			conntab_event_text(&events[i], sizeof(conntab_event), line, sizeof(line));
			fprintf(out, "[%" PRIu64 ".%03u] %s\n", events[i].at / 1000, (unsigned int)(events[i].at % 1000), line);
		}
	} while (n == 64 && !ferror(out) && !firewall->stop);
}

static void
answer(const struct firewall *firewall, int client)
{
	static const struct timeval limit = {.tv_sec = 2};
	const uint64_t until = clock_ms() + 2000;
	char command[64];
	size_t length = 0;
	ssize_t got;
	FILE *out;

	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	/* A line, or what there is of it */
	do {
		got = recv(client, command + length, sizeof(command) - 1 - length, 0);
		if (got > 0)
			length += (size_t)got;
	} while (got > 0 && length < sizeof(command) - 1 && memchr(command, '\n', length) == NULL && clock_ms() < until);
	command[length] = '\0';
	command[strcspn(command, "\r\n")] = '\0';

	out = fdopen(client, "w");
	if (out == NULL) {
		close(client);
		return;
	}
	if (strcmp(command, "stats") == 0)
		control_stats(firewall, out);
	else if (strcmp(command, "dump") == 0)
		dump(firewall, out);
	else if (strcmp(command, "events") == 0)
		events(firewall, out);
	else
		fprintf(out, "commands: stats, dump, events\n");
	fclose(out);
}

static void *
serve(void *arg)
{
	struct firewall *firewall = arg;
	struct pollfd poll_in = {.fd = listener, .events = POLLIN};

	while (!firewall->stop) {
		int client;

		if (poll(&poll_in, 1, 200) <= 0)
			continue;
		client = accept(listener, NULL, NULL);
		if (client >= 0)
			answer(firewall, client);
	}
	return NULL;
}

bool
control_start(struct firewall *firewall, const char *path, const void *cpus, size_t cpus_size)
{
	pthread_attr_t attributes;
	struct stat old;
	mode_t mask;
	int bound, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "%s: too long for a socket\n", path);
		return false;
	}
	strcpy(address.sun_path, path);
	/* What an earlier run may have left */
	if (lstat(path, &old) == 0 && S_ISSOCK(old.st_mode))
		unlink(path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Ours alone, whatever the umask */
	mask = umask(0077);
	bound = listener < 0 ? -1 : bind(listener, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (bound != 0 || listen(listener, 8) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	/* EAL has bound the main thread to its lcore; this one is to run anywhere. */
	pthread_attr_init(&attributes);
	pthread_attr_setaffinity_np(&attributes, cpus_size, cpus);
	error = pthread_create(&thread, &attributes, serve, firewall);
	pthread_attr_destroy(&attributes);
	if (error != 0) {
		fprintf(stderr, "the control thread: %s\n", strerror(error));
		close(listener);
		unlink(path);
		listener = -1;
	}
	return error == 0;
}

void
control_stop(void)
{
	if (listener < 0)
		return;
	pthread_join(thread, NULL);
	close(listener);
	unlink(address.sun_path);
}
