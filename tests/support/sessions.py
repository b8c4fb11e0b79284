"""A browser without a screen: cookies, redirects and the Hub's protection against forged requests.

For tests of what a page answers; tests of how a page behaves use tests/support/browser.py.
Limitations: runs no scripts and sends no Sec-Fetch headers unless the test gives them.
"""

import re
from urllib.parse import urljoin, urlsplit

import requests


class BrowserSession:
    """Cookies of one person. Paths are relative to the Hub's address: `hub/home`, `/hub/home`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def _address(self, path: str) -> str:
        return path if "://" in path else urljoin(self.url, path.lstrip("/"))

    def get(self, path: str, **options) -> requests.Response:
        options.setdefault("timeout", 40)
        return self._session.get(self._address(path), **options)

    def post(self, path: str, **options) -> requests.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options) -> requests.Response:
        """Any method, with the XSRF token of the page's path unless the caller sets that header."""
        address = self._address(path)
        headers = dict(options.pop("headers", None) or {})
        token = self.xsrf(urlsplit(address).path)
        if token and "X-XSRFToken" not in headers:
            headers["X-XSRFToken"] = token
        # The Hub believes a form only when it comes from one of its own pages.
        headers.setdefault("Referer", address)
        options.setdefault("timeout", 40)
        return self._session.request(method, address, headers=headers, **options)

    def xsrf(self, path: str) -> str | None:
        """The value of the `_xsrf` cookie a browser would use for this path: the longest match."""
        cookies = [
            cookie
            for cookie in self._session.cookies
            if cookie.name == "_xsrf" and path.startswith(cookie.path)
        ]
        return max(cookies, key=lambda cookie: len(cookie.path)).value if cookies else None

    @property
    def cookies(self):
        return self._session.cookies

    def login(self, name: str, password: str) -> None:
        page = self.get("hub/login")
        form = {"username": name, "password": password, "_xsrf": hidden(page.text, "_xsrf")}
        answer = self.post("hub/login?next=" + urlsplit(self.url).path + "hub/home", data=form)
        if answer.status_code != 200 or not urlsplit(answer.url).path.endswith("/hub/home"):
            raise AssertionError(f"login of {name} gave {answer.status_code} at {answer.url}")

    def close(self) -> None:
        self._session.close()


def hidden(html: str, name: str) -> str:
    """The value of a form's hidden field."""
    for tag in re.findall(r"<input[^>]*>", html):
        if f'name="{name}"' in tag:
            return re.search(r'value="([^"]*)"', tag).group(1)
    raise AssertionError(f"no field {name} on the page")
