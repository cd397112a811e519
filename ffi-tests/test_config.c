/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Chapter: configuration. Also: structs of other sizes than ours, limits, memory of the host's own. */
#include "common.h"

#include <sys/mman.h>

static void defaults(void **state) {
    (void)state;
    conntab_config config;
    memset(&config, 0xaa, sizeof config);
    assert_int_equal(conntab_config_init(&config, sizeof config), CONNTAB_OK);
    assert_int_equal(config.max, 262144);
    assert_int_equal(config.hashsize, 0);
    assert_int_equal(config.workers, 16);
    assert_int_equal(config.user_data + config.events + config.timeout_policies, 0);
    assert_int_equal(config.acct + config.timestamp + config.nat6 + config.fixed_key, 0);
    assert_int_equal(config.prefault, 1);
    assert_int_equal(config.pages, CONNTAB_PAGES_TRANSPARENT);
    assert_null(config.memory);
    assert_int_equal(config.memory_size, 0);
    assert_int_equal(conntab_config_explain(&config, sizeof config, NULL, 0), 0);
}

/* Our struct, and what a later header might have behind it. */
typedef struct longer {
    conntab_config config;
    uint64_t later[4];
} longer;

static void init_sizes(void **state) {
    (void)state;
    conntab_config whole;
    conntab_config_init(&whole, sizeof whole);
    /* Shorter: nothing is written behind it. Longer: the rest becomes 0. */
    for (size_t size = 1; size <= sizeof(longer); size++) {
        uint8_t *buffer = malloc(size);
        memset(buffer, 0xaa, size);
        assert_int_equal(conntab_config_init((conntab_config *)(void *)buffer, size), CONNTAB_OK);
        size_t known = size < sizeof whole ? size : sizeof whole;
        assert_memory_equal(buffer, &whole, known);
        for (size_t at = known; at < size; at++) {
            assert_int_equal(buffer[at], 0);
        }
        free(buffer);
    }
    assert_int_equal(conntab_config_init(NULL, sizeof whole), CONNTAB_EINVAL);
    assert_int_equal(conntab_config_init(&whole, 0), CONNTAB_EINVAL);
}

static void sizes_handed_in(void **state) {
    (void)state;
    uint64_t bytes = 0, less = 0, more = 0;
    longer longer;
    memset(&longer, 0, sizeof longer);
    longer.config = small_config();
    conntab_config *config = &longer.config;
    assert_int_equal(conntab_config_memory(config, sizeof *config, &bytes), CONNTAB_OK);

    /* Shorter: what is cut off has its default, whatever lies there. */
    conntab_config cut = small_config();
    memset((char *)&cut + 4, 0xff, sizeof cut - 4);
    assert_int_equal(conntab_config_memory(&cut, 4, &less), CONNTAB_OK);
    conntab_config same;
    conntab_config_init(&same, sizeof same);
    same.max = 1024;
    uint64_t expected = 0;
    assert_int_equal(conntab_config_memory(&same, sizeof same, &expected), CONNTAB_OK);
    assert_int_equal(less, expected);
    for (size_t size = 1; size < sizeof *config; size++) {
        /* (In the middle of a field it is a strange configuration, but no harm.) */
        (void)conntab_config_memory(config, size, &less);
    }

    /* Longer: zeros are fine, anything else is refused. */
    assert_int_equal(conntab_config_memory(config, sizeof longer, &more), CONNTAB_OK);
    assert_int_equal(more, bytes);
    ((uint8_t *)&longer)[sizeof longer - 1] = 1;
    assert_int_equal(conntab_config_memory(config, sizeof longer, &more), CONNTAB_E2BIG);
    conntab_table *table = (void *)&bytes;
    assert_int_equal(conntab_table_new(config, sizeof longer, &table), CONNTAB_E2BIG);
    assert_ptr_equal(table, &bytes);
    assert_int_not_equal(conntab_config_explain(config, sizeof longer, NULL, 0), 0);
    assert_int_equal(conntab_config_memory(config, sizeof longer - 1, &more), CONNTAB_OK);
    /* Sizes that no struct has are refused before they are read beyond the first byte that is not 0. */
    longer.later[0] = 1;
    assert_int_equal(conntab_config_memory(config, SIZE_MAX, &more), CONNTAB_E2BIG);
}

