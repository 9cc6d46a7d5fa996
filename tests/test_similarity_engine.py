"""Both ways to 2M/T, compiled and in Python, are difflib's number bit for bit and bounded for any input."""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_srl import matching, similarity, step_similarity
from trl_srl.matching import Expert, count_matches, matching_blocks
from trl_srl.similarity import MAX_LENGTH, step_similarities


ROOT = Path(__file__).parents[1]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
PLANES = [0x0, 0x80, 0x300, 0x4E00, 0xD800, 0xDC00, 0xE000, *(plane << 16 for plane in range(1, 17))]


@pytest.fixture(params=["compiled", "in Python"])
def path(request, monkeypatch):
    """Each test runs on both paths."""
    if request.param == "in Python":
        monkeypatch.setattr(similarity, "compiled", None)
    elif similarity.compiled is None:
        pytest.skip("not compiled")
    return request.param


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_it_is_compiled_where_it_can_be():
    assert similarity.compiled.__file__.endswith((".so", ".pyd"))


def degenerate_pairs():
    """The pairs that the benchmark reports on."""
    spec = spec_from_file_location("benchmark", ROOT / "benchmarks" / "similarity.py")
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    return benchmark.degenerate_pairs()


def difflib_ratio(action, expert, autojunk=False):
    return SequenceMatcher(None, action, expert, autojunk=autojunk).ratio()


