"""Invitations survive what people do with them, and say when they have not."""

import pytest

from goodspeed.errors import ConfigError
from goodspeed.setup.invitation import PREFIX, Invitation, read_invitation

INVITATION = Invitation("laptop", "box.example.net:7700", "smollm2-135m-instruct", "token", "-----BEGIN ...")


def test_line_is_read_again_even_if_a_terminal_has_wrapped_it() -> None:
    line = INVITATION.line()
    assert line.isprintable()
    assert " " not in line
    assert read_invitation(f"  {line[:40]}\r\n{line[40:]} \n") == INVITATION


@pytest.mark.parametrize("cut", [len(PREFIX), 30, -1, -5])
def test_incomplete_line_is_refused_without_showing_it(cut: int) -> None:
    line = INVITATION.line()[:cut]
    with pytest.raises(ConfigError, match=r"damaged or incomplete|is incomplete") as refused:
        read_invitation(line)
    assert line[len(PREFIX) :] == "" or line[len(PREFIX) :] not in str(refused.value)


def test_another_line_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"starts with 'goodspeed1\.'"):
        read_invitation("sk-secret")
