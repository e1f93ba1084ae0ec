"""A model registry in the cluster: MLflow over PostgreSQL, with the files in the object store."""

import re
from typing import NotRequired, TypedDict, cast

import pulumi

from accelstack.contracts import ClusterPool, StoreAccess
from accelstack.k8s import model_registry_manifests as made_of
from accelstack.k8s.model_registry_manifests import DATABASE, DATABASE_PORT, PASSWORD_KEY, PORT, SERVER, URI_KEY
from accelstack.k8s.names import LABEL, checked_name
from accelstack.k8s.objects import KubernetesObject, Manifest
from accelstack.k8s.pod import checked_image

LONGEST_NAME = LABEL - len("-to-db")
USUAL_SIZE = "20Gi"


class ModelRegistryArgs(TypedDict):
    """Args of `k8s.ModelRegistry`."""

    namespace: pulumi.Input[str]
    """Where it runs. What it reaches outside it (the object store, a database that exists) is for the namespace's own
    policies to allow: `egress` and `egress_to` of `k8s.Namespace`."""
    service_account: pulumi.Input[str]
    """Of its pods there."""
    pool: ClusterPool
    """The pool whose nodes it runs on; it needs no accelerators."""
    image: pulumi.Input[str]
    """MLflow 3, by digest, with PostgreSQL's driver and the object store's client: the official image whose tag ends in
    `-full`, for one."""
    store: StoreAccess
    """Object store of the files; `<uri>/mlflow` is where runs without a place of their own put them."""
    clients: list[pulumi.Input[str]]
    """Namespaces that it may be used from, one or more: training's, for one. It has no sign-in of its own."""
    hosts: NotRequired[list[pulumi.Input[str]]]
    """Names, with port where it is not usual, that it goes by besides those of its Service, such as a Gateway's."""
    database: NotRequired[pulumi.Input[str]]
    """URI of an existing PostgreSQL database, such as `postgresql://user:password@host:5432/mlflow`; secret. Left out,
    it has one of its own."""
    database_image: NotRequired[pulumi.Input[str]]
    """PostgreSQL by digest, for its own database: the official image, of its Debian kind, which any user can run."""
    password: NotRequired[pulumi.Input[str]]
    """Of its own database, fixed when that is made; secret."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Of its own database's volume; the cluster's default if left out."""
    size: NotRequired[pulumi.Input[str]]
    """Of that volume; `20Gi` if left out."""
    pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets that its images are pulled with, beside those of the service account."""


class ModelRegistry(pulumi.ComponentResource):
    """MLflow's tracking server and model registry.

    Its own database's volume stays when the registry goes, and is found again under the same name. Velero keeps a dump
    of that database with the namespace, and loads it when the namespace is restored: see `k8s.Backup`.

    Raises:
        pulumi.InputPropertyError: the name is no name of a Service, an image has no digest, the store is no object
            store, it has no clients, the URI is none of PostgreSQL's, or not exactly one of `database` and
            `database_image` with `password` is given.
    """

    uri: pulumi.Output[str]
    """`http://<name>.<namespace>.svc:5000`, known when it answers: MLflow's tracking and registry URI within the
    cluster. `kubectl port-forward` brings its page to one's own machine."""
    database: pulumi.Output[str | None]
    """`host:port` of its own database; None where it uses another."""

    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        database_image = checked_image("database_image", args["database_image"]) if "database_image" in args else None
        asked = _asked(name, args)
        super().__init__("accelstack:index:K8sModelRegistry", name, None, opts)
        secrets: dict[str, pulumi.Input[str]] = {}
        self.database = pulumi.Output.from_input(None)
        if database_image is None:
            uri = pulumi.Output.secret(args.get("database", "")).apply(_checked_uri)
        else:
            host = self._own_database(asked, args, database_image)
            uri = pulumi.Output.concat("postgresql+psycopg2://mlflow@", host, "/mlflow")
            self.database = cast(pulumi.Output[str | None], host)
            secrets["PGPASSWORD"] = args.get("password", "")
            self._make(asked, "to-db", made_of.to_database(asked))
        secret = self._make(asked, "secret", made_of.secret(asked, name, {URI_KEY: uri, **secrets}))
        found = self._make(asked, "service", made_of.service(asked, name, SERVER, PORT))
        clients = self._make(asked, "clients", made_of.let_in(asked))
        server = self._make(asked, "server", made_of.server(asked, secret.id.apply(lambda _: name), uri))
        self.uri = pulumi.Output.all(args["namespace"], found.id, clients.id, server.id).apply(
            lambda known: f"http://{name}.{known[0]}.svc:{PORT}"
        )
        self.register_outputs({"uri": self.uri, "database": self.database})

    def _own_database(
        self, asked: made_of.Registry, args: ModelRegistryArgs, image: pulumi.Input[str]
    ) -> pulumi.Output[str]:
        """`host:port` of a database of its own, known when it answers."""
        content: dict[str, pulumi.Input[str]] = {PASSWORD_KEY: args.get("password", "")}
        secret = self._make(asked, "db-secret", made_of.secret(asked, asked.database, content))
        found = self._make(asked, "db-service", made_of.service(asked, asked.database, DATABASE, DATABASE_PORT))
        policy = self._make(asked, "db-network", made_of.into_database(asked))
        manifest = made_of.database(asked, image, args.get("storage_class", ""), args.get("size", USUAL_SIZE))
        # its pod reads the Secret by a name that is known before
        database = self._make(asked, "db", manifest, [secret, policy])
        return pulumi.Output.all(args["namespace"], found.id, database.id).apply(
            lambda known: f"{asked.database}.{known[0]}.svc:{DATABASE_PORT}"
        )

    def _make(
        self, asked: made_of.Registry, key: str, manifest: Manifest, after: list[pulumi.Resource] | None = None
    ) -> KubernetesObject:
        return KubernetesObject(f"{asked.name}-{key}", manifest, pulumi.ResourceOptions(parent=self, depends_on=after))


