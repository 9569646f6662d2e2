/* A folder of one's own for a test's files. */
#ifndef ZEB_TEST_STORE_FOLDER_H
#define ZEB_TEST_STORE_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct test_folder {
    char path[64];
    char file[128];
} test_folder;

static inline void test_folder_make(test_folder *f) {
    (void)snprintf(f->path, sizeof f->path, "/tmp/zeb-store-XXXXXX");
    if (mkdtemp(f->path) == NULL || chmod(f->path, 0777) != 0) abort();
}

/* folder/name; the text lives until the next call. */
static inline const char *test_folder_file(test_folder *f, const char *name) {
    (void)snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
    return f->file;
}

/* Empties the folder of its plain files, and removes it with what empty folders it holds. */
static inline void test_folder_remove(test_folder *f) {
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

#endif
