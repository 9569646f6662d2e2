#include "zones.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The registers are refreshed about every millisecond (Intel SDM vol. 3B, "RAPL Interfaces"; AMD PPR likewise). */
static const uint64_t update_ns = 1000000u;
/* A RAPL window shorter than this is refused: measured overhead and skew of reading stay well below a per cent. */
static const uint64_t window_ns = 1000000000u;
static const char class_folder[] = "sys/class/powercap";
/* Two dies that report one meter read the same up to what is drawn between the reads. Far enough from a cold start,
 * where two honest counters may still stand close together by chance. */
static const uint64_t mirror_slack_uj = 500000u;
static const uint64_t mirror_least_uj = 1000000000u;

static int join(char *path, size_t capacity, const char *root, const char *folder, const char *file) {
    int length = snprintf(path, capacity, "%s%s%s%s%s%s%s", root, "/", class_folder, folder[0] != '\0' ? "/" : "",
                          folder, file[0] != '\0' ? "/" : "", file);
    return length > 0 && (size_t)length < capacity;
}

/* First line of a small file, without its end. 0 when there is none; errno says why. */
static int read_line(const char *path, char *text, size_t capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, text, capacity - 1);
    int fault = errno;
    (void)close(fd);
    if (got < 0) {
        errno = fault;
        return 0;
    }
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    errno = 0;
    return text[0] != '\0';
}

/* A whole decimal number and nothing else but the end of its line. */
static int parse_counter(const char *text, uint64_t *value) {
    uint64_t sum = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++) {
        uint64_t digit = (uint64_t)(text[digits] - '0');
        if (sum > (UINT64_MAX - digit) / 10u) return 0;
        sum = sum * 10u + digit;
    }
    if (digits == 0 || (text[digits] != '\0' && text[digits] != '\n')) return 0;
    *value = sum;
    return 1;
}

int zones_read_counter(int32_t fd, uint64_t *value) {
    char text[32];
    if (fd < 0) return 0;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0) return 0;
    text[got] = '\0';
    return parse_counter(text, value);
}

static int read_number(const char *root, const zone *z, const char *file, uint64_t *value) {
    char path[ZONE_PATH_MAX], text[64];
    return join(path, sizeof path, root, z->folder, file) && read_line(path, text, sizeof text) &&
           parse_counter(text, value);
}

/* ---- what a name says ---- */

static int32_t number_after(const char *text, const char *prefix) {
    const char *found = strstr(text, prefix);
    if (found == NULL) return -1;
    found += strlen(prefix);
    int32_t number = 0;
    size_t digits = 0;
    for (; digits < 6 && found[digits] >= '0' && found[digits] <= '9'; digits++) {
        number = number * 10 + (found[digits] - '0');
    }
    return digits == 0 ? -1 : number;
}

static int begins(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static zone_domain domain_of(const char *name) {
    if (begins(name, "package")) return ZONE_PACKAGE;
    if (begins(name, "core")) return ZONE_CORE;
    if (begins(name, "uncore")) return ZONE_UNCORE;
    if (begins(name, "dram")) return ZONE_DRAM;
    if (begins(name, "psys")) return ZONE_PSYS;
    return ZONE_OTHER;
}

static const char *domain_name(const zone *z) {
    switch (z->domain) {
        case ZONE_PACKAGE: return "package";
        case ZONE_CORE: return "core";
        case ZONE_UNCORE: return "uncore";
        case ZONE_DRAM: return "dram";
        case ZONE_PSYS: return "psys";
        case ZONE_OTHER: break;
    }
    return z->name;
}

/* "intel-rapl:0" and below; the control type itself ("intel-rapl") has no colon and is no zone. */
static int is_zone(const char *folder) {
    return (begins(folder, "intel-rapl:") || begins(folder, "intel-rapl-mmio:")) && strlen(folder) < ZONE_FOLDER_MAX;
}

static void set_owner(zone *z) {
    const char *first = strchr(z->folder, ':');
    const char *last = strrchr(z->folder, ':');
    z->owner[0] = '\0';
    if (first == NULL || last == first) return;
    memcpy(z->owner, z->folder, (size_t)(last - z->folder));
    z->owner[last - z->folder] = '\0';
}

/* ---- collecting ---- */

static zeb_status read_name(const char *root, zone *z, zeb_error *error) {
    char path[ZONE_PATH_MAX];
    if (!join(path, sizeof path, root, z->folder, "name")) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "powercap: the root folder's name is too long");
    }
    if (read_line(path, z->name, sizeof z->name)) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_IO,
                    "%s: %s; container engines hide /sys/devices/virtual/powercap: give the container that folder, or "
                    "measure on the host",
                    path, errno != 0 ? strerror(errno) : "empty");
}

