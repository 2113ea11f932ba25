"""Names, tokens and their hashes."""

import hashlib
import re

import pytest

from goodspeed.credentials.credential import (
    Credential,
    find_holder,
    make_credential,
    new_token,
    parse_credentials,
)
from goodspeed.errors import ConfigError

ANN = make_credential("ann", "token of ann")
BOB = make_credential("Bob's laptop", "token of bob")


def test_tokens_are_256_bits_that_no_shell_reads_as_a_flag() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens)


def test_a_line_holds_the_hash_and_not_the_token() -> None:
    token = new_token()
    assert make_credential("ann", token).line == f"sha256:{hashlib.sha256(token.encode()).hexdigest()} ann"


def test_a_token_finds_its_holder_and_any_other_finds_nobody() -> None:
    credentials = (ANN, BOB)
    assert find_holder(credentials, b"token of ann") is ANN
    assert find_holder(credentials, b"token of bob") is BOB
    for token in (b"", b"token of an", b"token of ann ", ANN.digest, ANN.digest.hex().encode()):
        assert find_holder(credentials, token) is None


def test_comments_blank_lines_and_windows_line_ends_are_read() -> None:
    text = f"# drafters\r\n\r\n{ANN.line}\r\n  {BOB.line}  \r\n"
    assert parse_credentials(text) == (ANN, BOB)


def test_a_name_may_have_several_tokens() -> None:
    second = make_credential("ann", "her next token")
    assert parse_credentials(f"{ANN.line}\n{second.line}\n") == (ANN, second)


@pytest.mark.parametrize(
    "line",
    [
        "ann",
        "sha256:12 ann",
        f"md5:{ANN.digest.hex()} ann",
        f"sha256:{ANN.digest.hex()}",
        f"sha256:{ANN.digest.hex()}  ",
        f"{ANN.digest.hex()} ann",
        f"sha256:{ANN.digest.hex()} {'x' * 129}",
        f"sha256:{ANN.digest.hex()} a\x00b",
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_shown(line: str) -> None:
    with pytest.raises(ConfigError, match="line 2 is not a credential") as caught:
        parse_credentials(f"# first\n{line}\n")
    assert line not in str(caught.value)


def test_one_token_for_two_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="line 2: 'eve' has the token of 'ann'"):
        parse_credentials(f"{ANN.line}\n{Credential('eve', ANN.digest).line}\n")


@pytest.mark.parametrize("name", ["", " ann", "ann\n", "a\x1bb", "x" * 129])
def test_a_name_that_no_client_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 128 printable characters"):
        make_credential(name, "token")
