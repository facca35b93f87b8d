"""The words that made-up contents are made of."""

from __future__ import annotations

import random

# Things that data are about, and their fields.
THINGS = {
    "user": "id name email password_hash created_at last_login is_active role",
    "customer": "customer_id first_name last_name email phone city country",
    "order": "order_id customer_id order_date status total currency shipped_at",
    "invoice": "invoice_number due_date amount tax paid customer_id",
    "product": "sku title price stock category weight description_html",
    "payment": "payment_id method amount currency status processed_at",
    "employee": "employee_id name department salary hired_on manager_id",
    "book": "isbn title author publisher year pages language",
    "sensor": "sensor_id location temperature humidity battery recorded_at",
    "vehicle": "plate make model year mileage owner_id",
    "flight": "flight_number origin destination departure arrival gate",
    "patient": "patient_id birth_date sex blood_type ward admitted_at",
    "student": "student_id name grade school enrolled_on",
    "course": "course_code title credits teacher semester",
    "ticket": "ticket_id subject priority assignee state opened_at closed_at",
    "server": "hostname ip_address os cpu_count memory_gb region",
    "event": "event_id type source payload occurred_at",
    "session": "session_id user_id token expires_at ip_address",
    "message": "message_id sender recipient subject body sent_at",
    "recipe": "title servings ingredients steps prep_minutes",
    "song": "track_id title artist album duration genre",
    "movie": "title director release_year rating runtime",
    "city": "name country population latitude longitude",
    "station": "station_code name line platform opened",
    "experiment": "run_id model dataset accuracy loss epochs seed",
    "measurement": "timestamp device value unit quality",
    "repository": "owner name stars forks license default_branch",
    "commit": "sha author message parent committed_at",
    "subscription": "plan customer_id starts_on renews_on price cancelled",
    "shipment": "tracking_number carrier origin destination weight delivered_at",
    "account": "account_number holder balance currency opened_on",
    "match": "match_id home_team away_team home_goals away_goals played_on",
    "review": "review_id product_id rating comment author created_at",
    "permission": "role resource action granted_by",
    "job": "job_id queue state attempts started_at finished_at",
    "article": "slug title author body published_at tags",
    "weather": "date station min_temp max_temp rainfall wind_speed",
    "animal": "tag_id species sex weight_kg birth_year",
    "warehouse": "warehouse_id address capacity manager",
    "coupon": "code discount valid_from valid_until uses",
}
SERVICES = [
    "web",
    "api",
    "db",
    "redis",
    "worker",
    "nginx",
    "frontend",
    "backend",
    "postgres",
    "mysql",
    "queue",
    "scheduler",
    "cache",
    "auth",
    "gateway",
    "search",
    "mailer",
    "proxy",
    "payments",
    "billing",
    "orders",
    "inventory",
    "users",
    "notifications",
    "metrics",
    "grafana",
    "prometheus",
    "rabbitmq",
    "kafka",
    "zookeeper",
    "minio",
    "elasticsearch",
    "celery",
    "beat",
    "app",
    "admin",
    "ingest",
    "indexer",
    "storage",
    "crawler",
    "exporter",
    "registry",
    "vault",
    "consul",
]
IMAGES = [
    "python:3.11-slim",
    "python:3.12",
    "node:20-alpine",
    "node:18",
    "golang:1.22",
    "rust:1.75",
    "debian:bookworm-slim",
    "ubuntu:22.04",
    "alpine:3.19",
    "nginx:1.25",
    "postgres:16",
    "redis:7",
    "openjdk:17",
    "ruby:3.2",
    "php:8.2-fpm",
    "mysql:8.0",
    "eclipse-temurin:21",
    "rabbitmq:3",
]
COMMANDS = [
    "python",
    "gunicorn",
    "uvicorn",
    "node",
    "npm",
    "nginx",
    "java",
    "./server",
    "./app",
    "celery",
    "flask",
    "rails",
    "php-fpm",
    "./run.sh",
    "entrypoint.sh",
]
NAMES = [
    "anna",
    "ben",
    "carla",
    "david",
    "emma",
    "felix",
    "grace",
    "hugo",
    "ines",
    "jonas",
    "kira",
    "leo",
    "maria",
    "noah",
    "olga",
    "paul",
    "rosa",
    "sam",
    "tina",
    "viktor",
    "wei",
    "yusuf",
    "zoe",
]
PLACES = [
    "berlin",
    "paris",
    "lima",
    "oslo",
    "tokyo",
    "cairo",
    "madrid",
    "boston",
    "delhi",
    "nairobi",
    "quito",
    "seoul",
    "rome",
    "dublin",
    "zurich",
    "lagos",
]
LIBRARIES = [
    "requests",
    "numpy",
    "pandas",
    "flask",
    "django",
    "fastapi",
    "sqlalchemy",
    "pytest",
    "click",
    "rich",
    "httpx",
    "pydantic",
    "celery",
    "redis",
    "boto3",
    "jinja2",
    "pillow",
    "scipy",
    "matplotlib",
    "torch",
    "transformers",
    "scikit-learn",
    "aiohttp",
    "psycopg2",
    "lxml",
    "pyyaml",
    "tqdm",
    "black",
    "mypy",
    "ruff",
    "gunicorn",
    "uvicorn",
]
CRATES = [
    "serde",
    "tokio",
    "clap",
    "anyhow",
    "regex",
    "rand",
    "log",
    "reqwest",
    "hyper",
    "chrono",
    "rayon",
    "thiserror",
    "tracing",
    "uuid",
    "bytes",
    "futures",
    "axum",
    "sqlx",
]
PACKAGES = [
    "react",
    "lodash",
    "express",
    "axios",
    "typescript",
    "vue",
    "webpack",
    "eslint",
    "jest",
    "vite",
    "prettier",
    "next",
    "zod",
    "uuid",
    "dotenv",
    "cors",
    "mongoose",
    "ws",
]
VERBS = [
    "load",
    "save",
    "parse",
    "read",
    "write",
    "send",
    "fetch",
    "update",
    "delete",
    "create",
    "validate",
    "render",
    "compute",
    "build",
    "resolve",
    "convert",
    "handle",
    "sync",
]
MODULES = [
    "config",
    "utils",
    "models",
    "views",
    "client",
    "server",
    "parser",
    "handlers",
    "storage",
    "tasks",
    "cache",
    "session",
    "export",
    "importer",
    "worker",
    "auth",
]


