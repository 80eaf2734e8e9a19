"""Grafana dashboards of Refkeep: written here, checked in as the JSON that Grafana loads (`json/`).

A new panel is a line in the module of its dashboard; `make dashboards` writes the JSON anew, `make check` compares.
"""
