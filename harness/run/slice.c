#include "run/slice.h"

#include <stdlib.h>
#include <string.h>

static const char salt[] = "zeb-calib-1"; /* its NUL is hashed too */

zeb_status zeb_slice_has(const zeb_example *example, double share, bool *has, zeb_error *error) {
    bool grouped = example->group >= 0;
    size_t second = grouped ? 0 : 1 + example->b_len;
    size_t size = sizeof salt + example->a_len + second;
    char *text = malloc(size);
    if (text == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the text of an example");
    memcpy(text, salt, sizeof salt);
    memcpy(text + sizeof salt, example->a, example->a_len);
    if (!grouped) text[sizeof salt + example->a_len] = '\t';
    if (!grouped && example->b_len > 0) memcpy(text + sizeof salt + example->a_len + 1, example->b, example->b_len);
    char hex[ZEB_SHA256_HEX];
    zeb_sha256(text, size, hex);
    free(text);
    hex[8] = '\0'; /* four bytes, most significant first */
    *has = strtoull(hex, NULL, 16) < (unsigned long long)(share * 4294967296.0);
    return ZEB_OK;
}

zeb_status zeb_slice_check(const char *split, zeb_error *error) {
    if (strncmp(split, "train", 5) == 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_ARGUMENT,
                    "--split %s: thresholds are fitted on train alone; a model that has seen the rows it is scored on "
                    "would look better than it is",
                    split);
}