/* Names of all zones of the class folder. */
static zeb_status list_zones(const char *root, zone *zones, size_t capacity, size_t *count, zeb_error *error) {
    char path[ZONE_PATH_MAX];
    *count = 0;
    if (!join(path, sizeof path, root, "", "")) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "powercap: the root folder's name is too long");
    }
    DIR *folder = opendir(path);
    if (folder == NULL) {
        zeb_status status = errno == EACCES || errno == EPERM ? ZEB_ERR_IO : ZEB_ERR_NOT_FOUND;
        return zeb_fail(error, status,
                        "%s: %s; no RAPL here (a virtual machine, or the module intel_rapl_msr is not "
                        "loaded)",
                        path, strerror(errno));
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!is_zone(entry->d_name) || *count == capacity) continue;
        zone *z = &zones[(*count)++];
        memset(z, 0, sizeof *z);
        memcpy(z->folder, entry->d_name, strlen(entry->d_name) + 1);
        z->mmio = begins(entry->d_name, "intel-rapl-mmio:");
        z->fd = -1;
        z->package = -1;
        z->die = -1;
        set_owner(z);
    }
    (void)closedir(folder);
    if (*count > 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_NOT_FOUND,
                    "%s: no zone intel-rapl:*; no RAPL here (a virtual machine, or the module "
                    "intel_rapl_msr is not loaded)",
                    path);
}

static const zone *find_folder(const zone *zones, size_t count, const char *folder) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(zones[i].folder, folder) == 0) return &zones[i];
    }
    return NULL;
}

/* The package and die of a zone: its own if it is a package, else those of the package above. */
static void place_zone(zone *zones, size_t count, zone *z) {
    z->domain = domain_of(z->name);
    const char *name = z->name;
    if (z->domain != ZONE_PACKAGE && z->domain != ZONE_PSYS) {
        const zone *above = find_folder(zones, count, z->owner);
        name = above != NULL ? above->name : "";
    }
    z->package = z->domain == ZONE_PSYS ? number_after(name, "psys-") : number_after(name, "package-");
    z->die = number_after(name, "-die-");
}

static int compare_zones(const void *left, const void *right) {
    const zone *a = left;
    const zone *b = right;
    int32_t ka[] = {a->domain == ZONE_PSYS, a->package, a->die, a->mmio, (int32_t)a->domain};
    int32_t kb[] = {b->domain == ZONE_PSYS, b->package, b->die, b->mmio, (int32_t)b->domain};
    for (size_t i = 0; i < sizeof ka / sizeof ka[0]; i++) {
        if (ka[i] != kb[i]) return ka[i] < kb[i] ? -1 : 1;
    }
    int names = strcmp(a->name, b->name);
    return names != 0 ? names : strcmp(a->folder, b->folder);
}

/* ---- channels ---- */

/* The most that the zone may draw for long: the larger of its long-term limit and its design power. Limits of
 * shorter spans count by half, so that twice the result (the harness's bound of belief) is never below what the
 * firmware itself allows for some seconds. */
static uint64_t most_power_uw(const char *root, const zone *z) {
    uint64_t most = 0;
    for (int i = 0; i < 4; i++) {
        char file[48], path[ZONE_PATH_MAX], name[32];
        (void)snprintf(file, sizeof file, "constraint_%d_name", i);
        if (!join(path, sizeof path, root, z->folder, file) || !read_line(path, name, sizeof name)) continue;
        int lasting = strcmp(name, "long_term") == 0;
        uint64_t power = 0;
        (void)snprintf(file, sizeof file, "constraint_%d_power_limit_uw", i);
        if (read_number(root, z, file, &power)) power = lasting ? power : power / 2u;
        if (power > most) most = power;
        (void)snprintf(file, sizeof file, "constraint_%d_max_power_uw", i);
        if (lasting && read_number(root, z, file, &power) && power > most) most = power;
    }
    return most;
}

static void describe(const char *root, zone *z) {
    zeb_channel *c = &z->channel;
    char die[16] = "", package[16] = "";
    if (z->die >= 0) (void)snprintf(die, sizeof die, "-die-%" PRId32, z->die);
    if (z->package >= 0) (void)snprintf(package, sizeof package, "-%" PRId32, z->package);
    (void)snprintf(c->name, sizeof c->name, "%.24s%s%s%s", domain_name(z), package, die, z->mmio ? "-mmio" : "");
    (void)snprintf(c->domain, sizeof c->domain, "%s", domain_name(z));
    c->kind = ZEB_CHANNEL_ENERGY_COUNTER;
    c->parent = ZEB_NONE;
    c->mirror = ZEB_NONE;
    c->unit_uj = 1.0;
    c->update_ns = update_ns;
    c->window_min_ns = window_ns;
    c->max_power_uw = most_power_uw(root, z);
    if (!read_number(root, z, "max_energy_range_uj", &c->range) || c->range == 0) c->range = ZEB_RANGE_UNKNOWN;
}

static void open_counter(const char *root, zone *z) {
    char path[ZONE_PATH_MAX];
    if (!join(path, sizeof path, root, z->folder, "energy_uj")) return;
    z->fd = open(path, O_RDONLY | O_CLOEXEC);
    z->fault = z->fd < 0 ? errno : 0;
    z->has_energy = zones_read_counter(z->fd, &z->energy_uj);
}

