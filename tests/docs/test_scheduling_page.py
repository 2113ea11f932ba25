"""The examples in docs/explain/scheduling.md are what the schedulers answer."""

import doctest
import re
from pathlib import Path

from goodspeed.scheduling.gradient import greedy_grants
from goodspeed.scheduling.scheduler import ClientView

PAGE = (Path(__file__).parents[2] / "docs" / "explain" / "scheduling.md").read_text()


def test_examples_give_the_answers_on_the_page() -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    example = doctest.DocTestParser().get_doctest(code, {}, "scheduling.md", None, None)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_the_table_of_values_is_right_and_its_largest_are_granted() -> None:
    rows = re.findall(r"^\| \d\w\w \| (\S+) \| (\S+) \| (\S+) \|$", PAGE, flags=re.MULTILINE)
    rates, goodputs = (0.8, 0.8, 0.5), (4.0, 2.0, 1.5)
    for j, row in enumerate(rows, start=1):
        expected = [f"{rate**j / goodput:.3f}" for rate, goodput in zip(rates, goodputs, strict=True)]
        assert [cell.strip("*") for cell in row] == expected
    bold = [sum(row[i].startswith("**") for row in rows) for i in range(3)]
    clients = [ClientView(rate, goodput) for rate, goodput in zip(rates, goodputs, strict=True)]
    assert bold == greedy_grants(clients, 6, fairness=1.0)
