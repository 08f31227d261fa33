import math
from decimal import Decimal

import pytest

from delg.common import spec
from delg.common.errors import InputError


def test_parse_and_render_are_inverse():
    for text in ("gem", "gem(p=4.6)", "superglobal(k=9, beta=0.15)", "untrained(model='a (b), c', seed=0)"):
        assert spec.render(*spec.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a:", "a:b:c", "a:b.c", "gem(", "gem(3)", "gem(p=open('x'))", "a.b(c=1)", "gem(**{'p': 1})", "1", "gem(p=x)"],
)
def test_anything_but_literals_is_refused(text):
    with pytest.raises(InputError, match="literal"):
        spec.parse(text)


def test_split_minds_brackets_and_quotes():
    assert spec.split("a, b(x=1, y=(2, 3)), c(t='x, y')") == ["a", "b(x=1, y=(2, 3))", "c(t='x, y')"]
    assert spec.split(r"a(t='it\'s, so'), b(t='\\'), c") == [r"a(t='it\'s, so')", r"b(t='\\')", "c"]
    assert spec.split(" ") == []
    assert spec.split("a|b(x='|')", "|") == ["a", "b(x='|')"]
    assert spec.split(" a || b(x=(1, 2)) |", "|") == ["a", "b(x=(1, 2))"]
    assert spec.split(" a || b(x=(1, 2)) |", "|", keep_empty=True) == ["a", "", "b(x=(1, 2))", ""]
    assert spec.split("", "|", keep_empty=True) == [""]


def test_build_passes_arguments_and_context():
    table = {"pair": lambda a, b=2, *, c: (a, b, c)}
    assert spec.build("pair(a=1)", table, "thing", c=3) == (1, 2, 3)
    with pytest.raises(InputError, match="Unknown thing 'pear'; the choices are pair"):
        spec.build("pear", table, "thing", c=3)
    with pytest.raises(InputError, match="its arguments are a, b"):
        spec.build("pair(d=1)", table, "thing", c=3)


def test_an_argument_of_the_wrong_kind_is_the_users_mistake():
    with pytest.raises(InputError, match=r"thing \"half\(a='x'\)\""):
        spec.build("half(a='x')", {"half": lambda a: a / 2}, "thing")
    with pytest.raises(InputError, match="too small"):
        spec.build("less(a=0)", {"less": _positive}, "thing")


def _positive(a: int) -> int:
    if a < 1:
        raise InputError("too small")
    return a


def test_plug_ins_are_imported_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text("class Wide:\n    def __init__(self, width=1):\n        self.width = width\n")
    monkeypatch.chdir(tmp_path)
    assert spec.parse("my_parts:Wide(width=3)") == ("my_parts:Wide", {"width": 3})
    assert spec.build("my_parts:Wide(width=3)", {}, "thing").width == 3
    assert spec.build("my_parts:Wide", {}, "thing", width=4).width == 4
    for text in ("my_parts:Narrow", "none_such:Wide", "my_parts:Wide(depth=1)", "my_parts:__name__", "builtins:dict"):
        with pytest.raises(InputError, match=text.partition("(")[0]):
            spec.build(text, {}, "thing")
    with pytest.raises(InputError, match="Decimal"):
        spec.build("my_parts:Wide", {}, "thing", base=Decimal)


def test_a_table_may_name_what_is_imported_when_it_is_used():
    assert spec.build("number(value='1.5')", {"number": "decimal:Decimal"}, "thing", base=Decimal) == Decimal("1.5")


def test_call_takes_what_is_no_literal():
    assert spec.call(lambda a, b: (a, b), "x(a=1)", {"a": math.inf}, "thing", b=2) == (math.inf, 2)
    with pytest.raises(InputError, match=r"thing 'x\(c=1\)': .*its arguments are a"):
        spec.call(lambda a, b: (a, b), "x(c=1)", {"c": math.nan}, "thing", b=2)


def test_an_argument_may_have_the_name_of_a_keyword():
    inner = "concat(parts=['a', 'b(global=\"c\")'])"
    text = spec.render("pair", {"global_": inner, "local": "d"})
    assert text.startswith("pair(global=") and "global_" not in text
    assert spec.parse(text) == ("pair", {"global_": inner, "local": "d"})
    assert spec.parse("pair(global = 'it\\'s global=1', class_='x')")[1] == {
        "global_": "it's global=1",
        "class_": "x",
    }
    with pytest.raises(InputError, match="its arguments are global, local"):
        spec.build("pair(a=1)", {"pair": lambda global_, local: 0}, "thing")
    assert spec.plug_ins_in('pair(global="delg(model=\\"no.where:Thing\\")")') == []
