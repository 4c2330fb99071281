"""Builds the component of one Python plugin: `build.py SRC_DIR OUT.wasm`, run by `build.sh` where componentize-py is."""

import ast
import re
import shutil
import sys
import tempfile
from pathlib import Path

import componentize_py

SDK = Path(__file__).resolve().parent
CONTRACT = SDK.parent.parent / "wit" / "v1"


def main(source, out):
    source = Path(source).resolve()
    if not (source / "plugin.py").is_file():
        sys.exit(f"there is no `plugin.py` in {source}; hint: pass the folder that holds it")
    with tempfile.TemporaryDirectory() as folder:
        # A copy, because the interpreter leaves its caches beside the modules.
        modules = shutil.copytree(source, Path(folder, "modules"), ignore=shutil.ignore_patterns(".*", "__pycache__"))
        shutil.copy(SDK / "tradewind.py", modules)
        wit = narrow_contract(used_interfaces(modules), Path(folder, "wit"))
        sys.argv = ["componentize-py", "--quiet", "--wit-path", str(wit), "--world", "plugin"]
        sys.argv += ["componentize", "--python-path", str(modules), "--output", out, "plugin"]
        try:
            componentize_py.script()
        except AssertionError as failure:  # So the tool reports whatever goes wrong: the plugin's traceback comes first.
            sys.exit(str(failure).partition("\n\nCaused by:")[0].strip())


def used_interfaces(modules):
    """The interfaces of the contract that some module imports, whichever form its `import` has."""
    names = set()
    for path in modules.rglob("*.py"):
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue  # The tool says it better.
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[2] for name in names if name.startswith("wit_world.imports.")}


def narrow_contract(used, folder):
    """A copy of the contract whose world imports only what is used.

    The tool would otherwise import every interface of the world, and the operator would have to grant them all.
    """
    folder.mkdir()
    for path in CONTRACT.glob("*.wit"):
        text = path.read_text()
        if path.name == "world.wit":
            text = re.sub(r"^  import (\S+);\n", lambda line: line[0] if line[1] in used else "", text, flags=re.MULTILINE)
        (folder / path.name).write_text(text)
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