def _asked(name: str, args: ModelRegistryArgs) -> made_of.Registry:
    checked_name(name, LONGEST_NAME)
    if "database" in args and ("database_image" in args or "password" in args):
        reason = "is given together with database_image or password, which are for a database of its own; give one"
        raise pulumi.InputPropertyError("database", reason)
    if "database" not in args and "database_image" not in args:
        reason = (
            "is not given, nor is database; give PostgreSQL's image by digest, or the URI of a database that exists"
        )
        raise pulumi.InputPropertyError("database_image", reason)
    if "database" not in args and args.get("password", "") == "":
        reason = "is not given; give one as a secret, such as `pulumi config set --secret` keeps it"
        raise pulumi.InputPropertyError("password", reason)
    if not args["clients"]:
        raise pulumi.InputPropertyError("clients", "is empty: nobody could use it; name the namespaces of its clients")
    if isinstance(known := args.get("database"), str):
        _checked_uri(known)
    store = args["store"]
    if isinstance(store["uri"], str):
        _checked_store(store["uri"])
    image = checked_image("image", args["image"])
    uri = pulumi.Output.from_input(store["uri"]).apply(_checked_store)
    return made_of.Registry(
        name=name,
        namespace=args["namespace"],
        service_account=args["service_account"],
        pool=args["pool"],
        image=image,
        store=StoreAccess({**store, "uri": uri}),
        clients=args["clients"],
        hosts=args.get("hosts", []),
        pull_secrets=args.get("pull_secrets", []),
    )


def _checked_uri(uri: str) -> str:
    if not re.fullmatch(r"postgresql(\+[a-z0-9]+)?://[^/\s]+/[^/\s]+", uri):
        # the URI itself is a secret
        scheme = uri.partition("://")[0] if "://" in uri else ""
        reason = f"{scheme!r} begins no URI of PostgreSQL; use postgresql://<user>:<password>@<host>:<port>/<database>"
        raise pulumi.InputPropertyError("database", reason)
    return uri


def _checked_store(uri: str) -> str:
    if not re.match(r"(?!file:)[a-z0-9]+://", uri):
        reason = (
            f"{uri!r} is no object store, and MLflow registers no model whose files lie in a folder; use one with S3's"
            " protocol, or do without a registry: the store keeps model versions itself"
        )
        raise pulumi.InputPropertyError("store.uri", reason)
    return uri