static void misuse(void **state) {
    (void)state;
    conntab_config config = small_config();
    uint64_t bytes[2];
    char *two = calloc(2, sizeof config);
    conntab_table *table;
    assert_int_equal(conntab_config_memory(NULL, sizeof config, bytes), CONNTAB_EINVAL);
    assert_int_equal(conntab_config_memory(&config, 0, bytes), CONNTAB_EINVAL);
    assert_int_equal(conntab_config_memory(&config, sizeof config, NULL), CONNTAB_EINVAL);
    assert_int_equal(conntab_config_memory(&config, sizeof config, crooked(bytes)), CONNTAB_EINVAL);
    assert_int_equal(conntab_config_memory(crooked(two), sizeof config, bytes), CONNTAB_EINVAL);
    assert_int_equal(conntab_table_new(crooked(two), sizeof config, &table), CONNTAB_EINVAL);
    assert_in_range(conntab_config_explain(NULL, sizeof config, NULL, 0), 1, 200);
    assert_in_range(conntab_config_explain(&config, 0, NULL, 0), 1, 200);
    free(two);
}

/* Every limit: refused with what is allowed, and nothing is made. */
static void limits(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t at;
        uint32_t bad[4];
        uint32_t good;
    } fields[] = {
        {"max", offsetof(conntab_config, max), {0, 63, (1u << 28) + 1, UINT32_MAX}, 64},
        {"hashsize", offsetof(conntab_config, hashsize), {1, 3, 1000, UINT32_MAX}, 4096},
        {"workers", offsetof(conntab_config, workers), {0, 1025, 1u << 31, UINT32_MAX}, 1},
        {"user_data", offsetof(conntab_config, user_data), {4, 63, 72, UINT32_MAX}, 64},
        {"events", offsetof(conntab_config, events), {(1u << 24) + 1, 1u << 25, 1u << 31, UINT32_MAX}, 1},
        {"timeout_policies", offsetof(conntab_config, timeout_policies), {256, 257, 65536, UINT32_MAX}, 255},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        conntab_config config = small_config();
        char why[200];
        uint64_t bytes = 5;
        conntab_table *table = NULL;
        for (size_t at = 0; at < COUNT(fields[i].bad); at++) {
            memcpy((char *)&config + fields[i].at, &fields[i].bad[at], 4);
            assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_EINVAL);
            assert_null(table);
            assert_int_equal(conntab_config_memory(&config, sizeof config, &bytes), CONNTAB_EINVAL);
            assert_int_equal(bytes, 5);
            size_t len = conntab_config_explain(&config, sizeof config, why, sizeof why);
            assert_int_equal(len, strlen(why));
            assert_memory_equal(why, fields[i].name, strlen(fields[i].name));
        }
        memcpy((char *)&config + fields[i].at, &fields[i].good, 4);
        conntab_table_free(new_table(&config));
    }
    conntab_config config = small_config();
    for (unsigned pages = 3; pages < 256; pages++) {
        config.pages = (uint8_t)pages;
        assert_int_equal(conntab_config_explain(&config, sizeof config, NULL, 0) > 0, 1);
    }
    config = small_config();
    config.reserved[1] = 1;
    conntab_table *table;
    assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_EINVAL);
    /* Any number that is not 0 is a yes. */
    config = small_config();
    config.acct = config.timestamp = config.nat6 = config.fixed_key = 255;
    conntab_table_free(new_table(&config));
}

/* The largest table there may be is measured, not made. */
static void huge(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.max = 1u << 28;
    config.hashsize = 1u << 28;
    config.workers = 1024;
    config.events = 1u << 24;
    uint64_t bytes = 0;
    assert_int_equal(conntab_config_memory(&config, sizeof config, &bytes), CONNTAB_OK);
    assert_true(bytes > 1ull << 40);
    /* More than the address space has is ENOMEM. */
    config = small_config();
    config.pages = CONNTAB_PAGES_RESERVED;
    config.max = 1u << 27;
    conntab_table *table = NULL;
    assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_ENOMEM);
    assert_null(table);
}

static void explain_buffers(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.max = 0;
    char whole[200];
    size_t len = conntab_config_explain(&config, sizeof config, whole, sizeof whole);
    assert_int_equal(len, strlen(whole));
    for (size_t size = 0; size < len + 2; size++) {
        char *buffer = malloc(size + 1);
        memset(buffer, 'x', size + 1);
        assert_int_equal(conntab_config_explain(&config, sizeof config, buffer, size), len);
        assert_int_equal(buffer[size], 'x');
        if (size > 0) {
            assert_int_equal(strlen(buffer), size - 1 < len ? size - 1 : len);
        }
        free(buffer);
    }
    /* Nothing wrong: the buffer holds an empty text. */
    config = small_config();
    strcpy(whole, "x");
    assert_int_equal(conntab_config_explain(&config, sizeof config, whole, sizeof whole), 0);
    assert_string_equal(whole, "");
}

