"""The report page in a headless Chromium: what it shows, how it is used, and that nothing of a run ever runs in it."""

import shutil

import pytest

from trl_srl.agent_prompts import build_agent_prompt
from trl_srl.report import write_report

from ..made_up_runs import make_row, write_run


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("no Chromium is installed, so the report page cannot be opened", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, which drives Chromium")

NOISE = "\U0001d54f"  # one character in Python, two in JavaScript


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, tmp_path):
    """Opens the report of rows from disk. Whatever the page does that it should not is an error at the end."""
    seen, pages = [], []

    def open_report(rows, log=(), **options):
        run = write_run(tmp_path / "run", rows, log)
        report = write_report(run, tmp_path / "report.html")
        page = chromium.new_page(**options)
        pages.append(page)
        page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: seen.append(f"console {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error {error}"))
        page.on("request", lambda request: seen.append(f"request {request.url}"))
        page.on("popup", lambda popup: seen.append("popup"))
        page.goto(report.path.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        assert seen == [f"request {report.path.as_uri()}"]
        seen.clear()
        return page

    yield open_report
    for page in pages:
        assert page.evaluate("window.ran") is None
        page.close()
    assert seen == []


def a_run():
    """Three steps: one row at every step, another at the second alone, and a dropped group."""
    rows = []
    for step, texts in ((1, ["x = 3", None]), (2, ["x = 4", "x = 3"]), (3, ["x = 4", "x = 4"])):
        for text in texts:
            whole = "I do not know" if text is None else f"<think>monologue {step}</think>{text}"
            rows.append(make_row(whole, step=step, problem="What is x, the first?", problem_id="first"))
    once = {"problem": "Another problem", "problem_id": "second", "so_far": "y = 1", "step_index": 1}
    rows += [
        make_row(f"<think></think>{NOISE}y = 2", f"y = 2{NOISE}{NOISE}", step=2, group=1, sampling="dropped", **once)
        for _ in range(2)
    ]
    return rows


def listed(page):
    """How many rollouts the page says are listed, after the search's pause."""
    page.wait_for_timeout(200)
    return int(page.text_content(".count").split()[0].replace(",", ""))


def test_the_numbers_and_the_blocks(open_page):
    page = open_page(a_run(), log=[{"step": step, "loss": step / 2} for step in (1, 2, 3)])
    assert page.title() == "run – trl-srl report"
    assert page.text_content(".title p") == "3 training steps · 8 rollouts"
    assert page.locator("figure.chart svg path").count() >= 8
    assert page.text_content(".detail .sum") == (
        "M = 4 characters in 1 matching blockT = 5 + 5 = 10 characters of both texts2M/T = 8/10 = 0.8000"
    )
    assert page.locator(".detail mark[data-block]").all_text_contents() == ["x = ", "x = "]
    assert page.locator(".detail .beside .o").all_text_contents() == ["3", "4"]
    assert "Kept and trained on" in page.text_content(".facts")
    page.get_by_role("button", name="dropped", exact=True).click()
    assert listed(page) == 2
    # Places are counted in characters, not in JavaScript's units: "y = 2" matches behind the noise.
    assert page.locator(".detail mark[data-block]").all_text_contents() == ["y = 2", "y = 2"]
    assert page.locator(".detail .beside .o").all_text_contents() == [NOISE, NOISE * 2]
    assert "T = 6 + 7 = 13" in page.text_content(".detail .sum")
    assert "Dropped: (almost) equal rewards" in page.text_content(".facts")
    assert page.locator(".detail .text.problem").all_text_contents() == ["Another problem", "y = 1"]
    assert "at one step only (2)" in page.text_content("#history")
    page.get_by_text("Trainer log: 1 series").click()
    page.locator("#log figure").wait_for()  # there is one; a folded part opens a moment later


def test_filters_and_orders(open_page):
    page = open_page(a_run())
    values = lambda: page.locator(".item .value").all_text_contents()  # noqa: E731
    assert listed(page) == 8
    page.get_by_role("button", name="bad format").click()
    assert (listed(page), values()) == (1, ["−1.000"])
    assert "No similarity: the format is not followed (it has no </think>)" in page.text_content(".detail .sum")
    page.get_by_role("button", name="bad format").click()
    page.get_by_label("From step").fill("2")
    page.get_by_label("to", exact=True).fill("2")
    assert listed(page) == 4
    page.get_by_label("Order").select_option("like")
    assert values() == ["1.000", "0.800", "0.769", "0.769"]
    page.get_by_label("Search").fill("ANOTHER")
    assert listed(page) == 2
    page.get_by_label("Search").fill("nowhere to be found")
    assert listed(page) == 0
    assert "No rollout is like that" in page.text_content("#detail")
    page.get_by_role("button", name="Show all").click()
    assert listed(page) == 8
    page.get_by_label("Order").select_option("lowest")
    assert values()[0] == "−1.000"
    page.get_by_role("button", name="seen again").click()
    assert listed(page) == 6


def test_the_hardest_rows(open_page):
    page = open_page(a_run())
    # The last quarter of three steps is the last one, where both rollouts of the first row are exact.
    assert page.locator(".hardest tbody tr").count() == 1
    assert "Hardest rows since step 3" in page.text_content(".hardest caption")
    assert page.locator(".hardest tbody td").all_text_contents() == ["1/3", "2", "1.000", "Show"]
    page.get_by_label("Search").fill("another")
    assert listed(page) == 2
    page.get_by_role("button", name="Show: x = 4").click()
    assert (listed(page), page.get_attribute("#detail", "data-row")) == (8, "6")


def test_the_same_row_early_and_late(open_page):
    page = open_page(a_run())
    assert page.locator("#history circle").count() == 6
    page.keyboard.press("c")
    compared = page.locator(".compare > div")
    assert "Early, step 1" in compared.nth(0).text_content()
    assert "mean 0.400" in compared.nth(0).text_content()  # 0.8 and a malformed one
    assert "Late, step 3" in compared.nth(1).text_content()
    assert "mean 1.000" in compared.nth(1).text_content()
    compared.nth(0).get_by_role("combobox").select_option(index=0)
    assert "similarity 0.800, reward 0.800" in compared.nth(0).text_content()
    page.locator("#history circle").nth(3).click()
    assert page.get_attribute("#detail", "data-row") == "6"  # row 0, where one is, is drawn last
    assert page.locator(".compare").count() == 1  # stays open from rollout to rollout


def test_keys(open_page):
    page = open_page(a_run())
    chosen = lambda: int(page.get_attribute("#detail", "data-row"))  # noqa: E731
    assert chosen() == 0
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert chosen() == 2
    page.keyboard.press("k")
    assert chosen() == 1
    page.keyboard.press("n")
    assert chosen() == 0  # the group of two, round about
    page.keyboard.press("End")
    assert chosen() == 7
    page.keyboard.press("Home")
    page.keyboard.press("m")
    assert page.locator(".detail").get_by_text("monologue 1", exact=True).is_visible()
    page.keyboard.press("/")
    page.keyboard.type("jk?")  # letters, not keys
    assert (page.input_value("#search"), listed(page)) == ("jk?", 0)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_in_a_notebook(chromium, tmp_path):
    report = write_report(write_run(tmp_path / "run", a_run()), tmp_path / "report.html")
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.set_content(f"<!doctype html><p>a cell</p>{report._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator("body[data-ready]").wait_for()
    frame.get_by_role("button", name="bad format").click()
    assert frame.locator(".item").count() == 1
    frame.locator("#help-open").click()
    frame.locator("#help-close").click()
    assert not frame.locator("#help").is_visible()
    page.close()
    assert errors == []


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_light_and_dark(open_page):
    page = open_page(a_run(), color_scheme="dark")
    dark = background(page)
    assert max(map(int, dark[4:-1].split(", "))) < 50
    page.emulate_media(color_scheme="light")
    light = background(page)
    assert min(map(int, light[4:-1].split(", "))) > 200
    for name, expected in (("Light", light), ("Dark", dark), ("Auto", light)):
        page.keyboard.press("t")
        assert (page.text_content("#theme"), background(page)) == (name, expected)


@pytest.mark.parametrize("width", [390, 1000, 1600])
def test_nothing_sticks_out(open_page, width):
    page = open_page(a_run(), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_run_without_rollouts_and_one_without_a_log(open_page, tmp_path):
    page = open_page([], log=[{"step": step, "loss": 1.0, "lr": step} for step in (1, 2)])
    assert "The run has no rollouts files" in page.text_content("#rollouts")
    page.keyboard.press("j")
    page.get_by_text("Trainer log: 2 series").click()
    page.locator("#log figure").wait_for()  # there is one; a folded part opens a moment later
    assert "The same throughout: loss 1." in page.text_content("#log")


def test_an_agents_task_and_what_it_did(open_page):
    prompt = build_agent_prompt("Mend it.", [("```bash\nls\n```", "a.py")], action_format="command")
    page = open_page([make_row("<think></think>```bash\ncat a.py\n```", prompt=prompt)])
    task, earlier = page.locator(".detail .text.problem").all_text_contents()
    assert task == "Mend it."
    assert earlier == "```bash\nls\n```\n\nObservation:\na.py\n\nWrite the next action."
    assert "step 1 · 1/3 · Mend it." in page.text_content(".item")


def test_rlvr(open_page):
    rows = [make_row("42", None, step=step, problem_id=None, step_index=None, num_steps=None) for step in (1, 2)]
    rows = [row | {"reward": step / 2} for step, row in enumerate(rows)]
    page = open_page(rows)
    assert page.locator(".item").count() == 2
    assert "not judged" in page.text_content(".item")
    assert page.locator(".detail .text.code").all_text_contents() == ["42"]
    assert page.locator("#history circle").count() == 2


def test_ten_thousand_rollouts(open_page):
    rows = [
        make_row(f"<think>{group}</think>x = {group * 8 + i}", step=step, group=group, problem=f"Problem {group}")
        for step in range(1, 41)
        for group in range(32)
        for i in range(8)
    ][:10_000]
    page = open_page(rows)
    assert listed(page) == 10_000
    assert page.locator(".item").count() < 60
    page.evaluate("document.querySelector('#list').scrollTop = 1e9")
    page.wait_for_selector('.item[aria-posinset="10000"]')
    assert page.locator(".item").count() < 60
    milliseconds = page.evaluate(
        """() => {
            const began = performance.now();
            const list = document.querySelector("#list");
            for (let i = 0; i < 100; i++) { list.scrollTop = i * 5000; list.dispatchEvent(new Event("scroll")); }
            return (performance.now() - began) / 100;
        }"""
    )
    assert milliseconds < 50  # for each redraw; a few on a quiet core
    page.keyboard.press("Home")
    page.get_by_label("Search").fill("problem 31")
    assert listed(page) == 39 * 8  # the last step's last groups are not among the ten thousand
    assert page.locator(".item").count() < 60


HOSTILE = [
    "<script>window.ran = 1; alert(1)</script>",
    "</script><script>window.ran = 1</script>",
    "<!--<script>window.ran = 1",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'><a xlink:href='javascript:window.ran=1'>x</a></svg>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    '<a href="javascript:window.ran = 1">click</a> [x](javascript:window.ran=1)',
    '" onmouseover="window.ran = 1" autofocus onfocus="window.ran = 1',
    "<style>@import 'https://example.com/x.css'; body { background: url(https://example.com/x.png) }</style>",
    "<link rel=stylesheet href=https://example.com/x.css><meta http-equiv=refresh content='0;url=https://example.com'>",
    "<base href=https://example.com/><form action=https://example.com><button>x</button></form>",
    "${window.ran = 1}{{constructor.constructor('window.ran = 1')()}}",
    "__proto__",
    "constructor",
    "\0 \ud800 \udfff \u2028 \u2029 \u202e \ufeff \x1b[31m",
    "á" * 2 + "\u0301" * 500,
    "<b>" * 350_000,
]


def test_hostile_texts_are_texts(open_page):
    rows = []
    for place, text in enumerate(HOSTILE):
        where = {"problem": text, "problem_id": text, "so_far": text, "group": place, "sampling": "trained"}
        rows.append(make_row(f"<think>{text}</think>{text}", text, step=1, **where))
        rows.append(make_row(text, text[::-1], step=2, **where))
    for row, text in zip(rows[::4], HOSTILE[:6], strict=False):
        row["split"] = text[:60]
    rows += [make_row("<think>a</think>b", text, step=3, group=i) for i, text in enumerate(HOSTILE)]
    log = [{"step": step} | {text[:100]: 1.0 for text in HOSTILE} for step in (1, 2)]
    page = open_page(rows, log=log)
    assert page.locator("script").count() == 2  # the page's own, and its data
    for tag in ("img", "iframe", "a:not(.skip)", "link", "base", "main form", "main style", "object"):
        assert page.locator(tag).count() == 0, tag
    page.get_by_text("Trainer log:").click()
    page.keyboard.press("Home")
    for _ in range(listed(page)):
        page.evaluate("document.querySelectorAll('#detail details').forEach((fold) => { fold.open = true; })")
        page.locator("#detail .text").first.hover()
        page.keyboard.press("j")
    for button in page.locator(".tabs button").all():
        button.click()
    page.get_by_label("Search").fill("alert(1)</SCRIPT>")
    assert listed(page) > 0
    assert page.locator(".detail .text").filter(has_text="<script>window.ran = 1; alert(1)</script>").count() > 0
    assert page.locator("script").count() == 2
    assert page.locator("#main img, #main iframe, #main svg svg").count() == 0


def test_the_policy_stops_what_would_get_in(open_page, tmp_path):
    """A second line: even markup that somebody put into the page cannot run or load anything."""
    page = open_page(a_run())
    broken = tmp_path / "broken.html"
    intruder = "<script>window.ran = 1</script><img src=https://example.com/x.png onerror='window.ran = 1'>"
    broken.write_text((tmp_path / "report.html").read_text().replace("<noscript>", f"{intruder}<noscript>"))
    other = page.context.browser.new_page()
    loaded, refused = [], []
    other.on("response", lambda response: loaded.append(response.url))
    other.on("console", lambda message: refused.append(message.text))
    other.goto(broken.as_uri())
    other.wait_for_selector("body[data-ready]")
    assert other.evaluate("window.ran") is None
    assert loaded == [broken.as_uri()]
    assert any("Content Security Policy" in text for text in refused)
    other.close()
