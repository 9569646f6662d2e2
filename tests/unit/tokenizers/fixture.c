#include "fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void fixture_folder(char *text, size_t capacity) {
    (void)snprintf(text, capacity, "/tmp/zeb-tokenizers-XXXXXX");
    assert_non_null(mkdtemp(text));
}

static void place(char *text, size_t capacity, const char *folder, const char *name) {
    assert_true((size_t)snprintf(text, capacity, "%s/%s", folder, name) < capacity);
}

void fixture_write(const char *folder, const char *name, const void *bytes, size_t size) {
    char path[512];
    place(path, sizeof path, folder, name);
    (void)unlink(path);
    if (bytes == NULL) return;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (size > 0) assert_int_equal(fwrite(bytes, size, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

void fixture_remove(const char *folder) {
    DIR *open = opendir(folder);
    assert_non_null(open);
    for (struct dirent *entry = readdir(open); entry != NULL; entry = readdir(open)) {
        char path[512];
        if (entry->d_name[0] == '.') continue;
        place(path, sizeof path, folder, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(open);
    assert_int_equal(rmdir(folder), 0);
}

char *fixture_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long end = ftell(file);
    assert_true(end >= 0);
    rewind(file);
    *size = (size_t)end;
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    if (*size > 0) assert_int_equal(fread(bytes, *size, 1, file), 1);
    bytes[*size] = '\0';
    (void)fclose(file);
    return bytes;
}
