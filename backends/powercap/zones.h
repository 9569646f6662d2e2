/* powercap/zones.h - finds the RAPL zones of Linux powercap and says how they relate.
 *
 * Interface: Documentation/power/powercap/powercap.rst of the kernel, and `<root>/sys/class/powercap/<zone>/` as the
 * drivers intel_rapl_msr, intel_rapl_tpmi (both "intel-rapl") and intel_rapl_mmio fill it (AMD uses the first). A zone
 * is known by its `name` file and by the zone that its folder's name puts it under ("intel-rapl:1:0" is inside
 * "intel-rapl:1"); the numbers themselves mean nothing. */
#ifndef ZEB_POWERCAP_ZONES_H
#define ZEB_POWERCAP_ZONES_H

#include "zeb/plugin.h"

enum { ZONE_FOLDER_MAX = 64, ZONE_PATH_MAX = 1024, ZONES_MAX = 256 };

typedef enum zone_domain { ZONE_PACKAGE, ZONE_CORE, ZONE_UNCORE, ZONE_DRAM, ZONE_PSYS, ZONE_OTHER } zone_domain;

typedef struct zone {
    char folder[ZONE_FOLDER_MAX]; /* "intel-rapl:0:1" */
    char name[ZEB_NAME_MAX];      /* what the `name` file says: "package-0", "dram" */
    char owner[ZONE_FOLDER_MAX];  /* folder of the zone above, "" for a top one */
    zone_domain domain;
    int32_t mmio;             /* 1: read through the memory-mapped registers */
    int32_t package;          /* number of the package that it belongs to; -1: none (psys) */
    int32_t die;              /* number of the die; -1: the package is not split */
    int32_t fd;               /* energy_uj, open for reading; -1: unreadable */
    int32_t fault;            /* errno of that open */
    uint64_t energy_uj;       /* value when it was opened; meaningful when has_energy */
    uint64_t energy_again_uj; /* and once more, after all other zones had been read */
    int32_t has_energy;
    int32_t reserved;
    zeb_channel channel;
} zone;

/* Fills zone[capacity] with every RAPL zone of the tree, in an order that depends on names alone (package, die, then
 * package, core, uncore, dram; the memory-mapped views after; psys last), with energy_uj open and channel filled in.
 * The caller closes with zones_close. ZEB_ERR_NOT_FOUND: no zone; ZEB_ERR_IO: none of them may be read. */
ZEB_MUST_CHECK zeb_status zones_open(const char *root, zone *zones, size_t capacity, size_t *count, zeb_error *error);
void zones_close(zone *zones, size_t count);

/* Reads the decimal counter at the start of an open file without moving its position; 0 when there is none. */
int zones_read_counter(int32_t fd, uint64_t *value);

#endif
