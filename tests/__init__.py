"""A package, so that `tests` is this folder: a dependency of REDbot installs another package of that name."""