def own_matches(action, expert):
    """By search, by names, and by search until too much is searched or windows are too large: one number, or a bug."""
    (text,), expert = similarity._as_texts([action], expert)
    counts = set()
    own = matching._SEARCHED, matching._SEARCHED_IN_ALL
    for searched, in_all in (own, (own[0], 2_000), (400, own[1]), (0, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matching, "_SEARCHED", searched)
            patch.setattr(matching, "_SEARCHED_IN_ALL", in_all)
            counts.add(count_matches(text, Expert(expert)))
    return counts


def difflib_blocks(action, expert):
    *blocks, _ = SequenceMatcher(None, action, expert, autojunk=False).get_matching_blocks()
    return blocks


def own_ratios(action, expert):
    length = len(action) + len(expert)
    return {2.0 * count / length if length else 1.0 for count in own_matches(action, expert)}


@pytest.mark.parametrize(
    ("action", "expert", "matches"),
    [
        ("", "", 0),
        ("", "abc", 0),
        ("abc", "", 0),
        ("abc", "abc", 3),
        ("abxcd", "abcd", 4),  # "ab", then "cd" to its right
        ("abcd", "cdab", 2),  # of two blocks of equal length the first in `a`: "ab", and nothing beside it
        ("xaby", "abyab", 3),  # "aby"
        ("abab", "ab", 2),  # the first "ab" of `a`
        ("ab", "abab", 2),
        ("aab", "aba", 2),  # "ab" at a[1]; its left is "a" against nothing
        ("tide", "diet", 1),  # "t" comes first in `a` and last in `b`: nothing to its right
        ("diet", "tide", 2),  # "d", then "e"
        ("abcXdefYgh", "abcPdefQgh", 8),  # blocks of 3, 3 and 2: two of the same length, one shorter
        ("XabYcd", "abcd", 4),
        ("ab" * 750, "a" * 1500, 750),  # every "a" of its own
        ("a" * 1500, "ab" * 750, 750),
        ("a" * 5000, "a" * 4999, 4999),
        ("a" * 17, "a" * 7, 7),  # lengths between two powers of two
        ([1, 2, 3], [2, 3, 4], 2),
        (["x", "=", "3"], ("x", "=", "4"), 2),
        ("abc", ["a", "b", "c"], 3),
    ],
)
def test_by_hand(action, expert, matches, path):
    length = len(action) + len(expert)
    assert step_similarity(action, expert) == (2.0 * matches / length if length else 1.0)
    assert own_matches(action, expert) == {matches}


@pytest.mark.parametrize(
    ("a", "b", "block"),
    [
        ("", "", (0, 0, 0)),
        ("abc", "xyz", (0, 0, 0)),
        ("abxcd", "cdab", (2, 0, 2)),  # of "ab" and "cd" the first in `a`
        ("xabyab", "abzab", (2, 1, 0)),  # "ab" twice in both: the first in each
        ("xbcdabc", "abcdbc", (3, 1, 1)),  # "bcd" comes before "abc" in `a`
        ("hello world, world", "a world, hello", (8, 5, 1)),  # " world, "; "hello" was longest before
        ("abcdefgh" * 3, "bcdefgha" * 3, (23, 1, 0)),
    ],
)
def test_search_finds_the_block_that_difflib_takes_first(a, b, block):
    i, j, k = SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    assert matching._search(a, b, min(len(a), len(b))) == block == (k, i, j)


def test_a_search_that_does_not_come_forward_is_given_up():
    """Everywhere in `a`, half of a block of 51 occurs in `b`, and no such block does."""
    a, b = ("a" * 60 + "b") * 20, ("a" * 50 + "c") * 20
    assert matching._search(a, b, len(b)) is None
    assert own_ratios(a, b) == {difflib_ratio(a, b)}


def test_neighbouring_blocks_are_one():
    assert matching_blocks("xaaab", Expert("aaab")) == [(1, 0, 4)]
    assert matching_blocks("ab-cd", Expert("abcd")) == [(0, 0, 2), (3, 2, 2)]
    assert matching_blocks("", Expert("abc")) == []


def random_pair(rng):
    """A pair of one of the kinds that go wrong in different ways."""
    kind = rng.randrange(8)
    letters = "ab" if rng.random() < 0.3 else "abcdefgh \n"[: rng.randint(1, 10)]
    if kind == 0:  # small alphabets
        return tuple("".join(rng.choices(letters, k=rng.randrange(60))) for _ in range(2))
    if kind == 1:  # periodic, with defects
        period = "".join(rng.choices("abc", k=rng.randint(1, 6)))
        texts = []
        for _ in range(2):
            text = list(period * rng.randint(1, 60))
            for _ in range(rng.randrange(4)):
                text[rng.randrange(len(text))] = rng.choice("abcx")
            texts.append("".join(text))
        return tuple(texts)
    if kind == 2:  # shared beginnings and ends
        parts = ["".join(rng.choices(letters, k=rng.randrange(40))) for _ in range(4)]
        return parts[0] + parts[1] + parts[2], parts[0] + parts[3] + parts[2]
    if kind == 3:  # around difflib's 200
        return tuple("".join(rng.choices(letters + "xyz", k=rng.choice([199, 200, 201]))) for _ in range(2))
    if kind == 4:  # all planes, surrogates among them
        alphabet = [chr(rng.choice(PLANES) + rng.randrange(3)) for _ in range(rng.randint(1, 12))]
        return tuple("".join(rng.choices(alphabet, k=rng.randrange(50))) for _ in range(2))
    if kind == 5:  # tokens
        return tuple(rng.choices(range(rng.randint(1, 30)), k=rng.randrange(60)) for _ in range(2))
    if kind == 6:  # the same parts in another order
        parts = ["".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(rng.randint(1, 8))]
        return "".join(parts), "".join(rng.sample(parts, len(parts)))
    text = "".join(rng.choices(letters, k=rng.randrange(300)))  # a copy with changes
    return "".join(rng.choice(letters) if rng.random() < 0.1 else letter for letter in text), text


def check(rng, pairs):
    for _ in range(pairs):
        action, expert = random_pair(rng)
        expected = difflib_ratio(action, expert)
        assert step_similarity(action, expert) == expected, (action, expert)
        assert own_ratios(action, expert) == {expected}, (action, expert)
        (text,), expert_text = similarity._as_texts([action], expert)
        if similarity.compiled:  # and not given up, which `step_similarity` would hide
            assert similarity.compiled.count_matches([text], expert_text) == [count_matches(text, Expert(expert_text))]
        assert matching_blocks(text, Expert(expert_text)) == difflib_blocks(action, expert), (action, expert)


def test_equals_difflib():
    check(random.Random(0), 1000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_equals_difflib_over_many_pairs(seed):
    check(random.Random(100 + seed), 3000)


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
REPEATS = st.lists(st.sampled_from(["ab", "a", "abc", "x"]), max_size=40).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANY_TEXT, REPEATS), st.one_of(ANY_TEXT, REPEATS))
def test_equals_difflib_on_what_hypothesis_finds(action, expert):
    expected = difflib_ratio(action, expert)
    assert step_similarity(action, expert) == expected
    assert own_ratios(action, expert) == {expected}
    assert matching_blocks(action, Expert(expert)) == difflib_blocks(action, expert)


