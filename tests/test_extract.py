"""The code in a completion."""

import re
import time

import pytest

from pipeline.scoring.extract import extract_code

CODE = "def f(x):\n    return x"


TAGS = ["", "python", "Python", "PYTHON", "py", "py3", "python3", "python3.11", "py3.12", "ipython"]
TAGS += ['python title="a.py"', "python:a.py", "python,linenos", "{python}", "{.python .numberLines}"]


@pytest.mark.parametrize("tag", TAGS)
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


def test_an_empty_block_is_not_taken_for_the_code_of_the_next_one():
    assert extract_code(f"```python\n```\nHere:\n```python\n{CODE}\n```") == CODE


def test_a_byte_order_mark_hides_neither_a_fence_nor_the_code():
    assert extract_code(f"\ufeff```python\n{CODE}\n```\nDone.") == CODE
    assert extract_code(f"\ufeff{CODE}") == CODE


def test_a_fence_behind_the_last_line_of_the_code_closes_the_block():
    assert extract_code(f"Sure.\n```python\n{CODE}```\n") == CODE
    cut_off = 'def f():\n    """Example:\n\n    ```\n    f()\n    ```'
    assert extract_code(f"```python\n{cut_off}") == cut_off


def test_nul_bytes_and_100_kb_pass_through():
    text = "x = 1\0\n" * 15_000
    assert extract_code(text) == text.rstrip()


@pytest.mark.parametrize("tag", ["bash", "pycon", "python-repl", "json", "pytb", "cython", "text"])
def test_a_block_that_is_not_plain_python_is_passed_over(tag):
    assert extract_code(f"```{tag}\nother\n```\n\n```python\n{CODE}\n```") == CODE


# Strings: followed by token, inside blocks only


@pytest.mark.parametrize(
    "prose",
    [
        'The docstring starts with """ as usual:',
        "Put ''' around it:",
        'Here: """',
        'It\'s the """ that matters.\n\nSo:',
        "Use ''' or \"\"\" for docstrings:\n",
    ],
)
def test_quotes_in_prose_hide_no_block(prose):
    assert extract_code(f"{prose}\n```python\n{CODE}\n```\nDone.") == CODE


@pytest.mark.parametrize(
    "line",
    [
        '# a docstring starts with """',
        'x = \'"""\'',
        "x = \"'''\"",
        'x = "it is \\" \\"\\"\\" quoted"',
        'x = \'\\\\\'  # """',
        '"""One line."""  # and """',
        "x = '''a \"\"\" b'''",
        'x = """a \\""" b"""',
        "x = 'never closed",
        'print("it\'s")',
    ],
)
def test_quotes_in_comments_and_strings_hide_no_closing_fence(line):
    code = f"def f():\n    {line}\n    return 1"
    assert extract_code(f'```python\n{code}\n```\nIt returns 1, see """.\n') == code


@pytest.mark.parametrize("fences", [("```", "```"), ("```python", "```"), ("~~~", "~~~"), ("````", "````")])
@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_a_fenced_example_in_a_string_belongs_to_the_code_at_any_indentation(quotes, fences):
    example = f"{fences[0]}\nexample()\n{fences[1]}"
    for code in (
        f"def f():\n    {quotes}Example:\n\n{example}\n    {quotes}\n    return 1",
        f"PROMPT = {quotes}\n{example}\n{quotes}\nx = 1",
        f"{quotes}Module.\n\n{example}\n\n{example}\n{quotes}\n",
    ):
        assert extract_code(f"Here:\n```python\n{code}\n```\nDone.") == code.strip()
        assert extract_code(code) == code.strip()


def test_a_string_that_is_never_closed_does_not_swallow_what_follows_the_block():
    code = 'def f():\n    """Return x.\n    return x'
    assert extract_code(f"```python\n{code}\n```\nIt returns x.") == code
    more = f'```python\n{code}\n```\nOr:\n```python\ndef g():\n    """Return y."""\n```\n'
    assert extract_code(more) == code


@pytest.mark.parametrize(
    "code",
    [
        'def f():\n    """Return',
        "def f(a, b=(1,",
        "x = 'abc",
        'def f():\n    """Example:\n\n    ```python\n    >>> f()',
        'def f():\n    """Example:\n\n    ```\n    >>> f()',
        'def f():\n    """Example:\n\n    ```python\n    >>> f()\n    ```\n\n    And m',
        'PROMPT = """\n```python\nx\n```\nm',
    ],
)
def test_code_that_was_cut_off_is_the_code_so_far(code):
    assert extract_code(f"Here:\n```python\n{code}") == code
    assert extract_code(f"import x\n{code}") == f"import x\n{code}"


# Fences


@pytest.mark.parametrize("marks", ["```", "````", "~~~", "~~~~~"])
@pytest.mark.parametrize("indent", ["", "  ", "    ", "\t", "- ", "12. ", "> ", "> - "])
def test_a_block_may_stand_in_a_list_or_quote_with_any_fence(marks, indent):
    inside = re.sub(r"[^ >\t]", " ", indent)
    body = "".join(f"{inside}{line}\n" for line in [*CODE.split("\n"), marks, "Done."])
    assert extract_code(f"Like this:\n\n{indent}{marks}python\n{body}") == CODE


