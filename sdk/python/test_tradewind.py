import sys
import types
import unittest
from dataclasses import dataclass
from enum import Enum

# Outside of a component nobody offers these modules: here the log collects what is written.
written = []


@dataclass(frozen=True)
class Err(Exception):
    value: object


@dataclass
class Error:
    code: str
    message: str
    details: str | None
    retryable: bool


def fake(name, **members):
    sys.modules[name] = module = types.ModuleType(name)
    vars(module).update(members)
    return module


fake("componentize_py_types", Err=Err)
log = fake("wit_world.imports.log", Level=Enum("Level", "INFO WARN"), write=lambda *entry: written.append(entry))
fake("wit_world.imports.types", Error=Error)
fake("wit_world")
fake("wit_world.imports", log=log)

import tradewind  # noqa: E402: after the modules that it needs

HOST_ERROR = Error("not-found", "no such record", None, False)


class Echo(tradewind.Action):
    def describe(self, declaration):
        declaration.append("described")

    def run(self, call):
        return call


class Failing(tradewind.Action):
    def run(self, call):
        raise tradewind.PluginError("too-late", "it is too late", details={"day": 3}, retryable=True)

    def success(self, call):
        raise Err(HOST_ERROR)


class Bug(tradewind.Action):
    def run(self, call):
        return None.title


class Plugin(tradewind.Plugin):
    actions = {"silent": tradewind.Action(), "echo": Echo(), "failing": Failing(), "bug": Bug()}

    def describe_plugin(self, registrar):
        registrar.seen.append("plugin")


class Registrar:
    def __init__(self):
        self.seen = []

    def action(self, name):
        self.seen.append(name)
        return self.seen


class TradewindTest(unittest.TestCase):
    def error_of(self, phase, action):
        with self.assertRaises(Err) as caught:
            getattr(Plugin(), phase)(action, None)
        return caught.exception.value

    def test_every_action_is_declared(self):
        registrar = Registrar()
        Plugin().describe(registrar)
        self.assertEqual(registrar.seen, ["plugin", "silent", "echo", "described", "failing", "bug"])

    def test_results_become_json(self):
        self.assertEqual(Plugin().run("echo", {"tags": ["é"]}), '{"tags":["é"]}')
        self.assertEqual(Plugin().run("silent", None), "null")
        self.assertIsNone(Plugin().success("echo", None))

    def test_errors_become_the_record_of_the_contract(self):
        unknown = Error("unknown-action", "this plugin has no action `nope`", None, False)
        self.assertEqual(self.error_of("run", "nope"), unknown)
        self.assertEqual(self.error_of("success", "nope"), unknown)
        self.assertEqual(self.error_of("run", "failing"), Error("too-late", "it is too late", '{"day":3}', True))
        self.assertIs(self.error_of("success", "failing"), HOST_ERROR)

    def test_other_exceptions_are_reported_with_their_traceback(self):
        error = self.error_of("run", "bug")
        self.assertEqual((error.code, error.retryable), ("exception", False))
        self.assertRegex(error.message, "^AttributeError: .*title")
        self.assertIn("test_tradewind.py", tradewind.loads(error.details)["stack"])

    def test_absent_json_is_none(self):
        self.assertIsNone(tradewind.loads(None))
        self.assertIsNone(tradewind.loads("null"))

    def test_integers_of_64_bits_stay_exact(self):
        text = '{"id":9007199254740993}'
        self.assertEqual(tradewind.dumps(tradewind.loads(text)), text)

    def test_log_entries_carry_their_fields_as_json(self):
        tradewind.log("info", "product tagged", tags=3)
        tradewind.log("warn", "careful")
        self.assertEqual(written, [(log.Level.INFO, "product tagged", '{"tags":3}'), (log.Level.WARN, "careful", "null")])


if __name__ == "__main__":
    unittest.main()
