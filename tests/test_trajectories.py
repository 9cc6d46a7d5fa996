"""Every expected value is written out by hand. `cut` drops the sources, which the round-trip tests look at."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl.trajectories import STYLES, Step, build_step, join_steps, split_steps


NAMED_STYLES = [style for style in STYLES if style != "auto"]


def cut(text, style="auto"):
    steps = split_steps(text, style)
    assert join_steps(steps) == text
    return [(step.title, step.body) for step in steps]


R1_TITLED = r"""To solve this problem, we track Natalia's sales month by month.

1. **Sales in April**:
   - Natalia sold clips to **48** friends.
   - So she sold:
     \[
     48 \text{ clips}
     \]

2. **Sales in May:**
   1. Half as many as in April.
   2. That is:
     $$
     \frac{48}{2} = 24

     2. not a step
     $$

3. **Total**
   Add both months: \(48 + 24 = 72\).

**Final Answer:**
\[
\boxed{72}
\]
"""

R1_HEADINGS = r"""### Step 1: Understand the Problem
We want the real roots of
$$
x^2 = 4
$$
1. The degree is 2.
2. There are two roots.

### Step 2: **Solve**
#### Step 3: a deeper heading
\begin{align*}
### Step 3: hidden
x &= \pm 2
\end{align*}

### Step 3: Conclude:

