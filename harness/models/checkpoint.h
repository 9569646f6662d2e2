/* models/checkpoint.h - the weights of a folder: model.safetensors, or the shards that model.safetensors.index.json
 * names. */
#ifndef ZEB_MODELS_CHECKPOINT_H
#define ZEB_MODELS_CHECKPOINT_H

#include "base/arena.h"
#include "models/safetensors.h"

typedef struct zeb_checkpoint zeb_checkpoint;

/* Opens every file of the checkpoint. Errors name the folder, file or tensor. */
ZEB_MUST_CHECK zeb_status zeb_checkpoint_open(const char *folder, zeb_checkpoint **checkpoint, zeb_error *error);
void zeb_checkpoint_close(zeb_checkpoint *checkpoint); /* takes NULL */

const zeb_stored_tensor *zeb_checkpoint_find(const zeb_checkpoint *checkpoint, const char *name);

/* In the order of their paths. */
size_t zeb_checkpoint_files(const zeb_checkpoint *checkpoint);
const zeb_safetensors *zeb_checkpoint_file(const zeb_checkpoint *checkpoint, size_t index);
/* The file to name in messages: the only one, or the index. */
const char *zeb_checkpoint_path(const zeb_checkpoint *checkpoint);

#endif
