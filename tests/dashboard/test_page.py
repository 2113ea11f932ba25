"""The page in headless Chromium, where it is installed."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from tests.dashboard.live_page import live_page
from tests.drafter.live import until

from goodspeed.models.tokenizer import Tokenizer

CHROMEDRIVER = shutil.which("chromedriver")
BODY = {"model": "default", "prompt": "the quick brown", "max_tokens": 60, "temperature": 0}
WAIT_S = 60.0
T = TypeVar("T")

pytestmark = pytest.mark.skipif(CHROMEDRIVER is None, reason="Chromium and its driver are not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


async def shown(browser: webdriver.Chrome, find: Callable[[], T | None]) -> T:
    """What `find` returns once it is true. The browser is asked in a thread: the servers run in this one."""
    return await asyncio.to_thread(_once, browser, find)


def _once(browser: webdriver.Chrome, find: Callable[[], T | None]) -> T:
    found: T | Literal[False] = WebDriverWait(browser, WAIT_S, 0.05).until(lambda _: find() or False)
    assert found is not False
    return found


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [str(found.text) for found in browser.find_elements(By.CSS_SELECTOR, selector)]


async def test_page_shows_clients_their_text_by_origin_and_a_race(
    browser: webdriver.Chrome, tokenizer: Tokenizer
) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient(timeout=30) as client:
        await asyncio.to_thread(browser.get, page.url)
        await until(lambda: "drafter" in page.reader.drafter_urls)
        answer = (await client.post(f"{page.drafter}/v1/completions", json=BODY)).json()
        assert await shown(browser, lambda: texts(browser, "#clients h3")) == ["drafter"]
        await client.post(f"{page.drafter}/v1/completions", json=BODY)
        spans = await shown(browser, lambda: _spans(browser))
        race = await shown(browser, lambda: _raced(browser))
        log = await asyncio.to_thread(browser.get_log, "browser")
    assert "".join(text for _, text in spans).startswith(answer["choices"][0]["text"])
    assert {origin for origin, _ in spans} == {"remote", "target"}
    assert "The texts are identical." in race
    assert [entry for entry in log if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [1280, 390])
async def test_page_fits_its_window(browser: webdriver.Chrome, tokenizer: Tokenizer, width: int) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient(timeout=30) as client:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride", size)
        await asyncio.to_thread(browser.get, page.url)
        await client.post(f"{page.drafter}/v1/completions", json=BODY)
        assert await shown(browser, lambda: texts(browser, "#clients article"))
        assert await asyncio.to_thread(browser.execute_script, "return document.documentElement.scrollWidth") == width


async def test_controls_have_names_and_can_be_reached_by_keyboard(
    browser: webdriver.Chrome, tokenizer: Tokenizer
) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient(timeout=30) as client:
        await asyncio.to_thread(browser.get, page.url)
        await client.post(f"{page.drafter}/v1/completions", json=BODY)
        assert await shown(browser, lambda: texts(browser, "#clients article"))
        names = await asyncio.to_thread(_accessible_names, browser)
    assert names
    assert all(names.values()), names


def _spans(browser: webdriver.Chrome) -> list[tuple[str, str]] | None:
    """(origin, text) of the pieces of the first card, once an answer has ended."""
    script = """
        const end = document.querySelector("#clients [data-finish]");
        return end && [...end.children].map((span) => [span.className, span.textContent]);
    """
    found: Any = browser.execute_script(script)
    return found and [(origin, text) for origin, text in found]


def _raced(browser: webdriver.Chrome) -> str:
    """The result of a race, which the first call starts."""
    result = browser.find_element(By.ID, "race-result").text
    button = browser.find_element(By.CSS_SELECTOR, "#race button")
    if not result and button.is_enabled():
        button.click()
    return str(result)


def _accessible_names(browser: webdriver.Chrome) -> dict[str, str]:
    """Of everything that can have the focus, and of the charts."""
    found: list[WebElement] = browser.find_elements(By.CSS_SELECTOR, "[tabindex], input, select, button, svg[role=img]")
    return {f"{element.tag_name} {i}": element.accessible_name for i, element in enumerate(found)}
