"""Logging in with Debian's Chromium: refused, let in, kept to one's role, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser.test_station_browser import CHROMIUM, make_manifest, plates
from unit.station_people import PASSWORD, QUICK, ROLES

from edge.station.people import People
from qc.journal import Journal, JournalWriter
from qc.types import Review, Verdict

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from browser.test_station_keys import DRIVER, browser, serious, serving, until  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

__all__ = ["browser"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or not DRIVER.exists(), reason="chromium and its driver are not installed"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A station with one person of each role; one decision stands in its trail."""
    path = tmp_path_factory.mktemp("station") / "line-2.journal"
    with JournalWriter(path, make_manifest(), "litert") as writer:
        for plate in plates()[1:2]:
            writer.put(plate)
    people = People(path, make=True, hasher=QUICK)
    for name, role in ROLES.items():
        people.add(name, role, PASSWORD, by="test")
    part = plates()[1].inspection_id
    Journal(path).add_review(Review(part, "Rita", Verdict.NG, "stain", role="reviewer"))
    with serving(path, None, people=people) as address:
        yield address


def log_in(browser: webdriver.Chrome, name: str, password: str = PASSWORD) -> None:
    """Fill in the form as a person does, and wait for what comes of it."""
    form = browser.find_element(By.CSS_SELECTOR, "main form")
    for field, text in (("name", name), ("password", password)):
        form.find_element(By.NAME, field).send_keys(text)
    form.find_element(By.TAG_NAME, "button").click()
    until(lambda: alarms(browser) or browser.find_elements(By.CSS_SELECTOR, ".who form"))


def alarms(browser: webdriver.Chrome) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, ".alarm")]


def log_out(browser: webdriver.Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, ".who form button").click()
    until(lambda: browser.current_url.endswith("/login"))


@contextmanager
def logged_in(browser: webdriver.Chrome, url: str, name: str, page: str = "/") -> Iterator[str]:
    """The text of a page that somebody asks for, who is sent to the login and back to it."""
    browser.get(url + page)
    until(lambda: "/login?next=" in browser.current_url)
    log_in(browser, name)
    assert browser.current_url == url + page
    yield browser.find_element(By.TAG_NAME, "body").text
    log_out(browser)


def test_a_wrong_password_is_refused_and_the_right_one_leads_on(
    browser: webdriver.Chrome, url: str
) -> None:
    browser.get(f"{url}/trail")
    log_in(browser, "Rita", "not the password")
    assert alarms(browser) == ["The name or the password is wrong."]
    assert "stain" not in browser.page_source
    assert browser.find_element(By.NAME, "password").get_attribute("value") == ""
    log_in(browser, "rita")
    assert browser.current_url == f"{url}/trail" and "stain" in browser.page_source
    (cookie,) = browser.get_cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    log_out(browser)
    assert browser.get_cookies() == [] or "_early" in browser.get_cookies()[0]["name"]
    browser.back()
    browser.get(f"{url}/trail")
    until(lambda: "/login" in browser.current_url)
    assert "stain" not in browser.page_source, "nothing is left after the way out"


def test_each_role_sees_what_it_may(browser: webdriver.Chrome, url: str) -> None:
    part = f"/part/{plates()[1].inspection_id}"
    for name, people, decides, exports in (
        ("Olga", False, False, False),
        ("Rita", False, True, False),
        ("Emil", True, True, True),
        ("Anna", False, False, True),
    ):
        with logged_in(browser, url, name, part) as text:
            assert ("You may look, but not decide." in text) is not decides, name
            assert bool(browser.find_elements(By.LINK_TEXT, "People")) is people, name
            assert ROLES[name] in text
            browser.get(f"{url}/trail")
            exported = browser.find_elements(By.LINK_TEXT, "Export as CSV")
            assert bool(exported) is exports, name
            if not people:
                browser.get(f"{url}/people")
                refused = browser.find_element(By.TAG_NAME, "main").text
                assert f"Your role ({ROLES[name]}) may not do this." in refused
                browser.get(url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, url: str, scheme: str) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    browser.get(f"{url}/login")
    log_in(browser, "Emil", "not the password")
    assert not serious(browser), "login"
    browser.get(url)
    with logged_in(browser, url, "Emil"):
        for page in ("/people", "/trail", "/trail?kind=events", "/account", "/gallery"):
            browser.get(url + page)
            assert not serious(browser), page
