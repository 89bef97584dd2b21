"""stand-in"""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
import numpy as np
from ncl_lightning.errors import InputError
from ncl_lightning.images import IMAGE_SUFFIXES, read_pair
@dataclass(frozen=True)
class Picture:
    image: np.ndarray
    mask: np.ndarray
    authentic: bool
    name: str
class Source(Protocol):
    def __len__(self) -> int: ...
    def read(self, index: int, epoch: int = 0) -> Picture: ...
SourceSpec = str | dict[str, Any]
def find_images(f): return sorted(p for p in Path(f).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
class FileSource:
    def __init__(s, pairs, name="", root=None): s.pairs=pairs
    def __len__(s): return len(s.pairs)
    def read(s,i,epoch=0):
        a,b=s.pairs[i]; im,m=read_pair(a,b); return Picture(im,m,b is None,str(a))
def open_source(spec,size=256,seed=0):
    if isinstance(spec,dict):
        from lightning.pytorch.cli import instantiate_class
        return instantiate_class((),spec)
    if spec.startswith("synthetic:"):
        from ncl_lightning.synthetic import SyntheticSource
        r=spec[10:]
        return SyntheticSource(int(r),size=size,seed=seed) if r.isdigit() else SyntheticSource(len(find_images(r)),photos=find_images(r),size=size,seed=seed)
    f=Path(spec)
    if not f.exists(): raise InputError(f"{f}: missing; give")
    if f.suffix==".csv":
        import csv
        return FileSource([(f.parent/r["image"],f.parent/r["mask"] if r["mask"] else None) for r in csv.DictReader(f.open())])
    g={p.stem:p for p in find_images(f/"Gt")}
    for p in find_images(f/"Tp"):
        if p.stem not in g: raise InputError(f"{p}: no mask; add")
    return FileSource([(p,g[p.stem]) for p in find_images(f/"Tp")]+[(p,None) for p in find_images(f/"Au")])
