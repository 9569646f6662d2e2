/* plugins/load.h - one shared object into this process: ELF check, dlopen, entry symbol, verify. */
#ifndef ZEB_PLUGINS_LOAD_H
#define ZEB_PLUGINS_LOAD_H

#include "zeb/plugin.h"

/* Loads path with RTLD_NOW|RTLD_LOCAL and never unloads it. *plugin is set only if everything about it is in order.
 * Errors are whole sentences that name the path; the loader's own text is part of them. */
ZEB_MUST_CHECK zeb_status zeb_plugin_load(const char *path, const char *name, const zeb_plugin **plugin,
                                          zeb_error *error);

#endif
