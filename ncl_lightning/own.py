"""Classes of one's own, by an import path and plain arguments."""

from typing import Any

from lightning.pytorch.cli import instantiate_class

from ncl_lightning.errors import InputError


def instantiate(spec: dict[str, Any], key: str) -> Any:
    """An object of one's own from `{class_path, init_args}`.

    Raises:
        InputError: No such class, or its arguments are wrong.
    """
    try:
        return instantiate_class((), spec)
    except (ImportError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{key}: {spec.get('class_path', spec)} can't be made ({error}): "
            "give class_path (an import path) and init_args"
        ) from error
