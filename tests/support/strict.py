"""With JHUB_USAGE_STRICT=1 a test that was skipped, or that failed as expected, fails the run.

For CI, where every real part is present: there a skip means that something is not tested any more.
Loaded by tests/conftest.py as a pytest plugin; counts in the process that reports, so it sees the
tests of all pytest-xdist workers. Limitations: tests that were deselected do not count.
"""

import os

import pytest

STRICT = os.environ.get("JHUB_USAGE_STRICT", "") not in ("", "0")


class Strict:
    def __init__(self) -> None:
        self.not_run: dict[str, str] = {}

    def pytest_runtest_logreport(self, report) -> None:
        if hasattr(report, "wasxfail"):
            self.not_run[report.nodeid] = f"xfail: {report.wasxfail}"
        elif report.skipped:
            self.not_run[report.nodeid] = reason(report)

    def pytest_collectreport(self, report) -> None:
        if report.skipped:
            self.not_run[report.nodeid] = reason(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session) -> None:
        if self.not_run and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if self.not_run:
            terminalreporter.section("JHUB_USAGE_STRICT: not run, so the run fails", red=True)
            for nodeid, why in sorted(self.not_run.items()):
                terminalreporter.line(f"{nodeid}: {why}")


def reason(report) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longrepr)


def register(config) -> None:
    """Called by pytest_configure of tests/conftest.py; workers only send their reports."""
    if STRICT and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Strict(), "jhub-usage-strict")
