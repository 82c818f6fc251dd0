"""What a person reads is a UserError; every other exception is a fault of the program."""

import ast
import builtins
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = [*(ROOT / "crystalseg").rglob("*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"]
# What may be raised beside our own errors: programmers' mistakes, and what Python itself expects.
NOT_FOR_USERS = {"TypeError", "LookupError", "AttributeError", "KeyboardInterrupt"}


def test_every_error_of_ours_is_a_user_error():
    bases = {
        node.name: [ast.unparse(base) for base in node.bases]
        for path in PRODUCT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    for name, above in bases.items():
        while name != "UserError":
            (name,) = above
            above = bases[name] if name != "UserError" else []


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_builtin_error_is_raised_with_a_sentence_for_users(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func)
            assert not hasattr(builtins, name) or name in NOT_FOR_USERS, f"{path}:{node.lineno} raises {name}"
