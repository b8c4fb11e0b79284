"""The HTTP door: pages and the API. Every request: route, scope, parse, one action, reply."""
