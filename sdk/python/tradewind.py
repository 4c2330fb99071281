"""What every Python plugin needs around the contract in `wit/v1`: a class whose methods are the three exports, errors,
JSON and logging. It wraps nothing else. A plugin calls the contract's resources as they are, in snake case
(`record.to_json()`), so what a later host adds to them needs no change here.
"""

import gc
import json
import traceback

from componentize_py_types import Err
from wit_world.imports import log as _log
from wit_world.imports.types import Error


class PluginError(Exception):
    """An error of the plugin's own: raise it from `run` or `success`. `retryable` asks for another attempt later."""

    def __init__(self, code, message, details=None, retryable=False):
        """`code` is lower-case words joined by `-`; `message` is one sentence; `details` any value that JSON can carry."""
        super().__init__(message)
        self.error = Error(code, message, None if details is None else dumps(details), retryable)


class Action:
    """One action: inherit from it and override what the action needs."""

    def describe(self, declaration):
        """Says when the action runs and which parameters it takes."""

    def run(self, call):
        """Before the change is stored. What it returns becomes the action's result."""

    def success(self, call):
        """After the change is stored."""


class Plugin:
    """The base of the class `WitWorld` that a plugin's module defines: set `actions`, and override `describe_plugin` to
    declare what concerns the plugin as a whole.

    A raised `PluginError`, and an `Err` that a call into the host raised (its `value` holds `code`, `message`, `details`,
    `retryable`), become the error of the invocation. Any other exception is reported with the code `exception`.
    """

    actions = {}

    def describe_plugin(self, registrar):
        """Declares what concerns the plugin as a whole."""

    def describe(self, registrar):
        """Called by the host."""
        self.describe_plugin(registrar)
        for name, action in self.actions.items():
            action.describe(registrar.action(name))

    def run(self, action, call):
        """Called by the host."""
        return _raising(lambda: dumps(self._find(action).run(call)))

    def success(self, action, call):
        """Called by the host."""
        _raising(lambda: self._find(action).success(call))

    def _find(self, name):
        if name not in self.actions:
            raise PluginError("unknown-action", f"this plugin has no action `{name}`")
        return self.actions[name]


def _raising(phase):
    """Runs one phase; what it raises is raised on as the contract's error."""
    try:
        return phase()
    except PluginError as raised:
        error = raised.error
    except Err as raised:
        error = raised.value
    except Exception as raised:
        message = "".join(traceback.format_exception_only(raised)).strip()
        error = Error("exception", message, dumps({"stack": traceback.format_exc()}), False)
    raise Err(error)


def loads(text):
    """The value of a JSON text; None for an absent one. Integers stay exact however long they are."""
    return None if text is None else json.loads(text)


def dumps(value):
    """The JSON text of a value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def log(level, message, **fields):
    """`log("info", "product tagged", tags=3)`; the levels are trace, debug, info, warn and error."""
    _log.write(_log.Level[level.upper()], message, dumps(fields) if fields else "null")


# The interpreter is started at build time and its memory is part of the component. Whatever exists by now stays: telling
# the garbage collector so spares each call from touching these pages, about a tenth of its time.
gc.freeze()
