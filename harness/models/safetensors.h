/* models/safetensors.h - the safetensors container, memory-mapped and checked before anything is believed.
 *
 * Layout (github.com/huggingface/safetensors, "Format"): 8 bytes little-endian N, N bytes of JSON
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}, then the tensors' bytes,
 * row major, little-endian, without holes or overlaps. After a successful open every tensor lies inside the file, is as
 * large as its shape says and shares no byte with another. */
#ifndef ZEB_MODELS_SAFETENSORS_H
#define ZEB_MODELS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

typedef struct zeb_safetensors zeb_safetensors;

/* Element types of the format that have a whole number of bytes. */
typedef enum zeb_stored_dtype {
    ZEB_STORED_BOOL,
    ZEB_STORED_U8,
    ZEB_STORED_I8,
    ZEB_STORED_F8_E5M2,
    ZEB_STORED_F8_E4M3,
    ZEB_STORED_I16,
    ZEB_STORED_U16,
    ZEB_STORED_F16,
    ZEB_STORED_BF16,
    ZEB_STORED_I32,
    ZEB_STORED_U32,
    ZEB_STORED_F32,
    ZEB_STORED_F64,
    ZEB_STORED_I64,
    ZEB_STORED_U64
} zeb_stored_dtype;

enum { ZEB_STORED_RANK_MAX = 8 };

/* A tensor of an open file; pointers live as long as the file. data may be misaligned for its type: the format does not
 * promise more than a byte. */
typedef struct zeb_stored_tensor {
    const char *name;
    zeb_stored_dtype dtype;
    uint32_t rank;
    int64_t extent[ZEB_STORED_RANK_MAX];
    int64_t count; /* elements */
    const unsigned char *data;
    size_t bytes;
} zeb_stored_tensor;

/* Opens and checks a file. Errors name the file and the tensor: ZEB_ERR_IO, ZEB_ERR_FORMAT for whatever breaks the
 * format, ZEB_ERR_UNSUPPORTED for an element type or rank that zeb does not know. */
ZEB_MUST_CHECK zeb_status zeb_safetensors_open(const char *path, zeb_safetensors **file, zeb_error *error);
void zeb_safetensors_close(zeb_safetensors *file); /* takes NULL */

/* Tensors in the order of their bytes in the file. */
size_t zeb_safetensors_count(const zeb_safetensors *file);
const zeb_stored_tensor *zeb_safetensors_at(const zeb_safetensors *file, size_t index);
/* By name; NULL when there is none. */
const zeb_stored_tensor *zeb_safetensors_find(const zeb_safetensors *file, const char *name);

/* A value of __metadata__, or NULL. */
const char *zeb_safetensors_metadata(const zeb_safetensors *file, const char *key);

/* Lets go of the mapped pages that were read so far; they are read again where needed. */
void zeb_safetensors_forget(const zeb_safetensors *file);

const char *zeb_safetensors_path(const zeb_safetensors *file);
size_t zeb_safetensors_bytes(const zeb_safetensors *file); /* of the whole file */

/* "F32", as files spell it; never NULL. */
const char *zeb_stored_dtype_name(zeb_stored_dtype dtype);
size_t zeb_stored_dtype_bytes(zeb_stored_dtype dtype);

/* Writes "[30522,128]" into text[capacity], cut if need be, and gives text back. */
const char *zeb_stored_shape(const zeb_stored_tensor *tensor, char *text, size_t capacity);

#endif
