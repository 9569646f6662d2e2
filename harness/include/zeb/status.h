/* zeb/status.h - how every zeb function says that it failed.
 *
 * A function returns a zeb_status that the caller must look at; results go through the last pointers. Where a person
 * will want to know more, the function also takes a zeb_error and writes one sentence into it: what is wrong, with
 * which file, row, tensor or node, and the way out. The header needs no library, so plugins use it as it is. */
#ifndef ZEB_STATUS_H
#define ZEB_STATUS_H

#include <stdarg.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ZEB_MUST_CHECK __attribute__((warn_unused_result))
#define ZEB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ZEB_MUST_CHECK
#define ZEB_PRINTF(fmt, args)
#endif

/* Values are part of the plugin ABI: append only. */
typedef enum zeb_status {
    ZEB_OK = 0,
    ZEB_ERR_ARGUMENT = 1,    /* the caller passed something that no call could serve */
    ZEB_ERR_MEMORY = 2,      /* an allocation failed, on the host or on a device */
    ZEB_ERR_IO = 3,          /* the operating system refused: missing file, full disk, permission */
    ZEB_ERR_FORMAT = 4,      /* a file or message does not hold what its format promises */
    ZEB_ERR_UNSUPPORTED = 5, /* well formed, but this component does not do it */
    ZEB_ERR_NOT_FOUND = 6,   /* a name that nothing answers to */
    ZEB_ERR_DEVICE = 7,      /* a driver or device reported a fault */
    ZEB_ERR_TIMEOUT = 8,     /* a bound on time was reached */
    ZEB_ERR_INTERRUPTED = 9, /* the user asked to stop */
    ZEB_ERR_RANGE = 10,      /* a value outside what was declared: more rows than the plan's maximum, an id >= vocab */
    ZEB_ERR_VERSION = 11,    /* a file, database or plugin from another version */
    ZEB_ERR_INTERNAL = 12    /* a broken invariant of zeb itself: please report */
} zeb_status;

enum { ZEB_ERROR_TEXT_MAX = 512 };

/* One sentence for a person. Owned by the caller; no heap. A zeroed zeb_error is an empty one. */
typedef struct zeb_error {
    char text[ZEB_ERROR_TEXT_MAX];
} zeb_error;

/* Writes the sentence into *error (which may be NULL) and hands status back, so that a function can end with
 * `return zeb_fail(error, ZEB_ERR_FORMAT, "%s: ...", path);`. Text that does not fit is cut, never overrun. */
ZEB_PRINTF(3, 4)
static inline zeb_status zeb_fail(zeb_error *error, zeb_status status, const char *format, ...) {
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return status;
}

/* A short fixed name ("ok", "format", ...), never NULL. */
static inline const char *zeb_status_name(zeb_status status) {
    switch (status) {
        case ZEB_OK: return "ok";
        case ZEB_ERR_ARGUMENT: return "argument";
        case ZEB_ERR_MEMORY: return "memory";
        case ZEB_ERR_IO: return "io";
        case ZEB_ERR_FORMAT: return "format";
        case ZEB_ERR_UNSUPPORTED: return "unsupported";
        case ZEB_ERR_NOT_FOUND: return "not-found";
        case ZEB_ERR_DEVICE: return "device";
        case ZEB_ERR_TIMEOUT: return "timeout";
        case ZEB_ERR_INTERRUPTED: return "interrupted";
        case ZEB_ERR_RANGE: return "range";
        case ZEB_ERR_VERSION: return "version";
        case ZEB_ERR_INTERNAL: return "internal";
    }
    return "unknown";
}

#ifdef __cplusplus
}
#endif

#endif
