"""Objects of the user's own classes, by an import path and plain arguments."""

import inspect
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from ncl_lightning.errors import InputError

_GIVE = "give class_path (module.Class) and, where needed, init_args"
_KEYS = ("class_path", "init_args")


def arguments_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name in `{class_path, init_args}`.

    They may stand beside the path, and win over those in `init_args`: so jsonargparse hands on
    `--model.loss.init_args.w 2`.
    """
    beside = {name: value for name, value in spec.items() if name not in _KEYS}
    return {**(spec.get("init_args") or {}), **beside}


def instantiate(spec: Mapping[str, Any], key: str, *first: Any, **offered: Any) -> Any:
    """An object made of `{class_path, init_args}`. What goes wrong within its class is not hidden.

    Args:
        spec: The import path of a class (or a function) and its arguments by name, see `arguments_of`.
        key: What errors are to name: the option that the object is for.
        first: What it is given by place.
        offered: Further arguments, of which it gets those that it takes by name and `spec` does not have.

    Raises:
        InputError: There is no such class, it takes no such arguments, or it refuses their values (ValueError).
    """
    path, given = spec.get("class_path"), spec.get("init_args") or {}
    if not isinstance(given, Mapping) or not isinstance(path, str) or "." not in path:
        raise InputError(f"{key}: {spec}: {_GIVE}")
    arguments = arguments_of(spec)
    try:
        made_by = resolve_name(path)
        taken = inspect.signature(made_by).parameters
        arguments = {name: value for name, value in offered.items() if name in taken} | arguments
        inspect.signature(made_by).bind(*first, **arguments)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{key}: {path}: {error}; is the module on the Python path?") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: {path}: {error}; {_GIVE}") from error
    try:
        return made_by(*first, **arguments)
    except ValueError as error:
        raise InputError(f"{key}: {path}: {error}; mend its init_args") from error


def left_unused(options: Mapping[str, Any], ours: Callable[..., Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Those of an object's options that are not its defaults: what is lost where another one takes its place.

    Args:
        options: By name.
        ours: What has the defaults.
        names: The options to look at.
    """
    defaults = inspect.signature(ours).parameters
    return {name: options[name] for name in names if options[name] != defaults[name].default}
