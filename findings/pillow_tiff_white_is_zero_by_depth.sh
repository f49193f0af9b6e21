#!/usr/bin/env bash
# Pillow 13.0.0, NumPy 2.4.6, Python 3.11, x86-64.
#
# A grey TIFF says in its tag PhotometricInterpretation (262) whether the value 0 is black (1) or
# white (0). Pillow gives a picture of 8 bits or fewer with black as 0 whatever the tag says: it
# inverts where 0 is white. A picture of 16 bits with the same tag, which it opens as well, comes
# as it is stored: the same scan is right in 8 bits and a negative in 16, without a warning. The
# tag stays readable (`image.tag_v2[262]`), so a reader has to invert 16-bit pictures, and only
# these.
#
# Expected (one picture, black, a third, two thirds, white, stored with 0 as white):
#   8 bits: mode L, read as 0 85 170 255
#   16 bits: mode I;16, read as 65535 43690 21845 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys

import numpy as np
from PIL import Image

WHITE_IS_ZERO = 0


def tiff(stored):
    """A little-endian TIFF of one row of unsigned grey values, in one uncompressed strip."""
    values = stored.tobytes()
    tags = {
        256: stored.size,
        257: 1,
        258: 8 * stored.itemsize,
        259: 1,
        262: WHITE_IS_ZERO,
        273: 8,
        277: 1,
        278: 1,
        279: len(values),
    }
    directory = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(values)) + values + directory + bytes(4)


def read(dtype):
    white = np.iinfo(dtype).max
    grey = np.array([0, white // 3, white // 3 * 2, white], dtype)
    image = Image.open(io.BytesIO(tiff(white - grey)))
    return image.mode, image.tag_v2[262], grey.tolist(), np.asarray(image)[0].tolist()


changed = False
for bits, dtype, is_inverted in ((8, np.uint8, True), (16, np.uint16, False)):
    mode, tag, grey, seen = read(dtype)
    print(f"{bits} bits: mode {mode}, read as", *seen)
    expected = grey if is_inverted else grey[::-1]
    changed |= seen != expected or tag != WHITE_IS_ZERO
sys.exit("the behaviour has changed" if changed else 0)
PYTHON