/* Names must tell channels apart even where a tree repeats one. */
static void number_repeats(zone *zones, size_t count) {
    for (size_t i = 1; i < count; i++) {
        unsigned same = 0;
        for (size_t k = 0; k < i; k++) {
            same += strcmp(zones[i].channel.name, zones[k].channel.name) == 0;
        }
        if (same == 0) continue;
        char name[ZEB_NAME_MAX];
        (void)snprintf(name, sizeof name, "%.40s.%u", zones[i].channel.name, same + 1u);
        memcpy(zones[i].channel.name, name, sizeof name);
    }
}

/* ---- relations ---- */

/* Core and uncore are inside their package. Memory is not, and psys is another meter altogether: it has no relation,
 * and the harness keeps the domain "psys" out of sums that have a package. */
static void relate_parent(zone *zones, size_t count, zone *z) {
    if (z->domain != ZONE_CORE && z->domain != ZONE_UNCORE && z->domain != ZONE_OTHER) return;
    const zone *above = find_folder(zones, count, z->owner);
    if (above != NULL) z->channel.parent = (int32_t)(above - zones);
}

/* The memory-mapped registers and the MSRs are two views of one meter. A view that can be read is never the mirror of
 * one that can't. */
static int same_meter(const zone *a, const zone *b) {
    return a->domain == b->domain && a->package == b->package && a->die == b->die && a->mmio != b->mmio &&
           (a->domain != ZONE_OTHER || strcmp(a->name, b->name) == 0);
}

/* Dies of one package that all report the package's meter (AMD Zen 1 and 2): the second die's value, read between two
 * reads of the first, lies between them. */
static int same_die_meter(const zone *a, const zone *b) {
    if (a->domain != ZONE_PACKAGE || b->domain != ZONE_PACKAGE || a->mmio != b->mmio) return 0;
    if (a->package != b->package || a->die < 0 || b->die < 0 || a->die == b->die) return 0;
    if (!a->has_energy || !b->has_energy || a->energy_uj < mirror_least_uj) return 0;
    return b->energy_uj + mirror_slack_uj >= a->energy_uj && b->energy_uj <= a->energy_again_uj + mirror_slack_uj;
}

static void relate_mirrors(zone *zones, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count && zones[i].channel.mirror == ZEB_NONE; k++) {
            const zone *first = &zones[k];
            if (first->channel.mirror != ZEB_NONE || k == i) continue;
            int view = same_meter(&zones[i], first) &&
                       (first->has_energy != zones[i].has_energy ? first->has_energy : first->mmio < zones[i].mmio);
            if (view || (k < i && same_die_meter(first, &zones[i]))) zones[i].channel.mirror = (int32_t)k;
        }
    }
}

static zeb_status refuse_unreadable(const char *root, const zone *z, zeb_error *error) {
    char path[ZONE_PATH_MAX];
    if (!join(path, sizeof path, root, z->folder, "energy_uj")) path[0] = '\0';
    if (z->fault == EACCES || z->fault == EPERM) {
        return zeb_fail(
            error, ZEB_ERR_IO,
            "%.160s: %s; let a group read it (chgrp GROUP and chmod g+r on each zone's energy_uj, kept by a "
            "udev or tmpfiles.d rule), or give zeb the capability CAP_DAC_READ_SEARCH, or run it as root",
            path, strerror(z->fault));
    }
    return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, z->fault != 0 ? strerror(z->fault) : "holds no number");
}

zeb_status zones_open(const char *root, zone *zones, size_t capacity, size_t *count, zeb_error *error) {
    zeb_status status = list_zones(root, zones, capacity, count, error);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < *count; i++) {
        status = read_name(root, &zones[i], error);
        if (status != ZEB_OK) return status;
    }
    for (size_t i = 0; i < *count; i++) {
        place_zone(zones, *count, &zones[i]);
    }
    qsort(zones, *count, sizeof *zones, compare_zones);
    size_t readable = 0;
    for (size_t i = 0; i < *count; i++) {
        describe(root, &zones[i]);
        open_counter(root, &zones[i]);
        readable += zones[i].has_energy ? 1 : 0;
    }
    if (readable == 0) {
        status = refuse_unreadable(root, &zones[0], error);
        zones_close(zones, *count);
        return status;
    }
    for (size_t i = 0; i < *count; i++) {
        if (!zones_read_counter(zones[i].fd, &zones[i].energy_again_uj)) zones[i].has_energy = 0;
        relate_parent(zones, *count, &zones[i]);
    }
    number_repeats(zones, *count);
    relate_mirrors(zones, *count);
    return ZEB_OK;
}

void zones_close(zone *zones, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (zones[i].fd >= 0) (void)close(zones[i].fd);
        zones[i].fd = -1;
    }
}
