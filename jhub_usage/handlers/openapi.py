"""The API's description, made from the route table: what is documented is what is checked."""

import re

from .. import __version__
from .call import Route
from .schemas import COMPONENTS


def document(prefix: str) -> dict:
    """An OpenAPI 3.1 document of every route under ``api/``."""
    from .routes import API_ROUTES

    paths: dict[str, dict] = {}
    for route in API_ROUTES:
        path = "/" + re.sub(r":\w+", "", route.path.removeprefix("api/"))
        paths.setdefault(path, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jhub-usage",
            "version": __version__,
            "description": "GPU accounting for JupyterHub. Amounts are whole micro-credits "
            "(1 credit = 1,000,000); where a request has `amount`, it is credits as text. "
            "Instants are UTC. Lists go on with `next` as `cursor`.",
        },
        "servers": [{"url": prefix + "api"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JupyterHub token: `Authorization: token ...` or `bearer`.",
                }
            },
        },
    }


def operation(route: Route) -> dict:
    """One method of one path."""
    found = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": f"Needs {route.need.text}.",
        "tags": [route.path.removeprefix("api/").split("/")[0].split(".")[0]],
        "responses": {
            str(route.status): {
                "description": "Done.",
                "content": {"application/json": {"schema": route.reply or {}}},
            },
            "default": {
                "description": "What is wrong.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if kind == "int" else "string"},
        }
        for name, kind in re.findall(r"{(\w+):?(\w*)}", route.path)
    ]
    for name, schema in ((route.query or {}).get("properties") or {}).items():
        parameters.append({"name": name, "in": "query", "schema": schema})
    if route.keyed:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Your own key: the same request with it again is answered the same "
                "and changes nothing.",
                "schema": {"type": "string", "maxLength": 200},
            }
        )
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": route.body}},
        }
    if route.need.own == "anyone":
        found["security"] = []
    return found


def operation_id(route: Route) -> str:
    """``get_wallets_entries``: stable, for generated clients."""
    words = re.sub(r"{[^}]*}", "one", route.path.removeprefix("api/"))
    return re.sub(r"\W+", "_", f"{route.method.lower()}_{words}").strip("_")
