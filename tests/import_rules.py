"""A rule for import-linter: these modules import the standard library and each other, nothing else."""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibraryOnly(Contract):
    """Kept while no module under `modules` imports an installed package; our own packages are the layers' affair."""

    type_name = "standard_library_only"

    modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 (the interface of Contract)
        packages: list[str] = self.modules  # type: ignore[assignment]
        found = [
            f"{importer} imports {imported}"
            for package in packages
            for importer in sorted({package, *graph.find_descendants(package)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if _is_installed(imported)
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line)


def _is_installed(module: str) -> bool:
    root = module.partition(".")[0]
    return root != "service" and root not in sys.stdlib_module_names
