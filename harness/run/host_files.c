#include "run/host_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { PATH_LENGTH_MAX = 1024, LINE_LENGTH_MAX = 8192 };

/* ---- small files ---- */

FILE *zeb_host_open(const char *root, const char *format, ...) {
    char path[PATH_LENGTH_MAX];
    int used = snprintf(path, sizeof path, "%s", root == NULL ? "" : root);
    if (used < 0 || (size_t)used >= sizeof path) return NULL;
    va_list args;
    va_start(args, format);
    int added = vsnprintf(path + used, sizeof path - (size_t)used, format, args);
    va_end(args);
    if (added < 0 || (size_t)added >= sizeof path - (size_t)used) return NULL;
    return fopen(path, "re");
}

/* First line without its end; false when there is none. Closes the file. */
bool zeb_host_line(FILE *file, char *text, size_t capacity) {
    text[0] = '\0';
    if (file == NULL) return false;
    bool got = fgets(text, (int)capacity, file) != NULL;
    (void)fclose(file);
    if (!got) text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text[0] != '\0';
}

bool zeb_host_number(FILE *file, uint64_t *value) {
    char text[64];
    return zeb_host_line(file, text, sizeof text) && zeb_text_to_u64(text, value);
}

/* The value of a line "key <separator> value", or NULL; a blank for a separator is any number of them. */
static char *value_of(char *line, const char *key, char separator) {
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0) return NULL;
    char *at = line + length;
    if (separator == ' ' && *at != ' ') return NULL; /* only the key's beginning */
    at += strspn(at, " \t");
    if (separator != ' ' && *at++ != separator) return NULL;
    at += strspn(at, " \t");
    at[strcspn(at, "\n")] = '\0';
    return at;
}

/* Value of the first line with the key in a file of such lines. */
bool zeb_host_value(FILE *file, const char *key, char separator, char *text, size_t capacity) {
    char *line = file != NULL ? malloc(LINE_LENGTH_MAX) : NULL;
    bool found = false;
    text[0] = '\0';
    while (line != NULL && !found && fgets(line, LINE_LENGTH_MAX, file) != NULL) {
        const char *value = value_of(line, key, separator);
        if (value == NULL) continue;
        zeb_text_copy(text, capacity, value);
        found = text[0] != '\0';
    }
    free(line);
    if (file != NULL) (void)fclose(file);
    return found;
}

static void walk_groups(const char *root, const char *controllers, char *group, zeb_host_group_fn visit, void *user) {
    bool v2 = controllers[0] == '\0';
    for (;;) {
        char folder[1280];
        if (strcmp(group, "/") == 0) group[0] = '\0';
        (void)snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s%s", v2 ? "" : "/", controllers, group);
        visit(root, folder, v2, user);
        char *slash = strrchr(group, '/');
        if (slash == NULL) return;
        *slash = '\0';
    }
}

void zeb_host_groups(const char *root, zeb_host_group_fn visit, void *user) {
    FILE *file = zeb_host_open(root, "/proc/self/cgroup");
    char line[1024];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) continue;
        controllers++;
        *group++ = '\0';
        bool v2 = controllers[0] == '\0';
        bool cpu = strcmp(controllers, "cpu") == 0 || strcmp(controllers, "cpu,cpuacct") == 0 ||
                   strcmp(controllers, "cpuacct,cpu") == 0;
        if (v2 || cpu) walk_groups(root, controllers, group, visit, user);
    }
    if (file != NULL) (void)fclose(file);
}

/* "123 kB" -> bytes. */
bool zeb_host_kilobytes(const char *text, uint64_t *bytes) {
    char digits[32];
    zeb_text_copy(digits, sizeof digits, text);
    digits[strcspn(digits, " \t")] = '\0';
    uint64_t kib = 0;
    if (strstr(text, "kB") == NULL || !zeb_text_to_u64(digits, &kib) || kib > UINT64_MAX / 1024u) return false;
    *bytes = kib * 1024u;
    return true;
}

/* ---- lists of processors: "0-3,8,10-11" ---- */

static bool take_number(const char **text, uint32_t *number) {
    uint32_t value = 0;
    size_t digits = 0;
    for (; (*text)[digits] >= '0' && (*text)[digits] <= '9'; digits++) {
        if (value >= ZEB_HOST_CPUS_MAX) return false;
        value = value * 10 + (uint32_t)((*text)[digits] - '0');
    }
    *text += digits;
    *number = value;
    return digits > 0 && value < ZEB_HOST_CPUS_MAX;
}

bool zeb_host_cpus_parse(const char *text, zeb_host_cpus *set) {
    memset(set, 0, sizeof *set);
    while (*text != '\0') {
        uint32_t first = 0, last = 0;
        if (!take_number(&text, &first)) return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!take_number(&text, &last) || last < first) return false;
        }
        for (uint32_t cpu = first; cpu <= last; cpu++) {
            uint64_t bit = UINT64_C(1) << (cpu % 64);
            set->count += (set->word[cpu / 64] & bit) == 0;
            set->word[cpu / 64] |= bit;
        }
        if (*text == ',') text++;
    }
    return set->count > 0;
}

bool zeb_host_cpus_has(const zeb_host_cpus *set, uint32_t cpu) {
    return (set->word[cpu / 64] >> (cpu % 64) & 1u) != 0;
}

bool zeb_host_cpus_online(const char *root, zeb_host_cpus *set) {
    char text[256];
    return zeb_host_line(zeb_host_open(root, "/sys/devices/system/cpu/online"), text, sizeof text) &&
           zeb_host_cpus_parse(text, set);
}

/* The processors that this process may use and that are on. */
bool zeb_host_cpus_allowed(const char *root, zeb_host_cpus *set, char *list, size_t capacity) {
    zeb_host_cpus online;
    if (!zeb_host_value(zeb_host_open(root, "/proc/self/status"), "Cpus_allowed_list", ':', list, capacity) ||
        !zeb_host_cpus_parse(list, set)) {
        memset(list, 0, capacity);
        return false;
    }
    if (!zeb_host_cpus_online(root, &online)) return true;
    set->count = 0;
    for (uint32_t cpu = 0; cpu < ZEB_HOST_CPUS_MAX; cpu++) {
        if (!zeb_host_cpus_has(&online, cpu)) set->word[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
        set->count += zeb_host_cpus_has(set, cpu);
    }
    return set->count > 0;
}
