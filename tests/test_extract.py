"""The code in a completion."""

import pytest

from pipeline.scoring.extract import extract_code

CODE = "def f(x):\n    return x"


@pytest.mark.parametrize("tag", ["", "python", "Python", "py", "python3", 'python title="a.py"'])
def test_the_first_fenced_python_block_is_the_code(tag):
    assert extract_code(f"Here it is:\n\n```{tag}\n{CODE}\n```\nIt returns x.\n```\nx = 1\n```") == CODE


def test_text_without_a_fence_is_code_as_a_whole():
    assert extract_code(f"{CODE}\n") == CODE


def test_a_fence_that_is_never_closed_runs_to_the_end():
    assert extract_code(f"Sure.\n```python\n{CODE}") == CODE


def test_blocks_in_another_language_are_passed_over():
    assert extract_code(f"```bash\npip install x\n```\n```python\n{CODE}\n```") == CODE


def test_what_follows_a_block_in_another_language_is_not_taken_for_a_block():
    text = "```bash\npip install x\n```\nThat is all.\n```json\n{}\n```"
    assert extract_code(text) == text


def test_a_longer_or_tilde_fence_holds_shorter_ones():
    assert extract_code("````python\nx = 1\n```\ny = 2\n````") == "x = 1\n```\ny = 2"
    assert extract_code("~~~\nx = 1\n```\n~~~") == "x = 1\n```"


def test_a_fence_in_a_docstring_belongs_to_the_code():
    code = 'def f():\n    """Example:\n\n    ```python\n    >>> f()\n    ```\n    """\n    return 1'
    assert extract_code(code) == code
    assert extract_code(f"```python\n{code}\n```\nDone.") == code


def test_a_block_in_a_list_loses_the_list_s_indentation():
    assert extract_code("1. Do this:\n   ```python\n   def f(x):\n       return x\n   ```") == CODE


def test_blank_lines_before_and_white_space_after_go_but_indentation_stays():
    assert extract_code("\n  \n\n    return x  \n\n") == "    return x"


def test_every_kind_of_line_end_becomes_a_line_feed():
    assert extract_code("```python\r\ndef f(x):\r\n    return x\r\n```\r\n") == CODE
    assert extract_code("x = 1\ry = 2") == "x = 1\ny = 2"


@pytest.mark.parametrize("text", ["", " \n\t", "```", "```python\n```", "```\n\n```"])
def test_where_there_is_nothing_to_extract_the_code_is_empty(text):
    assert extract_code(text) == ""


def test_nul_bytes_and_100_kb_pass_through():
    text = "x = 1\0\n" * 15_000
    assert extract_code(text) == text.rstrip()
