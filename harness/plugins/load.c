#include "plugins/load.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/verify.h"

/* The loader's own words for a file that is no shared object ("invalid ELF header") help nobody: look first. */
static zeb_status check_file(const char *path, zeb_error *error) {
    char head[4] = {0};
    struct stat about;
    zeb_status status = ZEB_OK;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = zeb_fail(error, ZEB_ERR_FORMAT, "%s: not a regular file", path);
        goto done;
    }
    ssize_t got = read(file, head, sizeof head);
    if (got == (ssize_t)sizeof head && memcmp(head, "\177ELF", 4) == 0) goto done;
    bool text = got > 0;
    for (ssize_t i = 0; i < got; i++)
        text = text && (isprint((unsigned char)head[i]) || isspace((unsigned char)head[i]));
    status = zeb_fail(error, ZEB_ERR_FORMAT, "%s: not a shared object but %s", path,
                      got <= 0 ? "an empty file"
                      : text   ? "a text file"
                               : "a file of another kind (no ELF header)");
done:
    (void)close(file);
    return status;
}

/* dlerror's sentences start with the path; ours do so already. */
static const char *loader_words(const char *path) {
    const char *text = dlerror();
    if (text == NULL) return "the loader gave no reason";
    size_t length = strlen(path);
    if (strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0) text += length + 2;
    return text;
}

zeb_status zeb_plugin_load(const char *path, const char *name, const zeb_plugin **plugin, zeb_error *error) {
    *plugin = NULL;
    zeb_status status = check_file(path, error);
    if (status != ZEB_OK) return status;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: cannot be loaded: %s", path, loader_words(path));
    void *symbol = dlsym(library, ZEB_PLUGIN_ENTRY_NAME);
    if (symbol == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "%s: exports no " ZEB_PLUGIN_ENTRY_NAME " (%s): it is not a zeb plugin, or its entry is not "
                        "marked ZEB_PLUGIN_EXPORT",
                        path, loader_words(path));
    zeb_plugin_entry_fn entry = NULL;
    memcpy(&entry, &symbol, sizeof entry); /* C has no cast from an object pointer to a function's */
    const zeb_plugin *table = entry();
    zeb_error why = {0};
    status = zeb_plugin_verify(table, name, &why);
    if (status != ZEB_OK) return zeb_fail(error, status, "%s: %s", path, why.text);
    *plugin = table;
    return ZEB_OK;
}
