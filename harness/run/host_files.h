/* run/host_files.h - small files of /proc and /sys below a root folder. Private to host.c and host_span.c.
 *
 * Files that are missing or odd are no error: a fact is then unknown. Every function that takes a FILE closes it and
 * takes NULL. */
#ifndef ZEB_RUN_HOST_FILES_H
#define ZEB_RUN_HOST_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run/host.h"

/* Opens root + the formatted path; NULL if that fails. */
ZEB_PRINTF(2, 3) FILE *zeb_host_open(const char *root, const char *format, ...);

/* First line without its end; false, text empty, when there is none. */
bool zeb_host_line(FILE *file, char *text, size_t capacity);
bool zeb_host_number(FILE *file, uint64_t *value);

/* Value of the first line "key <separator> value" that has one. */
bool zeb_host_value(FILE *file, const char *key, char separator, char *text, size_t capacity);

/* "123 kB" -> bytes. */
bool zeb_host_kilobytes(const char *text, uint64_t *bytes);

/* Calls visit for every control group of this process that may limit processor time: its own and those above it, the
 * root of the mount included (in a container the path may be the host's, while only the container's part is mounted).
 * folder is without the root: "/sys/fs/cgroup/cpu/a"; v2: of the second kind. */
typedef void (*zeb_host_group_fn)(const char *root, const char *folder, bool v2, void *user);
void zeb_host_groups(const char *root, zeb_host_group_fn visit, void *user);

typedef struct zeb_host_cpus {
    uint64_t word[ZEB_HOST_CPUS_MAX / 64];
    uint32_t count;
} zeb_host_cpus;

/* "0-3,8,10-11"; false for an empty or malformed list. */
bool zeb_host_cpus_parse(const char *text, zeb_host_cpus *set);
bool zeb_host_cpus_has(const zeb_host_cpus *set, uint32_t cpu);

/* Processors that are on, and those of them that this process may use (with the list as the system writes it). */
bool zeb_host_cpus_online(const char *root, zeb_host_cpus *set);
bool zeb_host_cpus_allowed(const char *root, zeb_host_cpus *set, char *list, size_t capacity);

/* Whether a processor's frequency is held: governor performance, or minimum = maximum. */
bool zeb_host_cpu_fixed(const char *root, uint32_t cpu, const char *governor);

#endif
