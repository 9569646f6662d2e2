/* plugins/scan.h - the files zeb_<name>.so of a list of folders. */
#ifndef ZEB_PLUGINS_SCAN_H
#define ZEB_PLUGINS_SCAN_H

#include "base/arena.h"
#include "base/log.h"

typedef struct zeb_plugin_file {
    const char *name;
    const char *path;
} zeb_plugin_file;

/* file[count] in the arena, sorted by name, one a name: the first folder that has it wins. A folder that is not
 * there or may not be read is a warning in the log. */
ZEB_MUST_CHECK zeb_status zeb_plugin_scan(const char *const *folders, size_t folder_count, const zeb_log *log,
                                          zeb_arena *arena, zeb_plugin_file **file, size_t *count, zeb_error *error);

#endif
