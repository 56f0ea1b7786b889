"""Every icon that a page names is in the sprite, and the sprite holds no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ams_bff
from ams_bff.http.assets import Assets
from jinja2 import Environment, nodes

PACKAGE = Path(ams_bff.__file__).parent


def sprite_icons() -> set[str]:
    assets = Assets.load()
    return set(re.findall(r'<symbol id="([^"]+)"', assets._files[assets._names["icons.svg"]].body.decode()))


def template_icons() -> Iterator[str]:
    """What templates hand to `icon` and to the macros that have a parameter of this name."""
    parsed = [Environment().parse(path.read_text()) for path in PACKAGE.glob("templates/**/*.html")]
    macros = [macro for template in parsed for macro in template.find_all(nodes.Macro)]
    parameters = {macro.name: [each.name for each in macro.args] for macro in macros} | {"icon": ["icon"]}
    for call in (call for template in parsed for call in template.find_all(nodes.Call)):
        name = call.node.attr if isinstance(call.node, nodes.Getattr) else getattr(call.node, "name", "")
        given = [*zip(parameters.get(name, ()), call.args, strict=False)]
        given += [(keyword.key, keyword.value) for keyword in call.kwargs]
        for value in (value for parameter, value in given if parameter == "icon"):
            constants = [value] if isinstance(value, nodes.Const) else value.find_all(nodes.Const)
            yield from (constant.value for constant in constants)


def module_icons() -> Iterator[str]:
    """What modules put into a field `icon`: by its name, or as the last of a search's Hit."""
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                given = [keyword.value for keyword in call.keywords if keyword.arg == "icon"]
                given += call.args[3:] if isinstance(call.func, ast.Name) and call.func.id == "Hit" else []
                yield from (str(value.value) for value in given if isinstance(value, ast.Constant))


def test_the_sprite_holds_the_icons_that_templates_and_modules_name() -> None:
    named = {*template_icons(), *module_icons()} - {""}
    assert len(named) > 40
    assert named == sprite_icons()
