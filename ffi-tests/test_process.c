/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Processes: fork, and a library that is loaded and unloaded. The shared library's path is in CONNTAB_SO. */
#include "common.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child may not use its parent's table, but may end, and may make one of its own. */
static void forks(void **state) {
    (void)state;
    static host h; /* (in the child, too, Valgrind finds what it leads to) */
    h = small_host();
    open_udp(h.worker, NOW, 1);
    fflush(NULL);
    for (int way = 0; way < 3; way++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (way == 0) {
                _exit(0);
            }
            if (way == 1) {
                char *const argv[] = {"true", NULL};
                execv("/bin/true", argv);
                _exit(1);
            }
            host own = small_host();
            open_udp(own.worker, NOW, 1);
            int status = conntab_table_count(own.table) == 1 ? 0 : 1;
            host_free(&own);
            /* Given back by the child: its copy of the parent's. */
            conntab_worker_free(h.worker);
            conntab_table_free(h.table);
            _exit(status);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        open_udp(h.worker, NOW, 2 + (unsigned)way);
    }
    assert_int_equal(conntab_table_count(h.table), 4);
    host_free(&h);
}

/* The calls of a library that was loaded, by name: a function pointer in an object pointer's bytes. */
static void find(void *library, const char *name, void *function) {
    void *at = dlsym(library, name);
    assert_non_null(at);
    memcpy(function, &at, sizeof at);
}

static void *loads(void *with) {
    const char *path = with;
    for (unsigned long i = 0; i < rounds(50, 3); i++) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fail_msg("%s", dlerror());
        }
        uint32_t (*version)(void);
        int (*init)(conntab_config *, size_t);
        int (*table_new)(const conntab_config *, size_t, conntab_table **);
        int (*worker_new)(const conntab_table *, conntab_worker **);
        int (*track)(conntab_worker *, uint64_t, const conntab_packet *, size_t, conntab_verdict *);
        int (*confirm)(conntab_worker *, uint64_t, conntab_verdict *, size_t, uint64_t);
        int (*reap)(conntab_worker *, uint64_t, uint32_t, conntab_reaped *);
        void (*worker_free)(conntab_worker *);
        void (*table_free)(conntab_table *);
        find(library, "conntab_version", &version);
        find(library, "conntab_config_init", &init);
        find(library, "conntab_table_new", &table_new);
        find(library, "conntab_worker_new", &worker_new);
        find(library, "conntab_track", &track);
        find(library, "conntab_confirm", &confirm);
        find(library, "conntab_reap", &reap);
        find(library, "conntab_worker_free", &worker_free);
        find(library, "conntab_table_free", &table_free);

        conntab_config config;
        conntab_table *table;
        conntab_worker *worker;
        assert_int_equal(version(), conntab_version());
        assert_int_equal(init(&config, sizeof config), CONNTAB_OK);
        config.max = 1024;
        config.prefault = 0;
        config.pages = CONNTAB_PAGES_ORDINARY;
        assert_int_equal(table_new(&config, sizeof config, &table), CONNTAB_OK);
        assert_int_equal(worker_new(table, &worker), CONNTAB_OK);
        bytes b = udp4(1, 2, 3, 4);
        conntab_packet packet = packet_of(&b);
        conntab_verdict verdict;
        assert_int_equal(track(worker, NOW, &packet, 1, &verdict), 1);
        assert_int_equal(confirm(worker, NOW, &verdict, 1, 1), 1);
        assert_int_equal(reap(worker, NOW, 1024, NULL), CONNTAB_OK);
        worker_free(worker);
        table_free(table);
        assert_int_equal(dlclose(library), 0);
    }
    return NULL;
}

static void unloads(void **state) {
    (void)state;
    char *path = getenv("CONNTAB_SO");
    if (path == NULL) {
        skip();
    }
    loads(path);
    /* Also from a thread that ends while nothing is loaded any more. */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, loads, path), 0);
    pthread_join(thread, NULL);
    void *still = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    print_message("after dlclose the library is %s\n", still ? "still mapped" : "gone");
#ifndef FFI_SHARED
    /* (A suite that is linked with it keeps it, of course.) */
    assert_null(still);
#endif
    if (still) {
        dlclose(still);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forks), cmocka_unit_test(unloads)};
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