@settings(max_examples=100, deadline=None)
@given(*[st.lists(st.sampled_from([0, "", None, 1.5, "token", (1, 2)]), max_size=30)] * 2)
def test_equals_difflib_on_tokens(action, expert):
    expected = difflib_ratio(action, expert)
    assert step_similarity(action, expert) == expected
    assert own_ratios(action, expert) == {expected}


@pytest.mark.skipif(similarity.compiled is None, reason="not compiled")
def test_compiled_counts_of_one_expert():
    count = similarity.compiled.count_matches
    assert count(["abc", "xx", "", "\ud83d", "cdab"], "abcd") == [3, 0, 0, 0, 2]
    assert count([], "abcd") == []
    assert count(["", "a"], "") == [0, 0]
    n = MAX_LENGTH // 2
    assert count(["ab" * n, "x = 3"], "a" * n) == [None, 0]  # given up; the next one starts afresh


@pytest.mark.skipif(similarity.compiled is None, reason="not compiled")
def test_what_is_given_up_is_a_none_of_its_own():
    """Python 3.11 counts the references to None, and dies when none is left."""
    before = sys.getrefcount(None)
    for _ in range(50):
        assert similarity.compiled.count_matches(["ab" * 2500], "a" * 5000) == [None]
    assert sys.getrefcount(None) > before - 25


@pytest.mark.skipif(similarity.compiled is None, reason="not compiled")
@pytest.mark.parametrize(
    ("actions", "expert", "error"),
    [
        (["a"], 3, TypeError),
        (("a",), "a", TypeError),
        (["a", None], "a", TypeError),
        (["a" * (2**24 + 1)], "a", ValueError),
        (["a"], "a" * (2**24 + 1), ValueError),
    ],
)
def test_compiled_code_refuses_what_it_cannot_count(actions, expert, error):
    with pytest.raises(error):
        similarity.compiled.count_matches(actions, expert)


def test_what_compiled_code_gives_up_is_counted_in_python(monkeypatch):
    counted = []
    monkeypatch.setattr(similarity, "count_matches", lambda *pair: counted.append(pair[0]) or count_matches(*pair))
    expert = "ab" * 2000
    similarities = step_similarities([expert + "c", "b" * 4000, "abc"], [expert] * 3)
    assert similarities == [8000 / 8001, 0.5, 4 / 4003]
    assert counted == ["b" * 4000] or similarity.compiled is None


SANITIZED = """
import random, sys
sys.path[:0] = sys.argv[1:3]
import _matching, test_similarity_engine as tests
assert "sanitized" in _matching.__file__
rng = random.Random(int(sys.argv[3]))
for _ in range(int(sys.argv[4])):
    pairs = [tests.random_pair(rng) for _ in range(3)]
    expert = pairs[0][1]
    texts, text = tests.similarity._as_texts([action for action, _ in pairs], expert)
    expected = [tests.count_matches(action, tests.Expert(text)) for action in texts]
    assert _matching.count_matches(texts, text) == expected, (texts, text)
for pair in tests.degenerate_pairs().values():
    _matching.count_matches([pair[0]], pair[1])
print("clean")
"""


