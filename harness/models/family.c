/* The table of families: a new one is a new file and a line here. */
#include <string.h>

#include "models/model_internal.h"

static const zeb_family *const family_table[] = {&zeb_family_bert};

const zeb_family *zeb_family_find(const char *model_type) {
    for (size_t i = 0; i < sizeof family_table / sizeof family_table[0]; i++) {
        if (strcmp(family_table[i]->model_type, model_type) == 0) return family_table[i];
    }
    return NULL;
}

void zeb_family_names(char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof family_table / sizeof family_table[0] && used < capacity; i++) {
        int wrote = snprintf(text + used, capacity - used, "%s%s", i > 0 ? ", " : "", family_table[i]->model_type);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}
