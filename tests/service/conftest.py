"""The service without a Hub (`make_site`), as the handlers' tests have it."""

from tests.handlers.conftest import make_site, site, site_url

__all__ = ["make_site", "site", "site_url"]
