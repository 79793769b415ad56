"""Tables and sentences in terminals of any width."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from adabatch.shell.fitting import wrapped
from adabatch.shell.text_table import Output, Sentence, TextTable


def shown(content: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(content)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_table_that_fits_is_one_table() -> None:
    table = TextTable(["arm", "speedup"], [["fixed", "1.00x"], ["growing", "12.50x"]], right=["speedup"])
    assert shown(table, 80) == ["arm      speedup", "────────────────", "fixed      1.00x", "growing   12.50x"]


def test_columns_without_room_come_below_with_the_names_of_the_rows() -> None:
    table = TextTable(["arm", "one", "two", "three"], [["fixed", "1" * 10, "2" * 10, "3" * 10]])
    # 5 + 2 + 10 + 2 + 10 = 29 columns
    assert shown(table, 30) == [
        "arm    one         two",
        "─────────────────────────────",
        "fixed  1111111111  2222222222",
        "",
        "arm    three",
        "─────────────────",
        "fixed  3333333333",
    ]


def test_columns_that_belong_together_come_below_together() -> None:
    rows = [["fixed", "1" * 10, "2" * 8, "3" * 10]]
    headers = ["arm", "one", "points", "95 % CI"]
    # 5 + 2 + 10 + 2 + 8 + 2 + 10 = 39 columns; the first three are 27
    assert shown(TextTable(headers, rows, joined=["95 % CI"]), 30) == [
        "arm    one",
        "─────────────────",
        "fixed  1111111111",
        "",
        "arm    points    95 % CI",
        "───────────────────────────",
        "fixed  22222222  3333333333",
    ]


def test_columns_that_belong_together_are_parted_where_no_table_holds_them() -> None:
    table = TextTable(["arm", "points", "95 % CI"], [["fixed", "2" * 10, "3" * 10]], joined=["95 % CI"])
    # 10 + 2 + 10 = 22 columns beside the names, and 25 - 5 - 2 = 18 are left
    assert [line for line in shown(table, 25) if "fixed" in line] == ["fixed  2222222222", "fixed  3333333333"]


def test_long_cells_are_narrowed_before_a_column_stands_alone() -> None:
    cells = ["undecided: about 26 seeds", "undecided: about 54 seeds", "undecided: about 9 seeds"]
    # Each wants 22 columns: 7 + 3 * 2 + 3 * 22 = 79. With three quarters of that, 16.5 each, it is 62.5.
    assert shown(TextTable(["arm", "one", "two", "three"], [["growing", *cells]]), 63) == [
        "arm      one               two               three",
        "─────────────────────────────────────────────────────────────",
        "growing  undecided: about  undecided: about  undecided: about",
        "         26 seeds          54 seeds          9 seeds",
    ]


def test_a_column_goes_below_with_the_one_that_would_stand_alone() -> None:
    rows = [["fixed", "1" * 8, "2" * 8, "3" * 8, "4" * 8]]
    # 5 + 2 + 3 * 8 + 2 * 2 = 35 columns hold three; two and two leave none alone.
    assert [line for line in shown(TextTable(["arm", *"abcd"], rows), 40) if "fixed" in line] == [
        "fixed  11111111  22222222",
        "fixed  33333333  44444444",
    ]


def test_several_names_are_repeated() -> None:
    table = TextTable(["decay", "arm", "one", "two"], [["0", "fixed", "1" * 10, "2" * 10]], num_names=2)
    assert [line for line in shown(table, 30) if "fixed" in line] == [
        "0      fixed  1111111111",
        "0      fixed  2222222222",
    ]


def test_long_names_are_cut_between_their_parts() -> None:
    name = "growing,optimizer.weight_decay=0.0005,optimizer.momentum=0.9"
    assert wrapped(name, 26) == ["growing,", "optimizer.weight_decay=", "0.0005,optimizer.momentum=", "0.9"]
    assert wrapped("a-b c-d/seed_0", 6) == ["a-b c-", "d/", "seed_0"]
    assert wrapped("equivalent within 1 point (-0.20)", 12) == ["equivalent", "within 1", "point", "(-0.20)"]
    assert wrapped("over_the_top", 6) == ["over_", "the_", "top"]
    assert wrapped("x" * 7, 3) == ["xxx", "xxx", "x"]


def test_names_without_room_get_numbers_that_are_explained() -> None:
    table = TextTable(["arm", "verdict"], [["n" * 30, "not reached"], ["m" * 30, "faster"]])
    lines = shown(table, 36)
    assert lines[2:4] == ["1    not reached", "2    faster"]
    assert [line.strip() for line in lines[4:]] == ["1: " + "n" * 30, "2: " + "m" * 30]


def test_long_names_are_cut_before_they_get_numbers() -> None:
    name = "growing_with_a_cap_at_eighty_samples"
    # 36 columns of name and 11 of verdict: the name gets what the verdict leaves, 27.
    assert shown(TextTable(["arm", "verdict"], [[name, "not reached"]]), 40) == [
        "arm                          verdict",
        "────────────────────────────────────────",
        "growing_with_a_cap_at_       not reached",
        "eighty_samples",
    ]


def test_a_name_has_one_number_in_an_output_and_is_explained_once() -> None:
    first = TextTable(["arm", "verdict"], [["n" * 30, "not reached"], ["m" * 30, "faster"]])
    second = TextTable(["arm", "verdict"], [["m" * 30, "slower"], ["k" * 30, "faster"]])
    lines = shown(Output(first, Text(""), second), 36)
    assert [line.strip() for line in lines] == [
        *("arm  verdict", "────────────────", "1    not reached", "2    faster"),
        *("1: " + "n" * 30, "2: " + "m" * 30, ""),
        *("arm  verdict", "────────────", "2    slower", "3    faster", "3: " + "k" * 30),
    ]


def test_numbers_of_names_have_no_gap_where_a_cell_repeats_the_one_above() -> None:
    rows = [["n" * 30, "forward"], ["", "backward"], ["m" * 30, "forward"]]
    lines = shown(TextTable(["arm", "part"], rows), 36)
    assert lines[2:5] == ["1    forward", "     backward", "2    forward"]
    assert [line.strip() for line in lines[5:]] == ["1: " + "n" * 30, "2: " + "m" * 30]


def test_sentences_are_indented_below_their_first_line() -> None:
    assert shown(Sentence("  error: one two three", indent=4), 14) == ["  error: one", "  two three"]
    assert shown(Sentence("one two three", indent=4), 11) == ["one two", "    three"]
    assert shown(Sentence("one two three", indent=4), 13) == ["one two three"]


def test_a_number_is_not_parted_from_its_percent_sign() -> None:
    table = TextTable(["arm", "95 % CI", "pairs", "verdict"], [["growing", "–", "3", "undecided: at least 2 seeds"]])
    for width in range(20, 60):
        heads = [line for line in shown(table, width) if "95" in line]
        assert len(heads) == 1
        assert "95 %" in heads[0]
    assert shown(Sentence("reached by 44 % of runs"), 14) == ["reached by", "44 % of runs"]


WORDS = st.text(alphabet="ab_-=,/. 0中é", max_size=40)


@given(st.lists(st.lists(WORDS, min_size=5, max_size=5), min_size=1, max_size=4), st.integers(30, 120))
def test_nothing_is_lost_and_nothing_sticks_out(rows: list[list[str]], width: int) -> None:
    lines = shown(TextTable(["arm", "one", "two", "three", "four"], rows), width)
    assert max(map(cell_len, lines)) <= width
    text = "".join("".join(lines).split())
    for row in rows:
        for cell in row:
            assert all(char in text for char in cell if not char.isspace())


@pytest.mark.parametrize("width", [1, 3, 12])
def test_the_narrowest_terminals_do_not_fail(width: int) -> None:
    assert shown(TextTable(["arm", "speedup"], [["growing", "1.00x"]]), width)
    assert shown(Sentence("one two three"), width)