def fields(rng: random.Random, least: int = 2) -> tuple[str, list[str]]:
    """A thing and some of its fields, in their order."""
    thing = rng.choice(list(THINGS))
    names = THINGS[thing].split()
    chosen = set(rng.sample(names, rng.randint(min(least, len(names)), len(names))))
    kept = [name for name in names if name in chosen]
    style = rng.random()
    if style < 0.15:
        kept = [camel(name) for name in kept]
    elif style < 0.2:
        kept = [name.replace("_", " ").title() for name in kept]
    return thing, kept


def camel(name: str) -> str:
    """``created_at`` as ``createdAt``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def value(rng: random.Random, field: str) -> str | int | float | bool:
    """A value that suits the name of a field."""
    low = field.lower()
    if low.endswith(("_at", "at", "_on", "date")) or low in ("timestamp", "departure", "arrival"):
        return f"20{rng.randint(18, 26)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" + (
            f"T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00Z" if rng.random() < 0.4 else ""
        )
    if "email" in low:
        return f"{rng.choice(NAMES)}@example.{rng.choice(('com', 'org', 'net'))}"
    if "name" in low or low in (
        "author",
        "artist",
        "director",
        "teacher",
        "assignee",
        "sender",
        "recipient",
        "holder",
        "owner",
    ):
        return rng.choice(NAMES).capitalize()
    if low in ("city", "origin", "destination", "location", "region", "country", "address"):
        return rng.choice(PLACES).capitalize()
    if low.startswith("is_") or low in ("paid", "cancelled", "opened"):
        return rng.random() < 0.5
    if any(
        part in low
        for part in (
            "price",
            "amount",
            "total",
            "salary",
            "temp",
            "rating",
            "weight",
            "accuracy",
            "loss",
            "balance",
            "tax",
            "value",
            "latitude",
            "longitude",
        )
    ):
        return round(rng.uniform(0, 900), 2)
    if any(part in low for part in ("status", "state", "type", "role", "priority", "category", "genre", "method")):
        return rng.choice(
            ("open", "closed", "active", "pending", "high", "low", "new", "done", "card", "admin", "guest")
        )
    if "id" in low.split("_") or low.endswith(
        ("id", "_count", "year", "minutes", "stock", "pages", "credits", "epochs", "seed", "goals")
    ):
        return rng.randint(1, 9_999)
    return f"{rng.choice(VERBS)}-{rng.randint(1, 99)}" if rng.random() < 0.5 else rng.choice(PLACES)