### Final Answer
\boxed{\pm 2}"""

GSM8K = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72 clips altogether.\n#### 72"
)


def test_deepseek_r1_titled_list():
    assert cut(R1_TITLED) == [
        (
            "Sales in April",
            "To solve this problem, we track Natalia's sales month by month.\n\n"
            "- Natalia sold clips to **48** friends.\n   - So she sold:\n"
            "     \\[\n     48 \\text{ clips}\n     \\]",
        ),
        (
            "Sales in May",
            "1. Half as many as in April.\n   2. That is:\n"
            "     $$\n     \\frac{48}{2} = 24\n\n     2. not a step\n     $$",
        ),
        (
            "Total",
            "Add both months: \\(48 + 24 = 72\\).\n\n**Final Answer:**\n\\[\n\\boxed{72}\n\\]",
        ),
    ]


def test_deepseek_r1_headings():
    assert cut(R1_HEADINGS) == [
        (
            "Understand the Problem",
            "We want the real roots of\n$$\nx^2 = 4\n$$\n1. The degree is 2.\n2. There are two roots.",
        ),
        (
            "Solve",
            "#### Step 3: a deeper heading\n\\begin{align*}\n### Step 3: hidden\nx &= \\pm 2\n\\end{align*}",
        ),
        ("Conclude", "### Final Answer\n\\boxed{\\pm 2}"),
    ]


def test_gsm8k_lines():
    assert cut(GSM8K) == [
        ("", "Natalia sold 48/2 = <<48/2=24>>24 clips in May."),
        ("", "Natalia sold 48+24 = <<48+24=72>>72 clips altogether."),
        ("", "#### 72"),
    ]


@pytest.mark.parametrize(
    ("style", "text", "expected"),
    [
        # numbered: the marker goes, nothing else does
        ("numbered", "1. a\n2. b", [("", "a"), ("", "b")]),
        ("numbered", "1) a\n2) b\n", [("", "a"), ("", "b")]),
        ("numbered", "1.\ta\n2.\n\n   b", [("", "a"), ("", "b")]),
        ("numbered", "1. **T**: a\n2. b", [("", "**T**: a"), ("", "b")]),
        ("numbered", "1.a\n2.b", [("", "1.a\n2.b")]),
        ("numbered", "no marker\nat all", [("", "no marker\nat all")]),
        # numbered: a preamble begins the body of step 1, what follows the last step ends its body
        ("numbered", "Idea:\n1. a\n2. b\n\nSo 7.", [("", "Idea:\na"), ("", "b\n\nSo 7.")]),
        ("numbered", "\n\n  1. a\n  2. b", [("", "a"), ("", "b")]),
        # numbered: consecutive from 1
        ("numbered", "2. a\n3. b", [("", "2. a\n3. b")]),
        ("numbered", "1. a\n3. c\n2. b\n2. d", [("", "a\n3. c"), ("", "b\n2. d")]),
        ("numbered", "1. a\n1. b\n01. c\n02. d", [("", "a\n1. b\n01. c\n02. d")]),
        ("numbered", "1. a\n1) b\n2) c\n2. d", [("", "a\n1) b\n2) c"), ("", "d")]),
        ("numbered", "1. a\n\u0662. b\n" + "9" * 5000 + ". c", [("", "a\n\u0662. b\n" + "9" * 5000 + ". c")]),
        # numbered: decimals, and numbers inside a line
        ("numbered", "1. the rod is\n2.5 m long\n2. b", [("", "the rod is\n2.5 m long"), ("", "b")]),
        ("numbered", "1. the sum is 2. then\n2. b", [("", "the sum is 2. then"), ("", "b")]),
        ("numbered", "1. it is 2.**bold** 2. **bold**\n2. b", [("", "it is 2.**bold** 2. **bold**"), ("", "b")]),
        # numbered: nested lists, and indentation
        ("numbered", "1. a\n   1. x\n   2. y\n2. b", [("", "a\n   1. x\n   2. y"), ("", "b")]),
        ("numbered", "1. a\n 2. x\n2. b", [("", "a\n 2. x"), ("", "b")]),
        ("numbered", "1. a\n\t2. x\n2. b", [("", "a\n\t2. x"), ("", "b")]),
        ("numbered", "1. a\n- 2. x\n2. b", [("", "a\n- 2. x"), ("", "b")]),
        ("numbered", "   1. a\n   2. b", [("", "a"), ("", "b")]),
        ("numbered", "    1. a\n    2. b", [("", "1. a\n    2. b")]),
        ("numbered", " 1. a\n2. b", [("", "a"), ("", "b")]),
        # a marker with nothing behind it is text
        ("numbered", "1. 1 + 1 =\n2.", [("", "1 + 1 =\n2.")]),
        ("numbered", "1. a\n2. \n3. b", [("", "a\n2."), ("", "b")]),
        ("numbered", "1. \n2. ", [("", "1. \n2.")]),
        ("numbered", "1.", [("", "1.")]),
        # code fences
        ("numbered", "1. a\n```\n2. x\n```\n2. b", [("", "a\n```\n2. x\n```"), ("", "b")]),
        ("numbered", "1. a\n~~~py\n2. x\n```\n~~~~\n2. b", [("", "a\n~~~py\n2. x\n```\n~~~~"), ("", "b")]),
        ("numbered", "1. a\n````\n```\n2. x\n````\n2. b", [("", "a\n````\n```\n2. x\n````"), ("", "b")]),
        ("numbered", "1. a\n   ```\n2. x\n   ```\n2. b", [("", "a\n   ```\n2. x\n   ```"), ("", "b")]),
        ("numbered", "1. ```\n2. x\n```\n2. b", [("", "```\n2. x\n```"), ("", "b")]),
        ("numbered", "1. a\n- ```\n2. x\n  ```\n2. b", [("", "a\n- ```\n2. x\n  ```"), ("", "b")]),
        ("numbered", "1. a\n```\n2. x\n3. y", [("", "a\n```\n2. x\n3. y")]),
        ("numbered", "1. a\n```x``` is code\n2. b", [("", "a\n```x``` is code"), ("", "b")]),
        ("numbered", "1. a\n``` a fence does not close so\n2. x\n``` b\n```\n2. b",
         [("", "a\n``` a fence does not close so\n2. x\n``` b\n```"), ("", "b")]),
        # LaTeX
        ("numbered", "1. a\n$$\n2. x\n$$\n2. b", [("", "a\n$$\n2. x\n$$"), ("", "b")]),
        ("numbered", "1. so $$x =\n2. y$$ and\n2. b", [("", "so $$x =\n2. y$$ and"), ("", "b")]),
        ("numbered", "1. a\n\\[\n2. x\n\\]\n2. b", [("", "a\n\\[\n2. x\n\\]"), ("", "b")]),
        ("numbered", "1. a \\begin{a}\n2. x\n\\end{a}\n2. b", [("", "a \\begin{a}\n2. x\n\\end{a}"), ("", "b")]),
        ("numbered", "1. a\n\\begin{a}\n\\begin{a}\n\\end{a}\n2. x\n\\end{a}\n2. b",
         [("", "a\n\\begin{a}\n\\begin{a}\n\\end{a}\n2. x\n\\end{a}"), ("", "b")]),
        ("numbered", "1. a\n\\begin{a}\n\\begin{b*}\n2. x\n\\end{b*}\n2. y\n\\end{a}\n2. b",
         [("", "a\n\\begin{a}\n\\begin{b*}\n2. x\n\\end{b*}\n2. y\n\\end{a}"), ("", "b")]),
        ("numbered", "1. a\n```\n$$ \\[\n```\n2. b\n$$", [("", "a\n```\n$$ \\[\n```"), ("", "b\n$$")]),
        ("numbered", "1. `$$` \\$$x\n2. b $$y$$\n3. c $$", [("", "`$$` \\$$x"), ("", "b $$y$$"), ("", "c $$")]),
        ("numbered", "1. a \\\\[2pt]\n2. b \\]", [("", "a \\\\[2pt]"), ("", "b \\]")]),
        # LaTeX that is never closed is text
        ("numbered", "1. a $$\n2. b", [("", "a $$"), ("", "b")]),
        ("numbered", "1. a \\[\n2. b \\[x\\]\n3. c", [("", "a \\["), ("", "b \\[x\\]"), ("", "c")]),
        ("numbered", "1. a \\begin{a}\n2. b \\end{b}", [("", "a \\begin{a}"), ("", "b \\end{b}")]),
        ("numbered", "1. a $$\n2. b $$x$$\n3. c", [("", "a $$"), ("", "b $$x$$"), ("", "c")]),
        # titled
        ("titled", "1. **A**: a\n2. **B:** b\n3. **C** c", [("A", "a"), ("B", "b"), ("C", "c")]),
        ("titled", "1) **A** : a\n2) **B** - b\n3) **C**\n   c", [("A", "a"), ("B", "b"), ("C", "c")]),
        ("titled", "**1. A**\na\n**2. B:**\nb", [("A", "a"), ("B", "b")]),
        ("titled", "**1. A**: a\n**2. B** b", [("A", "a"), ("B", "b")]),
        ("titled", "### 1. A\na\n### 2. **B**\nb\n### 3. C:", [("A", "a"), ("B", "b"), ("C", "")]),
        ("titled", "### **1. A**\na\n### **2. B**", [("A", "a"), ("B", "")]),
        ("titled", "1. **A** is **x**\n2. **B**: -5", [("A", "is **x**"), ("B", "-5")]),
        ("titled", "1. **A** -5\n2. **B** \u2013 b", [("A", "-5"), ("B", "b")]),
        ("titled", "1. **标题**：文\n2. **结论：** 文", [("标题", "文"), ("结论", "文")]),
        ("titled", "Plan.\n\n1. **A**: a\n2. **B**: b", [("A", "Plan.\n\na"), ("B", "b")]),
        ("titled", "1. **A**: a\n2. plain\n2. **B**: b", [("A", "a\n2. plain"), ("B", "b")]),
        ("titled", "1. **A**\n   2. **x**: x\n2. **B**", [("A", "2. **x**: x"), ("B", "")]),
        ("titled", "### 1. A\n1. **x**\n2. **y**\n### 2. B", [("A", "1. **x**\n2. **y**"), ("B", "")]),
        ("titled", "**1. A**\n1. **x**\n2. **y**\n**2. B**", [("A", "1. **x**\n2. **y**"), ("B", "")]),
        ("titled", "1. **A**: is 2.**bold** or 2. **bold**\n2. **B**",
         [("A", "is 2.**bold** or 2. **bold**"), ("B", "")]),
        ("titled", "1. **A\n2. ** a **\n3. ****", [("", "1. **A\n2. ** a **\n3. ****")]),
        ("titled", "1. ** : **\n2. **:**", [("", "1. ** : **\n2. **:**")]),
        ("titled", "1. a\n2. b", [("", "1. a\n2. b")]),
        # headings
        ("headings", "Step 1: a\nStep 2. b\nstep 3 - c\nSTEP 4 : d", [("", "a"), ("", "b"), ("", "c"), ("", "d")]),
        ("headings", "Step 1:\na\nStep 2\nb", [("", "a"), ("", "b")]),
        ("headings", "## Step 1: A\na\n## Step 2 - B\nb\n## Step 3\nc", [("A", "a"), ("B", "b"), ("", "c")]),
        ("headings", "**Step 1: A**\na\n**Step 2:** b\n**Step 3**: c", [("A", "a"), ("", "b"), ("", "c")]),
        ("headings", "### **Step 1: A**\na\n### **Step 2: B:** b", [("A", "a"), ("B", "b")]),
        ("headings", "Step 1: **x** is 5\nStep 2: b", [("", "**x** is 5"), ("", "b")]),
        ("headings", "Step 1: use\nStep 1.5 and step 2 we\nStep 2 gives\nStep 2: b",
         [("", "use\nStep 1.5 and step 2 we\nStep 2 gives"), ("", "b")]),
        ("headings", "Step 1.5: a\nStep 1: b", [("", "Step 1.5: a\nb")]),
        ("headings", "## Step 1: A\n### Step 2: x\n  Step 2: y\n## Step 2: B",
         [("A", "### Step 2: x\n  Step 2: y"), ("B", "")]),
        ("headings", "Sure!\n\n## Step 1: A\na\n## Step 3: x\n## Step 2: B\n\n\\boxed{2}",
         [("A", "Sure!\n\na\n## Step 3: x"), ("B", "\\boxed{2}")]),
        ("headings", "Step 1: a\n```\nStep 2: x\n```\nStep 2: b", [("", "a\n```\nStep 2: x\n```"), ("", "b")]),
        ("headings", "Steps 1: a\nStep one: b", [("", "Steps 1: a\nStep one: b")]),
        # paragraphs
        ("paragraphs", "\n\na\nb\n\n \t\nc\n", [("", "a\nb"), ("", "c")]),
        ("paragraphs", "Therefore:\n\n$$\nx\n\ny\n$$\n\nb", [("", "Therefore:"), ("", "$$\nx\n\ny\n$$"), ("", "b")]),
        ("paragraphs", "```\na\n\nb\n```\nc\n\nd", [("", "```\na\n\nb\n```\nc"), ("", "d")]),
        ("paragraphs", "a\n\n```\nb\n\nc", [("", "a"), ("", "```\nb\n\nc")]),
        ("paragraphs", "\\begin{a}\n\nx\n\n\\end{a}\n\nb", [("", "\\begin{a}\n\nx\n\n\\end{a}"), ("", "b")]),
        # lines
        ("lines", "\na\n\n  b\n", [("", "a"), ("", "b")]),
        ("lines", "a\n```\nx\n\ny\n```\nb", [("", "a"), ("", "```\nx\n\ny\n```"), ("", "b")]),
        ("lines", "a\n\\[\nx\n\\]\nb", [("", "a"), ("", "\\[\nx\n\\]"), ("", "b")]),
        ("lines", "so $$\nx\n$$ and $$\ny\n$$\nb", [("", "so $$\nx\n$$ and $$\ny\n$$"), ("", "b")]),
        # the line ends of other systems; U+2028 and its kin end no line
        ("numbered", "1. a\r\n2. b\r\n", [("", "a"), ("", "b")]),
        ("numbered", "1. a\r2. b\r", [("", "a"), ("", "b")]),
        ("titled", "1. **A**:\r\n   a\r\n2. **B**\r\n", [("A", "a"), ("B", "")]),
        ("headings", "## Step 1: A\r\na\r\n## Step 2\r\nb", [("A", "a"), ("", "b")]),
        ("headings", "Step 1\r\na\r\nStep 2\r\nb", [("", "a"), ("", "b")]),
        ("paragraphs", "a\r\n\r\nb\r\rc", [("", "a"), ("", "b"), ("", "c")]),
        ("lines", "a\r\nb\rc\nd", [("", "a"), ("", "b"), ("", "c"), ("", "d")]),
        ("lines", "a\u2028b\x0cc\x85d\x1ce\nf", [("", "a\u2028b\x0cc\x85d\x1ce"), ("", "f")]),
        ("numbered", "1. a\u20282. x\n2. b", [("", "a\u20282. x"), ("", "b")]),
        ("numbered", "1. a\r\n```\r\n2. x\r\n```\r\n2. b", [("", "a\r\n```\r\n2. x\r\n```"), ("", "b")]),
        # auto
        ("auto", "1. **A**: a\n2. **B**: b\n\nc", [("A", "a"), ("B", "b\n\nc")]),
        ("auto", "1. **A**: a\n2. b\n\nc", [("", "**A**: a"), ("", "b\n\nc")]),
        ("auto", "Step 1: a\nStep 2:\n1. x\n2. y", [("", "a"), ("", "1. x\n2. y")]),
        ("auto", "1. a\n2. b\n\nc", [("", "a"), ("", "b\n\nc")]),
        ("auto", "1. a\nb\n\nc", [("", "1. a\nb"), ("", "c")]),
        ("auto", "a\nb", [("", "a"), ("", "b")]),
        ("auto", " 1. **A**: a ", [("", "1. **A**: a")]),
        # regular expressions
        (re.compile(r"First|Then"), "Well. First a. Then b.", [("", "Well. First a."), ("", "Then b.")]),
        (re.compile(r"(?=\()"), "(a)(b)", [("", "(a)"), ("", "(b)")]),
        (re.compile(r""), "a b", [("", "a"), ("", "b")]),
        (re.compile(r";"), "a;b", [("", "a;b")]),
        (re.compile(r";"), "a;b; c", [("", "a;b"), ("", "; c")]),
        (re.compile(r"(?m)^"), "a\n```\nb\n```", [("", "a"), ("", "```"), ("", "b"), ("", "```")]),
        (re.compile(r"$"), "a\nb", [("", "a\nb")]),
        (re.compile(r"never"), " a ", [("", "a")]),
    ],
)  # fmt: skip
def test_cut(style, text, expected):
    assert cut(text, style) == expected


def test_sources_are_slices_that_keep_the_markers():
    assert split_steps("Idea:\n1. a\n\n2. **B**: b\n", "numbered") == [
        Step("", "Idea:\na", "Idea:\n1. a\n\n"),
        Step("", "**B**: b", "2. **B**: b\n"),
    ]


def test_function_as_style():
    assert split_steps("a; b;;", lambda text: text.split(";")) == [Step("", "a", "a"), Step("", "b", " b")]
    with pytest.raises(TypeError, match="one string"):
        split_steps("a; b", lambda text: text)


@pytest.mark.parametrize("style", [*STYLES, re.compile("x"), str.splitlines])
@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t\u2028\u3000"])
def test_blank_text_has_no_steps(text, style):
    assert split_steps(text, style) == []


def test_unknown_style():
    with pytest.raises(ValueError, match=r"headings, titled, numbered, paragraphs, lines.*re\.compile\('bulleted'\)"):
        split_steps("a", style="bulleted")


@pytest.mark.parametrize("text", [None, 3, b"1. a", ["a"]])
def test_text_must_be_a_string(text):
    with pytest.raises(TypeError, match=type(text).__name__):
        split_steps(text)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("Add", "2 + 2"), "**Add**: 2 + 2"),
        (Step("", "2 + 2"), "2 + 2"),
        (Step("Add", ""), "**Add**"),
        (Step("Add", "", "1. **Add**\n"), "**Add**"),
    ],
)
def test_step_text(step, text):
    assert step.text == text


@pytest.mark.parametrize(
    ("value", "step"),
    [
        (" 1. a\n", Step("", "1. a")),
        ("**A**: a", Step("", "**A**: a")),
        ({"title": " A ", "body": " a "}, Step("A", "a")),
        ({"body": "a"}, Step("", "a")),
        ({"title": None, "body": "a", "id": 3}, Step("", "a")),
        ({"title": "A", "body": None}, Step("A", "")),
        ("", Step("", "")),
    ],
)
def test_build_step(value, step):
    assert build_step(value) == step
    assert join_steps([build_step(value)]) == ""


@pytest.mark.parametrize("value", [3, ["a"], {}, {"title": "A"}, {"content": "a"}, {"title": 1, "body": "a"}])
def test_build_step_refuses(value):
    with pytest.raises(TypeError, match=re.escape(repr(value))):
        build_step(value)


# Pieces of everything that the scanner and the markers look at, so that random texts are full of near misses.
PIECES = st.sampled_from(
    [
        *(
            "1. ",
            "2. ",
            "3) ",
            "1) ",
            "1.",
            "2.",
            "10. ",
            "2.5",
            "**",
            "*",
            "**A**",
            "**1. A**",
            "**2. B:**",
            "### 1. ",
            ":",
        ),
        *(
            "# ",
            "Step 1: ",
            "step 2",
            "## Step 1: A",
            "**Step 2:** ",
            "-",
            "- ",
            "a",
            "b c",
            "  ",
            "   ",
            "\t",
            "\xa0",
            "🤗",
        ),
        *("\n", "\n", "\n\n", "\r\n", "\r", "\u2028", "\x0c", "\x85", "\u0661. ", "\ud800", "```", "````", "~~~", "`"),
        *("$$", "$", "\\", "\\[", "\\]", "\\begin{a}", "\\end{a}", "\\begin{"),
    ]
)
MARKED_UP = st.lists(PIECES, max_size=40).map("".join)


CONTENTS = ["a", "", "is\n2.5 m", "```\n2. x\n```", "$$\n2. x\n$$", "```", "\\["]


@st.composite
def numbered_lists(draw, indent=0):
    """A nested list in a random style, with line ends of every system."""
    newline = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    parts = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        parts.append(" " * indent + draw(st.sampled_from(["{}. ", "{}) ", "{}. **T**: ", "Step {}: "])).format(number))
        parts.append(draw(st.sampled_from(CONTENTS)) + newline)
        if indent < 6 and draw(st.booleans()):
            parts.append(draw(numbered_lists(indent + 3)))
    return "".join(parts)


@pytest.mark.parametrize("style", [*STYLES, re.compile(r"(?m)^[0-9]|$|(?=\*)")], ids=str)
@given(text=st.one_of(MARKED_UP, numbered_lists(), st.text(max_size=60)))
@settings(deadline=None, max_examples=300)
def test_nothing_is_lost_and_no_step_is_empty(style, text):
    steps = split_steps(text, style)
    assert join_steps(steps) == (text if text.strip() else "")
    assert all(step.text.strip() for step in steps)
    assert all(part == part.strip() for step in steps for part in (step.title, step.body))


WORDS = st.text(alphabet="abc 5.\n", min_size=1).map(lambda text: f"x{text}x")


@given(titles=st.lists(st.text(alphabet="ABC", min_size=1), min_size=2, max_size=12), data=st.data())
@settings(deadline=None)
def test_what_was_joined_by_a_list_comes_apart(titles, data):
    bodies = [data.draw(WORDS) for _ in titles]
    for form in ("{n}. **{title}**: {body}\n", "### {n}. {title}\n{body}\n\n", "**{n}. {title}**\r\n{body}\r\n"):
        text = "".join(
            form.format(n=n, title=title, body=body)
            for n, (title, body) in enumerate(zip(titles, bodies, strict=True), start=1)
        )
        assert cut(text) == list(zip(titles, bodies, strict=True))


@st.composite
def nested_lists(draw, depth):
    """Items of a list below an item, numbered anyhow, each line indented deeper than the markers of the list above."""
    lines = []
    for number in draw(st.lists(st.integers(0, 12), max_size=4)):
        form = draw(
            st.sampled_from(["{}. x", "{}) x", "{}. **T**: x", "**{}. T**", "### {}. T", "Step {}: x", "{}.5 m"])
        )
        lines.append(" " * 4 * depth + form.format(number))
        if depth < 3 and draw(st.booleans()):
            lines += draw(nested_lists(depth + 1))
    return lines


@given(nested=st.lists(nested_lists(1), min_size=2, max_size=12), shape=st.sampled_from([0, 1, 2, 3]))
@settings(deadline=None)
def test_nested_numbering_stays_in_its_step(nested, shape):
    style, marker = [
        ("titled", "{n}. **Top**: a"),
        ("numbered", "{n}. a"),
        ("headings", "## Step {n}: Top"),
        ("titled", "**{n}. Top**"),
    ][shape]
    parts = ["\n".join([marker.format(n=n), *lines, ""]) for n, lines in enumerate(nested, start=1)]
    assert [step.source for step in split_steps("".join(parts), style)] == parts


@given(body=MARKED_UP)
@settings(deadline=None)
def test_nothing_cuts_inside_a_fence(body):
    fence = "`" * 200  # longer than any that 40 pieces can make
    fenced = f"{fence}\n{body}\n{fence}"
    assert [step.source for step in split_steps(f"{fenced}\nb", "lines")] == [f"{fenced}\n", "b"]


LIMIT_SECONDS = 5  # a text of 1 MB takes about a second at most, and would take hours if any part were quadratic

ONE_LINE = [
    "1.", "*", "`", "<think>", "$$", r"\begin{a}", "1. ", "1. **", " ", "#", "~", r"\[", r"\begin{", r"\begin", "- ",
    "\t", "**Step 1", "Step 1 ", "Step 1: ", "## ", "9", "\\", "<",
]  # fmt: skip
MANY_LINES = [
    "1. \n", "1. **\n", "1. **a\n", "# 1. **\r\n", "```\n", "~~~\r", "$$\n", "\\begin{a}\n", "\\[\n", "Step 1: a\n",
    "a\n\n",
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "text",
    [
        *(unit * (1_000_000 // len(unit)) for unit in ("\n", "\r", *ONE_LINE)),
        *(start + unit * (300_000 // len(unit)) for unit in ONE_LINE for start in ("1. **", "## Step 1", "1. a\n- ")),
        *(unit * (150_000 // len(unit)) for unit in MANY_LINES),
        "\\begin{a}\n" * 50_000 + "\\end{a}\n" * 50_000,
        "".join(f"\\begin{{{number}}}\n" for number in range(10_000)),
        "".join(f"{number}. a\n" for number in range(1, 20_000)),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_time_is_linear(style, text):
    start = time.process_time()
    steps = split_steps(text, style)
    assert time.process_time() - start < LIMIT_SECONDS
    assert join_steps(steps) == (text if text.strip() else "")


def test_many_steps_and_many_environments():
    assert len(split_steps("".join(f"{number}. a\n" for number in range(1, 20_001)))) == 20_000
    nested = "\\begin{a}\n" * 10_000 + "\\end{a}\n" * 10_000
    assert [step.source for step in split_steps(f"{nested}b", "lines")] == [nested, "b"]


def test_auto_prefers_step_headings_to_the_titled_lists_in_them():
    text = "### Step 1: Set up\n1. **Given**: a\n2. **Wanted**: b\n### Step 2: Solve\nb = a"
    assert [(step.title, step.body) for step in split_steps(text)] == [
        ("Set up", "1. **Given**: a\n2. **Wanted**: b"),
        ("Solve", "b = a"),
    ]
