"""Fixtures every test may use."""

pytest_plugins = ["server_fixture"]
