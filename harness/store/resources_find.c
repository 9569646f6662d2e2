#include <string.h>

#include "store/resources.h"

const zeb_resource *zeb_template_find(const char *name) {
    for (size_t i = 0; i < zeb_template_count; i++) {
        if (strcmp(zeb_template[i].name, name) == 0) return &zeb_template[i];
    }
    return NULL;
}
