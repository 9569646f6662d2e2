/* tests: folders made for one test, and files read whole. */
#ifndef ZEB_TESTS_TOKENIZERS_FIXTURE_H
#define ZEB_TESTS_TOKENIZERS_FIXTURE_H

#include <stddef.h>

/* A new empty folder; its path in text[capacity]. */
void fixture_folder(char *text, size_t capacity);
/* folder/name with these bytes; NULL removes it. */
void fixture_write(const char *folder, const char *name, const void *bytes, size_t size);
/* Removes the folder and the files in it. */
void fixture_remove(const char *folder);

/* The file's bytes and a NUL; NULL when there is none. free() it. */
char *fixture_read(const char *path, size_t *size);

#endif
