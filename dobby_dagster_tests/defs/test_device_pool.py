"""Each host has a pool of its own for the runs that infer, where several may share Dagster's storage."""

import pytest

from dobby_dagster.defs.builders import build_assets
from dobby_dagster.defs.runs.device_pool import device_pool
from dobby_dagster.domain.host import Host
from dobby_dagster.domain.settings import Settings

SERVER = "http://db.example:9070"


@pytest.mark.parametrize(
    ("url", "named", "pool"),
    [
        ("sqlite:///records.db", "", "device"),
        ("sqlite:///records.db", "gpu", "gpu"),
        (SERVER, "", "device-web-1-example"),
        (SERVER, "device", "device"),
    ],
)
def test_the_pool_is_of_the_host_where_the_database_is_on_a_server(
    monkeypatch: pytest.MonkeyPatch, url: str, named: str, pool: str
) -> None:
    monkeypatch.setattr("dobby_dagster.defs.runs.device_pool.this_host", lambda: Host("web-1.example", "0", "1"))
    settings = Settings.model_validate({"database": {"url": url}, "dagster": {"device_pool": named}})
    assert device_pool(settings) == pool
    pools = {asset.key.to_user_string(): asset.op.pool for asset in build_assets(settings) if hasattr(asset, "op")}
    assert {name: one for name, one in pools.items() if one} == {"summaries": pool}
