"""Why a model answers as it does: attributions to pixels, columns, frames and tokens, one small file each."""
