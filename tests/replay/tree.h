/* replay/tree.h - lays a machine's files out in a temporary folder from a description, and changes them while a test
 * runs.
 *
 * A description is a text file: "# remark", "path<blank>content" (a file; \n and \t
 * stand for a new line and a tab), "path" alone (an empty file),
 * "path/" (an empty folder). Where the content is "-" there is no such file: it removes one that stood before it. */
#ifndef ZEB_TESTS_REPLAY_TREE_H
#define ZEB_TESTS_REPLAY_TREE_H

#include <stdbool.h>

typedef struct replay_tree {
    char root[256];
} replay_tree;

/* description is a path. Fails the test when anything goes wrong. */
void replay_tree_create(replay_tree *tree, const char *description);
void replay_tree_destroy(replay_tree *tree);

/* Rewrites a file in place, as the kernel would change what an open file says; makes it where there is none. */
void replay_tree_write(const replay_tree *tree, const char *path, const char *content);
void replay_tree_remove(const replay_tree *tree, const char *path);

#endif
