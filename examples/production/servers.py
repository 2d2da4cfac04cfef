"""For run.sh: ``create`` the database with its tables, or ``drop`` it and other servers' data."""

from __future__ import annotations

import sys

import redis
from app import create_app, db
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url


def main(action: str) -> None:
    """Create what is not there yet, or remove everything that is this example's."""
    app = create_app()
    url = make_url(app.config["SQLALCHEMY_DATABASE_URI"])
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = engine.dialect.identifier_preparer.quote(str(url.database))
    with engine.connect() as connection:
        there = connection.scalar(
            text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": url.database}
        )
        if action == "create" and not there:
            connection.execute(text(f"CREATE DATABASE {name}"))
        if action == "drop":
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    engine.dispose()
    if action == "create":
        with app.app_context():
            db.create_all()
    if action == "drop":
        queue = app.extensions["celery"].conf.task_default_queue
        with app.extensions["celery"].connection_for_write() as broker:
            broker.default_channel.queue_delete(queue)
            broker.default_channel.exchange_delete(queue)
        forget(app.config["RATELIMIT_STORAGE_URI"], app.config["RATELIMIT_KEY_PREFIX"])
        forget(app.config["CELERY"]["broker_url"], queue)


def forget(url: str, name: str) -> None:
    """Remove the keys with this name, where this is a Redis."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as store:
            for key in store.scan_iter(f"*{name}*"):
                store.delete(key)


main(sys.argv[1])