static void tunable_names(void **state) {
    (void)state;
    size_t n = 0;
    int seen = 0;
    while (conntab_tunable_name(n) != NULL) {
        seen |= strcmp(conntab_tunable_name(n), "tcp_timeout_established") == 0;
        n++;
    }
    assert_in_range(n, 20, 99);
    assert_true(seen);
    assert_null(conntab_tunable_name(n + 1));
    assert_null(conntab_tunable_name(SIZE_MAX));
    /* Each can be read, and set to what it is. */
    host h = small_host();
    for (size_t i = 0; i < n; i++) {
        uint32_t value = UINT32_MAX;
        assert_int_equal(conntab_table_get(h.table, conntab_tunable_name(i), &value), CONNTAB_OK);
        assert_int_equal(conntab_table_set(h.table, conntab_tunable_name(i), value), CONNTAB_OK);
    }
    host_free(&h);
}

enum { PAGE = 4096 };

/* The whole table lies in the host's memory, whatever was in it, and nothing beside it is touched. */
static void own_memory(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.acct = config.timestamp = config.nat6 = 1;
    config.events = 64;
    config.timeout_policies = 3;
    config.user_data = 16;
    uint64_t needed = 0;
    assert_int_equal(conntab_config_memory(&config, sizeof config, &needed), CONNTAB_OK);
    assert_true(needed > 1 << 20);
    uint8_t *around = mmap(NULL, needed + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(around, MAP_FAILED);
    memset(around, 0xd5, needed + 2 * PAGE);

    config.memory = around + PAGE;
    config.memory_size = needed;
    for (int again = 0; again < 2; again++) {
        /* (The second time it lies where another one was.) */
        host h = host_of(&config);
        for (unsigned n = 0; n < 1000; n++) {
            open_udp(h.worker, NOW, n);
        }
        assert_int_equal(conntab_table_count(h.table), 1000);
        assert_int_equal(conntab_table_flush(h.table), 1000);
        host_free(&h);
    }
    unsigned untouched = 0;
    for (size_t page = 0; page < needed / PAGE; page++) {
        const uint8_t *at = around + PAGE + page * PAGE;
        for (unsigned i = 0; i < PAGE && at[i] == 0xd5; i++) {
            untouched += i == PAGE - 1;
        }
    }
    assert_int_equal(untouched, 0);
    for (unsigned i = 0; i < PAGE; i++) {
        assert_int_equal(around[i], 0xd5);
        assert_int_equal(around[PAGE + needed + i], 0xd5);
    }

    char why[200];
    conntab_table *table = NULL;
    config.memory_size = needed - 1;
    assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_ENOMEM);
    assert_int_not_equal(conntab_config_explain(&config, sizeof config, why, sizeof why), 0);
    config.memory_size = 0;
    assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_ENOMEM);
    config.memory = around + PAGE - 64;
    config.memory_size = needed;
    assert_int_equal(conntab_table_new(&config, sizeof config, &table), CONNTAB_EINVAL);
    assert_int_not_equal(conntab_config_explain(&config, sizeof config, why, sizeof why), 0);
    assert_null(table);
    assert_int_equal(munmap(around, needed + 2 * PAGE), 0);
}

/* It stays the host's until the last worker is gone. */
static void own_memory_outlives(void **state) {
    (void)state;
    conntab_config config = small_config();
    uint64_t needed = 0;
    conntab_config_memory(&config, sizeof config, &needed);
    config.memory = aligned_alloc(PAGE, needed);
    config.memory_size = needed + 12345;
    host h = host_of(&config);
    conntab_dump *dump = conntab_dump_new(h.table, NOW);
    conntab_table_free(h.table);
    open_udp(h.worker, NOW, 1);
    conntab_worker_free(h.worker);
    conntab_connection connection;
    assert_int_equal(conntab_dump_next(dump, &connection, sizeof connection), 1);
    conntab_dump_free(dump);
    memset(config.memory, 0, needed);
    free(config.memory);
}

static void fixed_key(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.fixed_key = 1;
    config.hash_key[3] = 42;
    host h = host_of(&config);
    open_udp(h.worker, NOW, 1);
    host_free(&h);
}

static void prefault_and_pages(void **state) {
    (void)state;
    conntab_config config = small_config();
    config.prefault = 1;
    config.pages = CONNTAB_PAGES_TRANSPARENT;
    config.max = 20000;
    host h = host_of(&config);
    open_udp(h.worker, NOW, 1);
    host_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),        cmocka_unit_test(init_sizes),    cmocka_unit_test(sizes_handed_in),
        cmocka_unit_test(misuse),          cmocka_unit_test(limits),        cmocka_unit_test(huge),
        cmocka_unit_test(explain_buffers), cmocka_unit_test(tunable_names), cmocka_unit_test(own_memory),
        cmocka_unit_test(own_memory_outlives), cmocka_unit_test(fixed_key), cmocka_unit_test(prefault_and_pages),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
