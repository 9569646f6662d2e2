#include "tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void full_path(const replay_tree *tree, const char *path, char *full, size_t capacity) {
    int length = snprintf(full, capacity, "%s/%s", tree->root, path);
    assert_true(length > 0 && (size_t)length < capacity);
}

static void make_folders(char *full) {
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
}

void replay_tree_write(const replay_tree *tree, const char *path, const char *content) {
    char full[1024];
    full_path(tree, path, full, sizeof full);
    make_folders(full);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_true(content[0] == '\0' || fputc('\n', file) != EOF);
    assert_int_equal(fclose(file), 0);
}

void replay_tree_remove(const replay_tree *tree, const char *path) {
    char full[1024];
    full_path(tree, path, full, sizeof full);
    assert_int_equal(unlink(full), 0);
}

/* "\\n" and "\\t" become what they stand for. */
static void unescape(char *text) {
    char *to = text;
    for (; *text != '\0'; text++) {
        bool escaped = text[0] == '\\' && (text[1] == 'n' || text[1] == 't');
        *to++ = !escaped ? *text : (text[1] == 'n' ? '\n' : '\t');
        text += escaped;
    }
    *to = '\0';
}

static void apply_line(const replay_tree *tree, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '#' || line[0] == '\0') return;
    char *content = strchr(line, ' ');
    if (content != NULL) {
        *content++ = '\0';
        unescape(content);
    }
    if (content != NULL && strcmp(content, "-") == 0) {
        replay_tree_remove(tree, line);
    } else if (line[strlen(line) - 1] == '/') {
        char full[1024];
        full_path(tree, line, full, sizeof full);
        make_folders(full);
    } else {
        replay_tree_write(tree, line, content != NULL ? content : "");
    }
}

void replay_tree_create(replay_tree *tree, const char *description) {
    const char *folder = getenv("TMPDIR");
    (void)snprintf(tree->root, sizeof tree->root, "%s/zeb-replay-XXXXXX", folder != NULL ? folder : "/tmp");
    assert_non_null(mkdtemp(tree->root));
    assert_int_equal(chmod(tree->root, 0755), 0);
    FILE *file = fopen(description, "r");
    if (file == NULL) fail_msg("%s: missing", description);
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL) {
        apply_line(tree, line);
    }
    (void)fclose(file);
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

void replay_tree_destroy(replay_tree *tree) {
    if (tree->root[0] != '\0') (void)nftw(tree->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    tree->root[0] = '\0';
}