@pytest.mark.parametrize("opening", ["Here it is: ```python", "Here it is:```py", "The code: ```"])
def test_a_block_may_open_at_the_end_of_a_line_of_prose(opening):
    assert extract_code(f"{opening}\n{CODE}\n```\nDone.") == CODE


def test_a_block_inside_a_markdown_block_is_the_code():
    for outer in ("```", "````"):
        text = f"{outer}markdown\nHere:\n```python\n{CODE}\n```\nDone.\n{outer}"
        assert extract_code(text) == CODE


@pytest.mark.parametrize(
    "behind", ["", "\n", "It returns x.\n", "\n```\n\n```\n", "1\n```\n", "python\nf(1)\n```"]
)
def test_code_that_is_closed_and_not_opened_is_the_code(behind):
    assert extract_code(f"{CODE}\n```{behind}") == CODE


def test_code_that_is_closed_and_not_opened_may_hold_an_example():
    code = 'def f():\n    """Example:\n\n    ```python\n    >>> f()\n    ```\n    """\n    return 1'
    assert extract_code(f"{code}\n```\nIt returns 1.") == code


def test_a_statement_before_a_block_is_not_the_code():
    assert extract_code(f"import math\n\n```\n{CODE}\n```") == CODE


@pytest.mark.parametrize(
    "before",
    ["```\n", "```\n\n", "```python\n", "```\n\nYour code should pass this test:\n", "~~~\n", "```py\n\n"],
)
def test_a_fence_before_a_block_that_is_marked_as_python_opens_none(before):
    assert extract_code(f"{before}```python\n{CODE}\n```\n```") == CODE


def test_a_block_that_is_not_marked_may_stand_before_one_in_another_language():
    assert extract_code(f"```\n{CODE}\n\n```bash\npip install x\n```") == CODE


def test_a_block_that_is_not_closed_ends_where_the_next_one_begins():
    assert extract_code(f"```python\n{CODE}\n\n```bash\npip install x\n```") == CODE


@pytest.mark.parametrize("behind", ["", "python", "### Explanation: `f` returns x. ```python\n" + CODE])
def test_a_closing_fence_may_have_text_or_another_fence_behind_it(behind):
    assert extract_code(f" ```python\n{CODE}\n```  ```{behind}") == CODE.replace("    ", "   ")
    assert extract_code(f"```python\n{CODE}\n``` `f` returns x. {behind}") == CODE


def test_line_ends_of_windows_change_nothing():
    text = 'Say """:\n\n- ```python3.11\n  def f(x):\n      """```"""\n      return x\n  ```\nDone.'
    assert extract_code(text.replace("\n", "\r\n")) == extract_code(text)


# Thinking


@pytest.mark.parametrize(
    "thinking",
    [
        "<think>\nMaybe:\n```python\nx = 1\n```\n</think>\n",
        "<think>Maybe:\n```python\nx = 1\n</think>",
        "Sure.\n<think>\n```\nx = 1\n```\n</think>\n",
        "\n<THINKING>\n~~~\nx = 1\n~~~\n</THINKING>\n",
        "Maybe:\n```python\nx = 1\n```\nNo.\n</think>\n",  # the prompt's template opened the thinking
        "Maybe: ```python\nx = 1\n```\nNo.\n</think>\n",
        "[THINK]```python\nx = 1\n```[/THINK]\n",
        "<|begin_of_thought|>\n```python\nx = 1\n```\n<|end_of_thought|>\n",
        "<|START_THINKING|>\n```python\nx = 1\n```\n<|END_THINKING|>",
        "◁think▷\n```python\nx = 1\n```\n◁/think▷\n",
        "<|channel|>analysis<|message|>```\nx = 1\n```<|end|><|start|>assistant<|channel|>final<|message|>",
        "<think>a</think>\n<think>\n```python\nx = 1\n```\n</think>\n",
    ],
)
def test_a_draft_in_the_thinking_is_not_the_answer(thinking):
    assert extract_code(f"{thinking}\nHere:\n```python\n{CODE}\n```\n") == CODE
    assert extract_code(f"{thinking}\n{CODE}\n").endswith(CODE)


def test_thinking_that_was_cut_off_holds_no_code():
    assert extract_code("<think>\nMaybe:\n```python\nx = 1\n```\nOr") == ""


@pytest.mark.parametrize(
    "code",
    [
        'PROMPT = """\n<think>\n{reasoning}\n</think>\n"""\nx = 1',
        'def f(text):\n    return text.split("</think>")[1]',
        'def f(text):\n    """Drop it.\n    </think>\n    """\n    return text',
    ],
)
def test_tags_of_thinking_in_code_are_code(code):
    assert extract_code(code) == code
    assert extract_code(f"Here:\n```python\n{code}\n```\nDone.") == code


@pytest.mark.parametrize(
    "text",
    ["```\n" * 20_000, '"""\n```\n' * 10_000, "```python\n" * 10_000, "'''`" * 20_000, "<think>" * 9999],
)
def test_100_kb_of_fences_and_quotes_take_less_than_two_seconds(text):
    started = time.process_time()
    extract_code(text)
    assert time.process_time() - started < 2
