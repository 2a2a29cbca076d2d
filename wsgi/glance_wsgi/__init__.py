"""Puts OpenStack's Images v2 API (Glance) behind a real web server."""
