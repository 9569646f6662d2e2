/* plugins/verify.h - is this table one that the harness can use? Answers in words that say what to do. */
#ifndef ZEB_PLUGINS_VERIFY_H
#define ZEB_PLUGINS_VERIFY_H

#include "zeb/plugin.h"

/* Reads magic, ABI and struct_size before anything else of the table (which may be NULL), then that the name is the
 * expected one and every required function is there. ZEB_ERR_FORMAT or ZEB_ERR_VERSION with the sentence. */
ZEB_MUST_CHECK zeb_status zeb_plugin_verify(const zeb_plugin *plugin, const char *name, zeb_error *error);

/* True for [a-z0-9-]+ that fits ZEB_NAME_MAX. */
bool zeb_plugin_name_valid(const char *name);

#endif