@pytest.mark.skipif(sys.platform != "linux" or COMPILER is None, reason="needs a C compiler on Linux")
@pytest.mark.parametrize("small", [0, 100, 4096])
def test_compiled_code_stays_inside_its_memory(small, tmp_path):
    """Built with checks of every access and of undefined behaviour, and with tables for small, smaller, no windows."""
    folder = tmp_path / "sanitized"
    folder.mkdir()
    library = subprocess.run([COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("the compiler has no address sanitizer")
    subprocess.run(
        [
            *(COMPILER, "-O1", "-g", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-DPy_LIMITED_API=0x030B0000", f"-DSMALL={small}", f"-I{sysconfig.get_paths()['include']}"),
            *(str(ROOT / "trl_srl" / "_matching.c"), "-o", str(folder / "_matching.abi3.so")),
        ],
        check=True,
    )
    result = subprocess.run(
        [sys.executable, "-c", SANITIZED, str(folder), str(ROOT / "tests"), str(small), "300"],
        env={**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.stdout == "clean\n", result.stderr[-3000:]


def test_degenerate_pairs_are_bounded(path):
    """Pairs of up to 20,000 × 20,000 characters: at most 1 s of CPU and 300 MB each, in a process of its own."""
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from benchmarks import similarity as b\n"
        "for name, pair in b.degenerate_pairs().items():\n"
        "    call = lambda: b.step_similarity(*pair)\n"
        "    start = b.process_time()\n"
        "    number = (b.in_python(call) if sys.argv[2] == 'in Python' else call)()\n"
        "    print(json.dumps([name, number, b.process_time() - start, b.peak_memory()]))\n"
    )
    command = [sys.executable, "-c", code, str(ROOT), path]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    results = [json.loads(line) for line in output.splitlines()]
    numbers = {name: number for name, number, _, _ in results}
    assert len(numbers) == 46
    assert numbers["'ab' * n, 'a' * n"] == 0.5
    assert numbers["one letter"] == 2 * 19_999 / 39_999
    assert numbers["20,000 different characters"] == 2 * 19_999 / 40_000
    assert numbers["letters with a dot after each"] == 2 * 10_000 / 29_999
    assert numbers["lone surrogates"] == 2 * 10_000 / 40_000
    # Twice the documented second, because other work may run beside the tests.
    assert [(name, seconds) for name, _, seconds, _ in results if seconds > 2] == []
    assert max(megabytes for *_, megabytes in results) < 300


def test_both_paths_agree_on_the_degenerate_pairs(monkeypatch):
    pairs = {name: (action[:3000], expert[:3000]) for name, (action, expert) in degenerate_pairs().items()}
    default = {name: step_similarity(*pair) for name, pair in pairs.items()}
    monkeypatch.setattr(similarity, "compiled", None)
    assert {name: step_similarity(*pair) for name, pair in pairs.items()} == default


def test_batch(path):
    actions = ["x = 3", "x = 4", "x = 3", "", "\ud83d", "x = 4"]
    experts = ["x = 4", "x = 4", "x = 4", "x = 4", "x = 4", "y"]
    assert step_similarities(actions, experts) == [0.8, 1.0, 0.8, 0.0, 0.0, 0.0]
    assert step_similarities([], []) == []
    assert step_similarities([[1, 2], "ab"], [[1, 3], "ab"]) == [0.5, 1.0]


def test_batch_compares_what_occurs_twice_once(monkeypatch):
    compared = []
    count = similarity._count
    monkeypatch.setattr(similarity, "_count", lambda *pair: compared.append(pair) or count(*pair))
    step_similarities(["a", "b", "a", "c", "e", "e"], ["e", "e", "e", "f", "e", "f"])
    assert compared == [(["a", "b"], "e"), (["c", "e"], "f")]  # "e" and "e" are equal: nothing to compare


@pytest.mark.parametrize("step", [None, 3, [[1]], ["a", {}]])
def test_what_is_no_step_is_one_error(step):
    with pytest.raises(TypeError, match="A step is a text or a sequence of words or token ids, not"):
        step_similarity(step, "x")
    with pytest.raises(TypeError, match="A step is a text"):
        step_similarities(["x"], [step])


def test_as_many_experts_as_actions():
    with pytest.raises(ValueError, match="zip"):
        step_similarities(["x"], ["x", "y"])


def test_longer_texts_are_cut_and_what_is_cut_counts_as_different(path):
    text = "ab" + "c" * (MAX_LENGTH - 2)
    assert step_similarity(text, text + "d") == 2 * MAX_LENGTH / (2 * MAX_LENGTH + 1)  # difflib's number still
    assert step_similarity(text + "x" * MAX_LENGTH, text) == 2 / 3
    assert step_similarity(text + "d", text + "d") == 1.0  # equal is equal
    assert step_similarity("z" * MAX_LENGTH + "ab", "ab") == 0.0  # "ab" is not seen
    assert step_similarity([1] * 3 * MAX_LENGTH, [1] * MAX_LENGTH) == 0.5


def test_cut_rate_is_logged():
    from trl_srl import step_similarity_reward

    metrics = {}
    long = "<think></think>" + "x" * (MAX_LENGTH + 1)
    completions = [long, "<think></think>" + "x" * MAX_LENGTH, "x", "<think></think>x"]
    step_similarity_reward(completions, ["x", "x", "x", "x"], log_metric=metrics.__setitem__)
    assert metrics["srl/cut_rate"] == 0.25


def test_autojunk_is_difflibs_number_with_a_warning():
    action, expert = "b" + "ab" * 100, "ab" * 100
    with pytest.warns(UserWarning, match="not SRL's reward"):
        assert step_similarity(action, expert, autojunk=True) == difflib_ratio(action, expert, autojunk=True) == 0.0
    assert step_similarity(action, expert) == 2 * 200 / 401


def test_words(path):
    action, expert = "the answer is 41", "the answer is 42"
    assert step_similarity(action.split(), expert.split()) == 0.75
    assert step_similarity(action, expert) == 30 / 32


TEXT = "So 48 / 2 = 24 clips in May. " * 40
EXPECTED = 2 * 1160 / (1160 + 1161)


def in_worker(compiled):
    if not compiled:  # a spawned worker has imported the package anew
        similarity.compiled = None
    return step_similarities([TEXT] * 3, [TEXT + "x"] * 3) == [EXPECTED] * 3 and step_similarity("ab" * 400, "a" * 700)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_after_use_in_the_parent(method, path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    compiled = path == "compiled"
    assert in_worker(compiled) == 2 * 400 / 1500
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(in_worker, [compiled] * 4).get(timeout=60) == [2 * 400 / 1500] * 4


def test_threads(path):
    rng = random.Random(3)
    pairs = [random_pair(rng) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda pair: step_similarity(*pair), pairs)) == [difflib_ratio(*pair) for pair in pairs]


def test_datasets_map_with_processes(path):
    from datasets import Dataset

    in_worker(path == "compiled")
    rows = Dataset.from_dict({"action": ["x = 3", "x = 4"] * 4, "expert": ["x = 4"] * 8})
    scored = rows.map(lambda row: {"similarity": step_similarity(row["action"], row["expert"])}, num_proc=2)
    assert scored["similarity"][:] == [0.8, 1.0] * 4


def test_the_package_works_where_it_could_not_be_compiled():
    code = (
        "import sys; sys.modules['trl_srl._matching'] = None\n"
        "from trl_srl import step_similarity, similarity\n"
        "print(similarity.compiled, step_similarity('x = 3', 'x = 4'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "None 0.8\n"
