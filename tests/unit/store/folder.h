/* A folder of one's own for a test's files. */
#ifndef ZEB_TEST_STORE_FOLDER_H
#define ZEB_TEST_STORE_FOLDER_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct test_folder {
    char path[64];
    char file[128];
} test_folder;

/* folder/name; the text lives until the next call. */
static inline const char *test_folder_file(test_folder *f, const char *name) {
    (void)snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
    return f->file;
}

/* Empties the folder of its plain files, and removes it with what empty folders it holds. */
static inline void test_folder_remove(const test_folder *f) {
    DIR *folder = opendir(f->path);
    if (folder == NULL) return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[384];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", f->path, entry->d_name);
        if (unlink(path) != 0) (void)rmdir(path);
    }
    (void)closedir(folder);
    (void)rmdir(f->path);
}

/* Removes the folders of tests that were killed: the name says whose it was. */
static inline void test_folder_sweep(void) {
    DIR *all = opendir("/tmp");
    if (all == NULL) return;
    for (struct dirent *entry = readdir(all); entry != NULL; entry = readdir(all)) {
        test_folder dead;
        long pid = 0;
        char end = 0;
        if (strlen(entry->d_name) > 40 || sscanf(entry->d_name, "zeb-store-%ld-%c", &pid, &end) != 2 || pid <= 0)
            continue;
        if (kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        (void)snprintf(dead.path, sizeof dead.path, "/tmp/%.40s", entry->d_name);
        test_folder_remove(&dead);
    }
    (void)closedir(all);
}

static inline void test_folder_make(test_folder *f) {
    test_folder_sweep();
    (void)snprintf(f->path, sizeof f->path, "/tmp/zeb-store-%ld-XXXXXX", (long)getpid());
    if (mkdtemp(f->path) == NULL || chmod(f->path, 0777) != 0) abort();
}

/* For cmocka, around a test: *state is the folder. A test that fails leaves none. */
static inline int test_folder_setup(void **state) {
    test_folder *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    test_folder_make(f);
    *state = f;
    return 0;
}

static inline int test_folder_teardown(void **state) {
    test_folder_remove(*state);
    free(*state);
    return 0;
}

#define IN_TEST_FOLDER(test) cmocka_unit_test_setup_teardown(test, test_folder_setup, test_folder_teardown)

#endif
