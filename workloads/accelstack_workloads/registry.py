"""The model registry: MLflow's, in an SQL database; `model_store` keeps the files."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelstack_workloads import lineage, model_store, signing
from accelstack_workloads.errors import NotVerifiedError, WorkloadError
from accelstack_workloads.model_files import describe, digest
from accelstack_workloads.pipelines import digests

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SQLITE = "sqlite:///"
HTTP = ("http://", "https://")
DIGEST_TAG = "digest"
KEY_TAG = "public_key"


def init(registry: str) -> None:
    """Makes the registry's tables where they are missing.

    Raises:
        WorkloadError: the database cannot be used.
    """
    with _open(registry):
        pass


def register(
    model: Path,
    name: str,
    registry: str,
    store: str,
    evaluation: Path | None = None,
    signing_key: Path | None = None,
) -> dict[str, str]:
    """Copies a model directory into the store, and registers the copy as a new version of the model `name`.

    Where the same content is registered under that name already, that version is given back.

    Args:
        model: the model directory.
        name: of the registered model.
        registry: SQLAlchemy URI of the database, such as `sqlite:////srv/models.db`, or URL of an MLflow server.
        store: path or fsspec URI below which the copy goes, at `<name>/<first 12 hex digits of the digest>`.
        evaluation: an `evaluation.json` of this model, whose score, such as accuracy, becomes a tag of the version.
        signing_key: private key that signs the copy, made where there is none; without it the copy is not signed.

    Returns:
        name, version, digest and uri of the model version, and the `public_key` of what signed it.

    Raises:
        WorkloadError: the model, the evaluation, the key, the store or the database cannot be used.
    """
    _check_name(name)
    description = describe(model)
    identity = digest(model)
    tags = {DIGEST_TAG: identity, **lineage.tags(description, identity, evaluation, digests.code())}
    uri = model_store.copy(model, identity, store, name)
    signed = {}
    if signing_key:
        model_store.sign(uri, signing_key)
        signed = {KEY_TAG: signing.public_key(signing_key)}
    with _open(registry) as database:
        version = next((found for found in _versions(database, name) if found.tags.get(DIGEST_TAG) == identity), None)
        if version is None:
            version = _create(database, name, uri, {**tags, **signed})
    return {"name": name, "version": str(version.version), "digest": identity, "uri": version.source or uri, **signed}


def verify(registry: str, name: str, version: str, public_key: str = "") -> dict[str, str]:
    """Checks that a model version exists and that the files at its source match its digest.

    Args:
        registry: as for `register`.
        name: of the registered model.
        version: its number, or an alias.
        public_key: that must have signed it; none if empty.

    Returns:
        name, version, digest and uri of the model version.

    Raises:
        NotVerifiedError: they do not, or the key has not signed them.
        WorkloadError: it is no model name, or the database cannot be used.
    """
    found, _ = _found(registry, name, version)
    expected = found.tags.get(DIGEST_TAG)
    source = found.source or ""
    actual = model_store.digest_at(source)
    if actual is None:
        raise NotVerifiedError(f"there is no model at {source}")
    if actual != expected:
        raise NotVerifiedError(f"the files at {source} have digest {actual}, registered was {expected}")
    if public_key:
        model_store.verify(source, public_key)
    return {"name": name, "version": str(found.version), "digest": actual, "uri": source}


def show(registry: str, name: str, version: str) -> dict[str, Any]:
    """What is kept of a model version: name, version, uri, aliases, when it was registered, and its tags.

    Raises:
        NotVerifiedError: it is not registered.
        WorkloadError: it is no model name, or the database cannot be used.
    """
    found, aliases = _found(registry, name, version)
    registered = datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, UTC).isoformat(timespec="seconds")
    about = {"name": name, "version": str(found.version), "uri": found.source or "", "registered": registered}
    return {**about, "aliases": aliases, **found.tags}


def versions(registry: str, name: str) -> list[dict[str, Any]]:
    """The versions of a model, oldest first: of each its number, digest and aliases.

    Raises:
        WorkloadError: it is no model name, or the database cannot be used.
    """
    _check_name(name)
    with _open(registry) as database:
        aliases = _aliases(database, name)
        return [
            {
                "version": str(found.version),
                "digest": found.tags.get(DIGEST_TAG, ""),
                "aliases": _of(aliases, found),
            }
            for found in _versions(database, name)
        ]


def set_alias(registry: str, name: str, version: str, alias: str) -> dict[str, str]:
    """Gives a version a name of its stage, such as `production`, which another version then has no longer.

    Returns:
        name, alias, version, and the version that had the alias `before`, empty where none had.

    Raises:
        NotVerifiedError: the version is not registered.
        WorkloadError: the alias is none, or the database cannot be used.
    """
    if not NAME.fullmatch(alias) or alias.isdecimal() or alias == "latest":
        raise WorkloadError(
            f"alias: {alias!r} is no alias; give letters, digits, '.', '_' or '-', not a number alone and not 'latest'"
        )
    found, _ = _found(registry, name, version)
    with _open(registry) as database:
        before = _aliases(database, name).get(alias, "")
        database.set_registered_model_alias(name, alias, str(found.version))
    return {"name": name, "alias": alias, "version": str(found.version), "before": before}


def _found(registry: str, name: str, version: str) -> tuple[ModelVersion, list[str]]:
    """The version by its number or an alias, and the aliases that it has."""
    _check_name(name)
    path = _sqlite_path(registry)
    if path and not path.exists():
        raise NotVerifiedError(f"registry {registry!r} does not exist")
    with _open(registry) as database:
        aliases = _aliases(database, name)
        number = aliases.get(version, version)
        found = next((found for found in _versions(database, name) if str(found.version) == number), None)
    if found is None:
        raise NotVerifiedError(f"version {version!r} of model {name!r} is not registered in {registry!r}")
    return found, _of(aliases, found)


@contextmanager
def _open(registry: str) -> Iterator[SqlAlchemyStore]:
    """The registry's database, its tables made where missing; one process at a time for SQLite.

    MLflow's SQL store is used directly: its client would also set up a tracking store and its experiments.
    """
    if "://" not in registry:
        raise WorkloadError(
            f"registry: {registry!r} is not a database URI; give one such as 'sqlite:////srv/models.db'"
        )
    path = _sqlite_path(registry)
    with _quiet_mlflow():
        from mlflow.exceptions import MlflowException
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy.exc import SQLAlchemyError

        with _lock(path.with_name(f".{path.name}.lock")) if path else nullcontext():
            try:
                if path and not path.exists():
                    _make_sqlite(path)
                yield _over_http(registry) if registry.startswith(HTTP) else SqlAlchemyStore(registry)
            except (MlflowException, SQLAlchemyError, ImportError) as error:
                reason = str(error).strip().splitlines()[0]
                raise WorkloadError(f"registry: {registry!r} cannot be used ({reason}); check the URI") from error


def _over_http(registry: str) -> Any:
    """The registry of an MLflow server, which takes models in object stores alone. Its own variables sign in to it."""
    from mlflow.store.model_registry.rest_store import RestStore
    from mlflow.utils.credentials import get_default_host_creds

    return RestStore(lambda: get_default_host_creds(registry.rstrip("/")))


def _make_sqlite(path: Path) -> None:
    """Makes the tables in a file beside `path` first: no half-made database is left behind, and no step is synced."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Engine, event

    def unsynced(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    event.listen(Engine, "connect", unsynced)
    try:
        SqlAlchemyStore(f"{SQLITE}{partial}").engine.dispose()
    finally:
        event.remove(Engine, "connect", unsynced)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Keeps MLflow and Alembic from printing, reporting home, and configuring the program's logging."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_CONFIGURE_LOGGING="false", DO_NOT_TRACK="true")
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Waits for other processes that use the database: making its tables takes many transactions."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise WorkloadError(
            f"registry: {path.parent} cannot be written ({error.strerror}); give a folder you may write to"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_path(registry: str) -> Path | None:
    """The file of an SQLite URI; None for other databases."""
    return Path(registry.removeprefix(SQLITE)) if registry.startswith(SQLITE) else None


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise WorkloadError(
            f"name: {name!r} is not a model name; give 1 to 100 letters, digits, '.', '_' or '-', the first no sign"
        )


def _versions(database: SqlAlchemyStore, name: str) -> list[ModelVersion]:
    """All versions of a model, oldest first."""
    found, token = [], None
    while True:
        page = database.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _create(database: SqlAlchemyStore, name: str, uri: str, tags: dict[str, str]) -> ModelVersion:
    from mlflow.entities.model_registry import ModelVersionTag

    if not database.search_registered_models(f"name = '{name}'"):
        database.create_registered_model(name)
    return database.create_model_version(name, uri, tags=[ModelVersionTag(key, tags[key]) for key in sorted(tags)])


def _aliases(database: SqlAlchemyStore, name: str) -> dict[str, str]:
    """Numbers of versions by their aliases."""
    if not database.search_registered_models(f"name = '{name}'"):
        return {}
    return {alias: str(number) for alias, number in database.get_registered_model(name).aliases.items()}


def _of(aliases: dict[str, str], version: ModelVersion) -> list[str]:
    return sorted(alias for alias, number in aliases.items() if number == str(version.version))
