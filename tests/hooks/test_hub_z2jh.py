"""A Hub that waits for no start (`slow_spawn_timeout` 0, as zero-to-jupyterhub sets it).

There a refusal comes after the answer: it must be found at /progress and on the pending page, and
in the form before anything is started.
"""

import json

import pytest

from ..support.processes import wait_until
from .books import BIG, CPU, Books, hub_config

CONFIG = """
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
"""


@pytest.fixture(scope="module")
def hub(hub_python, module_hub_factory, tmp_path_factory):
    books = Books(f"sqlite:///{tmp_path_factory.mktemp('books') / 'usage.sqlite'}", grant="1")
    hub = module_hub_factory(hub_python, hub_config(books.url, CONFIG, form_cache_s=0))
    hub.books = books
    yield hub
    books.close()


def test_the_reason_is_at_progress_and_on_the_pending_page(hub):
    person = hub.login("ada")
    # the REST call never sees it: 202 and gone
    assert hub.api("POST", "users/ada/server", json={"profile": BIG})[0] == 202
    assert wait_until(lambda: hub.books.admissions("ada"))
    (refused,) = hub.books.admissions("ada")
    hub.wait_stopped("ada")

    def progress():
        text = person.get("hub/api/users/ada/server/progress").text
        events = [json.loads(x[5:]) for x in text.splitlines() if x.startswith("data:")]
        return next((e for e in events if e.get("failed")), None)

    event = wait_until(progress)
    assert "$1.00 left" in event["message"] and refused.session_id in event["message"]
    link = f'<a href="/services/usage/sessions/{refused.session_id}">'
    assert link in event["html_message"]
    page = person.get("hub/spawn-pending/ada")
    assert page.status_code == 403 and link in page.text


def test_the_form_refuses_before_anything_is_started(hub):
    person = hub.login("bob")
    page = person.post("hub/spawn/bob", data={"profile": BIG})
    page.encoding = "utf-8"
    assert page.status_code == 403 and "$1.00 left" in page.text and 'id="spawn_form"' in page.text
    (refused,) = hub.books.admissions("bob")
    assert refused.decision == "refused" and refused.session_id in page.text
    assert hub.books.sessions("bob") == []
    # the link with options goes the same way
    prefix = "opt-" if hub.python.version >= (6,) else ""
    page = person.get(f"hub/spawn/bob?{prefix}profile={BIG}")
    page.encoding = "utf-8"
    assert page.status_code == 403 and "$1.00 left" in page.text
    # and what can be paid starts
    person.post("hub/spawn/bob", data={"profile": CPU})
    hub.books.wait_state("bob", "running")
    hub.wait_ready("bob")
    page = person.get("hub/home")
    assert "~bob" in page.text and "$1.00" in page.text
