"""stand-in"""
import os
import numpy as np
from pathlib import Path
from PIL import Image, ImageOps
from ncl_lightning.errors import InputError
IMAGE_SUFFIXES=frozenset(".jpg .jpeg .png .tif .tiff .bmp .webp .gif".split())
def read_image(path):
    try:
        return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    except Exception as e: raise InputError(f"{path}: {e}") from e
def read_pair(i,m):
    x=read_image(i)
    return x, (np.zeros(x.shape[:2],bool) if m is None else read_image(m)[...,0]>127)
def write_image(path,a):
    path=Path(path); path.parent.mkdir(parents=True,exist_ok=True); Image.fromarray(a).save(path)
